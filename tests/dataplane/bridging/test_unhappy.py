"""What a bridge must survive: lost sessions, broken connections, foreign states, leaving callers, lost rights."""

import asyncio
import json
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from django.contrib.auth.models import User
from guardian.shortcuts import remove_perm
from mcp.shared.inbound import encode_header_value
from mcp_types import SubscriptionFilter
from pytest_django import Settings

from changes import counter
from mcpservers.dataplane.bridging import far_sides, keeping, open_rounds, subscriptions, talks
from mcpservers.dataplane.jsonrpc import Message
from mcpservers.dataplane.sessions import sessions
from mcpservers.models import MCPServer
from tests import factories
from tests.dataplane.bridging.conftest import close_everything
from tests.dataplane.conftest import HELLO, MODERN, Agent
from tests.dataplane.test_relay import wait_for
from tests.fakes.era_server import MODERN as MODERN_REVISION
from tests.fakes.era_server import SSE, EraServer

TO_SESSION = (MODERN_REVISION, "2025-11-25")
TO_SSE = (MODERN_REVISION, SSE)
TO_MODERN = ("legacy", MODERN_REVISION)
SESSION_TO_SSE = ("legacy", SSE)
ABLE = {**MODERN, "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}}}
RED = {"action": "accept", "content": {"colour": "red"}}


def pairs(*those: tuple[str, str]) -> Any:
    """Run a test for these pairs."""
    return pytest.mark.parametrize("pair", those, indirect=True, ids=lambda pair: f"{pair[0]}-to-{pair[1]}")


@pytest.fixture
def agent(gateway: str, bridged: MCPServer, alice: User) -> Agent:
    """Alice's agent."""
    return Agent(gateway, alice, bridged.name)


def modern(agent: Agent, method: str, meta: dict[str, Any] | None = None, **params: Any) -> requests.Response:
    """Send a whole request of 2026-07-28."""
    fields = {"MCP_Protocol_Version": MODERN_REVISION, "Mcp_Method": method}
    if name := params.get("name") or params.get("uri"):
        fields["Mcp_Name"] = encode_header_value(name)
    return agent.post(method, {**params, "_meta": meta or MODERN}, **fields)


def call(agent: Agent, tool: str, meta: dict[str, Any] | None = None, **params: Any) -> requests.Response:
    """Call a tool as a 2026-07-28 client."""
    return modern(agent, "tools/call", meta, **{"name": tool, **params})


def text_of(answer: requests.Response) -> str:
    """Return the text of a tool's result."""
    return str(answer.json()["result"]["content"][0]["text"])


def asked(agent: Agent, thing: str = "x") -> dict[str, Any]:
    """Begin a call that asks; return its InputRequiredResult."""
    result: dict[str, Any] = call(agent, "paint", ABLE, arguments={"thing": thing}).json()["result"]
    assert result["resultType"] == "input_required"
    return result


def answer(agent: Agent, result: dict[str, Any], thing: str = "x", **params: Any) -> requests.Response:
    """Come back with an answer to every question."""
    said = dict.fromkeys(result["inputRequests"], RED)
    again = {"arguments": {"thing": thing}, "requestState": result["requestState"], "inputResponses": said, **params}
    return call(agent, "paint", ABLE, **again)


class TestRounds:
    """A question that a caller of 2026-07-28 answers with another request."""

    pytestmark = pairs(TO_SESSION, TO_SSE)

    def test_the_question_is_the_upstreams_and_the_state_is_sealed(self, agent: Agent) -> None:
        result = asked(agent)
        [question] = result["inputRequests"].values()
        assert question["method"] == "elicitation/create"
        assert question["params"]["mode"] == "form"
        assert question["params"]["requestedSchema"]["properties"] == {"colour": {"title": "Colour", "type": "string"}}
        assert "x" not in json.loads(json.dumps(result["requestState"])).split(".")
        assert text_of(answer(agent, result)) == "x is red"

    @pytest.mark.parametrize("change", ["altered", "foreign", "other call", "other user", "not text"])
    def test_a_state_is_good_for_its_user_and_call_only(
        self, agent: Agent, gateway: str, bridged: MCPServer, bob: User, era: EraServer, change: str
    ) -> None:
        result, thing, asking = asked(agent), "x", agent
        state: Any = result["requestState"]
        if change == "altered":
            state = state[:-3] + ("A" if state[-3] != "A" else "B") + state[-2:]
        elif change == "foreign":
            state = "somebody else's"
        elif change == "not text":
            state = {"a": 1}
        elif change == "other call":
            thing = "y"
        else:
            factories.allow(bob, bridged, "use")
            asking = Agent(gateway, bob, bridged.name)
        refused = answer(asking, {**result, "requestState": state}, thing)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, -32602)
        assert era.calls == []
        assert text_of(answer(agent, result)) == "x is red"

    def test_a_question_is_answered_once(self, agent: Agent, era: EraServer) -> None:
        result = asked(agent)
        answers: list[requests.Response] = []
        threads = [threading.Thread(target=lambda: answers.append(answer(agent, result))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(one.status_code for one in answers) == [200, 400, 400, 400]
        assert era.calls == ["paint x"]

    def test_an_answer_that_lacks_something_leaves_the_call_open(self, agent: Agent) -> None:
        result = asked(agent)
        assert answer(agent, result, inputResponses={}).status_code == 400
        assert text_of(answer(agent, result)) == "x is red"

    def test_after_a_restart_the_state_says_to_call_again(self, agent: Agent, era: EraServer) -> None:
        result = asked(agent)
        open_rounds._rounds.clear()
        close_everything()
        refused = answer(agent, result).json()
        assert "again" in json.dumps(refused)
        assert era.calls == []

    def test_a_call_to_which_nobody_comes_back_is_cancelled(
        self, agent: Agent, settings: Settings, era: EraServer
    ) -> None:
        settings.AIGW_BRIDGED_ANSWER_SECONDS = 1
        result = asked(agent)
        wait_for(lambda: "notifications/cancelled" in era.methods, seconds=5)
        assert answer(agent, result).status_code == 400


@pairs(TO_SESSION, TO_SSE)
def test_the_gateway_validates_what_it_serves_itself(agent: Agent, era: EraServer) -> None:
    fields = {"MCP_Protocol_Version": MODERN_REVISION}
    body = {"name": "echo", "arguments": {"text": "a"}, "_meta": MODERN}

    def code(response: requests.Response) -> tuple[int, int]:
        return response.status_code, response.json()["error"]["code"]

    assert code(agent.post("tools/call", body, **fields, Mcp_Name="echo")) == (400, -32020)
    assert code(agent.post("tools/call", body, **fields, Mcp_Method="tools/call")) == (400, -32020)
    assert code(agent.post("tools/call", body, **fields, Mcp_Method="tools/call", Mcp_Name="write")) == (400, -32020)
    lacking = {"io.modelcontextprotocol/protocolVersion": MODERN_REVISION}
    assert code(modern(agent, "tools/list", lacking)) == (400, -32602)
    unknown = {**MODERN, "io.modelcontextprotocol/protocolVersion": "2099-01-01"}
    refused = agent.post("tools/list", {"_meta": unknown}, MCP_Protocol_Version="2099-01-01", Mcp_Method="tools/list")
    assert code(refused) == (400, -32022)
    assert refused.json()["error"]["data"]["supported"] == [MODERN_REVISION]
    assert code(modern(agent, "logging/setLevel", level="info")) == (404, -32601)
    assert code(modern(agent, "no/such")) == (404, -32601)
    assert era.calls == []


@pairs(TO_SESSION, TO_SSE)
def test_a_list_is_private_and_says_that_it_is_complete(agent: Agent) -> None:
    for method in ("tools/list", "prompts/list", "resources/list", "resources/templates/list", "server/discover"):
        result = modern(agent, method).json()["result"]
        assert (result["resultType"], result["ttlMs"], result["cacheScope"]) == ("complete", 0, "private")
    assert modern(agent, "resources/read", uri="era://note").json()["result"]["cacheScope"] == "private"
    assert "cacheScope" not in call(agent, "echo", arguments={"text": "a"}).json()["result"]


@pairs(TO_SESSION)
def test_one_session_serves_a_client_and_ends_when_idle(agent: Agent, era: EraServer, settings: Settings) -> None:
    settings.AIGW_BRIDGED_SESSION_IDLE_SECONDS = 1
    for _ in range(5):
        call(agent, "echo", arguments={"text": "a"})
    assert era.methods.count("initialize") == 1
    wait_for(lambda: len(era.deleted_sessions) == 1, seconds=6)
    assert text_of(call(agent, "echo", arguments={"text": "b"})) == "b"
    assert era.methods.count("initialize") == 2


@pairs(TO_SESSION)
@pytest.mark.threat("D20", "D21")
def test_a_lost_session_is_opened_again_once(agent: Agent, era: EraServer) -> None:
    call(agent, "write", arguments={"text": "a"})
    era.lost_sessions.add(next(row["mcp-session-id"] for row in era.requests if "mcp-session-id" in row))
    assert text_of(call(agent, "write", arguments={"text": "b"})) == "b"
    assert era.calls == ["a", "b"]
    assert era.methods.count("initialize") == 2


@pairs(TO_SESSION, TO_MODERN)
@pytest.mark.threat("D20")
def test_a_connection_that_breaks_off_repeats_only_what_reads(
    agent: Agent, pair: tuple[str, str], bridged: MCPServer, era: EraServer
) -> None:
    if pair == TO_MODERN:
        agent.initialize()
    ask = modern if pair == TO_SESSION else lambda agent, method, **params: agent.post(method, params)
    ask(agent, "tools/list")
    era.drop_next = "tools/list"
    assert "result" in ask(agent, "tools/list").json()
    era.drop_next = "tools/call"
    refused = ask(agent, "tools/call", name="write", arguments={"text": "a"})
    assert refused.json()["error"]["data"]["detail"] == "interrupted"
    assert refused.status_code == 502
    assert era.methods.count("tools/call") == 1


@pairs(TO_SESSION, TO_SSE)
def test_a_caller_who_leaves_cancels(agent: Agent, era: EraServer) -> None:
    meta = {**MODERN, "progressToken": "p"}
    body = {"jsonrpc": "2.0", "id": "a", "method": "tools/call"}
    body["params"] = {"name": "count", "arguments": {"to": 100, "pause_seconds": 0.1}, "_meta": meta}
    fields = {"MCP-Protocol-Version": MODERN_REVISION, "Mcp-Method": "tools/call", "Mcp-Name": "count"}
    with requests.post(agent.url, json=body, headers={**agent.headers, **fields}, stream=True, timeout=10) as response:
        line = next(line for line in response.iter_lines() if line.startswith(b"data: "))
        assert json.loads(line[6:])["params"]["progressToken"] == "p"
    wait_for(lambda: era.cancelled == ["count"], seconds=3)


@pairs(TO_SESSION, TO_SSE, TO_MODERN, SESSION_TO_SSE)
@pytest.mark.threat("D12")
def test_an_upstream_that_is_not_there_is_an_error_of_the_contract(
    agent: Agent, bridged: MCPServer, pair: tuple[str, str]
) -> None:
    if pair[0] == "legacy":
        agent.initialize()
    bridged.url = "http://127.0.0.1:1/mcp"
    bridged.save()
    refused = call(agent, "echo") if pair[0] != "legacy" else agent.call("echo")
    assert refused.status_code == 502
    assert refused.json()["error"]["data"]["reason"] == "UpstreamUnavailable"


@pairs(TO_SESSION, TO_MODERN, SESSION_TO_SSE)
@pytest.mark.threat("F04", "D15")
def test_who_loses_the_right_loses_what_is_open(
    agent: Agent, bridged: MCPServer, alice: User, era: EraServer, pair: tuple[str, str]
) -> None:
    if pair[0] == "legacy":
        agent.initialize()
    else:
        call(agent, "echo", arguments={"text": "a"})
    wait_for(lambda: any(len(pool.kept) for pool, _ in keeping._pools.values()), seconds=2)
    remove_perm("use_mcpserver", alice, bridged)
    remove_perm("view_mcpserver", alice, bridged)
    counter.announce()
    wait_for(lambda: not any(len(pool.kept) for pool, _ in keeping._pools.values()), seconds=10)
    if pair == TO_SESSION:
        wait_for(lambda: len(era.deleted_sessions) == 1, seconds=3)
    assert agent.call().status_code == 404


@pairs(TO_SESSION)
def test_sessions_are_bounded_and_the_longest_unused_makes_room(
    agent: Agent, era: EraServer, settings: Settings
) -> None:
    settings.AIGW_BRIDGED_SESSIONS = 3
    for number in range(6):
        meta = {**MODERN, "io.modelcontextprotocol/clientInfo": {"name": f"client-{number}", "version": "1"}}
        assert text_of(call(agent, "echo", meta, arguments={"text": "a"})) == "a"
    wait_for(lambda: len(era.deleted_sessions) == 3, seconds=3)
    [open_now] = [len(pool.kept) for pool, _ in keeping._pools.values()]
    assert open_now == 3


class TestLearning:
    """Discovery has not seen the server: how it answers tells what it speaks."""

    @pytest.fixture
    def is_seen(self) -> bool:
        return False

    @pairs(TO_SESSION, (MODERN_REVISION, "2025-06-18"))
    @pytest.mark.parametrize("first", ["server/discover", "tools/list"])
    def test_a_refusal_leads_over_the_bridge(self, agent: Agent, era: EraServer, first: str) -> None:
        assert "result" in modern(agent, first).json()
        before = len(era.methods)
        assert text_of(call(agent, "echo", arguments={"text": "a"})) == "a"
        assert set(era.methods[before:]) <= {"notifications/initialized", "tools/call"}

    @pairs(TO_MODERN)
    def test_a_refused_initialize_leads_over_the_bridge(self, agent: Agent, era: EraServer) -> None:
        assert agent.initialize()["serverInfo"]["name"] == "era"
        assert agent.session
        assert (
            agent.post("tools/call", {"name": "echo", "arguments": {"text": "a"}}).json()["result"]["isError"] is False
        )

    @pairs((MODERN_REVISION, MODERN_REVISION))
    def test_what_agrees_is_asked_nothing_more(self, agent: Agent, era: EraServer) -> None:
        assert modern(agent, "server/discover").json()["result"]["supportedVersions"] == [MODERN_REVISION]
        assert text_of(call(agent, "echo", arguments={"text": "a"})) == "a"
        assert era.methods == ["server/discover", "tools/call"]


class TestSession:
    """A caller with a session."""

    pytestmark = pairs(TO_MODERN, SESSION_TO_SSE)

    @pytest.fixture
    def agent(self, agent: Agent) -> Agent:
        """Alice's agent, in a session."""
        agent.initialize()
        return agent

    @pytest.mark.parametrize("id", [7, "7", "a\n", 0, -1])
    def test_ids_keep_their_type(self, agent: Agent, id: Any) -> None:
        assert agent.post("tools/call", {"name": "echo", "arguments": {"text": "a"}}, id=id).json()["id"] == id

    @pytest.mark.threat("D22")
    def test_a_session_is_its_users_and_unknown_after_its_end(
        self, agent: Agent, gateway: str, bob: User, bridged: MCPServer
    ) -> None:
        factories.allow(bob, bridged, "use")
        thief = Agent(gateway, bob, bridged.name)
        thief.session = agent.session
        assert thief.call("echo").status_code == 404
        assert agent.post("ping").json()["result"] == {}
        headers = {**agent.headers, "Mcp-Session-Id": agent.session}
        assert requests.delete(agent.url, headers=headers, timeout=5).status_code == 204
        assert agent.call("echo").status_code == 404

    def test_without_a_session_there_is_no_call(self, agent: Agent) -> None:
        agent.session = ""
        assert agent.call("echo").status_code == 400

    def test_a_revision_that_nobody_knows_is_refused(self, agent: Agent, era: EraServer) -> None:
        for asked in ("1.0", "2030-01-01", MODERN_REVISION):
            refused = agent.post("tools/call", {"name": "echo"}, MCP_Protocol_Version=asked)
            assert (refused.status_code, refused.json()["error"]["code"]) == (400, -32022)
            assert "2025-11-25" in refused.json()["error"]["data"]["supported"]
        assert era.calls == []
        good = agent.post("tools/call", {"name": "echo", "arguments": {"text": "a"}}, MCP_Protocol_Version="2025-11-25")
        assert good.json()["result"]["content"][0]["text"] == "a"

    def test_it_goes_on_after_a_restart(self, agent: Agent) -> None:
        sessions.clear()
        talks.clear()
        close_everything()
        answered = agent.post("tools/call", {"name": "echo", "arguments": {"text": "a"}}).json()
        assert answered["result"]["content"][0]["text"] == "a"

    def test_one_session_cannot_cancel_what_another_began(
        self, agent: Agent, gateway: str, alice: User, bridged: MCPServer, era: EraServer
    ) -> None:
        other = Agent(gateway, alice, bridged.name)
        other.initialize()
        answers: list[Any] = []
        arguments = {"to": 8, "pause_seconds": 0.1}
        thread = threading.Thread(
            target=lambda: answers.append(agent.post("tools/call", {"name": "count", "arguments": arguments}, id=5))
        )
        thread.start()
        time.sleep(0.3)
        other.post("notifications/cancelled", {"requestId": 5}, id=None)
        agent.post("notifications/cancelled", {"requestId": "5"}, id=None)
        thread.join()
        assert answers[0].json()["result"]["content"][0]["text"] == "counted to 8"
        assert era.cancelled == []


@pairs(TO_MODERN)
def test_an_old_client_that_cannot_be_asked_gets_a_tool_result(agent: Agent, era: EraServer) -> None:
    hello = {**HELLO, "capabilities": {"elicitation": {}}}
    agent.session = agent.post("initialize", hello).headers["Mcp-Session-Id"]
    refused = agent.post("tools/call", {"name": "paint", "arguments": {"thing": "x"}}, Accept="application/json")
    result = refused.json()["result"]
    assert result["isError"] is True
    assert "elicitation/create" in result["content"][0]["text"]
    assert era.calls == []


@pytest.mark.threat("D12")
@pairs(TO_MODERN, SESSION_TO_SSE)
def test_a_question_that_nobody_answers_ends_in_time(agent: Agent, era: EraServer, settings: Settings) -> None:
    settings.AIGW_BRIDGED_ANSWER_SECONDS = 1
    hello = {**HELLO, "capabilities": {"elicitation": {}}}
    agent.session = agent.post("initialize", hello).headers["Mcp-Session-Id"]
    answer = agent.post("tools/call", {"name": "paint", "arguments": {"thing": "x"}})
    *_, last = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]
    # An HTTP+SSE server is told, and decides itself how the call ends.
    assert "error" in last or last["result"]["isError"] is True
    assert era.calls == []


@pairs(TO_SESSION, TO_MODERN)
def test_the_trace_of_a_call_goes_on(agent: Agent, era: EraServer, pair: tuple[str, str]) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    agent.headers["traceparent"] = trace
    if pair == TO_MODERN:
        agent.initialize()
        agent.call("echo")
    else:
        call(agent, "echo", arguments={"text": "a"})
    assert trace in [request.get("traceparent") for request in era.requests]


@pairs(TO_SESSION, TO_SSE, TO_MODERN, SESSION_TO_SSE)
@pytest.mark.threat("D01", "D02", "H01")
def test_nothing_of_the_caller_but_its_message_reaches_the_upstream(
    agent: Agent, era: EraServer, pair: tuple[str, str]
) -> None:
    agent.headers |= {"Cookie": "a=b", "X-Forwarded-For": "1.2.3.4", "X-Api-Key": agent.token}
    if pair[0] == "legacy":
        agent.initialize()
        agent.call("echo")
    else:
        call(agent, "echo", arguments={"text": "a"})
    assert era.requests
    seen = json.dumps(era.requests)
    assert agent.token not in seen
    assert not {"cookie", "x-forwarded-for", "x-api-key", "authorization"} & {
        key for row in era.requests for key in row
    }
    if agent.session:
        assert agent.session not in seen


@pytest.mark.threat("D13")
@pairs(TO_SESSION, TO_SSE, TO_MODERN, SESSION_TO_SSE)
def test_callers_who_leave_leave_nothing_behind(agent: Agent, era: EraServer, pair: tuple[str, str]) -> None:
    meta = {**MODERN, "progressToken": "p"} if pair[0] != "legacy" else {"progressToken": "p"}
    params = {"name": "count", "arguments": {"to": 200, "pause_seconds": 0.1}, "_meta": meta}
    fields = {"MCP-Protocol-Version": MODERN_REVISION, "Mcp-Method": "tools/call", "Mcp-Name": "count"}
    if pair[0] == "legacy":
        agent.session = agent.post("initialize", HELLO).headers["Mcp-Session-Id"]
        fields = {"Mcp-Session-Id": agent.session}

    def leave(id: int) -> None:
        body = {"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}
        headers = {**agent.headers, **fields}
        with requests.post(agent.url, json=body, headers=headers, stream=True, timeout=10) as response:
            next(response.iter_lines())

    threads = [threading.Thread(target=leave, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_for(lambda: len(era.cancelled) == 20, seconds=5)
    [[kept]] = [list(pool.kept.values()) for pool, _ in keeping._pools.values()]
    wait_for(lambda: not kept.users, seconds=2)
    assert kept.connection is not None
    assert not kept.connection.calls
    assert not any(talk.calls for talk in talks._talks)


@pairs(TO_MODERN)
def test_a_session_follows_only_so_many_resources(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    def subscribed(uri: str) -> dict[str, Any]:
        return dict(agent.post("resources/subscribe", {"uri": uri}).json())

    monkeypatch.setattr(far_sides, "MOST_URIS", 2)
    agent.initialize()
    assert [subscribed(uri)["result"] for uri in ("a:1", "a:2", "a:1")] == [{}, {}, {}]
    assert subscribed("a:3")["error"]["code"] == -32600
    agent.post("resources/unsubscribe", {"uri": "a:2"})
    assert subscribed("a:3")["result"] == {}
    agent.post("resources/unsubscribe", {"uri": "a:3"})
    assert "error" in subscribed("a:" + "x" * far_sides.LONGEST_URI)


@pairs(TO_SESSION)
def test_a_subscription_names_only_so_many_resources(agent: Agent, era: EraServer) -> None:
    filter = {"resourceSubscriptions": [f"a:{number}" for number in range(far_sides.MOST_URIS + 1)]}
    assert modern(agent, "subscriptions/listen", notifications=filter).json()["error"]["code"] == -32602
    assert "resources/subscribe" not in era.methods


@pairs(TO_SESSION)
def test_one_user_holds_no_more_calls_open_than_may_be_under_way(
    agent: Agent, gateway: str, bridged: MCPServer, bob: User, settings: Settings, era: EraServer
) -> None:
    settings.AIGW_CALLS_PER_USER = 2
    factories.allow(bob, bridged, "use")
    bobs = Agent(gateway, bob, bridged.name)
    of_bob = asked(bobs)
    first, *later = [asked(agent, thing) for thing in "abc"]
    wait_for(lambda: era.methods.count("notifications/cancelled") == 1, seconds=5)
    assert answer(agent, first, "a").status_code == 400
    assert [text_of(answer(agent, result, thing)) for result, thing in zip(later, "bc", strict=True)] == [
        "b is red",
        "c is red",
    ]
    assert text_of(answer(bobs, of_bob)) == "x is red"


def test_a_subscription_ends_though_its_caller_has_fallen_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    async def behind() -> None:
        written: list[bytes] = []

        async def write(chunk: bytes, *, more: bool = True) -> None:
            written.append(chunk)

        monkeypatch.setattr(subscriptions, "KEEP_ALIVE_SECONDS", 0.01)
        visit: Any = SimpleNamespace(exchange=SimpleNamespace(write=write, has_answered=True))
        connection: Any = SimpleNamespace(is_open=False)
        answering: Any = SimpleNamespace(write=lambda message: asyncio.sleep(0))
        message = Message("subscriptions/listen", 1, has_id=True, params={})
        own = subscriptions._Listening(visit, message, answering, connection)
        own._honored = SubscriptionFilter(tools_list_changed=True)
        for _ in range(subscriptions.MAX_WAITING):
            own._heard("notifications/tools/list_changed", {})
        own._heard("", {})
        async with asyncio.timeout(5):
            await own._deliver()
        assert written[-1] == b""

    asyncio.run(behind())
