"""Renew ahead of time what expires soon, so that no call has to wait for it (contract §8)."""

import time
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import Q
from django.utils import timezone

from connections import refresh
from connections.errors import ConnectionRequired, RefreshUnavailable, SecretMissing, TokenExpired
from providers.models import OAuthProvider
from vault import entries
from vault.models import VaultEntry

RUN_SECONDS = 120.0


def refresh_due() -> dict[str, int]:
    """Refresh up to `VAULT_SCAN_BATCH` due entries, in bounded time; return how many `refreshed` and `failed`.

    The lease keeps two schedulers apart. One failing entry harms no other: a provider that could not be asked is
    left alone for the rest of the run.
    """
    counts = {"refreshed": 0, "failed": 0}
    tried: set[int] = set()
    silent: set[UUID] = set()
    ends = time.monotonic() + RUN_SECONDS
    while len(tried) < settings.VAULT_SCAN_BATCH and time.monotonic() < ends:
        entry = _next_due(tried, silent)
        if entry is None:
            break
        tried.add(entry.pk)
        counts[_refresh(entry, silent)] += 1
    return counts


def _next_due(tried: set[int], silent: set[UUID]) -> VaultEntry | None:
    now = timezone.now()
    at_rest = Q(retry_at__isnull=True) | Q(retry_at__lte=now)
    unclaimed = Q(lease_until__isnull=True) | Q(lease_until__lte=now)
    due = VaultEntry.objects.filter(
        at_rest,
        unclaimed,
        refresh_due_at__lte=now,
        provider_uid__in=OAuthProvider.objects.filter(enabled=True).values("uid"),
        user_id__in=User.objects.filter(is_active=True).values("pk"),
    )
    return due.exclude(pk__in=tried).exclude(provider_uid__in=silent).order_by("refresh_due_at").first()


def _refresh(entry: VaultEntry, silent: set[UUID]) -> str:
    provider = OAuthProvider.objects.filter(uid=entry.provider_uid).first()
    if provider is None:
        return "failed"
    if entry.provider_fingerprint != provider.fingerprint():  # cut off: its tokens go nowhere any more (A18)
        entries.stop_renewing(entry)
        return "failed"
    try:
        refresh.renewed(entry, provider, wait=False)
    except ConnectionRequired:
        entries.stop_renewing(entry)  # it does not open; a call says so to its user
        return "failed"
    except (RefreshUnavailable, SecretMissing) as exc:
        if getattr(exc, "why", "") != refresh.IN_PROGRESS:
            silent.add(provider.uid)
        return "failed"
    except TokenExpired:
        return "failed"
    return "refreshed"
