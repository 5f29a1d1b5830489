"""The pages of the MCP servers that a user may use."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.utils import timezone

from clients import tokens
from clients.models import ApiToken
from mcpservers import discovery
from mcpservers.models import MCPServer
from tests import factories
from tests.clients.test_token_pages import TOKEN

SCHEMA = {
    "type": "object",
    "properties": {"title": {"type": "string", "description": "What it is called"}, "count": {"type": "integer"}},
    "required": ["title"],
}
TOOLS = [
    {"name": "create_issue", "description": "Open an issue", "inputSchema": SCHEMA},
    {"name": "list_issues", "description": "Read issues", "annotations": {"readOnlyHint": True}},
]


@pytest.fixture
def alices(browser: Client, alice: User) -> Client:
    browser.force_login(alice)
    return browser


@pytest.fixture
def members(alice: User) -> None:
    Group.objects.get(name="members").user_set.add(alice)


def page(client: Client, path: str = "/servers/", status: int = 200) -> str:
    answer = client.get(path)
    assert answer.status_code == status
    return " ".join(answer.content.decode().split()).replace("\xa0", " ")


def send(client: Client, path: str, **fields: str) -> Any:
    """Send a form with the CSRF token of a page that was opened before."""
    client.get("/tokens/")
    form = {"csrfmiddlewaretoken": client.cookies["aigw_csrf"].value, **fields}
    return client.post(path, form, headers={"referer": f"https://gateway.test{path}"})


def make_server(name: str = "tracker", **fields: Any) -> MCPServer:
    return factories.make_server(name, **{"tools": TOOLS, "tools_refreshed_at": timezone.now(), **fields})


# --- Who ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/servers/", "/servers/tracker/", "/servers/tracker/?tab=connect"])
def test_a_stranger_has_to_sign_in(browser: Client, db: None, path: str) -> None:
    make_server()
    location = browser.get(path)["Location"]
    assert location.startswith("/sign-in/?next=/")


@pytest.mark.threat("F05")
@pytest.mark.parametrize("way", ["globally", "on the object"])
@pytest.mark.parametrize(
    ("held", "status", "refreshes"),
    [
        ((), 404, 404),
        (("use",), 404, 404),
        (("change",), 404, 404),
        (("view",), 403, 403),
        (("view", "change"), 403, 302),
        (("view", "use"), 200, 403),
        (("view", "use", "change"), 200, 302),
    ],
)
def test_list_and_detail_follow_one_rule(
    alices: Client,
    alice: User,
    monkeypatch: pytest.MonkeyPatch,
    held: tuple[str, ...],
    status: int,
    refreshes: int,
    way: str,
) -> None:
    monkeypatch.setattr(discovery, "refresh_tools", lambda *_, **__: None)
    server = make_server()
    for action in held:
        if way == "globally":
            factories.allow_everywhere(alice, MCPServer, action)
        else:
            factories.allow(alice, server, action)
    assert ("tracker" in page(alices)) == (status == 200)
    for path in ("/servers/tracker/", "/servers/tracker/?tab=connect"):
        assert alices.get(path).status_code == status
    assert send(alices, "/servers/tracker/token/", name="x", lasts="30").status_code == status
    assert ApiToken.objects.exists() == (status == 200)
    assert send(alices, "/servers/tracker/refresh/").status_code == refreshes


def test_who_may_see_but_not_use_is_told_whom_to_ask(alices: Client, alice: User) -> None:
    factories.allow(alice, make_server(), "view")
    text = page(alices, "/servers/tracker/", 403)
    assert "You may see the server tracker, but not use it." in text
    assert "Ask an administrator" in text
    assert "create_issue" not in text


@pytest.mark.threat("A15")
def test_a_get_changes_nothing_and_a_form_needs_its_token(alices: Client, members: None) -> None:
    make_server()
    assert alices.get("/servers/tracker/token/")["Location"] == "/servers/tracker/?tab=connect"
    assert alices.get("/servers/tracker/refresh/")["Location"] == "/servers/tracker/"
    for path in ("/servers/tracker/token/", "/servers/tracker/refresh/"):
        answer = alices.post(path, {"name": "x", "lasts": "30"}, headers={"referer": f"https://gateway.test{path}"})
        assert answer.status_code == 403
    assert not ApiToken.objects.exists()


# --- The list -------------------------------------------------------------------------------------------


def test_without_servers_the_page_says_what_it_is_for(alices: Client) -> None:
    assert "No servers yet" in page(alices)


def test_a_card_says_type_mode_tools_and_freshness(alices: Client, members: None) -> None:
    make_server(description="Issues of the team", tools_refreshed_at=timezone.now() - timedelta(hours=3))
    make_server("fresh", tools=[], tools_refreshed_at=None, enabled=False)
    text = page(alices)
    for words in ("Issues of the team", "Remote · Streamable HTTP", "2 tools, seen", "3 hours ago", "Ready"):
        assert words in text
    assert "tools not seen yet" in text
    assert "Disabled" in text


MODES = [
    ({"mode": "none"}, "No authentication"),
    ({"mode": "static_key", "key_ref": "KEY"}, "Static key"),
    ({"mode": "token_passthrough"}, "Token passthrough"),
    ({"mode": "service_account_oauth", "provider_name": "github"}, "Service-account OAuth"),
    ({"mode": "user_oauth", "provider_name": "github", "required_scopes": []}, "User-delegated OAuth"),
]


@pytest.mark.parametrize(("auth", "words"), MODES)
@pytest.mark.parametrize("tab", ["", "?tab=connect"])
def test_every_mode_has_its_pages(alices: Client, members: None, auth: dict[str, Any], words: str, tab: str) -> None:
    provider = factories.make_provider("github")
    make_server(auth=auth, provider_uid=provider.uid if "provider_name" in auth else None)
    assert words in page(alices)
    assert words in page(alices, f"/servers/tracker/{tab}")
    assert ("UPSTREAM_AUTHORIZATION" in page(alices, "/servers/tracker/?tab=connect")) == (words == "Token passthrough")


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (None, "Not connected"),
        ({}, "Connected"),
        ({"scopes_granted": []}, "Needs attention"),
        ({"attention_reason": "invalid_grant", "access_token": None}, "Needs attention"),
    ],
)
def test_a_card_says_whether_one_is_connected(
    alices: Client, alice: User, members: None, entry: dict[str, Any] | None, said: str
) -> None:
    provider = factories.make_provider("github", display_name="GitHub")
    make_server(provider=provider, required_scopes=["read"])
    if entry is not None:
        factories.make_vault_entry(alice, provider, **entry)
    assert f"</svg> {said}<" in page(alices)
    shown = page(alices, "/servers/tracker/")
    assert f"</svg> {said}<" in shown
    assert ("/oauth/v1/authorize" in shown) == (said != "Connected")


@pytest.mark.parametrize("fate", ["disabled", "deleted", "replaced"])
def test_a_provider_that_is_gone_is_said(alices: Client, members: None, fate: str) -> None:
    provider = factories.make_provider("github")
    make_server(provider=provider)
    if fate == "disabled":
        type(provider).objects.update(enabled=False)
    else:
        provider.delete()
    if fate == "replaced":
        factories.make_provider("github")
    assert "Cannot be used now" in page(alices)
    shown = page(alices, "/servers/tracker/")
    assert "OAuth provider not found" in shown
    assert "/oauth/v1/authorize" not in shown


def test_the_search_finds_names_and_descriptions(alices: Client, members: None) -> None:
    make_server()
    make_server("wiki", description="The TRACKER of pages")
    make_server("mail")
    text = page(alices, "/servers/?q=tracker")
    assert 'href="/servers/tracker/"' in text
    assert 'href="/servers/wiki/"' in text
    assert 'href="/servers/mail/"' not in text
    assert "No server matches “%_”" in page(alices, "/servers/?q=%25_")
    assert page(alices, "/servers/?q=%00")


@pytest.mark.threat("I03")
def test_many_servers_come_in_pages_with_a_bounded_number_of_queries(
    alices: Client, alice: User, members: None, django_assert_max_num_queries: Any
) -> None:
    providers = [factories.make_provider(f"provider-{number}") for number in range(10)]
    for number in range(100):
        server = make_server(f"server-{number:03}", provider=providers[number % 10])
        factories.hold_changes(server)
    factories.make_vault_entry(alice, providers[0])
    page(alices)
    with django_assert_max_num_queries(15):
        text = page(alices)
    assert "Page 1 of 5" in text
    assert text.count('class="card"') == 24
    assert "server-099" in page(alices, "/servers/?page=5")
    with django_assert_max_num_queries(15):
        page(alices, "/servers/server-001/")
    with django_assert_max_num_queries(15):
        page(alices, "/servers/server-001/?tab=connect")


def test_the_queries_do_not_grow_with_rights_on_single_servers(
    alices: Client, alice: User, django_assert_max_num_queries: Any
) -> None:
    for number in range(30):
        factories.allow(alice, make_server(f"server-{number:03}"), "view", "use")
    page(alices)
    with django_assert_max_num_queries(15):
        assert "Page 1 of 2" in page(alices)


# --- One server -----------------------------------------------------------------------------------------


def test_a_tool_is_shown_as_a_table(alices: Client, members: None) -> None:
    make_server()
    text = page(alices, "/servers/tracker/")
    for words in ("create_issue", "Open an issue", "What it is called", "required", "whole number", "Only reads"):
        assert words in text
    assert '"type"' not in text
    assert "&quot;type&quot;" not in text


def test_tools_are_searched_and_come_in_pages(alices: Client, members: None) -> None:
    make_server(tools=[{"name": f"tool-{number}"} for number in range(120)])
    text = page(alices, "/servers/tracker/")
    assert "Page 1 of 3" in text
    assert 'href="?page=2"' in text
    found = page(alices, "/servers/tracker/?q=tool-11")
    assert found.count("<details><summary>") == 11
    assert "No tool matches" in page(alices, "/servers/tracker/?q=nothing")


@pytest.mark.threat("F15")
@pytest.mark.parametrize(
    "tools",
    [
        [None, 1, "x", [], {}, {"name": 1}, {"name": None, "description": {}, "inputSchema": []}],
        [{"name": "a", "inputSchema": {"properties": []}, "outputSchema": {"properties": {"x": None}}}],
        [{"name": "a", "annotations": [], "inputSchema": {"properties": {"x": {"enum": {}, "items": 1, "type": [1]}}}}],
    ],
)
def test_a_list_of_tools_that_is_out_of_shape_breaks_no_page(alices: Client, members: None, tools: list[Any]) -> None:
    make_server(tools=tools)
    page(alices)
    page(alices, "/servers/tracker/")


def test_only_tools_that_the_policy_allows_are_shown_and_counted(alices: Client, alice: User, members: None) -> None:
    factories.restrict(make_server(), deny=["create_*"])
    assert "1 tool, seen" in page(alices)
    text = page(alices, "/servers/tracker/")
    assert "list_issues" in text
    assert "create_issue" not in text


def test_a_refresh_says_how_it_went(
    alices: Client, alice: User, members: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    factories.allow(alice, make_server(), "change")
    asked = []
    monkeypatch.setattr(discovery, "refresh_tools", lambda server, user_id: asked.append((server.name, user_id)))
    assert send(alices, "/servers/tracker/refresh/")["Location"] == "/servers/tracker/"
    assert asked == [("tracker", alice.pk)]
    assert "tracker was asked just now." in page(alices, "/servers/tracker/")

    def fail(*_: Any, **__: Any) -> None:
        raise discovery.DiscoveryFailed("It does not answer.")

    monkeypatch.setattr(discovery, "refresh_tools", fail)
    send(alices, "/servers/tracker/refresh/")
    assert "tracker did not tell its tools. It does not answer." in page(alices, "/servers/tracker/")


def test_why_a_look_failed_is_told_to_who_may_look_again(alices: Client, alice: User, members: None) -> None:
    server = make_server(discovery_error="10.0.0.7 is a private address.")
    text = page(alices, "/servers/tracker/")
    assert "The last look failed" in text
    assert "10.0.0.7" not in text
    factories.allow(alice, server, "change")
    assert "10.0.0.7 is a private address." in page(alices, "/servers/tracker/")


def test_a_token_is_made_beside_the_snippets_and_shown_once(alices: Client, alice: User, members: None) -> None:
    make_server()
    answer = send(alices, "/servers/tracker/token/", name="laptop", lasts="30")
    assert answer.status_code == 200
    found = set(TOKEN.findall(answer.content.decode()))
    assert len(found) == 1
    row = tokens.recognise(found.pop())
    assert row is not None
    assert (row.user, row.name) == (alice, "laptop")
    assert not TOKEN.search(page(alices, "/servers/tracker/?tab=connect"))
    refused = send(alices, "/servers/tracker/token/", name="", lasts="30")
    assert refused.status_code == 400
    assert "Say what the token is for." in refused.content.decode()


# --- First steps ----------------------------------------------------------------------------------------


def next_step(client: Client) -> str:
    text = page(client, "/")
    start = text.index('aria-current="step"')
    return text[start : text.index("</li>", start)]


def test_a_fresh_install_shows_the_step_to_take_until_all_are_done(alices: Client, alice: User) -> None:
    Group.objects.get(name="admins").user_set.add(alice)
    assert "Create provider" in next_step(alices)
    provider = factories.make_provider()
    assert "Add server" in next_step(alices)
    make_server(provider=provider)
    assert "Go to Connections" in next_step(alices)
    factories.make_vault_entry(alice, provider)
    assert alices.get("/")["Location"] == "/connections/"


def test_who_may_not_take_a_step_is_told_who_does(alices: Client, members: None) -> None:
    assert "An administrator" in next_step(alices)
    assert "/admin/" not in page(alices, "/")
    factories.make_provider()
    assert "lets you use it" in next_step(alices)


def test_a_server_that_needs_no_account_needs_no_provider_and_no_connection(alices: Client, members: None) -> None:
    make_server()
    assert alices.get("/")["Location"] == "/connections/"
