"""Trade a refresh token for new tokens (RFC 6749 §6): one caller asks, across all processes; the others re-read.

The one who asks holds a lease on the row, not a lock: claimed by compare-and-swap, kept while no transaction and
no connection is open, and lapsing by itself when its holder dies. Inside a process, callers for one entry queue up
here, so that sixty-four of them do not poll the database.
"""

import logging
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.utils import timezone

from audit import trail
from connections import backoff, database, freshness
from connections.errors import (
    ConnectionRequired,
    ExpiredDetail,
    RefreshUnavailable,
    SecretMissing,
    TokenExpired,
)
from providers import oauth2
from providers.models import OAuthProvider
from providers.registered import registered_client
from vault import entries
from vault.entries import Tokens
from vault.models import VaultEntry
from vault.sealing import Unreadable, open_sealed
from vault.secrets import SecretNotFound

logger = logging.getLogger(__name__)
POLL_FIRST_SECONDS, POLL_MOST_SECONDS = 0.02, 0.2
IN_PROGRESS = "in_progress"
LONGEST_LIFETIME_SECONDS = 10 * 365 * 86_400.0
_WRITE_BACK_PAUSES_SECONDS = (0.1, 0.5, 2.0, 5.0)


def renewed(entry: VaultEntry, provider: OAuthProvider, *, wait: bool = True) -> VaultEntry:
    """Return the entry as it is after someone, us or another, has refreshed the tokens that `entry` held.

    Without `wait`, a refresh that another caller has begun is RefreshUnavailable at once. Raises TokenExpired when
    the provider ended the grant, RefreshUnavailable or SecretMissing when it cannot be asked now, and
    ConnectionRequired when the row is gone or does not open.
    """
    with _turn(entry.pk, wait=wait) as is_ours:
        if not is_ours:
            raise RefreshUnavailable(provider.name, IN_PROGRESS)
        return _renew_or_follow(entry, provider, wait=wait)


_turns_guard = threading.Lock()
_turns: dict[int, tuple[threading.Lock, int]] = {}


@contextmanager
def _turn(pk: int, *, wait: bool) -> Iterator[bool]:
    """Let this process's threads deal with one entry one after the other."""
    with _turns_guard:
        lock, waiting = _turns.get(pk, (threading.Lock(), 0))
        _turns[pk] = lock, waiting + 1
    is_ours = lock.acquire(blocking=False)
    if not is_ours and wait:
        database.let_go()
        is_ours = lock.acquire(timeout=settings.VAULT_REFRESH_LEASE_SECONDS)
    try:
        yield is_ours
    finally:
        if is_ours:
            lock.release()
        with _turns_guard:
            lock, waiting = _turns.pop(pk)
            if waiting > 1:
                _turns[pk] = lock, waiting - 1


def _renew_or_follow(entry: VaultEntry, provider: OAuthProvider, *, wait: bool) -> VaultEntry:
    lease_seconds = settings.VAULT_REFRESH_LEASE_SECONDS
    deadline = time.monotonic() + lease_seconds + POLL_MOST_SECONDS
    pause = POLL_FIRST_SECONDS
    while True:
        current, now = _reread(entry, provider), timezone.now()
        if current.generation != entry.generation:
            return current
        if current.retry_at is not None and current.retry_at > now:
            raise RefreshUnavailable(provider.name, "backing_off")
        if current.lease_until is None or current.lease_until <= now:
            holder = secrets.token_hex(16)
            if entries.claim(current, holder=holder, now=now, lease_seconds=lease_seconds):
                return _Attempt(current, provider, holder).run()
        elif not wait:
            raise RefreshUnavailable(provider.name, IN_PROGRESS)
        if time.monotonic() > deadline:
            raise RefreshUnavailable(provider.name, "timeout")
        database.let_go()
        time.sleep(pause)
        pause = min(pause * 2, POLL_MOST_SECONDS)


class _Attempt:
    """One request for new tokens, by the `holder` of the lease on `entry`."""

    def __init__(self, entry: VaultEntry, provider: OAuthProvider, holder: str) -> None:
        self._entry = entry
        self._provider = provider
        self._holder = holder

    def run(self) -> VaultEntry:
        """Ask, and write down what came of it."""
        try:
            tokens = self._ask()
        except oauth2.ProviderRefused as refused:
            if refused.is_terminal:
                return self._ended()
            raise self._failed(refused.error) from None
        except oauth2.ProviderUnavailable as unavailable:
            raise self._failed(unavailable.why, unavailable.retry_after_seconds) from None
        except oauth2.BadAnswer as bad:
            raise self._failed(bad.why) from None
        except SecretNotFound as missing:
            entries.release(self._entry, holder=self._holder)
            raise SecretMissing(self._provider.name, missing.name) from None
        except Unreadable:
            entries.release(self._entry, holder=self._holder)
            record_unreadable(self._entry, self._provider)
            raise ConnectionRequired(self._provider.name) from None
        return self._succeeded(tokens)

    def _ask(self) -> Tokens:
        refresh_token = open_sealed(self._entry, "refresh_token")
        if refresh_token is None:
            raise Unreadable("refresh_token")
        client = registered_client(self._provider)
        database.let_go()
        asked_at = timezone.now()
        answer = oauth2.refresh(client, refresh_token=refresh_token, asked=self._asked())
        return as_tokens(answer, scopes_otherwise=self._entry.scopes_granted, now=asked_at)

    def _asked(self) -> list[str]:
        """Return the scopes in whose words this entry speaks: those asked for, and what was granted beyond."""
        return list(dict.fromkeys([*self._entry.scopes_requested, *self._entry.scopes_granted]))

    def _succeeded(self, tokens: Tokens) -> VaultEntry:
        if not self._written(tokens):
            self._too_late(tokens)
        elif self._entry.failing_since is not None:
            self._record("connection.recovered", trail.OK, failures=self._entry.failures)
        return _reread(self._entry, self._provider)

    def _written(self, tokens: Tokens) -> bool:
        """Write the tokens down; a provider that rotates gives them only once, so a lost database is waited for."""
        for pause in _WRITE_BACK_PAUSES_SECONDS:
            try:
                return entries.replace(self._entry, holder=self._holder, tokens=tokens, now=timezone.now())
            except (OperationalError, InterfaceError) as exc:
                logger.warning("refreshed tokens cannot be written yet", extra={"error": type(exc).__name__})
                database.let_go()
                time.sleep(pause)
        return entries.replace(self._entry, holder=self._holder, tokens=tokens, now=timezone.now())

    def _too_late(self, tokens: Tokens) -> None:
        """Never bring back what was disconnected: tokens of a grant that is over are only good for revocation.

        When the same grant was refreshed by whoever took over our lapsed lease, revoking ours could end theirs
        (RFC 7009 §2.1): they are forgotten and expire.
        """
        current = VaultEntry.objects.filter(pk=self._entry.pk).first()
        if current is not None and current.connected_at == self._entry.connected_at:
            return
        entries.keep_for_revocation(
            self._entry,
            access_token=tokens.access_token,
            refresh_token=tokens.refresh_token,
            reason="late_refresh",
            now=timezone.now(),
        )

    def _ended(self) -> VaultEntry:
        """Take `invalid_grant` for the end, unless the tokens were replaced meanwhile (B05)."""
        # Whoever held the lease before us never gave it back: the provider may have rotated into the void.
        reason: ExpiredDetail = "lost_rotation" if self._entry.lease_holder else "invalid_grant"
        if not entries.wipe(self._entry, reason=reason, now=timezone.now(), holder=self._holder):
            return _reread(self._entry, self._provider)
        self._record("connection.ended", trail.FAILED, reason=reason)
        raise TokenExpired(self._provider.name, reason)

    def _failed(self, why: str, retry_after_seconds: float | None = None) -> RefreshUnavailable:
        """Leave the tokens alone and the provider too, for a while that grows with each failure (B07)."""
        entry, now = self._entry, timezone.now()
        delay = backoff.refresh_delay_seconds(entry.failures + 1, retry_after_seconds)
        entry.failing_since = entry.failing_since or now
        reason = entries.UPSTREAM_ERROR if freshness.has_given_up(entry, now) else ""
        entries.release_failed(
            entry,
            holder=self._holder,
            retry_at=now + timedelta(seconds=delay),
            failing_since=entry.failing_since,
            attention_reason=entry.attention_reason or reason,
        )
        self._record("connection.refresh_failed", trail.FAILED, reason=why, failures=entry.failures + 1)
        return RefreshUnavailable(self._provider.name, why)

    def _record(self, action: str, result: str, **data: Any) -> None:
        trail.record(
            action,
            target_type="connection",
            target=self._provider.name,
            result=result,
            user_id=self._entry.user_id,
            **data,
        )


def as_tokens(answer: oauth2.TokenAnswer, *, scopes_otherwise: list[str], now: datetime) -> Tokens:
    """Turn lifetimes into moments, counted from when the provider was asked (`now`).

    Scopes that the answer does not name are `scopes_otherwise` (RFC 6749 §5.1).
    """
    return Tokens(
        access_token=answer.access_token,
        refresh_token=answer.refresh_token,
        expires_at=_after(answer.expires_in, now),
        refresh_token_expires_at=_after(answer.refresh_token_expires_in, now),
        scopes_granted=scopes_otherwise if answer.scopes is None else answer.scopes,
    )


def record_unreadable(entry: VaultEntry, provider: OAuthProvider) -> None:
    """Audit that a token does not open: altered, moved from another row, or sealed under a lost key (C02, C03)."""
    trail.record(
        "connection.unreadable",
        target_type="connection",
        target=provider.name,
        result=trail.FAILED,
        user_id=entry.user_id,
    )


def _after(seconds: float | None, now: datetime) -> datetime | None:
    return None if seconds is None else now + timedelta(seconds=min(seconds, LONGEST_LIFETIME_SECONDS))


def _reread(entry: VaultEntry, provider: OAuthProvider) -> VaultEntry:
    current = VaultEntry.objects.filter(pk=entry.pk).first()
    if current is None:
        raise ConnectionRequired(provider.name)
    return current
