"""Which connections are open, how many may be, and who may use one again.

A connection that carried one owner's credential carries no other owner's: whatever an upstream, or a proxy before it,
keeps by connection stays with that owner.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Hashable

from outbound.http1.wire import Connection

Origin = Hashable
Key = tuple[Origin, Hashable]


class Pool:
    """At most `limit` open connections, `limit_per_origin` of them to one origin, the idle ones included."""

    def __init__(self, *, limit: int, limit_per_origin: int, idle_seconds: float) -> None:
        self._limit, self._limit_per_origin, self._idle_seconds = limit, limit_per_origin, idle_seconds
        self._idle: dict[Key, list[tuple[float, Connection]]] = {}  # since when, oldest first
        self._open: dict[Connection, Key] = {}
        self._taken: Counter[Origin] = Counter()
        self._waiting: dict[Origin, deque[asyncio.Future[None]]] = {}

    def reuse(self, key: Key, *, idle_at_most_seconds: float) -> Connection | None:
        """Return the connection that this owner used last, if it is not idle for too long."""
        idle = self._idle.get(key)
        if not idle:
            return None
        since, connection = idle.pop()
        if not idle:
            del self._idle[key]
        if connection.is_open and connection.loop.time() - since <= idle_at_most_seconds:
            return connection
        # The others have been idle for longer still; their own limit ends them.
        connection.abort()
        return None

    async def open(
        self, key: Key, connect: Callable[[], Awaitable[Connection]], *, idle_at_most_seconds: float
    ) -> Connection:
        """Make a connection when there is room, or use one again that this owner is done with meanwhile."""
        if found := await self._room(key, idle_at_most_seconds):
            return found
        self._taken[key[0]] += 1
        try:
            connection = await connect()
        except BaseException:
            self._leave(key[0])
            raise
        self._open[connection] = key
        connection.lost = self._lost
        if not connection.is_open:
            self._lost(connection)
        return connection

    def give_back(self, connection: Connection) -> None:
        """Keep a connection whose exchange is over, or close it when it can carry no other."""
        key = self._open.get(connection)
        if key is not None and connection.rest(self._idle_seconds):
            self._idle.setdefault(key, []).append((connection.loop.time(), connection))
            if self._waiting:
                self._wake(key[0])

    def drop_idle(self) -> None:
        """Close what nobody uses now."""
        for connection in [connection for idle in self._idle.values() for _, connection in idle]:
            connection.abort()
            self._lost(connection)

    def close(self) -> None:
        """Close every connection."""
        for connection in list(self._open):
            connection.abort()

    def __len__(self) -> int:
        """Return how many connections are open or being made."""
        return self._taken.total()

    async def _room(self, key: Key, idle_at_most_seconds: float) -> Connection | None:
        """Wait for room, the longest waiting caller first."""
        origin, is_first = key[0], True
        while not self._has_room(origin) and not self._evict(origin):
            queue = self._waiting.setdefault(origin, deque())
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            queue.append(turn) if is_first else queue.appendleft(turn)
            is_first = False
            try:
                await turn
            except BaseException:
                if turn.done() and not turn.cancelled():
                    self._wake(origin)  # it was our turn: pass it on
                raise
            finally:
                queue.remove(turn)
                if not queue and self._waiting.get(origin) is queue:
                    del self._waiting[origin]
            if found := self.reuse(key, idle_at_most_seconds=idle_at_most_seconds):
                return found
        return None

    def _has_room(self, origin: Origin) -> bool:
        return self._taken[origin] < self._limit_per_origin and self._taken.total() < self._limit

    def _evict(self, origin: Origin) -> bool:
        """Close the connection that has been idle longest where there is no room; its place is free at once."""
        is_full = self._taken[origin] >= self._limit_per_origin
        keys = [key for key in self._idle if not is_full or key[0] == origin]
        if not keys:
            return False
        _, connection = min((self._idle[key][0] for key in keys), key=lambda kept: kept[0])
        connection.abort()
        self._lost(connection)
        return True

    def _lost(self, connection: Connection) -> None:
        key = self._open.pop(connection, None)
        if key is None:
            return
        if idle := self._idle.get(key):
            idle[:] = [kept for kept in idle if kept[1] is not connection]
            if not idle:
                del self._idle[key]
        self._leave(key[0])

    def _leave(self, origin: Origin) -> None:
        self._taken[origin] -= 1
        if not self._taken[origin]:
            del self._taken[origin]
        if self._waiting:
            self._wake(origin)

    def _wake(self, origin: Origin) -> None:
        """Let the next one look again: of this origin, else of any."""
        for queue in (self._waiting.get(origin, ()), *self._waiting.values()):
            for turn in queue:
                if not turn.done():
                    turn.set_result(None)
                    return
