"""Whatever JSON a client sends, it is answered in JSON-RPC: never with a fault, a page or silence."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mcpservers.models import MCPServer
from tests import factories
from tests.dataplane.conftest import Agent
from tests.dataplane.malformed import FIELDS, MESSAGES, PARAMS, sent, sound
from tests.fakes.mcp_server import FakeMcpServer

MANY = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
LISTED = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "a", "_meta": [1]}}


@pytest.fixture
def upstream(upstream: FakeMcpServer) -> FakeMcpServer:
    """An MCP server that takes everything."""

    async def behave(request: Any, answer: Any) -> None:
        message = request.message
        if "method" not in message or "id" not in message:
            await answer(202)
        else:
            await answer(200, {"jsonrpc": "2.0", "id": message["id"], "result": {}})

    upstream.behave = behave
    return upstream


@pytest.fixture
def restricted(agent: Agent, server: MCPServer) -> Agent:
    """Alice's agent before a server that shows it less than all."""
    factories.restrict(server, deny=["echo"])
    return agent


@MANY
@given(message=MESSAGES, fields=FIELDS)
@example(message=LISTED, fields={})
def test_what_passes_through(agent: Agent, message: Any, fields: dict[str, str]) -> None:
    sound(sent(agent, message, fields), message)


@MANY
@given(message=MESSAGES, fields=FIELDS)
def test_under_a_tool_policy(restricted: Agent, message: Any, fields: dict[str, str]) -> None:
    sound(sent(restricted, message, fields), message)


@pytest.mark.parametrize("delivery", ["auto", "tool_result"])
@pytest.mark.parametrize("in_session", [False, True])
def test_of_somebody_who_is_not_connected(
    gateway: str, upstream_url: str, upstream: FakeMcpServer, alice: User, delivery: str, in_session: bool
) -> None:
    row = factories.make_server(url=upstream_url, provider=factories.make_provider(), consent_delivery=delivery)
    factories.allow(alice, row, "view", "use")
    agent = Agent(gateway, alice)
    if in_session:
        agent.initialize()

    @MANY
    @given(message=MESSAGES, fields=FIELDS)
    @example(message=LISTED, fields={})
    def run(message: Any, fields: dict[str, str]) -> None:
        sound(sent(agent, message, fields), message)

    run()
    assert upstream.requests == []


@MANY
@given(params=PARAMS, capabilities=st.sampled_from([{}, [], {"elicitation": []}, {"elicitation": {"url": 1}}, None]))
def test_a_session_begun_with_anything(agent: Agent, params: dict[str, Any], capabilities: Any) -> None:
    hello = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {**params, "capabilities": capabilities}}
    answer = sent(agent, hello, {})
    sound(answer, hello)
    agent.session = answer.headers.get("Mcp-Session-Id", "")
    message = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "a"}}
    sound(sent(agent, message, {}), message)
