"""What Streamable HTTP asks of whoever stands in between: status, body, headers and streams as they were."""

import json
from typing import Any

import pytest
import requests
from django.contrib.auth.models import User

from mcpservers.models import MCPServer
from tests import factories
from tests.dataplane.conftest import Agent
from tests.dataplane.test_relay import wait_for
from tests.fakes.mcp_server import FakeMcpServer

REVISION = "2026-07-28"
SPEAKS = {"protocol_version": REVISION, "supported_versions": [REVISION, "2025-11-25"], "capabilities": {"tools": {}}}
STREAM = b": hello\n\nid: 7\r\nretry: 250\r\ndata: {}\r\n\r\nid\ndata\n\nevent: message\nid: 8\ndata: a\ndata: b\n\n"


@pytest.fixture
def agent(gateway: str, upstream_url: str, alice: User) -> Agent:
    """Alice's agent before a server of both eras."""
    server = factories.make_server(url=upstream_url, capabilities=SPEAKS)
    factories.allow(alice, server, "view", "use")
    return Agent(gateway, alice)


def answering(upstream: FakeMcpServer, status: int, body: dict[str, Any], **headers: str) -> None:
    """Have the upstream answer this, whatever is asked."""

    async def behave(request: Any, answer: Any) -> None:
        await answer(status, body, **headers)

    upstream.behave = behave


@pytest.mark.parametrize("is_known", [True, False])
@pytest.mark.parametrize(
    ("status", "code", "data"),
    [
        (404, -32601, None),
        (400, -32020, {"header": "Mcp-Name"}),
        (400, -32021, {"requiredCapabilities": {"sampling": {}}}),
        (400, -32022, {"supported": [REVISION], "requested": "2030-01-01"}),
    ],
)
def test_a_refusal_of_the_upstreams_keeps_status_and_body(
    agent: Agent, upstream: FakeMcpServer, status: int, code: int, data: Any, is_known: bool
) -> None:
    if not is_known:
        MCPServer.objects.update(capabilities={})
    body = {"jsonrpc": "2.0", "id": 1, "error": {"code": code, "message": "no", **({"data": data} if data else {})}}

    async def behave(request: Any, answer: Any) -> None:
        found = {"resultType": "complete", "supportedVersions": [REVISION], "capabilities": {}}
        if request.message.get("method") == "server/discover":
            await answer(200, {"jsonrpc": "2.0", "id": request.message["id"], "result": found})
        else:
            await answer(status, body)

    upstream.behave = behave
    response = agent.modern("tools/call", {"name": "x"}, Mcp_Method="tools/call", Mcp_Name="x")
    assert (response.status_code, response.json()) == (status, body)
    assert response.headers["Content-Type"] == "application/json"


def test_a_request_of_2026_has_no_session(agent: Agent, upstream: FakeMcpServer) -> None:
    answering(upstream, 200, {"jsonrpc": "2.0", "id": 1, "result": {}}, mcp_session_id="minted")
    response = agent.modern("tools/call", {"name": "x"}, Mcp_Session_Id="any")
    assert response.json()["result"] == {}
    assert "mcp-session-id" not in response.headers
    assert upstream.requests[0].header("mcp-session-id") is None
    assert upstream.requests[0].header("mcp-protocol-version") == REVISION


def test_headers_that_repeat_arguments_pass_as_they_are(agent: Agent, upstream: FakeMcpServer) -> None:
    fields = {
        "Mcp-Param-Region": "eu",
        "Mcp-Param-Nobody-Knows": "1",
        "Mcp-Param-Name": "=?base64?5pel5pys?=",
        "Mcp-Param-Empty": "",
        "Mcp-Name": "=?base64?dMO2b2w=?=",
        "Mcp-Method": "tools/call",
    }
    assert agent.modern("tools/call", {"name": "töol"}, **fields).status_code == 200
    [request] = upstream.requests
    assert {name: request.header(name) for name in fields} == fields


def test_a_session_without_an_id_is_the_upstreams_to_refuse(agent: Agent, upstream: FakeMcpServer) -> None:
    error = {"jsonrpc": "2.0", "id": 7, "error": {"code": -32600, "message": "Bad Request: no session"}}
    answering(upstream, 400, error)
    response = agent.call()
    assert (response.status_code, response.json()) == (400, error)


def test_a_stream_passes_byte_for_byte_and_is_taken_up_where_it_was_left(agent: Agent, upstream: FakeMcpServer) -> None:
    agent.initialize()

    async def behave(request: Any, wire: Any) -> None:
        await wire.start(200)
        for cut in range(0, len(STREAM), 5):
            await wire.piece(STREAM[cut : cut + 5])
        await wire.piece(b"", more=False)

    upstream.behave = behave
    headers = {**agent.headers, "Mcp-Session-Id": agent.session, "Last-Event-ID": "7/ä".encode().decode("latin-1")}
    response = requests.get(agent.url, headers=headers, timeout=5)
    assert response.content == STREAM
    assert response.headers["Content-Type"] == "text/event-stream"
    assert response.headers["X-Accel-Buffering"] == "no"
    assert "no-transform" in response.headers["Cache-Control"]
    assert "content-encoding" not in response.headers
    assert upstream.requests[-1].header("last-event-id") == "7/ä".encode().decode("latin-1")
    assert upstream.requests[-1].header("mcp-session-id") in upstream.sessions


def test_an_upstream_without_streams_says_so(agent: Agent, upstream: FakeMcpServer) -> None:
    answering(upstream, 405, {}, allow="POST")
    response = requests.get(agent.url, headers=agent.headers, timeout=5)
    assert (response.status_code, response.headers["Allow"]) == (405, "POST")


def test_a_session_client_that_leaves_cancels_nothing(agent: Agent, upstream: FakeMcpServer) -> None:
    """The connection goes; that the call is given up is only said by `notifications/cancelled` (2025-11-25)."""
    agent.initialize()

    async def behave(request: Any, wire: Any) -> None:
        if request.message.get("method") != "tools/call":
            await wire(202)
            return
        await wire.start(200)
        await wire.piece(b": begun\n\n")
        await wire.until_left()

    upstream.behave = behave
    message = {"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": {"name": "x"}}
    headers = {**agent.headers, "Mcp-Session-Id": agent.session}
    with requests.post(agent.url, json=message, headers=headers, stream=True, timeout=5) as response:
        next(response.iter_lines())
    wait_for(lambda: upstream.closed_streams == 1, seconds=2)
    assert upstream.methods() == ["initialize", "notifications/initialized", "tools/call"]
    cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 5}}
    assert agent.send(json.dumps(cancelled).encode()).status_code == 202
    assert upstream.requests[-1].message == cancelled


def test_a_notification_and_an_answer_get_202_and_nothing(agent: Agent) -> None:
    agent.initialize()
    for message in (
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": "q1", "result": {"action": "accept"}},
    ):
        response = agent.send(json.dumps(message).encode())
        assert (response.status_code, response.content) == (202, b"")


@pytest.mark.parametrize("id", [1, "1", "x-1", 0, -5, 2**53])
def test_ids_keep_their_type(agent: Agent, id: Any) -> None:
    answered = agent.post("tools/list", id=id).json()["id"]
    assert (type(answered), answered) == (type(id), id)


def test_no_metadata_is_promised_that_is_not_there(gateway: str, agent: Agent) -> None:
    """The inbound OAuth server brings both; until then a client is told where to get a token."""
    refused = requests.post(agent.url, timeout=5)
    assert refused.headers["WWW-Authenticate"] == "Bearer"
    assert "API token" in refused.json()["errors"][0]["detail"]
    wrong = requests.post(agent.url, headers={"Authorization": "Bearer nobodys"}, timeout=5)
    assert wrong.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
