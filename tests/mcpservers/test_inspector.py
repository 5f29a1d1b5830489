"""The inspector without script: the form is a page, the call is made by the gateway, the answer is text."""

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from mcpservers import tool_answer
from mcpservers.models import MCPServer
from tests import factories
from tests.mcpservers.test_discovery import sdk_url, server

__all__ = ["sdk_url", "server"]
SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
TOOLS = [{"name": "shout", "description": "Say it loudly", "inputSchema": SCHEMA}]
PAGE = "/servers/tools/?tab=inspector"


@pytest.fixture
def alices(browser: Client, alice: User) -> Client:
    """Alice's browser."""
    browser.force_login(alice)
    return browser


@pytest.fixture
def shouting(server: MCPServer) -> MCPServer:
    """A real server whose tool has been seen."""
    server.tools = TOOLS
    server.save()
    return server


def run(client: Client, **form: str) -> Any:
    """Fill in the form and press Run."""
    client.get(PAGE)
    form["csrfmiddlewaretoken"] = client.cookies["aigw_csrf"].value
    return client.post("/servers/tools/call/", form, headers={"referer": "https://gateway.test/servers/tools/"})


def test_a_tool_is_chosen_filled_in_and_called(alices: Client, shouting: MCPServer) -> None:
    assert 'href="?tab=inspector&amp;tool=shout"' in alices.get(PAGE).content.decode()
    assert 'name="arg/text"' in alices.get(f"{PAGE}&tool=shout").content.decode()
    answer = run(alices, tool="shout", **{"arg/text": "hello"})
    assert answer.status_code == 200
    assert "HELLO" in answer.content.decode()


def test_what_is_missing_is_named_and_nothing_is_called(alices: Client, shouting: MCPServer) -> None:
    answer = run(alices, tool="shout")
    page = answer.content.decode()
    assert answer.status_code == 400
    assert "text is required." in page
    assert 'aria-invalid="true"' in page


def test_a_tool_that_is_not_there_is_a_404(alices: Client, shouting: MCPServer) -> None:
    assert run(alices, tool="whisper").status_code == 404
    assert run(alices).status_code == 404
    assert "Choose a tool" in alices.get(f"{PAGE}&tool=whisper").content.decode()


def test_a_tool_that_the_policy_hides_is_not_there(alices: Client, shouting: MCPServer) -> None:
    factories.restrict(shouting, deny=["shout"])
    assert "shout" not in alices.get(f"{PAGE}&tool=shout").content.decode().replace("&tool=shout", "")
    assert run(alices, tool="shout", **{"arg/text": "hello"}).status_code == 404


@pytest.mark.threat("A15")
def test_a_call_needs_the_forms_token_and_a_post(alices: Client, shouting: MCPServer) -> None:
    assert alices.post("/servers/tools/call/", {"tool": "shout", "arg/text": "x"}).status_code == 403
    assert alices.get("/servers/tools/call/").status_code == 302


@pytest.mark.threat("F05")
def test_who_may_see_but_not_use_is_refused(browser: Client, shouting: MCPServer, bob: User) -> None:
    factories.allow(bob, shouting, "view")
    browser.force_login(bob)
    assert browser.get(PAGE).status_code == 403
    browser.get("/connections/")
    assert run(browser, tool="shout", **{"arg/text": "x"}).status_code == 403


def test_a_missing_connection_is_a_button(browser: Client, transactional_db: None, alice: User) -> None:
    provider = factories.make_provider(display_name="GitHub")
    factories.allow(alice, factories.make_server(provider=provider, tools=TOOLS), "view", "use")
    browser.force_login(alice)
    page = run(browser, tool="shout", **{"arg/text": "hello"}).content.decode()
    assert (
        '<a class="button primary" href="https://gateway.test/oauth/v1/authorize?' in page.partition('id="result"')[2]
    )


@pytest.mark.threat("F15")
def test_everything_of_the_upstream_is_text(alices: Client, shouting: MCPServer, alice: User) -> None:
    evil = "</textarea><script>alert(1)</script><img src=x onerror=alert(1)>"
    schema = {"properties": {evil: {"type": "string", "description": evil, "default": evil, "enum": [evil]}}}
    shouting.tools = [{"name": evil, "title": evil, "description": evil, "inputSchema": schema}]
    shouting.save()
    page = alices.get(PAGE, {"tab": "inspector", "tool": evil}).content.decode()
    assert "alert(1)" in page
    assert "<script>" not in page
    assert "<img" not in page


def test_a_name_of_64_kb_does_not_break_the_page(alices: Client, shouting: MCPServer) -> None:
    shouting.tools = [{"name": "n" * 65536, "description": "d" * 65536, "inputSchema": SCHEMA}, *TOOLS]
    shouting.save()
    page = alices.get(f"{PAGE}&tool=shout").content
    assert len(page) < 30_000


@pytest.mark.threat("A11")
@pytest.mark.parametrize(
    "link",
    [
        "javascript:alert(1)",
        "https://evil.example/oauth/v1/authorize?x",
        "https://gateway.test.evil.example/oauth/v1/authorize?x",
        "https://gateway.test@evil.example/oauth/v1/authorize?x",
        "https://gateway.test/sign-out/?x",
        "https://gateway.test/oauth/v1/authorize/../../x?y",
        7,
        None,
    ],
)
def test_only_our_own_link_becomes_a_button(settings: Settings, link: Any) -> None:
    settings.AIGW_BASE_URL = "https://gateway.test"
    error = {"code": -32010, "message": "x", "data": {"authorize_url": link}}
    assert tool_answer.answer_of({"error": error}).connect_url == ""
    assert tool_answer.answer_of({"result": {"_meta": {"aigateway/error": {"authorize_url": link}}}}).connect_url == ""


def test_a_long_answer_is_cut_and_says_so() -> None:
    [part] = tool_answer.answer_of({"result": {"content": [{"type": "text", "text": "x" * 10_000_000}]}}).parts
    assert (len(part.text), part.size, part.is_cut) == (tool_answer.MAX_SHOWN, 10_000_000, True)


@pytest.mark.parametrize("member", ["structuredContent", "content"])
def test_an_answer_that_is_nested_too_deeply_says_so(member: str) -> None:
    nested: list[Any] = []
    for _ in range(5000):
        nested = [nested]
    [part] = tool_answer.answer_of({"result": {member: nested}}).parts
    assert part.text == tool_answer.TOO_DEEP


def test_an_answer_of_very_many_parts_is_cut_and_says_so() -> None:
    parts = tool_answer.answer_of({"result": {"content": [{"type": "text", "text": "x"}] * 100_000}}).parts
    assert len(parts) == tool_answer.MAX_PARTS + 1
    assert parts[-1].title == "There are more parts."


@pytest.mark.parametrize(
    "response",
    [
        {},
        {"result": None},
        {"result": []},
        {"error": "x"},
        {"error": {}},
        {"error": {"message": {}, "data": [1]}},
        {"result": {"content": [None, 5, {"type": "image", "data": "aGk="}, {"type": "text", "text": 5}], "_meta": 1}},
        {"result": {"structuredContent": {"a": [1]}, "content": "x"}},
    ],
)
def test_an_answer_of_any_shape_is_shown(response: Any) -> None:
    json.dumps([part.text for part in tool_answer.answer_of(response).parts])
