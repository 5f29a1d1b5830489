"""What runs beside the requests of one web process, from its start to its stop."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Protocol

from django.conf import settings
from django.db import DatabaseError, close_old_connections, connection

from aigateway import silence, starting
from aigateway.embedded import EmbeddedWorker
from changes.counter import Watcher
from clients import activity
from mcpservers.activity.recorder import Recorder as CallRecorder
from mcpservers.dataplane import lifespan as dataplane
from metrics.recorder import Recorder

logger = logging.getLogger(__name__)


class Part(Protocol):
    """Something that runs on threads of its own."""

    def start(self) -> None:
        """Begin."""
        ...

    def stop(self) -> None:
        """End, and wait for the end."""
        ...


@asynccontextmanager
async def running() -> AsyncIterator[None]:
    """Start everything, stop everything in the opposite order; refuse unsafe settings and wrong keys.

    Raises ImproperlyConfigured before anything was started.
    """
    silence.is_not_waited_out()
    await asyncio.to_thread(starting.verify)
    async with AsyncExitStack() as stack:
        await dataplane.start()
        stack.push_async_callback(dataplane.stop)
        for make in _parts():
            part = await asyncio.to_thread(make)
            part.start()
            stack.push_async_callback(asyncio.to_thread, part.stop)
        yield


def _parts() -> list[Callable[[], Part]]:
    beside: list[Callable[[], Part]] = [Recorder, CallRecorder, ActivityFlusher, Watcher]
    return beside if settings.REDIS_URL else [*beside, EmbeddedWorker]


class ActivityFlusher(threading.Thread):
    """Write what was last used, every `ACTIVITY_FLUSH_SECONDS` and at a clean stop."""

    def __init__(self) -> None:
        super().__init__(name="activity-flusher", daemon=True)
        self._stopping = threading.Event()

    def run(self) -> None:
        """Flush until `stop`, and once more then."""
        while not self._stopping.wait(settings.ACTIVITY_FLUSH_SECONDS):
            self._flush()
        self._flush()
        connection.close()

    def stop(self) -> None:
        """End the thread and wait for its last flush."""
        self._stopping.set()
        self.join(timeout=5)

    def _flush(self) -> None:
        try:
            close_old_connections()
            activity.flush()
        except DatabaseError as exc:
            # What was noted in this interval is lost; calls must not be.
            logger.warning("activity was not written", extra={"error": type(exc).__name__})
            connection.close()
