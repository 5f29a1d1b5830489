"""The pages of connecting with a code."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from connections.models import DeviceRequest
from providers.models import OAuthProvider
from tests import factories
from tests.connections import devices
from tests.connections.devices import DEVICE_CODE, USER_CODE, say, wait_and_poll
from tests.fakes.token_endpoint import TokenEndpoint

ASK = "/connections/github/device/"


def press(browser: Client, path: str = ASK) -> Any:
    """Send the form of a page."""
    browser.get(path)
    return post(browser, path, browser.cookies["aigw_csrf"].value)


def post(browser: Client, path: str, token: str) -> Any:
    """Send a form with this CSRF token."""
    return browser.post(path, {"csrfmiddlewaretoken": token}, headers={"referer": f"https://gateway.test{path}"})


def words(answer: HttpResponse) -> str:
    """Return the page with single spaces."""
    return " ".join(answer.content.decode().split())


def test_a_card_offers_a_code_only_where_there_is_one(
    alices: Client, coded: OAuthProvider, code_side: TokenEndpoint
) -> None:
    factories.make_provider("plain")
    page = words(alices.get("/connections/"))
    assert f'href="{ASK}"' in page
    assert "/connections/plain/device/" not in page


def test_a_code_that_waits_is_found_again_on_connections(
    alices: Client, bob: User, coded: OAuthProvider, code_side: TokenEndpoint
) -> None:
    address = press(alices)["Location"]
    page = words(alices.get("/connections/"))
    assert "A code for Github waits to be entered." in page
    assert f'href="{address}"' in page
    assert USER_CODE not in page
    DeviceRequest.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert address not in words(alices.get("/connections/"))
    DeviceRequest.objects.update(expires_at=timezone.now() + timedelta(minutes=1))
    alices.force_login(bob)
    assert address not in words(alices.get("/connections/"))


@pytest.mark.threat("A15")
def test_asking_says_what_will_be_asked_and_changes_nothing(
    alices: Client, coded: OAuthProvider, code_side: TokenEndpoint
) -> None:
    page = words(alices.get(ASK))
    assert "Connect Github with a code" in page
    assert "<code>read</code>" in page
    assert code_side.requests == []
    assert not DeviceRequest.objects.exists()


@pytest.mark.threat("A15")
def test_a_form_from_elsewhere_gets_no_code(alices: Client, coded: OAuthProvider, code_side: TokenEndpoint) -> None:
    alices.get(ASK)
    assert post(alices, ASK, "x" * 32).status_code == 403
    assert code_side.requests == []


def test_the_code_the_address_and_the_end_are_shown_and_the_page_looks_again(
    alices: Client, coded: OAuthProvider, code_side: TokenEndpoint
) -> None:
    address = press(alices)["Location"]
    answer = alices.get(address)
    page = words(answer)
    assert f"<code>{USER_CODE}</code>" in page
    assert f'href="{code_side.url(f"/enter?user_code={USER_CODE}")}" target="_blank" rel="noopener noreferrer"' in page
    assert "The code works until" in page
    assert (answer["Refresh"], "no-store" in answer["Cache-Control"]) == ("5", True)
    assert DEVICE_CODE not in page
    assert "<script" not in page
    assert alices.get(ASK)["Location"] == address


@pytest.mark.threat("F15")
def test_what_the_provider_says_is_escaped(alices: Client, coded: OAuthProvider, code_side: TokenEndpoint) -> None:
    devices.hand_out(code_side, user_code="<b>1</b>")
    page = words(alices.get(press(alices)["Location"]))
    assert "<b>" not in page
    assert "&lt;b&gt;1" in page


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        ("access_denied", "You, or Github, said no. Nothing was connected."),
        ("expired_token", "The code ran out before it was used."),
        ("invalid_client", "Github does not accept this gateway&#x27;s client id or secret."),
        ("whatever_else", "Github ended this without connecting you."),
    ],
)
def test_an_end_is_told_with_the_next_step(
    error: str, sentence: str, alices: Client, coded: OAuthProvider, code_side: TokenEndpoint
) -> None:
    address = press(alices)["Location"]
    say(code_side, error)
    wait_and_poll()
    answer = alices.get(address)
    page = words(answer)
    assert sentence in page
    assert "Get a new code" in page
    assert "Refresh" not in answer
    assert USER_CODE not in page
    again = post(alices, ASK, alices.cookies["aigw_csrf"].value)
    assert words(alices.get(again["Location"])).count(USER_CODE) > 0


def test_a_code_that_ran_out_unnoticed_is_not_shown(alices: Client, coded: OAuthProvider) -> None:
    address = press(alices)["Location"]
    DeviceRequest.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    page = words(alices.get(address))
    assert "The code ran out" in page
    assert USER_CODE not in page
    assert alices.get(ASK).status_code == 200


def test_connected_is_told_with_the_account_and_forgotten_with_the_connection(
    alices: Client, coded: OAuthProvider
) -> None:
    address = press(alices)["Location"]
    wait_and_poll()
    answer = alices.get(address)
    page = words(answer)
    assert "Github is connected" in page
    assert "As <strong>alice</strong>" in page
    assert "Refresh" not in answer
    assert "use a code" in words(alices.get("/connections/"))
    press(alices, "/connections/github/disconnect/")
    assert alices.get(address)["Location"] == "/connections/"


def test_missing_scopes_are_told(alices: Client, coded: OAuthProvider, code_side: TokenEndpoint) -> None:
    address = press(alices)["Location"]
    code_side.will(fields={"access_token": "a", "token_type": "Bearer", "scope": "other"})
    wait_and_poll()
    assert "granted less than is needed here" in words(alices.get(address))


@pytest.mark.parametrize("change", [{"enabled": False}, {"deleted_at": timezone.now()}])
def test_a_provider_that_went_away_is_told(change: dict[str, Any], alices: Client, coded: OAuthProvider) -> None:
    address = press(alices)["Location"]
    OAuthProvider.everything.update(**change)
    wait_and_poll()
    page = words(alices.get(address))
    assert "was switched off or removed" in page
    assert "Get a new code" not in page


def test_trouble_at_the_provider_is_told_where_it_happened(
    alices: Client, coded: OAuthProvider, code_side: TokenEndpoint
) -> None:
    code_side.will(path="/device", status=503)
    answer = press(alices)
    assert answer.status_code == 400
    page = words(answer)
    assert 'role="alert"' in page
    assert "Github could not be reached to get a code." in page
    assert "Try again" in page


def test_cancel_forgets_the_code(alices: Client, coded: OAuthProvider, code_side: TokenEndpoint) -> None:
    assert press(alices, press(alices)["Location"])["Location"] == "/connections/"
    assert not DeviceRequest.objects.exists()
    wait_and_poll()
    assert code_side.token_requests == []


@pytest.mark.threat("F05")
def test_bob_sees_and_cancels_nothing_of_alices(alices: Client, bob: User, coded: OAuthProvider) -> None:
    address = press(alices)["Location"]
    alices.force_login(bob)
    assert alices.get(address).status_code == 404
    alices.get("/connections/")
    assert post(alices, address, alices.cookies["aigw_csrf"].value).status_code == 404
    assert alices.get(ASK).status_code == 200
    assert DeviceRequest.objects.count() == 1


def test_a_stranger_has_to_sign_in(browser: Client, coded: OAuthProvider) -> None:
    assert browser.get(ASK)["Location"] == f"/sign-in/?next={ASK}"


@pytest.mark.parametrize("fields", [{"device_authorization_endpoint": ""}, {"enabled": False}])
def test_what_is_not_offered_is_not_found(fields: dict[str, Any], alices: Client, coded: OAuthProvider) -> None:
    OAuthProvider.objects.update(**fields)
    assert alices.get(ASK).status_code == 404
