"""`NAME/activity/` of the API: who sees whose calls, filters, sums; and how long it takes to keep them."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from mcpservers.activity import pruning, reading
from mcpservers.activity.models import ServerCall
from mcpservers.activity.outcomes import Outcome
from mcpservers.models import MCPServer
from mcpservers.tasks import prune_calls
from metrics import catalog
from tests import factories
from tests.api import client_of, send

PATH = "/api/v1/mcp-servers/tools/activity/"


@pytest.fixture
def server(alice: User, bob: User) -> MCPServer:
    """A server that alice may change and bob may view."""
    row = factories.make_server()
    factories.allow(alice, row, "view", "change")
    factories.allow(bob, row, "view")
    return row


def made(server: MCPServer, user: User, **fields: Any) -> ServerCall:
    defaults: dict[str, Any] = {
        "at": timezone.now(),
        "server_uid": server.uid,
        "user_id": user.pk,
        "request_id": "r" * 32,
        "method": "tools/call",
        "tool": "echo",
        "outcome": "answered",
        "status": 200,
        "milliseconds": 10.0,
        "upstream_milliseconds": 9.0,
        "bytes_in": 1,
        "bytes_out": 2,
    }
    return ServerCall.objects.create(**{**defaults, **fields})


def listed(user: User, query: str = "") -> list[dict[str, Any]]:
    answer = send(user, "get", f"{PATH}{query}")
    assert answer.status_code == 200, answer.content
    rows: list[dict[str, Any]] = answer.json()["results"]
    return rows


def test_the_newest_call_comes_first_with_all_that_is_kept(server: MCPServer, alice: User) -> None:
    made(server, alice, at=timezone.now() - timedelta(minutes=1), tool="older")
    made(server, alice, tool="newer")
    first, second = listed(alice)
    assert (first["tool"], second["tool"]) == ("newer", "older")
    assert first == {
        "at": first["at"],
        "request_id": "r" * 32,
        "user": "alice",
        "method": "tools/call",
        "tool": "newer",
        "outcome": "answered",
        "status": 200,
        "milliseconds": 10.0,
        "upstream_milliseconds": 9.0,
        "bytes_in": 1,
        "bytes_out": 2,
    }


def test_who_may_not_change_the_server_sees_only_their_own(server: MCPServer, alice: User, bob: User) -> None:
    made(server, alice)
    made(server, bob)
    assert [row["user"] for row in listed(bob)] == ["bob"]
    assert listed(bob, "?user=alice") == []
    summary = send(bob, "get", f"{PATH}summary/").json()
    assert (summary["calls"], [row["user"] for row in summary["by_user"]]) == (1, ["bob"])
    assert {row["user"] for row in listed(alice)} == {"alice", "bob"}
    assert [row["user"] for row in listed(alice, "?user=bob")] == ["bob"]


def test_the_calls_of_another_server_and_of_a_former_one_are_not_shown(server: MCPServer, alice: User) -> None:
    made(factories.make_server("other"), alice)
    made(server, alice)
    server.delete()
    factories.allow(alice, factories.make_server(), "view", "change")
    assert listed(alice) == []


def test_a_user_who_is_gone_has_no_name(server: MCPServer, alice: User, bob: User) -> None:
    made(server, bob)
    bob.delete()
    assert [row["user"] for row in listed(alice)] == [None]
    assert [row["user"] for row in send(alice, "get", f"{PATH}summary/").json()["by_user"]] == [None]


def test_filters(server: MCPServer, alice: User) -> None:
    now = timezone.now()
    made(server, alice, tool="echo", at=now - timedelta(hours=2))
    made(server, alice, tool="search", outcome="tool_error", at=now)
    made(server, alice, tool="search", outcome="consent", at=now)
    hour_ago = (now - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert len(listed(alice, "?tool=search")) == 2
    assert len(listed(alice, "?outcome=errors")) == 1
    assert len(listed(alice, "?outcome=consent")) == 1
    assert len(listed(alice, f"?since={hour_ago}")) == 2
    assert len(listed(alice, f"?until={hour_ago}&tool=echo")) == 1
    assert len(listed(alice, "?page_size=2")) == 2
    assert len(listed(alice, "?page_size=2&page=2")) == 1


@pytest.mark.parametrize(
    ("query", "attr"),
    [("?since=yesterday", "since"), ("?since=2026-05-14T09:30:00", "since"), ("?until=2026-13-40T00:00:00Z", "until")]
    + [("?outcome=bad", "outcome"), ("?colour=red", "colour"), ("?ordering=tool", "ordering")]
    + [("summary/?tool=echo", "tool"), ("summary/?page=2", "page")],
)
def test_what_is_not_understood_is_refused(server: MCPServer, alice: User, query: str, attr: str) -> None:
    answer = send(alice, "get", f"{PATH}{query}")
    assert (answer.status_code, answer.json()["errors"][0]["attr"]) == (400, attr)


@pytest.mark.parametrize(
    ("query", "known"),
    [("?colour=red", "outcome, page, page_size, since, tool, until, user"), ("summary/?colour=red", "since, until")],
)
def test_what_is_not_known_is_answered_with_what_is(server: MCPServer, alice: User, query: str, known: str) -> None:
    (error,) = send(alice, "get", f"{PATH}{query}").json()["errors"]
    assert (error["code"], error["detail"]) == ("unknown_filter", f"There is no such filter. Use one of {known}.")


def test_the_summary_adds_up_by_tool_and_by_user(server: MCPServer, alice: User, bob: User) -> None:
    for length in range(1, 101):
        made(server, alice, milliseconds=float(length), outcome="error" if length > 98 else "answered")
    made(server, bob, tool="slow", milliseconds=500.0, outcome="consent")
    made(server, bob, method="initialize", tool="", milliseconds=7.0)
    made(server, bob, method="GET", tool="", milliseconds=3_600_000.0)
    made(server, bob, at=timezone.now() - timedelta(days=2))
    found = send(alice, "get", f"{PATH}summary/").json()
    assert (found["calls"], found["errors"], found["is_cut"]) == (102, 2, False)
    assert [(row["tool"], row["calls"], row["errors"]) for row in found["by_tool"]] == [
        ("echo", 100, 2),
        ("slow", 1, 0),
    ]
    assert [row["p50_milliseconds"] for row in found["by_tool"]] == [50.0, 500.0]
    assert [row["p95_milliseconds"] for row in found["by_tool"]] == [95.0, 500.0]
    assert [(row["user"], row["calls"]) for row in found["by_user"]] == [("alice", 100), ("bob", 2)]


def test_a_summary_of_more_calls_than_are_looked_at_says_so(
    server: MCPServer, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "SUMMED_AT_MOST", 3)
    now = timezone.now()
    for minute in range(5):
        made(server, alice, at=now - timedelta(minutes=minute))
    found = send(alice, "get", f"{PATH}summary/").json()
    assert (found["calls"], found["is_cut"]) == (3, True)
    assert datetime.fromisoformat(found["since"]) == now - timedelta(minutes=2)


def test_a_tool_is_sought_among_the_newest_calls(
    server: MCPServer, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "SEARCHED_AT_MOST", 3)
    now = timezone.now()
    for minute in range(5):
        made(server, alice, at=now - timedelta(minutes=minute), tool="rare" if minute in {2, 4} else "echo")
    assert len(listed(alice)) == 5
    assert len(listed(alice, "?tool=rare")) == 1
    until = (now - timedelta(minutes=1)).isoformat().replace("+00:00", "Z")
    assert len(listed(alice, f"?tool=rare&until={until}")) == 2


def test_no_calls_add_up_to_nothing(server: MCPServer, alice: User) -> None:
    found = send(alice, "get", f"{PATH}summary/").json()
    assert (found["calls"], found["p95_milliseconds"], found["by_tool"], found["by_user"]) == (0, 0.0, [], [])


@pytest.mark.threat("I03")
def test_a_list_takes_few_queries_however_long_it_is(server: MCPServer, alice: User, bob: User) -> None:
    for user in (alice, bob) * 20:
        made(server, user)
    client = client_of(alice)
    counts = []
    for size in (1, 40):
        with CaptureQueriesContext(connection) as caught:
            assert client.get(f"{PATH}?page_size={size}").status_code == 200
        counts.append(len(caught))
    assert counts[0] == counts[1] <= 12


def test_calls_go_when_their_days_are_over(server: MCPServer, alice: User, settings: Settings) -> None:
    settings.AIGW_ACTIVITY_RETENTION_DAYS = 7
    for days in (30, 8, 6, 0):
        made(server, alice, at=timezone.now() - timedelta(days=days))
    prune_calls()
    assert ServerCall.objects.count() == 2
    settings.AIGW_ACTIVITY_RETENTION_DAYS = 0
    assert pruning.prune() == 2


def test_pruning_goes_in_chunks_until_all_is_gone(
    server: MCPServer, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "ROWS_PER_DELETION", 2)
    for _ in range(5):
        made(server, alice, at=timezone.now() - timedelta(days=100))
    made(server, alice)
    assert pruning.prune() == 5
    monkeypatch.setattr(pruning, "SECONDS_AT_MOST", 0)
    assert pruning.prune() == 0


def test_metrics_and_rows_say_the_same_words() -> None:
    assert tuple(Outcome.values) == catalog.CALL_OUTCOMES
