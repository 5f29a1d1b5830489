"""Connecting, refusing and disconnecting in Chromium, at the real authorization server of the demo."""

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from aigateway.demo.farside import FarSide
from audit.models import Event
from connections import listing
from providers.models import OAuthProvider
from tests import factories
from tests.browser import looking
from tests.browser.conftest import DEMO_NAME, Opened
from tests.real_clients import installing
from vault.models import VaultEntry

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def sign_in_there(page: Page, far_side: FarSide) -> None:
    """Sign in at the authorization server, as its own alice."""
    page.get_by_label("User name").fill("alice")
    page.get_by_label("Password").fill(far_side.passwords["alice"])
    page.get_by_role("button", name="Sign in").click()


def leave(page: Page) -> None:
    """Go from Connections to the authorization server."""
    page.goto("/connections/")
    page.get_by_role("link", name=f"Connect {DEMO_NAME}").click()
    page.get_by_role("button", name=f"Connect {DEMO_NAME}").click()


def test_the_whole_consent_is_clicked_through(opened: Opened, demo: OAuthProvider, far_side: FarSide) -> None:
    with opened() as page:
        said: list[str] = []
        page.on("console", lambda message: said.append(f"{message.location} {message.text}"))
        page.goto("/servers/files/")
        page.get_by_role("link", name=f"Connect {DEMO_NAME}").click()
        main = page.locator("main")
        for words in (f"Connect {DEMO_NAME}", "The server files asks for this", "mcp:tools", "for files", "127.0.0.1"):
            expect(main).to_contain_text(words)
        page.get_by_text("See your name and picture").click()
        expect(page.locator("code", has_text="profile")).to_be_visible()
        page.get_by_role("button", name=f"Connect {DEMO_NAME}").click()
        sign_in_there(page, far_side)
        page.get_by_role("button", name="Allow").click()
        page.wait_for_url("**/oauth/v1/done/demo")
        for words in (f"{DEMO_NAME} is connected", "As alice", "mcp:tools", "close this page"):
            expect(main).to_contain_text(words)
        page.get_by_role("link", name="Go to files").click()
        expect(main.get_by_text("Connected", exact=True)).to_be_visible()
        page.goto("/connections/#demo")
        expect(page.locator("#demo")).to_contain_text("as alice")
        # The authorization server has no icon; what it lacks is not ours.
        assert [each for each in said if far_side.issuer not in each] == []
    assert VaultEntry.objects.get().scopes_granted == ["mcp:tools", "profile"]


@pytest.mark.threat("A10", "A14")
def test_who_says_no_is_back_on_connections_and_may_change_their_mind(
    opened: Opened, demo: OAuthProvider, far_side: FarSide
) -> None:
    with opened() as page:
        leave(page)
        sign_in_there(page, far_side)
        page.get_by_role("button", name="Deny").click()
        page.wait_for_url("**/connections/")
        alert = page.get_by_role("alert")
        expect(alert).to_contain_text(f"You, or {DEMO_NAME}, said no. Nothing was connected.")
        expect(alert).to_be_focused()
        assert page.evaluate("location.href").endswith("/connections/")
        alert.get_by_role("link", name=f"Connect {DEMO_NAME} again").click()
        page.get_by_role("button", name=f"Connect {DEMO_NAME}").click()
        page.get_by_role("button", name="Allow").click()
        page.wait_for_url("**/oauth/v1/done/demo")
        page.goto("/connections/")
        expect(page.get_by_role("alert")).to_have_count(0)
    assert Event.objects.filter(action="oauth.callback.refused", result="refused").count() == 1


def test_connect_and_disconnect_with_nothing_but_the_keyboard(
    opened: Opened, demo: OAuthProvider, far_side: FarSide
) -> None:
    with opened() as page:
        page.goto("/connections/")
        looking.tab_to(page, "Skip to content")
        page.keyboard.press("Enter")
        looking.tab_to(page, f"Connect {DEMO_NAME}")
        page.keyboard.press("Enter")
        page.wait_for_url("**/oauth/v1/authorize?*")
        looking.tab_to(page, f"Connect {DEMO_NAME}")
        page.keyboard.press("Enter")
        page.get_by_label("User name").focus()
        page.keyboard.type("alice")
        page.keyboard.press("Tab")
        page.keyboard.type(far_side.passwords["alice"])
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Allow").wait_for()
        looking.tab_to(page, "Allow")
        page.keyboard.press("Enter")
        page.wait_for_url("**/oauth/v1/done/demo")
        looking.tab_to(page, "Go to Connections")
        page.keyboard.press("Enter")
        page.wait_for_url("**/connections/")
        looking.tab_to(page, f"Details of {DEMO_NAME}")
        page.keyboard.press("Enter")
        expect(page.locator("#demo")).to_contain_text("renews by itself")
        page.goto("/connections/")
        looking.tab_to(page, f"Disconnect {DEMO_NAME}")
        page.keyboard.press("Enter")
        page.wait_for_url("**/disconnect/")
        looking.tab_to(page, f"Disconnect {DEMO_NAME}")
        page.keyboard.press("Enter")
        page.wait_for_url("**/connections/")
        expect(page.get_by_role("status")).to_contain_text("has confirmed that the access is withdrawn")
    assert not VaultEntry.objects.exists()


@pytest.mark.threat("A01", "A02")
def test_the_wrong_person_is_told_so_and_signs_in_as_oneself(
    opened: Opened, demo: OAuthProvider, alice: User, bob: User
) -> None:
    connection = listing.connection_of(alice, demo.name)
    assert connection is not None
    with opened(who=bob) as page:
        answer = page.goto(connection.authorize_url)
        assert answer is not None
        assert answer.status == 403
        assert "alice" not in page.locator("main").inner_text()
        page.get_by_role("button", name="Sign out and sign in as yourself").click()
        page.get_by_label("Username").fill("alice")
        page.get_by_label("Password").fill(factories.PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("heading", name=f"Connect {DEMO_NAME}")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_of_a_consent_hold_up(
    opened: Opened, demo: OAuthProvider, far_side: FarSide, alice: User, bob: User, scheme: str
) -> None:
    """Nothing for axe-core, nothing sideways, at every step and at every end."""
    if missing := installing.missing():
        pytest.skip(f"needs {missing}")
    axe, connection = looking.axe_source(), listing.connection_of(bob, demo.name)
    assert connection is not None

    def look(page: Page) -> None:
        looking.unfold(page)
        assert looking.violations(page, axe) == [], page.url.partition("?")[0]
        assert looking.scrolls_sideways(page) == [], page.url.partition("?")[0]

    with opened(color_scheme=scheme, bypass_csp=True) as page:
        page.goto(connection.authorize_url)  # bob's
        look(page)
        for address in ("/oauth/v1/authorize?ticket=x", "/oauth/v1/callback/demo?state=x&code=y", "/nowhere/"):
            page.goto(address)
            look(page)
        page.goto("/connections/")
        page.get_by_role("link", name=f"Connect {DEMO_NAME}").click()
        look(page)
        page.get_by_role("button", name=f"Connect {DEMO_NAME}").click()
        sign_in_there(page, far_side)
        page.get_by_role("button", name="Deny").click()
        look(page)
        page.get_by_role("link", name=f"Connect {DEMO_NAME} again").click()
        page.get_by_role("button", name=f"Connect {DEMO_NAME}").click()
        page.get_by_role("button", name="Allow").click()
        page.wait_for_url("**/oauth/v1/done/demo")
        look(page)
        page.goto("/connections/demo/disconnect/")
        look(page)
        page.goto("/connections/demo/device/")
        look(page)
