"""The inspector in Chromium, in front of a whole gateway: forms, keys, progress, consent, and a hostile server."""

import json
import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.asgi import get_asgi_application
from django.utils import timezone
from playwright.sync_api import Locator, Page, expect
from pytest_django import Settings

from aigateway import static_files
from aigateway.demo.farside import FarSide, start_far_side
from aigateway.demo.mcpserver import REQUIRED_SCOPE
from aigateway.demo.processes import ProcessTree
from changes import counter
from mcpservers.dataplane import app as dataplane
from mcpservers.dataplane import circuits, lifespan
from mcpservers.models import MCPServer
from providers.models import OAuthProvider
from tests import factories
from tests.browser import looking
from tests.browser.conftest import DEMO, DEMO_NAME, Opened
from tests.browser.test_connecting import sign_in_there
from tests.fakes.era_server import EraServer
from tests.fakes.mcp_server import FakeMcpServer
from tests.fakes.serving import serving
from tests.fakes.showcase import BIG, EVIL, TOOLS, showcase
from tests.real_clients import installing

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
INSPECTOR = "/servers/showcase/?tab=inspector"


async def _gateway(scope: Any, receive: Any, send: Any) -> None:
    """Serve as `aigateway.asgi` does, with what the data plane needs beside its calls."""
    if scope["type"] == "lifespan":
        await receive()
        await lifespan.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await lifespan.stop()
        await send({"type": "lifespan.shutdown.complete"})
        return
    path = scope["path"]
    front = dataplane.application if path.startswith("/mcp/v1/") else get_asgi_application()
    await (static_files.application if path.startswith("/static/") else front)(scope, receive, send)


class Stage:
    """Serves whichever upstream the current test put on it."""

    server = FakeMcpServer()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass the request to the current upstream."""
        await self.server(scope, receive, send)


@pytest.fixture(scope="module")
def stage() -> Iterator[tuple[Stage, str, str]]:
    """The two servers: the stage, the gateway's address and the upstream's."""
    shown = Stage()
    with serving(shown) as upstream_url, serving(_gateway, lifespan="on") as gateway_url:
        yield shown, gateway_url, f"{upstream_url}/mcp"


@pytest.fixture
def address(stage: tuple[Stage, str, str], transactional_db: None, settings: Settings) -> str:
    """Where this gateway serves its pages and the data plane."""
    circuits.reset()
    settings.AIGW_BASE_URL, settings.CSRF_TRUSTED_ORIGINS = stage[1], [stage[1]]
    settings.ALLOWED_HOSTS = ["127.0.0.1"]
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = False
    return stage[1]


@pytest.fixture
def upstream(stage: tuple[Stage, str, str]) -> FakeMcpServer:
    """The server with one of everything."""
    stage[0].server = showcase()
    return stage[0].server


@pytest.fixture
def server(stage: tuple[Stage, str, str], address: str, upstream: FakeMcpServer, alice: User) -> MCPServer:
    """It, known to the gateway, for alice."""
    capabilities = {"supported_versions": ["2026-07-28"], "capabilities": {"tools": {}}}
    fields: dict[str, Any] = {"tools": TOOLS, "tools_refreshed_at": timezone.now(), "capabilities": capabilities}
    row = factories.make_server("showcase", url=stage[2], **fields)
    factories.allow(alice, row, "view", "use")
    return row


@pytest.fixture(scope="module")
def far_side(stage: tuple[Stage, str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[FarSide]:
    """The demo's authorization server, which knows this gateway's address."""
    folder = tmp_path_factory.mktemp("far-side")
    with ProcessTree(folder / "logs", say=lambda line: None) as tree:
        yield start_far_side(tree, folder, redirect_uris=[f"{stage[1]}/oauth/v1/callback/{DEMO}"])


def choose(page: Page, tool: str) -> None:
    """Open the inspector and choose a tool; what the server offers has been read by then."""
    page.goto(INSPECTOR)
    page.locator(".offers").get_by_role("button", name=tool, exact=True).click()


def field(page: Page, name: str) -> Locator:
    """Return the input of a property; its label goes on with what it takes."""
    return page.get_by_label(re.compile(rf"^{re.escape(name)} "))


def run(page: Page) -> None:
    """Press Run."""
    page.get_by_role("button", name="Run").click()


def called(upstream: FakeMcpServer) -> list[dict[str, Any]]:
    """Return the params of the calls that arrived."""
    return [each.message["params"] for each in upstream.requests if each.message.get("method") == "tools/call"]


def test_a_form_of_every_kind_is_filled_in_and_run_by_keyboard(
    opened: Opened, server: MCPServer, upstream: FakeMcpServer
) -> None:
    with opened() as page:
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text) if message.type in {"error", "warning"} else None)
        page.goto(INSPECTOR)
        page.locator(".offers li button").first.wait_for()
        looking.tab_to(page, "rich")
        page.keyboard.press("Enter")
        looking.tab_to(page, "Form")
        page.keyboard.press("Tab")
        page.keyboard.type("Report")
        page.keyboard.press("Tab")
        expect(field(page, "count")).to_have_value("3")
        page.keyboard.press("Tab")
        page.keyboard.type("Y")
        page.keyboard.press("Tab")
        page.keyboard.type("high")
        looking.tab_to(page, "Add")
        page.keyboard.press("Enter")
        page.keyboard.type("first")
        field(page, "city").focus()
        page.keyboard.type("Graz")
        field(page, "by").select_option(label="By number")
        field(page, "number").fill("7")
        page.keyboard.press("Control+Enter")
        expect(page.get_by_role("status")).to_contain_text("Done in")
        expect(page.get_by_role("tabpanel", name="Result")).to_contain_text("Graz")
        assert said == []
    [params] = called(upstream)
    assert params["arguments"] == {
        "title": "Report",
        "count": 3,
        "loud": True,
        "level": "high",
        "tags": ["first"],
        "place": {"city": "Graz"},
        "by": {"number": 7},
    }


def test_form_json_and_curl_are_kept_in_step(opened: Opened, server: MCPServer, upstream: FakeMcpServer) -> None:
    given = {"title": "Größe", "count": 4, "tags": ["a", ""], "place": {"city": "x", "zip": None}, "by": {"number": 1}}
    with opened() as page:
        choose(page, "rich")
        field(page, "title").fill("it's")
        page.get_by_role("tab", name="cURL").click()
        text = page.locator("#curl").inner_text()
        assert "$AIGW_TOKEN" in text
        assert "aigw_" not in text
        assert r"it'\''s" in text
        page.get_by_role("tab", name="JSON").click()
        assert json.loads(page.locator("#json").input_value()) == {"title": "it's", "count": 3}
        page.locator("#json").fill("{")
        page.get_by_role("tab", name="Form").click()
        expect(page.locator("#json-problem")).to_contain_text("This is not JSON")
        page.locator("#json").fill(json.dumps(given))
        page.get_by_role("tab", name="Form").click()
        expect(field(page, "title")).to_have_value("Größe")
        expect(field(page, "Item 2")).to_have_value("")
        page.get_by_role("tab", name="JSON").press("ArrowLeft")
        run(page)
        expect(page.get_by_role("status")).to_contain_text("Done in")
    assert called(upstream)[-1]["arguments"] == given


def test_what_is_wrong_names_its_field_and_nothing_is_sent(
    opened: Opened, server: MCPServer, upstream: FakeMcpServer
) -> None:
    with opened() as page:
        choose(page, "rich")
        run(page)
        title = field(page, "title")
        expect(title).to_be_focused()
        expect(title).to_have_attribute("aria-invalid", "true")
        expect(page.locator(".problem:visible")).to_have_text(["title is required."])
        for text, problem in (("Ab", "title needs at least 3 characters."), ("abc", "title must match ^[A-Z].")):
            title.fill(text)
            run(page)
            expect(page.locator(".problem:visible")).to_have_text([problem])
        title.fill("Abc")
        field(page, "count").fill("9.5")
        field(page, "zip").fill("1")
        run(page)
        wrong = ["count must be a whole number.", "place.city is required."]
        expect(page.locator(".problem:visible")).to_have_text(wrong)
        expect(field(page, "count")).to_be_focused()
        assert called(upstream) == []
        page.locator(".offers").get_by_role("button", name="wrong", exact=True).click()
        run(page)
        expect(page.get_by_role("tabpanel", name="Result")).to_contain_text("title: too short <img")


def test_progress_is_live_and_cancel_reaches_the_server(
    opened: Opened, server: MCPServer, upstream: FakeMcpServer
) -> None:
    with opened() as page:
        choose(page, "slow")
        run(page)
        expect(page.get_by_role("progressbar")).to_have_attribute("value", "2")
        expect(page.locator(".state")).to_contain_text("2 of 4 <img")
        assert upstream.open_streams == 1
        looking.tab_to(page, "Cancel")
        page.keyboard.press("Enter")
        expect(page.get_by_role("tabpanel", name="Result")).to_contain_text("You cancelled the call.")
        expect(page.get_by_role("button", name="Run")).to_be_focused()
        page.wait_for_timeout(300)
        assert (upstream.open_streams, upstream.closed_streams) == (0, 1)


@pytest.mark.threat("F15")
def test_everything_that_a_hostile_server_says_is_text(
    opened: Opened, server: MCPServer, upstream: FakeMcpServer
) -> None:
    with opened() as page:
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        for tool in (EVIL, "people", "picture", "rich"):
            choose(page, tool)
            if tool == "rich":
                page.get_by_role("tab", name="JSON").click()
                page.locator("#json").fill(json.dumps({"title": f"A{EVIL}"}))
            run(page)
            expect(page.get_by_role("status")).to_contain_text("Done in")
            page.get_by_role("tab", name="Raw").click()
            looking.unfold(page)
            assert page.evaluate("window.broken") is None, tool
            assert page.locator("main script, main a[href^=javascript]").count() == 0
        choose(page, "picture")
        run(page)
        expect(page.locator(".outcome img")).to_have_count(1)
        expect(page.locator(".outcome")).to_contain_text("image/svg+xml")
        choose(page, "people")
        run(page)
        expect(page.get_by_role("cell", name=EVIL)).to_be_visible()
        assert said == []


@pytest.mark.threat("F15")
def test_a_hostile_schema_or_answer_does_not_stop_the_page(
    opened: Opened, server: MCPServer, upstream: FakeMcpServer
) -> None:
    given: dict[str, Any] = {"slow": "a" * 40 + "!", "either": {"a": 1}, "node": {"n1": {"n2": {}}}, "p1999": "last"}
    given |= {"odd": "x", "whole": 5, "far": "away"}
    with opened() as page:
        broken: list[str] = []
        page.on("pageerror", lambda error: broken.append(str(error)))
        choose(page, "hostile")
        assert page.locator(".call :is(input, textarea, select)").count() < 1000
        field(page, "__proto__").fill("mine")
        field(page, "whole").fill("")
        page.get_by_role("tab", name="JSON").click()
        assert json.loads(page.locator("#json").input_value()) == {"__proto__": "mine"}
        page.locator("#json").fill(json.dumps(given))
        page.get_by_role("tab", name="Form").click()
        run(page)
        expect(page.get_by_role("status")).to_contain_text("Done in")
        choose(page, "deep")
        run(page)
        page.get_by_role("tab", name="Raw").click()
        expect(page.get_by_role("tabpanel", name="Raw")).to_contain_text("nested too deeply")
        assert broken == []
    assert called(upstream)[0]["arguments"] == given


@pytest.mark.threat("A12")
@pytest.mark.threat("H04")
def test_what_is_opened_or_pasted_shows_what_it_is(opened: Opened, server: MCPServer) -> None:
    links = ["https://good.example@evil.example/", "javascript:x", "http://good.example/", "https://good.example/"]
    box = "import('/static/inspector/consent.js').then((m) => m.questionBox(%s, () => {}).querySelectorAll('a').length)"
    curl = "import('/static/inspector/curl.js').then((m) => m.curlOf('https://a.test', %s, {}, false))"
    params = {"name": "x", "arguments": {"a": "\x9b201~\u202e\x7f'; id #"}, "_meta": {}}
    with opened() as page:
        page.goto(INSPECTOR)
        questions = [[{"params": {"mode": "url", "url": link, "message": "x"}}] for link in links]
        assert [page.evaluate(box % json.dumps(each)) for each in questions] == [0, 0, 0, 1]
        pasted = page.evaluate(curl % json.dumps({"jsonrpc": "2.0", "method": "tools/call", "params": params}))
    assert all(character == "\n" or character.isprintable() for character in pasted)
    [body] = shlex.split(pasted)[-1:]
    assert json.loads(body)["params"]["arguments"] == params["arguments"]


def test_a_huge_answer_is_cut_and_the_page_goes_on(opened: Opened, server: MCPServer, upstream: FakeMcpServer) -> None:
    with opened() as page:
        choose(page, "big")
        run(page)
        expect(page.get_by_role("tabpanel", name="Result")).to_contain_text(f"of {BIG:,} characters")
        assert page.locator(".outcome").inner_text().count("x") < 200_000
        page.get_by_role("tab", name="Raw").click()
        expect(page.get_by_role("tabpanel", name="Raw")).to_contain_text("characters. Save the answer")
        with page.expect_download() as saving:
            page.get_by_role("button", name="Save the answer").click()
        assert saving.value.path().stat().st_size > BIG
        assert page.locator(".offers").inner_text().count("n" * 121) == 0


def test_prompts_and_resources_are_there_too(opened: Opened, server: MCPServer, upstream: FakeMcpServer) -> None:
    with opened() as page:
        for offered, fields, expected in (
            ("greet", {"who": "Ada"}, "Greet Ada."),
            ("note://one", {}, "the note of note://one"),
            ("note://{number}", {"number": "a b"}, "the note of note://a%20b"),
        ):
            choose(page, offered)
            for label, text in fields.items():
                field(page, label).fill(text)
            run(page)
            expect(page.get_by_role("tabpanel", name="Result")).to_contain_text(expected)


def test_a_server_with_sessions_is_called_and_a_call_cancelled_there(
    opened: Opened, server: MCPServer, alice: User
) -> None:
    era = EraServer("2025-11-25")
    with serving(era, lifespan="on") as url:
        MCPServer.objects.filter(pk=server.pk).update(url=url + era.path, capabilities={}, tools=[])
        counter.drop_remembered()
        with opened() as page:
            choose(page, "count")
            field(page, "to").fill("100")
            run(page)
            expect(page.locator(".state")).to_contain_text("of 100")
            page.get_by_role("button", name="Cancel").click()
            expect(page.locator(".outcome")).to_contain_text("You cancelled the call.")
            page.wait_for_timeout(1000)
            assert era.cancelled == ["count"]
            choose(page, "place")
            run(page)
            expect(page.get_by_role("tabpanel", name="Result")).to_contain_text("y: 2")


def test_a_token_that_is_passed_through_goes_along_and_is_not_kept(
    opened: Opened, server: MCPServer, upstream: FakeMcpServer
) -> None:
    MCPServer.objects.filter(pk=server.pk).update(auth={"mode": "token_passthrough"})
    counter.drop_remembered()
    with opened() as page:
        page.goto(f"{INSPECTOR}&tool=people")
        run(page)
        expect(page.locator(".outcome")).to_contain_text("X-Upstream-Authorization")
        page.get_by_label("Your upstream authorization").fill("Bearer theirs")
        run(page)
        expect(page.get_by_role("cell", name="Person 2")).to_be_visible()
        assert "theirs" not in json.dumps(page.context.storage_state())
    assert upstream.requests[-1].header("authorization") == "Bearer theirs"


def test_who_signed_out_elsewhere_is_told_so(opened: Opened, server: MCPServer, upstream: FakeMcpServer) -> None:
    with opened() as page:
        choose(page, "people")
        page.context.clear_cookies(name="aigw_session")
        run(page)
        expect(page.get_by_role("link", name="Sign in")).to_be_visible()
    assert called(upstream) == []


@pytest.mark.parametrize("delivery", ["auto", "error", "tool_result"])
def test_a_missing_consent_is_a_button_and_the_call_goes_on_by_itself(
    opened: Opened, server: MCPServer, upstream: FakeMcpServer, far_side: FarSide, alice: User, delivery: str
) -> None:
    factories.make_secret("DEMO_SECRET", far_side.client_secret)
    fields = {**far_side.provider_fields(), "display_name": DEMO_NAME, "scopes": ["profile"]}
    provider = OAuthProvider.objects.create(name=DEMO, client_secret_ref="DEMO_SECRET", **fields)
    server.auth = {"mode": "user_oauth", "provider_name": DEMO, "required_scopes": [REQUIRED_SCOPE]}
    server.provider_uid, server.consent_delivery = provider.uid, delivery
    server.save()
    with opened() as page:
        choose(page, "people")
        run(page)
        button = page.locator(".outcome").get_by_role("link", name="Connect")
        button.wait_for()
        assert called(upstream) == []
        with page.expect_popup() as popping:
            button.click()
        consent = popping.value
        consent.get_by_role("button", name=f"Connect {DEMO_NAME}").click()
        sign_in_there(consent, far_side)
        consent.get_by_role("button", name="Allow").click()
        consent.wait_for_url("**/oauth/v1/done/demo")
        expect(page.get_by_role("cell", name="Person 2")).to_be_visible()
    assert [each["name"] for each in called(upstream)] == ["people"]


def test_without_script_a_tool_is_chosen_filled_in_and_run(
    opened: Opened, server: MCPServer, upstream: FakeMcpServer
) -> None:
    with opened(java_script_enabled=False) as page:
        page.goto(INSPECTOR)
        page.get_by_role("link", name="rich", exact=True).click()
        page.get_by_role("button", name="Run").click()
        expect(page.locator(".problem")).to_have_text(["title is required."])
        field(page, "title").fill("Report")
        page.get_by_role("button", name="Run").click()
        expect(page.locator(".outcome")).to_contain_text('"title": "Report"')
    assert called(upstream)[-1]["arguments"] == {"title": "Report", "count": 3}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_inspector_holds_up(opened: Opened, server: MCPServer, upstream: FakeMcpServer, scheme: str) -> None:
    """Nothing for axe-core and nothing sideways: nothing chosen, wrong, every mode, every kind of result."""
    if missing := installing.missing():
        pytest.skip(f"needs {missing}")
    axe = looking.axe_source()

    def look(page: Page, where: str) -> None:
        assert looking.violations(page, axe) == [], where
        assert looking.scrolls_sideways(page) == [], where

    with opened(color_scheme=scheme, bypass_csp=True) as page:
        page.goto(INSPECTOR)
        page.locator(".offers li button").first.wait_for()
        look(page, "nothing chosen")
        choose(page, "rich")
        page.get_by_role("button", name="Add").click()
        field(page, "by").select_option(label="By number")
        run(page)
        look(page, "something wrong")
        field(page, "title").fill("Report")
        for mode in ("JSON", "cURL", "Form"):
            page.get_by_role("tab", name=mode).click()
            look(page, mode)
        for tool in ("rich", "people", "picture", "wrong", EVIL):
            choose(page, tool)
            if tool == "rich":
                field(page, "title").fill("Report")
            run(page)
            page.get_by_role("tab", name="Raw").wait_for()
            look(page, tool)
            page.get_by_role("tab", name="Raw").click()
            look(page, f"{tool}, raw")


def test_the_inspector_weighs_less_than_100_kb(opened: Opened, server: MCPServer) -> None:
    with opened() as page:
        weighed: list[int] = []
        page.on("response", lambda answer: weighed.append(0 if "/mcp/" in answer.url else len(answer.body())))
        page.goto(f"{INSPECTOR}&tool=rich", wait_until="networkidle")
        assert 0 < sum(weighed) < 100_000
        assert looking.layout_shift(page) < 0.1
