"""An upstream that fails in a row is left alone; nothing that a caller does brings that about."""

import asyncio
import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from django.contrib.auth.models import User
from pytest_django import Settings

from mcpservers.dataplane import circuits
from mcpservers.models import MCPServer
from tests import factories
from tests.dataplane.conftest import Agent
from tests.dataplane.test_relay import wait_for
from tests.fakes.mcp_server import FakeMcpServer
from tests.fakes.serving import free_port, serving


@pytest.fixture(autouse=True)
def _no_circuit_is_open(settings: Settings) -> Iterator[None]:
    circuits.reset()
    settings.AIGW_CIRCUIT_FAILURES, settings.AIGW_CIRCUIT_OPEN_SECONDS = 3, 1.0
    yield
    circuits.reset()


@pytest.fixture
def broken(gateway: str, alice: User) -> tuple[Agent, int]:
    """Alice's agent at a server that is not there, and its port."""
    port = free_port()
    factories.allow(alice, factories.make_server(name="broken", url=f"http://127.0.0.1:{port}/mcp"), "use")
    return Agent(gateway, alice, "broken"), port


def details(agent: Agent, times: int) -> list[str]:
    """Return what some calls say."""
    return [agent.call().json()["error"]["data"]["detail"] for _ in range(times)]


def test_failures_in_a_row_open_it_and_one_success_closes_it(
    broken: tuple[Agent, int], agent: Agent, caplog: pytest.LogCaptureFixture
) -> None:
    failing, port = broken
    with caplog.at_level(logging.WARNING):
        assert details(failing, 3) == ["unreachable"] * 3
        refused = failing.call(id="q")
        assert refused.status_code == 503
        error = refused.json()
        assert (error["id"], error["error"]["code"]) == ("q", -32015)
        assert error["error"]["data"]["detail"] == "circuit_open"
        assert int(refused.headers["retry-after"]) >= 1
        assert agent.call().status_code == 200, "another origin is not concerned"
        time.sleep(1.1)
        assert details(failing, 3) == ["unreachable", "circuit_open", "circuit_open"], "one tries"
    opened = [record for record in caplog.records if record.message == "upstream left alone"]
    assert len(opened) == 1
    with serving(FakeMcpServer(), port=port):
        time.sleep(1.1)
        assert [failing.call().status_code for _ in range(5)] == [200] * 5


def test_while_it_is_open_one_at_a_time_tries(agent: Agent, upstream: FakeMcpServer, settings: Settings) -> None:
    settings.AIGW_CIRCUIT_OPEN_SECONDS = 5.0
    circuit = circuits.circuit_of(agent_url(upstream, agent))
    for _ in range(3):
        circuit.failed()
    circuit.retry_at = 0.0

    async def behave(request: Any, wire: Any) -> None:
        await asyncio.sleep(0.5)
        await wire(200, {"jsonrpc": "2.0", "id": request.message["id"], "result": {}})

    upstream.behave = behave
    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(call.result().status_code for call in [pool.submit(agent.call) for _ in range(8)])
    assert statuses == [200] + [503] * 7
    assert len(upstream.requests) == 1
    assert agent.call().status_code == 200


def agent_url(upstream: FakeMcpServer, agent: Agent) -> str:
    """Return the address of the upstream behind an agent's server."""
    return MCPServer.objects.get(name=agent.url.rpartition("/")[2]).url


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_gateways_own_errors_count(agent: Agent, upstream: FakeMcpServer, status: int) -> None:
    async def behave(request: Any, wire: Any) -> None:
        await wire(status, b"")

    upstream.behave = behave
    assert [agent.call().status_code for _ in range(4)] == [status] * 3 + [503]
    assert len(upstream.requests) == 3


def test_no_answer_in_time_counts(agent: Agent, upstream: FakeMcpServer, settings: Settings) -> None:
    settings.AIGW_UPSTREAM_FIRST_BYTE_TIMEOUT_SECONDS = 0.2

    async def behave(request: Any, wire: Any) -> None:
        await wire.until_left()

    upstream.behave = behave
    assert [agent.call().status_code for _ in range(4)] == [504] * 3 + [503]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 200])
def test_what_an_upstream_answers_to_a_caller_opens_nothing(agent: Agent, upstream: FakeMcpServer, status: int) -> None:
    async def behave(request: Any, wire: Any) -> None:
        error = {"code": -32603, "message": "no"}
        await wire(status, {"jsonrpc": "2.0", "id": request.message["id"], "error": error})

    upstream.behave = behave
    for _ in range(8):
        agent.call()
    assert len(upstream.requests) == 8


def test_callers_that_leave_and_headers_that_cannot_be_sent_open_nothing(
    agent: Agent, upstream: FakeMcpServer, settings: Settings
) -> None:
    async def behave(request: Any, wire: Any) -> None:
        await wire.until_left()

    upstream.behave = behave
    for _ in range(5):
        with pytest.raises(requests.ReadTimeout):
            requests.post(
                agent.url, json={"jsonrpc": "2.0", "id": 1, "method": "x"}, headers=agent.headers, timeout=0.3
            )
    wait_for(lambda: upstream.closed_streams == 5)
    settings.AIGW_OUTBOUND_ALLOW = []
    assert details(agent, 5) == ["unreachable"] * 5
    assert circuits.circuit_of(agent_url(upstream, agent)).failures == 0


def test_a_try_whose_caller_leaves_lets_the_next_one_try(
    agent: Agent, upstream: FakeMcpServer, settings: Settings
) -> None:
    settings.AIGW_CIRCUIT_OPEN_SECONDS = 30.0
    circuit = circuits.circuit_of(agent_url(upstream, agent))
    for _ in range(3):
        circuit.failed()
    circuit.retry_at = 0.0

    async def behave(request: Any, wire: Any) -> None:
        await wire.until_left()

    upstream.behave = behave
    with pytest.raises(requests.ReadTimeout):
        requests.post(agent.url, json={"jsonrpc": "2.0", "id": 1, "method": "x"}, headers=agent.headers, timeout=1.5)
    wait_for(lambda: upstream.closed_streams == 1)
    upstream.behave = None
    assert agent.call().status_code == 200


def test_the_origin_holds_no_credential_and_no_path() -> None:
    assert circuits.circuit_of("https://u:p@Host.example:1/a") is circuits.circuit_of("https://host.example:1/b?c")
    assert circuits.circuit_of("https://u:p@Host.example:1/a").origin == "https://host.example:1"
