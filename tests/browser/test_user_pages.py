"""The pages that a person sees, in Chromium: narrow and wide, light and dark, with and without script, by keyboard."""

from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.utils import timezone
from playwright.sync_api import Page

from clients import tokens
from clients.models import ApiToken
from mcpservers.activity.outcomes import Outcome
from tests import factories
from tests.browser.conftest import Opened
from tests.real_clients import installing

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
NAME = "n" * 63
PAGES = [
    "/servers/",
    "/servers/?q=nothing",
    f"/servers/{NAME}/",
    f"/servers/{NAME}/?tab=connect",
    "/servers/asks/",
    "/servers/asks/?tab=explain&tool=x",
    "/servers/asks/?tab=activity",
    "/tokens/",
    "/connections/",
    "/sign-in/?next=/tokens/",
]
OPEN_ALL = "document.querySelectorAll('main details').forEach(each => { each.open = true })"
WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
VIOLATIONS = (
    """axe.run().then(found => found.violations.map(each => `${each.impact} ${each.id}: ${each.nodes[0].html}`))"""
)
LONG = "Supercalifragilisticexpialidocious" * 4


@pytest.fixture(autouse=True)
def stage(address: str, alice: User) -> None:
    """Things with long names and many parts."""
    Group.objects.get(name="members").user_set.add(alice)
    schema: dict[str, Any] = {
        "properties": {LONG: {"enum": [LONG, "b"], "description": LONG, "default": LONG}, "list": {"type": "array"}},
        "required": [LONG],
    }
    tools = [{"name": LONG, "description": LONG * 3, "inputSchema": schema, "outputSchema": schema}] * 12
    factories.make_server(NAME, description=LONG, tools=tools, tools_refreshed_at=timezone.now())
    provider = factories.make_provider("github", display_name="GitHub", scopes=[f"scope-{n}" for n in range(40)])
    asks = factories.make_server("asks", provider=provider, tools=tools, capabilities={"instructions": LONG})
    for outcome in Outcome:
        factories.make_call(asks, alice, tool=LONG[:128], outcome=outcome)
    tokens.create(alice, name=LONG[:100])
    tokens.revoke(tokens.create(alice, name="ended")[0], actor=alice)


def see(page: Page, path: str) -> list[str]:
    """Open a page with everything unfolded; return what the browser complained of."""
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type in {"error", "warning"} else None)
    answer = page.goto(path)
    assert answer is not None
    assert answer.status == 200, path
    page.evaluate(OPEN_ALL)
    return said


@pytest.mark.threat("F15")
def test_no_page_scrolls_sideways_and_the_policy_stops_nothing(opened: Opened) -> None:
    with opened() as page:
        for path in PAGES:
            for width in (360, 768, 1280):
                page.set_viewport_size({"width": width, "height": 800})
                assert see(page, path) == [], path
                assert page.evaluate(WIDER) <= 0, f"{path} at {width}"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(opened: Opened, scheme: str) -> None:
    if missing := installing.missing():
        pytest.skip(f"needs {missing}")
    axe = (installing.PACKAGES / "axe-core" / "axe.min.js").read_text()
    with opened(color_scheme=scheme, bypass_csp=True) as page:
        for path in PAGES:
            see(page, path)
            page.evaluate(axe)
            assert page.evaluate(VIOLATIONS) == [], path


def test_a_token_is_made_copied_and_revoked_by_keyboard(opened: Opened) -> None:
    with opened(permissions=["clipboard-read", "clipboard-write"]) as page:
        see(page, f"/servers/{NAME}/?tab=connect")
        page.locator("#id_name").focus()
        page.keyboard.press("Control+A")
        page.keyboard.type("keyboard")
        page.keyboard.press("Enter")
        token = page.locator("#new-token").inner_text()
        page.locator("[data-copy=new-token]").focus()
        page.keyboard.press("Enter")
        page.get_by_text("Copied").wait_for()
        assert page.evaluate("navigator.clipboard.readText()") == token
        page.goto("/tokens/")
        page.get_by_role("link", name=f"Revoke keyboard {token[:11]}").focus()
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Revoke").focus()
        page.keyboard.press("Enter")
        page.get_by_role("status").get_by_text("is revoked").wait_for()
    assert tokens.recognise(token) is None


def test_without_script_everything_is_there(opened: Opened) -> None:
    with opened(java_script_enabled=False) as page:
        page.goto(f"/servers/{NAME}/?tab=connect")
        assert page.locator("#server-url").inner_text().endswith(f"/mcp/v1/{NAME}")
        assert page.locator("[data-copy]:visible").count() == 0
        page.locator("#id_name").fill("without script")
        page.get_by_role("button", name="Make token").click()
        assert page.locator("#new-token").inner_text().startswith("aigw_")
        page.goto("/servers/")
        page.locator("#q").fill("asks")
        page.get_by_role("button", name="Search").click()
        assert page.locator("main .card").count() == 1
    assert ApiToken.objects.filter(name="without script").exists()


def test_a_page_weighs_less_than_100_kb(opened: Opened) -> None:
    with opened() as page:
        for path in ("/servers/", f"/servers/{NAME}/?tab=connect", "/connections/", "/tokens/"):
            weighed: list[int] = []
            page.on("response", lambda answer, weighed=weighed: weighed.append(len(answer.body())))
            page.goto(path, wait_until="networkidle")
            assert 0 < sum(weighed) < 100_000, path
