"""A gateway that serves for real on loopback, in front of an upstream that keeps what it was sent."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from django.contrib.auth.models import User
from pytest_django import Settings

from mcpservers.dataplane import circuits, lifespan
from mcpservers.dataplane.app import application
from mcpservers.models import MCPServer
from tests import factories
from tests.fakes.mcp_server import FakeMcpServer
from tests.fakes.serving import serving

VERSION = "2025-11-25"
HELLO = {"protocolVersion": VERSION, "capabilities": {}, "clientInfo": {"name": "tests", "version": "1"}}
MODERN = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "tests", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


async def _app(scope: Any, receive: Any, send: Any) -> None:
    """Serve the data plane as `aigateway.asgi` does, with its lifespan."""
    if scope["type"] == "lifespan":
        await receive()
        await lifespan.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await lifespan.stop()
        await send({"type": "lifespan.shutdown.complete"})
        return
    await application(scope, receive, send)


class Stage:
    """Serves whichever upstream the current test put on it."""

    server = FakeMcpServer()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass the request to the current upstream."""
        await self.server(scope, receive, send)


@pytest.fixture(scope="session")
def stage() -> Iterator[tuple[Stage, str, str]]:
    """The two servers, started once: the stage, the gateway's address and the upstream's."""
    shown = Stage()
    with serving(shown) as upstream_url, serving(_app, lifespan="on") as gateway_url:
        yield shown, gateway_url, f"{upstream_url}/mcp"


@pytest.fixture
def upstream(stage: tuple[Stage, str, str]) -> FakeMcpServer:
    """The MCP server behind the gateway."""
    stage[0].server = FakeMcpServer()
    return stage[0].server


@pytest.fixture
def upstream_url(stage: tuple[Stage, str, str], upstream: FakeMcpServer) -> str:
    """Its address."""
    return stage[2]


@pytest.fixture
def gateway(stage: tuple[Stage, str, str], transactional_db: None, settings: Settings) -> str:
    """The gateway's address."""
    settings.AIGW_BASE_URL = stage[1]
    circuits.reset()
    return stage[1]


class Agent:
    """An MCP client made of plain HTTP, to see every byte."""

    def __init__(self, gateway: str, user: User, server: str = "tools") -> None:
        self.url, self.token = f"{gateway}/mcp/v1/{server}", factories.make_api_token(user)
        self.headers = {"Authorization": f"Bearer {self.token}", "Accept": "application/json, text/event-stream"}
        self.session = ""

    def post(self, method: str, params: dict[str, Any] | None = None, id: Any = 1, **headers: str) -> requests.Response:
        """Send a request, or a notification with `id=None`."""
        message: dict[str, Any] = {
            "jsonrpc": "2.0",
            "method": method,
            **({"params": params} if params is not None else {}),
        }
        if id is not None:
            message["id"] = id
        return self.send(json.dumps(message).encode(), **headers)

    def send(self, body: bytes, **headers: str) -> requests.Response:
        """Post bytes."""
        own = {"Mcp-Session-Id": self.session} if self.session else {}
        extra = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {**self.headers, **own, "Content-Type": "application/json", **extra}
        return requests.post(self.url, data=body, headers=sent, timeout=20, allow_redirects=False)

    def modern(self, method: str, params: dict[str, Any] | None = None, **headers: str) -> requests.Response:
        """Send a request of 2026-07-28."""
        return self.post(method, {**(params or {}), "_meta": MODERN}, MCP_Protocol_Version="2026-07-28", **headers)

    def initialize(self) -> dict[str, Any]:
        """Begin a session; return the result."""
        answer = self.post("initialize", HELLO)
        self.session = answer.headers.get("Mcp-Session-Id", "")
        self.post("notifications/initialized", id=None)
        result: dict[str, Any] = answer.json()["result"]
        return result

    def call(self, tool: str = "whoami", id: Any = 7) -> requests.Response:
        """Call a tool."""
        return self.post("tools/call", {"name": tool, "arguments": {}}, id=id)


@pytest.fixture
def server(gateway: str, upstream_url: str, alice: User) -> MCPServer:
    """A server without credentials that alice may use."""
    row = factories.make_server(url=upstream_url)
    factories.allow(alice, row, "view", "use")
    return row


@pytest.fixture
def agent(gateway: str, server: MCPServer, alice: User) -> Agent:
    """Alice's agent."""
    return Agent(gateway, alice)
