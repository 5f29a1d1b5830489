"""Lists of a server that answers each user as themselves are private, whatever the upstream calls them."""

import json
from typing import Any

import pytest
from django.contrib.auth.models import User

from tests import factories
from tests.dataplane.conftest import Agent
from tests.fakes.mcp_server import FakeMcpServer

CACHEABLE = ["tools/list", "prompts/list", "resources/list", "resources/templates/list", "resources/read"]


@pytest.fixture
def agent(gateway: str, upstream_url: str, alice: User) -> Agent:
    """Alice's agent of a server that gets her own token."""
    provider = factories.make_provider()
    seen = {"supported_versions": ["2026-07-28"]}
    factories.allow(alice, factories.make_server(url=upstream_url, provider=provider, capabilities=seen), "use")
    factories.make_vault_entry(alice, provider)
    return Agent(gateway, alice)


def answering(upstream: FakeMcpServer, scope: str, *, as_stream: bool = False) -> bytes:
    """Have the upstream answer with this scope; return the body."""
    result = {"resultType": "complete", "tools": [], "ttlMs": 60000, "cacheScope": scope, "x": "public"}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "result": result}, indent=1).encode()

    async def behave(request: Any, wire: Any) -> None:
        if as_stream:
            await wire.start()
            lines = b"".join(b"data: " + line + b"\n" for line in body.splitlines())
            await wire.piece(b"event: message\n" + lines + b"\n", more=False)
        else:
            await wire(200, body)

    upstream.behave = behave
    return body


@pytest.mark.parametrize("as_stream", [False, True])
@pytest.mark.parametrize("method", [*CACHEABLE, "server/discover"])
def test_what_one_user_is_told_is_private(agent: Agent, upstream: FakeMcpServer, method: str, as_stream: bool) -> None:
    answering(upstream, "public", as_stream=as_stream)
    result = agent.modern(method, {"uri": "a:b"} if method == "resources/read" else {}).json()["result"]
    assert (result["cacheScope"], result["ttlMs"], result["x"]) == ("private", 60000, "public")


def test_what_is_private_already_passes_untouched(agent: Agent, upstream: FakeMcpServer) -> None:
    body = answering(upstream, "private")
    assert agent.modern("tools/list").content == body


def test_what_is_everybodys_stays_so(agent: Agent, upstream: FakeMcpServer, upstream_url: str, alice: User) -> None:
    row = factories.make_server("open", url=upstream_url, capabilities={"supported_versions": ["2026-07-28"]})
    factories.allow(alice, row, "use")
    body = answering(upstream, "public")
    agent.url = agent.url.replace("/tools", "/open")
    assert agent.modern("tools/list").content == body


def test_a_list_that_breaks_off_is_an_error_of_the_contract(agent: Agent, upstream: FakeMcpServer) -> None:
    async def behave(request: Any, wire: Any) -> None:
        await wire.start(content_type="application/json")
        await wire.piece(b'{"jsonrpc"')
        raise ConnectionResetError

    upstream.behave = behave
    refused = agent.modern("tools/list")
    assert (refused.status_code, refused.json()["error"]["data"]["detail"]) == (502, "interrupted")


def test_an_answer_that_must_be_private_is_asked_for_uncompressed(agent: Agent, upstream: FakeMcpServer) -> None:
    asked: list[bytes] = []

    async def behave(request: Any, wire: Any) -> None:
        asked.extend(value for name, value in request.headers if name == b"accept-encoding")
        await wire.start(content_type="application/json", content_encoding="gzip")
        await wire.piece(b"whatever it says, it is not sent on", more=False)

    upstream.behave = behave
    refused = agent.modern("tools/list", Accept_Encoding="gzip")
    assert asked == [b"identity"]
    assert (refused.status_code, refused.json()["error"]["data"]["detail"]) == (502, "encoded")
