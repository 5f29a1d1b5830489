"""How many may be under way at the same time, by key: bulkheads that keep one crowd out of another's way.

Counted in this process only, across its event loops.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Hashable


class _Turn:
    """Somebody who waits for a place."""

    __slots__ = ("future", "is_given", "loop")

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[None] = self.loop.create_future()
        self.is_given = False

    def ring(self) -> None:
        if not self.future.done():
            self.future.set_result(None)


class Places:
    """Places that are taken, and who waits for one, the longest first."""

    def __init__(self) -> None:
        self._taken: dict[Hashable, int] = {}
        self._waiting: dict[Hashable, deque[_Turn]] = {}
        self._lock = threading.Lock()

    def taken(self, key: Hashable) -> int:
        """Return how many places are taken."""
        return self._taken.get(key, 0)

    def take(self, key: Hashable, limit: int) -> bool:
        """Take a place if one of `limit` is free and nobody waits for it."""
        with self._lock:
            taken = self._taken.get(key, 0)
            if taken >= limit:
                return False
            self._taken[key] = taken + 1
            return True

    async def wait(self, key: Hashable, limit: int, seconds: float) -> bool:
        """Take a place, or wait for one as long as no more than `limit` others do; tell whether it was had."""
        if self.take(key, limit):
            return True
        turn = _Turn()
        with self._lock:
            waiting = self._waiting.setdefault(key, deque())
            if len(waiting) >= limit:
                return False
            waiting.append(turn)
        try:
            async with asyncio.timeout(seconds):
                await turn.future
        except TimeoutError:
            pass
        except BaseException:
            if self._give_up(key, turn):
                self.leave(key)
            raise
        return self._give_up(key, turn)

    def leave(self, key: Hashable) -> None:
        """Give a place back, or hand it on to who has waited longest."""
        with self._lock:
            if self._waiting and self._next(key) is not None:
                return
            left = self._taken[key] - 1
            if left:
                self._taken[key] = left
            else:
                del self._taken[key]

    def _next(self, key: Hashable) -> _Turn | None:
        waiting = self._waiting.get(key)
        while waiting:
            turn = waiting.popleft()
            if not waiting:
                del self._waiting[key]
            try:
                turn.loop.call_soon_threadsafe(turn.ring)
            except RuntimeError:
                continue  # its loop is closed
            turn.is_given = True
            return turn
        return None

    def _give_up(self, key: Hashable, turn: _Turn) -> bool:
        """Wait no more; tell whether the place was given meanwhile."""
        with self._lock:
            waiting = self._waiting.get(key)
            if not turn.is_given and waiting is not None and turn in waiting:
                waiting.remove(turn)
                if not waiting:
                    del self._waiting[key]
            return turn.is_given
