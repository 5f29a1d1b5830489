"""What open streams hold and what callers who leave leave behind: no task, no connection to the database (D13, D15)."""

import asyncio
import gc
import os
import socket
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import User
from django.db.backends.base.base import BaseDatabaseWrapper
from pytest_django import Settings

from mcpservers.dataplane import reviewing
from tests.dataplane.conftest import Agent
from tests.dataplane.test_relay import wait_for
from tests.fakes.mcp_server import FakeMcpServer

# Of the thousand connections to one place that a process may have, a few are left for calls.
LEAVES, STREAMS = 500, 990
HEAD = "GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nAccept: text/event-stream\r\n\r\n"
CALL = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"stream"}}'


def database_connections() -> int:
    """Count the connections to the database that any thread of this process has open."""
    gc.collect()
    # Not `isinstance`, which asks lazy objects what they would become.
    wrappers = [each for each in gc.get_objects() if issubclass(type(each), BaseDatabaseWrapper)]
    return sum(wrapper.connection is not None for wrapper in wrappers)


def tasks() -> int:
    """Count the tasks of the gateway's loop."""
    return sum(len(asyncio.all_tasks(loop)) for loop in list(reviewing._watching) if loop.is_running())


def stream(agent: Agent, method: str = "GET") -> socket.socket:
    """Open a stream, and return its socket once something has come."""
    url = urlsplit(agent.url)
    head = HEAD.format(path=url.path, host=url.netloc, token=agent.token)
    if method == "POST":
        fields = f"Content-Type: application/json\r\nContent-Length: {len(CALL)}\r\n\r\n"
        head = head.replace("GET", "POST", 1).removesuffix("\r\n") + fields
    line = socket.create_connection((url.hostname or "", url.port or 0), timeout=10)
    line.sendall(head.encode() + (CALL if method == "POST" else b""))
    said = b""
    while b"hello" not in said:
        piece = line.recv(4096)
        assert piece, said
        said += piece
    return line


@pytest.fixture
def streaming(upstream: FakeMcpServer) -> FakeMcpServer:
    """An upstream that answers everything with a stream that does not end."""

    async def behave(request: object, wire: object) -> None:
        await wire.start()  # type: ignore[attr-defined]
        await wire.piece(b"data: hello\n\n")  # type: ignore[attr-defined]
        await wire.until_left()  # type: ignore[attr-defined]

    upstream.behave = behave
    return upstream


@pytest.mark.threat("D13")
def test_callers_who_leave_leave_no_task_and_no_database_connection(agent: Agent, streaming: FakeMcpServer) -> None:
    for method in ("GET", "POST"):
        stream(agent, method).close()
    wait_for(lambda: streaming.closed_streams == 2)
    time.sleep(0.2)
    before = tasks(), database_connections(), len(os.listdir("/proc/self/fd")), threading.active_count()
    for number in range(LEAVES):
        stream(agent, "POST" if number % 2 else "GET").close()
    wait_for(lambda: streaming.closed_streams == LEAVES + 2, seconds=2)
    wait_for(lambda: tasks() <= before[0], seconds=2)
    after = tasks(), database_connections(), len(os.listdir("/proc/self/fd")), threading.active_count()
    assert after[0] <= before[0]
    assert after[1] <= before[1]
    assert after[2] <= before[2] + 2
    assert after[3] <= before[3] + 2


@pytest.fixture
def many(agent: Agent, streaming: FakeMcpServer, settings: Settings) -> Iterator[list[socket.socket]]:
    """A place for many streams of one user, all idle."""
    settings.AIGW_STREAMS_PER_SERVER = settings.AIGW_STREAMS_PER_USER = STREAMS
    lines: list[socket.socket] = []
    try:
        yield lines
    finally:
        for line in lines:
            line.close()
        wait_for(lambda: streaming.open_streams == 0, seconds=10)


@pytest.mark.threat("D15")
def test_idle_streams_hold_no_database_connection(
    agent: Agent, many: list[socket.socket], streaming: FakeMcpServer, alice: User
) -> None:
    many.append(stream(agent))
    before = database_connections()
    many.extend(stream(agent) for _ in range(STREAMS - 1))
    assert streaming.open_streams == STREAMS
    assert database_connections() <= before
    streaming.behave = None
    began = time.monotonic()
    assert agent.call().status_code == 200
    assert time.monotonic() - began < 2
    # And one more is told so.
    refused = socket.create_connection((urlsplit(agent.url).hostname or "", urlsplit(agent.url).port or 0), timeout=10)
    url = urlsplit(agent.url)
    refused.sendall(HEAD.format(path=url.path, host=url.netloc, token=agent.token).encode())
    assert refused.recv(4096).startswith(b"HTTP/1.1 429")
    refused.close()
