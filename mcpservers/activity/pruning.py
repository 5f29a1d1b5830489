"""Delete calls whose days are over, oldest first, a few rows at a time."""

import time
from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from connections import stopping
from mcpservers.activity.models import ServerCall

ROWS_PER_DELETION = 1000
# The next run goes on; a task that ran for minutes would hold up the others.
SECONDS_AT_MOST = 60.0


def prune() -> int:
    """Delete what is older than `AIGW_ACTIVITY_RETENTION_DAYS`; return how many rows went.

    Rows are numbered in the order in which they are written, so that the oldest are found without an index on time.
    """
    before = timezone.now() - timedelta(days=settings.AIGW_ACTIVITY_RETENTION_DAYS)
    deadline, gone = time.monotonic() + SECONDS_AT_MOST, 0
    while time.monotonic() < deadline and not stopping.is_asked():
        oldest = ServerCall.objects.order_by("pk").values_list("pk", "at")[:ROWS_PER_DELETION]
        over = [pk for pk, at in oldest if at < before]
        if over:
            gone += ServerCall.objects.filter(pk__in=over).delete()[0]
        if len(over) < ROWS_PER_DELETION:
            break
    return gone
