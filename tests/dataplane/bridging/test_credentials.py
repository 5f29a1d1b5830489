"""The gateway's own work in front of a bridge: consent, injection, one renewal after a 401, no word of it to agents."""

import json
import threading
import time
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from mcp.types import ElicitResult
from pytest_django import Settings

from changes import counter
from connections.database import run_in_thread
from mcpservers.models import MCPServer
from providers.models import OAuthProvider
from tests import factories
from tests.dataplane.bridging.conftest import BRIDGED, OpenClient
from tests.dataplane.conftest import Agent
from tests.dataplane.test_relay import wait_for
from tests.fakes.era_server import MODERN, EraServer
from tests.fakes.token_endpoint import TokenEndpoint
from vault import sealing
from vault.models import Secret, VaultEntry

pytestmark = pytest.mark.parametrize("pair", BRIDGED, indirect=True, ids=lambda pair: f"{pair[0]}-to-{pair[1]}")


@pytest.fixture
def provider(transactional_db: None) -> OAuthProvider:
    """The provider that the server needs."""
    return factories.make_provider()


@pytest.fixture
def bound(bridged: MCPServer, provider: OAuthProvider, era: EraServer, settings: Settings) -> MCPServer:
    """The server, which needs its user's own token."""
    settings.AIGW_CONSENT_WAIT_SECONDS = 5.0
    bridged.auth = {"mode": "user_oauth", "provider_name": provider.name, "required_scopes": ["read"]}
    bridged.provider_uid = provider.uid
    bridged.save()
    era.accepted_tokens = {"alices-token"}
    return bridged


def consent_soon(user: User, provider: OAuthProvider) -> threading.Thread:
    """Have `user` consent a moment later, in another thread."""

    def run() -> None:
        time.sleep(0.4)
        factories.make_vault_entry(user, provider, access_token="alices-token")
        counter.announce()
        connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


async def test_a_call_completes_after_a_consent_in_between(
    open_client: OpenClient, bound: MCPServer, provider: OAuthProvider, alice: User, era: EraServer
) -> None:
    opened: list[str] = []
    consents: list[threading.Thread] = []

    async def answer(_: Any, params: Any) -> ElicitResult:
        if params.mode == "url":
            opened.append(params.url)
            consents.append(consent_soon(alice, provider))
            return ElicitResult(action="accept")
        return ElicitResult(action="accept", content={"colour": "red"})

    async with open_client(elicitation_callback=answer) as client:
        assert (await client.call_tool("paint", {"thing": "x"})).content[0].text == "x is red"
    assert len(opened) == 1
    assert era.calls == ["paint x"]
    for thread in consents:
        await run_in_thread(thread.join)


async def test_each_user_has_a_session_of_their_own(
    open_client: OpenClient, bound: MCPServer, provider: OAuthProvider, alice: User, bob: User, era: EraServer
) -> None:
    def connect() -> None:
        factories.allow(bob, bound, "use")
        factories.make_vault_entry(alice, provider, access_token="alices-token")
        factories.make_vault_entry(bob, provider, access_token="bobs-token")

    await run_in_thread(connect)
    era.accepted_tokens = {"alices-token", "bobs-token"}
    async with open_client() as hers, open_client(user=bob) as his:
        for client in (hers, his, hers, his):
            await client.call_tool("echo", {"text": "a"})
    by_session: dict[str, set[str]] = {}
    for request in era.requests:
        if session := request.get("mcp-session-id"):
            by_session.setdefault(session, set()).add(request["authorization"])
    assert all(len(tokens) == 1 for tokens in by_session.values())
    assert {request["authorization"] for request in era.requests} == {"Bearer alices-token", "Bearer bobs-token"}


async def test_a_new_credential_is_used_and_the_agent_never_sees_it(
    open_client: OpenClient, bridged: MCPServer, era: EraServer
) -> None:
    def set_key(value: str) -> None:
        secret = Secret.objects.filter(name="ERA_KEY").first() or factories.make_secret("ERA_KEY", value)
        secret.value = sealing.seal(secret, "value", value)
        secret.save()
        bridged.auth = {"mode": "static_key", "key_ref": "ERA_KEY"}
        bridged.save()
        counter.announce()

    await run_in_thread(set_key, "first-key")
    era.accepted_tokens = {"first-key"}
    async with open_client() as client:
        await client.call_tool("echo", {"text": "a"})
        await run_in_thread(set_key, "second-key")
        era.accepted_tokens = {"second-key"}
        assert (await client.call_tool("echo", {"text": "b"})).content[0].text == "b"
    assert era.calls == ["a", "b"]


@pytest.mark.threat("B14", "H01", "D19")
def test_an_upstream_401_is_renewed_once_or_ends_as_expired(
    bound: MCPServer, gateway: str, provider: OAuthProvider, alice: User, era: EraServer, pair: tuple[str, str]
) -> None:
    factories.make_vault_entry(alice, provider, access_token="refused-token", refresh_token=None)
    agent = Agent(gateway, alice, bound.name)
    if pair[0] == MODERN:
        from tests.dataplane.bridging.test_unhappy import call

        refused = call(agent, "echo", arguments={"text": "a"})
    else:
        refused = agent.post("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {}})
    error = refused.json()["error"]
    assert error["code"] == -32011
    assert error["data"]["reason"] == "OAuthTokenExpired"
    assert "refused-token" not in json.dumps(error) + str(refused.headers)
    assert "www-authenticate" not in refused.headers
    assert era.calls == []


@pytest.mark.threat("B14", "D20")
def test_after_a_401_the_token_is_renewed_and_the_call_made_again(
    bound: MCPServer, gateway: str, provider: OAuthProvider, alice: User, era: EraServer, pair: tuple[str, str]
) -> None:
    from tests.dataplane.bridging.test_unhappy import call

    with TokenEndpoint() as far_side:
        provider.token_endpoint = far_side.endpoints["token_endpoint"]
        provider.save()
        factories.make_vault_entry(alice, provider, access_token="alices-token")
        counter.announce()
        agent = Agent(gateway, alice, bound.name)
        if pair[0] != MODERN:
            agent.initialize()
        assert _echoed(agent, pair, call) == "a"
        era.accepted_tokens = {"access-1"}  # what the provider gives next: the upstream knows the old one no more
        assert _echoed(agent, pair, call) == "a"
        assert len(far_side.token_requests) == 1
        assert era.calls == ["a", "a"]
        assert _echoed(agent, pair, call) == "a"
        assert len(far_side.token_requests) == 1


@pytest.mark.threat("A22")
def test_a_scope_that_the_upstream_lacks_is_named(
    bound: MCPServer, gateway: str, provider: OAuthProvider, alice: User, era: EraServer, pair: tuple[str, str]
) -> None:
    from tests.dataplane.bridging.test_unhappy import call

    factories.make_vault_entry(alice, provider, access_token="alices-token")
    agent = Agent(gateway, alice, bound.name)
    if pair[0] != MODERN:
        agent.initialize()
    assert _echoed(agent, pair, call) == "a"
    era.lacking = "files:write"
    if pair[0] == MODERN:
        refused = call(agent, "echo", arguments={"text": "b"})
    else:
        refused = agent.post("tools/call", {"name": "echo", "arguments": {"text": "b"}})
    error = refused.json()["error"]
    assert (error["code"], error["data"]["scopes"]) == (-32012, ["files:write"])
    assert era.calls == ["a"]


def _echoed(agent: Agent, pair: tuple[str, str], call: Any) -> str:
    if pair[0] == MODERN:
        answer = call(agent, "echo", arguments={"text": "a"})
    else:
        answer = agent.post("tools/call", {"name": "echo", "arguments": {"text": "a"}})
    return str(answer.json()["result"]["content"][0]["text"])


def test_who_disconnects_has_nothing_open_a_moment_later(
    bound: MCPServer, gateway: str, provider: OAuthProvider, alice: User, era: EraServer, pair: tuple[str, str]
) -> None:
    from mcpservers.dataplane.bridging import keeping
    from tests.dataplane.bridging.test_unhappy import call

    factories.make_vault_entry(alice, provider, access_token="alices-token")
    agent = Agent(gateway, alice, bound.name)
    if pair[0] == MODERN:
        assert "result" in call(agent, "echo", arguments={"text": "a"}).json()
    else:
        agent.initialize()
    VaultEntry.objects.all().delete()
    counter.announce()
    wait_for(lambda: not any(len(pool.kept) for pool, _ in keeping._pools.values()), seconds=10)
