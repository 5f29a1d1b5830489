"""Scopes in plain words, where we know them; the raw scope always stands beside it."""

from collections.abc import Sequence
from dataclasses import dataclass

from connections.registry import ServerNeed

WORDS = {
    "openid": "Know which account you use",
    "profile": "See your name and picture",
    "email": "See your e-mail address",
    "address": "See your postal address",
    "phone": "See your phone number",
    "offline_access": "Stay connected while you are away",
    "read": "Read what you can read",
    "write": "Change what you can change",
    "repo": "Read and change your repositories",
    "read:user": "See your profile",
    "user:email": "See your e-mail addresses",
    "read:org": "See which organizations you belong to",
    "gist": "Create and change gists",
    "workflow": "Change workflow files",
    "notifications": "Read your notifications",
    "read_user": "See your profile",
    "read_api": "Read all that the API shows you",
    "api": "Do all that you can do through the API",
    "user-details.read": "See your profile",
    "read:me": "See your profile",
    "User.Read": "See your profile",
    "identify": "See your name and picture",
    "identity": "See your name and picture",
    "id": "Know which account you use",
    "offline": "Stay connected while you are away",
    "refresh_token": "Stay connected while you are away",
    "guilds": "See which servers you belong to",
    "Mail.Read": "Read your mail",
    "Calendars.Read": "Read your calendars",
    "Chat.Read": "Read your chats",
    "Files.Read.All": "Read all files that you can open",
    "Sites.Read.All": "Read all sites that you can open",
    "Team.ReadBasic.All": "See the names of your teams",
    "Channel.ReadBasic.All": "See the names of your channels",
    "channels:read": "See the channels you can see",
    "users:read": "See who is in your workspace",
    "team:read": "See the name of your workspace",
    "account_info.read": "See your account",
    "files.metadata.read": "See the names of your files",
    "files.content.read": "Read your files",
    "crm.objects.contacts.read": "Read your contacts",
    "crm.objects.companies.read": "Read your companies",
    "crm.objects.deals.read": "Read your deals",
    "read:jira-work": "Read your Jira projects and issues",
    "read:jira-user": "See who is in your Jira site",
    "read:confluence-content.all": "Read your Confluence pages",
    "read:confluence-space.summary": "See your Confluence spaces",
    "search:confluence": "Search Confluence as you",
    "read_projects": "See your projects",
    "projects:read": "See your projects",
    "tasks:read": "Read your tasks",
    "boards:read": "Read your boards",
    "data.records:read": "Read the records of your bases",
    "schema.bases:read": "See how your bases are built",
    "meeting:read": "Read your meetings",
    "https://www.googleapis.com/auth/gmail.readonly": "Read your mail",
    "https://www.googleapis.com/auth/drive.metadata.readonly": "See the names of your files",
    "https://www.googleapis.com/auth/drive.readonly": "Read your files",
    "https://www.googleapis.com/auth/calendar.events.readonly": "Read the events of your calendars",
    "https://www.googleapis.com/auth/calendar.calendarlist.readonly": "See which calendars you have",
    "https://www.googleapis.com/auth/chat.messages.readonly": "Read your chat messages",
    "https://www.googleapis.com/auth/chat.spaces.readonly": "See your chat spaces",
    "https://www.googleapis.com/auth/meetings.space.readonly": "Read about your meetings",
    "https://www.googleapis.com/auth/analytics.readonly": "Read your analytics reports",
    "https://www.googleapis.com/auth/bigquery": "Read and change your BigQuery data",
}


def in_words(scope: str) -> str:
    """Return a short sentence for a scope, or nothing when it is not known."""
    return WORDS.get(scope, "")


@dataclass(frozen=True, slots=True)
class ScopeLine:
    """A scope as a page shows it: raw, in words, and why it is asked for."""

    scope: str
    words: str
    why: str = ""
    is_new: bool = False


def lines(scopes: Sequence[str]) -> list[ScopeLine]:
    """Return scopes to show."""
    return [ScopeLine(scope, in_words(scope)) for scope in scopes]


def explained(
    scopes: Sequence[str], *, provider_scopes: Sequence[str], needs: Sequence[ServerNeed], granted: Sequence[str]
) -> list[ScopeLine]:
    """Return scopes to show, each with who asks for it, those not `granted` yet marked as new."""
    return [
        ScopeLine(scope, in_words(scope), _why(scope, provider_scopes, needs, granted), scope not in granted)
        for scope in scopes
    ]


def _why(scope: str, provider_scopes: Sequence[str], needs: Sequence[ServerNeed], granted: Sequence[str]) -> str:
    servers = [need.name for need in needs if scope in need.required_scopes]
    if servers:
        return "for " + ", ".join(servers)
    if scope in provider_scopes:
        return "for every connection"
    return "granted before" if scope in granted else ""
