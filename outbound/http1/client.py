"""Send a request and hand over the answer as it arrives.

What was sent and not answered is sent once more only when it went out on a kept connection that the other side closed,
no byte of an answer was seen, and the caller says that it may be repeated (D20, D21; RFC 9110 §9.2.2).
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable

from outbound.addresses import Policy, current_policy
from outbound.errors import ConnectFailed, InvalidRequest, RedirectRefused, TimedOut, is_redirect
from outbound.http1.keeping import Key, Pool
from outbound.http1.opening import Destination, destination_of, opened
from outbound.http1.wire import Connection, Fields
from outbound.tls import ssl_context

# Common servers close after five idle seconds. A request that must not be repeated stays clear of that moment.
IDLE_AT_MOST_SECONDS = 4.0


class Answer:
    """An answer whose head has come: `status`, `headers` (names in lower case), then `read` until b""."""

    def __init__(self, connection: Connection, pool: Pool, idle_seconds: float | None, until: float | None) -> None:
        self.status, self.headers = connection.status, connection.headers
        self._connection, self._pool, self._idle_seconds, self._until = connection, pool, idle_seconds, until
        self._is_closed = False

    async def read(self) -> bytes:
        """Return the next bytes of the body as they came, b"" at its end. Raises OutboundError when it broke off."""
        return await self._connection.read(self._idle_seconds, self._until)

    @property
    def is_read(self) -> bool:
        """Tell whether `read` has nothing more to return."""
        return self._connection.is_read

    def close(self) -> None:
        """Let go: a connection whose answer was read to its end is kept, any other is closed."""
        if not self._is_closed:
            self._is_closed = True
            self._pool.give_back(self._connection)


class Client:
    """Requests of one event loop; `close` it. `policy` and `ca_bundle` stand in for the settings."""

    def __init__(
        self,
        *,
        connect_seconds: float = 5.0,
        limit: int = 1000,
        limit_per_origin: int = 200,
        idle_seconds: float = 15.0,
        policy: Policy | None = None,
        ca_bundle: str | None = None,
    ) -> None:
        self.pool = Pool(limit=limit, limit_per_origin=limit_per_origin, idle_seconds=idle_seconds)
        self._connect_seconds, self._idle_seconds = connect_seconds, idle_seconds
        self._policy, self._ca_bundle = policy, ca_bundle
        self._judged_by: Policy | None = None

    async def send(
        self,
        method: str,
        url: str,
        headers: Fields,
        body: bytes | None = None,
        *,
        owner: Hashable = None,
        first_byte_seconds: float | None = None,
        idle_seconds: float | None = None,
        total_seconds: float | None = None,
        is_repeatable: bool = False,
    ) -> Answer:
        """Send a request and wait for the head of its answer, which the caller closes.

        `owner` is whose credential it carries: connections are kept apart by it. `first_byte_seconds` bounds the wait
        for a connection and for the head, `idle_seconds` each wait for a piece, `total_seconds` all of it. `headers`
        lack `Host`, `Content-Length` and what belongs to the connection. Raises OutboundError.
        """
        destination = destination_of(url)
        head = head_of(method, destination, headers, body)
        now = asyncio.get_running_loop().time()
        until = None if total_seconds is None else now + total_seconds
        deadline = None if first_byte_seconds is None else now + first_byte_seconds
        if until is not None and (deadline is None or until < deadline):
            deadline = until
        policy = self._current_policy()
        key, patience = (destination.origin, owner), self._idle_seconds if is_repeatable else IDLE_AT_MOST_SECONDS
        connection = self.pool.reuse(key, idle_at_most_seconds=patience)
        if connection is None:
            connection = await self._open(key, destination, policy, deadline, patience)
        try:
            await _exchange(connection, head, body, deadline)
        except ConnectFailed:
            if not connection.is_used or connection.has_answered or not is_repeatable:
                raise
            connection = await self._open(key, destination, policy, deadline, -1)
            await _exchange(connection, head, body, deadline)
        return Answer(connection, self.pool, idle_seconds, until)

    async def close(self) -> None:
        """Close every connection; each is told on one of the loop's next rounds."""
        self.pool.close()
        for _ in range(3):
            await asyncio.sleep(0)

    def _current_policy(self) -> Policy:
        """Return who may be reached; a connection that was judged by another rule is not used again."""
        policy = self._policy or current_policy()
        if policy is not self._judged_by:
            self.pool.drop_idle()
            self._judged_by = policy
        return policy

    async def _open(
        self, key: Key, destination: Destination, policy: Policy, deadline: float | None, patience: float
    ) -> Connection:
        loop = asyncio.get_running_loop()

        async def connect() -> Connection:
            seconds = self._connect_seconds if deadline is None else min(self._connect_seconds, deadline - loop.time())
            return await opened(destination, policy, ssl_context(self._ca_bundle), seconds=seconds)

        try:
            async with asyncio.timeout_at(deadline):
                return await self.pool.open(key, connect, idle_at_most_seconds=patience)
        except TimeoutError:
            raise TimedOut(destination.host) from None


async def _exchange(connection: Connection, head: bytes, body: bytes | None, deadline: float | None) -> None:
    """Send the request and wait for the head; the connection is closed when there is none that can be used."""
    try:
        connection.send(head, body or b"")
        await connection.head(deadline)
        if is_redirect(connection.status):
            raise RedirectRefused(connection.host)
    except BaseException:
        connection.abort()
        raise


def head_of(method: str, destination: Destination, headers: Fields, body: bytes | None) -> bytes:
    """Return the request line and headers. Raises InvalidRequest when one of them would become two (D03)."""
    lines = [b"%b %b HTTP/1.1\r\nhost: %b" % (method.encode(), destination.target, destination.host_field)]
    lines += [name + b": " + value for name, value in headers]
    if body is not None:
        lines.append(b"content-length: %d" % len(body))
    lines.append(b"\r\n")
    head = b"\r\n".join(lines)
    breaks = len(lines) + 1
    if head.count(b"\r") != breaks or head.count(b"\n") != breaks or b"\0" in head:
        raise InvalidRequest(destination.host)
    return head
