"""*Activity* of one server: its last calls, what they add up to, and a chart of the last day."""

from collections import Counter
from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.core.paginator import Paginator
from django.http import QueryDict
from django.utils import timezone
from django.utils.safestring import SafeString

from clients.rights_admin import moment, status
from connections import charts
from connections.charts import Chart, Part
from mcpservers.activity import reading
from mcpservers.activity.models import ServerCall
from mcpservers.activity.outcomes import WELL, Outcome
from mcpservers.activity.reading import Summary, Wanted
from mcpservers.models import MCPServer

ROWS_PER_PAGE = 50
_ICONS = {
    Outcome.ANSWERED: ("ok", "check_circle"),
    Outcome.CONSENT: ("muted", "link"),
    Outcome.REFUSED: ("warn", "block"),
    Outcome.CUT_OFF: ("warn", "link_off"),
}
_PARTS = (
    Part("Went well", "accent", "calls", frozenset(["well"])),
    Part("Went wrong", "bad", "calls", frozenset(["wrong"])),
)


def page(viewer: User, server: MCPServer, asked: QueryDict) -> dict[str, Any]:
    """Return what the page shows `viewer`, narrowed by the query's `user`, `tool` and `outcome`."""
    now = timezone.now()
    user, tool, outcome = (asked.get(name, "").strip() for name in ("user", "tool", "outcome"))
    chosen = Wanted(user, tool, outcome)
    rows = reading.narrowed(reading.calls(viewer, server), chosen)
    found = reading.summary(rows, charts.begins(now), now)
    calls = Paginator(reading.last(rows), ROWS_PER_PAGE).get_page(asked.get("page"))
    names = reading.usernames(call.user_id for call in calls)
    return {
        "sees_all": reading.sees_all(viewer, server),
        "chosen": chosen,
        "is_narrowed": chosen != Wanted(),
        "outcomes": [("errors", "All that went wrong"), *Outcome.choices],
        "summary": found,
        "since": moment(found.since),
        "chart": _chart(found, now),
        "page": calls,
        "calls": [(call, moment(call.at), names.get(call.user_id, ""), _word(call)) for call in calls],
        "query": _kept(asked).urlencode(),
    }


def _kept(asked: QueryDict) -> QueryDict:
    kept = asked.copy()
    kept.pop("page", None)
    return kept


def _chart(found: Summary, now: datetime) -> Chart:
    counted = Counter((_column(at), "wrong" if is_wrong else "well") for at, is_wrong in found.times)
    slices = [(at, "calls", label, float(count)) for (at, label), count in counted.items()]
    return charts.draw("Calls", "calls", _PARTS, slices, now)


def _column(at: datetime) -> datetime:
    return datetime.fromtimestamp(at.timestamp() // charts.COLUMN_SECONDS * charts.COLUMN_SECONDS, tz=at.tzinfo)


def _word(call: ServerCall) -> SafeString:
    outcome = Outcome(call.outcome)
    kind, icon = _ICONS.get(outcome, ("ok", "check_circle") if outcome in WELL else ("bad", "error"))
    return status(outcome.label, kind, icon)
