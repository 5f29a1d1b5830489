"""What uvicorn lets pass and none of our callers sends: refused with 400 before anything is served (D07, D23).

The parser (llhttp, strict) refuses `Content-Length` twice or beside `Transfer-Encoding`, folded lines, bare line feeds
and control characters. It sets no limit to a head, and it takes the address of another server as a path of ours.

On the way out, the head of an answer and the first piece of its body leave as one segment where they come together.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 65_536
JOINED_UP_TO_BYTES = 16_384
HEAD_BEGINS = b"HTTP/1.1 "


class HeadHeld:
    """A transport that holds the head of an answer until its body or the loop's next turn, whichever is first.

    uvicorn writes them apart, and uvloop makes a system call and a segment of each.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport, self._head = transport, b""
        self._call_soon = asyncio.get_running_loop().call_soon
        self.is_closing = transport.is_closing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send this, and before it what was held."""
        if self._head:
            held, self._head = self._head, b""
            if len(data) <= JOINED_UP_TO_BYTES:
                data = held + data
            else:
                self._transport.write(held)
        elif data.startswith(HEAD_BEGINS):
            self._head = data
            self._call_soon(self._release)
            return
        self._transport.write(data)

    def close(self) -> None:
        """Close once everything was sent."""
        self._release()
        self._transport.close()

    def _release(self) -> None:
        if self._head:
            held, self._head = self._head, b""
            if not self.is_closing():
                self._transport.write(held)


class Protocol(HttpToolsProtocol):
    """One connection of a caller."""

    _head_bytes = 0
    _is_in_head = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection over."""
        super().connection_made(HeadHeld(transport))  # type: ignore[arg-type]

    def data_received(self, data: bytes) -> None:
        """Parse what came; give up on a head that does not end."""
        if self._is_in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._is_in_head and self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The head of this request is too large.")

    def on_message_begin(self) -> None:
        """Begin a request; what came with the one before was counted for that."""
        super().on_message_begin()
        self._is_in_head = True

    def on_headers_complete(self) -> None:
        """Serve the request, unless another reader could take it for another one."""
        if problem := self._problem():
            raise ValueError(problem)  # llhttp ends the connection with 400
        self._is_in_head, self._head_bytes = False, 0
        super().on_headers_complete()

    def _problem(self) -> str:
        if self.url[:1] != b"/":
            return "not a path"  # absolute-form, authority-form, asterisk-form (RFC 9112 §3.2)
        if self._head_bytes > MAX_HEAD_BYTES:
            size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
            if size > MAX_HEAD_BYTES:
                return "too large"
        hosts = 0
        for name, value in self.headers:
            if name == b"host":
                hosts += 1
            elif name == b"transfer-encoding" and value.lower() != b"chunked":
                return "transfer coding"
        return "two hosts" if hosts > 1 else ""
