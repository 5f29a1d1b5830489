"""What is remembered does not outlive the database: a right could have been taken since (G02, contract §8).

Real outages are in `tests/faults/test_postgres.py`; here every auth mode and a session, with the same outage for each.
"""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError

from changes import counter
from clients import activity
from connections import database
from mcpservers.dataplane import kept_sessions
from tests import factories
from tests.dataplane.conftest import Agent
from tests.dataplane.test_hot_path import watcher
from tests.dataplane.test_relay import wait_for
from tests.fakes.mcp_server import FakeMcpServer

__all__ = ["watcher"]
MODES = ("none", "static_key", "token_passthrough", "user_oauth", "session")


class Outage:
    """Fails what the data plane, its watcher and its recorders ask of the database, while `is_on`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_on = threading.Event()
        for owner, name in ((database, "_with_own_connection"), (counter, "current"), (kept_sessions._used, "_write")):
            monkeypatch.setattr(owner, name, self._failing(getattr(owner, name)))

    def _failing(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def asked(*args: Any, **kwargs: Any) -> Any:
            if self.is_on.is_set():
                raise OperationalError("the database is away")
            return real(*args, **kwargs)

        return asked


@pytest.fixture
def outage(monkeypatch: pytest.MonkeyPatch) -> Outage:
    """A database that can be taken away."""
    return Outage(monkeypatch)


@pytest.fixture
def agent(gateway: str, upstream_url: str, alice: User, mode: str) -> Agent:
    """Alice's agent before a server of this mode, ready to call."""
    fields: dict[str, Any] = {"auth": {"mode": mode}}
    if mode == "static_key":
        factories.make_secret("MCP_API_KEY", "key")
        fields = {"auth": {"mode": mode, "key_ref": "MCP_API_KEY"}}
    elif mode == "user_oauth":
        provider = factories.make_provider()
        factories.make_vault_entry(alice, provider)
        fields = {"provider": provider}
    elif mode == "session":
        fields = {"auth": {"mode": "none"}}
    factories.allow(alice, factories.make_server(url=upstream_url, **fields), "use")
    agent = Agent(gateway, alice)
    agent.headers["X-Upstream-Authorization"] = "Bearer theirs"
    if mode == "session":
        agent.initialize()
    return agent


@pytest.mark.threat("G02")
@pytest.mark.parametrize("mode", MODES)
def test_a_remembered_call_is_told_to_wait_and_the_first_one_after_it_works(
    agent: Agent, watcher: counter.Watcher, outage: Outage, upstream: FakeMcpServer
) -> None:
    assert [agent.call().status_code for _ in range(2)] == [200, 200]
    outage.is_on.set()
    gone = time.monotonic()
    wait_for(lambda: agent.call().status_code == 503, seconds=2)
    assert time.monotonic() - gone < 1.5
    seen = len(upstream.requests)
    refused = agent.call()
    assert (refused.status_code, int(refused.headers["Retry-After"]) > 0) == (503, True)
    assert refused.headers["Content-Type"] == "application/json"
    assert "OperationalError" not in refused.text
    assert "away" not in refused.text
    assert len(upstream.requests) == seen
    outage.is_on.clear()
    assert "result" in agent.call().json()


@pytest.mark.threat("G02")
@pytest.mark.parametrize("mode", ["session"])
def test_what_was_used_meanwhile_is_written_down_afterwards(agent: Agent, outage: Outage) -> None:
    agent.call()
    outage.is_on.set()
    with pytest.raises(OperationalError):
        activity.flush()
    outage.is_on.clear()
    long_ago = "2020-01-01T00:00:00Z"
    kept_sessions.McpSession.objects.update(used_at=long_ago)
    activity.flush()
    assert kept_sessions.McpSession.objects.get().used_at.year > 2020
