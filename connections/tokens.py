"""The only door to a usable token: use what is stored, refresh it, or say why there is none."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.contrib.auth.models import User
from django.utils import timezone

from audit import trail
from connections import freshness, refresh, unreadable
from connections.database import run_in_thread
from connections.errors import (
    ConnectionRequired,
    ProviderNotFound,
    RefreshUnavailable,
    ScopeUpgradeRequired,
    SecretMissing,
    TokenError,
    TokenExpired,
)
from connections.freshness import Action, Verdict
from providers.models import OAuthProvider
from vault import entries
from vault.models import VaultEntry
from vault.sealing import Unreadable, open_sealed


@dataclass(frozen=True, slots=True)
class UsableToken:
    """An opened access token, to be kept in memory for seconds. `usable_until` None: until it is rejected."""

    access_token: str = field(repr=False)
    usable_until: datetime | None
    entry_uid: UUID
    entry_pk: int
    generation: int


def usable_token(
    *, user_id: int, provider_uid: UUID, scopes: Sequence[str], rejected_generation: int | None = None
) -> UsableToken:
    """Return this user's token for the provider, refreshed when it is due.

    `rejected_generation` says that the upstream answered 401 to the token of that generation: it is refreshed once
    although not expired, or, when a newer generation is there, that one is returned. Raises TokenError. A row that
    does not open keeps its tokens and reads as ConnectionRequired: connecting again overwrites it; see `unreadable`.
    """
    provider = _living(provider_uid)
    if not User.objects.filter(pk=user_id, is_active=True).exists():
        raise ConnectionRequired(provider.name)
    entry = entries.find(user_id, provider_uid)
    if entry is not None:
        entry = unreadable.looked_at_again(entry, provider)
    verdict = _judge(entry, provider, scopes, rejected_generation)
    if entry is None:
        raise ConnectionRequired(provider.name)
    if verdict.action is Action.REFRESH:
        entry, verdict = _refreshed(entry, provider, scopes, verdict)
    if verdict.action is Action.USE or verdict.still_valid:
        return _opened(entry, provider)
    raise _refusal(verdict, provider.name)


async def ausable_token(
    *, user_id: int, provider_uid: UUID, scopes: Sequence[str], rejected_generation: int | None = None
) -> UsableToken:
    """Do as `usable_token`, off the event loop; callers that ask for the same at the same time share one answer."""
    wanted = (asyncio.get_running_loop(), user_id, provider_uid, tuple(scopes), rejected_generation)
    asking = _asking.get(wanted)
    if asking is None:
        asking = asyncio.create_task(
            run_in_thread(
                usable_token,
                user_id=user_id,
                provider_uid=provider_uid,
                scopes=scopes,
                rejected_generation=rejected_generation,
            )
        )
        _asking[wanted] = asking
        asking.add_done_callback(lambda done: _answered(wanted, done))
    # A caller that goes away must not take the answer from the others.
    return await asyncio.shield(asking)


_Wanted = tuple[asyncio.AbstractEventLoop, int, UUID, tuple[str, ...], int | None]
_asking: dict[_Wanted, asyncio.Task[UsableToken]] = {}


def _answered(wanted: _Wanted, done: asyncio.Task[UsableToken]) -> None:
    _asking.pop(wanted, None)
    if not done.cancelled():
        done.exception()  # seen, even if every caller has gone


def _living(provider_uid: UUID) -> OAuthProvider:
    provider = OAuthProvider.everything.filter(uid=provider_uid).first()
    if provider is None or provider.deleted_at is not None:
        raise ProviderNotFound(provider.name if provider else "", "gone")
    if not provider.enabled:
        raise ProviderNotFound(provider.name, "disabled")
    return provider


def _judge(
    entry: VaultEntry | None, provider: OAuthProvider, scopes: Sequence[str], rejected_generation: int | None = None
) -> Verdict:
    return freshness.judge(
        entry,
        scopes=scopes,
        fingerprint=provider.fingerprint(),
        now=timezone.now(),
        rejected_generation=rejected_generation,
    )


def _refreshed(
    entry: VaultEntry, provider: OAuthProvider, scopes: Sequence[str], verdict: Verdict
) -> tuple[VaultEntry, Verdict]:
    """Refresh; while the token at hand still works, a provider that cannot be asked stops nobody (B07)."""
    try:
        entry = refresh.renewed(entry, provider, wait=not verdict.still_valid)
    except (RefreshUnavailable, SecretMissing) as exc:
        if verdict.still_valid:
            return entry, verdict
        if isinstance(exc, RefreshUnavailable) and freshness.has_given_up(entry, timezone.now()):
            raise TokenExpired(provider.name, "upstream_error") from None
        raise
    verdict = _judge(entry, provider, scopes)
    if verdict.action is Action.REFRESH:  # so short-lived that it is due again: good for one call at least
        return entry, Verdict(Action.USE)
    return entry, verdict


def _opened(entry: VaultEntry, provider: OAuthProvider) -> UsableToken:
    try:
        access_token = open_sealed(entry, "access_token")
    except Unreadable:
        access_token = None
    if access_token is None:
        unreadable.note(entry, provider)
        raise ConnectionRequired(provider.name)
    trail.record("connection.opened", target_type="connection", target=provider.name, user_id=entry.user_id)
    return UsableToken(access_token, entry.expires_at, entry.uid, entry.pk, entry.generation)


def _refusal(verdict: Verdict, provider_name: str) -> TokenError:
    match verdict.action:
        case Action.SCOPES:
            return ScopeUpgradeRequired(provider_name, list(verdict.missing))
        case Action.EXPIRED:
            return TokenExpired(provider_name, verdict.detail)
        case Action.WAIT:
            return RefreshUnavailable(provider_name, "backing_off")
        case _:
            return ConnectionRequired(provider_name)
