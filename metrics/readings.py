"""Numbers that stand in the database: read when somebody asks, for all who ask within a few seconds, with a deadline.

A database that is silent must not hold a scrape: after `PATIENCE_SECONDS` the answer goes out without these numbers,
and the next one finds them if the database has come back.
"""

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, TimeoutError
from dataclasses import dataclass

from django.db import Error as DatabaseError
from django.db import close_old_connections, connection

GOOD_FOR_SECONDS = 5.0
PATIENCE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Reading:
    """A gauge that was read: one value for each value of its `label`, or a single one under ''."""

    name: str
    help_text: str
    values: dict[str, float]
    label: str = ""


Source = Callable[[], Iterable[Reading]]
_sources: list[Source] = []
_pool = ThreadPoolExecutor(1, thread_name_prefix="metrics-reader")
_lock = threading.Lock()


def register(source: Source) -> None:
    """Have `source()` asked at a scrape, on a thread of its own. It may raise DatabaseError."""
    _sources.append(source)


class Reader:
    """Asks all sources at once, at most every `GOOD_FOR_SECONDS`, and never twice at the same time."""

    def __init__(self) -> None:
        self._asked: Future[list[Reading]] | None = None
        self._at = float("-inf")

    def read(self) -> list[Reading] | None:
        """Return the readings, a few seconds old at most; None when the database does not give them in time."""
        with _lock:
            if self._asked is None or (self._asked.done() and time.monotonic() - self._at > GOOD_FOR_SECONDS):
                self._asked, self._at = _pool.submit(_ask), time.monotonic()
            asked = self._asked
        try:
            return asked.result(timeout=PATIENCE_SECONDS)
        except (DatabaseError, TimeoutError):
            return None

    def forget(self) -> None:
        """Ask again at the next scrape."""
        with _lock:
            self._asked = None


def _ask() -> list[Reading]:
    try:
        close_old_connections()
        return [reading for source in _sources for reading in source()]
    finally:
        connection.close()
