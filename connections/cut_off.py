"""Erase tokens that were given to a client or an endpoint which their provider no longer has (A18).

Nothing of them is sent anywhere: the provider that issued them is no longer known, and its successor must not see them.
Until this has run, `freshness` already refuses to use them.
"""

import time
from collections.abc import Collection
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from audit import trail
from providers.models import OAuthProvider
from vault import entries
from vault.models import VaultEntry

PROVIDER_CHANGED = "provider_changed"
RUN_SECONDS = 30.0
_HELD = Q(access_token__isnull=False) | Q(refresh_token__isnull=False) | Q(spare_refresh_token__isnull=False)


def has_cut_off(provider: OAuthProvider) -> bool:
    """Tell whether someone's tokens no longer fit the provider."""
    held = VaultEntry.objects.filter(_HELD, provider_uid=provider.uid)
    return held.exclude(provider_fingerprint=provider.fingerprint()).exists()


def wipe_cut_off() -> int:
    """Wipe such entries, in batches and bounded time; they keep their row and say why. Return how many were wiped."""
    wiped, ends = 0, time.monotonic() + RUN_SECONDS
    while time.monotonic() < ends and (stale := _stale()):
        rows = _of(stale).order_by("pk")[: settings.VAULT_SCAN_BATCH]
        done = sum(_wipe(entry, stale[entry.provider_uid, entry.provider_fingerprint]) for entry in rows)
        if not done:  # another run is at it
            break
        wiped += done
    return wiped


def cut_off_entries() -> QuerySet[VaultEntry]:
    """Return what `wipe_cut_off` would wipe now."""
    stale = _stale()
    return _of(stale) if stale else VaultEntry.objects.none()


def _of(stale: Collection[tuple[UUID, str]]) -> QuerySet[VaultEntry]:
    which = Q()
    for uid, fingerprint in stale:
        which |= Q(provider_uid=uid, provider_fingerprint=fingerprint)
    return VaultEntry.objects.filter(_HELD & which)


def _stale() -> dict[tuple[UUID, str], str]:
    """Return `(provider uid, fingerprint)` of what was cut off, with the provider's name.

    The entries are read before the providers: an entry of a new consent is then never held against an old reading.
    """
    kinds = VaultEntry.objects.filter(_HELD).order_by().values_list("provider_uid", "provider_fingerprint")
    seen = list(kinds.distinct())
    living = {provider.uid: provider for provider in OAuthProvider.objects.filter(uid__in={uid for uid, _ in seen})}
    return {
        (uid, fingerprint): living[uid].name
        for uid, fingerprint in seen
        if uid in living and living[uid].fingerprint() != fingerprint
    }


def _wipe(entry: VaultEntry, provider_name: str) -> bool:
    with transaction.atomic():
        wiped = entries.wipe(entry, reason=PROVIDER_CHANGED, now=timezone.now())
        if wiped:
            trail.record(
                "connection.cut_off",
                target_type="connection",
                target=provider_name,
                user_id=entry.user_id,
                reason=PROVIDER_CHANGED,
            )
    return wiped
