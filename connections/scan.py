"""Renew ahead of time what expires soon, so that no call has to wait for it (contract §8).

Per provider, so that one with much due, or one that is left alone, costs the others nothing: a page of due entries at
a time, read by index, handled by a few lanes, each of which holds one of the provider's slots. The lease keeps two
schedulers apart. What cannot be renewed leaves the index, so that no later scan reads it again.
"""

import threading
import time
from collections import deque
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import datetime
from itertools import chain, zip_longest

from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from connections import freshness, provider_health, refresh, slots, standing, stopping
from connections.errors import ConnectionRequired, RefreshUnavailable, TokenExpired
from connections.models import ProviderHealth
from metrics import catalog
from providers.models import OAuthProvider
from providers.oauth2 import RegisteredClient, WireSession
from providers.registered import registered_client
from vault import entries
from vault.models import VaultEntry
from vault.secrets import SecretNotFound

RUN_SECONDS = 120.0
THREADS = 16
PAGE = 50
GOOD_FOR_SECONDS = 0.5


def refresh_due() -> dict[str, int]:
    """Refresh up to `VAULT_SCAN_BATCH` due entries, in bounded time; return how many `refreshed` and `failed`."""
    begun = time.monotonic()
    standing.note_backlog()
    run = _Run()
    feeds = [feed for provider in _askable(timezone.now()) if (feed := _Feed(provider, run)).has_more()]
    lanes = [[feed] * min(settings.VAULT_REFRESH_CONCURRENCY_PER_PROVIDER, feed.ready()) for feed in feeds]
    with ThreadPoolExecutor(THREADS, thread_name_prefix="scan") as pool:
        # One lane of every provider before the second of any.
        turns = chain.from_iterable(zip_longest(*lanes))
        running: dict[Future[bool], _Feed] = {pool.submit(_lane, feed): feed for feed in turns if feed is not None}
        while running:
            for lane in wait(running, return_when=FIRST_COMPLETED).done:
                feed = running.pop(lane)
                if lane.result():
                    running[pool.submit(_lane, feed)] = feed
    catalog.scan_seconds.observe(time.monotonic() - begun)
    return run.counts


def due_entries(provider: OAuthProvider, now: datetime) -> QuerySet[VaultEntry]:
    """Return what of the provider is to be renewed now, longest due first."""
    at_rest = Q(retry_at__isnull=True) | Q(retry_at__lte=now)
    unclaimed = Q(lease_until__isnull=True) | Q(lease_until__lte=now)
    is_active = Exists(User.objects.filter(pk=OuterRef("user_id"), is_active=True))
    due = VaultEntry.objects.filter(at_rest, unclaimed, is_active, provider_uid=provider.uid, refresh_due_at__lte=now)
    return due.order_by("refresh_due_at", "pk")


def _askable(now: datetime) -> Iterable[OAuthProvider]:
    paused = ProviderHealth.objects.filter(paused_until__gt=now, client_rejected_at__isnull=True)
    return OAuthProvider.objects.filter(enabled=True).exclude(uid__in=paused.values("provider_uid"))


class _Run:
    """What the lanes of one scan share: how much may still be tried, until when, and what came of it."""

    def __init__(self) -> None:
        self.counts = {"refreshed": 0, "failed": 0}
        self._left = settings.VAULT_SCAN_BATCH
        self._ends = time.monotonic() + RUN_SECONDS
        self._lock = threading.Lock()

    def take(self) -> bool:
        """Use up one of the entries that may be tried; False when there is none left, no time, or a stop was asked."""
        with self._lock:
            self._left -= 1
            return self._left >= 0 and time.monotonic() < self._ends and not stopping.is_asked()

    def count(self, outcome: str) -> None:
        """Count what came of one entry."""
        with self._lock:
            self.counts[outcome] += 1


class _Feed:
    """One provider's due entries, page by page, each handed out once; closed when the provider is left alone."""

    def __init__(self, provider: OAuthProvider, run: _Run) -> None:
        self.run = run
        self._provider: OAuthProvider | None = provider
        self._client: RegisteredClient | None = None
        self._read_at = time.monotonic()
        self._page: deque[VaultEntry] = deque()
        self._last: VaultEntry | None = None
        self._is_closed = False
        self._lock = threading.Lock()

    def has_more(self) -> bool:
        """Tell whether there is something to hand out."""
        with self._lock:
            return self._filled()

    def ready(self) -> int:
        """Return how many entries are at hand."""
        return len(self._page)

    def next(self) -> VaultEntry | None:
        """Hand out the next entry that the run may still try."""
        with self._lock:
            if not self._filled() or not self.run.take():
                self._is_closed = True
                return None
            return self._page.popleft()

    def provider(self) -> OAuthProvider | None:
        """Return the provider as it was less than a second ago; None when it is gone or disabled."""
        if time.monotonic() - self._read_at > GOOD_FOR_SECONDS and self._provider is not None:
            self._read_at, self._client = time.monotonic(), None
            self._provider = OAuthProvider.objects.filter(pk=self._provider.pk, enabled=True).first()
        return self._provider

    def client(self, provider: OAuthProvider) -> RegisteredClient:
        """Return its client, secret included, opened less than a second ago. Raises SecretNotFound."""
        client = self._client
        if client is None:
            client = self._client = registered_client(provider)
        return client

    def close(self) -> None:
        """Hand out nothing more."""
        self._is_closed = True

    def _filled(self) -> bool:
        if not self._page and not self._is_closed and self._provider is not None:
            rows = due_entries(self._provider, timezone.now())
            if self._last is not None:
                at, pk = self._last.refresh_due_at, self._last.pk
                rows = rows.filter(Q(refresh_due_at__gt=at) | Q(refresh_due_at=at, pk__gt=pk), refresh_due_at__gte=at)
            self._page.extend(rows[:PAGE])
            self._last = self._page[-1] if self._page else None
        return bool(self._page) and not self._is_closed


def _lane(feed: _Feed) -> bool:
    """Renew one entry after the other for as long as a slot may be held; tell whether there is more to do."""
    try:
        provider = feed.provider()
        if provider is None:
            return False
        ends = time.monotonic() + _slot_seconds()
        with slots.taken(provider.uid, patience_seconds=0) as has_slot:
            if not has_slot:  # another process is at it
                return False
            with WireSession(keeps_connection=True) as session:
                while entry := feed.next():
                    if outcome := _refresh(entry, feed, session):
                        feed.run.count(outcome)
                    if time.monotonic() > ends:
                        break
        return feed.has_more()
    finally:
        connection.close()


def _slot_seconds() -> float:
    """Return for how long a lane may begin requests that all end before its slot lapses."""
    longest = settings.VAULT_REFRESH_LEASE_SECONDS - settings.AIGW_TOKEN_ENDPOINT_TIMEOUT_SECONDS
    return max(float(longest) / 2, 0.0)


def _refresh(entry: VaultEntry, feed: _Feed, session: WireSession) -> str:
    """Renew one entry; return what to count, or nothing when someone else is at it."""
    provider = feed.provider()
    if provider is None:
        return ""
    if entry.provider_fingerprint != provider.fingerprint():  # cut off: its tokens go nowhere any more (A18)
        entries.stop_renewing(entry)
        return "failed"
    if freshness.is_idle(entry, timezone.now()) and not provider.keep_idle_connections:
        entries.stop_renewing(entry)  # left to lapse; its next use renews it, if the provider still does
        return ""
    try:
        held = refresh.Held(feed.client(provider), session)
        current = refresh.renewed(entry, provider, wait=False, held=held)
    except ConnectionRequired:
        entries.stop_renewing(entry)  # it does not open; a call says so to its user
        return "failed"
    except SecretNotFound:
        feed.close()
        return "failed"
    except RefreshUnavailable as exc:
        if exc.why in (refresh.PAUSED, *provider_health.CLIENT_REJECTED):
            feed.close()
        return "" if exc.why in (refresh.PAUSED, refresh.IN_PROGRESS) else "failed"
    except TokenExpired:
        return "failed"
    return "refreshed" if current.access_token is not None else "failed"
