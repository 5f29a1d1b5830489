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


def lines(scopes: Sequence[str]) -> list[ScopeLine]:
    """Return scopes to show."""
    return [ScopeLine(scope, in_words(scope)) for scope in scopes]


def explained(
    scopes: Sequence[str], *, provider_scopes: Sequence[str], needs: Sequence[ServerNeed], granted: Sequence[str]
) -> list[ScopeLine]:
    """Return scopes to show, each with who asks for it."""
    return [ScopeLine(scope, in_words(scope), _why(scope, provider_scopes, needs, granted)) for scope in scopes]


def _why(scope: str, provider_scopes: Sequence[str], needs: Sequence[ServerNeed], granted: Sequence[str]) -> str:
    servers = [need.name for need in needs if scope in need.required_scopes]
    if servers:
        return "for " + ", ".join(servers)
    if scope in provider_scopes:
        return "for every connection"
    return "granted before" if scope in granted else ""
