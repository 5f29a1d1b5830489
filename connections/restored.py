"""After a restore from a backup: what was valid then and must not be now, and renewals that are all due at once.

Access tokens of a backup have expired, and refresh tokens may have been rotated since: every connection is due, and a
provider may refuse many of them. They are renewed over a while; a call renews its own connection before its turn.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from audit import trail
from clients import sign_ins
from connections.models import ConsentRequest, DeviceRequest
from vault.models import VaultEntry

AT_ONCE = 500
STEP_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Settled:
    """What was ended, and how many renewals were put off."""

    sign_ins: int
    consents: int
    renewals: int


def settle(*, over: timedelta) -> Settled:
    """End sign-ins and consents under way, and spread the renewals that are due `over` a time from now on."""
    now = timezone.now()
    with transaction.atomic():
        consents = sum(model.objects.all().delete()[0] for model in (ConsentRequest, DeviceRequest))
        settled = Settled(sign_ins.end_everybodys(), consents, _spread(now, over))
        trail.record("vault.restored", sign_ins=settled.sign_ins, consents=settled.consents, renewals=settled.renewals)
    return settled


def _spread(now: datetime, over: timedelta) -> int:
    """Give each step of the time an equal share, drawn from all users and providers alike."""
    due = list(VaultEntry.objects.filter(refresh_due_at__lt=now + over).order_by("uid").values_list("pk", flat=True))
    steps = max(min(int(over.total_seconds() / STEP_SECONDS), len(due)), -(-len(due) // AT_ONCE), 1)
    for step in range(steps):
        share = due[step::steps]
        VaultEntry.objects.filter(pk__in=share).update(refresh_due_at=now + over * (step / steps))
    return len(due)
