"""Whoever loses the right has no open stream a few seconds later; whatever takes too long is ended (B19, D12)."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from django.contrib.auth.models import User
from django.utils import timezone
from pytest_django import Settings

from changes import counter
from clients import tokens
from clients.models import ApiToken
from mcpservers.dataplane import open_visits, reviewing
from mcpservers.dataplane.course import Course
from mcpservers.models import MCPServer
from tests import factories
from tests.dataplane.conftest import Agent
from tests.dataplane.test_hot_path import elsewhere
from tests.dataplane.test_relay import wait_for
from tests.fakes.mcp_server import FakeMcpServer

ENDED_WITHIN_SECONDS = 10.0


@pytest.fixture(autouse=True)
def watcher(transactional_db: None) -> Iterator[None]:
    """What a gateway process runs beside its calls."""
    running = counter.Watcher()
    running.start()
    yield
    running.stop()


class Stream:
    """A stream that a client reads until its end."""

    def __init__(self, response: requests.Response) -> None:
        self.response, self.content = response, b""
        self.broke: Exception | None = None
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        try:
            for piece in self.response.iter_content(None):
                self.content += piece
        except requests.RequestException as exc:
            self.broke = exc

    @property
    def is_open(self) -> bool:
        """Tell whether more may come."""
        return self._reader.is_alive()

    def leave(self) -> None:
        """Close the connection while the reader still reads."""
        self.response.raw._connection.sock.shutdown(socket.SHUT_RDWR)
        self._reader.join(timeout=5)

    def ends(self) -> None:
        """Check that it ends in time, and as a whole one."""
        wait_for(lambda: not self.is_open, seconds=ENDED_WITHIN_SECONDS)
        assert self.broke is None


def listening(agent: Agent) -> Stream:
    """Open the stream of a GET."""
    stream = Stream(requests.get(agent.url, headers=agent.headers, stream=True, timeout=20))
    wait_for(lambda: b"hello" in stream.content)
    return stream


def answered_slowly(agent: Agent, upstream: FakeMcpServer) -> Stream:
    """Call a tool whose answer is a stream that goes on."""

    async def behave(request: Any, wire: Any) -> None:
        await wire.start()
        await wire.piece(b"data: hello\n\n")
        await wire.until_left()

    upstream.behave = behave
    message = {"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": {"name": "x", "arguments": {}}}
    stream = Stream(requests.post(agent.url, json=message, headers=agent.headers, stream=True, timeout=20))
    wait_for(lambda: b"hello" in stream.content)
    return stream


@pytest.fixture(params=["get", "post"])
def stream(request: pytest.FixtureRequest, agent: Agent, upstream: FakeMcpServer) -> Stream:
    """Alice's open stream."""
    return listening(agent) if request.param == "get" else answered_slowly(agent, upstream)


def taken_away(user: User, server: MCPServer, what: str) -> Callable[[], Any]:
    """Return what ends somebody's right."""
    from guardian.shortcuts import remove_perm

    def change(row: Any, name: str, value: Any) -> None:
        setattr(row, name, value)
        row.save()

    ways: dict[str, Callable[[], Any]] = {
        "token revoked": lambda: tokens.revoke(ApiToken.objects.get(user=user), actor=user),
        "user deactivated": lambda: change(user, "is_active", False),
        "use taken": lambda: remove_perm("use_mcpserver", user, server),
        "server disabled": lambda: change(server, "enabled", False),
        "server deleted": server.delete,
    }
    return ways[what]


@pytest.mark.threat("B19")
@pytest.mark.parametrize(
    ("what", "status"),
    [
        ("token revoked", 401),
        ("user deactivated", 401),
        ("use taken", 403),
        ("server disabled", 200),
        ("server deleted", 404),
    ],
)
def test_a_right_that_is_lost_ends_the_stream(
    agent: Agent, stream: Stream, server: MCPServer, alice: User, upstream: FakeMcpServer, what: str, status: int
) -> None:
    elsewhere(taken_away(alice, server, what))
    stream.ends()
    wait_for(lambda: upstream.open_streams == 0)
    assert agent.post("tools/list").status_code == status


def test_only_the_streams_of_who_lost_the_right_end(
    gateway: str, agent: Agent, server: MCPServer, bob: User, alice: User
) -> None:
    factories.allow(bob, server, "view", "use")
    other = Agent(gateway, bob)
    hers, his = listening(agent), listening(other)
    elsewhere(taken_away(alice, server, "use taken"))
    hers.ends()
    time.sleep(3)
    assert his.is_open
    his.leave()


def test_a_change_that_takes_nothing_ends_nothing(agent: Agent, server: MCPServer, stream: Stream) -> None:
    server.description = "another"
    elsewhere(server.save)
    time.sleep(4)
    assert stream.is_open
    stream.leave()


def test_a_server_that_moved_ends_who_listens_and_lets_calls_finish(
    agent: Agent, server: MCPServer, upstream: FakeMcpServer
) -> None:
    listener = listening(agent)
    call = answered_slowly(agent, upstream)
    server.url += "?moved"
    elsewhere(server.save)
    listener.ends()
    assert call.is_open
    call.leave()


def test_a_token_that_expires_ends_its_streams(agent: Agent, server: MCPServer) -> None:
    ApiToken.objects.update(expires_at=timezone.now() + timedelta(seconds=2))
    stream = listening(agent)
    started = time.monotonic()
    stream.ends()
    assert 1 < time.monotonic() - started < 4
    assert agent.post("tools/list").status_code == 401


@pytest.fixture
def connected(gateway: str, upstream_url: str, upstream: FakeMcpServer, alice: User) -> Agent:
    """Alice's agent at a server that takes her own token."""
    provider = factories.make_provider()
    factories.allow(alice, factories.make_server(url=upstream_url, provider=provider), "view", "use")
    factories.make_vault_entry(alice, provider)
    return Agent(gateway, alice)


@pytest.mark.parametrize("what", ["disconnected", "provider disabled", "provider deleted"])
@pytest.mark.parametrize("kind", ["get", "post"])
def test_a_connection_that_ended_ends_the_stream_that_it_opened(
    connected: Agent, upstream: FakeMcpServer, alice: User, what: str, kind: str
) -> None:
    from providers.models import OAuthProvider
    from vault import entries

    stream = listening(connected) if kind == "get" else answered_slowly(connected, upstream)
    provider = OAuthProvider.objects.get()
    if what == "disconnected":
        entry = entries.find(alice.pk, provider.uid)
        assert entry is not None
        elsewhere(lambda: entries.retire(entry, reason="user_disconnected", now=timezone.now()))
    else:
        provider.enabled = False
        elsewhere(provider.save if what == "provider disabled" else provider.delete)
    stream.ends()
    if kind == "post" and what == "disconnected":
        assert b"-32010" in stream.content, "the call that was cut says why"
    wait_for(lambda: upstream.open_streams == 0)


def test_a_token_that_is_renewed_ends_nothing(connected: Agent, alice: User) -> None:
    from vault import entries
    from vault.models import VaultEntry

    stream = listening(connected)
    entry = VaultEntry.objects.get()
    renewed = entries.Tokens("new-access", "new-refresh", timezone.now() + timedelta(hours=1), None, [])

    def renew() -> None:
        assert entries.replace(entry, tokens=renewed, now=timezone.now()) is not None
        counter.announce()

    elsewhere(renew)
    time.sleep(4)
    assert stream.is_open
    stream.leave()


def test_many_streams_are_reviewed_with_few_queries(
    agent: Agent, server: MCPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from connections import database

    streams = [listening(agent) for _ in range(20)]
    time.sleep(3)  # the watcher's first look, and the review that it brings
    ran: list[str] = []
    submit = database._executor.submit
    monkeypatch.setattr(database._executor, "submit", lambda *args: (ran.append("hop"), submit(*args))[1])
    time.sleep(1)
    assert ran == [], "nothing is asked while nothing changes"
    elsewhere(counter.announce)
    time.sleep(4)
    assert len(ran) <= 4
    assert all(stream.is_open for stream in streams)
    for stream in streams:
        stream.leave()


@pytest.mark.threat("D12")
def test_a_call_has_a_limit_in_all_and_a_listener_none(
    agent: Agent, upstream: FakeMcpServer, settings: Settings
) -> None:
    settings.AIGW_CALL_TIMEOUT_SECONDS = settings.AIGW_REQUEST_TIMEOUT_SECONDS = 5.0
    listener = listening(agent)

    async def behave(request: Any, wire: Any) -> None:
        await wire.start()
        for _ in range(100):
            await wire.piece(b": still here\n\n")
            await asyncio.sleep(0.2)

    upstream.behave = behave
    started = time.monotonic()
    response = agent.call(id="slow")
    assert time.monotonic() - started == pytest.approx(5.0, rel=0.1, abs=0.5)
    assert '"id":"slow"' in response.text
    assert "total_timeout" in response.text
    assert listener.is_open
    listener.leave()


@pytest.mark.threat("D12")
def test_a_request_that_does_not_arrive_is_given_up(agent: Agent, settings: Settings) -> None:
    settings.AIGW_REQUEST_TIMEOUT_SECONDS = 1.0
    address = urlsplit(agent.url)
    head = f"POST {address.path} HTTP/1.1\r\nHost: {address.netloc}\r\nAuthorization: Bearer {agent.token}\r\n"
    with socket.create_connection((address.hostname, address.port), timeout=10) as client:
        client.sendall(f"{head}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{".encode())
        assert client.recv(1000).startswith(b"HTTP/1.1 408 ")


def test_nothing_is_left_of_visits_that_ended(agent: Agent) -> None:
    for _ in range(5):
        agent.call()
    stream = listening(agent)
    assert len(open_visits._open) == 1
    stream.leave()
    wait_for(lambda: open_visits._open == {})


def test_a_visit_that_is_over_ends_nothing_of_what_its_task_does_next() -> None:
    async def two_visits() -> None:
        first: Any = SimpleNamespace(course=Course())
        async with open_visits.under_way(first):
            pass
        first.course.end(reviewing.STOPPING)
        async with open_visits.under_way(SimpleNamespace(course=Course())):  # type: ignore[arg-type]
            await asyncio.sleep(0)

    asyncio.run(two_visits())
