"""An exchange around another one: what it lets through goes out by the inner one."""

from typing import Any

from mcpservers.dataplane.exchange import Exchange, RawHeaders


class WrappedExchange(Exchange):
    """The same request; `headers` replaces what it says to the upstream."""

    def __init__(self, inner: Exchange, headers: RawHeaders | None = None) -> None:
        fields = inner.raw_headers if headers is None else headers
        scope = {"method": inner.method, "path": inner.path, "client": (inner.peer, 0), "headers": fields}
        super().__init__(scope, inner.receive, _not_here)
        self.request_id = inner.request_id
        self.has_answered, self.is_event_stream = inner.has_answered, inner.is_event_stream
        self._inner = inner

    async def start(self, status: int, headers: RawHeaders) -> None:
        """Begin the answer."""
        await self._inner.start(status, headers)
        self.has_answered, self.is_event_stream = True, self._inner.is_event_stream

    async def write(self, chunk: bytes, *, more: bool = True) -> None:
        """Send a piece of the body."""
        await self._inner.write(chunk, more=more)


async def _not_here(event: Any) -> None:
    raise AssertionError("what is sent goes through the inner exchange")
