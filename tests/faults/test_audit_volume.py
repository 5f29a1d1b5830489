"""1,000 audit events per second (H08), on SQLite and PostgreSQL. About 15 s; the long form has 60 s on each."""

import statistics
import time

import pytest

from tests.faults import table
from tests.faults.site import USERS, Called, Site

pytestmark = pytest.mark.service(own_servers=True)

PER_SECOND = 1000
SECONDS = 60 if table.IS_LONG else 5
P95_NOISE_SECONDS = 0.1


def p95(calls: list[Called]) -> float:
    """Return the seconds within which 95 % of calls were answered."""
    return statistics.quantiles((call.seconds for call in calls), n=20)[-1]


@pytest.mark.threat("H08")
@pytest.mark.parametrize("database", ["embedded", "site"], ids=["sqlite", "postgresql"])
def test_a_flood_of_events_blocks_no_call_and_loses_none(database: str, request: pytest.FixtureRequest) -> None:
    site: Site = request.getfixturevalue(database)
    before = site.inside("count_events", action="faults.audited")
    with site.traffic(USERS[:4]) as quiet:
        time.sleep(2)
    with site.traffic(USERS[:4]) as busy:
        done = site.inside("audit", per_second=PER_SECOND, seconds=SECONDS)
    table.note(
        f"{done['written']:,} audit events in {done['seconds']:.1f} s ({request.node.callspec.id}), the slowest "
        f"{done['slowest'] * 1000:.0f} ms; a call's p95 {p95(quiet.calls) * 1000:.0f} ms before, "
        f"{p95(busy.calls) * 1000:.0f} ms meanwhile"
    )
    assert quiet.failed == busy.failed == []
    # An event is in the database before what it tells of goes on: there is no buffer that a stop could lose.
    assert site.inside("count_events", action="faults.audited") - before == done["written"] == PER_SECOND * SECONDS
    if table.IS_LONG:
        assert done["seconds"] < SECONDS * 1.1, "the pace was kept"
        assert p95(busy.calls) < 1.5 * p95(quiet.calls) + P95_NOISE_SECONDS
