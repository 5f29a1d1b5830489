"""A real MCP server (official SDK) that speaks one revision only, with one of everything that a bridge must carry."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Annotated, Any

from mcp.server.lowlevel import NotificationOptions
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.resolve import Elicit, ListRoots, Resolve, Sample
from mcp_types import (
    CreateMessageResult,
    EmptyResult,
    ListRootsResult,
    SamplingMessage,
    SetLevelRequestParams,
    SubscribeRequestParams,
    TextContent,
    ToolAnnotations,
    UnsubscribeRequestParams,
)
from pydantic import BaseModel, Field

MODERN = "2026-07-28"
SESSIONS = ("2025-11-25", "2025-06-18", "2025-03-26")
SSE = "sse"


class Point(BaseModel):
    """What `place` returns."""

    x: int
    y: int


class Colour(BaseModel):
    """What `paint` asks for."""

    colour: str


@dataclass
class EraServer:
    """`revision` is what it speaks; `accepted_tokens` None accepts everyone; the lists say what happened."""

    revision: str
    accepted_tokens: set[str] | None = None
    requests: list[dict[str, str]] = field(default_factory=list)
    methods: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    deleted_sessions: list[str] = field(default_factory=list)
    lost_sessions: set[str] = field(default_factory=set)
    subscribed: set[str] = field(default_factory=set)
    log_level: str = ""
    drop_next: str = ""
    lacking: str = ""

    def __post_init__(self) -> None:
        self.mcp = _make(self)
        _announce(self)
        if self.revision == SSE:
            self.app: Any = self.mcp.sse_app()
        else:
            self.app = self.mcp.streamable_http_app()

    @property
    def path(self) -> str:
        """Return where it answers."""
        return "/sse" if self.revision == SSE else "/mcp"

    def reset(self) -> None:
        """Forget what happened."""
        self.accepted_tokens, self.drop_next, self.log_level, self.lacking = None, "", "", ""
        for happened in (self.requests, self.methods, self.cancelled, self.calls, self.deleted_sessions):
            happened.clear()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request, if it is of this server's revision."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {key.decode(): value.decode("latin-1") for key, value in scope["headers"]}
        body = await _body(receive) if scope["method"] == "POST" else b""
        self.requests.append({"method": scope["method"], **headers})
        message = json.loads(body) if body else {}
        if message:
            self.methods.append(message.get("method", "response"))
        if scope["method"] == "DELETE":
            self.deleted_sessions.append(headers.get("mcp-session-id", ""))
        if self.lacking and message.get("method") == "tools/call":
            challenge = f'Bearer error="insufficient_scope", scope="{self.lacking}"'
            await _answer(send, 403, {"error": "insufficient_scope"}, [(b"www-authenticate", challenge.encode())])
            return
        if refused := self._refusal(headers, message):
            await _answer(send, *refused)
            return
        if self.drop_next and message.get("method") == self.drop_next:
            self.drop_next = ""
            await _break_off(send)
            return
        asked = (message.get("params") or {}).get("protocolVersion") if message.get("method") == "initialize" else None
        if isinstance(asked, str) and self.revision in SESSIONS:
            message["params"]["protocolVersion"] = min(asked, self.revision)
            body = json.dumps(message).encode()
            scope = {**scope, "headers": [pair for pair in scope["headers"] if pair[0] != b"content-length"]}
        await self.app(scope, _replayed(body, receive) if body else receive, send)

    def _refusal(self, headers: dict[str, str], message: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
        token = headers.get("authorization", "").removeprefix("Bearer ")
        if self.accepted_tokens is not None and token not in self.accepted_tokens:
            return 401, {"error": "invalid_token"}
        asked = headers.get("mcp-protocol-version", "")
        if self.revision == MODERN and asked != MODERN:
            data = {"supported": [MODERN], "requested": asked or "none"}
            return 400, _error(message.get("id"), -32022, "Unsupported protocol version", data)
        if self.revision in SESSIONS and asked == MODERN:
            return 400, _error("server-error", -32600, f"Bad Request: Unsupported protocol version: {asked}", None)
        if headers.get("mcp-session-id") in self.lost_sessions:
            return 404, _error("server-error", -32600, "Session not found", None)
        return None


def _announce(own: EraServer) -> None:
    """Have the SDK's server say in a session too that it announces changes, and take subscriptions."""
    server = own.mcp._lowlevel_server
    begin = server.create_initialization_options
    everything = NotificationOptions(prompts_changed=True, resources_changed=True, tools_changed=True)
    server.create_initialization_options = lambda *_, **__: begin(everything)  # type: ignore[method-assign]

    async def subscribe(_: Any, params: Any) -> EmptyResult:
        own.subscribed.add(str(params.uri))
        return EmptyResult()

    async def unsubscribe(_: Any, params: Any) -> EmptyResult:
        own.subscribed.discard(str(params.uri))
        return EmptyResult()

    async def set_level(_: Any, params: Any) -> EmptyResult:
        own.log_level = params.level
        return EmptyResult()

    server.add_request_handler("resources/subscribe", SubscribeRequestParams, subscribe)
    server.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, unsubscribe)
    server.add_request_handler("logging/setLevel", SetLevelRequestParams, set_level)


def _make(own: EraServer) -> MCPServer[None]:
    server: MCPServer[None] = MCPServer(name="era", version="1.0", instructions="Ask me.", log_level="CRITICAL")

    async def asks() -> Elicit[Colour]:
        return Elicit("Which colour?", Colour)

    async def samples() -> Sample:
        text = SamplingMessage(role="user", content=TextContent(type="text", text="a haiku"))
        return Sample([text], max_tokens=10)

    async def wants_roots() -> ListRoots:
        return ListRoots()

    @server.tool(annotations=ToolAnnotations(read_only_hint=True))
    def echo(text: str) -> str:
        """Give back the text."""
        own.calls.append(text)
        return text

    @server.tool()
    def write(text: str) -> str:
        """Do something that must not be done twice."""
        own.calls.append(text)
        return text

    @server.tool()
    def place() -> Point:
        """Return structured content."""
        return Point(x=1, y=2)

    @server.tool()
    def points() -> list[int]:
        """Return structured content that is wrapped."""
        return [1, 2]

    @server.tool()
    def fail() -> str:
        """End in an error of the tool."""
        raise ValueError("the tool broke")

    @server.tool()
    async def count(ctx: Context, to: int = 3, pause_seconds: float = 0.05) -> str:
        """Report progress, and say when it was cancelled."""
        try:
            for number in range(1, to + 1):
                await ctx.report_progress(number, to, f"{number} of {to}")
                await asyncio.sleep(pause_seconds)
        except asyncio.CancelledError:
            own.cancelled.append("count")
            raise
        return f"counted to {to}"

    @server.tool()
    async def talk(ctx: Context) -> str:
        """Log something."""
        await ctx.session.send_log_message(level="info", data="quiet", related_request_id=ctx.request_id)
        await ctx.session.send_log_message(level="error", data="loud", related_request_id=ctx.request_id)
        return "talked"

    @server.tool()
    async def paint(thing: str, colour: Annotated[Colour, Resolve(asks)]) -> str:
        """Ask the user first."""
        own.calls.append(f"paint {thing}")
        return f"{thing} is {colour.colour}"

    @server.tool()
    async def write_haiku(poem: Annotated[CreateMessageResult, Resolve(samples)]) -> str:
        """Ask the client's model."""
        return poem.content.text

    @server.tool()
    async def roots(found: Annotated[ListRootsResult, Resolve(wants_roots)]) -> str:
        """Ask for the client's roots."""
        return str(found.roots[0].uri)

    @server.tool()
    async def change(ctx: Context) -> str:
        """Announce changes."""
        if ctx.protocol_version == MODERN:
            await ctx.notify_tools_changed()
            await ctx.notify_resource_updated("era://note")
        else:
            await ctx.session.send_tool_list_changed()
            await ctx.session.send_resource_updated("era://note")
        return "changed"

    @server.tool()
    def region(
        where: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})],
    ) -> str:
        """Have an argument repeated in a header."""
        return where

    @server.resource("era://note")
    def note() -> str:
        return "a note"

    @server.resource("era://notes/{number}")
    def numbered(number: str) -> str:
        return f"note {number}"

    @server.prompt()
    def greet(name: str) -> str:
        return f"Greet {name}."

    return server


async def _body(receive: Any) -> bytes:
    body, more = b"", True
    while more:
        event = await receive()
        body, more = body + event.get("body", b""), event.get("more_body", False)
    return body


def _replayed(body: bytes, receive: Any) -> Any:
    sent = False

    async def replay() -> Any:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _error(id: Any, code: int, message: str, data: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message, **({"data": data} if data else {})}}


async def _answer(send: Any, status: int, content: dict[str, Any], extra: Any = ()) -> None:
    fields = [(b"content-type", b"application/json"), *extra]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": json.dumps(content).encode()})


async def _break_off(send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    await send({"type": "http.response.body", "body": b": begun\n\n", "more_body": True})
    raise ConnectionResetError
