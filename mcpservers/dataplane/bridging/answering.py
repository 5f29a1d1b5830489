"""Write to a caller what happens to its call: one JSON answer while that is enough, else an event stream."""

from time import perf_counter
from typing import Any

from mcp import MCPError
from mcp.shared.inbound import ERROR_CODE_HTTP_STATUS
from mcp_types.jsonrpc import INTERNAL_ERROR

from mcpservers.dataplane import jsonrpc, stopwatch
from mcpservers.dataplane.bridging.call import Call, Event, Told
from mcpservers.dataplane.bridging.errors import CannotBridge
from mcpservers.dataplane.elicitation import EVENT_STREAM, KEEP_ALIVE_SECONDS, event, reads_streams
from mcpservers.dataplane.exchange import Exchange, RawHeaders
from mcpservers.dataplane.jsonrpc import Id

KEEP_ALIVE = b": still at work\n\n"


class Answering:
    """The way back to one caller. `headers` go with whatever is sent."""

    def __init__(self, exchange: Exchange, headers: RawHeaders | None = None) -> None:
        self._exchange, self._headers = exchange, headers or []
        self.can_stream = reads_streams(exchange)

    async def until_told(self, call: Call, progress_token: Any) -> Event:
        """Pass on the call's notifications, and comments while there are none; return the first other event."""
        while True:
            began = perf_counter()
            happened = await call.next(KEEP_ALIVE_SECONDS if self.can_stream else None)
            stopwatch.waited_for_upstream(began)
            if happened is None:
                await self.stream()
                await self._exchange.write(KEEP_ALIVE)
            elif not isinstance(happened, Told):
                return happened
            elif self.can_stream:
                await self.tell(happened, progress_token)

    async def tell(self, told: Told, progress_token: Any) -> None:
        """Write a notification; of progress, with the token that the caller chose."""
        params = told.params
        if told.method == "notifications/progress":
            params = {**params, "progressToken": progress_token}
        await self.write({"jsonrpc": "2.0", "method": told.method, "params": params})

    async def stream(self) -> None:
        """Begin the event stream unless it has begun."""
        if not self._exchange.has_answered:
            await self._exchange.start(200, [EVENT_STREAM, *self._headers])

    async def write(self, message: dict[str, Any]) -> None:
        """Write one message on the event stream."""
        await self.stream()
        await self._exchange.write(event(message))

    async def end(self, message: dict[str, Any], status: int = 200) -> None:
        """Write the last message: the whole answer where no stream has begun."""
        if self._exchange.is_event_stream:
            await self._exchange.write(event(message), more=False)
        else:
            await self._exchange.answer(status, message, self._headers)

    async def cancelled(self, id: Id) -> None:
        """End without an answer: the client has cancelled the request and expects none."""
        if self.can_stream or self._exchange.is_event_stream:
            await self.stream()
            await self._exchange.write(b"", more=False)
        else:
            await self.end(jsonrpc.error(id, INTERNAL_ERROR, "Cancelled."))

    async def fail(self, id: Id, error: BaseException, *, is_modern: bool) -> None:
        """End with an error that the upstream gave, or with the one that says why there is no answer.

        Raises Failure, whose answer is the same with and without a bridge.
        """
        if isinstance(error, MCPError):
            body = {"code": error.error.code, "message": error.error.message}
            data = {} if error.error.data is None else {"data": error.error.data}
            status = ERROR_CODE_HTTP_STATUS.get(error.error.code, 200) if is_modern else 200
            await self.end({"jsonrpc": "2.0", "id": id, "error": body | data}, status)
        elif isinstance(error, CannotBridge):
            await self.end(jsonrpc.error(id, INTERNAL_ERROR, str(error)))
        else:
            raise error
