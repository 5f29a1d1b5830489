import re
from datetime import timedelta
from html.parser import HTMLParser

import pytest
import responses
from django.contrib.auth.models import Group, User
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from audit.models import Event
from connections import listing
from connections.listing import Status
from tests import factories
from vault.models import VaultEntry

REVOKE = "https://auth.example.com/revoke"
SCRIPT = '<script>alert("f15")</script>'


@pytest.fixture
def members(alice: User, bob: User) -> None:
    """Alice and Bob may use every server."""
    Group.objects.get(name="members").user_set.add(alice, bob)


def page(browser: Client, path: str = "/connections/") -> str:
    """Return a page as text with single spaces."""
    response = browser.get(path)
    assert response.status_code == 200
    return " ".join(response.content.decode().split())


def card(text: str, provider: str) -> str:
    """Return the card of one provider."""
    start = text.index(f'<li class="card" id="{provider}">')
    return text[start : text.index("</article>", start)]


def press_disconnect(browser: Client, provider: str = "github", *, token: str | None = None) -> object:
    """Send the form of the disconnect page."""
    path = f"/connections/{provider}/disconnect/"
    browser.get(path)
    form = {"csrfmiddlewaretoken": browser.cookies["aigw_csrf"].value if token is None else token}
    return browser.post(path, form, headers={"referer": f"https://gateway.test{path}"})


# --- Who ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/connections/", "/connections/github/disconnect/"])
def test_a_stranger_has_to_sign_in(browser: Client, db: None, path: str) -> None:
    factories.make_provider()
    response = browser.get(path)
    assert (response.status_code, response["Location"]) == (302, f"/sign-in/?next={path}")


@pytest.mark.threat("F05")
def test_bob_sees_and_touches_nothing_of_alices(browser: Client, alice: User, bob: User) -> None:
    entry = factories.make_vault_entry(alice, factories.make_provider(), account="alice@example.com")
    browser.force_login(bob)
    text = page(browser)
    assert "alice@example.com" not in text
    assert "Not connected" in card(text, "github")
    assert browser.get("/connections/github/disconnect/")["Location"] == "/connections/"
    press_disconnect(browser)
    assert VaultEntry.objects.filter(pk=entry.pk).exists()


def test_one_needs_no_right_on_a_provider_to_see_its_card(alices: Client) -> None:
    factories.make_provider("github", display_name="GitHub", scopes=["repo"])
    shown = card(page(alices), "github")
    assert "Not connected" in shown
    assert "<code>" in shown
    assert "repo" in shown
    for private in ("gateway-client", "auth.example.com", "GITHUB_CLIENT_SECRET"):
        assert private not in shown


# --- Which providers ------------------------------------------------------------------------------------


def test_without_providers_the_page_says_what_it_is_for(alices: Client) -> None:
    text = page(alices)
    assert "No providers yet" in text
    assert "<button" not in text.partition("<main")[2]


def test_listed_are_enabled_providers_with_browser_consent_and_those_connected(alices: Client, alice: User) -> None:
    factories.make_provider("open")
    factories.make_provider("disabled", enabled=False)
    factories.make_provider("exchange", grant_types=["token_exchange"])
    factories.make_vault_entry(alice, factories.make_provider("disabled-but-mine", enabled=False))
    factories.make_vault_entry(alice, factories.make_provider("exchange-but-mine", grant_types=["token_exchange"]))
    gone = factories.make_provider("gone")
    factories.make_vault_entry(alice, gone)
    gone.delete()
    names = [row.provider for row in listing.connections_of(alice)]
    assert names == ["disabled-but-mine", "exchange-but-mine", "open"]
    shown = card(page(alices), "disabled-but-mine")
    assert "An administrator has switched" in shown
    assert "/oauth/v1/authorize" not in shown


# --- How it stands --------------------------------------------------------------------------------------


def test_a_card_says_as_whom_for_what_and_how_long(alices: Client, alice: User, members: None) -> None:
    provider = factories.make_provider("github", display_name="GitHub", scopes=["read:user"])
    factories.make_server("code-review", provider=provider, required_scopes=["repo"])
    now = timezone.now()
    factories.make_vault_entry(
        alice,
        provider,
        account="alice@example.com",
        scopes_requested=["read:user", "repo"],
        scopes_granted=["read:user", "repo"],
        connected_at=now - timedelta(days=3),
        last_used_at=now - timedelta(minutes=5),
    )
    shown = card(page(alices), "github").replace("\xa0", " ")
    for words in ("Connected", "as alice@example.com", "Read and change your repositories", "code-review"):
        assert words in shown
    for words in ("3 days ago", "5 minutes ago", "renews by itself", "Disconnect", "Reconnect"):
        assert words in shown


def test_what_needs_attention_comes_first_opened_with_reason_and_fix(alices: Client, alice: User) -> None:
    factories.make_provider("available")
    factories.make_vault_entry(alice, factories.make_provider("fine"))
    dead = factories.make_provider("zulip", display_name="Zulip")
    factories.make_vault_entry(
        alice, dead, attention_reason="invalid_grant", access_token=None, refresh_token=None, account=""
    )
    text = page(alices)
    assert text.index("Needs attention") < text.index('id="fine"') < text.index("Available to connect")
    assert text.index('id="zulip"') < text.index('id="fine"') < text.index('id="available"')
    shown = card(text, "zulip")
    assert "Zulip no longer accepts the saved sign-in. Reconnect to go on; nothing else is lost." in shown
    assert '<details class="more" open>' in shown
    assert "Reconnect" in shown
    assert "the provider does not say which account" in shown


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"attention_reason": "missing_scopes"}, "missing_scopes"),
        ({"provider_fingerprint": "another"}, "provider_changed"),
        ({"expires_at": -1, "refresh_token": None}, "no_refresh_token"),
        ({"expires_at": -1, "refresh_token_expires_at": -1}, "idle"),
        ({"expires_at": -1, "failing_since": -100}, "upstream_error"),
        ({"expires_at": -1, "failing_since": -1}, ""),
        ({"expires_at": -1}, ""),
        ({"expires_at": 1, "refresh_token": None}, ""),
        ({"expires_at": None, "refresh_token": None}, ""),
        ({"scopes_granted": []}, ""),
    ],
)
def test_the_status_says_what_the_next_call_would_find(alice: User, fields: dict[str, object], reason: str) -> None:
    moments = {
        name: timezone.now() + timedelta(hours=value) for name, value in fields.items() if isinstance(value, int)
    }
    factories.make_vault_entry(alice, factories.make_provider(), **{**fields, **moments})
    (row,) = listing.connections_of(alice)
    assert row.attention_reason == reason
    assert row.status == (Status.NEEDS_ATTENTION if reason else Status.CONNECTED)


@pytest.mark.parametrize("reason", ["invalid_grant", "idle", "lost_rotation", "provider_changed", "never-heard-of"])
def test_every_reason_has_words_and_a_way_on(alices: Client, alice: User, reason: str) -> None:
    factories.make_vault_entry(alice, factories.make_provider(), attention_reason=reason)
    shown = card(page(alices), "github")
    assert "Reconnect to go on" in shown
    assert reason not in shown


def test_the_raw_scope_is_there_on_demand_and_an_unknown_one_as_it_is(alices: Client) -> None:
    factories.make_provider("github", scopes=["repo", "odd:scope"])
    text = card(page(alices), "github")
    assert "<summary>Read and change your repositories</summary><code>repo</code>" in text
    assert "<li><code>odd:scope</code></li>" in text


def test_reconnecting_says_what_is_asked_in_addition(alices: Client, alice: User, members: None) -> None:
    provider = factories.make_provider("github", scopes=["read"])
    factories.make_vault_entry(alice, provider, attention_reason="invalid_grant")
    assert "nothing in addition" in card(page(alices), "github")
    factories.make_server("code-review", provider=provider, required_scopes=["repo"])
    text = card(page(alices), "github")
    asked = text[text.index("Reconnect asks for") : text.index("Needed by")]
    assert "<code>repo</code>" in asked
    assert "<code>read</code>" not in asked


def test_scopes_that_came_later_leave_it_connected_and_are_shown(alices: Client, alice: User) -> None:
    provider = factories.make_provider("github", scopes=["read", "workflow"])
    factories.make_vault_entry(alice, provider)
    shown = card(page(alices), "github")
    assert "Connected" in shown
    assert "New since then" in shown
    assert "workflow" in shown


def test_connect_asks_for_the_provider_the_servers_and_what_was_granted_before(alice: User, members: None) -> None:
    provider = factories.make_provider("github", scopes=["read:user"])
    factories.make_server("code-review", provider=provider, required_scopes=["repo"])
    factories.make_vault_entry(alice, provider, scopes_granted=["gist"])
    (row,) = listing.connections_of(alice)
    assert row.wanted == ["gist", "read:user", "repo"]
    assert "scopes=gist%2Cread%3Auser%2Crepo&" in row.authorize_url


def test_connect_leads_to_the_question_and_no_further(alices: Client) -> None:
    factories.make_provider("github", display_name="GitHub")
    links = re.findall(r'href="(https://gateway\.test/oauth/v1/authorize[^"]*)"', page(alices))
    question = alices.get(links[0].replace("&amp;", "&").removeprefix("https://gateway.test"))
    assert question.status_code == 200
    assert "Connect GitHub" in question.content.decode()


# --- Finding one ----------------------------------------------------------------------------------------


def cards(text: str) -> set[str]:
    """Return whose cards are on the page."""
    return set(re.findall(r'<li class="card" id="([^"]+)">', text))


def test_a_few_need_no_search(alices: Client) -> None:
    for number in range(5):
        factories.make_provider(f"provider-{number}")
    assert 'role="search"' not in page(alices)
    factories.make_provider("one-more")
    assert 'role="search"' in page(alices)


def test_search_finds_by_what_the_card_says(alices: Client, alice: User, members: None) -> None:
    github = factories.make_provider("github", display_name="GitHub", scopes=["repo"])
    factories.make_server("code-review", provider=github, required_scopes=["gist"])
    factories.make_vault_entry(alice, factories.make_provider("mail", scopes=[]), account="Maria@example.com")
    for words in ("GITHUB", "git", "repo", "gist", "code-rev"):
        assert cards(page(alices, f"/connections/?q={words}")) == {"github"}, words
    text = page(alices, "/connections/?q=maria")
    assert cards(text) == {"mail"}
    assert 'value="maria"' in text
    assert 'Connected <span class="count">1</span>' in text
    assert "Available to connect" not in text
    assert "Nothing matches “zzz”" in page(alices, "/connections/?q=zzz")
    assert cards(page(alices, "/connections/?q=")) == {"github", "mail"}


@pytest.mark.threat("F15")
def test_what_is_searched_for_is_shown_as_text(alices: Client) -> None:
    assert "<script" not in page(alices, f"/connections/?q={SCRIPT}")


def test_many_come_in_pages_that_keep_order_search_and_counts(alices: Client, alice: User) -> None:
    for number in range(60):
        provider = factories.make_provider(f"provider-{number:02}")
        if number % 4 == 0:
            factories.make_vault_entry(alice, provider)
    factories.make_vault_entry(alice, factories.make_provider("troubled"), attention_reason="invalid_grant")
    first = page(alices)
    assert len(cards(first)) == 24
    assert "troubled" in cards(first)
    assert 'Needs attention <span class="count">1</span>' in first
    assert 'Connected <span class="count">15</span>' in first
    assert 'Available to connect <span class="count">45</span>' in first
    every = [cards(page(alices, f"/connections/?page={number}")) for number in (1, 2, 3)]
    assert [len(some) for some in every] == [24, 24, 13]
    assert len(set.union(*every)) == 61
    assert 'href="?q=provider&amp;page=2"' in page(alices, "/connections/?q=provider")
    assert cards(page(alices, "/connections/?page=99")) == every[2]


# --- Disconnect -----------------------------------------------------------------------------------------


def test_disconnecting_says_first_what_it_will_hit(alices: Client, alice: User, members: None) -> None:
    provider = factories.make_provider("github", display_name="GitHub")
    factories.make_vault_entry(alice, provider, account="alice@example.com")
    assert "No server that you may use needs it." in page(alices, "/connections/github/disconnect/")
    factories.make_server("one", provider=provider)
    assert "One server can no longer act for you" in page(alices, "/connections/github/disconnect/")
    factories.make_server("two", provider=provider)
    text = page(alices, "/connections/github/disconnect/")
    for words in ("2 servers can no longer act", "alice@example.com", ">one<", ">two<", "Disconnect GitHub", "Keep it"):
        assert words in text


@pytest.mark.threat("A15")
def test_a_get_of_the_disconnect_page_changes_nothing(alices: Client, alice: User) -> None:
    factories.make_vault_entry(alice, factories.make_provider())
    before, events = list(VaultEntry.objects.values()), Event.objects.count()
    page(alices, "/connections/github/disconnect/")
    assert alices.head("/connections/github/disconnect/").status_code == 200
    assert list(VaultEntry.objects.values()) == before
    assert Event.objects.count() == events


@pytest.mark.threat("A15")
@pytest.mark.parametrize("token", ["", "x" * 64])
def test_disconnecting_without_the_forms_token_is_refused(alices: Client, alice: User, token: str) -> None:
    entry = factories.make_vault_entry(alice, factories.make_provider())
    response = press_disconnect(alices, token=token)
    assert response.status_code == 403
    assert "nothing was changed" in response.content.decode()
    assert VaultEntry.objects.filter(pk=entry.pk).exists()


@pytest.mark.parametrize("method", ["put", "delete", "patch"])
def test_other_methods_are_refused(alices: Client, method: str) -> None:
    response = getattr(alices, method)("/connections/github/disconnect/", headers={"referer": "https://gateway.test/"})
    assert response.status_code in {403, 405}


def test_there_is_nothing_to_disconnect_at_an_unknown_provider(alices: Client) -> None:
    assert alices.get("/connections/nowhere/disconnect/").status_code == 404


@pytest.mark.parametrize(
    ("status", "fields", "words"),
    [
        (200, {}, "has confirmed that the access is withdrawn"),
        (503, {}, "the gateway keeps telling it to withdraw the access"),
        (200, {"revocation_endpoint": ""}, "offers no way to withdraw the access from here"),
    ],
)
@responses.activate
def test_what_became_of_it_is_said_once(
    alices: Client, alice: User, status: int, fields: dict[str, str], words: str
) -> None:
    responses.post(REVOKE, status=status)
    factories.make_vault_entry(alice, factories.make_provider("github", display_name="GitHub", **fields))
    assert press_disconnect(alices)["Location"] == "/connections/"
    assert not VaultEntry.objects.exists()
    text = page(alices)
    assert words in text
    assert 'role="status"' in text
    assert "Not connected" in card(text, "github")
    assert words not in page(alices)


# --- What is on the page --------------------------------------------------------------------------------


@pytest.mark.threat("I03")
def test_the_number_of_queries_does_not_grow(alices: Client, alice: User, members: None) -> None:
    def visit() -> int:
        with CaptureQueriesContext(database) as queries:
            page(alices)
        return len(queries)

    factories.make_vault_entry(alice, factories.make_provider("first"))
    page(alices)
    few = visit()
    for number in range(20):
        provider = factories.make_provider(f"provider-{number}")
        factories.make_server(f"server-{number}", provider=provider)
        factories.make_vault_entry(alice, provider)
    assert visit() == few
    assert few <= 15


@pytest.mark.threat("F15")
def test_names_are_shown_as_text(alices: Client, alice: User) -> None:
    provider = factories.make_provider("github", display_name=SCRIPT, scopes=[f"s{SCRIPT}"])
    page_before = page(alices)
    factories.make_vault_entry(alice, provider, account=SCRIPT, scopes_granted=[SCRIPT])
    for text in (page_before, page(alices), page(alices, "/connections/github/disconnect/")):
        assert "<script" not in text
        assert "&lt;script&gt;" in text


@pytest.mark.threat("H01")
def test_no_token_is_on_any_page(alices: Client, alice: User) -> None:
    tokens = {"access_token": "c4nary-access", "refresh_token": "c4nary-refresh"}
    factories.make_vault_entry(alice, factories.make_provider(), **tokens)
    assert "c4nary" not in page(alices) + page(alices, "/connections/github/disconnect/")
    (row,) = listing.connections_of(alice)
    assert "c4nary" not in repr(row)


class InlineCode(HTMLParser):
    """Notes whatever a strict content security policy would have to allow."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a script, a style, and attributes that hold either."""
        if tag in {"script", "style"}:
            self.found.append(tag)
        self.found += [name for name, _ in attrs if name == "style" or name.startswith("on")]


@pytest.mark.threat("F15")
@pytest.mark.parametrize("path", ["/connections/", "/connections/github/disconnect/", "/nowhere/"])
def test_pages_carry_no_inline_script_or_style(alices: Client, alice: User, path: str) -> None:
    factories.make_vault_entry(alice, factories.make_provider())
    parser = InlineCode()
    parser.feed(alices.get(path).content.decode())
    assert parser.found == []


def test_the_root_leads_a_stranger_to_the_sign_in_page_and_back(browser: Client) -> None:
    assert browser.get("/")["Location"] == "/sign-in/?next=/"


def test_only_who_may_enter_is_shown_the_admin(alices: Client, alice: User) -> None:
    assert 'href="/admin/"' not in page(alices)
    alice.groups.add(Group.objects.get(name="mcp-editors"))
    assert 'href="/admin/"' in page(alices)
