"""A server over HTTP+SSE is registered, discovered and called like any other."""

from typing import Any

import pytest
from django.contrib.auth.models import User

from mcpservers import discovery
from mcpservers.models import MCPServer
from tests import factories
from tests.api import SERVERS, send
from tests.dataplane.conftest import HELLO, Agent
from tests.fakes.era_server import MODERN, SSE


@pytest.mark.parametrize("revision", [SSE, "2025-06-18", MODERN])
def test_a_server_is_discovered_and_then_called(gateway: str, upstreams: Any, superuser: User, revision: str) -> None:
    era, url = upstreams(revision)
    era.reset()
    transport = "sse" if revision == SSE else "streamable_http"
    made = send(superuser, "post", SERVERS, {"name": "tools", "url": url, "transport": transport})
    assert (made.status_code, made.json()["transport"]) == (201, transport)
    server = MCPServer.objects.get(name="tools")
    found = discovery.refresh_tools(server, user_id=None)
    assert "echo" in [tool["name"] for tool in found.tools]
    assert found.capabilities["protocol_version"] == ("2025-11-25" if revision == SSE else revision)
    agent = Agent(gateway, superuser)
    agent.session = agent.post("initialize", HELLO).headers.get("Mcp-Session-Id", "")
    answer = agent.post("tools/call", {"name": "echo", "arguments": {"text": "a"}})
    assert '"text":"a"' in answer.text.replace('": "', '":"')


@pytest.mark.parametrize("revision", [SSE, "2025-06-18", MODERN])
def test_a_tool_is_called_from_the_api(gateway: str, upstreams: Any, superuser: User, revision: str) -> None:
    era, url = upstreams(revision)
    era.reset()
    row = factories.make_server(url=url, transport="sse" if revision == SSE else "streamable_http")
    discovery.refresh_tools(row, user_id=None)
    body = {"arguments": {"text": "a"}}
    answer = send(superuser, "post", f"{SERVERS}tools/tools/echo/call/", body)
    assert answer.json()["result"]["content"][0]["text"] == "a"
    assert era.calls == ["a"]
