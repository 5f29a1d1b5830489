"""How a missing consent reaches the user, rung by rung (contract §6), with a consent that happens in between."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import requests
from django.contrib.auth.models import User
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.types import ElicitResult
from pytest_django import Settings

from connections.database import run_in_thread
from mcpservers.dataplane.input_required import MAX_QUESTIONS
from mcpservers.models import MCPServer
from providers.models import OAuthProvider
from tests import factories
from tests.dataplane.conftest import HELLO, MODERN, Agent
from tests.fakes.mcp_server import FakeMcpServer
from tests.real_clients.driving import started
from tests.real_clients.kinds import FASTMCP, SDK, SDK_2, Kind

OPENS_LINKS = {"elicitation": {"url": {}}}
ABLE = {**MODERN, "io.modelcontextprotocol/clientCapabilities": OPENS_LINKS}


@pytest.fixture
def provider(transactional_db: None) -> OAuthProvider:
    """The provider that the server needs."""
    return factories.make_provider()


@pytest.fixture
def bound(gateway: str, upstream_url: str, provider: OAuthProvider, alice: User, settings: Settings) -> MCPServer:
    """A server that needs alice's consent; waits are short."""
    settings.AIGW_CONSENT_WAIT_SECONDS = 1.0
    row = factories.make_server(url=upstream_url, provider=provider)
    factories.allow(alice, row, "view", "use")
    return row


@pytest.fixture
def agent(gateway: str, bound: MCPServer, alice: User) -> Agent:
    """Alice's agent."""
    return Agent(gateway, alice)


@pytest.fixture
def consenting(alice: User, provider: OAuthProvider) -> Iterator[Any]:
    """Have alice consent a moment later, in another thread."""
    threads: list[threading.Thread] = []

    def consent(after_seconds: float) -> None:
        def run() -> None:
            from django.db import connection

            from changes import counter

            time.sleep(after_seconds)
            factories.make_vault_entry(alice, provider, access_token="alices-token")
            counter.announce()
            connection.close()

        threads.append(threading.Thread(target=run))
        threads[-1].start()

    yield consent
    for thread in threads:
        thread.join()


def call(agent: Agent, *, id: int = 1, **params: Any) -> dict[str, Any]:
    """Call whoami as a 2026-07-28 client that can open links."""
    body = {"name": "whoami", "arguments": {"a": 1}, "_meta": ABLE, **params}
    answer: dict[str, Any] = agent.post("tools/call", body, id=id, MCP_Protocol_Version="2026-07-28").json()
    return answer


class TestInputRequired:
    """2026-07-28: the call comes back with a question and is retried."""

    def test_the_question_is_one_link_and_a_sealed_state(self, agent: Agent, upstream: FakeMcpServer) -> None:
        result = call(agent)["result"]
        assert result["resultType"] == "input_required"
        [question] = result["inputRequests"].values()
        assert (question["method"], question["params"]["mode"]) == ("elicitation/create", "url")
        assert "/oauth/v1/authorize?" in question["params"]["url"]
        assert "elicitationId" not in question["params"]
        assert result["_meta"]["aigateway/error"]["reason"] == "OAuthConnectionRequired"
        assert result["requestState"]
        assert upstream.requests == []

    def test_the_retry_is_held_until_the_consent_and_then_completes(
        self, agent: Agent, upstream: FakeMcpServer, consenting: Any
    ) -> None:
        state = call(agent)["result"]["requestState"]
        consenting(0.4)
        started = time.monotonic()
        said = {"aigateway_consent": {"action": "accept"}}
        answer = call(agent, id=2, requestState=state, inputResponses=said)
        assert answer["id"] == 2
        assert answer["result"]["content"][0]["text"] == "Bearer alices-token"
        assert 0.3 < time.monotonic() - started < 1
        [seen] = upstream.requests
        assert seen.message["params"] == {"name": "whoami", "arguments": {"a": 1}, "_meta": ABLE}

    def test_a_retry_without_consent_asks_again_after_the_wait(self, agent: Agent) -> None:
        state = call(agent)["result"]["requestState"]
        started = time.monotonic()
        again = call(agent, requestState=state, inputResponses={"aigateway_consent": {"action": "accept"}})
        assert again["result"]["resultType"] == "input_required"
        assert time.monotonic() - started == pytest.approx(1.0, abs=0.3)

    def test_a_refusal_is_the_plain_error_at_once(self, agent: Agent) -> None:
        state = call(agent)["result"]["requestState"]
        started = time.monotonic()
        answer = call(agent, requestState=state, inputResponses={"aigateway_consent": {"action": "decline"}})
        assert answer["error"]["code"] == -32010
        assert time.monotonic() - started < 0.5

    def test_the_upstreams_own_round_survives_ours(
        self, agent: Agent, upstream: FakeMcpServer, alice: User, provider: OAuthProvider
    ) -> None:
        own = {"requestState": "theirs\n", "inputResponses": {"q": {"action": "accept", "content": {"x": 1}}}}
        state = call(agent, **own)["result"]["requestState"]
        factories.make_vault_entry(alice, provider)
        call(agent, requestState=state, inputResponses={"aigateway_consent": {"action": "accept"}})
        [seen] = upstream.requests
        assert {name: seen.message["params"][name] for name in own} == own

    def test_the_upstreams_state_passes_untouched_when_connected(
        self, agent: Agent, upstream: FakeMcpServer, alice: User, provider: OAuthProvider
    ) -> None:
        factories.make_vault_entry(alice, provider)
        call(agent, requestState="theirs")
        assert upstream.requests[0].message["params"]["requestState"] == "theirs"

    @pytest.mark.parametrize("change", ["altered", "other call", "other user"])
    def test_a_state_is_good_for_its_user_and_call_only(
        self, agent: Agent, gateway: str, bound: MCPServer, bob: User, upstream: FakeMcpServer, change: str
    ) -> None:
        state = call(agent)["result"]["requestState"]
        params: dict[str, Any] = {}
        if change == "altered":
            state = state[:-2] + ("A" if state[-2] != "A" else "B") + state[-1]
        elif change == "other call":
            params = {"arguments": {"a": 2}}
        else:
            factories.allow(bob, bound, "use")
            agent = Agent(gateway, bob)
        answer = call(agent, requestState=state, **params)
        assert answer["error"]["code"] == -32602
        assert upstream.requests == []

    @pytest.mark.parametrize("capabilities", [{}, {"elicitation": {}}, {"elicitation": {"form": {}}}])
    def test_a_client_that_cannot_open_links_gets_the_error(self, agent: Agent, capabilities: dict[str, Any]) -> None:
        meta = {**MODERN, "io.modelcontextprotocol/clientCapabilities": capabilities}
        assert call(agent, _meta=meta)["error"]["code"] == -32010

    @pytest.mark.threat("D18")
    def test_consent_comes_before_a_review(
        self, agent: Agent, bound: MCPServer, consenting: Any, upstream: FakeMcpServer
    ) -> None:
        factories.hold_changes(bound)
        plain = agent.post("tools/call", {"name": "whoami"}).json()["error"]
        assert (plain["code"], bool(plain["data"]["authorize_url"])) == (-32010, True)
        question = call(agent)["result"]
        consenting(0.2)
        said = {"aigateway_consent": {"action": "accept"}}
        retry = {"requestState": question["requestState"], "inputResponses": said}
        assert call(agent, id=2, **retry)["error"]["code"] == -32018
        assert "tools/call" not in upstream.methods()

    @pytest.mark.parametrize("delivery", ["error", "tool_result"])
    def test_a_server_can_force_the_last_rung(self, agent: Agent, bound: MCPServer, delivery: str) -> None:
        bound.consent_delivery = delivery
        bound.save()
        answer = call(agent)
        assert "error" in answer if delivery == "error" else answer["result"]["isError"]


class TestElicitationInSession:
    """2025-11-25: the question goes out on the call's own stream."""

    @pytest.fixture
    def agent(self, agent: Agent) -> Agent:
        """Alice's agent, in a session whose client can open links."""
        agent.session = agent.post("initialize", {**HELLO, "capabilities": OPENS_LINKS}).headers["Mcp-Session-Id"]
        return agent

    def stream(self, agent: Agent) -> Iterator[dict[str, Any]]:
        message = {"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": {"name": "whoami"}}
        headers = {**agent.headers, "Mcp-Session-Id": agent.session}
        with requests.post(agent.url, json=message, headers=headers, stream=True, timeout=10) as response:
            assert response.headers["content-type"] == "text/event-stream"
            for line in response.iter_lines():
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])

    def test_the_call_is_held_and_completes_on_its_stream(
        self, agent: Agent, consenting: Any, upstream: FakeMcpServer
    ) -> None:
        events = self.stream(agent)
        question = next(events)
        assert question["method"] == "elicitation/create"
        assert question["params"]["elicitationId"]
        said = {"jsonrpc": "2.0", "id": question["id"], "result": {"action": "accept"}}
        assert agent.send(json.dumps(said).encode()).status_code == 202
        consenting(0.3)
        answer = next(events)
        assert (answer["id"], answer["result"]["content"][0]["text"]) == (9, "Bearer alices-token")
        assert next(events, None) is None
        assert upstream.methods() == ["initialize", "notifications/initialized", "tools/call"]

    @pytest.mark.threat("D18")
    def test_a_held_tool_stays_held_after_the_consent_that_comes_first(
        self, agent: Agent, bound: MCPServer, consenting: Any, upstream: FakeMcpServer
    ) -> None:
        factories.hold_changes(bound)
        events = self.stream(agent)
        assert next(events)["method"] == "elicitation/create"
        consenting(0.2)
        assert next(events)["error"]["code"] == -32018
        assert "tools/call" not in upstream.methods()

    def test_a_client_that_says_nothing_gets_the_link_as_an_error(self, agent: Agent) -> None:
        events = list(self.stream(agent))
        assert events[-1]["error"]["code"] == -32042
        [elicitation] = events[-1]["error"]["data"]["elicitations"]
        assert elicitation["url"] == events[-1]["error"]["data"]["authorize_url"]

    def test_a_refusal_ends_the_call(self, agent: Agent) -> None:
        events = self.stream(agent)
        said = {"jsonrpc": "2.0", "id": next(events)["id"], "result": {"action": "decline"}}
        agent.send(json.dumps(said).encode())
        assert next(events)["error"]["code"] == -32042

    def test_a_caller_that_takes_no_stream_gets_the_error_at_once(self, agent: Agent) -> None:
        answer = agent.post("tools/call", {"name": "whoami"}, Accept="application/json")
        assert (answer.status_code, answer.json()["error"]["code"]) == (200, -32042)

    def test_the_sessions_stream_tells_when_it_is_settled(
        self, agent: Agent, consenting: Any, upstream: FakeMcpServer
    ) -> None:
        error = agent.post("tools/call", {"name": "whoami"}, Accept="application/json").json()["error"]
        [elicitation] = error["data"]["elicitations"]
        headers = {**agent.headers, "Mcp-Session-Id": agent.session}
        with requests.get(agent.url, headers=headers, stream=True, timeout=10) as response:
            consenting(0.3)
            lines = (line for line in response.iter_lines() if line.startswith(b"data: "))
            settled = json.loads(next(lines)[6:])
            assert settled["method"] == "notifications/elicitation/complete"
            assert settled["params"]["elicitationId"] == elicitation["elicitationId"]
            assert next(lines) == b"data: hello"  # and then the upstream's own stream


@pytest.mark.parametrize("mode", ["2026-07-28", "legacy"])
async def test_the_official_client_completes_its_call_after_a_consent_in_between(
    gateway: str, bound: MCPServer, alice: User, consenting: Any, mode: str
) -> None:
    token = await run_in_thread(factories.make_api_token, alice)
    opened: list[str] = []

    async def open_link(_: Any, params: Any) -> ElicitResult:
        opened.append(params.url)
        consenting(0.3)
        return ElicitResult(action="accept")

    http = httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=10)
    async with (
        http,
        Client(
            streamable_http_client(f"{gateway}/mcp/v1/tools", http_client=http),
            mode=mode,
            elicitation_callback=open_link,
        ) as client,
    ):
        result = await client.call_tool("whoami", {})
    assert result.content[0].text == "Bearer alices-token"
    assert len(opened) == 1


async def test_an_official_client_without_elicitation_gets_the_plain_error(
    gateway: str, bound: MCPServer, alice: User
) -> None:
    token = await run_in_thread(factories.make_api_token, alice)
    http = httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=10)
    async with (
        http,
        Client(streamable_http_client(f"{gateway}/mcp/v1/tools", http_client=http), mode="2026-07-28") as client,
    ):
        with pytest.raises(MCPError) as refused:
            await client.call_tool("whoami", {})
    assert refused.value.code == -32010


@pytest.mark.real_client
@pytest.mark.parametrize("program", [SDK_2, FASTMCP])
def test_a_slow_person_is_asked_again_and_the_call_still_completes(
    gateway: str, bound: MCPServer, alice: User, consenting: Any, tmp_path: Path, program: str
) -> None:
    kind = Kind(program, "auto", "links")
    with started(kind, f"{gateway}/mcp/v1/tools", factories.make_api_token(alice), tmp_path / "alice") as client:
        client.next("connected")
        client.tell(do="call", tool="whoami")
        client.next("link")
        consenting(1.5)
        client.next("link")
        assert client.next("result")["text"] == "Bearer alices-token"


@pytest.mark.real_client
@pytest.mark.parametrize("program", [SDK_2, FASTMCP])
def test_before_a_client_gives_up_it_gets_the_link_as_an_error(
    gateway: str, bound: MCPServer, alice: User, settings: Settings, tmp_path: Path, program: str
) -> None:
    settings.AIGW_CONSENT_WAIT_SECONDS = 0.1
    kind = Kind(program, "auto", "links")
    with started(kind, f"{gateway}/mcp/v1/tools", factories.make_api_token(alice), tmp_path / "alice") as client:
        client.next("connected")
        client.tell(do="call", tool="whoami")
        for _ in range(MAX_QUESTIONS):
            client.next("link")
        error = client.next("error")
        assert error["code"] == -32010
        assert error["data"]["authorize_url"] in error["message"]


@pytest.mark.real_client
@pytest.mark.parametrize("program", [SDK, SDK_2, FASTMCP])
def test_in_a_session_a_slow_person_gets_the_same_link_as_an_error(
    gateway: str, bound: MCPServer, alice: User, tmp_path: Path, program: str
) -> None:
    kind = Kind(program, "legacy", "links")
    with started(kind, f"{gateway}/mcp/v1/tools", factories.make_api_token(alice), tmp_path / "alice") as client:
        client.next("connected")
        client.tell(do="call", tool="whoami")
        link = client.next("link")["url"]
        error = client.next("error")
        assert (error["code"], error["data"]["elicitations"][0]["url"]) == (-32042, link)
        assert f"Open this link in a browser: {link}" in error["message"]
