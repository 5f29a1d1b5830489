"""Redis gone, frozen and emptied; messages lost and doubled; two schedulers (G01, G03, G04, B21).

About 25 s; the long form 5 minutes, in which Redis stays away for 60 s.
"""

import signal
import time

import pytest

from tests.faults import processes, table
from tests.faults.site import LEASE_SECONDS, PROVIDERS, SCAN_SECONDS, USERS, Site, wait_until

pytestmark = pytest.mark.service(own_servers=True)

AWAY_SECONDS = 60.0 if table.IS_LONG else 3.0
# Celery looks for its broker ever more seldom, up to every 32 s.
RECOVERY_SECONDS = 45.0
GRANTS = [f"{provider}/{user}" for provider in PROVIDERS for user in USERS]
GRANT = GRANTS[0]


@table.rounds
@pytest.mark.threat("G01")
@pytest.mark.parametrize("how", ["gone", "frozen"])
def test_calls_do_not_need_redis(site: Site, how: str) -> None:
    assert site.redis is not None
    site.expire(GRANT)
    with site.traffic(USERS) as traffic:
        if how == "gone":
            site.redis.kill()
        else:
            site.redis.freeze()
        assert site.readiness() == {"status": "degraded", "database": "ok", "broker": "unavailable"}
        time.sleep(AWAY_SECONDS)
        if how == "gone":
            site.redis.start()
        else:
            site.redis.thaw()
        back = time.monotonic()
        site.make_due(GRANTS[1])
        seconds = site.renewed(GRANTS[1], within=RECOVERY_SECONDS) - back
    lost = site.lost()
    table.record(f"Redis {how} for {AWAY_SECONDS:.0f} s", lost=lost, traffic=traffic, seconds=seconds)
    assert lost == []
    assert traffic.failed == []
    assert [asked.grant for asked in site.far.asked].count(GRANT) == 1, "the lease is in the database"
    assert site.readiness()["status"] == "ok"


@table.rounds
@pytest.mark.threat("G01")
def test_a_gateway_starts_without_redis_and_recovers(site: Site) -> None:
    assert site.redis is not None
    site.redis.kill()
    processes.send(signal.SIGTERM, site.trees[0].process.pid)
    site.trees[0].process.wait(timeout=30)
    site.heal()
    with site.traffic(USERS[:2]) as traffic:
        assert site.readiness()["status"] == "degraded"
        time.sleep(AWAY_SECONDS / 3)
    site.redis.start()
    back = time.monotonic()
    site.make_due(GRANT)
    seconds = site.renewed(GRANT, within=RECOVERY_SECONDS) - back
    table.record("Redis down at start", lost=site.lost(), traffic=traffic, seconds=seconds)
    assert traffic.failed == []
    assert site.lost() == []


@table.rounds
@pytest.mark.threat("G03")
def test_lost_messages_are_made_up_for_by_the_next_scan(site: Site) -> None:
    assert site.redis is not None
    site.far.moods.update(dict.fromkeys(PROVIDERS, "hold"))
    site.make_due(*GRANTS)
    victim = site.far.first_asked().pid
    with site.traffic(USERS[:2], tree=site.tree_without(victim)) as traffic:
        site.redis.lose_everything()
        processes.send(signal.SIGKILL, victim)  # a worker in the middle of its task, too
        lost_at = time.monotonic()
        site.far.goes_on_after_a_moment()
        seconds = site.renewed(*GRANTS, within=LEASE_SECONDS + RECOVERY_SECONDS) - lost_at
    lost = site.lost()
    table.record("broker loses every message", lost=lost, traffic=traffic, seconds=seconds)
    assert lost == []
    assert traffic.failed == []


@table.rounds
@pytest.mark.threat("G04", "B21")
def test_a_task_delivered_many_times_does_its_work_once(site: Site) -> None:
    site.make_due(*GRANTS)
    with site.traffic(USERS[:2]) as traffic:
        started = time.monotonic()
        site.inside("deliver", task="refresh_due", times=20)
        seconds = site.renewed(*GRANTS, within=30) - started
        wait_until(lambda: site.redis is not None and site.redis.is_idle(), 30, "the queue is empty")
        time.sleep(SCAN_SECONDS)
    lost = site.lost()
    table.record("task delivered 20 times, two schedulers", lost=lost, traffic=traffic, seconds=seconds)
    assert sorted(asked.grant for asked in site.far.asked) == sorted(GRANTS)
    assert lost == []
    assert traffic.failed == []


@table.rounds
@pytest.mark.threat("B21")
def test_two_schedulers_revoke_once(site: Site) -> None:
    ended = GRANTS[:6]
    tokens = [site.far.refresh_token(grant) for grant in ended]
    site.inside("retire", grants=ended)
    site.inside("deliver", task="retry_revocations", times=10)
    wait_until(lambda: set(tokens) <= set(site.far.revoked), 30, "the provider knows")
    time.sleep(2 * SCAN_SECONDS)
    assert {site.far.revoked[token] for token in tokens} == {1}
    assert not set(ended) & set(site.inside("state")), "and nothing brings them back"
