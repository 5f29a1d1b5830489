"""Creating and editing a provider in the admin: catalog, placeholders, a new secret, the check, the question."""

import logging
import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from guardian.shortcuts import assign_perm

from audit.models import Event
from clients import rights
from providers import presets
from providers.models import OAuthProvider
from tests import factories
from tests.admin_pages import filled, page, signed_in
from tests.fakes.token_endpoint import TokenEndpoint
from vault import secrets
from vault.models import Secret

ADD = "/admin/providers/oauthprovider/add/"
CANARY = "canary-value-5d20"


def from_preset(client: Client, preset: str, **changes: Any) -> dict[str, Any]:
    """Return what the form of a preset sends when an admin types client id and secret."""
    typed = {"client_id": "gateway", "new_secret_value": CANARY, "authorize_params": ""}
    return filled(client, f"{ADD}?preset={preset}", **{**typed, **changes})


def errors(answer: Any) -> dict[str, list[str]]:
    assert answer.status_code == 200
    return {name: list(found) for name, found in answer.context["form"].errors.items()}


@pytest.fixture
def maker(alice: User) -> User:
    """May add providers and nothing else."""
    alice.is_staff = True
    alice.save()
    assign_perm("providers.add_oauthprovider", alice)
    return alice


# --- The catalog -------------------------------------------------------------------------------------


def test_the_catalog_comes_first_with_every_category_and_preset(admin: User) -> None:
    answer = signed_in(admin).get(ADD)
    text = answer.content.decode()
    assert [chip.label for chip in answer.context["chips"]] == ["All", *presets.CATEGORIES]
    assert set(re.findall(r'href="\?preset=([a-z0-9-]+)"', text)) == {preset.name for preset in presets.all()}
    assert text.count("Custom provider") >= 2
    assert 'href="?preset="' in text


@pytest.mark.parametrize("method", ["get", "post"])
def test_an_unknown_preset_leads_back_to_the_catalog(admin: User, method: str) -> None:
    client = signed_in(admin)
    answer = getattr(client, method)(ADD, {"preset": "nobody", "name": "nobody"}, follow=True)
    assert "There is no preset &#x27;nobody&#x27;" in answer.content.decode()
    assert "chips" in answer.context


def test_the_catalog_is_searched_and_narrowed_without_script(admin: User) -> None:
    client = signed_in(admin)
    text = client.get(ADD, {"q": "hub github"}).content.decode()
    assert 'href="?preset=github"' in text
    assert 'href="?preset=okta"' not in text
    text = client.get(ADD, {"q": "g", "category": "Identity & SSO"}).content.decode()
    assert 'href="?preset=google"' in text
    assert 'href="?preset=github"' not in text
    assert 'aria-current="true">Identity &amp; SSO' in text
    assert 'name="category" value="Identity &amp; SSO"' in text  # a search stays in the category


@pytest.mark.threat("F15")
def test_an_empty_search_says_what_to_do_and_echoes_safely(admin: User) -> None:
    text = signed_in(admin).get(ADD, {"q": "<script>x</script>", "category": "nonsense"}).content.decode()
    assert "<script>x" not in text
    assert "works as a custom provider" in text


@pytest.mark.threat("F05")
def test_who_may_not_add_sees_neither_catalog_nor_form(alice: User) -> None:
    alice.is_staff = True
    alice.save()
    client = signed_in(alice)
    assert [client.get(ADD).status_code, client.get(f"{ADD}?preset=github").status_code] == [403, 403]
    assert client.post(ADD, {"name": "x"}).status_code == 403


# --- A preset fills the form -------------------------------------------------------------------------


def test_github_takes_an_id_and_a_secret(admin: User) -> None:
    client = signed_in(admin)
    shown = client.get(f"{ADD}?preset=github").content.decode()
    assert "https://gateway.test/oauth/v1/callback/github" in shown
    assert "https://docs.github.com/" in shown
    assert "no refresh token" in shown  # what the preset notes
    answer = client.post(ADD, from_preset(client, "github"))
    provider = OAuthProvider.objects.get()
    assert answer.headers["Location"] == page(provider, "detail")
    assert (provider.name, provider.preset, provider.display_name) == ("github", "github", "GitHub")
    assert provider.token_endpoint == "https://github.com/login/oauth/access_token"
    assert provider.client_secret_ref == "GITHUB_CLIENT_SECRET"
    assert secrets.read("GITHUB_CLIENT_SECRET", purpose="test") == CANARY
    assert rights.may(admin, "use", Secret.objects.get())


@pytest.mark.parametrize("preset", [preset.name for preset in presets.all()])
def test_every_preset_makes_a_provider(admin: User, preset: str) -> None:
    client = signed_in(admin)
    known = presets.get(preset)
    assert known is not None
    given = {f"parameter_{name}": value for name, value in known.examples.items()}
    is_public = known.token_endpoint_auth_method == "none"
    sent = filled(client, f"{ADD}?preset={preset}", client_id="gateway", new_secret_value="" if is_public else CANARY)
    answer = client.post(ADD, {**sent, **given})
    assert answer.status_code == 302, errors(answer)
    provider = OAuthProvider.objects.get()
    wanted = presets.fields(known, known.examples)
    assert {name: getattr(provider, name) for name in wanted} == {
        **wanted,
        "require_pkce": wanted["require_pkce"] or is_public,
    }


def test_a_placeholder_is_asked_for_and_the_addresses_are_built(admin: User) -> None:
    client = signed_in(admin)
    shown = client.get(f"{ADD}?preset=okta").content.decode()
    assert 'name="parameter_domain"' in shown
    assert "offline_access is needed" in shown
    sent = from_preset(client, "okta", parameter_domain="acme.okta.com", revocation_endpoint="https://else.example/r")
    assert client.post(ADD, sent).status_code == 302
    provider = OAuthProvider.objects.get()
    assert provider.token_endpoint == "https://acme.okta.com/oauth2/v1/token"
    assert provider.issuer == "https://acme.okta.com"
    assert provider.revocation_endpoint == "https://else.example/r"  # what was typed wins
    assert provider.preset_parameters == {"domain": "acme.okta.com"}

    changed = filled(client, page(provider, "change"), parameter_domain="acme.oktapreview.com")
    assert client.post(page(provider, "change"), changed).status_code == 302
    provider.refresh_from_db()
    assert provider.token_endpoint == "https://acme.oktapreview.com/oauth2/v1/token"
    assert provider.revocation_endpoint == "https://else.example/r"


def test_a_provider_whose_placeholders_were_never_stored_can_be_edited(admin: User) -> None:
    provider = factories.make_provider("okta", preset="okta", base="https://127.0.0.1")
    client, url = signed_in(admin), page(provider, "change")
    sent = filled(client, url, parameter_domain="acme.okta.com", display_name="Renamed")
    assert client.post(url, sent).status_code == 302
    provider.refresh_from_db()
    assert (provider.display_name, provider.token_endpoint) == ("Renamed", "https://127.0.0.1/token")


@pytest.mark.parametrize("domain", ["", "https://acme.okta.com", "acme.okta.com/evil", "user@acme.okta.com", "acme"])
@pytest.mark.threat("A12")
def test_a_placeholder_that_does_not_fit_is_refused_beside_its_field(admin: User, domain: str) -> None:
    client = signed_in(admin)
    found = errors(client.post(ADD, from_preset(client, "okta", parameter_domain=domain)))
    assert list(found) == ["parameter_domain"]
    assert not OAuthProvider.everything.exists()
    assert not Secret.objects.exists()


def test_a_second_provider_of_a_preset_gets_free_names(admin: User) -> None:
    factories.make_provider("github")
    shown = filled(signed_in(admin), f"{ADD}?preset=github")
    assert (shown["name"], shown["new_secret_name"]) == ("github-2", "GITHUB_2_CLIENT_SECRET")


# --- The secret --------------------------------------------------------------------------------------


@pytest.mark.threat("C07")
def test_a_refused_form_saves_neither_and_never_sends_the_value_back(admin: User, caplog: Any) -> None:
    caplog.set_level(logging.DEBUG)
    client = signed_in(admin)
    for changes in ({"name": "Not A Name"}, {"token_endpoint": "http://github.com/"}, {"scopes": 'a"b'}):
        answer = client.post(ADD, from_preset(client, "github", **changes))
        assert list(errors(answer)) == list(changes)
        assert CANARY not in answer.content.decode()
        assert "Type the value again" in answer.content.decode()
    assert not OAuthProvider.everything.exists()
    assert not Secret.objects.exists()
    assert CANARY not in caplog.text
    assert CANARY not in str(list(Event.objects.values()))


@pytest.mark.parametrize(
    ("changes", "field", "sentence"),
    [
        ({"new_secret_value": ""}, "new_secret_value", "pick an existing secret"),
        ({"new_secret_name": "lower"}, "new_secret_name", "A-Z, 0-9 and underscore"),
        ({"new_secret_name": "TAKEN"}, "new_secret_name", "Pick it under Existing"),
        ({"token_endpoint_auth_method": "none"}, "new_secret_value", "A public client has no secret"),
        ({"secret_source": "existing"}, "client_secret_ref", "Name the secret"),
        ({"secret_source": "existing", "client_secret_ref": "GONE"}, "client_secret_ref", "not found"),
    ],
)
def test_what_is_wrong_with_a_secret_is_said_where_it_was_asked_for(
    admin: User, changes: dict[str, str], field: str, sentence: str
) -> None:
    factories.make_secret("TAKEN")
    client = signed_in(admin)
    found = errors(client.post(ADD, from_preset(client, "github", **changes)))
    assert list(found) == [field]
    assert sentence in found[field][0]
    assert not OAuthProvider.everything.exists()
    assert Secret.objects.count() == 1


def test_a_public_client_has_no_secret_and_needs_pkce(admin: User) -> None:
    client = signed_in(admin)
    sent = from_preset(client, "github", token_endpoint_auth_method="none", new_secret_value="")
    assert client.post(ADD, sent).status_code == 302
    provider = OAuthProvider.objects.get()
    assert (provider.client_secret_ref, provider.require_pkce) == ("", True)
    assert not Secret.objects.exists()


@pytest.mark.threat("F07")
def test_who_may_not_make_secrets_is_told_so_and_cannot(maker: User) -> None:
    client = signed_in(maker)
    shown = client.get(f"{ADD}?preset=github").content.decode()
    assert "vault.add_secret" in shown
    assert 'name="new_secret_value"' not in shown
    sent = from_preset(client, "github", secret_source="new", new_secret_name="MINE")
    found = errors(client.post(ADD, sent))
    assert "vault.add_secret" in found["new_secret_name"][0]
    assert not OAuthProvider.everything.exists()
    assert not Secret.objects.exists()


# --- The check ---------------------------------------------------------------------------------------


def test_a_check_tells_a_wrong_secret_and_saves_nothing(admin: User, far_side: TokenEndpoint) -> None:
    far_side.accept_only("gateway", "another")
    client = signed_in(admin)
    sent = from_preset(client, "github", token_endpoint=far_side.url(), _check="1")
    answer = client.post(ADD, sent)
    text = answer.content.decode()
    assert [(label, one.level) for label, one in answer.context["findings"]] == [("Client secret", "error")]
    assert "Wrong: Client secret" in text
    assert "invalid_client" in text
    assert CANARY not in text
    assert not OAuthProvider.everything.exists()
    assert not Secret.objects.exists()


def test_a_check_of_a_changed_form_leaves_the_provider_as_it_was(admin: User, far_side: TokenEndpoint) -> None:
    far_side.will(status=400, fields={"error": "invalid_grant"}, times=None)
    provider = factories.make_provider(**far_side.endpoints, scopes=["read"])
    client = signed_in(admin)
    url = page(provider, "change")
    answer = client.post(url, filled(client, url, scopes="read write", client_id="other", _check="1"))
    assert "refused a made-up code as it should" in answer.content.decode()
    provider.refresh_from_db()
    assert (provider.scopes, provider.client_id) == (["read"], "gateway-client")


@pytest.mark.threat("F07", "B22")
def test_a_check_sends_no_secret_that_one_may_not_use(maker: User, far_side: TokenEndpoint) -> None:
    factories.make_secret("OTHERS_SECRET")
    client = signed_in(maker)
    sent = from_preset(client, "github", token_endpoint=far_side.url(), secret_source="existing", _check="1")
    found = errors(client.post(ADD, {**sent, "client_secret_ref": "OTHERS_SECRET"}))
    assert "vault.use_secret" in found["client_secret_ref"][0]
    assert far_side.requests == []


def test_a_check_of_a_wrong_form_says_what_is_wrong_and_asks_nobody(admin: User, far_side: TokenEndpoint) -> None:
    client = signed_in(admin)
    sent = from_preset(client, "github", token_endpoint=far_side.url(), client_id="", _check="1")
    assert list(errors(client.post(ADD, sent))) == ["client_id"]
    assert far_side.requests == []


# --- What a change costs -----------------------------------------------------------------------------


@pytest.fixture
def connected(alice: User, bob: User) -> OAuthProvider:
    """A provider with two connections."""
    provider = factories.make_provider(base="https://127.0.0.1")
    for user in (alice, bob):
        factories.make_vault_entry(user, provider)
    return provider


@pytest.mark.threat("A18")
@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"token_endpoint": "https://127.0.0.1/t"}, "2 connections will have to reconnect because the token endpoint"),
        ({"client_id": "x"}, "2 connections will have to reconnect because the client ID changes"),
        ({"issuer": "https://127.0.0.1", "client_id": "x"}, "the issuer and the client ID change."),
        ({"scopes": "read\nwrite"}, "2 connections have to reconnect to be granted write"),
    ],
)
def test_a_change_that_costs_connections_asks_once(
    admin: User, connected: OAuthProvider, changes: dict[str, str], sentence: str
) -> None:
    client, url = signed_in(admin), page(connected, "change")
    before = OAuthProvider.objects.values().get()
    sent = filled(client, url, **changes)
    asked = client.post(url, sent)
    assert sentence in asked.content.decode()
    assert OAuthProvider.objects.values().get() == before
    answer = client.post(url, {**sent, "confirmed": asked.context["form"].token})
    assert answer.status_code == 302
    assert OAuthProvider.objects.values().get() != before


def test_a_confirmation_holds_for_the_change_that_was_shown(admin: User, connected: OAuthProvider) -> None:
    client, url = signed_in(admin), page(connected, "change")
    token = client.post(url, filled(client, url, client_id="x")).context["form"].token
    answer = client.post(url, filled(client, url, client_id="y", confirmed=token))
    assert answer.context["question"] is not None
    assert OAuthProvider.objects.get().client_id == "gateway-client"


def test_a_change_that_costs_nobody_anything_is_saved_at_once(admin: User, connected: OAuthProvider) -> None:
    client, url = signed_in(admin), page(connected, "change")
    assert client.post(url, filled(client, url, display_name="Renamed")).status_code == 302
    assert OAuthProvider.objects.get().display_name == "Renamed"


def test_a_presets_own_parameters_stand_in_the_form(admin: User) -> None:
    page = signed_in(admin).get(ADD, {"preset": "google"}).content.decode()
    assert "access_type=offline" in page
