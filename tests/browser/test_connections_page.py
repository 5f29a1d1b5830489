"""Connections in Chromium: every state of a card, many of them, magnified, without script; its weight and its rest."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, User
from django.utils import timezone
from playwright.sync_api import Page, expect

from clients import tokens
from tests import factories
from tests.browser import looking
from tests.browser.conftest import Opened
from tests.real_clients import installing

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
LONG = "n" * 63
MOST_BYTES = 100_000


@pytest.fixture(autouse=True)
def stage(address: str, alice: User) -> None:
    """A card in every state, one of a long name with forty scopes."""
    now = timezone.now()
    Group.objects.get(name="members").user_set.add(alice)
    github = factories.make_provider("github", display_name="GitHub", scopes=["read:user", "workflow"])
    factories.make_server("code-review", provider=github, required_scopes=["repo"])
    factories.make_vault_entry(alice, github, account="maria@example.com", connected_at=now - timedelta(days=40))
    ended = factories.make_provider("notion", display_name="Notion")
    factories.make_vault_entry(alice, ended, attention_reason="invalid_grant")
    lacking = factories.make_provider("slack", display_name="Slack", scopes=["channels:read", "users:read"])
    factories.make_vault_entry(alice, lacking, attention_reason="missing_scopes", scopes_granted=["users:read"])
    factories.make_vault_entry(alice, factories.make_provider("jira", enabled=False))
    factories.make_provider("google", device_authorization_endpoint="https://auth.example.com/device")
    factories.make_provider(LONG, display_name=LONG.upper(), scopes=[f"scope-{number}" for number in range(40)])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_a_card_of_any_state_nor_on_the_pages_around(
    opened: Opened, alice: User, scheme: str
) -> None:
    if missing := installing.missing():
        pytest.skip(f"needs {missing}")
    axe, token = looking.axe_source(), tokens.create(alice, name=LONG)[0]
    addresses = [
        "/connections/",
        "/connections/?q=zzz",
        "/connections/github/disconnect/",
        f"/tokens/{token.uid}/revoke/",
    ]
    with opened(color_scheme=scheme, bypass_csp=True) as page:
        for address in [*addresses, "/admin/login/?next=/admin/"]:
            page.goto(address)
            looking.unfold(page)
            assert looking.violations(page, axe) == [], address
            assert looking.scrolls_sideways(page) == [], address


def test_magnified_twice_nothing_is_cut_off(opened: Opened) -> None:
    """A window of 1280 or 640 pixels at 200 % is one of 640 or 320."""
    with opened(device_scale_factor=2) as page:
        for address in ("/connections/", "/connections/github/disconnect/"):
            page.goto(address)
            looking.unfold(page)
            assert looking.scrolls_sideways(page, (320, 640)) == [], address
        page.goto("/connections/")
        page.locator(f"#{LONG}").get_by_role("link", name="Connect").click()
        looking.unfold(page)
        assert looking.scrolls_sideways(page, (320, 640)) == []
        page.get_by_role("button", name="Connect").scroll_into_view_if_needed()
        expect(page.get_by_role("button", name="Connect")).to_be_in_viewport()


def test_the_page_is_light_and_stays_where_it_is_with_300_providers(opened: Opened) -> None:
    with opened() as page:
        assert weight_and_shift(page) < MOST_BYTES
    for number in range(300):
        factories.make_provider(
            f"provider-{number:03}", client_secret_ref="GITHUB_CLIENT_SECRET", scopes=["a", "b", "c"]
        )
    with opened() as page:
        assert weight_and_shift(page) < MOST_BYTES
        page.get_by_role("link", name="Next").click()
        expect(page.get_by_text("Page 2 of")).to_be_visible()


def weight_and_shift(page: Page) -> int:
    """Open Connections in an empty cache; return the bytes that came, once sure that nothing moved by itself."""
    came: list[int] = []
    page.on("response", lambda answer: came.append(len(answer.body())))
    page.goto("/connections/", wait_until="networkidle")
    assert looking.layout_shift(page) == 0
    assert came
    return sum(came)


def test_without_script_one_searches_reads_and_disconnects(opened: Opened) -> None:
    with opened(java_script_enabled=False) as page:
        page.goto("/connections/")
        page.locator("#q").fill("code-review")
        page.get_by_role("button", name="Search").click()
        assert page.locator("main .card").count() == 1
        card = page.locator("#github")
        card.get_by_text("Details").click()
        expect(card).to_contain_text("renews by itself")
        card.get_by_role("link", name="Disconnect").click()
        page.get_by_role("button", name="Disconnect GitHub").click()
        expect(page.get_by_role("status")).to_contain_text("GitHub is disconnected")
