"""The history: exact over several writers, nothing lost when the database is away, pruned."""

import threading
from datetime import timedelta

import pytest
from django.db import DatabaseError, connection
from django.utils import timezone

from connections import tasks
from metrics import catalog, history
from metrics.models import Tally
from metrics.recorder import Recorder


def kept() -> dict[tuple[str, str], float]:
    return {(name, label): value for _, name, label, value in history.since(timezone.now() - timedelta(hours=1))}


def test_it_writes_what_was_added_since_the_last_time(db: None) -> None:
    catalog.refreshes.count("renewed", by=3)
    catalog.lease_waits.observe(0.2, "same_process")
    history.flush()
    catalog.refreshes.count("renewed", by=4)
    history.peak("due_entries", 7)
    history.peak("due_entries", 5)
    history.flush()
    history.peak("due_entries", 6)
    history.flush()
    assert kept() == {
        ("aigw_refreshes", "renewed"): 7,
        ("aigw_lease_wait_seconds", "same_process"): 1,
        ("due_entries", ""): 7,
    }


def test_what_could_not_be_written_comes_with_the_next_batch(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise DatabaseError("away")

    catalog.refreshes.count("renewed", by=2)
    history.peak("due_entries", 9)
    with monkeypatch.context() as patched:
        patched.setattr(history, "_write", fail)
        with pytest.raises(DatabaseError):
            history.flush()
    catalog.refreshes.count("renewed")
    history.flush()
    assert kept() == {("aigw_refreshes", "renewed"): 3, ("due_entries", ""): 9}


@pytest.mark.django_db(transaction=True)
def test_many_writers_of_one_slice_lose_nothing() -> None:
    """As several processes would: each with its own connection, all rows of the slice not yet there."""
    start = threading.Barrier(6)

    def write() -> None:
        try:
            start.wait()
            for _ in range(5):
                history._write({("aigw_refreshes", "renewed"): 1, ("aigw_revocations", "revoked"): 2}, {("due", ""): 4})
        finally:
            connection.close()

    threads = [threading.Thread(target=write) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sums: dict[str, float] = {}
    for name, value in Tally.objects.values_list("name", "value"):
        sums[name] = max(sums.get(name, 0), value) if name == "due" else sums.get(name, 0) + value
    assert sums == {"aigw_refreshes": 30, "aigw_revocations": 60, "due": 4}


@pytest.mark.django_db(transaction=True)
def test_a_clean_stop_writes_the_rest(tmp_path: object, settings: pytest.FixtureRequest) -> None:
    settings.AIGW_METRICS_DIR = str(tmp_path)  # type: ignore[attr-defined]
    recorder = Recorder()
    recorder.start()
    catalog.refreshes.count("late", by=2)
    recorder.stop()
    assert not recorder.is_alive()
    assert kept() == {("aigw_refreshes", "late"): 2}


def test_old_slices_go(db: None, settings: pytest.FixtureRequest) -> None:
    settings.AIGW_METRICS_HISTORY_DAYS = 2  # type: ignore[attr-defined]
    now = timezone.now()
    for days in (0, 1, 3, 4):
        Tally.objects.create(at=now - timedelta(days=days), name="aigw_refreshes", value=1, updated_at=now)
    tasks.collect_orphans()
    assert Tally.objects.count() == 2


def test_when_something_was_last_counted(db: None) -> None:
    assert history.last_written("aigw_scan_seconds") is None
    catalog.scan_seconds.observe(0.1)
    history.flush()
    last = history.last_written("aigw_scan_seconds")
    assert last is not None
    assert timezone.now() - last < timedelta(seconds=60)
