"""How many requests may be in flight to one provider's token endpoint: `VAULT_REFRESH_CONCURRENCY_PER_PROVIDER`,
counted over all processes (B16).

A slot is taken by compare-and-swap and lapses by itself when its holder dies. Within a process, one provider that
stalls may occupy half of the threads at most, so that calls to the others find one (B09).
"""

import random
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from connections import database
from connections.models import ProviderSlot

POLL_SECONDS = 0.1
MOST_PER_PROCESS = database.THREADS // 2


@contextmanager
def taken(provider_uid: UUID, *, patience_seconds: float) -> Iterator[bool]:
    """Hold one of the provider's slots; False when there was none for as long as the caller would wait."""
    with _place_here(provider_uid) as has_place:
        holder, deadline = secrets.token_hex(8), time.monotonic() + patience_seconds
        slot = _take(provider_uid, holder) if has_place else None
        while slot is None and has_place and time.monotonic() < deadline:
            database.let_go()
            time.sleep(POLL_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311 - spreads load, no secret
            slot = _take(provider_uid, holder)
        try:
            yield slot is not None
        finally:
            if slot is not None:
                ProviderSlot.objects.filter(pk=slot, holder=holder).update(holder="", held_until=None)


def _take(provider_uid: UUID, holder: str) -> int | None:
    now = timezone.now()
    free = Q(held_until__isnull=True) | Q(held_until__lte=now)
    numbers = _slots(provider_uid)
    until = now + timedelta(seconds=settings.VAULT_REFRESH_LEASE_SECONDS)
    for slot in random.sample(numbers, len(numbers)):
        if slot.held_until is not None and slot.held_until > now:
            continue
        if ProviderSlot.objects.filter(free, pk=slot.pk).update(holder=holder, held_until=until):
            return slot.pk
    return None


def _slots(provider_uid: UUID) -> list[ProviderSlot]:
    wanted = settings.VAULT_REFRESH_CONCURRENCY_PER_PROVIDER
    rows = ProviderSlot.objects.filter(provider_uid=provider_uid, number__lt=wanted)
    slots = list(rows)
    if len(slots) < wanted:
        missing = set(range(wanted)) - {slot.number for slot in slots}
        ProviderSlot.objects.bulk_create(
            [ProviderSlot(provider_uid=provider_uid, number=number) for number in sorted(missing)],
            ignore_conflicts=True,
        )
        slots = list(rows.all())
    return slots


_guard = threading.Lock()
_here: dict[UUID, int] = {}


@contextmanager
def _place_here(provider_uid: UUID) -> Iterator[bool]:
    with _guard:
        has_place = _here.get(provider_uid, 0) < MOST_PER_PROCESS
        if has_place:
            _here[provider_uid] = _here.get(provider_uid, 0) + 1
    try:
        yield has_place
    finally:
        if has_place:
            with _guard:
                left = _here.pop(provider_uid) - 1
                if left:
                    _here[provider_uid] = left
