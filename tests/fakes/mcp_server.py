"""A small MCP server that keeps what it was sent and misbehaves on request.

Speaks the session of 2025-11-25 and the stateless requests of 2026-07-28 just well enough; the official
SDK's server is used where the protocol itself is the point.
"""

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

Handler = Callable[["Request", Callable[..., Awaitable[None]]], Awaitable[None]]


@dataclass
class Request:
    """What arrived."""

    method: str
    path: str
    query: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def header(self, name: str) -> str | None:
        """Return a header; fail when it came twice."""
        found = [value.decode("latin-1") for key, value in self.headers if key == name.lower().encode()]
        assert len(found) <= 1, f"{name} came {len(found)} times"
        return found[0] if found else None

    @property
    def message(self) -> dict[str, Any]:
        """Return the JSON-RPC message."""
        return json.loads(self.body) if self.body else {}


@dataclass
class FakeMcpServer:
    """`accepted_tokens` None accepts everyone; `behave` replaces the answer of the next requests."""

    requests: list[Request] = field(default_factory=list)
    accepted_tokens: set[str] | None = None
    behave: Handler | None = None
    sessions: set[str] = field(default_factory=set)
    open_streams: int = 0
    closed_streams: int = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        body = b""
        while True:
            event = await receive()
            body += event.get("body", b"")
            if not event.get("more_body"):
                break
        request = Request(scope["method"], scope["path"], scope["query_string"], list(scope["headers"]), body)
        self.requests.append(request)

        async def answer(status: int, content: Any = b"", **headers: str) -> None:
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            fields = {"content-type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}}
            raw = [(k.encode(), v.encode()) for k, v in fields.items()]
            await send({"type": "http.response.start", "status": status, "headers": raw})
            await send({"type": "http.response.body", "body": data})

        if self.accepted_tokens is not None and not self._is_accepted(request):
            where = 'Bearer resource_metadata="https://upstream.example/.well-known/oauth-protected-resource"'
            await answer(401, {"error": "invalid_token"}, www_authenticate=where)
        elif self.behave is not None:
            await self.behave(request, _Wire(answer, send, receive, self))
        elif request.method == "GET":
            await self._stream(send, receive)
        elif request.method == "DELETE":
            self.sessions.discard(request.header("mcp-session-id") or "")
            await answer(200)
        else:
            await self._answer(request, answer)

    def _is_accepted(self, request: Request) -> bool:
        return (request.header("authorization") or "").removeprefix("Bearer ") in (self.accepted_tokens or set())

    async def _answer(self, request: Request, answer: Callable[..., Awaitable[None]]) -> None:
        message = request.message
        if "id" not in message or "method" not in message:
            await answer(202)
            return
        session = request.header("mcp-session-id")
        if session is not None and session not in self.sessions:
            await answer(404, {"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32001, "message": "gone"}})
            return
        extra: dict[str, str] = {}
        if message["method"] == "initialize":
            id = f"upstream-session-{uuid.uuid4()}"  # never that of an earlier test, whose client may still end it
            self.sessions.add(id)
            extra["mcp_session_id"] = id
        await answer(200, {"jsonrpc": "2.0", "id": message["id"], "result": self._result(request, message)}, **extra)

    def _result(self, request: Request, message: dict[str, Any]) -> dict[str, Any]:
        said = self._said(request, message)
        if "_meta" not in message.get("params", {}):
            return said
        cached = {"ttlMs": 0, "cacheScope": "private"} if message["method"].endswith("/list") else {}
        return {"resultType": "complete", **said, **cached}

    def _said(self, request: Request, message: dict[str, Any]) -> dict[str, Any]:
        match message["method"]:
            case "initialize":
                return {
                    "protocolVersion": message["params"]["protocolVersion"],
                    "capabilities": {"tools": {}},
                    "serverInfo": {"name": "fake", "version": "1"},
                }
            case "tools/list":
                return {"tools": [{"name": "whoami", "inputSchema": {"type": "object"}}]}
        return {"content": [{"type": "text", "text": request.header("authorization") or "nobody"}]}

    async def _stream(self, send: Any, receive: Any) -> None:
        self.open_streams += 1
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"id: 1\ndata: hello\n\n", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            await asyncio.sleep(0)
        self.open_streams -= 1
        self.closed_streams += 1

    def methods(self) -> list[str]:
        """Return the JSON-RPC methods that arrived, in order."""
        return [request.message.get("method", request.method) for request in self.requests]


class _Wire:
    """What a misbehaving handler may do: answer whole, or send pieces by hand."""

    def __init__(self, answer: Any, send: Any, receive: Any, server: FakeMcpServer) -> None:
        self.whole, self.send, self.receive, self.server = answer, send, receive, server

    async def __call__(self, *args: Any, **kwargs: Any) -> None:
        await self.whole(*args, **kwargs)

    async def start(self, status: int = 200, content_type: str = "text/event-stream", **headers: str) -> None:
        fields = {"content-type": content_type, **{k.replace("_", "-"): v for k, v in headers.items()}}
        raw = [(k.encode(), v.encode()) for k, v in fields.items()]
        await self.send({"type": "http.response.start", "status": status, "headers": raw})

    async def piece(self, data: bytes, more: bool = True) -> None:
        await self.send({"type": "http.response.body", "body": data, "more_body": more})

    async def until_left(self) -> None:
        """Wait until the caller closes the connection."""
        self.server.open_streams += 1
        while (await self.receive())["type"] != "http.disconnect":
            await asyncio.sleep(0)
        self.server.open_streams -= 1
        self.server.closed_streams += 1
