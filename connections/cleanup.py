"""Collect what nobody can use any more: entries of departed users and deleted providers, abandoned consents
and codes, entries that are dead for long, and, when nothing of theirs is left, the tombstones of deleted providers.

Each kind is a query and a way to take a few of its rows. Every transaction asks the query again for the rows that it
takes, so that it is safe to run twice at once, and whatever came alive meanwhile stays.
"""

from collections.abc import Callable
from dataclasses import asdict, astuple, dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from audit import trail
from changes import counter
from connections import cut_off, revocation, service_tokens
from connections.models import ConsentRequest, DeviceRequest, ProviderHealth, ProviderSlot
from providers.models import OAuthProvider
from vault.models import PendingRevocation, ServiceToken, VaultEntry

# How long the page still says what came of a code.
OUTCOME_SHOWN_SECONDS = 900
# Rows without tokens cost little: many fit into a transaction of far less than a second.
ROWS_PER_DELETION = 500
_LIVING = Exists(OAuthProvider.objects.filter(uid=OuterRef("provider_uid")))
_ACTIVE = Exists(User.objects.filter(pk=OuterRef("user_id"), is_active=True))
_EMPTY = Q(access_token__isnull=True, refresh_token__isnull=True, spare_refresh_token__isnull=True)
Rows = QuerySet[Any]


@dataclass(frozen=True, slots=True)
class Collected:
    """How many of each kind there are, or went."""

    provider_gone: int = 0
    user_gone: int = 0
    cut_off: int = 0
    dead: int = 0
    consents: int = 0
    devices: int = 0
    tombstones: int = 0

    def __add__(self, other: "Collected") -> "Collected":
        return Collected(*map(sum, zip(astuple(self), astuple(other), strict=True)))

    @property
    def entries(self) -> int:
        """Return how many entries had nobody, or nothing, that they were for."""
        return self.provider_gone + self.user_gone

    @property
    def total(self) -> int:
        """Return how many there are of all kinds."""
        return sum(astuple(self))


def waiting() -> Collected:
    """Count what there is to collect, and change nothing."""
    counts = {kind: found().count() for kind, found in KINDS.items()}
    return Collected(**counts, cut_off=cut_off.cut_off_entries().count())


def collect_orphans() -> Collected:
    """Take up to `VAULT_SCAN_BATCH` of each kind, and tell the providers of tokens that went."""
    wiped = cut_off.wipe_cut_off()
    service_tokens.drop_stale()
    retired = {kind: _in_chunks(KINDS[kind], revocation.ROWS_PER_TRANSACTION, _retire) for kind in ORPHANS}
    if any(retired.values()):
        revocation.retry_revocations()
    deleted = {kind: _in_chunks(KINDS[kind], ROWS_PER_DELETION, _delete) for kind in ("dead", "consents", "devices")}
    collected = Collected(**retired, **deleted, cut_off=wiped, tombstones=_in_chunks(_tombstones, 1, _erase))
    if collected.total:
        trail.record("cleanup.collected", **asdict(collected))
    return collected


def _in_chunks(found: Callable[[], Rows], size: int, take: Callable[[Rows], int]) -> int:
    """Read once what there is, then take it a few rows at a time."""
    pks = list(found().order_by("pk").values_list("pk", flat=True)[: settings.VAULT_SCAN_BATCH])
    chunks = (pks[start : start + size] for start in range(0, len(pks), size))
    return sum(take(found().filter(pk__in=chunk)) for chunk in chunks)


def _retire(rows: QuerySet[VaultEntry]) -> int:
    """Retire what holds tokens, each with its event; the rest just goes."""
    with transaction.atomic():
        locked = list(rows.order_by("pk").select_for_update())
        some = VaultEntry.objects.filter(pk__in=[entry.pk for entry in locked])
        empty = some.filter(_EMPTY).delete()[0]
        revocation.retire_all(some, reason="orphaned", action="connection.collected", tell_at=timezone.now())
        if empty:
            counter.announce()
    return len(locked)


def _delete(rows: Rows) -> int:
    with transaction.atomic():
        gone: int = rows.delete()[0]
        if gone and rows.model is VaultEntry:
            counter.announce()
    return gone


def _erase(tombstones: QuerySet[OAuthProvider]) -> int:
    erased = 0
    for provider in tombstones:
        with transaction.atomic():
            for model in (ProviderHealth, ProviderSlot):
                model.objects.filter(provider_uid=provider.uid).delete()
            provider.erase()
            trail.record("provider.erased", target_type="oauth-provider", target=provider.name)
        erased += 1
    return erased


def _provider_gone() -> Rows:
    return VaultEntry.objects.filter(~_LIVING)


def _user_gone() -> Rows:
    return VaultEntry.objects.filter(_LIVING, ~_ACTIVE)


def _dead() -> Rows:
    """Return entries that have been past renewal for `VAULT_DEAD_RETENTION_DAYS`; a wipe sets `expires_at` too."""
    if not settings.VAULT_DEAD_RETENTION_DAYS:
        return VaultEntry.objects.none()
    before = timezone.now() - timedelta(days=settings.VAULT_DEAD_RETENTION_DAYS)
    none_left = Q(refresh_token__isnull=True, spare_refresh_token__isnull=True)
    return VaultEntry.objects.filter(none_left | Q(refresh_token_expires_at__lt=before), expires_at__lt=before)


def _consents() -> Rows:
    return ConsentRequest.objects.filter(expires_at__lt=timezone.now())


def _devices() -> Rows:
    """Return device requests whose outcome had its time on the page, or whose user or provider is gone."""
    shown_until = timezone.now() - timedelta(seconds=OUTCOME_SHOWN_SECONDS)
    return DeviceRequest.objects.filter(Q(expires_at__lt=shown_until) | ~_LIVING | ~_ACTIVE)


def _tombstones() -> Rows:
    """Return providers of which nothing is left, once no answer of theirs can be on its way: it would be revoked."""
    unheard = timezone.now() - timedelta(seconds=settings.VAULT_REFRESH_LEASE_SECONDS)
    kept = VaultEntry.objects.filter(provider_uid=OuterRef("uid"))
    pending = PendingRevocation.objects.filter(provider_uid=OuterRef("uid"))
    shared = ServiceToken.objects.filter(provider_uid=OuterRef("uid"))
    return OAuthProvider.everything.filter(~Exists(kept), ~Exists(pending), ~Exists(shared), deleted_at__lt=unheard)


ORPHANS = ("provider_gone", "user_gone")
KINDS: dict[str, Callable[[], Rows]] = {
    "provider_gone": _provider_gone,
    "user_gone": _user_gone,
    "dead": _dead,
    "consents": _consents,
    "devices": _devices,
    "tombstones": _tombstones,
}
