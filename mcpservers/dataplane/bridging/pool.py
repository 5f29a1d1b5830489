"""What is open upstream, by user, server and purpose: opened when first needed, shared, bounded, closed when idle.

A connection is bound to the credential that it was opened with. When that changes, the next call opens another one and
the old one is closed as soon as nobody uses it.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from django.conf import settings

from mcpservers.dataplane.bridging.connection import Connection
from mcpservers.dataplane.credentials import Credential
from mcpservers.dataplane.jsonrpc import Failure, Reason
from mcpservers.dataplane.routing import Caller, Plan

Greet = Callable[[Connection], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Key:
    """Whose connection to which server, and what sets it apart: a caller's session, or what a client declares."""

    user_id: int
    server: Hashable
    purpose: str


@dataclass(slots=True)
class Kept:
    """A connection, what it was opened for and who uses it."""

    caller: Caller
    plan: Plan = field(repr=False)
    credential: Credential
    connection: Connection | None = None
    users: int = 0
    idle_since: float = 0.0
    opening: asyncio.Lock = field(default_factory=asyncio.Lock)

    def is_good_for(self, plan: Plan, credential: Credential) -> bool:
        """Tell whether a call with this plan and credential may use the connection."""
        is_usable = self.connection is None or self.connection.is_open
        return is_usable and self.credential == credential and same_place(self.plan, plan)


def same_place(one: Plan, other: Plan) -> bool:
    """Tell whether two plans lead to the same upstream in the same way."""
    return (one.url, one.transport, one.mode) == (other.url, other.transport, other.mode)


class Pool:
    """The connections of one event loop."""

    def __init__(self) -> None:
        self.kept: OrderedDict[Key, Kept] = OrderedDict()
        self._closing: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def borrowed(
        self, purpose: str, plan: Plan, caller: Caller, credential: Credential, greet: Greet
    ) -> AsyncIterator[Connection]:
        """Lend the connection for `purpose`, opened and greeted if need be. Raises Failure, Unauthorized, MCPError."""
        key = Key(caller.user_id, plan.server_uid, purpose)
        kept = self.kept.get(key)
        if kept is None or not kept.is_good_for(plan, credential):
            self.drop(key)
            self._make_room()
            kept = self.kept[key] = Kept(caller, plan, credential)
        self.kept.move_to_end(key)
        kept.users += 1
        try:
            async with kept.opening:
                if kept.connection is None or not kept.connection.is_open:
                    kept.connection = await self._open(plan, credential, greet)
            yield kept.connection
        finally:
            self._give_back(key, kept)

    def drop(self, key: Key) -> None:
        """Forget a connection: it is closed at once if nobody uses it, else with its last user."""
        kept = self.kept.pop(key, None)
        if kept is not None and not kept.users:
            self._close_soon(kept)

    def end(self, purpose: str) -> None:
        """Close the connection of a session that has ended."""
        for key in [key for key in self.kept if key.purpose == purpose]:
            self.cut(key)

    def cut(self, key: Key) -> None:
        """Close a connection whoever uses it: its calls end with an error."""
        kept = self.kept.pop(key, None)
        if kept is not None:
            self._close_soon(kept)

    def close_idle(self) -> None:
        """Close what nobody has used for `AIGW_BRIDGED_SESSION_IDLE_SECONDS`."""
        before = asyncio.get_running_loop().time() - settings.AIGW_BRIDGED_SESSION_IDLE_SECONDS
        for key in [key for key, kept in self.kept.items() if not kept.users and kept.idle_since < before]:
            self.drop(key)

    async def stop(self) -> None:
        """Close everything."""
        for key in list(self.kept):
            self.cut(key)
        if self._closing:
            await asyncio.wait(self._closing, timeout=5)

    async def _open(self, plan: Plan, credential: Credential, greet: Greet) -> Connection:
        connection = Connection(plan, credential)
        try:
            await connection.open()
            await greet(connection)
        except BaseException:
            await connection.close()
            raise
        return connection

    def _give_back(self, key: Key, kept: Kept) -> None:
        kept.users -= 1
        kept.idle_since = asyncio.get_running_loop().time()
        if self.kept.get(key) is not kept and not kept.users:
            self._close_soon(kept)
        elif kept.connection is None and not kept.users:
            self.kept.pop(key, None)

    def _make_room(self) -> None:
        """Close the least recently used idle connection where there are as many as allowed. Raises Failure."""
        if len(self.kept) < settings.AIGW_BRIDGED_SESSIONS:
            return
        idle = next((key for key, kept in self.kept.items() if not kept.users), None)
        if idle is None:
            text = "Too many sessions are open at MCP servers of other revisions. Try again in a moment."
            raise Failure(Reason.UpstreamUnavailable, text, "too_many_sessions")
        self.drop(idle)

    def _close_soon(self, kept: Kept) -> None:
        if kept.connection is not None:
            task = asyncio.get_running_loop().create_task(kept.connection.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
