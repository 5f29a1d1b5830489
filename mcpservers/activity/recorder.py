"""The thread of each process that counts finished calls, and writes their log lines and rows, once a second.

It works in short strokes with pauses between them, since every moment that it holds the interpreter is one in which no
call is served. At a clean stop it writes what is left.
"""

import logging
import threading
import time

from django.conf import settings
from django.db import DatabaseError, DataError, IntegrityError, close_old_connections, connection

from mcpservers.activity import counting, ledger, writing
from mcpservers.activity.finished import FinishedCall
from metrics import catalog

logger = logging.getLogger(__name__)
# One record of this logger holds many calls; the formatter makes a line of each.
lines = logging.getLogger("mcpservers.calls")
SECONDS_BETWEEN = 1.0
CALLS_PER_STROKE, CALLS_PER_WRITE = 48, 480
# What one write of up to 4 KB holds: more, and the lines of two processes could be mixed in a pipe.
CALLS_PER_RECORD = 8
PAUSE_SECONDS = 0.001


class Recorder(threading.Thread):
    """Write what was noted, every second and once more at a clean stop."""

    def __init__(self) -> None:
        super().__init__(name="call-recorder", daemon=True)
        self._stopping = threading.Event()

    def run(self) -> None:
        """Go on until `stop`."""
        while not self._stopping.wait(SECONDS_BETWEEN):
            flush(PAUSE_SECONDS)
        if left := flush():
            logger.error("calls were not recorded: the database does not answer at the stop", extra={"calls": left})
        connection.close()

    def stop(self) -> None:
        """End the thread, and wait for what it writes last."""
        self._stopping.set()
        self.join(timeout=5)


def flush(pause_seconds: float = 0) -> int:
    """Write all that waits; return how many calls had to go back because the database did not take them."""
    while batch := _gathered(pause_seconds):
        rows = [call for call in batch if call.server_uid] if settings.AIGW_ACTIVITY_RETENTION_DAYS else []
        if rows and not _written(rows):
            return len(rows)
    return 0


def _gathered(pause_seconds: float) -> list[FinishedCall]:
    """Take as many calls as one write holds, counted and with their log lines written."""
    batch: list[FinishedCall] = []
    while len(batch) < CALLS_PER_WRITE and (stroke := ledger.take(CALLS_PER_STROKE)):
        _show([call for call in stroke if not call.is_seen])
        batch += stroke
        time.sleep(pause_seconds)
    return batch


def _show(calls: list[FinishedCall]) -> None:
    """Count calls and write their log lines."""
    counting.count(calls)
    if settings.AIGW_LOG_CALLS and lines.isEnabledFor(logging.INFO):
        for start in range(0, len(calls), CALLS_PER_RECORD):
            lines.info("calls", extra={"finished_calls": calls[start : start + CALLS_PER_RECORD]})


def _written(rows: list[FinishedCall]) -> bool:
    try:
        close_old_connections()
        writing.write(rows)
    except (DataError, IntegrityError) as exc:
        # The same rows would be refused again.
        catalog.calls_not_recorded.count(by=len(rows))
        logger.error("calls were not recorded", extra={"error": type(exc).__name__, "count": len(rows)})
    except DatabaseError as exc:
        ledger.put_back([call._replace(is_seen=True) for call in rows])
        logger.warning("calls were not recorded yet; they are kept", extra={"error": type(exc).__name__})
        connection.close()
        return False
    return True
