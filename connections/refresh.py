"""Refresh an entry's tokens: one caller asks, across all processes; the others wait and take what it got.

The one who asks holds a lease on the row, not a lock: claimed by compare-and-swap, kept while no transaction and
no connection is open, and lapsing by itself when its holder dies. Inside a process, callers for one entry share one
flight: whoever leads it asks or watches the row, and the others cost the database nothing.
"""

import secrets
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, TimeoutError
from contextlib import ExitStack, contextmanager

from django.conf import settings
from django.utils import timezone

from connections import database, provider_health
from connections.attempt import BUSY, PAUSED, Attempt, Held, reread
from connections.errors import RefreshUnavailable
from connections.provider_health import Status
from metrics import catalog
from providers.models import OAuthProvider
from vault import entries
from vault.models import VaultEntry

__all__ = ["BUSY", "IN_PROGRESS", "PAUSED", "Held", "renewed"]
POLL_FIRST_SECONDS, POLL_MOST_SECONDS = 0.02, 0.2
IN_PROGRESS = "in_progress"


def renewed(entry: VaultEntry, provider: OAuthProvider, *, wait: bool = True, held: Held | None = None) -> VaultEntry:
    """Return the entry as it is after someone, us or another, has refreshed the tokens that `entry` held.

    Without `wait`, a refresh that another caller has begun is RefreshUnavailable at once; `held`: see there.
    Raises TokenExpired when the provider ended the grant, RefreshUnavailable or SecretMissing when it cannot be asked
    now, and ConnectionRequired when the row is gone or does not open.
    """
    deadline = time.monotonic() + settings.VAULT_REFRESH_LEASE_SECONDS + POLL_MOST_SECONDS
    while True:
        flight, is_ours = _join(entry)
        if is_ours:
            return _lead(flight, entry, provider, wait=wait, held=held)
        if not wait:
            raise RefreshUnavailable(provider.name, IN_PROGRESS)
        database.let_go()
        try:
            with _waiting("same_process"):
                return flight.result(timeout=max(deadline - time.monotonic(), 0))
        except TimeoutError:
            raise RefreshUnavailable(provider.name, "timeout") from None
        except RefreshUnavailable as shared:
            # Its leader would not wait; we would.
            if shared.why not in (IN_PROGRESS, BUSY) or time.monotonic() > deadline:
                raise RefreshUnavailable(provider.name, shared.why) from None


_Flight = Future[VaultEntry]
_guard = threading.Lock()
_flights: dict[tuple[int, int], _Flight] = {}


def _join(entry: VaultEntry) -> tuple[_Flight, bool]:
    """Return this process's flight for the tokens that `entry` holds, and whether the caller is to lead it."""
    with _guard:
        flight = _flights.get((entry.pk, entry.generation))
        if flight is not None:
            return flight, False
        flight = _flights[entry.pk, entry.generation] = Future()
        return flight, True


def _lead(flight: _Flight, entry: VaultEntry, provider: OAuthProvider, *, wait: bool, held: Held | None) -> VaultEntry:
    try:
        answer = _renew_or_follow(entry, provider, wait=wait, held=held)
    except BaseException as exc:
        _land(entry)
        flight.set_exception(exc)
        raise
    _land(entry)
    flight.set_result(answer)
    return answer


def _land(entry: VaultEntry) -> None:
    with _guard:
        del _flights[entry.pk, entry.generation]


def _renew_or_follow(entry: VaultEntry, provider: OAuthProvider, *, wait: bool, held: Held | None) -> VaultEntry:
    lease_seconds = settings.VAULT_REFRESH_LEASE_SECONDS
    deadline = time.monotonic() + lease_seconds + POLL_MOST_SECONDS
    pause, current = POLL_FIRST_SECONDS, entry
    if held is None:
        _refuse_while_paused(entry, provider)
    with ExitStack() as waiting:
        while True:
            now = timezone.now()
            if current.generation != entry.generation:
                return current
            if current.retry_at is not None and current.retry_at > now:
                raise RefreshUnavailable(provider.name, "backing_off")
            if current.lease_until is None or current.lease_until <= now:
                holder = secrets.token_hex(16)
                if entries.claim(current, holder=holder, now=now, lease_seconds=lease_seconds):
                    waiting.close()
                    return Attempt(current, provider, holder, held).run(wait=wait)
            elif not wait:
                raise RefreshUnavailable(provider.name, IN_PROGRESS)
            elif time.monotonic() > deadline:
                raise RefreshUnavailable(provider.name, "timeout")
            else:
                if pause == POLL_FIRST_SECONDS:
                    waiting.enter_context(_waiting("other_process"))
                database.let_go()
                time.sleep(pause)
                pause = min(pause * 2, POLL_MOST_SECONDS)
            current = reread(entry, provider)


@contextmanager
def _waiting(holder: str) -> Iterator[None]:
    """Count a caller among those who wait for another, and then how long it did."""
    begun = time.monotonic()
    catalog.lease_waiters.rise()
    try:
        yield
    finally:
        catalog.lease_waiters.fall()
        catalog.lease_waits.observe(time.monotonic() - begun, holder)


def _refuse_while_paused(entry: VaultEntry, provider: OAuthProvider) -> None:
    """Fail fast while the provider is left alone; since when it fails counts for this entry as well (G11)."""
    if not provider_health.may_ask(provider.uid, timezone.now()):
        return
    health = provider_health.of([provider.uid])[provider.uid]
    if health.status is Status.FAILING and health.since is not None:
        entries.note_failing(entry, since=health.since)
    raise RefreshUnavailable(provider.name, PAUSED)
