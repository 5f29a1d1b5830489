"""Discovery and the gateway's own calls, against a server of the official SDK."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from mcp.server.mcpserver import MCPServer as SdkServer
from pytest_django import Settings

from aigateway import logs
from mcpservers import discovery
from mcpservers.dataplane import local_call
from mcpservers.models import MCPServer
from mcpservers.tasks import discover_for_connection
from tests import factories
from tests.fakes.mcp_server import FakeMcpServer
from tests.fakes.serving import serving


def make_app() -> Any:
    """A server with a tool that tells what it was sent."""
    server: SdkServer[None] = SdkServer(name="sdk", version="1.0", instructions="Ask away.", log_level="WARNING")

    def shout(text: str) -> str:
        """Say it loudly."""
        return text.upper()

    server.add_tool(shout)
    return server.streamable_http_app()


@pytest.fixture(scope="module")
def sdk_url() -> Iterator[str]:
    """The address of the SDK's server."""
    with serving(make_app(), lifespan="on") as url:
        yield f"{url}/mcp"


@pytest.fixture
def server(transactional_db: None, sdk_url: str, alice: User) -> MCPServer:
    """That server, registered; alice may use it."""
    row = factories.make_server(url=sdk_url)
    factories.allow(alice, row, "view", "use")
    return row


def test_discovery_keeps_what_the_server_offers(server: MCPServer) -> None:
    found = discovery.refresh_tools(server, user_id=None)
    server.refresh_from_db()
    [tool] = server.tools
    assert (tool["name"], tool["description"]) == ("shout", "Say it loudly.")
    assert tool["inputSchema"]["required"] == ["text"]
    assert server.capabilities["server_info"]["name"] == "sdk"
    assert server.capabilities["instructions"] == "Ask away."
    assert "2026-07-28" in server.capabilities["supported_versions"]
    assert (server.discovery_error, found.tools) == ("", server.tools)
    assert server.tools_refreshed_at is not None


def test_a_server_that_fails_keeps_its_last_good_answer(server: MCPServer) -> None:
    discovery.refresh_tools(server, user_id=None)
    server.url = "http://127.0.0.1:9/mcp"
    server.save()
    with pytest.raises(discovery.DiscoveryFailed, match=r"127\.0\.0\.1"):
        discovery.refresh_tools(server, user_id=None)
    server.refresh_from_db()
    assert [tool["name"] for tool in server.tools] == ["shout"]
    assert server.discovery_error


@pytest.mark.threat("E01")
def test_discovery_goes_through_the_guard(server: MCPServer, settings: Settings) -> None:
    settings.AIGW_OUTBOUND_ALLOW = []
    with pytest.raises(discovery.DiscoveryFailed, match="not an allowed address"):
        discovery.refresh_tools(server, user_id=None)


def test_a_server_that_needs_a_user_is_asked_with_the_first_connection(sdk_url: str, db: None, alice: User) -> None:
    provider = factories.make_provider()
    row = factories.make_server(url=sdk_url, provider=provider)
    factories.allow(alice, row, "use")
    with pytest.raises(discovery.DiscoveryFailed, match="Connect your own"):
        discovery.refresh_tools(row, user_id=alice.pk)
    factories.make_vault_entry(alice, provider)
    discover_for_connection(alice.pk, str(provider.uid))
    row.refresh_from_db()
    assert [tool["name"] for tool in row.tools] == ["shout"]


@pytest.mark.parametrize("asked_before", [True, False])
def test_the_gateways_own_call_takes_the_agents_path(server: MCPServer, alice: User, asked_before: bool) -> None:
    if asked_before:
        discovery.refresh_tools(server, user_id=None)
    answer = local_call.call_tool(alice, server.name, "shout", {"text": "hey"})
    assert answer["result"]["content"][0]["text"] == "HEY"


def test_the_gateways_own_call_asks_for_the_same_rights(server: MCPServer, bob: User) -> None:
    with pytest.raises(local_call.CallRefused) as refused:
        local_call.call_tool(bob, server.name, "shout", {"text": "hey"})
    assert refused.value.status == 404


def test_the_gateways_own_call_offers_consent_like_any_other(sdk_url: str, transactional_db: None, alice: User) -> None:
    provider = factories.make_provider()
    factories.allow(alice, factories.make_server(url=sdk_url, provider=provider), "use")
    answer = local_call.call_tool(alice, "tools", "shout", {"text": "hey"})
    assert answer["error"]["data"]["reason"] == "OAuthConnectionRequired"


KEY = "cAnArY0123456789abcdef"


async def _in_an_event(key: str, request: Any, wire: Any) -> None:
    await wire.start(200)
    await wire.piece(f"data: {key}\n\n".encode(), False)


async def _as_the_error(key: str, request: Any, wire: Any) -> None:
    await wire(200, {"jsonrpc": "2.0", "id": request.message.get("id"), "error": {"code": -32603, "message": key}})


async def _as_the_result(key: str, request: Any, wire: Any) -> None:
    result = {"protocolVersion": "2025-11-25", "tools": key}
    await wire(200, {"jsonrpc": "2.0", "id": request.message.get("id"), "result": result}, mcp_session_id=key)


async def _as_a_list(key: str, request: Any, wire: Any) -> None:
    await wire(200, json.dumps([key] * 3).encode())


@pytest.mark.threat("H01", "H02")
@pytest.mark.parametrize("echo", [_in_an_event, _as_the_error, _as_the_result, _as_a_list])
def test_a_server_that_sends_its_credential_back_brings_it_into_no_log(
    echo: Any, transactional_db: None, caplog: pytest.LogCaptureFixture
) -> None:
    async def misbehave(request: Any, wire: Any) -> None:
        key = (request.header("authorization") or "").removeprefix("Bearer ")
        await (wire(405) if request.method == "GET" else echo(key, request, wire))

    factories.make_secret("MCP_KEY", KEY)
    with serving(FakeMcpServer(behave=misbehave)) as url, caplog.at_level(logging.INFO):
        row = factories.make_server(url=f"{url}/mcp", auth={"mode": "static_key", "key_ref": "MCP_KEY"})
        with pytest.raises(discovery.DiscoveryFailed) as failed:
            discovery.refresh_tools(row, user_id=None)
    row.refresh_from_db()
    written = [logs.json_formatter().format(record) for record in caplog.records]
    assert KEY not in "".join([*written, str(failed.value), row.discovery_error, repr(row.capabilities)])
