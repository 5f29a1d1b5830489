"""The gateway in front of upstreams that break the connection rather than the protocol, on real sockets."""

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import requests
from django.contrib.auth.models import User

from tests import factories
from tests.dataplane.conftest import Agent
from tests.dataplane.test_relay import wait_for

RESULT = b'{"jsonrpc":"2.0","id":7,"result":{}}'
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(RESULT), RESULT)
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
Script = Callable[["Line"], None]


class Line:
    """One connection at the upstream."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket, self.file = connection, connection.makefile("rb")

    def request(self) -> bytes:
        """Read one request; raise EOFError at the end of the connection."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self.file.readline()
            if not line:
                raise EOFError
            head += line
        length = next((int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:")), 0)
        return self.file.read(length)

    def reset(self) -> None:
        """Close with a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.file.close()
        self.socket.close()


class Upstream:
    """Runs `scripts` one connection after the other, the last one ever after."""

    def __init__(self) -> None:
        self.scripts: list[Script] = []
        self.bodies: list[bytes] = []
        self.connections = self.open = 0
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/mcp"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            script = self.scripts[min(self.connections, len(self.scripts) - 1)]
            self.connections += 1
            threading.Thread(target=self._run, args=(script, Line(connection)), daemon=True).start()

    def _run(self, script: Script, line: Line) -> None:
        self.open += 1
        try:
            script(line)
        except (EOFError, OSError):
            pass
        finally:
            self.open -= 1
            line.file.close()
            line.socket.close()

    def kept(self, line: Line) -> bytes:
        self.bodies.append(line.request())
        return self.bodies[-1]


@pytest.fixture
def far() -> Iterator[Upstream]:
    """An upstream of scripts."""
    made = Upstream()
    yield made
    made.listener.close()


@pytest.fixture
def agent(gateway: str, far: Upstream, alice: User) -> Agent:
    """Alice's agent, at a server without credentials."""
    factories.allow(alice, factories.make_server(url=far.url), "view", "use")
    return Agent(gateway, alice)


def serving(far: Upstream, *, close_after: int | None = None) -> Script:
    def script(line: Line) -> None:
        while close_after is None or len(far.bodies) < close_after:
            far.kept(line)
            line.socket.sendall(OK)
        far.kept(line)
        line.reset()

    return script


@pytest.mark.threat("D20", "D21")
def test_a_call_under_which_the_connection_ends_is_not_made_twice(agent: Agent, far: Upstream) -> None:
    far.scripts = [serving(far, close_after=1), serving(far)]
    assert agent.call().status_code == 200
    response = agent.call()
    assert (response.status_code, response.json()["error"]["data"]["detail"]) == (502, "unreachable")
    assert "Nothing is known of the call's effect" in response.json()["error"]["message"]
    assert len(far.bodies) == 2


@pytest.mark.threat("D21")
def test_a_list_under_which_the_connection_ends_is_asked_for_again(agent: Agent, far: Upstream) -> None:
    far.scripts = [serving(far, close_after=1), serving(far)]
    assert agent.call().status_code == 200
    assert agent.post("tools/list").status_code == 200
    assert [json.loads(body)["method"] for body in far.bodies] == ["tools/call", "tools/list", "tools/list"]
    assert far.connections == 2


@pytest.mark.threat("D12")
def test_a_reset_in_the_middle_of_an_answer_cuts_the_callers_answer_short(agent: Agent, far: Upstream) -> None:
    def script(line: Line) -> None:
        far.kept(line)
        line.socket.sendall(STREAM + b"b\r\ndata: one\n\n\r\n")
        time.sleep(0.1)
        line.reset()

    far.scripts = [script]
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        agent.call()
    wait_for(lambda: far.open == 0)


@pytest.mark.threat("D07")
def test_an_answer_that_could_be_read_in_two_ways_does_not_reach_the_caller(agent: Agent, far: Upstream) -> None:
    def script(line: Line) -> None:
        far.kept(line)
        line.socket.sendall(STREAM.replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\n") + b"3\r\nabc\r\n0\r\n\r\n")
        line.request()

    far.scripts = [script]
    response = agent.call()
    assert (response.status_code, response.json()["error"]["data"]["detail"]) == (502, "invalid_answer")
    wait_for(lambda: far.open == 0)


@pytest.mark.threat("D02")
def test_two_users_of_one_server_do_not_share_a_connection_when_it_carries_their_credentials(
    gateway: str, far: Upstream, alice: User, bob: User
) -> None:
    far.scripts = [serving(far)]
    provider = factories.make_provider()
    row = factories.make_server(url=far.url, provider=provider)
    for user in (alice, bob):
        factories.allow(user, row, "view", "use")
        factories.make_vault_entry(user, provider)
    agents = [Agent(gateway, alice), Agent(gateway, bob)]
    for _ in range(3):
        assert [one.call().status_code for one in agents] == [200, 200]
    assert far.connections == 2


@pytest.mark.threat("D13")
def test_500_callers_who_leave_in_the_middle_leave_nothing_behind(agent: Agent, far: Upstream) -> None:
    def script(line: Line) -> None:
        far.kept(line)
        line.socket.sendall(STREAM + b"b\r\ndata: one\n\n\r\n")
        line.request()

    def leave() -> None:
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "x"}}
        with requests.post(agent.url, json=message, headers=agent.headers, stream=True, timeout=10) as response:
            assert next(response.iter_content(None)) == b"data: one\n\n"

    far.scripts = [script]
    leave()
    wait_for(lambda: far.open == 0)
    files, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    for _ in range(499):
        leave()
    wait_for(lambda: far.open == 0, seconds=2)
    assert far.connections == 500
    assert len(os.listdir("/proc/self/fd")) <= files + 2
    assert threading.active_count() <= threads + 2


@pytest.mark.threat("D11")
def test_two_gigabytes_pass_in_bounded_memory(agent: Agent, far: Upstream) -> None:
    size = 2_000_000_000
    piece = b"x" * 1_000_000

    def script(line: Line) -> None:
        far.kept(line)
        line.socket.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // len(piece)):
            line.socket.sendall(piece)

    def resident() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    far.scripts = [script]
    before, read, most = resident(), 0, 0
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "x"}}
    with requests.post(agent.url, json=message, headers=agent.headers, stream=True, timeout=60) as response:
        while got := response.raw.read(1_000_000):
            read += len(got)
            most = max(most, resident())
    assert read == size
    assert most - before < 100_000_000
