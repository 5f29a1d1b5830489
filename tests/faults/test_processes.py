"""Processes killed and stopped in the middle of a refresh (B04, B05). About 30 s; the long form 8 minutes.

The long form waits for the product's own lease of 45 s in every round.
"""

import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.faults import processes, table
from tests.faults.site import LEASE_SECONDS, SCAN_SECONDS, Site, wait_until

pytestmark = pytest.mark.service(own_servers=True)

# After a lease has lapsed: the next scan, a worker that takes it, and a machine that is busy.
RECOVERY_SECONDS = LEASE_SECONDS + 4 * SCAN_SECONDS + 8
GRANT = "rotating/user-0"


@table.rounds
@pytest.mark.threat("B04")
def test_a_worker_killed_mid_refresh_loses_nothing(site: Site) -> None:
    site.far.moods["rotating"] = "hold"
    site.make_due(GRANT)
    victim = site.far.first_asked().pid
    assert victim in site.processes()
    with site.traffic(["user-0", "user-1"], tree=site.tree_without(victim)) as traffic:
        processes.send(signal.SIGKILL, victim)
        killed = time.monotonic()
        site.far.goes_on_after_a_moment()
        seconds = site.renewed(GRANT, within=RECOVERY_SECONDS) - killed
    lost = site.lost()
    table.record("SIGKILL of a worker mid-refresh", lost=lost, traffic=traffic, seconds=seconds)
    assert lost == []
    assert seconds < 60
    assert traffic.failed == [], "the old access token still worked"


@table.rounds
@pytest.mark.threat("B04")
def test_a_web_process_killed_mid_refresh_loses_nothing(site: Site) -> None:
    site.far.moods["rotating"] = "hold"
    site.expire(GRANT)
    with ThreadPoolExecutor(1) as pool:
        calling = pool.submit(site.call_until_asked, "user-0", tree=0)
        wait_until(lambda: site.far.asked or calling.done(), 30, "asked")
        victim = site.far.first_asked().pid if site.far.asked else calling.result()
        assert victim in processes.family(site.trees[0].process.pid)
        with site.traffic(["user-1"], tree=1) as traffic:
            processes.send(signal.SIGKILL, victim)
            killed = time.monotonic()
            site.far.goes_on_after_a_moment()
            called = site.call("user-0", tree=1)
            seconds = time.monotonic() - killed
    traffic.calls.append(called)
    lost = site.lost()
    table.record("SIGKILL of a web process mid-refresh", lost=lost, traffic=traffic, seconds=seconds)
    assert lost == []
    assert seconds < 60
    assert traffic.failed == [], "the first call after the kill waited for the lease and got its token"


@table.rounds
@pytest.mark.threat("B04")
def test_a_crash_between_rotation_and_commit_ends_with_a_reason_that_says_so(site: Site) -> None:
    site.far.moods["rotating"] = "hold_answer"
    site.make_due(GRANT)
    victim = site.far.first_asked().pid
    wait_until(lambda: site.lost() == [GRANT], 5, "the provider has rotated")
    with site.traffic(["user-1"], tree=site.tree_without(victim)) as traffic:
        processes.send(signal.SIGKILL, victim)
        killed = time.monotonic()
        site.far.goes_on_after_a_moment()
        wait_until(lambda: site.stored(GRANT)["reason"], RECOVERY_SECONDS, "the entry needs attention")
        seconds = time.monotonic() - killed
    table.record("SIGKILL between rotation and commit", lost=site.lost(), traffic=traffic, seconds=seconds)
    assert site.stored(GRANT)["reason"] == "lost_rotation"
    assert site.lost() == [GRANT], "and it harmed no other"
    assert traffic.failed == []


@table.rounds
@pytest.mark.threat("B04", "B05")
def test_a_stopped_worker_that_wakes_up_late_changes_nothing(site: Site) -> None:
    site.far.moods["rotating"] = "hold"
    site.make_due(GRANT)
    victim = site.far.first_asked().pid
    assert victim is not None
    with site.traffic(["user-0", "user-1"], tree=site.tree_without(victim)) as traffic:
        processes.send(signal.SIGSTOP, victim)
        stopped = time.monotonic()
        site.far.moods.clear()  # the held request stays held; whoever asks now is answered
        seconds = site.renewed(GRANT, within=RECOVERY_SECONDS) - stopped
        renewed = site.stored(GRANT)
        site.far.let_go()
        processes.send(signal.SIGCONT, victim)
        time.sleep(1.5)
    lost = site.lost()
    table.record("SIGSTOP of a worker mid-refresh, woken late", lost=lost, traffic=traffic, seconds=seconds)
    assert lost == []
    assert site.stored(GRANT) == renewed, "its invalid_grant was about a token that is history"
    assert traffic.failed == []


@table.rounds
@pytest.mark.threat("B04")
def test_a_worker_stopped_with_the_answer_in_its_hands_still_stores_it(site: Site) -> None:
    site.far.moods["rotating"] = "hold_answer"
    site.make_due(GRANT)
    victim = site.far.first_asked().pid
    assert victim is not None
    with site.traffic(["user-1"], tree=site.tree_without(victim)) as traffic:
        processes.send(signal.SIGSTOP, victim)
        stopped = time.monotonic()
        site.far.goes_on_after_a_moment()
        # Others find the lease lapsed, ask with the token that was used, and hear invalid_grant.
        wait_until(lambda: site.stored(GRANT)["reason"], RECOVERY_SECONDS, "another process has tried")
        processes.send(signal.SIGCONT, victim)
        seconds = site.renewed(GRANT, within=10) - stopped
    lost = site.lost()
    table.record("SIGSTOP with the new token in hand", lost=lost, traffic=traffic, seconds=seconds)
    assert lost == []
    assert site.call("user-0").succeeded
