"""Calls through servers that pass the caller's token on, or use a service account's."""

import asyncio
import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.db.backends.utils import CursorWrapper
from pytest_django import Settings

from audit.models import Event
from changes import counter
from mcpservers import discovery
from mcpservers.dataplane.app import application
from mcpservers.models import MCPServer
from tests import factories
from tests.dataplane.conftest import Agent
from tests.fakes.mcp_server import FakeMcpServer
from tests.fakes.token_endpoint import TokenEndpoint
from vault import secrets
from vault.models import Secret, ServiceToken

OWN = "X-Upstream-Authorization"


@pytest.fixture
def passing(server: MCPServer) -> MCPServer:
    """The server, in the mode that passes the caller's token on."""
    return in_mode(server, {"mode": "token_passthrough"})


@pytest.fixture
def far_side() -> Iterator[TokenEndpoint]:
    with TokenEndpoint() as running:
        yield running


@pytest.fixture
def robot(server: MCPServer, far_side: TokenEndpoint) -> MCPServer:
    """The server, with a service account."""
    factories.make_secret("ROBOT_SECRET", "robot-secret")
    auth = {
        "mode": "service_account_oauth",
        "client_id": "robot",
        "client_secret_ref": "ROBOT_SECRET",
        "token_endpoint": far_side.url(),
        "scopes": [],
    }
    return in_mode(server, auth)


def in_mode(server: MCPServer, auth: dict[str, Any]) -> MCPServer:
    server.auth = auth
    server.save()
    counter.drop_remembered()
    return server


def said(answer: Any) -> str:
    text: str = answer.json()["result"]["content"][0]["text"]
    return text


def failure(answer: Any) -> tuple[int, int, str]:
    error = answer.json()["error"]
    assert error["data"]["reason"] in error["data"].values()
    assert set(error["data"]) == {"status", "reason", "server", "provider", "authorize_url", "scopes", "detail"}
    return answer.status_code, error["code"], error["data"]["detail"]


@pytest.mark.threat("D01", "D02")
@pytest.mark.parametrize(
    "value", ["Bearer my-own.token~1==", "Basic YWxpY2U6cHc=", "token-without-scheme", 'OAuth a="b", c="d"']
)
def test_the_callers_own_token_is_what_the_upstream_sees(
    agent: Agent, passing: MCPServer, upstream: FakeMcpServer, value: str
) -> None:
    assert said(agent.post("tools/call", {"name": "whoami"}, X_Upstream_Authorization=value)) == value
    (request,) = upstream.requests
    assert [name for name, _ in request.headers if name in (b"authorization", b"x-upstream-authorization")] == [
        b"authorization"
    ]
    assert not any(agent.token.encode() in text for header in request.headers for text in header)


@pytest.mark.parametrize("headers", [{}, {"X_Upstream_Authorization": ""}])
def test_without_it_the_caller_is_told_what_to_send(
    agent: Agent, passing: MCPServer, upstream: FakeMcpServer, headers: dict[str, str]
) -> None:
    for method in ("initialize", "tools/list", "tools/call"):
        answer = agent.post(method, {"name": "whoami"}, **headers)
        assert failure(answer) == (200, -32017, "missing")
        assert OWN in answer.json()["error"]["message"]
    assert upstream.requests == []


@pytest.mark.threat("D03")
@pytest.mark.parametrize(
    ("raw", "detail"),
    [
        ("Bearer a\x01b", "malformed"),
        ("Bearer a\tb", "malformed"),
        ("Bearer a b", "malformed"),
        ("Bearer a,Bearer b", "malformed"),
        ("bearer ", "malformed"),
        ("Bearer t\u00f6ken", "malformed"),
        ("Bearer " + "x" * 17_000, "too_long"),
    ],
)
def test_a_value_that_no_header_should_carry_is_refused_here(
    agent: Agent, passing: MCPServer, upstream: FakeMcpServer, raw: str, detail: str
) -> None:
    assert asked_in_process(agent, [raw.encode("latin-1")]) == (400, -32017, detail)
    assert upstream.requests == []


@pytest.mark.threat("D03")
@pytest.mark.parametrize("raw", [b"Bearer a\r\nX-Other: b", b"Bearer a\nb", b"Bearer a\x00b"])
def test_line_breaks_and_nul_never_pass_even_if_a_server_let_them_in(
    agent: Agent, passing: MCPServer, upstream: FakeMcpServer, raw: bytes
) -> None:
    assert asked_in_process(agent, [raw]) == (400, -32017, "malformed")
    assert upstream.requests == []


@pytest.mark.threat("D02")
def test_two_of_them_are_refused(agent: Agent, passing: MCPServer, upstream: FakeMcpServer) -> None:
    assert asked_in_process(agent, [b"Bearer a", b"Bearer b"]) == (400, -32017, "repeated")
    assert upstream.requests == []


def asked_in_process(agent: Agent, values: list[bytes]) -> tuple[int, int, str]:
    """Ask past the HTTP server, which refuses some of these bytes itself."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "whoami"}}).encode()
    sent: list[Any] = []

    bodies = [body]

    async def receive() -> dict[str, Any]:
        if not bodies:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": bodies.pop()}

    async def send(event: Any) -> None:
        sent.append(event)

    headers = [
        (b"host", django_settings.AIGW_BASE_URL.partition("//")[2].encode()),
        (b"content-type", b"application/json"),
    ]
    headers += [(b"authorization", f"Bearer {agent.token}".encode())]
    headers += [(b"x-upstream-authorization", value) for value in values]
    scope = {"type": "http", "method": "POST", "path": "/mcp/v1/tools", "headers": headers, "client": ("127.0.0.1", 1)}
    async_to_sync(application)(scope, receive, send)
    error = json.loads(sent[1]["body"])["error"]
    return sent[0]["status"], error["code"], error["data"]["detail"]


@pytest.mark.threat("D01")
def test_a_token_of_this_gateway_is_never_sent_on(
    agent: Agent, passing: MCPServer, upstream: FakeMcpServer, bob: User
) -> None:
    basic = base64.b64encode(f"alice:{agent.token}".encode()).decode()
    of_bob = factories.make_api_token(bob)
    for value in (f"Bearer {agent.token}", agent.token, f"Basic {basic}", f"Bearer {of_bob}"):
        answer = agent.post("tools/call", {"name": "whoami"}, X_Upstream_Authorization=value)
        assert failure(answer) == (400, -32017, "gateway_token")
        assert agent.token not in answer.text
        assert of_bob not in answer.text
    assert upstream.requests == []


def test_an_upstream_401_is_the_callers_matter_and_is_not_repeated(
    agent: Agent, passing: MCPServer, upstream: FakeMcpServer
) -> None:
    upstream.accepted_tokens = set()
    answer = agent.post("tools/call", {"name": "whoami"}, X_Upstream_Authorization="Bearer old")
    assert failure(answer) == (200, -32017, "upstream_rejected")
    assert "WWW-Authenticate" not in answer.headers
    assert len(upstream.requests) == 1
    assert "old" not in answer.text


@pytest.mark.threat("A22")
def test_a_scope_that_the_callers_token_lacks_is_named(
    agent: Agent, passing: MCPServer, upstream: FakeMcpServer
) -> None:
    async def behave(request: Any, answer: Any) -> None:
        challenge = 'Bearer error="insufficient_scope", scope="files:write"'
        await answer(403, {"error": "insufficient_scope"}, www_authenticate=challenge)

    upstream.behave = behave
    answer = agent.post("tools/call", {"name": "whoami"}, X_Upstream_Authorization="Bearer small")
    assert failure(answer) == (200, -32017, "insufficient_scope")
    assert answer.json()["error"]["data"]["scopes"] == ["files:write"]
    assert (len(upstream.requests), "small" in answer.text) == (1, False)


@pytest.mark.threat("D02")
@pytest.mark.parametrize("auth", [{"mode": "none"}, {"mode": "static_key", "key_ref": "KEY"}])
def test_in_every_other_mode_the_header_is_dropped(
    agent: Agent, server: MCPServer, upstream: FakeMcpServer, auth: dict[str, Any]
) -> None:
    factories.make_secret("KEY", "the-key")
    in_mode(server, auth)
    told = said(agent.post("tools/call", {"name": "whoami"}, X_Upstream_Authorization="Bearer mine"))
    assert told == ("nobody" if auth["mode"] == "none" else "Bearer the-key")
    assert upstream.requests[0].header("x-upstream-authorization") is None


def test_each_caller_is_served_with_their_own_token_in_a_session_too(
    agent: Agent, passing: MCPServer, upstream: FakeMcpServer, gateway: str, bob: User
) -> None:
    factories.allow(bob, passing, "view", "use")
    for each, token in ((agent, "Bearer alices"), (Agent(gateway, bob), "Bearer bobs")):
        each.headers[OWN] = token
        each.initialize()
        assert said(each.call()) == token
    assert {request.header("authorization") for request in upstream.requests} == {"Bearer alices", "Bearer bobs"}


def test_discovery_says_why_it_cannot_ask_and_keeps_what_was_known(
    passing: MCPServer, alice: User, upstream: FakeMcpServer
) -> None:
    MCPServer.objects.update(tools=[{"name": "known"}])
    passing.refresh_from_db()
    with pytest.raises(discovery.DiscoveryFailed, match=OWN):
        discovery.refresh_tools(passing, user_id=alice.pk)
    passing.refresh_from_db()
    assert passing.tools == [{"name": "known"}]
    assert OWN in passing.discovery_error
    assert upstream.requests == []


def test_everyone_calls_with_the_service_accounts_token(
    agent: Agent, robot: MCPServer, upstream: FakeMcpServer, far_side: TokenEndpoint, gateway: str, bob: User
) -> None:
    factories.allow(bob, robot, "view", "use")
    answers = [said(each.call()) for each in (agent, Agent(gateway, bob), agent)]
    assert answers == ["Bearer access-1"] * 3
    assert len(far_side.token_requests) == 1
    assert Event.objects.filter(action="secret.opened", target="ROBOT_SECRET").count() == 1


def test_a_call_in_the_steady_state_asks_neither_the_database_nor_the_endpoint(
    agent: Agent, robot: MCPServer, far_side: TokenEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    said(agent.call())
    statements: list[str] = []
    execute = CursorWrapper.execute

    def noted(cursor: CursorWrapper, sql: str, params: Any = None) -> Any:
        statements.append(sql)
        return execute(cursor, sql, params)

    monkeypatch.setattr(CursorWrapper, "execute", noted)
    for _ in range(5):
        assert said(agent.call()) == "Bearer access-1"
    assert statements == []


def test_a_caller_with_a_bad_token_teaches_nothing_about_the_server(
    agent: Agent, passing: MCPServer, upstream: FakeMcpServer
) -> None:
    async def behave(request: Any, wire: Any) -> None:
        answer = {"jsonrpc": "2.0", "id": request.message.get("id"), "result": {"resultType": "complete"}}
        await (wire(200, answer) if request.header("authorization") == "Bearer good" else wire(404, {}))

    upstream.behave = behave
    assert (
        "error"
        in agent.modern(
            "tools/call", {"name": "a"}, Mcp_Method="tools/call", Mcp_Name="a", **{OWN: "Bearer bad"}
        ).json()
    )
    fields = {"Mcp_Method": "tools/call", "Mcp_Name": "a", OWN: "Bearer good"}
    assert "result" in agent.modern("tools/call", {"name": "a"}, **fields).json()
    assert upstream.requests[-1].message["method"] == "tools/call"


@pytest.mark.threat("B13")
def test_a_token_that_lapsed_on_its_way_costs_one_request_a_call(
    agent: Agent, robot: MCPServer, far_side: TokenEndpoint
) -> None:
    fields = {"access_token": "short", "token_type": "Bearer", "expires_in": 0.1}
    far_side.will(times=None, fields=fields, after_seconds=0.2)
    for n in (1, 2):
        assert said(agent.call()) == "Bearer short"
        assert len(far_side.token_requests) == n


@pytest.mark.threat("B13", "B14")
def test_a_401_costs_one_new_token_and_one_retry(
    agent: Agent, robot: MCPServer, upstream: FakeMcpServer, far_side: TokenEndpoint
) -> None:
    said(agent.call())
    upstream.accepted_tokens = {"access-2"}
    assert said(agent.call()) == "Bearer access-2"
    assert len(far_side.token_requests) == 2
    upstream.accepted_tokens = set()
    for _ in range(4):
        answer = agent.call()
        assert failure(answer) == (502, -32015, "credential_rejected")
        assert "Ask the admin" in answer.json()["error"]["message"]
        assert "WWW-Authenticate" not in answer.headers
    assert len(far_side.token_requests) == 2


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"status": 401, "fields": {"error": "invalid_client"}}, (502, -32015, "credential_rejected")),
        ({"status": 400, "fields": {"error": "invalid_scope"}}, (502, -32015, "credential_rejected")),
        ({"status": 500}, (502, -32015, "status_500")),
        ({"hang_up": True}, (502, -32015, "network")),
        ({"after_seconds": 3, "fields": {}}, (504, -32015, "timeout")),
        ({"body": b"<html>"}, (502, -32015, "not_json")),
    ],
)
def test_the_caller_is_told_whom_to_ask(
    agent: Agent,
    robot: MCPServer,
    upstream: FakeMcpServer,
    far_side: TokenEndpoint,
    settings: Settings,
    answer: dict[str, Any],
    expected: tuple[int, int, str],
) -> None:
    settings.AIGW_TOKEN_ENDPOINT_TIMEOUT_SECONDS = 1
    far_side.will(**answer)
    assert failure(agent.call()) == expected
    again = agent.call()
    assert failure(again)[1] == -32015
    assert "robot-secret" not in again.text
    assert len(far_side.token_requests) == 1
    assert upstream.requests == []


def test_a_secret_that_is_gone_is_named(agent: Agent, robot: MCPServer) -> None:
    Secret.objects.all().delete()
    assert failure(agent.call()) == (200, -32016, "ROBOT_SECRET")


def test_a_rotated_secret_counts_within_a_second(
    agent: Agent, robot: MCPServer, far_side: TokenEndpoint, superuser: User
) -> None:
    assert said(agent.call()) == "Bearer access-1"
    secrets.write(Secret.objects.get(), "another", actor=superuser)
    counter.drop_remembered()  # as the poll does, twice a second
    assert said(agent.call()) == "Bearer access-2"
    assert far_side.token_requests[1].client == ("robot", "another")


def test_a_stored_token_serves_after_a_restart(agent: Agent, robot: MCPServer, far_side: TokenEndpoint) -> None:
    said(agent.call())
    counter.drop_remembered()
    assert said(agent.call()) == "Bearer access-1"
    assert len(far_side.token_requests) == 1
    assert ServiceToken.objects.count() == 1


def test_discovery_uses_the_service_account(robot: MCPServer, far_side: TokenEndpoint, upstream: FakeMcpServer) -> None:
    discovery.refresh_tools(robot, user_id=None)
    robot.refresh_from_db()
    assert [tool["name"] for tool in robot.tools] == ["whoami"]
    assert {request.header("authorization") for request in upstream.requests} == {"Bearer access-1"}
    far_side.will(status=401, fields={"error": "invalid_client"}, times=None)
    ServiceToken.objects.all().delete()
    with pytest.raises(discovery.DiscoveryFailed, match="invalid_client"):
        discovery.refresh_tools(robot, user_id=None)
    # Put right at the authorization server, where the gateway sees nothing of it: whoever refreshes the tools tries.
    far_side.always.clear()
    discovery.refresh_tools(robot, user_id=None)
    assert ServiceToken.objects.get().last_error == ""
