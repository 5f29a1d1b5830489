"""The worker and scheduler that run inside the web process when there is no Redis."""

import threading
import time
from collections.abc import Iterator

import pytest
from celery import beat
from django.conf import settings

from aigateway.celery import app
from aigateway.embedded import EmbeddedWorker

TASK = "tests.note"


@pytest.fixture
def noted() -> Iterator[threading.Event]:
    """Set when the task of this test ran, in the worker, put there by the scheduler."""
    event = threading.Event()

    @app.task(name=TASK)
    def note() -> None:
        event.set()

    yield event
    del app.tasks[TASK]


@pytest.fixture
def schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    """A schedule with that task alone, twice a second, in a worker with the memory broker."""
    monkeypatch.setitem(app.conf, "beat_schedule", {"note": {"task": TASK, "schedule": 0.5}})
    monkeypatch.setitem(app.conf, "broker_url", "memory://localhost/")
    monkeypatch.setitem(app.conf, "broker_transport_options", {"polling_interval": 0.01})


@pytest.mark.skipif(bool(settings.REDIS_URL), reason="with Redis there is no embedded worker")
@pytest.mark.usefixtures("schedule")
@pytest.mark.django_db(transaction=True)
def test_a_scheduled_task_runs_and_the_worker_stops_quickly(noted: threading.Event) -> None:
    worker = EmbeddedWorker()
    worker.start()
    try:
        assert noted.wait(timeout=10)
    finally:
        started = time.monotonic()
        worker.stop()
    assert time.monotonic() - started < 3
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("embedded-")]


def test_every_scheduled_task_exists() -> None:
    app.loader.import_default_modules()
    assert {entry["task"] for entry in app.conf.beat_schedule.values()} <= set(app.tasks)


def test_the_schedule_is_kept_in_memory() -> None:
    assert not issubclass(EmbeddedWorker()._scheduler.scheduler.__class__, beat.PersistentScheduler)
