"""A signed-in person's browser as caller: with its session and the CSRF token, from our own pages, and only so."""

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import requests
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from clients import sign_ins
from mcpservers.models import MCPServer
from tests import factories
from tests.dataplane.conftest import HELLO, Agent
from tests.dataplane.test_relay import wait_for
from tests.fakes.mcp_server import FakeMcpServer

SECRET = "s" * 32
LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}


class Browser:
    """What fetch() of one of our own pages sends."""

    def __init__(self, gateway: str, user: User) -> None:
        self.gateway, self.url = gateway, f"{gateway}/mcp/v1/tools"
        self.client = Client()
        self.client.force_login(user)
        self.session = self.client.cookies[django_settings.SESSION_COOKIE_NAME].value
        self.mcp_session = ""
        self.cookies = {"aigw_session": self.session, "aigw_csrf": SECRET}
        self.headers = {
            "X-CSRFToken": SECRET,
            "Origin": gateway,
            "Referer": f"{gateway}/servers/tools/",
            "Sec-Fetch-Site": "same-origin",
            "Accept": "application/json, text/event-stream",
            "Content-Type": "application/json",
        }

    def send(self, message: Any = LIST, *, method: str = "POST", **changed: Any) -> requests.Response:
        """Send a request; `headers` and `cookies` override, None leaves one out."""
        headers = {**self.headers, **changed.pop("headers", {})}
        cookies = {**self.cookies, **changed.pop("cookies", {})}
        sent = {name: value for name, value in headers.items() if value is not None}
        sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items() if value is not None)
        body = json.dumps(message) if method == "POST" else None
        return requests.request(method, self.url, data=body, headers=sent, timeout=20, **changed)


@pytest.fixture(autouse=True)
def public_address(gateway: str, settings: Settings) -> None:
    """Trust our own pages, as the settings do for AIGW_BASE_URL."""
    settings.CSRF_TRUSTED_ORIGINS = [gateway]


@pytest.fixture
def browser(gateway: str, server: MCPServer, alice: User) -> Browser:
    """Alice's browser."""
    return Browser(gateway, alice)


def refused(answer: requests.Response) -> str:
    """Return the sentence of a refusal in the shape of JSON-RPC."""
    assert answer.status_code == 403
    body = answer.json()
    assert (body["jsonrpc"], body["id"]) == ("2.0", None)
    assert body["error"]["data"]["reason"] == "csrf_failed"
    return str(body["error"]["message"])


@pytest.mark.threat("A15")
@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
@pytest.mark.parametrize(
    "changed",
    [
        {"headers": {"X-CSRFToken": None}},
        {"headers": {"X-CSRFToken": "t" * 32}},
        {"headers": {"X-CSRFToken": "short"}},
        {"headers": {"X-CSRFToken": f"{SECRET}, {SECRET}"}},
        {"cookies": {"aigw_csrf": None}},
        {"cookies": {"aigw_csrf": "t" * 32}},
        {"cookies": {"aigw_csrf": ""}, "headers": {"X-CSRFToken": ""}},
        {"headers": {"Sec-Fetch-Site": "cross-site"}},
        {"headers": {"Sec-Fetch-Site": "same-site"}},
        {"headers": {"Sec-Fetch-Site": "none"}},
    ],
)
def test_without_the_right_csrf_token_nothing_is_sent(
    browser: Browser, upstream: FakeMcpServer, method: str, changed: dict[str, Any]
) -> None:
    assert "CSRF" in refused(browser.send(method=method, **changed))
    assert upstream.requests == []


@pytest.mark.threat("D08", "A15")
@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
def test_a_page_of_another_site_gets_nothing_with_the_persons_cookies(
    browser: Browser, upstream: FakeMcpServer, origin: str
) -> None:
    answer = browser.send(headers={"Origin": origin})
    assert answer.status_code == 403
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]
    assert upstream.requests == []


def test_a_browser_calls_as_the_person_who_is_signed_in(browser: Browser, upstream: FakeMcpServer) -> None:
    answer = browser.send()
    assert answer.status_code == 200
    assert answer.json()["result"]["tools"][0]["name"] == "whoami"
    assert "set-cookie" not in answer.headers


@pytest.mark.threat("D01", "D02")
def test_session_and_csrf_token_stay_behind(browser: Browser, upstream: FakeMcpServer) -> None:
    browser.send(headers={"X-Debug": f"me={browser.session}"})
    [seen] = upstream.requests
    names = {name for name, _ in seen.headers}
    assert not names & {b"cookie", b"x-csrftoken", b"origin", b"referer", b"sec-fetch-site", b"x-debug"}
    everything = b"".join(key + value for key, value in seen.headers) + seen.query + seen.body
    assert browser.session.encode() not in everything
    assert SECRET.encode() not in everything


@pytest.mark.threat("D01")
def test_a_message_that_holds_the_session_is_not_sent_on(browser: Browser, upstream: FakeMcpServer) -> None:
    answer = browser.send({**LIST, "params": {"note": browser.session}})
    assert answer.status_code == 400
    assert browser.session not in answer.text
    assert upstream.requests == []


def test_an_authorization_header_counts_alone(browser: Browser, upstream: FakeMcpServer, bob: User) -> None:
    assert browser.send(headers={"Authorization": "Bearer aigw_wrong"}).status_code == 401
    assert browser.send(headers={"Authorization": "Basic eDp5"}).status_code == 401
    assert browser.send(headers={"Authorization": f"Bearer {factories.make_api_token(bob)}"}).status_code == 404
    assert upstream.requests == []


@pytest.mark.parametrize("session", ["", "x", "nobodys-session-of-thirty-two-ch", "é" * 32, None])
def test_a_session_that_nobody_has_is_a_401(browser: Browser, upstream: FakeMcpServer, session: str | None) -> None:
    answer = browser.send(cookies={"aigw_session": session and session.encode().decode("latin-1")})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert upstream.requests == []


def test_a_session_in_which_nobody_has_signed_in_is_a_401(browser: Browser) -> None:
    visitor = Client().session
    visitor["seen"] = True
    visitor.save()
    assert browser.send(cookies={"aigw_session": visitor.session_key}).status_code == 401


def sign_out(browser: Browser, alice: User) -> None:
    browser.client.post("/sign-out/")


def sign_out_everywhere(browser: Browser, alice: User) -> None:
    sign_ins.end_all(alice)


def change_password(browser: Browser, alice: User) -> None:
    alice.set_password("another password altogether")
    alice.save()


def deactivate(browser: Browser, alice: User) -> None:
    alice.is_active = False
    alice.save()


def deactivate_unnoticed(browser: Browser, alice: User) -> None:
    User.objects.filter(pk=alice.pk).update(is_active=False)


def expire(browser: Browser, alice: User) -> None:
    Session.objects.update(expire_date=timezone.now())


ENDINGS = [sign_out, sign_out_everywhere, change_password, deactivate, deactivate_unnoticed, expire]


@pytest.mark.threat("F14")
@pytest.mark.parametrize("end", ENDINGS)
def test_a_session_that_has_ended_calls_no_more(
    browser: Browser, upstream: FakeMcpServer, alice: User, end: Callable[[Browser, User], None]
) -> None:
    assert browser.send().status_code == 200
    end(browser, alice)
    ended = time.monotonic()
    wait_for(lambda: browser.send().status_code == 401)
    assert time.monotonic() - ended < 1
    before = len(upstream.requests)
    assert browser.send().status_code == 401
    assert len(upstream.requests) == before


@pytest.mark.threat("F14")
@pytest.mark.parametrize("end", [sign_out, change_password])
def test_an_open_stream_ends_with_the_session(
    browser: Browser, upstream: FakeMcpServer, alice: User, end: Callable[[Browser, User], None]
) -> None:
    browser.send({**LIST, "method": "initialize", "params": HELLO})
    over = threading.Event()

    def listen() -> None:
        with browser.send(method="GET", stream=True) as answer:
            assert answer.status_code == 200
            list(answer.iter_content())
        over.set()

    listening = threading.Thread(target=listen)
    listening.start()
    wait_for(lambda: upstream.open_streams == 1)
    assert not over.wait(3)  # as long as the session lasts, so does the stream
    end(browser, alice)
    assert over.wait(6)
    listening.join()
    wait_for(lambda: upstream.open_streams == 0)


@pytest.mark.threat("F05", "D22")
def test_somebody_elses_mcp_session_is_unknown(
    browser: Browser, gateway: str, server: MCPServer, upstream: FakeMcpServer, bob: User
) -> None:
    factories.allow(bob, server, "view", "use")
    agent = Agent(gateway, bob)
    agent.initialize()
    before = len(upstream.requests)
    answer = browser.send(headers={"Mcp-Session-Id": agent.session})
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == -32001
    assert browser.send(method="DELETE", headers={"Mcp-Session-Id": agent.session}).status_code == 404
    assert len(upstream.requests) == before


def test_ones_own_mcp_session_goes_on_in_the_browser(browser: Browser, gateway: str, alice: User) -> None:
    agent = Agent(gateway, alice)
    agent.initialize()
    assert browser.send(headers={"Mcp-Session-Id": agent.session}).status_code == 200


@pytest.mark.threat("F05")
def test_bobs_session_opens_no_server_of_alices(
    gateway: str, server: MCPServer, upstream: FakeMcpServer, bob: User
) -> None:
    assert Browser(gateway, bob).send().status_code == 404
    assert upstream.requests == []
