"""The only door to a service account's token: use what is stored, get another, or say why there is none.

Everything is judged against the server, provider and secret as they are now: a token that came from what they were is
dropped before it is used, whoever noticed the change or did not.
"""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.db.models import F, Q
from django.utils import timezone

from audit import trail
from clients import activity
from connections import registry, service_requests
from connections.database import run_in_thread
from connections.errors import ProviderNotFound, RefreshUnavailable, SecretMissing, ServiceAccountRefused, TokenError
from connections.service_accounts import ServiceAccount, Source, source_of
from vault import service_tokens
from vault.models import ServiceToken
from vault.sealing import Unreadable, open_sealed

UPSTREAM_REJECTED = "upstream_rejected"
# An upstream that refuses every token costs one request in so long, over all processes (B13).
REPLACE_AGAIN = timedelta(seconds=60)
RUN_SECONDS = 60.0
THREADS = 8


@dataclass(frozen=True, slots=True)
class UsableServiceToken:
    """An opened token, to be kept in memory for seconds. `usable_until` None: until it is rejected."""

    access_token: str = field(repr=False)
    usable_until: datetime | None
    pk: int
    generation: int


@dataclass(frozen=True, slots=True)
class Standing:
    """How a server's service account fares: when it last got a token, until when that is good, what went wrong."""

    obtained_at: datetime | None = None
    expires_at: datetime | None = None
    last_error: str = ""
    is_refused: bool = False
    failing_since: datetime | None = None


def usable_token(server_uid: UUID, *, rejected_generation: int | None = None) -> UsableServiceToken:
    """Return the server's token, got anew when it is due, or when the upstream refused that of `rejected_generation`.

    Raises TokenError.
    """
    source = _source(server_uid)
    row = _own_row(source)
    now = timezone.now()
    is_rejected = rejected_generation == row.generation
    if is_rejected and row.rejected_at is not None and now < row.rejected_at + REPLACE_AGAIN:
        raise ServiceAccountRefused(source.name, UPSTREAM_REJECTED)
    still_valid = not is_rejected and _is_good(row, now)
    if not still_valid or (row.expires_at is not None and now >= row.expires_at - _leeway(row)):
        try:
            row = service_requests.renewed(row, source, wait=not still_valid, is_rejected=is_rejected)
        except (RefreshUnavailable, ServiceAccountRefused):
            if not still_valid:
                raise
    return _opened(row, source)


async def ausable_token(server_uid: UUID, *, rejected_generation: int | None = None) -> UsableServiceToken:
    """Do as `usable_token`, off the event loop; callers that ask for the same at the same time share one answer."""
    wanted = (asyncio.get_running_loop(), server_uid, rejected_generation)
    asking = _asking.get(wanted)
    if asking is None:
        asking = asyncio.create_task(run_in_thread(usable_token, server_uid, rejected_generation=rejected_generation))
        _asking[wanted] = asking
        asking.add_done_callback(lambda done: _answered(wanted, done))
    # A caller that goes away must not take the answer from the others.
    return await asyncio.shield(asking)


_Wanted = tuple[asyncio.AbstractEventLoop, UUID, int | None]
_asking: dict[_Wanted, asyncio.Task[UsableServiceToken]] = {}


def _answered(wanted: _Wanted, done: asyncio.Task[UsableServiceToken]) -> None:
    _asking.pop(wanted, None)
    if not done.cancelled():
        done.exception()  # seen, even if every caller has gone


def try_again(server_uid: UUID) -> None:
    """Do not wait any longer after a refusal; what the token endpoint asked for (`Retry-After`) stays in force."""
    service_tokens.end_wait(server_uid)


def standing(server_uid: UUID) -> Standing:
    """Return how the server's service account fares, without asking anybody."""
    row = ServiceToken.objects.filter(server_uid=server_uid).first()
    if row is None:
        return Standing()
    return Standing(row.obtained_at, row.expires_at, row.last_error, row.is_refused, row.failing_since)


def drop(server_uid: UUID, *, reason: str) -> None:
    """Forget a server's token, because the server has changed or goes; its provider is told in the background."""
    if service_tokens.drop(server_uid, reason=reason):
        trail.record("service_token.dropped", target_type="mcp_server", target=str(server_uid), reason=reason)


def drop_stale() -> int:
    """Drop every token that its server, provider or secret, as they are now, would not bring; return how many."""
    rows = {row.server_uid: row for row in ServiceToken.objects.all()}
    accounts = registry.service_accounts(list(rows))
    stale = [uid for uid, row in rows.items() if uid not in accounts or not _fits(row, accounts[uid])]
    for uid in stale:
        drop(uid, reason="service_account_changed")
    return len(stale)


def refresh_due() -> dict[str, int]:
    """Get ahead of time the tokens that expire soon and were used, in bounded time; count `refreshed` and `failed`."""
    counts = {"refreshed": 0, "failed": 0}
    ends = time.monotonic() + RUN_SECONDS
    now = timezone.now()
    at_rest = Q(retry_at__isnull=True) | Q(retry_at__lte=now)
    unclaimed = Q(lease_until__isnull=True) | Q(lease_until__lte=now)
    due = ServiceToken.objects.filter(at_rest, unclaimed, refresh_due_at__lte=now, last_used_at__gte=F("obtained_at"))
    rows = list(due.order_by("refresh_due_at")[: settings.VAULT_SCAN_BATCH])
    with ThreadPoolExecutor(THREADS, thread_name_prefix="service-tokens") as pool:
        for outcome in pool.map(lambda row: _refresh(row, ends), rows):
            if outcome:
                counts[outcome] += 1
    return counts


def _refresh(row: ServiceToken, ends: float) -> str:
    if time.monotonic() > ends:
        return ""
    try:
        source = _source(row.server_uid)
        if source.fingerprint != row.fingerprint:
            return ""
        service_requests.renewed(row, source, wait=False)
    except TokenError:
        return "failed"
    finally:
        connection.close()
    return "refreshed"


def _source(server_uid: UUID) -> Source:
    account = registry.service_accounts([server_uid]).get(server_uid)
    if account is None:
        raise ServiceAccountRefused("", "not_configured")
    return source_of(account)


def _own_row(source: Source) -> ServiceToken:
    """Return the row, emptied first when its token came from elsewhere."""
    while True:
        row = service_tokens.row_of(source.account.server_uid)
        if row.fingerprint == source.fingerprint:
            return row
        provider = source.provider
        service_tokens.belong(
            row,
            fingerprint=source.fingerprint,
            provider_uid=provider.uid if provider else None,
            provider_fingerprint=provider.fingerprint() if provider else "",
        )


def _fits(row: ServiceToken, account: ServiceAccount) -> bool:
    try:
        return source_of(account).fingerprint == row.fingerprint
    except ProviderNotFound as exc:
        return exc.why == "disabled"
    except SecretMissing:
        return False


def _is_good(row: ServiceToken, now: datetime) -> bool:
    return row.access_token is not None and (row.expires_at is None or now < row.expires_at)


def _leeway(row: ServiceToken) -> timedelta:
    """Return how long before its expiry a token counts as due; at most half the life of a short-lived one."""
    if row.expires_at is None or row.obtained_at is None:
        return timedelta(0)
    most = timedelta(seconds=settings.VAULT_REFRESH_LEEWAY_SECONDS)
    return max(min(most, (row.expires_at - row.obtained_at) / 2), timedelta(0))


def _opened(row: ServiceToken, source: Source) -> UsableServiceToken:
    name = source.account.server_name
    try:
        access_token = open_sealed(row, "access_token")
    except Unreadable:
        access_token = None
        trail.record("service_token.unreadable", target_type="mcp_server", target=name, result=trail.FAILED)
        drop(row.server_uid, reason="unreadable")
    if access_token is None:
        raise RefreshUnavailable(source.name, "changed")
    trail.record("service_token.opened", target_type="mcp_server", target=name)
    return UsableServiceToken(access_token, row.expires_at, row.pk, row.generation)


def _write_used(batch: dict[int, datetime]) -> None:
    for pk, at in batch.items():
        ServiceToken.objects.filter(pk=pk).update(last_used_at=at)


_used = activity.LastUsed(_write_used)
note_used = _used.note


def register() -> None:
    """Have the notes of use flushed with the others."""
    activity.register(_used)
