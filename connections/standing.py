"""How the vault stands at this moment: what `/metrics` and *Vault health* say of the database.

A dozen small queries, each answered by an index, however many entries there are. What belongs to a disabled provider is
no backlog: nobody will ask it.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.db.models import Count, Min, Q, QuerySet
from django.utils import timezone

from connections import provider_health
from connections.models import ProviderSlot
from connections.provider_health import Status
from metrics import history
from metrics.readings import Reading
from providers.models import OAuthProvider
from vault.models import PendingRevocation, VaultEntry

DUE, DUE_SECONDS = "due_entries", "due_seconds"


@dataclass(frozen=True, slots=True)
class Backlog:
    """Entries whose time to be renewed has come, and since when the first of them waits."""

    due: int = 0
    oldest: datetime | None = None
    # Due, but their provider is left alone for now.
    waiting: dict[UUID, int] = field(default_factory=dict)

    def age_seconds(self, now: datetime) -> float:
        """Return how long the first of what is due has waited."""
        return max((now - self.oldest).total_seconds(), 0.0) if self.oldest else 0.0


@dataclass(frozen=True, slots=True)
class Revocations:
    """Tokens that providers are still to be told about; `again` of them were tried before."""

    pending: int
    again: int
    oldest: datetime | None


def backlog(now: datetime) -> Backlog:
    """Return what is due at providers that are enabled."""
    uids = list(OAuthProvider.objects.filter(enabled=True).values_list("uid", flat=True))
    left_alone = provider_health.in_trouble(now).keys()
    rows = (
        VaultEntry.objects.filter(provider_uid__in=uids, refresh_due_at__lte=now)
        .values_list("provider_uid")
        .annotate(count=Count("*"), oldest=Min("refresh_due_at"))
        .order_by()
    )
    found = {uid: (count, oldest) for uid, count, oldest in rows}
    open_ones = [row for uid, row in found.items() if uid not in left_alone]
    return Backlog(
        due=sum(count for count, _ in open_ones),
        oldest=min((oldest for _, oldest in open_ones), default=None),
        waiting={uid: count for uid, (count, _) in found.items() if uid in left_alone},
    )


def note_backlog() -> None:
    """Note for the history how much is due, and for how long."""
    now = timezone.now()
    found = backlog(now)
    history.peak(DUE, found.due)
    history.peak(DUE_SECONDS, found.age_seconds(now))


def entries_by_status(attention: int) -> dict[str, int]:
    """Count the entries that are well, whose renewal fails at the moment, and that need their user (`attention`)."""
    total = VaultEntry.objects.count()
    failing = VaultEntry.objects.filter(failing_since__isnull=False, attention_reason="").count()
    return {"connected": max(total - attention - failing, 0), "renewal_failing": failing, "needs_attention": attention}


def attention_by_reason(now: datetime) -> dict[str, int]:
    """Count the entries that need their user by what is recorded of them; lapsed ones as `no_refresh_token`."""
    rows = (
        VaultEntry.objects.exclude(attention_reason="")
        .values_list("attention_reason")
        .annotate(count=Count("*"))
        .order_by()
    )
    found = Counter(dict(rows))
    found["no_refresh_token"] += _lapsed(now).count()
    return {reason: count for reason, count in found.most_common() if count}


def revocations() -> Revocations:
    """Return what is still to be told."""
    tried = Count("pk", filter=Q(attempts__gt=0))
    found = PendingRevocation.objects.aggregate(pending=Count("pk"), again=tried, oldest=Min("created_at"))
    return Revocations(**found)


def requests_in_flight(now: datetime) -> int:
    """Return how many slots of token endpoints are held."""
    return ProviderSlot.objects.filter(held_until__gt=now).count()


def readings() -> Iterable[Reading]:
    """Return the gauges that are read from the database."""
    now = timezone.now()
    found, told = backlog(now), revocations()
    statuses = entries_by_status(sum(attention_by_reason(now).values()))
    yield Reading("aigw_vault_entries", "Connections by status.", dict(statuses), "status")
    yield Reading("aigw_due_entries", "Connections whose renewal is due.", {"": found.due})
    yield Reading("aigw_due_oldest_seconds", "Since when the first of them is due.", {"": found.age_seconds(now)})
    waiting = sum(found.waiting.values())
    yield Reading("aigw_waiting_entries", "Due connections whose provider is left alone for now.", {"": waiting})
    yield Reading("aigw_providers_in_trouble", "Providers by what is wrong with them.", _troubles(now), "status")
    yield Reading("aigw_revocations_pending", "Revocations that are still to be made.", {"": told.pending})
    yield Reading("aigw_requests_in_flight", "Slots of token endpoints in use.", {"": requests_in_flight(now)})


def _lapsed(now: datetime) -> QuerySet[VaultEntry]:
    """Return the entries that nobody has touched since they lapsed without a way to renew them."""
    return VaultEntry.objects.filter(refresh_token__isnull=True, attention_reason="", expires_at__lte=now)


def _troubles(now: datetime) -> dict[str, float]:
    found = Counter(health.status for health in provider_health.in_trouble(now).values())
    return {status.value: found[status] for status in Status if status is not Status.OK}
