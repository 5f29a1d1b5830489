"""What an issuer promises in its metadata binds its answers and protects the consent: `iss` and PKCE."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from audit.models import Event
from connections.models import ConsentRequest
from providers import presets, promises
from providers.models import OAuthProvider
from tests import factories
from tests.connections.consenting import CODE, come_back, leave, offer_path, press_connect
from tests.fakes.token_endpoint import TokenEndpoint
from vault.models import VaultEntry

METADATA = "/.well-known/oauth-authorization-server"


@pytest.fixture
def idp() -> Iterator[TokenEndpoint]:
    """A provider with an issuer."""
    with TokenEndpoint() as fake:
        yield fake


@pytest.fixture
def provider(db: None, idp: TokenEndpoint) -> OAuthProvider:
    """Its registration."""
    return factories.make_provider("idp", **idp.endpoints, issuer=idp.url(""))


def publish(idp: TokenEndpoint, **fields: Any) -> None:
    """Have the issuer say this of itself."""
    said = {"issuer": idp.url(""), "code_challenge_methods_supported": ["S256"], **fields}
    idp.will(path=METADATA, times=None, fields=said)


def last_refusal() -> str:
    """Return the reason that the trail has."""
    event = Event.objects.filter(action="oauth.callback.refused").latest("pk")
    return str(event.data["reason"])


# --- iss --------------------------------------------------------------------------------------------


@pytest.mark.threat("A07")
@pytest.mark.spec("RFC 9207", "2.4")
@pytest.mark.parametrize("answer", [{"code": CODE}, {"error": "access_denied"}])
def test_a_promised_iss_that_is_absent_is_refused(alices: Client, alice, idp, provider, answer) -> None:
    publish(idp, authorization_response_iss_parameter_supported=True)
    state = leave(alices, offer_path(alice, provider))["state"]
    assert come_back(alices, "idp", state=state, **answer).status_code == 400
    assert last_refusal() == "issuer_mismatch"
    assert idp.token_requests == []
    assert not VaultEntry.objects.exists()


@pytest.mark.threat("A07")
def test_a_promised_iss_that_is_there_is_welcome(alices: Client, alice, idp, provider) -> None:
    publish(idp, authorization_response_iss_parameter_supported=True)
    state = leave(alices, offer_path(alice, provider))["state"]
    assert come_back(alices, "idp", state=state, code=CODE, iss=idp.url("")).status_code == 302


@pytest.mark.threat("A07")
def test_an_issuer_that_is_silent_later_still_promised(alices: Client, alice, idp, provider) -> None:
    publish(idp, authorization_response_iss_parameter_supported=True)
    promises.refresh(provider, now=timezone.now() - timedelta(days=2))
    idp.will(path=METADATA, times=None, status=503)
    state = leave(alices, offer_path(alice, provider))["state"]
    assert come_back(alices, "idp", state=state, code=CODE).status_code == 400
    assert last_refusal() == "issuer_mismatch"


def test_a_promise_ends_with_its_issuer(alices: Client, alice, idp, provider) -> None:
    publish(idp, authorization_response_iss_parameter_supported=True)
    promises.refresh(provider, now=timezone.now())
    assert promises.promises_iss(OAuthProvider.objects.get())
    OAuthProvider.objects.update(issuer="")
    state = leave(alices, offer_path(alice, provider))["state"]
    assert come_back(alices, "idp", state=state, code=CODE).status_code == 302


@pytest.mark.threat("A17")
def test_metadata_of_another_issuer_promises_nothing(alices: Client, alice, idp, provider) -> None:
    publish(idp, issuer="https://evil.example", authorization_response_iss_parameter_supported=True)
    state = leave(alices, offer_path(alice, provider))["state"]
    assert come_back(alices, "idp", state=state, code=CODE).status_code == 302
    assert promises.code_challenge_methods(OAuthProvider.objects.get()) is None


@pytest.mark.parametrize(("status", "wait"), [(200, timedelta(hours=23)), (503, timedelta(minutes=9))])
def test_an_issuer_is_not_asked_for_every_consent(idp, provider, status, wait) -> None:
    now = timezone.now()
    publish(idp)
    if status != 200:
        idp.will(path=METADATA, times=None, status=status)
    for moment in (now, now + wait, now + wait + timedelta(hours=2)):
        promises.refresh(OAuthProvider.objects.get(), now=moment)
    assert len(idp.received(METADATA)) == 2


def test_what_is_asked_by_the_page_alone_is_nothing(alices: Client, alice, idp, provider) -> None:
    assert alices.get(offer_path(alice, provider)).status_code == 200
    assert idp.requests == []


# --- PKCE -------------------------------------------------------------------------------------------


@pytest.mark.threat("A08")
@pytest.mark.spec("RFC 9700", "2.1.1")
@pytest.mark.parametrize(
    ("methods", "require_pkce", "reason", "words"),
    [
        (["plain"], False, "pkce_plain_only", "protects nothing"),
        (["plain"], True, "pkce_plain_only", "protects nothing"),
        ([], True, "pkce_not_offered", "does not say that it supports PKCE"),
        (None, True, "pkce_not_offered", "does not say that it supports PKCE"),
    ],
)
def test_a_downgrade_of_pkce_is_refused_before_any_redirect(
    alices: Client, alice, idp, provider, methods, require_pkce, reason, words
) -> None:
    publish(idp, code_challenge_methods_supported=methods)
    OAuthProvider.objects.update(require_pkce=require_pkce)
    answer = press_connect(alices, offer_path(alice, provider))
    assert answer.status_code == 400
    page = answer.content.decode()
    assert "Idp cannot be connected." in page
    assert words in page
    assert "Location" not in answer
    assert not ConsentRequest.objects.exists()


@pytest.mark.threat("A08")
@pytest.mark.parametrize(("methods", "require_pkce"), [(["S256"], True), (["plain", "S256"], True), (None, False)])
def test_s256_goes_wherever_it_may(alices: Client, alice, idp, provider, methods, require_pkce) -> None:
    publish(idp, code_challenge_methods_supported=methods)
    OAuthProvider.objects.update(require_pkce=require_pkce)
    assert leave(alices, offer_path(alice, provider))["code_challenge_method"] == "S256"


@pytest.fixture
def breaks_on_pkce(monkeypatch: pytest.MonkeyPatch, provider: OAuthProvider) -> OAuthProvider:
    """The provider, with a preset that says that it breaks on PKCE."""
    preset = next(preset for preset in presets.all() if preset.quirks == {"pkce_off"})
    OAuthProvider.objects.update(preset=preset.name, issuer="")
    return OAuthProvider.objects.get()


@pytest.mark.threat("A09")
def test_a_provider_that_breaks_on_pkce_gets_none(alices: Client, alice, idp, breaks_on_pkce) -> None:
    trip = leave(alices, offer_path(alice, breaks_on_pkce))
    assert not {"code_challenge", "code_challenge_method"} & set(trip)
    assert come_back(alices, "idp", state=trip["state"], code=CODE).status_code == 302
    assert "code_verifier" not in idp.token_requests[0].form


@pytest.mark.threat("A08")
@pytest.mark.parametrize("fields", [{"require_pkce": True}, {"token_endpoint_auth_method": "none"}])
def test_what_pkce_must_protect_is_not_connected_without(alices: Client, alice, breaks_on_pkce, fields) -> None:
    OAuthProvider.objects.update(**fields)
    answer = press_connect(alices, offer_path(alice, breaks_on_pkce))
    assert answer.status_code == 400
    assert "without PKCE it may not be connected" in answer.content.decode()


# --- Scopes -----------------------------------------------------------------------------------------


@pytest.mark.threat("A16")
def test_a_scope_under_another_of_its_names_is_not_missing(alices: Client, alice, idp) -> None:
    provider = factories.make_provider("google", **idp.endpoints, scopes=["email", "offline_access", "openid"])
    scope = "openid https://www.googleapis.com/auth/userinfo.email"
    idp.will(fields={"access_token": "at", "refresh_token": "rt", "scope": scope})
    state = leave(alices, offer_path(alice, provider))["state"]
    assert come_back(alices, "google", state=state, code=CODE).status_code == 302
    entry = VaultEntry.objects.get()
    assert (entry.scopes_granted, entry.attention_reason) == (["email", "offline_access", "openid"], "")
