"""PostgreSQL restarted, crashed and frozen under calls and refreshes (G02). About 20 s; the long form 2 minutes."""

import time

import pytest

from tests.faults import table
from tests.faults.site import USERS, Site, Traffic

pytestmark = pytest.mark.service(own_servers=True)

FAILING_MOST_SECONDS = 10.0
DOWN_SECONDS = 6.0 if table.IS_LONG else 1.5
GRANT = "rotating/user-0"


def assert_clean(traffic: Traffic) -> None:
    """Check that whatever failed said so properly, and not for long."""
    assert {(call.status, bool(call.retry_after)) for call in traffic.failed} <= {(503, True)}
    assert traffic.seconds_of_disturbance() < FAILING_MOST_SECONDS + DOWN_SECONDS
    assert traffic.calls[-1].succeeded


@table.rounds
@pytest.mark.threat("G02")
@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_restart_costs_seconds_and_no_token(site: Site, mode: str) -> None:
    assert site.postgres is not None
    site.far.moods["rotating"] = "hold_answer"
    site.make_due(GRANT)
    site.far.first_asked()
    with site.traffic(USERS[1:5]) as traffic:
        site.postgres.stop(mode)
        # The provider has rotated; its answer arrives while there is nowhere to keep it.
        site.far.goes_on_after_a_moment()
        time.sleep(DOWN_SECONDS)
        site.postgres.start()
        back = time.monotonic()
        first = site.call("user-5")
        seconds = site.renewed(GRANT, within=30) - back
        time.sleep(1)
    lost = site.lost()
    what = "restarted" if mode == "fast" else "crashed and restarted"
    table.record(f"PostgreSQL {what}", lost=lost, traffic=traffic, seconds=traffic.seconds_of_disturbance())
    assert lost == []
    assert first.succeeded, first
    assert seconds < 10, "the answer was kept until there was a database again"
    assert_clean(traffic)


@table.rounds
@pytest.mark.threat("G02")
def test_a_frozen_database_holds_calls_up_and_loses_nothing(site: Site) -> None:
    assert site.postgres is not None
    site.far.moods["rotating"] = "hold_answer"
    site.make_due(GRANT)
    site.far.first_asked()
    with site.traffic(USERS[1:5]) as traffic:
        site.postgres.freeze()
        try:
            site.far.goes_on_after_a_moment()
            time.sleep(DOWN_SECONDS)
        finally:
            site.postgres.thaw()
        back = time.monotonic()
        first = site.call("user-5")
        seconds = site.renewed(GRANT, within=30) - back
        time.sleep(1)
    lost = site.lost()
    table.record("PostgreSQL frozen", lost=lost, traffic=traffic, seconds=traffic.seconds_of_disturbance())
    assert lost == []
    assert seconds < 10
    assert first.succeeded, first
    assert_clean(traffic)
