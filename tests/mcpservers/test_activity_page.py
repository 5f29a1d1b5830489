"""*Activity* of a server in the admin."""

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from mcpservers.activity.models import ServerCall
from mcpservers.models import MCPServer
from tests import factories
from tests.admin_pages import page, queries_of, signed_in


@pytest.fixture
def server(alice: User, bob: User) -> MCPServer:
    """A server that alice may change and bob may view, both in the admin."""
    User.objects.update(is_staff=True)
    row = factories.make_server()
    factories.allow(alice, row, "view", "change")
    factories.allow(bob, row, "view")
    return row


def made(server: MCPServer, user: User, *, tool: str = "echo", outcome: str = "answered") -> None:
    ServerCall.objects.create(
        at=timezone.now(),
        server_uid=server.uid,
        user_id=user.pk,
        request_id="r" * 32,
        method="tools/call",
        tool=tool,
        outcome=outcome,
        status=200,
        milliseconds=12.0,
        upstream_milliseconds=11.0,
        bytes_in=100,
        bytes_out=2000,
    )


def shown(user: User, server: MCPServer, query: str = "") -> str:
    user.refresh_from_db()
    answer = signed_in(user).get(f"{page(server, 'activity')}{query}")
    assert answer.status_code == 200
    return answer.content.decode()


def test_nobody_has_called_yet(server: MCPServer, alice: User) -> None:
    assert "Nobody has called this server yet" in shown(alice, server)


def test_who_may_change_the_server_sees_everybodys_calls(server: MCPServer, alice: User, bob: User) -> None:
    made(server, alice, tool="mine")
    made(server, bob, tool="theirs", outcome="tool_error")
    text = shown(alice, server)
    for word in ("mine", "theirs", "bob", "Tool error", "12.0 ms", "By user", "1 went wrong"):
        assert word in text


def test_anyone_else_sees_their_own(server: MCPServer, alice: User, bob: User) -> None:
    made(server, alice, tool="mine")
    made(server, bob, tool="theirs")
    text = shown(bob, server)
    assert "theirs" in text
    assert "mine" not in text
    assert "By user" not in text
    assert "alice" not in shown(bob, server, "?user=alice")


def test_it_is_narrowed_and_says_when_nothing_fits(server: MCPServer, alice: User) -> None:
    made(server, alice, tool="one")
    made(server, alice, tool="two", outcome="error")
    assert "<code>one</code>" not in shown(alice, server, "?outcome=errors")
    assert "No call fits" in shown(alice, server, "?tool=three")
    assert "No call fits" in shown(alice, server, "?outcome=%00&user=%27")


def test_pages(server: MCPServer, alice: User) -> None:
    for _ in range(51):
        made(server, alice)
    assert 'href="?tool=echo&amp;page=2"' in shown(alice, server, "?tool=echo")
    assert "Page 2 of 2" in shown(alice, server, "?tool=echo&page=99")
    assert "Page 1 of 2" in shown(alice, server, "?page=x")


@pytest.mark.threat("F15")
def test_a_name_with_markup_is_text(server: MCPServer, alice: User) -> None:
    made(server, alice, tool='<script>"x"</script>&')
    text = shown(alice, server)
    assert '<script>"x"' not in text
    assert "&lt;script&gt;" in text
    assert 'href="?tool=%3Cscript%3E%22x%22%3C%2Fscript%3E%26"' in text


@pytest.mark.threat("I03")
def test_it_takes_few_queries_however_long_it_is(server: MCPServer, alice: User, bob: User) -> None:
    made(server, alice)
    alice.refresh_from_db()
    few = queries_of(signed_in(alice), page(server, "activity"))
    for user in (alice, bob) * 20:
        made(server, user)
    assert queries_of(signed_in(alice), page(server, "activity")) == few <= 25
