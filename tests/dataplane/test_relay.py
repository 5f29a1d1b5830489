import asyncio
import socket
import threading
import time
from typing import Any

import pytest
import requests
from django.contrib.auth.models import User
from pytest_django import Settings

from mcpservers.models import MCPServer
from tests import factories
from tests.dataplane.conftest import Agent
from tests.fakes.mcp_server import FakeMcpServer


def test_a_call_passes_byte_for_byte_both_ways(agent: Agent, upstream: FakeMcpServer) -> None:
    body = b'{"jsonrpc": "2.0",  "id": "caf\xc3\xa9", "method": "tools/call", "params": {"name": "x", "n": 1e3}}'
    answered = b'{"result":  {"content": []}, "id": "caf\xc3\xa9", "jsonrpc": "2.0"}\n'

    async def behave(request: Any, wire: Any) -> None:
        await wire(200, answered)

    upstream.behave = behave
    response = agent.send(body)
    assert response.content == answered
    assert upstream.requests[0].body == body
    assert response.headers["x-accel-buffering"] == "no"
    assert "no-transform" in response.headers["cache-control"]


@pytest.mark.threat("D01")
def test_the_callers_token_reaches_the_upstream_in_no_header_query_or_body(
    agent: Agent, upstream: FakeMcpServer
) -> None:
    agent.url += f"?token={agent.token}"
    agent.post("tools/list", X_Debug=f"me={agent.token}", X_Api_Key=agent.token)
    [seen] = upstream.requests
    assert seen.header("authorization") is None
    assert agent.token.encode() not in b"".join(k + v for k, v in seen.headers) + seen.query + seen.body


@pytest.mark.threat("D01")
def test_a_body_that_holds_the_callers_token_is_not_sent_on(agent: Agent, upstream: FakeMcpServer) -> None:
    response = agent.post("tools/call", {"name": "x", "arguments": {"note": agent.token}})
    assert response.status_code == 400
    assert agent.token not in response.text
    assert upstream.requests == []


@pytest.mark.threat("D02")
def test_the_callers_own_credentials_and_route_are_dropped(agent: Agent, upstream: FakeMcpServer) -> None:
    agent.post(
        "tools/list",
        Cookie="a=b",
        Proxy_Authorization="Basic eDp5",
        X_Forwarded_For="1.2.3.4",
        Forwarded="for=1.2.3.4",
        X_Upstream_Authorization="Bearer theirs",
        Connection="X-Private",
        X_Private="hop",
        X_MCP_Toolsets="repos",
        MCP_Protocol_Version="2025-11-25",
        Last_Event_ID="5",
    )
    names = {name for name, _ in upstream.requests[0].headers}
    gone = (
        b"authorization cookie proxy-authorization x-forwarded-for forwarded x-upstream-authorization x-private origin"
    )
    assert not names & set(gone.split())
    assert {b"x-mcp-toolsets", b"mcp-protocol-version", b"last-event-id", b"accept"} <= names


@pytest.mark.threat("D02")
def test_a_name_that_a_server_may_take_for_another_is_dropped(agent: Agent, upstream: FakeMcpServer) -> None:
    lookalikes = ("mcp_session_id", "X_Forwarded_For", "x-key_", "_", "Content_Length")
    kept = {"Mcp-Param-repo_name": "a", "X-Mcp-Toolsets": "repos"}
    body = b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}'
    requests.post(agent.url, data=body, headers={**agent.headers, **dict.fromkeys(lookalikes, "5"), **kept}, timeout=5)
    names = {name for name, _ in upstream.requests[0].headers}
    assert {name for name in names if b"_" in name} == {b"mcp-param-repo_name"}
    assert b"x-mcp-toolsets" in names


@pytest.mark.threat("D02")
def test_a_static_key_replaces_what_the_caller_sent(
    gateway: str, upstream_url: str, upstream: FakeMcpServer, alice: User
) -> None:
    factories.make_secret("MCP_API_KEY", "the-servers-key")
    auth = {"mode": "static_key", "key_ref": "MCP_API_KEY", "header_name": "X-Key", "header_prefix": ""}
    factories.allow(alice, factories.make_server(url=upstream_url, auth=auth), "use")
    Agent(gateway, alice).post("tools/list", X_Key="mine")
    assert upstream.requests[0].header("x-key") == "the-servers-key"
    assert upstream.requests[0].header("authorization") is None


@pytest.mark.threat("D02")
@pytest.mark.parametrize("name", ["X_Key", "X-Key", "x_KEY", "X_Api-Key"])
def test_what_a_server_may_take_for_its_credential_is_dropped(
    gateway: str, upstream_url: str, upstream: FakeMcpServer, alice: User, name: str
) -> None:
    factories.make_secret("MCP_API_KEY", "the-servers-key")
    auth = {"mode": "static_key", "key_ref": "MCP_API_KEY", "header_name": name, "header_prefix": ""}
    factories.allow(alice, factories.make_server(url=upstream_url, auth=auth), "use")
    agent = Agent(gateway, alice)
    own = dict.fromkeys(("X-Key", "X_Key", "x_key", "x-KEY", "X-Api-Key", "X_Api_Key"), "mine")
    requests.post(
        agent.url, data=b'{"jsonrpc":"2.0","id":1,"method":"ping"}', headers={**agent.headers, **own}, timeout=5
    )
    read_as = [(key.replace(b"_", b"-"), value) for key, value in upstream.requests[0].headers]
    wanted = name.lower().replace("_", "-").encode()
    assert [value for key, value in read_as if key == wanted] == [b"the-servers-key"]


@pytest.mark.threat("D03")
@pytest.mark.parametrize("stored", ["key\r\nX-Evil: 1", "key\x00", " key", "kéy"])
def test_a_key_that_no_header_can_carry_is_refused_at_use(
    gateway: str, upstream_url: str, upstream: FakeMcpServer, alice: User, stored: str
) -> None:
    factories.make_secret("MCP_API_KEY", stored)
    auth = {"mode": "static_key", "key_ref": "MCP_API_KEY"}
    factories.allow(alice, factories.make_server(url=upstream_url, auth=auth), "use")
    response = Agent(gateway, alice).post("tools/list")
    assert response.json()["error"]["data"]["detail"] == "invalid_credential"
    assert stored not in response.text
    assert upstream.requests == []


@pytest.mark.threat("D03", "D04")
@pytest.mark.parametrize("name", ["Host", "X-A\r\nX-Evil", "Content-Length", ":path", "Mcp-Session-Id", ""])
def test_a_header_name_that_reached_the_database_is_refused_at_use(
    gateway: str, upstream_url: str, upstream: FakeMcpServer, alice: User, name: str
) -> None:
    factories.make_secret("MCP_API_KEY", "key")
    auth = {"mode": "static_key", "key_ref": "MCP_API_KEY", "header_name": name}
    factories.allow(alice, factories.make_server(url=upstream_url, auth=auth), "use")
    assert Agent(gateway, alice).post("tools/list").json()["error"]["data"]["detail"] == "invalid_header"
    assert upstream.requests == []


def test_a_missing_key_names_the_secret(gateway: str, upstream_url: str, alice: User) -> None:
    auth = {"mode": "static_key", "key_ref": "NOT_THERE"}
    factories.allow(alice, factories.make_server(url=upstream_url, auth=auth), "use")
    error = Agent(gateway, alice).post("tools/list", id="q").json()
    assert (error["id"], error["error"]["code"]) == ("q", -32016)
    assert error["error"]["message"] == "Secret NOT_THERE not found"


@pytest.mark.threat("D05")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(agent: Agent, upstream: FakeMcpServer, status: int) -> None:
    async def behave(request: Any, wire: Any) -> None:
        await wire(status, b"", location="/elsewhere")

    upstream.behave = behave
    response = agent.post("tools/list")
    assert response.status_code == 502
    assert response.json()["error"]["data"]["detail"] == "redirect_refused"
    assert len(upstream.requests) == 1
    assert "location" not in response.headers


@pytest.mark.threat("D06")
def test_the_upstreams_own_headers_stay_behind(agent: Agent, upstream: FakeMcpServer) -> None:
    async def behave(request: Any, wire: Any) -> None:
        await wire(
            200,
            {"jsonrpc": "2.0", "id": 1, "result": {}},
            set_cookie="aigw_session=stolen",
            www_authenticate="Bearer",
            server="upstream/1",
            access_control_allow_origin="*",
            strict_transport_security="max-age=1",
            mcp_custom="kept",
            retry_after="3",
        )

    upstream.behave = behave
    headers = agent.post("tools/list").headers
    for name in ("set-cookie", "www-authenticate", "access-control-allow-origin", "strict-transport-security"):
        assert name not in headers
    assert "upstream" not in headers.get("server", "")
    assert (headers["mcp-custom"], headers["retry-after"]) == ("kept", "3")


@pytest.mark.threat("D08")
@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1", "http://127.0.0.1:1"])
def test_a_page_of_another_site_cannot_call(agent: Agent, upstream: FakeMcpServer, origin: str) -> None:
    assert agent.post("tools/list", Origin=origin).status_code == 403
    assert upstream.requests == []


@pytest.mark.threat("D08")
def test_a_forged_host_is_refused(agent: Agent, upstream: FakeMcpServer) -> None:
    assert agent.post("tools/list", Host="evil.example").status_code == 400
    assert upstream.requests == []


@pytest.mark.threat("D09")
@pytest.mark.parametrize(
    "headers", [{"Mcp_Method": "tools/list"}, {"Mcp_Name": "other"}, {"MCP_Protocol_Version": "2025-11-25"}]
)
def test_headers_that_contradict_the_body_are_refused(
    agent: Agent, upstream: FakeMcpServer, headers: dict[str, str]
) -> None:
    params = {"name": "whoami", "arguments": {}, "_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}}
    response = agent.post("tools/call", params, **headers)
    assert (response.status_code, response.json()["error"]["code"]) == (400, -32020)
    assert upstream.requests == []


@pytest.mark.threat("D10")
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"[" * 100_000 + b"]" * 100_000, 400),
        (b"[" + b'{"jsonrpc":"2.0","method":"x"},' * 9999 + b'{"jsonrpc":"2.0","method":"x"}]', 400),
        (b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":"' + b"x" * 5_000_000 + b'"}}', 413),
        (b"not json", 400),
        (b"\xff\xfe", 400),
        (b'{"id":1,"method":"x"}', 400),
        (b'{"jsonrpc":"2.0","id":true,"method":"x"}', 400),
        (b'{"jsonrpc":"2.0","id":null,"method":"x"}', 400),
        (b'{"jsonrpc":"2.0","id":NaN,"method":"x"}', 400),
        (b'{"jsonrpc":"2.0","id":1,"method":"x","params":[1]}', 400),
    ],
)
def test_a_body_that_is_no_single_message_is_refused_at_once(
    agent: Agent, upstream: FakeMcpServer, body: bytes, status: int
) -> None:
    started = time.monotonic()
    try:
        response = agent.send(body)
    except requests.ConnectionError:
        assert status == 413  # the connection is closed before the whole body was sent
    else:
        assert response.status_code == status
    assert time.monotonic() - started < 1
    assert upstream.requests == []


@pytest.mark.threat("D12")
def test_time_to_first_byte_has_a_limit(agent: Agent, upstream: FakeMcpServer, settings: Settings) -> None:
    settings.AIGW_UPSTREAM_FIRST_BYTE_TIMEOUT_SECONDS = 1.0

    async def behave(request: Any, wire: Any) -> None:
        await wire.until_left()

    upstream.behave = behave
    started = time.monotonic()
    response = agent.post("tools/list")
    assert (response.status_code, response.json()["error"]["code"]) == (504, -32015)
    assert time.monotonic() - started == pytest.approx(1.0, rel=0.1, abs=0.1)
    wait_for(lambda: upstream.open_streams == 0)


@pytest.mark.threat("D12")
def test_a_stalled_body_is_cut_at_the_idle_limit(agent: Agent, upstream: FakeMcpServer, settings: Settings) -> None:
    settings.AIGW_UPSTREAM_IDLE_TIMEOUT_SECONDS = 1.0

    async def behave(request: Any, wire: Any) -> None:
        await wire.start()
        await wire.piece(b"data: begun\n\n")
        await wire.until_left()

    upstream.behave = behave
    started = time.monotonic()
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        agent.post("tools/list")
    assert time.monotonic() - started == pytest.approx(1.0, rel=0.1, abs=0.15)
    wait_for(lambda: upstream.open_streams == 0)


@pytest.mark.threat("D12")
def test_nobody_listening_is_502(gateway: str, alice: User) -> None:
    factories.allow(alice, factories.make_server(url="http://127.0.0.1:9/mcp"), "use")
    response = Agent(gateway, alice).post("tools/list")
    assert response.status_code == 502
    assert response.json()["error"]["data"]["reason"] == "UpstreamUnavailable"
    assert response.json()["error"]["data"]["status"] == "UNAVAILABLE"


@pytest.mark.threat("D12")
def test_an_upstream_that_never_accepts_is_given_up(gateway: str, alice: User, settings: Settings) -> None:
    settings.AIGW_UPSTREAM_FIRST_BYTE_TIMEOUT_SECONDS = 1.0
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        factories.allow(alice, factories.make_server(url=f"http://127.0.0.1:{address[1]}/mcp"), "use")
        started = time.monotonic()
        assert Agent(gateway, alice).post("tools/list").status_code == 504
        assert time.monotonic() - started < 2
        for filler in fillers:
            filler.close()


@pytest.mark.threat("E01", "E02")
def test_an_address_that_is_not_allowed_is_not_reached(
    agent: Agent, upstream: FakeMcpServer, settings: Settings
) -> None:
    settings.AIGW_OUTBOUND_ALLOW = []
    response = agent.post("tools/list")
    assert response.status_code == 502
    assert upstream.requests == []


def test_events_arrive_as_they_are_sent(agent: Agent, upstream: FakeMcpServer) -> None:
    go_on = threading.Event()

    async def behave(request: Any, wire: Any) -> None:
        await wire.start()
        await wire.piece(b"event: message\nid: 1\nretry: 10\ndata: one\n\n")
        while not go_on.is_set():
            await asyncio.sleep(0.01)
        await wire.piece(b"data: two\n\n", more=False)

    upstream.behave = behave
    with requests.post(
        agent.url, json={"jsonrpc": "2.0", "id": 1, "method": "x"}, headers=agent.headers, stream=True, timeout=10
    ) as response:
        pieces = response.iter_content(None)
        assert next(pieces) == b"event: message\nid: 1\nretry: 10\ndata: one\n\n"
        go_on.set()
        assert b"".join(pieces) == b"data: two\n\n"


@pytest.mark.threat("D13")
def test_a_caller_that_leaves_closes_the_upstream(agent: Agent, upstream: FakeMcpServer) -> None:
    async def behave(request: Any, wire: Any) -> None:
        await wire.start()
        await wire.piece(b"data: one\n\n")
        await wire.until_left()

    upstream.behave = behave
    threads = threading.active_count()
    for _ in range(20):
        response = requests.post(
            agent.url, json={"jsonrpc": "2.0", "id": 1, "method": "x"}, headers=agent.headers, stream=True, timeout=10
        )
        next(response.iter_content(None))
        response.close()
    wait_for(lambda: upstream.closed_streams == 20, seconds=2)
    assert upstream.open_streams == 0
    assert threading.active_count() <= threads + 2


@pytest.mark.threat("D16")
def test_unknown_unviewable_and_misspelt_servers_are_the_same_404(gateway: str, agent: Agent, bob: User) -> None:
    stranger = Agent(gateway, bob)
    answers = []
    for name in ("tools", "no-such-server", "Tools!", "tools/extra", ""):
        stranger.url = f"{gateway}/mcp/v1/{name}"
        response = stranger.post("tools/list")
        answers.append((response.status_code, response.json()["errors"]))
    assert answers[0][0] == 404
    assert all(answer == answers[0] for answer in answers)


@pytest.mark.threat("D16")
def test_a_server_that_one_may_see_but_not_use_is_403(gateway: str, server: MCPServer, bob: User) -> None:
    factories.allow(bob, server, "view")
    response = Agent(gateway, bob).post("tools/list")
    assert response.status_code == 403
    assert "mcpservers.use_mcpserver" in response.json()["errors"][0]["detail"]


@pytest.mark.threat("D16")
def test_a_disabled_server_says_so(agent: Agent, server: MCPServer, upstream: FakeMcpServer) -> None:
    server.enabled = False
    server.save()
    error = agent.post("tools/list").json()["error"]
    assert (error["code"], error["data"]["reason"]) == (-32014, "ServerDisabled")
    assert upstream.requests == []


@pytest.mark.threat("F01", "F02")
def test_without_a_token_in_the_header_it_is_401(agent: Agent, upstream: FakeMcpServer) -> None:
    anonymous = requests.post(f"{agent.url}?access_token={agent.token}", json={}, timeout=5)
    wrong = agent.post("tools/list", Authorization="Bearer aigw_wrong")
    for response in (anonymous, wrong):
        assert response.status_code == 401
        assert response.headers["www-authenticate"].startswith("Bearer")
        assert "create_token" in response.text
    assert upstream.requests == []


@pytest.mark.threat("F08")
def test_guesses_are_limited_and_a_right_token_still_passes(agent: Agent) -> None:
    statuses = [agent.post("ping", Authorization=f"Bearer aigw_guess{n}").status_code for n in range(52)]
    assert statuses[:50] == [401] * 50
    assert statuses[50:] == [429] * 2
    assert agent.call().status_code == 200


@pytest.mark.threat("D23")
@pytest.mark.parametrize("method", ["PUT", "PATCH", "OPTIONS", "TRACE", "HEAD"])
def test_other_methods_are_405(agent: Agent, upstream: FakeMcpServer, method: str) -> None:
    response = requests.request(method, agent.url, headers=agent.headers, timeout=5)
    assert response.status_code == 405
    assert upstream.requests == []


@pytest.mark.threat("D20")
def test_a_call_that_breaks_off_is_not_sent_twice(agent: Agent, upstream: FakeMcpServer) -> None:
    async def behave(request: Any, wire: Any) -> None:
        raise ConnectionResetError

    upstream.behave = behave
    response = agent.call()
    assert response.status_code in {500, 502}
    assert len(upstream.requests) == 1


def wait_for(condition: Any, seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
