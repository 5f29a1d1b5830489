from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from connections import revocation
from mcpservers.models import MCPServer
from providers.models import OAuthProvider
from tests import factories
from tests.dataplane.conftest import MODERN, Agent
from tests.dataplane.test_relay import wait_for
from tests.fakes.mcp_server import FakeMcpServer, Request
from tests.fakes.token_endpoint import TokenEndpoint
from vault.models import VaultEntry

SEEN = {
    "protocol_version": "2025-11-25",
    "supported_versions": ["2025-06-18", "2025-11-25"],
    "capabilities": {"tools": {"listChanged": True}, "prompts": {}},
    "server_info": {"name": "real", "version": "3"},
    "instructions": "Use with care.",
    "prompts": [{"name": "greet"}],
}
TOOLS = [{"name": "whoami", "inputSchema": {"type": "object", "x-mcp-header": "kept"}}]


@pytest.fixture
def far_side() -> Iterator[TokenEndpoint]:
    """The authorization server of the provider."""
    with TokenEndpoint() as endpoint:
        yield endpoint


@pytest.fixture
def provider(transactional_db: None, far_side: TokenEndpoint) -> OAuthProvider:
    """GitHub, so to speak."""
    return factories.make_provider(**far_side.endpoints)


@pytest.fixture
def bound(gateway: str, upstream_url: str, provider: OAuthProvider, alice: User, bob: User) -> MCPServer:
    """A server that needs each user's own connection."""
    row = factories.make_server(url=upstream_url, provider=provider)
    for user in (alice, bob):
        factories.allow(user, row, "view", "use")
    return row


@pytest.fixture
def agent(gateway: str, bound: MCPServer, alice: User) -> Agent:
    """Alice's agent."""
    return Agent(gateway, alice)


def test_the_upstream_sees_the_person_and_nobody_elses_token(
    agent: Agent, gateway: str, upstream: FakeMcpServer, provider: OAuthProvider, alice: User, bob: User
) -> None:
    factories.make_vault_entry(alice, provider, access_token="alices-token")
    factories.make_vault_entry(bob, provider, access_token="bobs-token")
    assert agent.call().json()["result"]["content"][0]["text"] == "Bearer alices-token"
    assert Agent(gateway, bob).call().json()["result"]["content"][0]["text"] == "Bearer bobs-token"


def test_token_injection_names_header_and_prefix(
    agent: Agent, bound: MCPServer, upstream: FakeMcpServer, provider: OAuthProvider, alice: User
) -> None:
    factories.make_vault_entry(alice, provider, access_token="alices-token")
    bound.auth["token_injection"] = {"header_name": "X-Upstream-Token", "header_prefix": ""}
    bound.save()
    agent.call()
    assert upstream.requests[0].header("x-upstream-token") == "alices-token"
    assert upstream.requests[0].header("authorization") is None


def test_without_a_connection_the_call_answers_with_a_link(agent: Agent, upstream: FakeMcpServer, gateway: str) -> None:
    response = agent.call(id="seven")
    body = response.json()
    assert (response.status_code, body["id"], body["error"]["code"]) == (200, "seven", -32010)
    data = body["error"]["data"]
    assert set(data) == {"status", "reason", "server", "provider", "authorize_url", "scopes", "detail"}
    assert (data["status"], data["reason"]) == ("FAILED_PRECONDITION", "OAuthConnectionRequired")
    assert (data["server"], data["provider"], data["scopes"]) == ("tools", "github", ["read"])
    link = urlsplit(data["authorize_url"])
    assert f"{link.scheme}://{link.netloc}{link.path}" == f"{gateway}/oauth/v1/authorize"
    assert set(parse_qs(link.query)) == {"provider_name", "scopes", "ticket"}
    assert data["authorize_url"] in body["error"]["message"]
    assert upstream.requests == []


@pytest.mark.parametrize("meta", [None, [], "x"])
def test_a_client_that_writes_meta_oddly_gets_the_link_too(agent: Agent, meta: object) -> None:
    answer = agent.post("tools/call", {"name": "whoami", "_meta": meta})
    assert answer.json()["error"]["data"]["reason"] == "OAuthConnectionRequired"


def test_a_server_may_have_the_link_delivered_as_a_tool_result(agent: Agent, bound: MCPServer) -> None:
    bound.consent_delivery = "tool_result"
    bound.save()
    result = agent.call().json()["result"]
    assert result["isError"] is True
    assert result["_meta"]["aigateway/error"]["authorize_url"] in result["content"][0]["text"]
    assert agent.modern("tools/call", {"name": "whoami"}).json()["result"]["resultType"] == "complete"
    assert "error" in agent.post("resources/read", {"uri": "a:b"}).json()


def test_missing_scopes_ask_for_the_union(agent: Agent, bound: MCPServer, provider: OAuthProvider, alice: User) -> None:
    factories.make_vault_entry(alice, provider, scopes_granted=["read", "extra"])
    bound.auth["required_scopes"] = ["read", "write"]
    bound.save()
    error = agent.call().json()["error"]
    assert (error["code"], error["data"]["reason"]) == (-32012, "scope_upgrade_required")
    asked = parse_qs(urlsplit(error["data"]["authorize_url"]).query)["scopes"][0]
    assert set(asked.split(",")) == {"read", "write", "extra"}


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ({"access_token": None, "refresh_token": None, "attention_reason": "invalid_grant"}, "invalid_grant"),
        ({"refresh_token": None, "expires_at": timezone.now() - timedelta(hours=1)}, "no_refresh_token"),
    ],
)
def test_a_lapsed_connection_says_why(
    agent: Agent, provider: OAuthProvider, alice: User, fields: dict[str, object], detail: str
) -> None:
    factories.make_vault_entry(alice, provider, **fields)
    error = agent.call().json()["error"]
    assert (error["code"], error["data"]["reason"], error["data"]["detail"]) == (-32011, "OAuthTokenExpired", detail)
    assert error["data"]["authorize_url"]


@pytest.mark.parametrize("change", ["deleted", "disabled", "replaced"])
def test_a_provider_that_is_gone_is_named(agent: Agent, provider: OAuthProvider, alice: User, change: str) -> None:
    factories.make_vault_entry(alice, provider)
    if change == "disabled":
        provider.enabled = False
        provider.save()
    else:
        provider.delete()
    if change == "replaced":
        factories.make_provider("github")
    error = agent.call().json()["error"]
    assert (error["code"], error["data"]["reason"]) == (-32013, "OAuthProviderNotFound")
    assert "OAuth provider not found" in error["message"]
    assert error["data"]["authorize_url"] is None


@pytest.mark.threat("B07")
@pytest.mark.parametrize("still_valid", [True, False])
def test_a_provider_that_fails_stops_only_calls_that_need_it(
    agent: Agent, far_side: TokenEndpoint, provider: OAuthProvider, alice: User, still_valid: bool
) -> None:
    far_side.will(status=503, times=10)
    left = timedelta(seconds=60 if still_valid else -60)
    factories.make_vault_entry(
        alice, provider, expires_at=timezone.now() + left, connected_at=timezone.now() - timedelta(hours=1)
    )
    response = agent.call()
    if still_valid:
        assert response.json()["result"]["content"][0]["text"] == "Bearer upstream-access"
    else:
        assert response.status_code == 502
        assert response.json()["error"]["data"]["reason"] == "UpstreamUnavailable"
    assert VaultEntry.objects.get().refresh_token is not None


@pytest.mark.threat("B01")
def test_64_calls_on_an_expired_token_refresh_once(
    agent: Agent, far_side: TokenEndpoint, provider: OAuthProvider, alice: User, upstream: FakeMcpServer
) -> None:
    factories.make_vault_entry(alice, provider, expires_at=timezone.now() - timedelta(minutes=1))
    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(lambda id: agent.call(id=id).json(), range(64)))
    assert {answer["result"]["content"][0]["text"] for answer in answers} == {"Bearer access-1"}
    assert sorted(answer["id"] for answer in answers) == list(range(64))
    assert len(far_side.token_requests) == 1


@pytest.mark.threat("B13")
def test_a_token_that_lapsed_on_its_way_costs_one_refresh_a_call(
    agent: Agent, far_side: TokenEndpoint, provider: OAuthProvider, alice: User
) -> None:
    fields = {"access_token": "short", "refresh_token": "next", "token_type": "Bearer", "expires_in": 0.1}
    far_side.will(times=None, fields=fields, after_seconds=0.2)
    factories.make_vault_entry(alice, provider, expires_at=timezone.now() - timedelta(minutes=1))
    for n in (1, 2):
        assert agent.call().json()["result"]["content"][0]["text"] == "Bearer short"
        assert len(far_side.token_requests) == n


@pytest.mark.threat("B14")
def test_an_upstream_401_refreshes_once_and_repeats_the_call(
    agent: Agent, far_side: TokenEndpoint, provider: OAuthProvider, alice: User, upstream: FakeMcpServer
) -> None:
    factories.make_vault_entry(alice, provider)
    upstream.accepted_tokens = {"access-1"}
    assert agent.call().json()["result"]["content"][0]["text"] == "Bearer access-1"
    assert len(far_side.token_requests) == 1
    assert [request.body for request in upstream.requests] == [upstream.requests[0].body] * 2


@pytest.mark.threat("B14")
def test_a_second_401_asks_to_reconnect_and_does_not_leak_the_challenge(
    agent: Agent, far_side: TokenEndpoint, provider: OAuthProvider, alice: User, upstream: FakeMcpServer
) -> None:
    factories.make_vault_entry(alice, provider)
    upstream.accepted_tokens = set()
    response = agent.call()
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["data"]["detail"]) == (200, -32011, "upstream_rejected")
    assert "www-authenticate" not in response.headers
    assert "upstream.example" not in response.text
    assert len(upstream.requests) == 2
    assert len(far_side.token_requests) == 1


@pytest.mark.threat("A22", "D19")
@pytest.mark.parametrize("in_session", [False, True])
@pytest.mark.parametrize(
    ("challenge", "named"),
    [
        (
            'Bearer error="insufficient_scope", scope="repo:write files", resource_metadata="https://evil.example/"',
            True,
        ),
        ('Bearer realm="x", error=insufficient_scope, scope=repo:write', True),
        ('Basic realm="a", Bearer scope="repo:write", error="insufficient_scope"', True),
        ('Bearer error="insufficient_scope"', False),
    ],
)
def test_a_scope_that_the_upstream_lacks_is_named_with_one_link(
    agent: Agent, far_side: TokenEndpoint, provider: OAuthProvider, alice: User, upstream: FakeMcpServer,
    challenge: str, named: bool, in_session: bool,
) -> None:  # fmt: skip
    factories.make_vault_entry(alice, provider)
    if in_session:
        agent.initialize()

    async def behave(request: Request, answer: Callable[..., Awaitable[None]]) -> None:
        await answer(403, {"error": "insufficient_scope", "hint": "do not pass on"}, www_authenticate=challenge)

    upstream.behave = behave
    before = len(upstream.requests)
    response = agent.call()
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["data"]["detail"]) == (200, -32012, "insufficient_scope")
    assert ("repo:write" in error["data"]["scopes"]) == ("repo:write" in error["message"]) == named
    assert error["message"].count(error["data"]["authorize_url"]) == 1
    scopes = parse_qs(urlsplit(error["data"]["authorize_url"]).query)["scopes"][0]
    assert "repo:write" not in scopes  # what an upstream asks for by itself is no admin's word
    assert "evil.example" not in response.text + str(response.headers)
    assert "www-authenticate" not in response.headers
    assert (len(upstream.requests) - before, far_side.token_requests) == (1, [])


@pytest.mark.threat("A22")
@pytest.mark.parametrize("challenge", ["", 'Bearer error="invalid_request"', 'Bearer error="insufficient_scopes"'])
def test_another_403_passes_as_it_is(
    agent: Agent, provider: OAuthProvider, alice: User, upstream: FakeMcpServer, challenge: str
) -> None:
    factories.make_vault_entry(alice, provider)

    async def behave(request: Request, answer: Callable[..., Awaitable[None]]) -> None:
        await answer(
            403, {"jsonrpc": "2.0", "id": 7, "error": {"code": -32000, "message": "no"}}, www_authenticate=challenge
        )

    upstream.behave = behave
    response = agent.call()
    assert (response.status_code, response.json()["error"]["code"]) == (403, -32000)


@pytest.mark.threat("B13")
def test_an_upstream_that_refuses_every_token_costs_no_refresh_a_call(
    agent: Agent, far_side: TokenEndpoint, provider: OAuthProvider, alice: User, upstream: FakeMcpServer
) -> None:
    factories.make_vault_entry(alice, provider)
    upstream.accepted_tokens = set()
    for _ in range(5):
        assert agent.call().json()["error"]["data"]["detail"] == "upstream_rejected"
    assert len(far_side.token_requests) == 1
    upstream.accepted_tokens = {"access-1"}
    assert "result" in agent.call().json()


def test_the_gateway_answers_for_a_server_that_it_knows_while_the_user_is_not_connected(
    agent: Agent, bound: MCPServer, upstream: FakeMcpServer
) -> None:
    bound.tools, bound.capabilities, bound.tools_refreshed_at = TOOLS, SEEN, timezone.now()
    bound.save()
    hello = agent.initialize()
    assert (hello["protocolVersion"], hello["serverInfo"]) == ("2025-11-25", SEEN["server_info"])
    assert hello["capabilities"] == SEEN["capabilities"]
    assert hello["instructions"].startswith("Use with care.")
    assert agent.session
    assert agent.post("tools/list").json()["result"] == {"tools": TOOLS}
    assert agent.post("prompts/list").json()["result"] == {"prompts": [{"name": "greet"}]}
    assert agent.post("ping").json()["result"] == {}
    listed = agent.modern("tools/list").json()["result"]
    assert (listed["cacheScope"], listed["ttlMs"], listed["tools"]) == ("private", 0, TOOLS)
    found = agent.modern("server/discover").json()["result"]
    assert found["supportedVersions"] == [*SEEN["supported_versions"], "2026-07-28"]
    assert upstream.requests == []


def test_a_client_of_an_older_revision_is_answered_in_it(agent: Agent) -> None:
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "old", "version": "1"}}
    assert agent.post("initialize", hello).json()["result"]["protocolVersion"] == "2025-06-18"
    hello["protocolVersion"] = "1999-01-01"
    assert agent.post("initialize", hello).json()["result"]["protocolVersion"] == "2025-11-25"


@pytest.mark.parametrize("method", ["tools/list", "server/discover", "tools/call"])
def test_a_revision_that_nobody_knows_is_refused_with_those_that_are_served(agent: Agent, method: str) -> None:
    meta = {**MODERN, "io.modelcontextprotocol/protocolVersion": "2099-01-01"}
    answer = agent.post(method, {"name": "whoami", "_meta": meta}, MCP_Protocol_Version="2099-01-01")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["data"]["requested"]) == (400, -32022, "2099-01-01")
    assert "2026-07-28" in error["data"]["supported"]


def test_a_session_goes_on_only_in_a_revision_that_is_known(agent: Agent) -> None:
    agent.initialize()
    assert agent.post("tools/list", MCP_Protocol_Version="1999-01-01").status_code == 400
    assert agent.post("tools/list", MCP_Protocol_Version="2025-11-25").status_code == 200


def test_a_server_never_asked_offers_connect_account(agent: Agent, upstream: FakeMcpServer) -> None:
    agent.initialize()
    [tool] = agent.post("tools/list").json()["result"]["tools"]
    assert tool["name"] == "connect_account"
    result = agent.call("connect_account").json()["result"]
    assert result["isError"] is False
    assert "/oauth/v1/authorize?" in result["content"][0]["text"]
    assert result["_meta"]["aigateway/error"]["reason"] == "OAuthConnectionRequired"
    assert upstream.requests == []


def test_connect_account_tells_the_connected_to_list_again(agent: Agent, provider: OAuthProvider, alice: User) -> None:
    factories.make_vault_entry(alice, provider)
    assert "is connected" in agent.call("connect_account").json()["result"]["content"][0]["text"]


def test_the_upstream_session_opens_when_it_is_first_needed(
    agent: Agent, provider: OAuthProvider, alice: User, upstream: FakeMcpServer
) -> None:
    agent.initialize()
    assert agent.call().json()["error"]["code"] == -32010
    assert upstream.requests == []
    factories.make_vault_entry(alice, provider)
    assert agent.call().json()["result"]["content"][0]["text"] == "Bearer upstream-access"
    assert upstream.methods() == ["initialize", "notifications/initialized", "tools/call"]
    assert upstream.requests[0].message["params"]["clientInfo"]["name"] == "tests"
    assert upstream.requests[2].header("mcp-session-id") in upstream.sessions
    agent.call()
    assert upstream.methods()[3:] == ["tools/call"]


def test_two_calls_at_once_open_one_session(
    agent: Agent, provider: OAuthProvider, alice: User, upstream: FakeMcpServer
) -> None:
    agent.initialize()
    factories.make_vault_entry(alice, provider)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: agent.call().status_code, range(8)))
    assert answers == [200] * 8
    assert upstream.methods().count("initialize") == 1


@pytest.mark.threat("D22")
def test_a_session_belongs_to_its_user_and_server(
    agent: Agent, gateway: str, provider: OAuthProvider, alice: User, bob: User, upstream: FakeMcpServer
) -> None:
    factories.make_vault_entry(alice, provider)
    factories.make_vault_entry(bob, provider)
    agent.initialize()
    assert agent.session
    assert agent.session not in upstream.sessions
    thief = Agent(gateway, bob)
    thief.session = agent.session
    seen = len(upstream.requests)
    for response in (thief.call(), thief.send(b'{"jsonrpc":"2.0","id":1,"method":"ping"}', Mcp_Session_Id="made-up")):
        assert (response.status_code, response.json()["error"]["code"]) == (404, -32001)
    assert len(upstream.requests) == seen


def test_a_session_that_the_upstream_forgot_is_404_for_the_client_too(
    agent: Agent, provider: OAuthProvider, alice: User, upstream: FakeMcpServer
) -> None:
    factories.make_vault_entry(alice, provider)
    agent.initialize()
    upstream.sessions.clear()
    assert [agent.call().status_code, agent.call().status_code] == [404, 404]
    assert upstream.methods().count("tools/call") == 1


def test_delete_ends_the_session_on_both_sides(
    agent: Agent, provider: OAuthProvider, alice: User, upstream: FakeMcpServer
) -> None:
    import requests

    factories.make_vault_entry(alice, provider)
    agent.initialize()
    headers = {**agent.headers, "Mcp-Session-Id": agent.session}
    assert requests.delete(agent.url, headers=headers, timeout=5).status_code == 200
    assert upstream.sessions == set()
    assert agent.call().status_code == 404


def test_a_session_streams_once_connected_and_says_405_before(
    agent: Agent, provider: OAuthProvider, alice: User, upstream: FakeMcpServer
) -> None:
    import requests

    agent.initialize()
    headers = {**agent.headers, "Mcp-Session-Id": agent.session}
    assert requests.get(agent.url, headers=headers, timeout=5).status_code == 405
    factories.make_vault_entry(alice, provider)
    with requests.get(agent.url, headers=headers, timeout=5, stream=True) as stream:
        assert stream.headers["content-type"] == "text/event-stream"
        assert next(stream.iter_content(None)) == b"id: 1\ndata: hello\n\n"
    wait_for(lambda: upstream.open_streams == 0, seconds=2)


@pytest.mark.threat("B17")
def test_a_disconnected_user_is_asked_at_the_next_call(
    agent: Agent, provider: OAuthProvider, alice: User, far_side: TokenEndpoint
) -> None:
    factories.make_vault_entry(alice, provider)
    assert "result" in agent.call().json()
    revocation.disconnect(alice.pk, provider.uid, reason="user_disconnected", actor=alice)
    assert agent.call().json()["error"]["data"]["reason"] == "OAuthConnectionRequired"


@pytest.mark.threat("C02", "C09")
def test_a_token_that_was_moved_here_is_not_sent(
    agent: Agent, provider: OAuthProvider, alice: User, bob: User, upstream: FakeMcpServer
) -> None:
    stolen = factories.make_vault_entry(bob, provider, access_token="bobs-token")
    mine = factories.make_vault_entry(alice, provider)
    VaultEntry.objects.filter(pk=mine.pk).update(access_token=stolen.access_token)
    assert agent.call().json()["error"]["code"] == -32010
    assert upstream.requests == []


@pytest.mark.threat("A18")
def test_a_provider_that_moved_gets_no_old_token(agent: Agent, provider: OAuthProvider, alice: User) -> None:
    factories.make_vault_entry(alice, provider)
    OAuthProvider.objects.filter(pk=provider.pk).update(token_endpoint="http://127.0.0.1:9/other")
    assert agent.call().json()["error"]["data"]["reason"] == "OAuthConnectionRequired"
