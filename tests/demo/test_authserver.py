"""The demo's authorization server, over real HTTP."""

import pytest
import requests

from aigateway.demo.browser import Browser
from aigateway.demo.farside import FarSide, LiveTokens
from tests.demo.oauth_client import Consent, introspect, post, refresh, tokens_of


@pytest.mark.parametrize(
    ("parameter", "value", "error"),
    [
        ("code_challenge", "", "invalid_request"),
        ("code_challenge_method", "plain", "invalid_request"),
        ("code_challenge_method", "", "invalid_request"),
        ("scope", "mcp:everything", "invalid_scope"),
    ],
)
def test_an_unsafe_authorization_request_never_gets_a_code(
    far_side: FarSide, parameter: str, value: str, error: str
) -> None:
    consent = Consent(far_side)
    answer = consent.answer("bob", "Allow", **{parameter: value})
    assert (answer["error"], answer["state"], answer["iss"]) == (error, consent.state, far_side.issuer)
    assert "code" not in answer


@pytest.mark.parametrize(
    ("parameter", "value"),
    [("redirect_uri", "http://127.0.0.1:9/elsewhere"), ("client_id", "nobody"), ("client_id", "demo-mcp-server")],
)
def test_a_foreign_client_or_redirect_uri_is_refused_on_the_servers_own_page(
    far_side: FarSide, parameter: str, value: str
) -> None:
    with Browser() as browser:
        browser.open(f"{far_side.issuer}/sign-in")
        browser.sign_in("bob", far_side.passwords["bob"])
        page = browser.open(Consent(far_side).url(**{parameter: value}))
    assert page.status == 400
    assert "This request was refused" in page.text


def test_a_wrong_password_signs_nobody_in(far_side: FarSide) -> None:
    with Browser() as browser:
        browser.open(Consent(far_side).url())
        page = browser.sign_in("alice", "wrong")
        assert "do not belong together" in page.text
        assert browser.asks_to_sign_in()


def test_deny_brings_back_access_denied_state_and_issuer(far_side: FarSide) -> None:
    consent = Consent(far_side)
    answer = consent.answer("alice", "Deny")
    assert answer == {"error": "access_denied", "state": consent.state, "iss": far_side.issuer}


@pytest.mark.spec("RFC 9207", "2")
def test_allow_brings_back_code_state_and_issuer(far_side: FarSide) -> None:
    consent = Consent(far_side)
    answer = consent.answer("alice", "Allow")
    assert set(answer) == {"code", "state", "iss"}
    assert (answer["state"], answer["iss"]) == (consent.state, far_side.issuer)


@pytest.mark.spec("RFC 7636", "4.6")
def test_a_code_with_another_verifier_gives_no_token(far_side: FarSide) -> None:
    consent = Consent(far_side)
    code = consent.answer("alice", "Allow")["code"]
    response = consent.exchange(code, code_verifier="x" * 50)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")


def test_a_token_tells_its_owner_at_userinfo_and_introspection(far_side: FarSide) -> None:
    tokens = tokens_of(far_side, "bob")
    assert tokens["expires_in"] == 3
    assert set(tokens["scope"].split()) == {"profile", "mcp:tools"}
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    claims = requests.get(f"{far_side.issuer}/userinfo", headers=bearer, timeout=10).json()
    assert claims == {"sub": claims["sub"], "preferred_username": "bob", "email": "bob@example.test"}
    answer = introspect(far_side, tokens["access_token"])
    assert (answer["active"], answer["username"]) == (True, "bob")


@pytest.mark.parametrize("authorization", [{}, {"Authorization": "Bearer made-up"}])
def test_userinfo_refuses_who_has_no_good_token(far_side: FarSide, authorization: dict[str, str]) -> None:
    response = requests.get(f"{far_side.issuer}/userinfo", headers=authorization, timeout=10)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


def test_refresh_rotates_and_a_replayed_refresh_token_ends_the_family(far_side: FarSide) -> None:
    first = tokens_of(far_side, "alice")
    second = refresh(far_side, first["refresh_token"]).json()
    assert second["refresh_token"] != first["refresh_token"]
    assert introspect(far_side, first["access_token"]) == {"active": False}

    replayed = refresh(far_side, first["refresh_token"])
    assert (replayed.status_code, replayed.json()["error"]) == (400, "invalid_grant")
    assert refresh(far_side, second["refresh_token"]).json()["error"] == "invalid_grant"


@pytest.mark.spec("RFC 7009", "2")
def test_revocation_ends_both_tokens_and_the_ledger_shows_it(far_side: FarSide) -> None:
    before = far_side.ledger()
    tokens = tokens_of(far_side, "bob")
    tokens = refresh(far_side, tokens["refresh_token"]).json()
    assert far_side.ledger().live_tokens["bob"].refresh == before.live_tokens["bob"].refresh + 1

    assert post(far_side, "revoke", {"token": tokens["refresh_token"]}).status_code == 200

    assert introspect(far_side, tokens["access_token"]) == {"active": False}
    assert refresh(far_side, tokens["refresh_token"]).json()["error"] == "invalid_grant"
    after = far_side.ledger()
    assert after.live_tokens["bob"].refresh == before.live_tokens["bob"].refresh
    assert after.revocations() == before.revocations() + 1
    assert after.token_requests("authorization_code") == before.token_requests("authorization_code") + 1
    assert after.token_requests("refresh_token") == before.token_requests("refresh_token") + 1
    assert after.token_requests("refresh_token", "refused") == before.token_requests("refresh_token", "refused") + 1
    assert isinstance(after.live_tokens["alice"], LiveTokens)


def test_another_client_cannot_authenticate_as_the_gateway(far_side: FarSide) -> None:
    response = requests.post(
        f"{far_side.issuer}/introspect", data={"token": "x"}, auth=("ai-gateway", "wrong"), timeout=10
    )
    assert response.status_code in (401, 403)


def test_the_ledger_needs_the_operators_key(far_side: FarSide) -> None:
    assert requests.get(f"{far_side.issuer}/operator/ledger", timeout=10).status_code == 403


@pytest.mark.spec("RFC 8414", "3")
def test_metadata_agrees_with_the_fields_given_to_the_gateway(far_side: FarSide) -> None:
    metadata = requests.get(f"{far_side.issuer}/.well-known/oauth-authorization-server", timeout=10).json()
    fields = far_side.provider_fields()
    for name in (
        "issuer",
        "authorization_endpoint",
        "token_endpoint",
        "revocation_endpoint",
        "device_authorization_endpoint",
    ):
        assert fields[name] == metadata[name]
    assert metadata["code_challenge_methods_supported"] == ["S256"]
    assert metadata["authorization_response_iss_parameter_supported"] is True


def test_cookies_have_names_of_their_own(far_side: FarSide) -> None:
    with Browser() as browser:
        browser.open(f"{far_side.issuer}/sign-in")
        browser.sign_in("alice", far_side.passwords["alice"])
        assert browser.cookie_names() == {"demo_as_session", "demo_as_csrf"}
