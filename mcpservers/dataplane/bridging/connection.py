"""One connection to an upstream MCP server: the SDK's transport and dispatcher, in a task of their own.

The SDK runs what the upstream sends in the context of the request that it belongs to. `_current` is how a question or
a notification finds its call; on HTTP+SSE, where everything comes on one stream, only a lone call can be meant.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from contextvars import ContextVar
from typing import Any

import anyio
import httpx2
from anyio.abc import TaskStatus
from django.conf import settings
from mcp import MCPError
from mcp.shared.dispatcher import CallOptions
from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher
from mcp_types.jsonrpc import CONNECTION_CLOSED, INVALID_REQUEST

from mcpservers.dataplane import step_up
from mcpservers.dataplane.bridging import transports
from mcpservers.dataplane.bridging.call import Call, Json
from mcpservers.dataplane.bridging.errors import Broken, CannotBridge, SessionLost, Unauthorized
from mcpservers.dataplane.credentials import Credential
from mcpservers.dataplane.jsonrpc import Failure, Reason
from mcpservers.dataplane.routing import Plan
from outbound.errors import OutboundError, TimedOut

logger = logging.getLogger(__name__)
CLOSING_SECONDS = 2.0
BODY_SECONDS = 5.0
BROKEN_OFF = ("Connection closed", "SSE stream ended", "SSE stream failed")
Listener = Callable[[str, Json], None]
_current: ContextVar[Call | None] = ContextVar("bridged_call", default=None)


class Connection:
    """What is open at one upstream for one caller, with one credential.

    `initialized` is the upstream's `InitializeResult`, empty for a revision without sessions. `listeners` are told what
    belongs to no call, "" last; `unprompted` is asked what belongs to none.
    """

    def __init__(self, plan: Plan, credential: Credential) -> None:
        self.plan, self.credential = plan, credential
        self.version, self.initialized = "", dict[str, Any]()
        self.log_level = ""
        self.listeners: list[Listener] = []
        self.subscribed: Counter[str] = Counter()
        self.calls: dict[str, Call] = {}
        self.unprompted: Call | None = None
        self._has_session = False
        self._dispatcher: JSONRPCDispatcher | None = None
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._closing, self._opening = asyncio.Event(), Call("", {})
        self._task: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """Tell whether a request can be made."""
        return self._task is not None and not self._task.done() and not self._closing.is_set()

    @property
    def has_stream(self) -> bool:
        """Tell whether the upstream can say anything outside an answer."""
        return self._has_session or self.plan.transport == "sse"

    async def open(self) -> None:
        """Reach the upstream. Raises Failure, Unauthorized."""
        self._task = asyncio.create_task(self._keep())
        either: set[asyncio.Future[None]] = {self._opened, self._task}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not self._opened.done():
            raise self._verdict(self._opening) or _unreachable()

    async def close(self) -> None:
        """End the session upstream and let go of every socket."""
        self._closing.set()
        if self._task is None:
            return
        _, slow = await asyncio.wait([self._task], timeout=CLOSING_SECONDS)
        for task in slow:
            task.cancel()
            await asyncio.wait([task], timeout=CLOSING_SECONDS)

    async def until_ended(self) -> None:
        """Wait until the connection ends, whoever ends it."""
        await self._closing.wait()

    async def request(
        self, call: Call, method: str, params: Json | None, headers: dict[str, str] | None = None
    ) -> Json:
        """Make a request for `call` and return its result.

        Raises MCPError (the upstream's own error), Unauthorized, SessionLost, Broken and Failure.
        """
        key = f"{call.token}-{id(params)}"
        self.calls[key] = call
        call.status, call.failure, call.refused = 0, None, asyncio.get_running_loop().create_future()
        try:
            return await self._answer(call, method, params, headers)
        except MCPError as exc:
            verdict = self._verdict(call, exc)
            if isinstance(verdict, SessionLost):
                self._closing.set()
            raise verdict or exc from None
        finally:
            self.calls.pop(key, None)

    async def notify(self, method: str, params: Json | None) -> None:
        """Send a notification; one that cannot be delivered is dropped."""
        if self._dispatcher is not None:
            await self._dispatcher.notify(method, params, self._options("", {}))

    async def _answer(self, call: Call, method: str, params: Json | None, headers: dict[str, str] | None) -> Json:
        if self._dispatcher is None or not self.is_open:
            raise Broken
        token = _current.set(call)
        asked = asyncio.ensure_future(
            self._dispatcher.send_raw_request(method, params, self._options(method, call.headers | (headers or {})))
        )
        _current.reset(token)
        try:
            await self._first_of(asked, call)
            if not asked.done() and self.plan.transport != "sse":
                await asyncio.wait([asked], timeout=BODY_SECONDS)
            if not asked.done():
                raise self._verdict(call) or _unreachable()
            return asked.result()
        finally:
            if not asked.done():
                asked.cancel()
                with contextlib.suppress(asyncio.CancelledError, MCPError):
                    await asked

    async def _first_of(self, asked: asyncio.Future[Json], call: Call) -> None:
        """Wait for the answer, or for HTTP to refuse. Raises Failure where an HTTP+SSE upstream falls silent.

        Elsewhere each answer has a stream of its own, whose silence the HTTP client limits.
        """
        limit = settings.AIGW_UPSTREAM_IDLE_TIMEOUT_SECONDS if self.plan.transport == "sse" else None
        either: set[asyncio.Future[Any]] = {asked, call.refused}
        while not (await asyncio.wait(either, timeout=limit, return_when=asyncio.FIRST_COMPLETED))[0]:
            if limit is not None and call.silent_seconds() >= limit:
                raise _unreachable(TimedOut(""))

    def _options(self, method: str, headers: dict[str, str]) -> CallOptions:
        fields = {**({"mcp-protocol-version": self.version} if self.version else {}), **headers}
        options: CallOptions = {"headers": fields} if fields else {}
        if method == "initialize":
            options["cancel_on_abandon"] = False
        return options

    def _verdict(self, call: Call, error: MCPError | None = None) -> Exception | None:
        """Return what HTTP says of a request that failed; None when the upstream's own error says it best."""
        if call.status == 401:
            return Unauthorized()
        if call.status == 403 and (lacking := step_up.needed(call.challenges, self.plan)) is not None:
            return lacking
        if call.status == 404 and self._has_session:
            return SessionLost()
        if call.failure is not None or call.status >= 500:
            return _unreachable(call.failure)
        # The SDK's own words: servers use the code for errors of theirs.
        if error is not None and error.code == CONNECTION_CLOSED and error.message.startswith(BROKEN_OFF):
            return Broken()
        return None

    async def _keep(self) -> None:
        _current.set(self._opening)
        try:
            async with AsyncExitStack() as stack:
                opened = transports.opened(self.plan, self.credential, self._heard)
                read, write = await stack.enter_async_context(opened)
                _current.set(None)
                self._dispatcher = JSONRPCDispatcher(read, write)
                async with anyio.create_task_group() as tasks:
                    await tasks.start(self._converse, self._dispatcher)
                    self._opened.set_result(None)
                    await self._closing.wait()
                    tasks.cancel_scope.cancel()
        except Exception as exc:
            # The class only: what the SDK says of an answer quotes the answer (H02).
            logger.info("bridged connection ended", extra={"server": self.plan.name, "error": type(exc).__name__})
        finally:
            self._closing.set()
            self._tell("", {})

    async def _converse(self, dispatcher: JSONRPCDispatcher, *, task_status: TaskStatus[None]) -> None:
        """Run the dispatcher until the upstream's stream ends, or `close`."""
        try:
            await dispatcher.run(self._on_request, self._on_notify, task_status=task_status)
        finally:
            self._closing.set()

    def _heard(self, answer: httpx2.Response | OutboundError) -> None:
        if isinstance(answer, httpx2.Response) and "mcp-session-id" in answer.headers:
            self._has_session = True
        if (call := _current.get()) is not None:
            call.heard(answer)

    def _call_of(self, params: Mapping[str, Any] | None) -> Call | None:
        """Return the call that something from the upstream belongs to."""
        token = (params or {}).get("progressToken")
        if token is not None:
            return next((call for call in self.calls.values() if call.token == token), None)
        current = _current.get()
        if self.plan.transport != "sse":
            return current
        return next(iter(self.calls.values())) if len(self.calls) == 1 else None

    async def _on_request(self, _: Any, method: str, params: Mapping[str, Any] | None) -> Json:
        if method == "ping":
            return {}
        call = self._call_of(None) or self.unprompted
        if call is None:
            raise MCPError(code=INVALID_REQUEST, message=f"{method} belongs to no call that is open here")
        try:
            return await call.ask(method, dict(params or {}))
        except CannotBridge as exc:
            raise MCPError(code=INVALID_REQUEST, message=str(exc)) from None

    async def _on_notify(self, _: Any, method: str, params: Mapping[str, Any] | None) -> None:
        call = self._call_of(params)
        if method in {"notifications/progress", "notifications/message"} and call is not None:
            call.tell(method, dict(params or {}))
        elif method not in {"notifications/progress", "notifications/cancelled"}:
            self._tell(method, dict(params or {}))

    def _tell(self, method: str, params: Json) -> None:
        """Tell the listeners what belongs to no call; "" that nothing follows."""
        for listener in list(self.listeners):
            listener(method, params)


def _unreachable(error: OutboundError | None = None) -> Failure:
    if isinstance(error, TimedOut):
        return Failure(Reason.UpstreamUnavailable, "The MCP server did not answer in time.", "timeout", http_status=504)
    text = "The MCP server cannot be reached. Nothing is known of the call's effect."
    return Failure(Reason.UpstreamUnavailable, text, getattr(error, "code", "unreachable"))
