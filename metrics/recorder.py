"""The thread of each process that publishes its numbers to the others of its host, and writes them into the history."""

import logging
import threading
import time
from pathlib import Path

from django.conf import settings
from django.db import DatabaseError, close_old_connections, connection

from metrics import history, published

logger = logging.getLogger(__name__)
PUBLISH_SECONDS = 1.0


class Recorder(threading.Thread):
    """Publish every second, write every `ACTIVITY_FLUSH_SECONDS`, and do both once more at a clean stop."""

    def __init__(self) -> None:
        super().__init__(name="metrics-recorder", daemon=True)
        self._stopping = threading.Event()
        self._folder = Path(settings.AIGW_METRICS_DIR) if settings.AIGW_METRICS_DIR else None

    def run(self) -> None:
        """Go on until `stop`."""
        due = time.monotonic() + settings.ACTIVITY_FLUSH_SECONDS
        while not self._stopping.wait(PUBLISH_SECONDS):
            self._publish()
            if time.monotonic() >= due:
                self._write()
                due = time.monotonic() + settings.ACTIVITY_FLUSH_SECONDS
        self._publish()
        self._write()

    def stop(self) -> None:
        """End the thread, and wait for what it writes last."""
        self._stopping.set()
        self.join(timeout=5)

    def _publish(self) -> None:
        try:
            if self._folder is not None:
                published.publish(self._folder)
        except OSError as exc:
            logger.warning("metrics were not published", extra={"error": type(exc).__name__})

    def _write(self) -> None:
        try:
            close_old_connections()
            history.flush()
        except DatabaseError as exc:
            logger.warning("metrics were not written; they stay for the next time", extra={"error": type(exc).__name__})
        finally:
            connection.close()
