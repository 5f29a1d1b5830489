"""How much may be under way, for each server and user, and how often; what is too much is said with `Retry-After`."""

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from django.contrib.auth.models import User
from pytest_django import Settings

from mcpservers.dataplane.admission import places, rates
from mcpservers.dataplane.places import Places
from mcpservers.dataplane.rates import Rates
from mcpservers.models import MCPServer
from tests import factories
from tests.dataplane.conftest import Agent
from tests.dataplane.test_relay import wait_for
from tests.fakes.mcp_server import FakeMcpServer


@pytest.fixture(autouse=True)
def _nothing_counted() -> Iterator[None]:
    rates.clear()
    yield
    wait_for(lambda: places._taken == {} and places._waiting == {})


@pytest.fixture
def hang(upstream: FakeMcpServer) -> Iterator[threading.Event]:
    """Lets tools hang until set; everything else is answered."""
    go_on = threading.Event()

    async def behave(request: Any, wire: Any) -> None:
        if request.method == "GET":
            await upstream._stream(wire.send, wire.receive)
            return
        if request.message.get("method") == "tools/call":
            upstream.open_streams += 1
            while not go_on.is_set():
                await asyncio.sleep(0.01)
            upstream.open_streams -= 1
        await wire(200, {"jsonrpc": "2.0", "id": request.message.get("id"), "result": {}})

    upstream.behave = behave
    yield go_on
    go_on.set()


@pytest.mark.threat("D14")
def test_a_server_that_hangs_takes_no_more_than_its_places(
    gateway: str,
    agent: Agent,
    server: MCPServer,
    alice: User,
    bob: User,
    upstream: FakeMcpServer,
    hang: threading.Event,
    settings: Settings,
) -> None:
    settings.AIGW_CALLS_PER_SERVER, settings.AIGW_BUSY_WAIT_SECONDS = 3, 0.2
    other = factories.make_server(name="other", url=server.url)
    factories.allow(bob, server, "use")
    factories.allow(alice, other, "use")
    with ThreadPoolExecutor(10) as pool:
        hanging = [pool.submit(agent.call, id=n) for n in range(3)]
        wait_for(lambda: upstream.open_streams == 3)
        started = time.monotonic()
        refused = Agent(gateway, bob).call(id="late")
        assert 0.2 <= time.monotonic() - started < 1.5
        error = refused.json()
        assert (refused.status_code, error["id"], error["error"]["code"]) == (503, "late", -32015)
        assert error["error"]["data"]["detail"] == "busy"
        assert int(refused.headers["retry-after"]) >= 1
        assert upstream.open_streams == 3, "nothing was sent on"
        assert Agent(gateway, alice, "other").post("tools/list").status_code == 200
        stream = requests.get(agent.url, headers=agent.headers, stream=True, timeout=5)
        assert stream.status_code == 200, "streams are counted apart"
        stream.close()
        hang.set()
        assert {call.result().status_code for call in hanging} == {200}
    assert agent.call().status_code == 200


def test_a_place_that_becomes_free_is_taken_by_who_waits(
    agent: Agent, upstream: FakeMcpServer, hang: threading.Event, settings: Settings
) -> None:
    settings.AIGW_CALLS_PER_SERVER, settings.AIGW_BUSY_WAIT_SECONDS = 1, 10.0
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(agent.call)
        wait_for(lambda: upstream.open_streams == 1)
        second = pool.submit(agent.call)
        time.sleep(0.3)
        assert len(upstream.requests) == 1
        hang.set()
        assert [first.result().status_code, second.result().status_code] == [200, 200]


def test_one_user_leaves_places_to_others(
    gateway: str,
    agent: Agent,
    server: MCPServer,
    bob: User,
    upstream: FakeMcpServer,
    hang: threading.Event,
    settings: Settings,
) -> None:
    settings.AIGW_CALLS_PER_USER, settings.AIGW_BUSY_WAIT_SECONDS = 2, 0.0
    factories.allow(bob, server, "use")
    with ThreadPoolExecutor(2) as pool:
        hanging = [pool.submit(agent.call) for _ in range(2)]
        wait_for(lambda: upstream.open_streams == 2)
        refused = agent.post("tools/list", id="more")
        error = refused.json()
        assert (refused.status_code, error["id"], error["error"]["code"]) == (429, "more", -32019)
        assert error["error"]["data"]["reason"] == "RateLimited"
        assert "retry-after" in refused.headers
        assert Agent(gateway, bob).post("tools/list").status_code == 200
        assert agent.post("notifications/cancelled", {"requestId": 1}, id=None).status_code == 200
        hang.set()
        assert {call.result().status_code for call in hanging} == {200}


@pytest.mark.parametrize("name", ["AIGW_STREAMS_PER_USER", "AIGW_STREAMS_PER_SERVER"])
def test_streams_have_a_limit_of_their_own(
    agent: Agent, upstream: FakeMcpServer, settings: Settings, name: str
) -> None:
    settings.AIGW_BUSY_WAIT_SECONDS = 0.0
    setattr(settings, name, 1)
    with requests.get(agent.url, headers=agent.headers, stream=True, timeout=5) as stream:
        assert stream.status_code == 200
        refused = requests.get(agent.url, headers=agent.headers, timeout=5)
        assert refused.status_code == (429 if "USER" in name else 503)
        assert "retry-after" in refused.headers
        assert agent.call().status_code == 200
    wait_for(lambda: upstream.open_streams == 0 and places._taken == {})
    with requests.get(agent.url, headers=agent.headers, stream=True, timeout=5) as stream:
        assert stream.status_code == 200


@pytest.mark.parametrize("name", ["AIGW_CALLS_PER_MINUTE_PER_USER", "AIGW_CALLS_PER_MINUTE_PER_SERVER"])
def test_more_calls_a_minute_than_allowed_are_refused(
    gateway: str, agent: Agent, server: MCPServer, bob: User, upstream: FakeMcpServer, settings: Settings, name: str
) -> None:
    setattr(settings, name, 5)
    factories.allow(bob, server, "use")
    assert [agent.call().status_code for _ in range(6)] == [200] * 5 + [429]
    refused = agent.call(id="q")
    assert refused.json()["id"] == "q"
    assert 1 <= int(refused.headers["retry-after"]) <= 12
    assert agent.post("notifications/initialized", id=None).status_code == 429, "a notification is not lost in silence"
    assert Agent(gateway, bob).call().status_code == (200 if "USER" in name else 429)
    assert len(upstream.requests) == (6 if "USER" in name else 5)


def test_a_bucket_fills_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("mcpservers.dataplane.rates.time.monotonic", lambda: now)
    found = Rates()
    assert [found.take("a", 60) for _ in range(60)] == [0.0] * 60
    assert found.take("a", 60) == pytest.approx(1.0)
    assert found.take("b", 60) == 0.0
    now += 2
    assert [found.take("a", 60) > 0 for _ in range(3)] == [False, False, True]


async def test_places_are_given_back_whatever_happens_to_who_waits() -> None:
    found = Places()
    assert found.take("a", 1)
    waiting = [asyncio.create_task(found.wait("a", 2, 5)) for _ in range(4)]
    await asyncio.sleep(0)
    assert not await found.wait("a", 2, 0.01)
    await asyncio.sleep(0)
    waiting[0].cancel()
    found.leave("a")
    await asyncio.sleep(0.05)
    done = [task for task in waiting if task.done() and not task.cancelled() and task.result()]
    assert len(done) + found.taken("a") >= 1
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    while found.taken("a"):
        found.leave("a")
    assert found._taken == {}
    assert found._waiting == {}


async def test_a_place_handed_to_somebody_who_left_at_that_moment_is_not_lost() -> None:
    found = Places()
    found.take("a", 1)
    waiting = asyncio.create_task(found.wait("a", 1, 5))
    await asyncio.sleep(0)
    found.leave("a")
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert found._taken == {}


def test_what_admission_costs() -> None:
    """Two places and two rates, taken and given back: a few microseconds (measured, with room for a busy machine)."""
    found, limits, best = Places(), Rates(), 1.0
    for _ in range(5):
        started = time.thread_time()
        for _ in range(2000):
            limits.take("user", 10**9)
            limits.take("server", 10**9)
            found.take("user", 10)
            found.take("server", 10)
            found.leave("server")
            found.leave("user")
        best = min(best, (time.thread_time() - started) / 2000)
    assert best < 20e-6
