"""One HTTP exchange with a caller: its headers and body in, an answer out."""

import json
import random
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from mcpservers.dataplane import limits

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
RawHeaders = list[tuple[bytes, bytes]]

# Request ids only have to differ; random.Random takes its seed from the system, once for a process.
_numbers = random.Random()  # noqa: S311
ALWAYS: RawHeaders = [
    (b"cache-control", b"no-cache, no-store, no-transform"),
    (b"x-accel-buffering", b"no"),
    (b"x-content-type-options", b"nosniff"),
]


class CallerGone(Exception):
    """The caller closed the connection before its request was complete."""


class BodyTooLarge(Exception):
    """The request body is larger than `AIGW_MAX_REQUEST_BYTES`."""


def _joined(fields: RawHeaders) -> dict[bytes, bytes]:
    joined: dict[bytes, bytes] = {}
    for name, value in fields:
        joined[name] = joined[name] + b", " + value if name in joined else value
    return joined


class Exchange:
    """A request of the data plane and the way to answer it, once."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.peer: str = (scope.get("client") or ("",))[0]
        self.raw_headers: RawHeaders = scope["headers"]
        self._joined = joined = dict(self.raw_headers)
        if len(joined) != len(self.raw_headers):
            self._joined = _joined(self.raw_headers)
        self.receive, self._send = receive, send
        self.request_id = f"{_numbers.getrandbits(128):032x}"
        self.has_answered = False
        self.is_event_stream = False

    def send_through(self, look: Send) -> Send:
        """Have whatever is sent pass `look` first; return what `look` hands it on to."""
        before, self._send = self._send, look
        return before

    def header(self, name: str) -> str:
        """Return a request header ("" when absent, joined with a comma when repeated)."""
        value = self._joined.get(name.encode())
        return "" if value is None else value.decode("latin-1")

    async def body(self) -> bytes:
        """Read the whole request body. Raises BodyTooLarge, CallerGone."""
        limit = limits.current().request_bytes
        if (length := self.header("content-length")).isdigit() and int(length) > limit:
            raise BodyTooLarge
        chunks: list[bytes] = []
        size = 0
        while True:
            event = await self.receive()
            if event["type"] == "http.disconnect":
                raise CallerGone
            chunks.append(event.get("body", b""))
            size += len(chunks[-1])
            if size > limit:
                raise BodyTooLarge
            if not event.get("more_body", False):
                return b"".join(chunks)

    async def start(self, status: int, headers: RawHeaders) -> None:
        """Send the status and headers, with those that every answer carries."""
        self.has_answered = True
        for name, value in headers:
            if name == b"content-type" and value.lower().startswith(b"text/event-stream"):
                self.is_event_stream = True
        sent = [*headers, *ALWAYS, (b"x-request-id", self.request_id.encode())]
        await self._send({"type": "http.response.start", "status": status, "headers": sent})

    async def write(self, chunk: bytes, *, more: bool = True) -> None:
        """Send a piece of the body; the last one with `more=False`."""
        await self._send({"type": "http.response.body", "body": chunk, "more_body": more})

    async def answer(self, status: int, body: dict[str, Any] | None = None, headers: RawHeaders | None = None) -> None:
        """Send a whole JSON answer, or an empty one."""
        content = b"" if body is None else json.dumps(body, separators=(",", ":")).encode()
        fields = [(b"content-length", str(len(content)).encode()), *(headers or [])]
        if body is not None:
            fields.append((b"content-type", b"application/json"))
        await self.start(status, fields)
        await self.write(content, more=False)

    async def refuse(
        self, status: int, code: str, detail: str, headers: RawHeaders | None = None, kind: str = "client_error"
    ) -> None:
        """Send an HTTP-level refusal in the shape that every API route uses."""
        error = {"code": code, "detail": detail, "attr": None}
        await self.answer(status, {"type": kind, "errors": [error], "request_id": self.request_id}, headers)
