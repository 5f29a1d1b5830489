"""When a server is asked for its tools again by itself: once its answer is old, or has been called old.

Nothing here asks. Writes go past the signals: when a server is asked next concerns no other process's memory.
"""

import random
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import F, Q
from django.utils import timezone

from clients import rights
from connections import backoff
from mcpservers.models import MCPServer, ToolPolicy

# The next try of one that was claimed and never settled: its process died.
CLAIM_SECONDS = 300.0
SOON_SECONDS = 5.0
APART_SECONDS = 60.0
ADOPTED_AT_ONCE = 200
CANDIDATES = 10
DUE = Q(server__enabled=True) & ~Q(server__auth__mode="token_passthrough")


def claim(now: datetime | None = None) -> ToolPolicy | None:
    """Return the row of a server that is due, and keep every other worker from it for a while."""
    now = now or timezone.now()
    _adopt()
    due = ToolPolicy.objects.filter(DUE, due_at__lte=now).order_by("due_at").select_related("server").defer("approved")
    until = now + timedelta(seconds=CLAIM_SECONDS)
    for row in due[:CANDIDATES]:
        if ToolPolicy.objects.filter(pk=row.pk, due_at=row.due_at).update(due_at=until):
            return row
    return None


def answered(server: MCPServer, user_id: int | None) -> None:
    """Note that the server has told what it offers, to whom, and when to ask next."""
    values = {"due_at": _after(settings.AIGW_DISCOVERY_MAX_AGE_SECONDS), "failures": 0, "asked_as": user_id}
    ToolPolicy.objects.filter(server=server).update(**values)


def failed(server: MCPServer) -> None:
    """Note that a server which was asked gave no answer: leave it alone for longer each time."""
    rows = ToolPolicy.objects.filter(server=server)
    rows.update(failures=F("failures") + 1)
    failures = rows.values_list("failures", flat=True).first() or 1
    delay = backoff.refresh_delay_seconds(failures)
    rows.exclude(due_at=None).update(due_at=timezone.now() + timedelta(seconds=delay))


def soon(server_uid: UUID) -> None:
    """Have a server asked that says that its tools have changed; not one that does not answer, and not all the time."""
    rows = ToolPolicy.objects.filter(server__uid=server_uid, failures=0).select_related("server")
    row = rows.defer("approved").first()
    if row is None or row.server.tools_refreshed_at is None:
        return
    earliest = timezone.now() + timedelta(seconds=SOON_SECONDS)
    wanted = max(earliest, row.server.tools_refreshed_at + timedelta(seconds=APART_SECONDS))
    ToolPolicy.objects.filter(Q(due_at=None) | Q(due_at__gt=wanted), pk=row.pk).update(due_at=wanted)


def asker(server: MCPServer, user_id: int | None) -> int | None:
    """Return as whom a server is asked: the designated user, else `user_id`; None for one who may no longer."""
    row: ToolPolicy | None = getattr(server, "tool_policy", None)
    chosen = row.discovery_user_id if row and row.discovery_user_id else user_id
    user = User.objects.filter(pk=chosen).first() if chosen else None
    may = user is not None and (rights.may(user, "use", server) or rights.may(user, "change", server))
    return chosen if may else None


def _adopt() -> None:
    """Put servers on the schedule that were asked before there was one."""
    rows = MCPServer.objects.filter(tool_policy=None).exclude(tools_refreshed_at=None)[:ADOPTED_AT_ONCE]
    due = [ToolPolicy(server=server, due_at=_after(0)) for server in rows]
    ToolPolicy.objects.bulk_create(due, ignore_conflicts=True)


def _after(seconds: float) -> datetime:
    """Return a moment after `seconds`, spread so that servers that were asked together are not again."""
    spread = max(seconds, APART_SECONDS) * random.uniform(0, 0.2)  # noqa: S311 - spreads load, no secret
    return timezone.now() + timedelta(seconds=seconds + spread)
