"""*Activity* on the page of a server: one's own calls, and nobody else's."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from mcpservers.models import MCPServer
from tests import factories

PATH = "/servers/tools/?tab=activity"


@pytest.fixture
def server(alice: User) -> MCPServer:
    row = factories.make_server()
    factories.allow(alice, row, "view", "use", "change")
    return row


def shown(browser: Client, user: User, query: str = "") -> str:
    browser.force_login(user)
    answer = browser.get(f"{PATH}{query}")
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def test_who_has_not_called_is_told_how(browser: Client, alice: User, server: MCPServer) -> None:
    text = shown(browser, alice)
    assert "You have not called this server yet" in text
    assert 'href="/servers/tools/?tab=activity" aria-current="page"' in text


@pytest.mark.threat("F05")
def test_one_sees_ones_own_calls_even_where_one_may_see_all(
    browser: Client, alice: User, bob: User, server: MCPServer
) -> None:
    factories.make_call(server, alice, tool="mine")
    factories.make_call(server, alice, tool="broken", outcome="unavailable")
    factories.make_call(server, alice, tool="long-ago", at=timezone.now() - timedelta(hours=30))
    factories.make_call(server, bob, tool="of-bob")
    factories.make_call(factories.make_server("other"), alice, tool="elsewhere")
    text = shown(browser, alice)
    assert "of-bob" not in text
    assert "elsewhere" not in text
    assert text.index("broken") < text.index("mine") < text.index("long-ago")
    assert "2 calls, 1 of them went wrong; half took at most 12 ms" in text
    assert "Unavailable" in text
    browser.force_login(bob)
    assert browser.get(PATH).status_code == 404


@pytest.mark.threat("F15")
def test_a_tools_name_is_shown_as_text(browser: Client, alice: User, server: MCPServer) -> None:
    factories.make_call(server, alice, tool="<script>alert(1)</script>")
    assert "<script>alert" not in shown(browser, alice)


@pytest.mark.threat("I03")
def test_many_calls_come_in_pages_and_cost_no_more_queries(browser: Client, alice: User, server: MCPServer) -> None:
    def visit() -> int:
        with CaptureQueriesContext(connection) as queries:
            browser.get(PATH)
        return len(queries)

    factories.make_call(server, alice)
    shown(browser, alice)
    few = visit()
    for _ in range(30):
        factories.make_call(server, alice)
    assert visit() == few
    assert few <= 20
    assert "Page 2 of 2" in shown(browser, alice, "&page=2")
