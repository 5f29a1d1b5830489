"""Keep, claim, replace, wipe and retire a user's tokens. No HTTP, no lock that outlives a statement.

Every write of tokens is one compare-and-swap `UPDATE`: it names the generation that its writer saw, and raises it, so
that whoever comes late changes nothing and learns of it. The lease only keeps others from asking the provider at the
same time: an answer that fits the generation is written even by a holder whose lease has lapsed.
"""

import copy
import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F

from audit import trail
from changes import counter
from vault.models import PendingRevocation, VaultEntry
from vault.sealing import Unreadable, open_sealed, seal
from vault.swapping import swap

# The reason of an entry whose renewals have failed for too long: the only one that a success clears.
UPSTREAM_ERROR = "upstream_error"
# The reason of an entry that does not open: its tokens stay, since the key may come back.
UNREADABLE = "unreadable"
# The outcome of a revocation of which one token could not be told, since it did not open.
UNTOLD = "failed"
_NO_LEASE: dict[str, Any] = {"lease_holder": "", "lease_until": None}
_HEALTHY: dict[str, Any] = {"failing_since": None, "failures": 0, "retry_at": None}
# Reasons that a provider's word, not ours, gave: one that has answered otherwise since takes them back.
REFUSED_BY_PROVIDER = ("invalid_grant", "lost_rotation", "idle")


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a provider gave, opened. `expires_at` None: good until it is rejected."""

    access_token: str = field(repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    expires_at: datetime | None = None
    refresh_token_expires_at: datetime | None = None
    scopes_granted: list[str] = field(default_factory=list)


def find(user_id: int, provider_uid: UUID) -> VaultEntry | None:
    """Return the user's entry for the provider, if there is one."""
    return VaultEntry.objects.filter(user_id=user_id, provider_uid=provider_uid).first()


def store(
    *,
    user_id: int,
    provider_uid: UUID,
    fingerprint: str,
    tokens: Tokens,
    scopes_requested: list[str],
    account: str,
    attention_reason: str = "",
    now: datetime,
) -> VaultEntry:
    """Insert what a new consent brought, or put it in place of all that was there; any lease ends."""
    owner = VaultEntry(user_id=user_id, provider_uid=provider_uid)
    values = {
        **_sealed(owner, tokens),
        **_NO_LEASE,
        **_HEALTHY,
        "refresh_token": tokens.refresh_token and seal(owner, "refresh_token", tokens.refresh_token),
        "refresh_token_expires_at": tokens.refresh_token_expires_at,
        "spare_refresh_token": None,
        "refresh_due_at": due_at(tokens.expires_at, now) if tokens.refresh_token else None,
        "provider_fingerprint": fingerprint,
        "scopes_requested": scopes_requested,
        "account": account,
        "attention_reason": attention_reason,
        "connected_at": now,
        "refreshed_at": None,
    }
    with transaction.atomic():
        if not _overwrite(owner, values):
            try:
                with transaction.atomic():
                    VaultEntry.objects.create(user_id=user_id, provider_uid=provider_uid, **values)
            except IntegrityError:  # the same user's other tab was first
                _overwrite(owner, values)
        counter.announce()
        return VaultEntry.objects.get(user_id=user_id, provider_uid=provider_uid)


def claim(entry: VaultEntry, *, holder: str, now: datetime, lease_seconds: float) -> bool:
    """Take the lease on `entry` as it was read; at most one of all who try gets it, and nobody before `retry_at`."""
    lease = {"lease_holder": holder, "lease_until": now + timedelta(seconds=lease_seconds)}
    return swap(entry, lease, same=("lease_holder",), over=("lease_until", "retry_at"), now=now)


def replace(entry: VaultEntry, *, tokens: Tokens, now: datetime) -> VaultEntry | None:
    """Put refreshed tokens in place, both in one statement (B02); a missing refresh token keeps the old (B03).

    Returns the entry as it is then; None, and nothing written, when the row is gone or someone else has written.
    """
    values = _refreshed(entry, tokens, now)
    if entry.attention_reason == UPSTREAM_ERROR:
        values["attention_reason"] = ""
    if not swap(entry, values, now=now):
        return None
    written = copy.copy(entry)
    for name, value in values.items():
        setattr(written, name, value)
    return written


def heal(entry: VaultEntry, *, tokens: Tokens, now: datetime) -> bool:
    """Put tokens back into an entry that was wiped because the provider refused their predecessors."""
    rows = _unchanged(entry).filter(access_token__isnull=True, attention_reason__in=REFUSED_BY_PROVIDER)
    with transaction.atomic():
        healed = rows.update(**_refreshed(entry, tokens, now), attention_reason="")
        if healed:
            counter.announce()
    return bool(healed)


def keep_spare(entry: VaultEntry, *, refresh_token: str) -> bool:
    """Keep the other of two refresh tokens that one brought; False when the row has changed since it was read."""
    spare = seal(entry, "spare_refresh_token", refresh_token)
    return bool(_unchanged(entry).filter(refresh_token__isnull=False).update(spare_refresh_token=spare))


def promote_spare(entry: VaultEntry) -> bool:
    """Put the spare in place of a refresh token that was refused; False when there is none that opens."""
    spare = _opened(entry, "spare_refresh_token")
    if spare is None:
        return False
    rows = _unchanged(entry).filter(spare_refresh_token__isnull=False)
    return bool(rows.update(refresh_token=seal(entry, "refresh_token", spare), spare_refresh_token=None))


def release(entry: VaultEntry, *, holder: str) -> None:
    """Give the lease back; nobody was asked."""
    _unchanged(entry).filter(lease_holder=holder).update(lease_holder=entry.lease_holder, lease_until=None)


def release_failed(
    entry: VaultEntry,
    *,
    holder: str,
    retry_at: datetime,
    failing_since: datetime,
    attention_reason: str,
    is_unanswered: bool = False,
) -> None:
    """Give the lease back after a failure that may pass: nobody is to try again before `retry_at`.

    `is_unanswered`: the provider may have rotated all the same, and the holder's name stays to tell of it.
    """
    _unchanged(entry).filter(lease_holder=holder).update(
        lease_holder=holder if is_unanswered else entry.lease_holder,
        lease_until=None,
        retry_at=retry_at,
        refresh_due_at=retry_at,
        failing_since=failing_since,
        failures=F("failures") + 1,
        attention_reason=attention_reason,
    )


def note_failing(entry: VaultEntry, *, since: datetime) -> None:
    """Note on `entry`, and in its row, since when it could not be renewed although nobody was asked for it."""
    if entry.failing_since is None:
        entry.failing_since = since
        _unchanged(entry).filter(failing_since__isnull=True).update(failing_since=since)


def end_waits(provider_uid: UUID, *, now: datetime) -> int:
    """Let every entry of a provider that answers again be renewed at once; return how many waited."""
    waiting = VaultEntry.objects.filter(provider_uid=provider_uid, refresh_due_at__gt=now, retry_at__gt=now)
    return waiting.update(retry_at=None, refresh_due_at=now)


def stop_renewing(entry: VaultEntry) -> None:
    """Take an entry that cannot be renewed out of the scan; its tokens stay as they are."""
    _unchanged(entry).update(refresh_due_at=None)


def note_unreadable(entry: VaultEntry) -> bool:
    """Note on an entry that does not open that its user has to connect again; False when it was noted before."""
    rows = _unchanged(entry).exclude(attention_reason=UNREADABLE)
    return bool(rows.update(attention_reason=UNREADABLE, refresh_due_at=None))


def note_readable(entry: VaultEntry, *, attention_reason: str, now: datetime) -> bool:
    """Take that back, and renew the entry ahead of time again; False when it was not noted any more."""
    due = due_at(entry.expires_at, now) if entry.refresh_token is not None else None
    rows = _unchanged(entry).filter(attention_reason=UNREADABLE)
    return bool(rows.update(attention_reason=attention_reason, refresh_due_at=due))


def wipe(entry: VaultEntry, *, reason: str, now: datetime) -> bool:
    """Erase the tokens and keep the row with its `reason`, unless it changed, or got a spare, since it was read."""
    rows = _unchanged(entry).filter(spare_refresh_token__isnull=entry.spare_refresh_token is None)
    with transaction.atomic():
        wiped = rows.update(
            **_NO_LEASE,
            **_HEALTHY,
            access_token=None,
            refresh_token=None,
            spare_refresh_token=None,
            expires_at=now,
            refresh_token_expires_at=None,
            refresh_due_at=None,
            attention_reason=reason,
            generation=F("generation") + 1,
        )
        if wiped:
            counter.announce()
    return bool(wiped)


def retire(entry: VaultEntry, *, reason: str, now: datetime) -> PendingRevocation | None:
    """Delete the row and, in the same transaction, keep its tokens for revocation only, due at `now`.

    None when the row was gone already or held no token that opens; see `VaultEntry` for the former.
    """
    with transaction.atomic():
        current = VaultEntry.objects.select_for_update().filter(pk=entry.pk).first()
        if current is None:
            return None
        opened = {column: _opened(current, column) for column in ("access_token", "refresh_token")}
        spare = _opened(current, "spare_refresh_token")
        VaultEntry.objects.filter(pk=current.pk).delete()
        counter.announce()
        keep_for_revocation(current, access_token=None, refresh_token=spare, reason=reason, now=now)
        is_lost = any(getattr(current, column) is not None and opened[column] is None for column in opened)
        return keep_for_revocation(current, **opened, reason=reason, now=now, settled_as=UNTOLD if is_lost else "")


def keep_for_revocation(
    entry: VaultEntry,
    *,
    access_token: str | None,
    refresh_token: str | None,
    reason: str,
    now: datetime,
    settled_as: str = "",
) -> PendingRevocation | None:
    """Keep tokens that belonged to `entry` until its provider has been told, from `now` on."""
    if not access_token and not refresh_token:
        return None
    pending = PendingRevocation(
        user_id=entry.user_id,
        provider_uid=entry.provider_uid,
        provider_fingerprint=entry.provider_fingerprint,
        reason=reason,
        settled_as=settled_as,
        try_at=now,
    )
    pending.access_token = access_token and seal(pending, "access_token", access_token)
    pending.refresh_token = refresh_token and seal(pending, "refresh_token", refresh_token)
    pending.save()
    return pending


def due_at(expires_at: datetime | None, now: datetime) -> datetime | None:
    """Choose when to renew ahead of time: spread out, and never before half of a short life is over."""
    if expires_at is None:
        return None
    lifetime = max((expires_at - now).total_seconds(), 0.0)
    ahead = settings.VAULT_REFRESH_AHEAD_SECONDS * random.uniform(1, 1.5)  # noqa: S311 - spreads load, no secret
    return expires_at - timedelta(seconds=min(ahead, lifetime / 2))


def _unchanged(entry: VaultEntry) -> Any:
    return VaultEntry.objects.filter(pk=entry.pk, generation=entry.generation)


def _overwrite(owner: VaultEntry, values: dict[str, Any]) -> int:
    rows = VaultEntry.objects.filter(user_id=owner.user_id, provider_uid=owner.provider_uid)
    return rows.update(**values, generation=F("generation") + 1)


def _refreshed(entry: VaultEntry, tokens: Tokens, now: datetime) -> dict[str, Any]:
    values = {
        **_sealed(entry, tokens),
        **_NO_LEASE,
        **_HEALTHY,
        "spare_refresh_token": None,
        "refresh_due_at": due_at(tokens.expires_at, now),
        "refreshed_at": now,
        "generation": entry.generation + 1,
    }
    if tokens.refresh_token:
        values["refresh_token"] = seal(entry, "refresh_token", tokens.refresh_token)
        values["refresh_token_expires_at"] = tokens.refresh_token_expires_at
    return values


def _sealed(owner: VaultEntry, tokens: Tokens) -> dict[str, Any]:
    return {
        "access_token": seal(owner, "access_token", tokens.access_token),
        "expires_at": tokens.expires_at,
        "scopes_granted": tokens.scopes_granted,
    }


def _opened(entry: VaultEntry, column: str) -> str | None:
    try:
        return open_sealed(entry, column)
    except Unreadable:
        trail.record(
            "connection.unreadable",
            target_type="connection",
            target=str(entry.uid),
            result=trail.FAILED,
            user_id=entry.user_id,
            column=column,
        )
        return None
