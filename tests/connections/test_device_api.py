"""`POST /api/v1/connections/NAME/device/`."""

from typing import Any

import pytest
from django.contrib.auth.models import User

from connections.models import DeviceRequest
from providers.models import OAuthProvider
from tests import factories
from tests.api import CONNECTIONS, findings, send
from tests.connections import devices
from tests.connections.devices import DEVICE_CODE, USER_CODE, wait_and_poll
from tests.fakes.token_endpoint import TokenEndpoint
from vault.models import Secret

DEVICE = f"{CONNECTIONS}github/device/"


@pytest.mark.spec("RFC 8628", "3.2")
def test_the_code_is_given_and_the_connection_shows_when_it_is_done(
    alice: User, coded: OAuthProvider, code_side: TokenEndpoint
) -> None:
    answer = send(alice, "post", DEVICE, {})
    assert answer.status_code == 200
    assert answer.json() == {
        "user_code": USER_CODE,
        "verification_uri": code_side.url("/enter"),
        "verification_uri_complete": code_side.url(f"/enter?user_code={USER_CODE}"),
        "expires_in": 900,
        "interval": 5,
    }
    assert answer["Cache-Control"] == "no-store"
    assert send(alice, "get", f"{CONNECTIONS}github/").json()["status"] == "not_connected"
    wait_and_poll()
    row = send(alice, "get", f"{CONNECTIONS}github/").json()
    assert (row["status"], row["account"], row["scopes_granted"]) == ("connected", "alice", ["read"])


def test_a_provider_without_a_complete_address_gives_an_empty_one(
    alice: User, coded: OAuthProvider, code_side: TokenEndpoint
) -> None:
    devices.hand_out(code_side, verification_uri_complete=None, interval=None)
    answer = send(alice, "post", DEVICE).json()
    assert (answer["verification_uri_complete"], answer["interval"]) == ("", 5)


@pytest.mark.threat("F05")
def test_a_code_connects_nobody_but_its_caller(alice: User, bob: User, coded: OAuthProvider) -> None:
    send(alice, "post", DEVICE)
    wait_and_poll()
    assert send(alice, "get", f"{CONNECTIONS}github/").json()["status"] == "connected"
    assert send(bob, "get", f"{CONNECTIONS}github/").json()["status"] == "not_connected"


def test_a_stranger_gets_no_code(db: None) -> None:
    assert send(None, "post", DEVICE).status_code == 401


def test_get_changes_nothing(alice: User, coded: OAuthProvider, code_side: TokenEndpoint) -> None:
    assert send(alice, "get", DEVICE).status_code == 404
    assert code_side.requests == []


@pytest.mark.spec("RFC 8628", "3.5")
@pytest.mark.parametrize(
    ("error", "state", "words"),
    [("access_denied", "denied", "said no"), ("expired_token", "expired", "ran out"), ("odd", "failed", "ended this")],
)
def test_whoever_asked_learns_what_came_of_it(
    error: str, state: str, words: str, alice: User, bob: User, coded: OAuthProvider, code_side: TokenEndpoint
) -> None:
    send(alice, "post", DEVICE)
    waiting = send(alice, "get", DEVICE)
    assert (waiting.json()["state"], waiting.json()["reason"], waiting.json()["detail"]) == ("pending", "", "")
    assert waiting["Cache-Control"] == "no-store"
    devices.say(code_side, error)
    wait_and_poll()
    ended = send(alice, "get", DEVICE).json()
    assert (ended["state"], ended["reason"]) == (state, error)
    assert words in ended["detail"]
    assert USER_CODE not in str(ended) + waiting.content.decode()
    assert DEVICE_CODE not in str(ended) + waiting.content.decode()
    assert send(bob, "get", DEVICE).status_code == 404


def test_a_code_that_was_used_is_connected(alice: User, coded: OAuthProvider, code_side: TokenEndpoint) -> None:
    send(alice, "post", DEVICE)
    wait_and_poll()
    assert send(alice, "get", DEVICE).json()["state"] == "connected"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"device_authorization_endpoint": ""}, "device_not_available"),
        ({"enabled": False}, "oauth_provider_not_found"),
    ],
)
def test_where_there_is_no_such_way_it_is_said(
    fields: dict[str, Any], code: str, alice: User, coded: OAuthProvider
) -> None:
    factories.make_vault_entry(alice, coded)
    OAuthProvider.objects.update(**fields)
    answer = send(alice, "post", DEVICE)
    assert (answer.status_code, findings(answer)) == (400, [(code, "provider")])


def test_an_unknown_provider_is_not_found(alice: User) -> None:
    assert send(alice, "post", DEVICE).status_code == 404


@pytest.mark.threat("F06")
@pytest.mark.parametrize("field", ["user_id", "scopes", "device_code"])
def test_the_body_cannot_choose(field: str, alice: User, coded: OAuthProvider) -> None:
    assert findings(send(alice, "post", DEVICE, {field: "x"})) == [("unknown_field", field)]


@pytest.mark.parametrize(
    ("trouble", "status", "code"),
    [
        ({"status": 503}, 502, "provider_unavailable"),
        ({"hang_up": True}, 502, "provider_unavailable"),
        ({"body": b"<html>canary</html>"}, 502, "provider_bad_answer"),
        ({"fields": {"device_code": "canary", "user_code": "A"}}, 502, "provider_bad_answer"),
        ({"status": 400, "fields": {"error": "unauthorized_client"}}, 400, "device_refused"),
        ({"status": 401, "fields": {"error": "invalid_client", "error_description": "canary"}}, 400, "device_refused"),
    ],
)
def test_trouble_at_the_provider_is_named(
    trouble: dict[str, Any], status: int, code: str, alice: User, coded: OAuthProvider, code_side: TokenEndpoint
) -> None:
    code_side.will(path="/device", **trouble)
    answer = send(alice, "post", DEVICE)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (status, code)
    assert "canary" not in answer.content.decode()
    assert not DeviceRequest.objects.exists()


def test_a_missing_secret_is_named(alice: User, coded: OAuthProvider) -> None:
    Secret.objects.all().delete()
    answer = send(alice, "post", DEVICE)
    assert (answer.status_code, findings(answer)) == (400, [("secret_not_found", "provider")])
    assert "GITHUB_CLIENT_SECRET" in answer.content.decode()


@pytest.mark.threat("C01")
def test_the_device_code_is_in_no_answer(alice: User, coded: OAuthProvider) -> None:
    said = b"".join(
        send(alice, method, path).content
        for method, path in (("post", DEVICE), ("get", CONNECTIONS), ("get", f"{CONNECTIONS}github/"))
    )
    assert DEVICE_CODE.encode() not in said
