"""A call whose caller, plan and token are remembered asks the database nothing; a change is seen within a second."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User

from changes import counter
from clients import tokens
from clients.models import ApiToken
from connections import database
from mcpservers.models import MCPServer
from tests import factories
from tests.dataplane.conftest import Agent
from tests.dataplane.test_relay import wait_for


@pytest.fixture
def hops(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The functions that the data plane ran on a database thread."""
    ran: list[str] = []
    submit = database._executor.submit

    def counted(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        ran.append(fn.__qualname__)
        return submit(fn, *args, **kwargs)

    monkeypatch.setattr(database._executor, "submit", counted)
    return ran


@pytest.fixture
def watcher(transactional_db: None) -> Iterator[counter.Watcher]:
    """What a gateway process runs beside its calls."""
    running = counter.Watcher()
    running.start()
    yield running
    running.stop()


def test_a_second_call_asks_the_database_nothing(agent: Agent, hops: list[str]) -> None:
    agent.call()
    assert len(hops) == 2  # who calls, and which server
    for _ in range(10):
        assert agent.call().status_code == 200
    assert len(hops) == 2


def test_a_second_call_of_a_connected_user_asks_the_database_nothing(
    gateway: str, upstream_url: str, alice: User, hops: list[str]
) -> None:
    provider = factories.make_provider()
    factories.allow(alice, factories.make_server(url=upstream_url, provider=provider), "use")
    factories.make_vault_entry(alice, provider)
    agent = Agent(gateway, alice)
    assert "result" in agent.call().json()
    assert len(hops) == 3  # and whose token
    for _ in range(10):
        agent.call()
    assert len(hops) == 3


def elsewhere(change: Callable[[], Any]) -> None:
    """Make a change as another process would: committed, counted, but nothing dropped here."""
    drop, here = counter.drop_remembered, threading.current_thread()

    def drop_unless_here() -> None:
        if threading.current_thread() is not here:
            drop()

    counter.drop_remembered = drop_unless_here
    try:
        change()
    finally:
        counter.drop_remembered = drop


@pytest.mark.parametrize("change", ["token", "right", "server", "user", "disabled"])
def test_a_change_made_by_another_process_is_seen_within_a_second(
    agent: Agent, server: MCPServer, alice: User, watcher: counter.Watcher, change: str
) -> None:
    from guardian.shortcuts import remove_perm

    assert agent.call().status_code == 200
    time.sleep(0.5)  # the watcher has seen the counter as it is now
    assert agent.call().status_code == 200

    def disable() -> None:
        server.enabled = False
        server.save()

    def deactivate() -> None:
        alice.is_active = False
        alice.save()

    makes: dict[str, Callable[[], Any]] = {
        "token": lambda: tokens.revoke(ApiToken.objects.get(), actor=alice),
        "right": lambda: (remove_perm("use_mcpserver", alice, server), remove_perm("view_mcpserver", alice, server)),
        "server": server.delete,
        "user": deactivate,
        "disabled": disable,
    }
    elsewhere(makes[change])
    changed = time.monotonic()

    def is_refused() -> bool:
        response = agent.call()
        return response.status_code in {401, 404} or "error" in response.json()

    wait_for(is_refused, seconds=2)
    assert time.monotonic() - changed < 1


def test_a_counter_that_cannot_be_read_counts_as_a_change(
    agent: Agent, watcher: counter.Watcher, monkeypatch: pytest.MonkeyPatch, hops: list[str]
) -> None:
    from django.db import OperationalError

    def unreadable() -> int:
        raise OperationalError

    agent.call()
    monkeypatch.setattr(counter, "current", unreadable)
    before = len(hops)
    time.sleep(0.6)
    agent.call()
    assert len(hops) > before
