"""The small browser: what it finds on a page and what it refuses."""

from collections.abc import Callable, Iterator

import pytest
import responses

from aigateway.demo.browser import Browser, LostError
from aigateway.demo.pages import Document

SITE = "http://127.0.0.1:1"
PAGE = """<title>Card</title><style>p { color: red }</style><a href="/a">Help</a><a href="/b">Helpful</a>
<form method="post" action="go?x=1"><input type="hidden" name="token" value="t&amp;1"><input name="user">
<input name="on" type="checkbox" checked><input name="off" type="checkbox"><input type="password" name="pw">
<button name="act" value="1"><svg></svg> Connect  Demo</button><button type="button">Menu</button>
<input type="submit" name="act" value="Cancel"></form><p>Two   words</p>"""


@pytest.fixture
def site() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock() as mock:
        yield mock


def test_a_document_tells_forms_buttons_links_and_words() -> None:
    document = Document(PAGE)
    form = document.forms[0]
    assert (form.method, form.action) == ("POST", "go?x=1")
    assert form.values == {"token": "t&1", "user": "", "on": "on", "pw": ""}
    assert (form.username_field, form.password_field) == ("user", "pw")
    assert [button.label for button in form.buttons] == ["Connect Demo", "Cancel"]
    assert document.title == "Card"
    assert "Two words" in document.text
    assert "color" not in document.text


def test_pressing_a_button_sends_its_form_alone_and_follows_by_get(site: responses.RequestsMock) -> None:
    site.get(f"{SITE}/card", body=PAGE)
    site.post(
        f"{SITE}/go?x=1",
        status=302,
        headers={"Location": "/done?code=canary"},
        match=[
            responses.matchers.urlencoded_params_matcher(
                {"token": "t&1", "user": "", "on": "on", "pw": "", "act": "1"}, allow_blank=True
            ),
            responses.matchers.header_matcher({"Origin": SITE}),
        ],
    )
    site.get(f"{SITE}/done", body="<p>Done")
    with Browser() as browser:
        browser.open(f"{SITE}/card")
        assert browser.press("connect").text == "Done"
        assert [hop.status for hop in browser.history] == [200, 302, 200]
        assert "canary" not in repr(browser.history) + repr(browser.page)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda browser: browser.press("Allow"), "0 buttons read 'Allow'"),
        (lambda browser: browser.press("C"), "2 buttons read 'C'"),
        (lambda browser: browser.click("Sign out"), "0 links read"),
    ],
)
def test_what_is_not_on_the_page_is_said(
    site: responses.RequestsMock, act: Callable[[Browser], object], message: str
) -> None:
    site.get(f"{SITE}/card", body=PAGE)
    with Browser() as browser:
        browser.open(f"{SITE}/card")
        with pytest.raises(LostError, match=message):
            act(browser)


def test_an_exact_label_wins_over_one_that_begins_with_it(site: responses.RequestsMock) -> None:
    site.get(f"{SITE}/card", body=PAGE)
    site.get(f"{SITE}/a", body="help")
    with Browser() as browser:
        browser.open(f"{SITE}/card")
        assert browser.click("Help").url == f"{SITE}/a"


@pytest.mark.parametrize("location", ["/loop", "javascript:alert(1)", "file:///etc/passwd"])
def test_endless_and_foreign_redirects_end_the_walk(location: str) -> None:
    with responses.RequestsMock() as site, Browser() as browser:
        site.get(f"{SITE}/loop", status=302, headers={"Location": location})
        with pytest.raises(LostError):
            browser.open(f"{SITE}/loop")
