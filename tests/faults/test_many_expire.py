"""Many connections expire in the same minute (B16, B21): two schedulers, three workers, one token endpoint that counts.

150 within 5 s, and 150 at once: about 20 s. The long form has 2,000 within five minutes, and 2,000 at once.
"""

import statistics
import time
from collections.abc import Iterator

import pytest

from tests.faults import table
from tests.faults.counting import Endpoint, histogram
from tests.faults.site import USERS, Called, Site, wait_until

pytestmark = pytest.mark.service(own_servers=True)

MANY = 2000 if table.IS_LONG else 150
SPREAD_SECONDS = 300 if table.IS_LONG else 5
QUIET_SECONDS = 30 if table.IS_LONG else 2
IN_FLIGHT = 8  # VAULT_REFRESH_CONCURRENCY_PER_PROVIDER
DONE_WITHIN_SECONDS = 300
P95_RISE = 1.2
# What a busy machine adds to a call now and then; of no consequence next to a call's upstream.
P95_NOISE_SECONDS = 0.02


def p95(calls: list[Called]) -> float:
    """Return the seconds within which 95 % of calls were answered."""
    return statistics.quantiles((call.seconds for call in calls), n=20)[-1]


@pytest.fixture(autouse=True)
def dispersed(site: Site) -> Iterator[None]:
    """Leave no crowd to the tests after this one."""
    yield
    site.inside("disperse")


@table.rounds
@pytest.mark.threat("B16", "B21")
@pytest.mark.parametrize("within", [SPREAD_SECONDS, 0], ids=["in one minute", "at once"])
def test_many_that_expire_together_are_renewed_in_time_and_in_turn(site: Site, endpoint: Endpoint, within: int) -> None:
    with site.traffic(USERS[:4], "other") as quiet:
        time.sleep(QUIET_SECONDS)
    with site.traffic(USERS[:4], "other") as busy:
        site.inside("crowd", url=f"{endpoint.base}/token", count=MANY, seconds=within)
        due = time.monotonic()
        seconds = wait_until(lambda: not site.inside("crowd_left"), within + DONE_WITHIN_SECONDS, "all are renewed")
        finished = time.monotonic()
    busy.calls = [call for call in busy.calls if due <= call.at <= finished] or busy.calls
    seen = endpoint.seen()
    table.record(f"{MANY:,} expire {'in one minute' if within else 'at once'}", lost=[], traffic=busy, seconds=seconds)
    table.note(
        f"{MANY:,} connections due within {within} s: renewed in {seconds:.0f} s, at most {seen['most_in_flight']} in "
        f"flight, per tenth of that time {histogram(seen['arrivals'])}; a call's p95 {p95(quiet.calls) * 1000:.0f} ms "
        f"before, {p95(busy.calls) * 1000:.0f} ms meanwhile"
    )
    assert len(seen["arrivals"]) == MANY, "each was asked for once, by whichever of the schedulers came first"
    assert seen["twice"] == 0
    assert seen["most_in_flight"] <= IN_FLIGHT
    assert quiet.failed == busy.failed == []
    if table.IS_LONG:
        assert seconds < max(within + 30, 60) <= DONE_WITHIN_SECONDS + 30
        assert p95(busy.calls) < p95(quiet.calls) * P95_RISE + P95_NOISE_SECONDS
