"""Upstreams that speak one revision each, real ones; the official client in both of its eras, through the gateway."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx2
import pytest
from django.contrib.auth.models import User
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from connections.database import run_in_thread
from mcpservers.dataplane.bridging import agreement, keeping, talks
from mcpservers.models import MCPServer
from tests import factories
from tests.fakes.era_server import MODERN, SSE, EraServer
from tests.fakes.serving import serving

# What the caller speaks, and what the upstream does. The first two agree: nothing is bridged.
PAIRS = [
    (MODERN, MODERN),
    ("legacy", "2025-11-25"),
    (MODERN, "2025-11-25"),
    (MODERN, "2025-06-18"),
    (MODERN, "2025-03-26"),
    (MODERN, SSE),
    ("legacy", MODERN),
    ("legacy", SSE),
]
BRIDGED = PAIRS[2:]
# What discovery keeps of each.
SEEN = {
    MODERN: {"protocol_version": MODERN, "supported_versions": [MODERN], "capabilities": {"tools": {}}},
    SSE: {},
}
Upstreams = dict[str, tuple[EraServer, str]]
OpenClient = Callable[..., AbstractAsyncContextManager[Client]]


@pytest.fixture(scope="session")
def upstreams() -> Iterator[Callable[[str], tuple[EraServer, str]]]:
    """The server of a revision and its address, started when it is first needed."""
    running: dict[str, tuple[Any, EraServer, str]] = {}

    def of(revision: str) -> tuple[EraServer, str]:
        if revision not in running:
            server = EraServer(revision)
            block = serving(server, lifespan="off" if revision == SSE else "on")
            running[revision] = block, server, block.__enter__() + server.path
        return running[revision][1:]

    yield of
    for block, _, _ in running.values():
        block.__exit__(None, None, None)


@pytest.fixture
def pair(request: pytest.FixtureRequest) -> tuple[str, str]:
    """What the caller and the upstream speak."""
    return request.param


@pytest.fixture
def era(pair: tuple[str, str], upstreams: Callable[[str], tuple[EraServer, str]]) -> EraServer:
    """The upstream of this test, as new."""
    server, _ = upstreams(pair[1])
    server.reset()
    return server


@pytest.fixture
def is_seen() -> bool:
    """Whether discovery has seen the server; a test says no to have it learned."""
    return True


@pytest.fixture
def bridged(
    gateway: str, pair: tuple[str, str], era: EraServer, upstreams: Any, alice: User, is_seen: bool
) -> Iterator[MCPServer]:
    """The server that alice may use; nothing of it stays open or known after the test."""
    seen = SEEN.get(pair[1], {"protocol_version": pair[1], "supported_versions": [pair[1]], "capabilities": {}})
    row = factories.make_server(
        url=upstreams(pair[1])[1],
        transport="sse" if pair[1] == SSE else "streamable_http",
        capabilities=seen if is_seen else {},
    )
    factories.allow(alice, row, "view", "use")
    yield row
    agreement.forget()
    talks.clear()
    close_everything()


def close_everything() -> None:
    """Close what the gateway has open upstream."""
    for loop in list(keeping._pools):
        if loop.is_running():
            asyncio.run_coroutine_threadsafe(keeping.stop(), loop).result(10)


@pytest.fixture
def open_client(gateway: str, bridged: MCPServer, alice: User, pair: tuple[str, str]) -> OpenClient:
    """Open the official client in the caller's era, with whatever callbacks."""

    @asynccontextmanager
    async def opened(user: User = alice, **callbacks: Any) -> AsyncIterator[Client]:
        token = await run_in_thread(factories.make_api_token, user)
        http = httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=20)
        transport = streamable_http_client(f"{gateway}/mcp/v1/{bridged.name}", http_client=http)
        mode = "auto" if pair[0] == MODERN else "legacy"
        async with http, Client(transport, mode=mode, **callbacks) as client:
            yield client

    return opened
