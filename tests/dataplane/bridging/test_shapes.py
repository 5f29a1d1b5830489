"""What the revisions spell differently, turned from one into the other; everything else passes as it is."""

from typing import Any

import pytest
from mcp_types import methods

from mcpservers.dataplane.bridging import shapes
from mcpservers.dataplane.bridging.errors import CannotBridge

META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "c", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}, "extensions": {"a/b": {}}},
    "io.modelcontextprotocol/logLevel": "info",
    "com.example/own": 1,
}


def test_a_request_loses_its_envelope_and_keeps_the_rest() -> None:
    params = {"name": "t", "arguments": {}, "x": 1, "requestState": "s", "inputResponses": {}, "_meta": META}
    assert shapes.params_for_session(params, "ours") == {
        "name": "t",
        "arguments": {},
        "x": 1,
        "_meta": {"com.example/own": 1},
    }
    assert (
        shapes.params_for_session({"_meta": {**META, "progressToken": 7}}, "ours")["_meta"]["progressToken"] == "ours"
    )
    assert shapes.params_for_session({}, "ours") == {}


def test_a_client_is_introduced_in_either_form() -> None:
    hello = shapes.hello_of(META)
    assert hello["capabilities"] == {"elicitation": {"form": {}}}
    methods.validate_client_request("initialize", "2025-11-25", hello)
    envelope = shapes.envelope_of({**hello, "capabilities": {"roots": {"listChanged": True}, "tasks": {}}}, "")
    methods.validate_client_request("tools/list", "2026-07-28", {"_meta": envelope})
    assert "io.modelcontextprotocol/logLevel" not in envelope
    methods.validate_client_request("initialize", "2025-11-25", shapes.hello_of({}))


@pytest.mark.parametrize(
    ("method", "result"),
    [
        ("tools/list", {"tools": [{"name": "a", "inputSchema": {"type": "object"}, "x": 1}], "nextCursor": "c"}),
        ("prompts/list", {"prompts": []}),
        ("resources/list", {"resources": []}),
        ("resources/templates/list", {"resourceTemplates": []}),
        ("resources/read", {"contents": []}),
        ("tools/call", {"content": [], "structuredContent": {"a": 1}, "isError": False}),
        ("prompts/get", {"messages": []}),
    ],
)
def test_a_result_is_valid_on_the_other_side_and_comes_back_the_same(method: str, result: dict[str, Any]) -> None:
    modern = shapes.result_for_modern(method, result)
    methods.validate_server_result(method, "2026-07-28", modern)
    assert shapes.result_for_session(method, modern) == result


@pytest.mark.parametrize("value", [[1, 2], "text", 1, True, None])
def test_structured_content_that_is_no_object_stays_behind(value: Any) -> None:
    modern = {"content": [{"type": "text", "text": "[1, 2]"}], "structuredContent": value, "resultType": "complete"}
    session = shapes.result_for_session("tools/call", modern)
    methods.validate_server_result("tools/call", "2025-11-25", session)
    assert session == {"content": [{"type": "text", "text": "[1, 2]"}]}


def test_so_does_the_schema_of_what_is_no_object() -> None:
    schema = {"type": "object"}
    tools = [
        {"name": "a", "inputSchema": schema, "outputSchema": {"type": "array"}},
        {"name": "b", "inputSchema": schema, "outputSchema": schema},
        {"name": "c", "inputSchema": schema},
    ]
    listed = shapes.result_for_session("tools/list", {"tools": tools, "resultType": "complete"})
    methods.validate_server_result("tools/list", "2025-11-25", listed)
    assert [tool.get("outputSchema") for tool in listed["tools"]] == [None, schema, None]


def test_what_a_server_says_of_itself_is_valid_on_the_other_side() -> None:
    said = {
        "protocolVersion": "2025-06-18",
        "capabilities": {"tools": {"listChanged": True}, "tasks": {}},
        "serverInfo": {"name": "s", "version": "1"},
        "instructions": "Ask.",
    }
    found = shapes.discovered(said)
    methods.validate_server_result("server/discover", "2026-07-28", found)
    assert found["capabilities"] == {"tools": {"listChanged": True}}
    back = shapes.initialized(found, {"protocolVersion": "2025-06-18"}, "n")
    methods.validate_server_result("initialize", "2025-06-18", back)
    assert back == {**said, "capabilities": {"tools": {"listChanged": True}}}


def test_a_question_is_spelled_for_its_client() -> None:
    form = {"message": "m", "requestedSchema": {"type": "object", "properties": {}}, "_meta": {}, "task": {}}
    asked = shapes.question_for_modern("elicitation/create", form)["params"]
    assert asked == {"message": "m", "mode": "form", "requestedSchema": {"type": "object", "properties": {}}}
    assert "mode" not in shapes.question_for_session("elicitation/create", asked, "2025-06-18")
    assert shapes.question_for_modern("roots/list", {}) == {"method": "roots/list"}
    link = {"mode": "url", "message": "m", "url": "https://a.example"}
    with_id = shapes.question_for_session("elicitation/create", link, "2025-11-25")
    assert with_id["elicitationId"]
    assert shapes.question_for_modern("elicitation/create", with_id)["params"] == link
    with pytest.raises(CannotBridge):
        shapes.question_for_session("elicitation/create", link, "2025-06-18")


@pytest.mark.parametrize(
    ("declared", "params", "expected"),
    [
        ({"elicitation": {}}, {}, True),
        ({"elicitation": {"form": {}}}, {"mode": "form"}, True),
        ({"elicitation": {"url": {}}}, {}, False),
        ({"elicitation": {}}, {"mode": "url"}, False),
        ({"elicitation": {"url": {}}}, {"mode": "url"}, True),
        ({}, {}, False),
        (None, {}, False),
    ],
)
def test_only_what_is_declared_is_asked(declared: Any, params: dict[str, Any], expected: bool) -> None:
    assert shapes.is_declared("elicitation/create", params, declared) is expected
    assert shapes.is_declared("no/such", params, declared) is False
