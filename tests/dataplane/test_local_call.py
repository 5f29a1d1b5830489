"""A call that the gateway makes itself, for the API and the page without script: what a hostile answer costs."""

import json
from typing import Any

import pytest
from django.contrib.auth.models import User

from mcpservers.dataplane import local_call
from mcpservers.dataplane.local_call import CallRefused
from mcpservers.models import MCPServer
from tests.api import SERVERS, send
from tests.fakes.mcp_server import FakeMcpServer

HALF = "half \ud800 pair"


def answers(upstream: FakeMcpServer, text: str) -> None:
    """Have every call answered with this text."""

    async def behave(request: Any, wire: Any) -> None:
        content = {"content": [{"type": "text", "text": text}]}
        await wire(200, {"jsonrpc": "2.0", "id": request.message.get("id"), "result": content})

    upstream.behave = behave


@pytest.mark.threat("D11")
def test_an_answer_without_end_is_not_read_to_its_end(
    server: MCPServer, upstream: FakeMcpServer, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_call, "MAX_ANSWER_BYTES", 100_000)
    answers(upstream, "x" * 50_000)
    assert len(local_call.call_tool(alice, server.name, "whoami", {})["result"]["content"][0]["text"]) == 50_000
    answers(upstream, "x" * 100_000)
    with pytest.raises(CallRefused) as refused:
        local_call.call_tool(alice, server.name, "whoami", {})
    assert (refused.value.status, refused.value.code) == (502, "answer_too_large")


def test_half_a_surrogate_pair_breaks_no_page(server: MCPServer, upstream: FakeMcpServer, alice: User) -> None:
    answers(upstream, HALF)
    response = local_call.call_tool(alice, server.name, "whoami", {})
    assert response["result"]["content"][0]["text"] == "half \ufffd pair"
    json.dumps(response, ensure_ascii=False).encode()


@pytest.mark.parametrize("levels", [600, 940, 960, 5000])
def test_an_answer_that_is_nested_too_deeply_is_no_fault_of_ours(
    server: MCPServer, upstream: FakeMcpServer, alice: User, levels: int
) -> None:
    async def behave(request: Any, wire: Any) -> None:
        nested = b'{"jsonrpc":"2.0","id":"%b","result":{"a":%b}}'
        await wire(200, nested % (request.message["id"].encode(), b"[" * levels + b"]" * levels))

    upstream.behave = behave
    server.capabilities = {"supported_versions": ["2026-07-28"]}
    server.save()
    answer = send(alice, "post", f"{SERVERS}{server.name}/tools/whoami/call/", {})
    assert answer.status_code == 502, answer.content


def test_a_number_that_json_does_not_have_is_refused(server: MCPServer, upstream: FakeMcpServer, alice: User) -> None:
    with pytest.raises(CallRefused, match="number"):
        local_call.call_tool(alice, server.name, "whoami", {"x": [float("inf")]})
    assert upstream.requests == []


def test_arguments_that_are_nested_too_deeply_are_refused(
    server: MCPServer, upstream: FakeMcpServer, alice: User
) -> None:
    nested: list[Any] = []
    for _ in range(5000):
        nested = [nested]
    with pytest.raises(CallRefused, match="nested") as refused:
        local_call.call_tool(alice, server.name, "whoami", {"text": nested})
    assert refused.value.status == 400
    assert upstream.requests == []


def test_half_a_surrogate_pair_in_the_arguments_is_refused(
    server: MCPServer, upstream: FakeMcpServer, alice: User
) -> None:
    schema = {"type": "object", "properties": {"text": {"type": "string", "x-mcp-header": "Text"}}}
    server.tools = [{"name": "whoami", "inputSchema": schema}]
    server.capabilities = {"supported_versions": ["2026-07-28"]}
    server.save()
    with pytest.raises(CallRefused, match="surrogate") as refused:
        local_call.call_tool(alice, server.name, "whoami", {"text": HALF})
    assert refused.value.status == 400
    assert upstream.requests == []
