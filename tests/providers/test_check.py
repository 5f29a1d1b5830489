"""The check of a provider: what is wrong is said in words, before any user meets it, and nothing secret is shown."""

from typing import Any

import pytest
from django.contrib.auth.models import User

from audit.models import Event
from clients.rights import PermissionRefused
from providers import check
from providers.models import OAuthProvider
from tests import factories
from tests.api import PROVIDERS, send
from tests.fakes.token_endpoint import TokenEndpoint

SECRET = "c4n4ry-secret"
METADATA = "/.well-known/oauth-authorization-server"
NO = {"error": "invalid_grant", "error_description": "c4n4ry-text"}


@pytest.fixture
def provider(db: None, far_side: TokenEndpoint) -> OAuthProvider:
    """A saved provider whose token endpoint is `far_side`."""
    factories.make_secret("IDP_SECRET", SECRET)
    return factories.make_provider("idp", **far_side.endpoints, client_secret_ref="IDP_SECRET")


def found(provider: OAuthProvider, **arguments: Any) -> list[tuple[str, str, str]]:
    """Return the findings; whatever they say, they say nothing secret and no body."""
    findings = check.check(provider, **arguments)
    text = repr(findings)
    assert "c4n4ry" not in text
    return [(finding.level, finding.field, finding.sentence) for finding in findings]


def probe(provider: OAuthProvider, **arguments: Any) -> tuple[str, str, str]:
    """Return the one finding about a provider without an issuer."""
    [finding] = found(provider, **arguments)
    return finding


# --- The token endpoint -----------------------------------------------------------------------------


def test_a_wrong_secret_is_told_from_a_wrong_code(far_side, provider) -> None:
    far_side.accept_only("gateway-client", "another-secret")
    level, field, sentence = probe(provider)
    assert (level, field) == ("error", "client_secret_ref")
    assert "does not accept the client id and secret (it said invalid_client)" in sentence
    assert "client_secret_post was refused too" in sentence


@pytest.mark.parametrize(
    ("method", "other"),
    [("client_secret_basic", "client_secret_post"), ("client_secret_post", "client_secret_basic")],
)
def test_a_wrong_auth_method_is_found_by_trying_the_other(far_side, provider, method, other) -> None:
    far_side.will(status=401, fields={"error": "invalid_client"})
    far_side.will(status=400, fields=NO)
    provider.token_endpoint_auth_method = method
    level, field, sentence = probe(provider)
    assert (level, field) == ("error", "token_endpoint_auth_method")
    assert sentence.endswith(f"Choose {other}.")
    first, second = (("authorization" in request.headers) for request in far_side.token_requests)
    assert (first, second) == (method == "client_secret_basic", method != "client_secret_basic")


def test_an_unknown_public_client_is_said_to_be_one(far_side, provider) -> None:
    far_side.will(status=401, fields={"error": "invalid_client"})
    provider.token_endpoint_auth_method, provider.client_secret_ref = "none", ""
    level, field, _ = probe(provider)
    assert (level, field) == ("error", "client_id")
    assert len(far_side.token_requests) == 1


def test_a_missing_secret_is_a_finding_and_nothing_is_sent(far_side, provider) -> None:
    provider.client_secret_ref = "GONE"
    assert probe(provider)[:2] == ("error", "client_secret_ref")
    assert "GONE not found" in probe(provider)[2]
    assert far_side.requests == []


@pytest.mark.parametrize(
    ("answer", "level", "field", "words"),
    [
        ({"status": 400, "fields": NO}, "ok", "token_endpoint", "knows the client id and secret"),
        ({"fields": {"error": "bad_verification_code"}}, "ok", "token_endpoint", "knows the client id and secret"),
        ({"status": 400, "fields": {"error": "invalid_request"}}, "ok", "token_endpoint", "does not let on"),
        ({"fields": {"error": "incorrect_client_credentials"}}, "error", "client_secret_ref", "does not accept"),
        ({"fields": {"error": "redirect_uri_mismatch"}}, "error", "callback_mode", "/oauth/v1/callback/idp"),
        ({"status": 400, "fields": {"error": "invalid_target"}}, "error", "resource", "resource"),
        ({"status": 400, "fields": {"error": "unsupported_grant_type"}}, "error", "token_endpoint", "not exchange"),
        ({"status": 400, "fields": {"error": "odd_thing"}}, "warning", "token_endpoint", "odd_thing"),
        ({"status": 400, "fields": {"error": "c4n4ry 1"}}, "warning", "token_endpoint", "unrecognised"),
        ({"body": b"<html>c4n4ry</html>"}, "error", "token_endpoint", "no OAuth answer"),
        ({"status": 404, "body": b"c4n4ry"}, "error", "token_endpoint", "404"),
        ({"status": 405}, "error", "token_endpoint", "405"),
        ({"status": 401, "body": b"c4n4ry"}, "error", "client_secret_ref", "401"),
        ({"status": 302, "headers": {"Location": "https://c4n4ry/"}}, "error", "token_endpoint", "redirect"),
        ({"status": 503}, "error", "token_endpoint", "status_503"),
        ({"status": 429}, "warning", "token_endpoint", "asks to wait"),
        ({"hang_up": True}, "error", "token_endpoint", "could not be reached"),
        ({"body": b"x" * 300_000}, "error", "token_endpoint", "too large"),
        ({"fields": {"access_token": "c4n4ry"}}, "error", "token_endpoint", "made-up code"),
    ],
    ids=range(19),
)
def test_what_the_token_endpoint_says_is_put_in_words(far_side, provider, answer, level, field, words) -> None:
    far_side.will(times=2, **answer)
    got = probe(provider)
    assert got[:2] == (level, field)
    assert words in got[2]


@pytest.mark.threat("E01")
@pytest.mark.threat("E06")
@pytest.mark.parametrize("url", ["https://169.254.169.254/token", "https://10.0.0.1:22/token"])
def test_an_address_that_may_not_be_called_is_refused_in_the_same_words(provider, url) -> None:
    provider.token_endpoint = url
    assert probe(provider)[2] == (
        "The token endpoint is at an address that this gateway may not call. Check the address, or try again later."
    )


@pytest.mark.threat("A12")
def test_plain_http_is_said_to_need_https(provider) -> None:
    provider.token_endpoint = "http://idp.example/token"
    assert "HTTPS required" in probe(provider)[2]


def test_the_code_is_made_up_and_never_the_same(far_side, provider) -> None:
    far_side.will(times=2, status=400, fields=NO)
    probe(provider)
    probe(provider)
    codes = {request.form["code"] for request in far_side.token_requests}
    assert len(codes) == 2
    assert all(len(code) > 40 for code in codes)


def test_a_provider_that_is_not_saved_is_checked_with_the_secret_as_typed(db, far_side) -> None:
    far_side.accept_only("new-client", "typed-secret")
    far_side.will(status=400, fields=NO)
    provider = OAuthProvider(
        name="new", client_id="new-client", client_secret_ref="NOT_THERE_YET", **far_side.endpoints
    )
    assert probe(provider, client_secret="typed-secret")[0] == "ok"
    assert far_side.token_requests[0].client == ("new-client", "typed-secret")
    assert not OAuthProvider.objects.exists()


# --- Metadata ---------------------------------------------------------------------------------------


def about(far_side: TokenEndpoint, provider: OAuthProvider, **said: Any) -> dict[str, tuple[str, str]]:
    """Return what is found about each field but the token endpoint when the issuer says this of itself."""
    provider.issuer = far_side.url("")
    fields = {"issuer": provider.issuer, "authorization_endpoint": provider.authorization_endpoint}
    far_side.will(path=METADATA, fields={**fields, "code_challenge_methods_supported": ["S256"], **said})
    far_side.will(status=400, fields=NO)
    findings = found(provider)
    assert findings[-1][0] == "ok"
    return {field: (level, sentence) for level, field, sentence in findings[:-1]}


def test_metadata_that_agrees_is_said_to(far_side, provider) -> None:
    assert about(far_side, provider)["issuer"][0] == "ok"


@pytest.mark.parametrize(
    ("typed", "said", "field", "level", "words"),
    [
        ({}, {"token_endpoint": "https://idp.example/t"}, "token_endpoint", "warning", "https://idp.example/t"),
        (
            {"revocation_endpoint": ""},
            {"revocation_endpoint": "https://idp.example/r"},
            "revocation_endpoint",
            "warning",
            "Disconnect can then tell",
        ),
        (
            {},
            {"device_authorization_endpoint": "https://idp.example/d"},
            "device_authorization_endpoint",
            "warning",
            "connect with a code",
        ),
        (
            {},
            {"token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"]},
            "token_endpoint_auth_method",
            "error",
            "Choose client_secret_post.",
        ),
        (
            {},
            {"token_endpoint_auth_methods_supported": ["private_key_jwt"]},
            "token_endpoint_auth_method",
            "error",
            "private_key_jwt only",
        ),
        ({}, {"grant_types_supported": ["client_credentials"]}, "grant_types", "warning", "reconnect"),
        ({"scopes": ["raed"]}, {"scopes_supported": ["read"]}, "scopes", "warning", "does not list raed"),
        ({}, {"scopes_supported": ["read", "offline_access"]}, "scopes", "warning", "offline_access"),
        ({}, {"code_challenge_methods_supported": ["plain"]}, "require_pkce", "error", "plain only"),
        ({"require_pkce": True}, {"code_challenge_methods_supported": None}, "require_pkce", "error", "PKCE"),
        ({"callback_mode": "shared"}, {}, "callback_mode", "warning", "shared callback"),
    ],
    ids=range(11),
)
def test_a_difference_is_said_with_the_way_out(far_side, provider, typed, said, field, level, words) -> None:
    for name, value in typed.items():
        setattr(provider, name, value)
    got = about(far_side, provider, **said)[field]
    assert got[0] == level
    assert words in got[1]


def test_a_shared_callback_is_fine_where_iss_is_promised(far_side, provider) -> None:
    provider.callback_mode = "shared"
    said = about(far_side, provider, authorization_response_iss_parameter_supported=True)
    assert "callback_mode" not in said


@pytest.mark.threat("A17")
def test_metadata_of_another_issuer_is_said_and_not_used(far_side, provider) -> None:
    said = about(far_side, provider, issuer="https://evil.example", token_endpoint="https://evil.example/token")
    assert said["issuer"][0] == "warning"
    assert "another issuer" in said["issuer"][1]
    assert "token_endpoint" not in said


def test_an_issuer_without_metadata_still_has_its_token_endpoint_asked(far_side, provider) -> None:
    provider.issuer = far_side.url("")
    far_side.will(status=400, fields=NO)
    assert [finding[:2] for finding in found(provider)] == [("warning", "issuer"), ("ok", "token_endpoint")]


def test_what_a_check_learns_is_kept_for_the_saved_issuer_only(far_side, provider) -> None:
    about(far_side, provider, authorization_response_iss_parameter_supported=True)
    assert OAuthProvider.objects.get().issuer_promises == {}
    OAuthProvider.objects.update(issuer=far_side.url(""))
    about(far_side, OAuthProvider.objects.get(), authorization_response_iss_parameter_supported=True)
    assert OAuthProvider.objects.get().issuer_promises["iss_parameter"] is True


# --- Who may ----------------------------------------------------------------------------------------


def test_the_api_says_what_was_found_and_the_trail_how_much(far_side, provider, admin: User) -> None:
    far_side.will(times=2, status=401, fields={"error": "invalid_client"})
    answer = send(admin, "post", f"{PROVIDERS}idp/check/")
    assert answer.status_code == 200
    [finding] = answer.json()["findings"]
    assert (finding["level"], finding["field"]) == ("error", "client_secret_ref")
    assert finding["detail"].endswith("Copy both again from the app that is registered there.")
    event = Event.objects.get(action="oauth_provider.checked")
    assert (event.actor, event.target, event.data) == ("admin", "idp", {"errors": 1, "warnings": 0})
    assert SECRET not in answer.content.decode()


def test_the_api_takes_no_fields(far_side, provider, admin: User) -> None:
    assert send(admin, "post", f"{PROVIDERS}idp/check/", {"token_endpoint": "https://evil.example"}).status_code == 400
    assert far_side.requests == []


@pytest.mark.parametrize(("actions", "status"), [((), 404), (("view",), 403), (("view", "delete", "attach"), 403)])
def test_who_may_not_change_a_provider_may_not_check_it(far_side, provider, alice: User, actions, status) -> None:
    factories.allow(alice, provider, *actions)
    assert send(alice, "post", f"{PROVIDERS}idp/check/").status_code == status
    assert far_side.requests == []


def test_who_may_not_use_the_secret_cannot_have_it_sent(far_side, provider, alice: User) -> None:
    factories.allow(alice, provider, "view", "change")
    answer = send(alice, "post", f"{PROVIDERS}idp/check/")
    assert answer.status_code == 403
    assert answer.json()["errors"][0]["code"] == "secret_permission_denied"
    assert far_side.requests == []


def test_someone_who_may_not_add_providers_cannot_check_a_new_one(far_side, alice: User) -> None:
    new = OAuthProvider(name="new", client_id="id", **far_side.endpoints)
    with pytest.raises(PermissionRefused):
        check.check_as(alice, new, client_secret="typed")
    assert far_side.requests == []
