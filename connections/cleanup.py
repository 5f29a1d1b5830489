"""Collect what nobody can use any more: entries of departed users and deleted providers, abandoned consents
and codes, and, when nothing of theirs is left, the tombstones of deleted providers.

Every step is bounded, and safe to run twice at once: a row is taken by whoever deletes it.
"""

from dataclasses import asdict, dataclass
from datetime import timedelta

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from audit import trail
from connections.cut_off import wipe_cut_off
from connections.models import ConsentRequest, DeviceRequest
from connections.revocation import retry_revocations
from providers.models import OAuthProvider
from vault import entries
from vault.models import PendingRevocation, VaultEntry

# How long the page still says what came of a code.
OUTCOME_SHOWN_SECONDS = 900


@dataclass(frozen=True, slots=True)
class Collected:
    """How many of each kind went."""

    entries: int
    consents: int
    tombstones: int
    devices: int = 0


def collect_orphans() -> Collected:
    """Retire orphaned entries, tell their providers, wipe what was cut off, delete what is then left of no use."""
    wipe_cut_off()
    retired = _retire_orphans()
    if retired:
        retry_revocations()
    collected = Collected(
        entries=retired,
        consents=_delete_abandoned_consents(),
        tombstones=_erase_tombstones(),
        devices=_delete_abandoned_devices(),
    )
    if any(asdict(collected).values()):
        trail.record("cleanup.collected", **asdict(collected))
    return collected


def _retire_orphans() -> int:
    living = OAuthProvider.objects.filter(uid=OuterRef("provider_uid"))
    active = User.objects.filter(pk=OuterRef("user_id"), is_active=True)
    orphans = VaultEntry.objects.filter(~Exists(living) | ~Exists(active)).order_by("pk")
    return sum(_retire(entry) for entry in orphans[: settings.VAULT_SCAN_BATCH])


def _retire(entry: VaultEntry) -> bool:
    """Retire one entry; False when another run was faster."""
    with transaction.atomic():
        if not VaultEntry.objects.select_for_update().filter(pk=entry.pk).exists():
            return False
        entries.retire(entry, reason="orphaned", now=timezone.now())
        trail.record(
            "connection.collected", target_type="connection", target=str(entry.provider_uid), user_id=entry.user_id
        )
    return True


def _delete_abandoned_consents() -> int:
    abandoned = ConsentRequest.objects.filter(expires_at__lt=timezone.now()).values_list("pk", flat=True)
    batch = list(abandoned[: settings.VAULT_SCAN_BATCH])
    return ConsentRequest.objects.filter(pk__in=batch).delete()[0]


def _delete_abandoned_devices() -> int:
    """Delete device requests whose outcome had its time on the page, or whose user or provider is gone."""
    shown_until = timezone.now() - timedelta(seconds=OUTCOME_SHOWN_SECONDS)
    living = OAuthProvider.objects.filter(uid=OuterRef("provider_uid"))
    active = User.objects.filter(pk=OuterRef("user_id"), is_active=True)
    abandoned = DeviceRequest.objects.filter(Q(expires_at__lt=shown_until) | ~Exists(living) | ~Exists(active))
    batch = list(abandoned.values_list("pk", flat=True)[: settings.VAULT_SCAN_BATCH])
    return DeviceRequest.objects.filter(pk__in=batch).delete()[0]


def _erase_tombstones() -> int:
    kept = VaultEntry.objects.filter(provider_uid=OuterRef("uid"))
    pending = PendingRevocation.objects.filter(provider_uid=OuterRef("uid"))
    buried = OAuthProvider.everything.filter(Q(deleted_at__isnull=False) & ~Exists(kept) & ~Exists(pending))
    erased = 0
    for provider in buried[: settings.VAULT_SCAN_BATCH]:
        with transaction.atomic():
            provider.erase()
            trail.record("provider.erased", target_type="oauth-provider", target=provider.name)
        erased += 1
    return erased
