"""One connection: a request out, its answer in, then the next request.

The parser (llhttp, strict) refuses what two readers could take in two ways: `Content-Length` twice or beside
`Transfer-Encoding`, bare line feeds, folded lines, control characters. What it lets pass is refused here: a transfer
coding other than `chunked`, an upgrade, bytes that nobody asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import httptools

from outbound.errors import ConnectFailed, InvalidAnswer, OutboundError, TimedOut

Fields = list[tuple[bytes, bytes]]

# A head, trailers or chunk extensions: as many bytes may come without a piece of the body among them.
MAX_BARREN_BYTES = 65_536
MAX_BUFFERED_BYTES = 262_144
WRITTEN_AT_ONCE_BYTES = 65_536
CHUNKED = b"chunked"


class Connection(asyncio.Protocol):
    """An open connection to `host`. `lost` is called once it is closed, by whichever side."""

    def __init__(self, loop: asyncio.AbstractEventLoop, host: str) -> None:
        self.host, self.is_open, self.is_used = host, False, False
        self.lost: Callable[[Connection], None] | None = None
        self.status, self.headers = 0, Fields()
        self.loop, self._parser = loop, httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._deadline: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._error: OutboundError | None = None
        self._pieces: list[bytes] = []
        self._buffered = self._barren = 0
        self._is_paused = self._is_busy = self._has_head = self._is_complete = self._is_reusable = False
        self._is_informational = self._ends_at_close = self.has_answered = False

    def send(self, head: bytes, body: bytes) -> None:
        """Begin an exchange. Raises ConnectFailed when the connection was closed meanwhile."""
        if not self.is_open or self._transport is None:
            raise ConnectFailed(self.host)
        self.status, self.headers = 0, []
        self._barren = 0
        self._is_busy, self._has_head, self._is_complete, self._is_reusable = True, False, False, False
        self._is_informational = self._ends_at_close = self.has_answered = False
        if len(body) <= WRITTEN_AT_ONCE_BYTES:
            self._transport.write(head + body)
        else:
            self._transport.write(head)
            self._transport.write(body)

    async def head(self, deadline: float | None) -> None:
        """Wait for `status` and `headers` until `deadline`, a time of the loop.

        Raises ConnectFailed, InvalidAnswer, TimedOut.
        """
        while not self._has_head:
            if self._error is not None:
                raise self._error
            await self._wait(deadline)

    async def read(self, idle_seconds: float | None, until: float | None) -> bytes:
        """Return what has come of the body, or wait for more; b"" at its end. Raises as `head` does.

        No wait is longer than `idle_seconds`, and nothing is returned after `until`, a time of the loop.
        """
        if until is not None and self.loop.time() > until and not self._is_complete:
            self._fail(TimedOut(self.host))
        while not self._pieces:
            if self._is_complete:
                return b""
            if self._error is not None:
                raise self._error
            idle_until = None if idle_seconds is None else self.loop.time() + idle_seconds
            await self._wait(until if idle_until is None else idle_until if until is None else min(until, idle_until))
        piece = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces, self._buffered = [], 0
        if self._is_paused and self.is_open and self._transport is not None:
            self._is_paused = False
            self._transport.resume_reading()
        return piece

    @property
    def is_read(self) -> bool:
        """Tell whether the answer came whole and nothing of it is left to read."""
        return self._is_complete and not self._pieces

    def rest(self, idle_seconds: float) -> bool:
        """Keep the connection for another exchange; False when it cannot carry one and was closed."""
        is_fit = self.is_open and self.is_read and self._is_reusable and not self._is_paused
        # An answer that came before the request had gone out: the rest of it must not begin the next one.
        if not is_fit or self._transport is None or self._transport.get_write_buffer_size():
            self.abort()
            return False
        self._is_busy, self.is_used, self.headers = False, True, []
        self._limit(self.loop.time() + idle_seconds)
        return True

    def abort(self) -> None:
        """Close at once, whatever is under way."""
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self.is_open = cast(asyncio.Transport, transport), True

    def data_received(self, data: bytes) -> None:
        if not self._is_busy or self._is_complete:
            self.abort()  # nobody asked for it
            return
        self.has_answered = True
        self._barren += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail(InvalidAnswer(self.host))
        if self._barren > MAX_BARREN_BYTES and not self._is_complete:
            self._fail(InvalidAnswer(self.host))
        elif self._buffered > MAX_BUFFERED_BYTES and not self._is_paused and self.is_open and self._transport:
            self._is_paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        """Use the connection for nothing more; what was not read yet is still to be read."""
        self.is_open = False

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        if self._ends_at_close and exc is None and self._error is None:
            self._is_complete = True
        self._fail(ConnectFailed(self.host))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.lost is not None:
            self.lost(self)

    def on_message_begin(self) -> None:
        """Refuse a second answer to one request."""
        if self._is_complete:
            self._is_reusable = False
            self.abort()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; trailers are dropped (RFC 9110 §6.5.1)."""
        if not self._has_head:
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Read the status, and where the body ends (RFC 9112 §6.3)."""
        if self._is_complete:
            return
        status = self._parser.get_status_code()
        if status < 200:
            if status == 101:
                self._fail(InvalidAnswer(self.host))
            self._is_informational, self.headers = True, []
            return
        self.status, self._has_head = status, True
        lengths = [value.strip().lower() for name, value in self.headers if name == b"transfer-encoding"]
        if lengths not in ([], [CHUNKED]):
            self._fail(InvalidAnswer(self.host))
        elif not lengths and status not in (204, 304):
            self._ends_at_close = all(name != b"content-length" for name, _ in self.headers)

    def on_body(self, piece: bytes) -> None:
        if self._is_complete or self._error is not None:
            return
        self._pieces.append(piece)
        self._buffered += len(piece)
        self._barren = 0

    def on_message_complete(self) -> None:
        if self._is_informational:
            self._is_informational = False
        elif not self._is_complete and self._error is None:
            self._is_complete, self._is_reusable = True, self._parser.should_keep_alive()

    async def _wait(self, deadline: float | None) -> None:
        self._limit(deadline)
        self._waiter = self.loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = self._deadline = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, error: OutboundError) -> None:
        if not self._is_complete and self._error is None:
            self._error = error
        self.abort()
        self._wake()

    def _limit(self, deadline: float | None) -> None:
        """Wait no longer than this. One timer serves all limits, and is moved only when it would ring too late."""
        self._deadline = deadline
        if deadline is not None and (self._timer is None or self._timer.when() > deadline):
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self.loop.call_at(deadline, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._deadline is not None and self.loop.time() < self._deadline:
            self._timer = self.loop.call_at(self._deadline, self._ring)
        elif self._deadline is not None:
            self._fail(TimedOut(self.host))
