"""Messages that are nearly right: what a careless or hostile client sends, and what it must get for it."""

import json
from typing import Any

import requests
from hypothesis import strategies as st

from tests.dataplane.conftest import HELLO, MODERN, Agent

JUNK: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
METHODS = (
    "initialize",
    "notifications/initialized",
    "notifications/cancelled",
    "notifications/progress",
    "notifications/roots/list_changed",
    "server/discover",
    "ping",
    "tools/list",
    "tools/call",
    "prompts/list",
    "prompts/get",
    "resources/list",
    "resources/read",
    "resources/templates/list",
    "resources/subscribe",
    "resources/unsubscribe",
    "logging/setLevel",
    "completion/complete",
    "no/such",
)
# A right value for each member that the gateway reads somewhere, beside any wrong one.
RIGHT: dict[str, Any] = {
    "name": "echo",
    "uri": "memo:1",
    "arguments": {"text": "a"},
    "cursor": "c",
    "requestState": "aigwb1.x",
    "inputResponses": {"q1": {"action": "accept"}},
    "level": "info",
    "requestId": 1,
    "progressToken": "p",
    "notifications": {"toolsListChanged": True},
    "ref": {"type": "ref/prompt", "name": "p"},
    "argument": {"name": "a", "value": "b"},
    **HELLO,
}
DECLARED = "io.modelcontextprotocol/clientCapabilities"
WRONG = st.sampled_from([[1], "x", 1, True, {"a": [1]}]) | JUNK
META: st.SearchStrategy[Any] = WRONG | st.fixed_dictionaries(
    {},
    optional={
        "io.modelcontextprotocol/protocolVersion": st.just("2026-07-28") | JUNK,
        "io.modelcontextprotocol/clientInfo": st.just(MODERN["io.modelcontextprotocol/clientInfo"]) | WRONG,
        DECLARED: st.sampled_from([{}, {"elicitation": {"url": {}, "form": {}}}, {"elicitation": []}]) | WRONG,
        "io.modelcontextprotocol/logLevel": st.just("debug") | WRONG,
        "progressToken": st.just("p") | WRONG,
    },
)
PARAMS = st.fixed_dictionaries(
    {}, optional={"_meta": META, **{name: st.just(value) | WRONG for name, value in RIGHT.items()}}
)
MESSAGES = st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0") | st.just("2.0") | JUNK},
    optional={
        "id": st.integers(-3, 3) | st.text(max_size=4) | JUNK,
        "method": st.sampled_from(METHODS) | st.sampled_from(METHODS) | JUNK,
        "params": PARAMS | PARAMS | PARAMS | WRONG,
        "result": JUNK,
        "error": JUNK,
    },
)
WORDS = st.sampled_from(
    ["", "2026-07-28", "2025-11-25", "1.0", "tools/call", "echo", "=?base64?!?=", "=?base64?/w==?="]
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "MCP-Protocol-Version": WORDS,
        "Mcp-Method": WORDS | st.sampled_from(METHODS),
        "Mcp-Name": WORDS,
        "Mcp-Session-Id": st.sampled_from(["", "nobody's", "x" * 200]),
        "Last-Event-ID": WORDS,
        "Accept": st.sampled_from(["*/*", "application/json", "application/json, text/event-stream"]),
    },
)


def sound(answer: requests.Response, message: Any) -> None:
    """Fail unless the answer is one that a client of JSON-RPC can read: no fault of the gateway's, nothing unowed."""
    assert answer.status_code in {200, 202, 400, 404, 405, 406, 502}, (answer.status_code, answer.text)
    if not answer.content:
        return
    kind = answer.headers["Content-Type"]
    bodies = [answer.text]
    if kind.startswith("text/event-stream"):
        bodies = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    else:
        assert kind == "application/json"
    for body in map(json.loads, bodies):
        assert body["jsonrpc"] == "2.0"
        assert len({"result", "error", "method"} & body.keys()) == 1
        if "error" in body:
            assert isinstance(body["error"]["code"], int)
            assert isinstance(body["error"]["message"], str)
        # What the official server calls the id of a request that it has not read.
        if "method" not in body and body.get("id") not in (None, "server-error"):
            assert (type(body["id"]), body["id"]) == (type(message["id"]), message["id"])


def sent(agent: Agent, message: Any, fields: dict[str, str]) -> requests.Response:
    """Post what may be no message at all."""
    own = {"Mcp-Session-Id": agent.session} if agent.session else {}
    headers = {**agent.headers, **own, "Content-Type": "application/json", **fields}
    return requests.post(agent.url, data=json.dumps(message).encode(), headers=headers, timeout=20)
