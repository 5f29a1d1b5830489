"""May a stored token be used, must it be refreshed, or must the user be asked? One rule, without I/O."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import cast, get_args

from django.conf import settings

from connections.errors import ExpiredDetail
from vault.models import VaultEntry

DETAILS = frozenset(get_args(ExpiredDetail))


class Action(Enum):
    """What to do next."""

    USE = auto()
    REFRESH = auto()
    WAIT = auto()  # a refresh is due, and the provider is to be left alone until `retry_at`
    CONNECT = auto()
    SCOPES = auto()
    EXPIRED = auto()


@dataclass(frozen=True, slots=True)
class Verdict:
    """`action`; the `missing` scopes; why it is `EXPIRED`; whether the token at hand still works meanwhile."""

    action: Action
    missing: tuple[str, ...] = ()
    detail: ExpiredDetail = "invalid_grant"
    still_valid: bool = False


def judge(
    entry: VaultEntry | None,
    *,
    scopes: Sequence[str],
    fingerprint: str,
    now: datetime,
    rejected_generation: int | None = None,
) -> Verdict:
    """Judge an entry for a call that needs `scopes`, at a provider that has `fingerprint` now.

    `rejected_generation`: the upstream refused the token of that generation, whatever its expiry says.
    """
    if entry is None or entry.provider_fingerprint != fingerprint:
        return Verdict(Action.CONNECT)
    if entry.access_token is None:
        return Verdict(Action.EXPIRED, detail=_detail(entry.attention_reason))
    missing = tuple(sorted(set(scopes) - set(entry.scopes_granted)))
    if missing:
        return Verdict(Action.SCOPES, missing=missing)
    if rejected_generation == entry.generation:
        return _renewal(entry, now, still_valid=False, otherwise="upstream_rejected")
    if entry.expires_at is None or now < entry.expires_at - leeway(entry):
        return Verdict(Action.USE, still_valid=True)
    return _renewal(entry, now, still_valid=now < entry.expires_at, otherwise="no_refresh_token")


def leeway(entry: VaultEntry) -> timedelta:
    """Return how long before its expiry a token counts as due; at most half the life of a short-lived one."""
    if entry.expires_at is None:
        return timedelta(0)
    lifetime = entry.expires_at - (entry.refreshed_at or entry.connected_at)
    return max(min(timedelta(seconds=settings.VAULT_REFRESH_LEEWAY_SECONDS), lifetime / 2), timedelta(0))


def has_given_up(entry: VaultEntry, now: datetime) -> bool:
    """Tell whether renewals have failed for `VAULT_REFRESH_GIVE_UP_HOURS`; they go on, and one success heals."""
    give_up = timedelta(hours=settings.VAULT_REFRESH_GIVE_UP_HOURS)
    return entry.failing_since is not None and now - entry.failing_since >= give_up


def is_idle(entry: VaultEntry, now: datetime) -> bool:
    """Tell whether the connection went unused for `VAULT_IDLE_DAYS`; 0 means that none is ever idle."""
    days = settings.VAULT_IDLE_DAYS
    used_at = max(entry.connected_at, entry.last_used_at or entry.connected_at)
    return bool(days) and now - used_at >= timedelta(days=days)


def _renewal(entry: VaultEntry, now: datetime, *, still_valid: bool, otherwise: ExpiredDetail) -> Verdict:
    lapsed = entry.refresh_token_expires_at is not None and entry.refresh_token_expires_at <= now
    if entry.refresh_token is None or lapsed:
        if still_valid:
            return Verdict(Action.USE, still_valid=True)
        return Verdict(Action.EXPIRED, detail="idle" if lapsed else otherwise)
    if entry.retry_at is None or entry.retry_at <= now:
        return Verdict(Action.REFRESH, still_valid=still_valid)
    if not still_valid and has_given_up(entry, now):
        return Verdict(Action.EXPIRED, detail="upstream_error")
    return Verdict(Action.WAIT, still_valid=still_valid)


def _detail(reason: str) -> ExpiredDetail:
    return cast(ExpiredDetail, reason) if reason in DETAILS else "invalid_grant"
