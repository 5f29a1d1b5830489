"""What a user sees of their connections: one row per provider, read in a constant number of queries.

Used by the page and by the API. No token is opened; who may see a provider's other fields is no
matter here, since only its name, display name and scopes are given (contract §4).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from django.contrib.auth.models import User
from django.db.models import Q, QuerySet
from django.utils import timezone

from connections import consent, freshness, registry, unreadable
from connections.cut_off import PROVIDER_CHANGED
from connections.freshness import Action
from connections.registry import ServerNeed
from providers.models import OAuthProvider
from vault.models import VaultEntry


class Status(StrEnum):
    """How a connection stands."""

    NOT_CONNECTED = "not_connected"
    CONNECTED = "connected"
    NEEDS_ATTENTION = "needs_attention"


@dataclass(frozen=True, slots=True)
class Connection:
    """A provider and what the user has there: the fields of contract §4, then what a page needs besides.

    Of a provider that is not connected, `scopes_requested` is what connecting would ask for. `wanted` is what
    connecting (again) asks for; `added` is the part of it that was never asked for before; `can_connect` is false while
    the provider is disabled or offers no browser consent; `can_use_code`: it can also be done with a code (RFC 8628).
    A link is signed when it is asked for.
    """

    provider: str
    display_name: str
    account: str
    status: Status
    scopes_requested: list[str]
    scopes_granted: list[str]
    connected_at: datetime | None
    last_used_at: datetime | None
    expires_at: datetime | None
    refresh_token_present: bool
    refresh_token_expires_at: datetime | None
    attention_reason: str
    provider_uid: UUID
    is_enabled: bool
    can_connect: bool
    can_use_code: bool
    wanted: list[str]
    added: list[str]
    servers: list[ServerNeed]
    user_id: int
    row: OAuthProvider = field(repr=False)

    @property
    def authorize_url(self) -> str:
        """Return the link that connects it, or nothing where there is none to give."""
        return self.offer_for("")

    def offer_for(self, server_name: str) -> str:
        """Return the link with which a server of the user's asks for the connection."""
        if not self.can_connect:
            return ""
        return consent.offer_url(user_id=self.user_id, provider=self.row, scopes=self.wanted, server_name=server_name)

    @property
    def not_granted(self) -> list[str]:
        """Return what connecting again asks for besides what is granted."""
        return sorted(set(self.wanted) - set(self.scopes_granted))

    def matches(self, search: str) -> bool:
        """Tell whether the words on its card hold `search`: names, account, servers and scopes."""
        words = [self.display_name, self.provider, self.account, *self.wanted, *self.scopes_granted]
        return search.casefold() in "\n".join([*words, *(server.name for server in self.servers)]).casefold()


def connections_of(user: User) -> list[Connection]:
    """Return every provider that the user can connect or has connected, by display name."""
    rows = _read(user, OAuthProvider.objects.all())
    return sorted(rows, key=lambda row: (row.display_name.casefold(), row.provider))


def connection_of(user: User, provider_name: str) -> Connection | None:
    """Return one of `connections_of`, or None when the user has and is offered nothing under that name."""
    return next(iter(_read(user, OAuthProvider.objects.filter(name=provider_name))), None)


def _read(user: User, providers: QuerySet[OAuthProvider]) -> list[Connection]:
    entries = {entry.provider_uid: entry for entry in VaultEntry.objects.filter(user_id=user.pk)}
    servers = _by_provider(registry.server_needs(user))
    now = timezone.now()
    return [
        _connection(user, provider, entries.get(provider.uid), servers.get(provider.uid, []), now)
        for provider in providers.filter(Q(enabled=True) | Q(uid__in=entries))
        if _is_offered(provider) or provider.uid in entries
    ]


def _connection(
    user: User, provider: OAuthProvider, entry: VaultEntry | None, servers: list[ServerNeed], now: datetime
) -> Connection:
    needed = [scope for need in servers for scope in need.required_scopes]
    wanted = consent.wanted_scopes(provider, server_scopes=needed, entry=entry)
    granted: list[str] = list(entry.scopes_granted) if entry else []
    reason = attention(entry, provider, now) if entry else ""
    can_connect = _is_offered(provider)
    return Connection(
        provider=provider.name,
        display_name=provider.display_name,
        account=entry.account if entry else "",
        status=_status(entry, reason),
        scopes_requested=list(entry.scopes_requested) if entry else wanted,
        scopes_granted=granted,
        connected_at=entry.connected_at if entry else None,
        last_used_at=entry.last_used_at if entry else None,
        expires_at=entry.expires_at if entry else None,
        refresh_token_present=bool(entry and entry.refresh_token is not None),
        refresh_token_expires_at=entry.refresh_token_expires_at if entry else None,
        attention_reason=reason,
        provider_uid=provider.uid,
        is_enabled=provider.enabled,
        can_connect=can_connect,
        can_use_code=can_connect and bool(provider.device_authorization_endpoint),
        wanted=wanted,
        added=sorted(set(wanted) - set(granted) - set(entry.scopes_requested)) if entry else [],
        servers=servers,
        user_id=user.pk,
        row=provider,
    )


def _status(entry: VaultEntry | None, reason: str) -> Status:
    if entry is None:
        return Status.NOT_CONNECTED
    return Status.NEEDS_ATTENTION if reason else Status.CONNECTED


def attention(entry: VaultEntry, provider: OAuthProvider, now: datetime) -> str:
    """Return why the user has to connect again, or nothing: what was noted, or what the next call would find."""
    if unreadable.is_unreadable(entry):
        return unreadable.REASON
    if entry.attention_reason not in ("", unreadable.REASON):
        return entry.attention_reason
    verdict = freshness.judge(entry, scopes=(), fingerprint=provider.fingerprint(), now=now)
    if verdict.action == Action.CONNECT:
        return PROVIDER_CHANGED
    if verdict.action == Action.EXPIRED:
        return verdict.detail
    return "upstream_error" if not verdict.still_valid and freshness.has_given_up(entry, now) else ""


def _is_offered(provider: OAuthProvider) -> bool:
    return provider.enabled and provider.offers_browser_consent


def _by_provider(needs: Iterable[ServerNeed]) -> Mapping[UUID, list[ServerNeed]]:
    grouped: dict[UUID, list[ServerNeed]] = {}
    for need in sorted(needs, key=lambda need: need.name):
        grouped.setdefault(need.provider_uid, []).append(need)
    return grouped
