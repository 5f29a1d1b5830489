"""The device flow on the wire: ask for a code, ask whether it was used (RFC 8628)."""

import pytest

from providers import oauth2

GRANTED = {
    "device_code": "dc-secret",
    "user_code": "WDJB-MJHT",
    "verification_uri": "https://idp.example/device",
    "verification_uri_complete": "https://idp.example/device?user_code=WDJB-MJHT",
    "expires_in": 900,
    "interval": 7,
}


@pytest.fixture
def device_client(far_side, make_client):
    """A client of a provider that offers the device flow."""
    return make_client(device_authorization_endpoint=far_side.url("/device"))


def start(client, scopes=("read", "write")):
    return oauth2.start_device(client, scopes=list(scopes))


def poll(client):
    return oauth2.poll_device(client, device_code="dc-secret")


# --- Answers that cannot be used --------------------------------------------------------------------


@pytest.mark.spec("RFC 8628", "3.2")
@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"device_code": None}, "device_code"),
        ({"device_code": ["dc"]}, "device_code"),
        ({"device_code": "dc\r\n"}, "device_code"),
        ({"device_code": "x" * 40_000}, "device_code"),
        ({"user_code": ""}, "user_code"),
        ({"user_code": {"a": 1}}, "user_code"),
        ({"user_code": "x" * 65}, "user_code"),
        ({"verification_uri": None}, "verification_uri"),
        ({"verification_uri": 7}, "verification_uri"),
        ({"verification_uri": "https://idp.example/" + "x" * 2000}, "verification_uri"),
        ({"expires_in": None}, "expires_in"),
        ({"expires_in": -1}, "expires_in"),
        ({"expires_in": "soon"}, "expires_in"),
    ],
)
def test_a_malformed_grant_is_a_typed_error(far_side, device_client, change, why):
    far_side.will(path="/device", fields={**GRANTED, **change})
    with pytest.raises(oauth2.BadAnswer) as caught:
        start(device_client)
    assert caught.value.why == why


@pytest.mark.threat("A12")
@pytest.mark.parametrize("uri", ["javascript:alert(1)", "http://idp.example/device", "data:text/html,x", "//evil"])
def test_a_user_is_never_sent_to_an_address_that_is_no_page(far_side, device_client, uri):
    far_side.will(path="/device", fields={**GRANTED, "verification_uri": uri})
    with pytest.raises(oauth2.BadAnswer):
        start(device_client)
    far_side.will(path="/device", fields={**GRANTED, "verification_uri_complete": uri})
    assert start(device_client).verification_uri_complete == ""


def test_a_refusal_to_start_carries_its_code(far_side, device_client):
    far_side.will(path="/device", status=400, fields={"error": "unauthorized_client"})
    with pytest.raises(oauth2.ProviderRefused) as caught:
        start(device_client)
    assert caught.value.error == "unauthorized_client"


def test_without_an_endpoint_nothing_is_sent(far_side, client):
    with pytest.raises(oauth2.ProviderRefused) as caught:
        start(client)
    assert caught.value.error == "unsupported_grant_type"
    assert far_side.requests == []


# --- Not yet, and no --------------------------------------------------------------------------------


@pytest.mark.spec("RFC 8628", "3.5")
@pytest.mark.parametrize("status", [400, 403, 428, 200])
def test_pending_and_slow_down_say_to_ask_again(far_side, device_client, status):
    far_side.will(status=status, fields={"error": "authorization_pending"})
    far_side.will(status=status, fields={"error": "slow_down", "interval": 10})
    with pytest.raises(oauth2.AuthorizationPending):
        poll(device_client)
    with pytest.raises(oauth2.SlowDown):
        poll(device_client)


@pytest.mark.spec("RFC 8628", "3.5")
@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("access_denied", "access_denied"),
        ("authorization_declined", "access_denied"),
        ("expired_token", "expired_token"),
        ("invalid_grant", "invalid_grant"),
        ("invalid_client", "invalid_client"),
        ("dc-secret", "unrecognised"),
    ],
)
def test_an_end_carries_its_code_and_never_the_device_code(far_side, device_client, said, meant):
    far_side.will(status=400, fields={"error": said, "error_description": "dc-secret"})
    with pytest.raises(oauth2.ProviderRefused) as caught:
        poll(device_client)
    assert caught.value.error == meant
    assert "dc-secret" not in f"{caught.value} {caught.value!r}"


@pytest.mark.spec("RFC 8628", "3.5")
def test_a_busy_or_silent_provider_is_no_answer(far_side, device_client):
    far_side.will(status=503, headers={"Retry-After": "30"})
    far_side.will(hang_up=True)
    far_side.will(body=b"<html>")
    for error in (oauth2.ProviderUnavailable, oauth2.ProviderUnavailable, oauth2.BadAnswer):
        with pytest.raises(error):
            poll(device_client)


# --- The flow ---------------------------------------------------------------------------------------


@pytest.mark.spec("RFC 8628", "3.1")
@pytest.mark.parametrize("auth_method", ["client_secret_basic", "client_secret_post", "none"])
def test_a_code_is_asked_for_as_the_registered_client(far_side, make_client, auth_method):
    client = make_client(
        device_authorization_endpoint=far_side.url("/device"),
        auth_method=auth_method,
        client_secret="" if auth_method == "none" else "gateway-secret",
        scope_delimiter=",",
        resource="https://mcp.example/mcp",
    )
    far_side.will(path="/device", fields=GRANTED)
    grant = start(client)
    [request] = far_side.received("/device")
    secret = {"client_secret": "gateway-secret"} if auth_method == "client_secret_post" else {}
    assert request.form == {
        "client_id": "gateway-client",
        "scope": "read,write",
        "resource": "https://mcp.example/mcp",
        **secret,
    }
    assert ("authorization" in request.headers) == (auth_method == "client_secret_basic")
    assert (grant.user_code, grant.expires_in, grant.interval) == ("WDJB-MJHT", 900, 7)
    assert grant.verification_uri_complete == GRANTED["verification_uri_complete"]
    assert "dc-secret" not in repr(grant)


@pytest.mark.spec("RFC 8628", "3.2")
@pytest.mark.parametrize(
    ("said", "seconds"), [(None, 5), (0, 5), (-3, 5), ("soon", 5), (0.2, 1), ("10", 10), (10**9, 60)]
)
def test_the_interval_is_five_seconds_unless_said_within_reason(far_side, device_client, said, seconds):
    far_side.will(path="/device", fields={**GRANTED, "interval": said, "expires_in": 10**9})
    grant = start(device_client)
    assert (grant.interval, grant.expires_in) == (seconds, 3600)


def test_the_older_name_of_the_address_is_read(far_side, device_client):
    fields = {name: value for name, value in GRANTED.items() if not name.startswith("verification")}
    far_side.will(path="/device", fields={**fields, "verification_url": "https://www.google.com/device"})
    grant = start(device_client)
    assert (grant.verification_uri, grant.verification_uri_complete) == ("https://www.google.com/device", "")


@pytest.mark.spec("RFC 8628", "3.4")
def test_tokens_come_for_the_device_code(far_side, device_client):
    far_side.accept_only("gateway-client", "gateway-secret")
    answer = poll(device_client)
    [request] = far_side.token_requests
    assert request.form == {
        "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
        "device_code": "dc-secret",
    }
    assert (answer.access_token, answer.refresh_token) == ("access-1", "refresh-1")
