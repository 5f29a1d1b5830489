"""Worker and scheduler on threads of the web process, for a gateway without Redis.

The broker is this process's memory: it forgets on exit and no other process sees it. That is enough, because
a message is only a hint; what may never be missed is found by the scheduled scans of the database.
"""

import threading
import time

from celery import beat
from celery.utils.nodenames import anon_nodename
from celery.worker import state
from django.conf import settings

from aigateway.celery import app

STOP_SECONDS = 5


class EmbeddedWorker:
    """One Celery worker and its scheduler, started and stopped with the web process."""

    def __init__(self) -> None:
        self._node = anon_nodename()
        self._worker = app.WorkController(
            hostname=self._node,
            pool="threads",
            concurrency=settings.AIGW_WORKER_THREADS,
            without_heartbeat=True,
            without_mingle=True,
            without_gossip=True,
        )
        # It looks every `max_interval` seconds whether it is to stop.
        self._scheduler = beat.Service(app, max_interval=1, scheduler_cls=beat.Scheduler)
        self._threads = [
            threading.Thread(target=self._worker.start, name="embedded-worker", daemon=True),
            threading.Thread(target=self._scheduler.start, name="embedded-scheduler", daemon=True),
        ]

    def start(self) -> None:
        """Begin to take tasks and to schedule them."""
        # Signals belong to the web server; this flag is how a worker is told to stop without one.
        state.should_stop = None
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let running tasks finish, for `STOP_SECONDS` at most; what is cut off, the next scan finds again."""
        self._scheduler.stop()
        state.should_stop = 0  # type: ignore[assignment]
        # The worker looks at the flag when a message arrives, or every two seconds.
        app.control.shutdown(destination=[self._node])
        deadline = time.monotonic() + STOP_SECONDS
        for thread in self._threads:
            thread.join(timeout=max(0, deadline - time.monotonic()))
