"""Instruments: exact under threads, closed against strangers' labels, cheap."""

import threading
import time
import uuid

import pytest

from metrics import catalog
from metrics.instruments import OTHER, Counter, Histogram, registered


def test_threads_lose_nothing() -> None:
    def work() -> None:
        for _ in range(20_000):
            catalog.refreshes.count("renewed")
            catalog.lease_waits.observe(0.02, "same_process")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert catalog.refreshes.snapshot()["renewed",] == [160_000]
    numbers = catalog.lease_waits.snapshot()["same_process",]
    assert sum(numbers[:-1]) == 160_000
    assert numbers[-1] == pytest.approx(3200)


@pytest.mark.threat("H06")
def test_an_unknown_label_makes_no_series() -> None:
    before = {name: len(each.snapshot()) for name, each in registered.items()}
    for _ in range(10_000):
        catalog.refreshes.count(uuid.uuid4().hex)
        catalog.decrypt_failures.count(uuid.uuid4().hex)
    after = {name: len(each.snapshot()) for name, each in registered.items()}
    assert catalog.refreshes.snapshot()[OTHER,] == [10_000]
    assert {name for name in after if after[name] != before[name]} <= {"aigw_refreshes", "aigw_decrypt_failures"}
    assert all(after[name] - before[name] <= 1 for name in after)


def test_a_duration_on_a_bound_is_in_its_bucket_and_a_long_one_in_the_last() -> None:
    catalog.scan_seconds.observe(0.001)
    catalog.scan_seconds.observe(3600)
    numbers = catalog.scan_seconds.snapshot()[()]
    assert (numbers[0], numbers[-2], numbers[-1]) == (1, 1, 3600.001)


def test_a_name_is_taken_once() -> None:
    with pytest.raises(ValueError, match="aigw_refreshes"):
        Counter("aigw_refreshes", "Again.")


@pytest.mark.parametrize("instrument", [catalog.refreshes, catalog.lease_waits], ids=["counter", "histogram"])
def test_an_observation_costs_less_than_three_microseconds(instrument: Counter | Histogram) -> None:
    """CPU time of this thread: other work on the machine does not count."""

    def once() -> float:
        begun = time.thread_time()
        if isinstance(instrument, Counter):
            for _ in range(50_000):
                instrument.count("renewed")
        else:
            for _ in range(50_000):
                instrument.observe(0.3, "same_process")
        return (time.thread_time() - begun) / 50_000 * 1e6

    assert min(once() for _ in range(5)) < 3
