"""Sessions are kept in the database: a restart or another replica goes on with them; the call path asks nothing."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from pytest_django import Settings

from clients import activity
from mcpservers.dataplane import kept_sessions
from mcpservers.dataplane.per_user import PerUser
from mcpservers.dataplane.sessions import sessions
from mcpservers.models import MCPServer, McpSession
from mcpservers.tasks import collect_sessions
from providers.models import OAuthProvider
from tests import factories
from tests.dataplane.conftest import HELLO, Agent
from tests.dataplane.test_hot_path import hops  # noqa: F401 - a fixture
from tests.fakes.mcp_server import FakeMcpServer


def test_a_passed_through_session_survives_a_restart(agent: Agent, upstream: FakeMcpServer) -> None:
    agent.initialize()
    sessions.clear()
    assert agent.call().status_code == 200
    assert upstream.methods().count("initialize") == 1
    assert upstream.requests[-1].header("mcp-session-id") in upstream.sessions


def test_a_session_that_is_not_open_yet_survives_a_restart(
    gateway: str, upstream_url: str, alice: User, upstream: FakeMcpServer
) -> None:
    provider: OAuthProvider = factories.make_provider()
    factories.allow(alice, factories.make_server(url=upstream_url, provider=provider), "use")
    agent = Agent(gateway, alice)
    agent.initialize()
    sessions.clear()
    factories.make_vault_entry(alice, provider)
    assert "result" in agent.call().json()
    assert upstream.requests[0].message["params"]["clientInfo"]["name"] == "tests"
    sessions.clear()
    agent.call()
    assert upstream.methods().count("initialize") == 1


@pytest.mark.threat("D22", "C01")
def test_neither_id_is_readable_in_the_database(agent: Agent, upstream: FakeMcpServer) -> None:
    agent.initialize()
    [row] = McpSession.objects.values()
    [upstream_id] = upstream.sessions
    assert agent.session not in str(row)
    assert upstream_id not in str(row)


def test_a_second_call_in_a_session_asks_the_database_nothing(agent: Agent, hops: list[str]) -> None:  # noqa: F811
    agent.initialize()
    agent.call()
    before = len(hops)
    agent.call()
    assert len(hops) == before


def test_an_ended_session_is_ended_for_every_replica(agent: Agent, upstream: FakeMcpServer) -> None:
    import requests

    agent.initialize()
    requests.delete(agent.url, headers={**agent.headers, "Mcp-Session-Id": agent.session}, timeout=5)
    sessions.clear()
    assert agent.call().status_code == 404
    assert not McpSession.objects.exists()


def test_an_idle_session_is_unknown_and_collected(agent: Agent, settings: Settings) -> None:
    agent.initialize()
    activity.flush()
    long_ago = timezone.now() - timedelta(seconds=settings.AIGW_SESSION_IDLE_SECONDS + 1)
    McpSession.objects.update(used_at=long_ago)
    sessions.clear()
    assert agent.call().status_code == 404
    collect_sessions.apply()
    assert not McpSession.objects.exists()


def test_use_is_written_in_batches(agent: Agent) -> None:
    agent.initialize()
    McpSession.objects.update(used_at=timezone.now() - timedelta(hours=1))
    agent.call()
    activity.flush()
    assert timezone.now() - McpSession.objects.get().used_at < timedelta(minutes=1)


def test_one_user_keeps_so_many_sessions_and_no_more(
    server: MCPServer, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_sessions, "KEPT_PER_USER", 3)
    for number in range(5):
        kept_sessions.keep(f"id-{number}", user_id=alice.pk, server_uid=server.uid, initialize_params={})
    assert McpSession.objects.count() == 3
    assert kept_sessions.find("id-4", user_id=alice.pk, server_uid=server.uid)
    assert kept_sessions.find("id-0", user_id=alice.pk, server_uid=server.uid) is None


def test_a_client_that_says_too_much_of_itself_is_refused(agent: Agent, upstream: FakeMcpServer) -> None:
    hello = {**HELLO, "clientInfo": {"name": "x" * 70_000, "version": "1"}}
    answer = agent.post("initialize", hello)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, -32600)
    assert upstream.requests == []
    assert not McpSession.objects.exists()


def test_a_session_that_another_replica_ended_ends_here_too(agent: Agent, upstream: FakeMcpServer) -> None:
    agent.initialize()
    assert agent.call().status_code == 200
    McpSession.objects.all().delete()
    activity.flush()
    assert agent.call().status_code == 404
    assert agent.call().status_code == 404
    before = len(upstream.requests)
    agent.initialize()
    assert agent.call().status_code == 200
    assert len(upstream.requests) > before


def test_who_begins_many_sessions_makes_no_one_elses_be_forgotten() -> None:
    kept: PerUser[str] = PerUser(in_all=5, per_user=2)
    kept.put("bob-1", 2, "his")
    for number in range(20):
        kept.put(f"alice-{number}", 1, "hers")
    assert [kept.get("bob-1"), kept.get("alice-18"), kept.get("alice-19")] == ["his", "hers", "hers"]
    assert len(kept) == 3
    kept.used("alice-18")
    kept.put("alice-20", 1, "hers")
    assert [kept.get("alice-18"), kept.get("alice-19")] == ["hers", None]
    for user in range(3, 20):
        kept.put(f"user-{user}", user, "theirs")
    assert len(kept) == len(list(kept)) == 5
    assert kept.get("bob-1") is None
    assert kept.pop("user-19") == "theirs"
    assert (kept.pop("user-19"), len(kept), len(kept._of_user)) == (None, 4, 4)
    kept.clear()
    assert (len(kept), kept._of_user) == (0, {})
