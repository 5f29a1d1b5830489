"""The network to PostgreSQL, or Redis, goes silent: no answer, no RST, and old connections stay dead (G01, G02).

About 20 s; the long form, which cuts Redis off as well, 3 minutes.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest

from aigateway import silence
from tests.faults import table
from tests.faults.far_side import FarSide
from tests.faults.line import Line, line_to
from tests.faults.servers import Postgres, RedisServer
from tests.faults.site import PROVIDERS, USERS, Site

pytestmark = pytest.mark.service(own_servers=True)

GRANT = "rotating/user-0"
WAITING_MOST_SECONDS = silence.POOL_SECONDS + silence.CHECK_SECONDS
# What a busy machine adds.
NOISE_SECONDS = 2.0
SILENT_SECONDS = 30.0 if table.IS_LONG else 12.0
WORKER_BACK_SECONDS = 60.0


@dataclass
class Far:
    """A gateway behind two lines."""

    site: Site
    to_database: Line
    to_redis: Line


@pytest.fixture(scope="module")
def remote(
    machines: tuple[Postgres, RedisServer], far: FarSide, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Far]:
    """One gateway tree, of which PostgreSQL and Redis are far away."""
    database, redis = urlsplit(machines[0].make_database("remote")), urlsplit(machines[1].url)
    assert database.port
    assert redis.port
    with line_to(database.port) as to_database, line_to(redis.port) as to_redis:
        site = Site(
            tmp_path_factory.mktemp("remote"),
            far,
            trees=1,
            workers=0,
            DATABASE_URL=f"postgresql://aigateway@127.0.0.1:{to_database.port}/remote",
            REDIS_URL=f"redis://127.0.0.1:{to_redis.port}/1",
        )
        site.redis = machines[1]
        site.inside_env = {"DATABASE_URL": database.geturl()}
        try:
            site.start()
            yield Far(site, to_database, to_redis)
        finally:
            site.stop()


@pytest.fixture
def gateway(remote: Far) -> Far:
    """The gateway, with every user freshly connected."""
    remote.site.at_rest()
    return remote


@table.rounds
@pytest.mark.threat("G02")
def test_a_silent_database_fails_calls_in_time_and_is_found_again(gateway: Far) -> None:
    site = gateway.site
    with site.traffic(USERS[1:5]) as traffic:
        time.sleep(0.5)
        gateway.to_database.cut()
        time.sleep(SILENT_SECONDS)
        assert site.readiness()["database"] == "unavailable"
        gateway.to_database.mend()
        back = time.monotonic()
        site.make_due(GRANT)
        first = site.call("user-5")
        answered = time.monotonic() - back
        seconds = site.renewed(GRANT, within=WORKER_BACK_SECONDS) - back
        time.sleep(1)
    lost = site.lost()
    table.record("network to PostgreSQL silent", lost=lost, traffic=traffic, seconds=answered)
    table.note(f"a worker's first renewal came {seconds:.1f} s after the silence")
    assert lost == []
    assert first.succeeded, first
    assert answered < WAITING_MOST_SECONDS + NOISE_SECONDS
    assert traffic.failed, "the line was cut"
    assert {(call.status, bool(call.retry_after)) for call in traffic.failed} == {(503, True)}
    assert max(call.seconds for call in traffic.calls) < WAITING_MOST_SECONDS + NOISE_SECONDS
    assert traffic.calls[-1].succeeded


@table.rounds
@pytest.mark.threat("G01")
@pytest.mark.long_form  # a worker gives its broker up after 51 s
def test_a_silent_redis_fails_no_call_and_is_found_again(gateway: Far) -> None:
    site, grants = gateway.site, [f"{provider}/{user}" for provider in PROVIDERS for user in USERS]
    with site.traffic(USERS) as traffic:
        gateway.to_redis.cut()
        time.sleep(SILENT_SECONDS)
        assert site.readiness()["status"] == "degraded"
        gateway.to_redis.mend()
        back = time.monotonic()
        site.make_due(*grants)
        seconds = site.renewed(*grants, within=2 * WORKER_BACK_SECONDS) - back
    lost = site.lost()
    table.record("network to Redis silent", lost=lost, traffic=traffic, seconds=seconds)
    assert lost == []
    assert traffic.failed == []
