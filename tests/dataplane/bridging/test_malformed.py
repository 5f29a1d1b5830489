"""Whatever JSON a client sends across the bridge, it is answered in JSON-RPC, and the next call works."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mcpservers.dataplane import circuits
from mcpservers.dataplane.bridging import agreement, talks
from mcpservers.models import MCPServer
from tests import factories
from tests.dataplane.bridging.conftest import SEEN, close_everything
from tests.dataplane.bridging.test_unhappy import SESSION_TO_SSE, TO_MODERN, TO_SESSION, TO_SSE, call, pairs, text_of
from tests.dataplane.conftest import HELLO, MODERN, Agent
from tests.dataplane.malformed import FIELDS, MESSAGES, PARAMS, WRONG, sent, sound
from tests.fakes.era_server import MODERN as MODERN_REVISION
from tests.fakes.mcp_server import FakeMcpServer

MANY = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ECHO = {"name": "echo", "arguments": {"text": "a"}}


@pytest.fixture
def agent(gateway: str, bridged: MCPServer, alice: User, pair: tuple[str, str]) -> Agent:
    """Alice's agent; in a session where that is what it speaks."""
    agent = Agent(gateway, alice, bridged.name)
    agent.headers["Accept"] = "application/json"
    if pair in (TO_MODERN, SESSION_TO_SSE):
        agent.initialize()
    return agent


def works(agent: Agent) -> None:
    """Fail unless an ordinary call still completes."""
    if agent.session:
        assert text_of(agent.post("tools/call", ECHO, id="last")) == "a"
    else:
        assert text_of(call(agent, "echo", arguments={"text": "a"})) == "a"


@pairs(TO_SESSION, TO_SSE, TO_MODERN, SESSION_TO_SSE)
def test_any_message(agent: Agent) -> None:
    @MANY
    @given(message=MESSAGES, fields=FIELDS)
    @example(message={"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {**ECHO, "_meta": [1]}}, fields={})
    @example(message={"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"_meta": [1]}}, fields={})
    def run(message: Any, fields: dict[str, str]) -> None:
        sound(sent(agent, message, fields), message)

    run()
    works(agent)


@pairs(TO_SESSION, TO_SSE)
def test_a_whole_envelope_around_anything(agent: Agent) -> None:
    @MANY
    @given(params=PARAMS)
    def run(params: dict[str, Any]) -> None:
        meta = params.get("_meta")
        whole = {**(meta if isinstance(meta, dict) else {}), **MODERN}
        message = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": {**params, "name": "echo", "_meta": whole},
        }
        fields = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "echo"}
        sound(sent(agent, message, fields), message)

    run()
    works(agent)


@pairs(TO_MODERN, SESSION_TO_SSE)
def test_a_session_begun_with_anything(agent: Agent) -> None:
    session = agent.session

    @MANY
    @given(params=PARAMS)
    def run(params: dict[str, Any]) -> None:
        agent.session = ""
        hello = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
        answer = sent(agent, hello, {})
        sound(answer, hello)
        agent.session = answer.headers.get("Mcp-Session-Id", "")
        message = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": ECHO}
        sound(sent(agent, message, {}), message)

    run()
    agent.session = session
    works(agent)


MEMBERS = (
    "tools",
    "capabilities",
    "serverInfo",
    "instructions",
    "structuredContent",
    "content",
    "_meta",
    "nextCursor",
    "inputRequests",
    "requestState",
    "ttlMs",
)
RESULTS = st.fixed_dictionaries(
    {},
    optional={
        "resultType": st.sampled_from(["complete", "input_required"]) | WRONG,
        "tools": st.lists(st.fixed_dictionaries({}, optional={"name": st.just("echo"), "outputSchema": WRONG}) | WRONG),
        "inputRequests": st.dictionaries(
            st.text(max_size=3),
            WRONG | st.fixed_dictionaries({}, optional={"method": st.just("roots/list") | WRONG, "params": WRONG}),
            max_size=2,
        ),
        **{name: WRONG for name in MEMBERS if name not in ("tools", "inputRequests")},
    },
)
GREETINGS = {
    "initialize": {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "odd", "version": "1"}},
    "server/discover": {"resultType": "complete", "supportedVersions": [MODERN_REVISION], "capabilities": {}}
    | {"ttlMs": 0, "cacheScope": "private"},
}


@pytest.mark.parametrize("revision", ["2025-11-25", MODERN_REVISION])
@pytest.mark.parametrize("method", ["tools/call", "tools/list", "prompts/get", "server/discover"])
def test_a_server_that_answers_anything(
    gateway: str, upstream_url: str, upstream: FakeMcpServer, alice: User, revision: str, method: str
) -> None:
    seen = {"protocol_version": revision, "supported_versions": [revision], "capabilities": {}}
    row = factories.make_server(url=upstream_url, capabilities=SEEN.get(revision, seen))
    factories.allow(alice, row, "view", "use")
    agent, odd = Agent(gateway, alice), dict[str, Any]()

    async def behave(request: Any, answer: Any) -> None:
        message = request.message
        if "id" not in message:
            await answer(202 if request.method == "POST" else 405)
            return
        if revision == MODERN_REVISION and message["method"] == "initialize":
            await answer(400, {"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32022, "message": "no"}})
            return
        known = GREETINGS.get(message["method"], {})
        result = {**known, **odd} if message["method"] in odd.get("of", ()) or not known else known
        await answer(200, {"jsonrpc": "2.0", "id": message["id"], "result": result})

    upstream.behave = behave

    @settings(MANY, max_examples=20)
    @given(result=RESULTS)
    def run(result: dict[str, Any]) -> None:
        circuits.reset()
        odd.clear()
        if revision != MODERN_REVISION:
            meta = {**MODERN, "io.modelcontextprotocol/clientInfo": {"name": str(hash(str(result))), "version": "1"}}
            params = {"name": "echo", "_meta": meta}
            fields = {"MCP-Protocol-Version": MODERN_REVISION, "Mcp-Method": method, "Mcp-Name": "echo"}
            odd.update(result, of=("initialize",) if method == "server/discover" else ())
        else:
            params, fields, agent.session = {"name": "echo"}, {}, ""
            if method != "server/discover":
                agent.session = agent.post("initialize", HELLO).headers["Mcp-Session-Id"]
            odd.update(result, of=("server/discover",))
        asked = "initialize" if revision == MODERN_REVISION and method == "server/discover" else method
        message = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": asked,
            "params": params | (HELLO if asked == "initialize" else {}),
        }
        sound(sent(agent, message, fields), message)

    try:
        run()
    finally:
        agreement.forget()
        talks.clear()
        close_everything()
