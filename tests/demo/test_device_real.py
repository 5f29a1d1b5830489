"""The device flow (RFC 8628) from the gateway's API to a call, at a real authorization server."""

import sqlite3
from contextlib import closing
from typing import Any

import pytest
import requests
from django.contrib.auth.models import User

from aigateway.demo.browser import Browser, LostError
from aigateway.demo.farside import SCOPES, FarSide
from connections import tokens
from connections.models import DeviceRequest, DeviceState
from mcpservers import discovery
from mcpservers.models import MCPServer
from providers.models import OAuthProvider
from tests import factories
from tests.api import CONNECTIONS, send
from tests.connections.devices import wait_and_poll

pytestmark = pytest.mark.django_db(transaction=True)
DEVICE = f"{CONNECTIONS}demo/device/"


@pytest.fixture
def demo(db: None, far_side: FarSide) -> OAuthProvider:
    """The authorization server as a provider."""
    factories.make_secret("DEMO_CLIENT_SECRET", far_side.client_secret)
    fields = far_side.provider_fields()
    return factories.make_provider("demo", client_secret_ref="DEMO_CLIENT_SECRET", **fields)


def enter(browser: Browser, far_side: FarSide, grant: dict[str, Any], username: str = "alice") -> None:
    """Sign in at the authorization server, in a browser that the gateway never saw, and type the code."""
    browser.open(grant["verification_uri"])
    browser.sign_in(username, far_side.passwords[username])
    code = grant["user_code"]
    browser.press("Continue", {"user_code": f"{code[:4]}-{code[4:]}".lower()})


def state() -> DeviceState:
    """Return the state of the one request."""
    return DeviceState(DeviceRequest.objects.get().state)


@pytest.mark.spec("RFC 8628", "3")
def test_a_code_entered_in_another_browser_connects_and_calls_work(
    alice: User, bob: User, demo: OAuthProvider, far_side: FarSide, settings: Any
) -> None:
    grant = send(alice, "post", DEVICE).json()
    assert grant["verification_uri_complete"] == f"{grant['verification_uri']}?user_code={grant['user_code']}"
    wait_and_poll()
    assert state() == DeviceState.PENDING
    with Browser() as browser:
        enter(browser, far_side, grant)
        assert "Allow AI Gateway to use your account?" in browser.page.text
        assert "Use the demo tools as you" in browser.page.text
        wait_and_poll()
        assert state() == DeviceState.PENDING
        assert "Allowed" in browser.press("Allow").text
    wait_and_poll()
    assert state() == DeviceState.CONNECTED
    row = send(alice, "get", f"{CONNECTIONS}demo/").json()
    assert (row["status"], row["account"], sorted(row["scopes_granted"])) == ("connected", "alice", sorted(SCOPES))
    assert send(bob, "get", f"{CONNECTIONS}demo/").json()["status"] == "not_connected"

    token = tokens.usable_token(user_id=alice.pk, provider_uid=demo.uid, scopes=SCOPES).access_token
    bearer = {"Authorization": f"Bearer {token}"}
    claims = requests.get(f"{far_side.issuer}/userinfo", headers=bearer, timeout=10).json()
    assert claims["preferred_username"] == "alice"

    settings.AIGW_OUTBOUND_CA_BUNDLE = str(far_side.ca_bundle)
    server = factories.make_server("demo", url=far_side.mcp_url, provider=demo, required_scopes=SCOPES)
    factories.allow(alice, server, "use")
    discovery.refresh_tools(server, user_id=alice.pk)
    assert "whoami" in {tool["name"] for tool in MCPServer.objects.get().tools}


@pytest.mark.spec("RFC 8628", "5.5")
def test_a_code_is_good_for_one_set_of_tokens(alice: User, demo: OAuthProvider, far_side: FarSide) -> None:
    grant = send(alice, "post", DEVICE).json()
    kept = DeviceRequest.objects.get()
    with Browser() as browser:
        enter(browser, far_side, grant)
        browser.press("Allow")
    wait_and_poll()
    assert state() == DeviceState.CONNECTED
    kept.save()
    wait_and_poll()
    assert state() == DeviceState.FAILED


@pytest.mark.spec("RFC 8628", "3.5")
def test_a_denied_code_connects_nothing(alice: User, demo: OAuthProvider, far_side: FarSide) -> None:
    with Browser() as browser:
        enter(browser, far_side, send(alice, "post", DEVICE).json())
        assert "Not allowed" in browser.press("Deny").text
    wait_and_poll()
    assert state() == DeviceState.DENIED
    assert send(alice, "get", f"{CONNECTIONS}demo/").json()["status"] == "not_connected"


@pytest.mark.spec("RFC 8628", "3.5")
def test_a_code_that_ran_out_there_ends_here(alice: User, demo: OAuthProvider, far_side: FarSide) -> None:
    grant = send(alice, "post", DEVICE).json()
    with closing(sqlite3.connect(far_side.ca_bundle.parent / "authserver.sqlite3", timeout=20)) as server, server:
        server.execute(
            "update oauth2_provider_devicegrant set expires = '2020-01-01' where user_code = ?", [grant["user_code"]]
        )
    with Browser() as browser:
        enter(browser, far_side, grant)
        assert "Expired user code" in browser.page.text
        with pytest.raises(LostError):
            browser.press("Allow")
    wait_and_poll()
    assert state() == DeviceState.EXPIRED


def test_a_code_that_was_never_given_out_is_refused_on_the_servers_page(far_side: FarSide) -> None:
    with Browser() as browser:
        enter(browser, far_side, {"verification_uri": f"{far_side.issuer}/device", "user_code": "AAAABBBB"})
        assert "Incorrect user code" in browser.page.text
