"""Finished calls on their way to rows and log lines: noted on the call path, written by a thread of each process.

The call path only appends to a bounded queue. What does not fit is counted, not waited for.
"""

import time
from collections import deque
from collections.abc import Iterator

from mcpservers.activity import counting
from mcpservers.activity.finished import FinishedCall
from metrics import catalog

WAITING_AT_MOST = 50_000


_waiting: deque[FinishedCall] = deque()


def note(call: FinishedCall) -> None:
    """Have a call written soon."""
    if len(_waiting) < WAITING_AT_MOST:
        _waiting.append(call)
    else:
        counting.count([call])
        catalog.calls_not_recorded.count()


def take(most: int) -> list[FinishedCall]:
    """Take up to `most` calls out of the queue, oldest first."""
    return list(_taken(most))


def put_back(calls: list[FinishedCall]) -> None:
    """Have calls that could not be written taken again, as far as there is room."""
    room = max(WAITING_AT_MOST - len(_waiting), 0)
    kept = calls[len(calls) - room :] if room < len(calls) else calls
    _waiting.extendleft(reversed(kept))
    catalog.calls_not_recorded.count(by=len(calls) - len(kept))


def _taken(most: int) -> Iterator[FinishedCall]:
    for _ in range(most):
        try:
            yield _waiting.popleft()
        except IndexError:
            return


def now() -> float:
    """Return the time that a call's `ended` is in: seconds since 1970."""
    return time.time()
