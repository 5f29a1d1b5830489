"""The calls of a server, as its page and the API show them: the last ones, and what a bounded number of them add up to.

Whoever may change the server sees everybody's calls, anyone else who may view it their own.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import ceil

from django.contrib.auth.models import User
from django.db.models import QuerySet

from clients import rights
from mcpservers.activity.models import ServerCall
from mcpservers.activity.outcomes import ERRORS
from mcpservers.models import MCPServer

LISTED_AT_MOST = SUMMED_AT_MOST = 10_000
SEARCHED_AT_MOST = 100_000
SHARES_AT_MOST = 100
# Their length is how long somebody listened, which says nothing of the server.
LISTENING = ("GET", "subscriptions/listen")
_ERRORS = frozenset(outcome.value for outcome in ERRORS)
Rows = QuerySet[ServerCall]
_Taken = tuple[datetime, str, int, str, float]


@dataclass(frozen=True, slots=True)
class Share:
    """What the calls of one tool or one user add up to; milliseconds at the median and the 95th percentile."""

    name: str
    calls: int
    errors: int
    p50: float
    p95: float


@dataclass(frozen=True, slots=True)
class Summary:
    """What the calls from `since` until `until` add up to; `is_cut` when more were made than are looked at."""

    whole: Share
    since: datetime
    until: datetime
    is_cut: bool
    by_tool: list[Share]
    by_user: list[Share]
    times: list[tuple[datetime, bool]]

    @property
    def busiest(self) -> int:
        """Return how many calls the busiest tool or user made."""
        return max((share.calls for share in (*self.by_tool, *self.by_user)), default=0)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A username, a tool, an outcome (`errors`: all that are faults) and a time; what is empty narrows nothing."""

    user: str = ""
    tool: str = ""
    outcome: str = ""
    since: datetime | None = None
    until: datetime | None = None


def sees_all(viewer: User, server: MCPServer) -> bool:
    """Tell whether `viewer` sees the calls of others."""
    return rights.may(viewer, "change", server)


def calls(viewer: User, server: MCPServer) -> Rows:
    """Return the calls of the server that `viewer` may see."""
    rows = ServerCall.objects.filter(server_uid=server.uid)
    return rows if sees_all(viewer, server) else rows.filter(user_id=viewer.pk)


def narrowed(rows: Rows, wanted: Wanted) -> Rows:
    """Narrow calls to what is wanted of them."""
    if "\0" in wanted.user + wanted.tool + wanted.outcome:  # PostgreSQL takes it for no text at all
        return rows.none()
    if wanted.user:
        rows = rows.filter(user_id=User.objects.filter(username=wanted.user).values_list("pk", flat=True).first() or 0)
    if wanted.since:
        rows = rows.filter(at__gte=wanted.since)
    if wanted.until:
        rows = rows.filter(at__lt=wanted.until)
    if wanted.tool or wanted.outcome:
        rows = _searchable(rows)
    if wanted.tool:
        rows = rows.filter(tool=wanted.tool)
    if wanted.outcome:
        rows = rows.filter(outcome__in=_ERRORS if wanted.outcome == "errors" else (wanted.outcome,))
    return rows


def _searchable(rows: Rows) -> Rows:
    """Narrow to the newest calls: no index knows tools or outcomes, and what is rare would be sought in every row."""
    times = rows.order_by("-at").values_list("at", flat=True)[SEARCHED_AT_MOST : SEARCHED_AT_MOST + 1]
    horizon = next(iter(times), None)
    return rows.filter(at__gt=horizon) if horizon else rows


def last(rows: Rows) -> Rows:
    """Return the newest of these calls, the newest first, as many as are ever listed."""
    return rows.order_by("-at", "-pk")[:LISTED_AT_MOST]


def summary(rows: Rows, since: datetime, until: datetime) -> Summary:
    """Add up the newest of the calls in this time."""
    some = rows.filter(at__gte=since, at__lt=until).exclude(method__in=LISTENING).order_by("-at")
    columns = ("at", "tool", "user_id", "outcome", "milliseconds")
    taken: list[_Taken] = list(some.values_list(*columns)[: SUMMED_AT_MOST + 1])
    is_cut = len(taken) > SUMMED_AT_MOST
    del taken[SUMMED_AT_MOST:]
    by_tool, by_user = defaultdict[str, list[_Taken]](list), defaultdict[int, list[_Taken]](list)
    for call in taken:
        by_user[call[2]].append(call)
        if call[1]:
            by_tool[call[1]].append(call)
    names = usernames(by_user)
    return Summary(
        _share("", taken),
        taken[-1][0] if is_cut else since,
        until,
        is_cut,
        _shares(_share(tool, some) for tool, some in by_tool.items()),
        _shares(_share(names.get(pk, ""), some) for pk, some in by_user.items()),
        [(call[0], call[3] in _ERRORS) for call in taken],
    )


def usernames(pks: Iterable[int]) -> dict[int, str]:
    """Return what these users are called, of those that still exist."""
    return dict(User.objects.filter(pk__in=set(pks)).values_list("pk", "username"))


def _share(name: str, some: Sequence[_Taken]) -> Share:
    lengths = sorted(call[4] for call in some)
    errors = sum(call[3] in _ERRORS for call in some)
    return Share(name, len(some), errors, _percentile(lengths, 50), _percentile(lengths, 95))


def _shares(found: Iterable[Share]) -> list[Share]:
    return sorted(found, key=lambda share: (-share.calls, share.name))[:SHARES_AT_MOST]


def _percentile(ordered: Sequence[float], percent: int) -> float:
    """Return the smallest length that so many percent of the calls did not exceed."""
    return ordered[ceil(len(ordered) * percent / 100) - 1] if ordered else 0.0
