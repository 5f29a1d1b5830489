"""RFC 7009 against every answer that providers give."""

import pytest

from providers import oauth2
from providers.oauth2 import Revoked
from tests.fakes.token_endpoint import TokenEndpoint


def revoke(client):
    return oauth2.revoke(client, token="the-token", token_type_hint="refresh_token")


@pytest.mark.threat("B17", "B18")
@pytest.mark.spec("RFC 7009", "2.1")
def test_a_token_is_revoked_with_hint_and_client_authentication(far_side, client):
    far_side.accept_only("gateway-client", "gateway-secret")
    assert revoke(client) == Revoked.REVOKED
    [request] = far_side.received("/revoke")
    assert request.method == "POST"
    assert request.form == {"token": "the-token", "token_type_hint": "refresh_token"}


@pytest.mark.threat("B18")
@pytest.mark.spec("RFC 7009", "2.2")
@pytest.mark.parametrize("body", [b"", b"OK", b"<html>", b"[]", b'{"error": "invalid_token"}'])
def test_a_200_is_revoked_whatever_the_body(far_side, client, body):
    far_side.will(path="/revoke", body=body)
    assert revoke(client) == Revoked.REVOKED


def test_a_token_that_is_dead_already_is_revoked_also_when_said_with_a_400(far_side, client):
    far_side.will(path="/revoke", status=400, fields={"error": "invalid_token"})
    assert revoke(client) == Revoked.REVOKED


@pytest.mark.threat("B18")
def test_no_endpoint_is_unsupported_and_asks_nobody(far_side, make_client):
    assert revoke(make_client(revocation_endpoint="")) == Revoked.UNSUPPORTED
    assert far_side.requests == []


@pytest.mark.threat("B18")
@pytest.mark.spec("RFC 7009", "2.2.1")
def test_an_unsupported_token_type_is_unsupported(far_side, client):
    far_side.will(path="/revoke", status=400, fields={"error": "unsupported_token_type"})
    assert revoke(client) == Revoked.UNSUPPORTED


@pytest.mark.threat("B18")
@pytest.mark.spec("RFC 7009", "2.2.1")
def test_a_503_asks_to_come_back_later(far_side, client):
    far_side.will(path="/revoke", status=503, headers={"Retry-After": "120"})
    with pytest.raises(oauth2.ProviderUnavailable) as caught:
        revoke(client)
    assert (caught.value.why, caught.value.retry_after_seconds) == ("status_503", 120)


@pytest.mark.parametrize(
    ("status", "fields", "error"),
    [(401, {"error": "invalid_client"}, "invalid_client"), (404, None, "status_404"), (405, [], "status_405")],
)
def test_anything_else_is_a_refusal(far_side, client, status, fields, error):
    far_side.will(path="/revoke", status=status, fields=fields)
    with pytest.raises(oauth2.ProviderRefused) as caught:
        revoke(client)
    assert caught.value.error == error


@pytest.mark.threat("B10")
def test_a_redirect_is_a_refusal_and_the_token_does_not_travel(far_side, client):
    with TokenEndpoint() as elsewhere:
        far_side.will(path="/revoke", status=307, headers={"Location": elsewhere.url("/revoke")})
        with pytest.raises(oauth2.ProviderRefused) as caught:
            revoke(client)
        assert caught.value.error == "redirect"
        assert elsewhere.requests == []


def test_a_silent_provider_is_given_up(far_side, client, settings):
    settings.AIGW_TOKEN_ENDPOINT_TIMEOUT_SECONDS = 0.2
    far_side.will(path="/revoke", after_seconds=5)
    with pytest.raises(oauth2.ProviderUnavailable) as caught:
        revoke(client)
    assert caught.value.why == "timeout"
