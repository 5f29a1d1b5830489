"""Two gateways on one database, as behind a load balancer: sessions go from one to the other and outlive both."""

import json
import signal
import textwrap
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.aigateway import gateways
from tests.dataplane.conftest import HELLO
from tests.fakes.era_server import MODERN, SSE, EraServer
from tests.fakes.mcp_server import FakeMcpServer
from tests.fakes.serving import serving
from tests.faults import processes

SEED = """
from django.contrib.auth.models import User
from guardian.shortcuts import assign_perm
from clients import tokens
from mcpservers.models import MCPServer
user = User.objects.create_user("alice")
for name, url, transport, seen in {servers!r}:
    server = MCPServer.objects.create(
        name=name, url=url, transport=transport, auth={{"mode": "none"}}, capabilities=seen
    )
    assign_perm("use_mcpserver", user, server)
print(tokens.create(user, name="test")[1])
"""
BRIDGED = ("modern", "sse")
# A copy in memory notices within the flush of activity that another process has ended the session.
NOTICED_SECONDS = 10.0


@dataclass
class Pair:
    """The two gateways, by number, and what is behind them."""

    stack: ExitStack
    folder: Path
    environment: dict[str, str]
    upstream: FakeMcpServer
    token: str = ""

    def __post_init__(self) -> None:
        self.gateways: dict[int, gateways.Gateway] = {}

    def start(self, number: int) -> None:
        """Start one, or start it again."""
        log = self.folder / f"gateway-{number}-{time.monotonic_ns()}.log"
        self.gateways[number] = self.stack.enter_context(gateways.serving(log, env=self.environment))
        self.gateways[number].url()

    def end(self, number: int, how: int) -> None:
        """End one, with its children."""
        process = self.gateways.pop(number).process
        family = processes.family(process.pid)
        for pid in family if how == signal.SIGKILL else [process.pid]:
            processes.send(how, pid)
        process.wait(timeout=30)

    def ask(self, number: int, server: str, method: str, session: str = "", id: Any = 1) -> requests.Response:
        """Send a request to one of them; DELETE ends the session."""
        url = f"{self.gateways[number].url()}/mcp/v1/{server}"
        accept = "application/json, text/event-stream"
        headers = {"Authorization": f"Bearer {self.token}", "Accept": accept, "Content-Type": "application/json"}
        headers |= {"Mcp-Session-Id": session} if session else {}
        if method == "DELETE":
            return requests.delete(url, headers=headers, timeout=20)
        params = HELLO if method == "initialize" else {"name": "echo", "arguments": {"text": "a"}}
        message = {"jsonrpc": "2.0", "id": id, "method": method, "params": params}
        return requests.post(url, data=json.dumps(message), headers=headers, timeout=20)

    def begin(self, number: int, server: str) -> str:
        """Begin a session; return its id."""
        return self.ask(number, server, "initialize").headers["Mcp-Session-Id"]

    def call(self, number: int, server: str, session: str) -> int:
        """Call a tool in the session; return the status, once sure that a good one is good."""
        answer = self.ask(number, server, "tools/call", session)
        assert answer.status_code != 200 or "result" in answer.text, answer.text
        return answer.status_code


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two of them on one SQLite file, in front of an upstream with sessions, one without, and one of HTTP+SSE."""
    folder = tmp_path_factory.mktemp("pair")
    env = gateways.environment(
        folder / "data", AIGW_OUTBOUND_ALLOW="127.0.0.1", AIGW_LOG_LEVEL="WARNING", AIGW_ACTIVITY_FLUSH_SECONDS="1"
    )
    upstream, modern, sse = FakeMcpServer(), EraServer(MODERN), EraServer(SSE)
    with ExitStack() as stack:
        servers = [
            ("tools", stack.enter_context(serving(upstream)) + "/mcp", "streamable_http", _seen("2025-11-25")),
            (
                "modern",
                stack.enter_context(serving(modern, lifespan="on")) + modern.path,
                "streamable_http",
                _seen(MODERN),
            ),
            ("sse", stack.enter_context(serving(sse)) + sse.path, "sse", {}),
        ]
        own = Pair(stack, folder, env, upstream)
        own.start(1)
        done = gateways.manage("shell", "-v0", "-c", textwrap.dedent(SEED.format(servers=servers)), env=env)
        assert done.returncode == 0, done.stderr
        own.token = done.stdout.split()[-1]
        own.start(2)
        yield own


def _seen(revision: str) -> dict[str, Any]:
    return {"protocol_version": revision, "supported_versions": [revision], "capabilities": {"tools": {}}}


@pytest.mark.threat("D22")
def test_a_passed_through_session_moves_and_survives_a_kill_and_a_restart(pair: Pair) -> None:
    session = pair.begin(1, "tools")
    assert [pair.call(number, "tools", session) for number in (1, 2, 1)] == [200, 200, 200]
    pair.end(1, signal.SIGKILL)
    assert pair.call(2, "tools", session) == 200
    pair.start(1)
    pair.end(2, signal.SIGTERM)
    assert pair.call(1, "tools", session) == 200
    pair.start(2)
    assert pair.call(2, "tools", session) == 200
    assert pair.upstream.methods().count("initialize") == 1
    [upstream_session] = pair.upstream.sessions
    sent = {each.header("mcp-session-id") for each in pair.upstream.requests if each.message["method"] == "tools/call"}
    assert sent == {upstream_session}
    assert pair.ask(1, "tools", "DELETE", session).status_code == 200
    assert pair.upstream.sessions == set()
    assert [pair.call(number, "tools", session) for number in (1, 2)] == [404, 404]


@pytest.mark.parametrize("server", BRIDGED)
def test_a_bridged_session_is_opened_again_and_ends_everywhere(pair: Pair, server: str) -> None:
    session = pair.begin(1, server)
    assert [pair.call(number, server, session) for number in (1, 2)] == [200, 200]
    pair.end(1, signal.SIGKILL)
    pair.start(1)
    assert [pair.call(number, server, session) for number in (1, 2)] == [200, 200]
    assert pair.ask(1, server, "DELETE", session).status_code == 204
    assert pair.call(1, server, session) == 404
    deadline = time.monotonic() + NOTICED_SECONDS
    while pair.call(2, server, session) != 404:
        assert time.monotonic() < deadline, "the other process still serves a session that has ended"
        time.sleep(0.5)


def test_an_id_that_nobody_knows_is_an_honest_404(pair: Pair) -> None:
    for server in ("tools", *BRIDGED):
        answer = pair.ask(1, server, "tools/call", "nobodys-session", id="x")
        assert (answer.status_code, answer.json()["id"], answer.json()["error"]["code"]) == (404, "x", -32001)
        assert pair.ask(1, server, "DELETE", "nobodys-session").status_code == 404
