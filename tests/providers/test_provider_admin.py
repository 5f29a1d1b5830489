"""OAuth providers in the admin."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from guardian.shortcuts import assign_perm

from audit.models import Event
from clients import rights
from providers.models import OAuthProvider
from tests import factories
from tests.admin_pages import filled, page, queries_of, signed_in


def new_provider(**changes: Any) -> dict[str, Any]:
    return {
        "name": "github",
        "display_name": "GitHub",
        "enabled": "on",
        "authorization_endpoint": "https://127.0.0.1/authorize",
        "token_endpoint": "https://127.0.0.1/token",
        "client_id": "gateway",
        "token_endpoint_auth_method": "none",
        "secret_source": "existing",
        "client_secret_ref": "",
        "callback_mode": "per_provider",
        "grant_types": ["browser_consent"],
        "scopes": "repo\nread:user",
        "scope_delimiter": " ",
        "authorize_params": "access_type=offline",
        **changes,
    }


@pytest.fixture
def here(db: None) -> OAuthProvider:
    """A provider whose addresses may be saved again without asking a name server."""
    return factories.make_provider(base="https://127.0.0.1")


def test_an_admin_creates_a_provider_and_may_change_it(admin: User) -> None:
    answer = signed_in(admin).post(page(OAuthProvider, "add"), new_provider())
    assert answer.status_code == 302, answer.content.decode()
    provider = OAuthProvider.objects.get()
    assert provider.scopes == ["repo", "read:user"]
    assert provider.authorize_params == {"access_type": "offline"}
    assert rights.may(admin, "change", provider)
    assert Event.objects.filter(action="oauth_provider.created", actor="admin").exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"name": "GitHub"}, "lower-case letters, digits and hyphens"),
        ({"token_endpoint": "http://169.254.169.254/"}, "token_endpoint"),
        ({"token_endpoint": "javascript:alert(1)"}, "token_endpoint"),
        ({"grant_types": []}, "Tick at least one"),
        ({"scopes": 'a"b'}, "is not a scope"),
        ({"authorize_params": "state=x"}, "set by the protocol itself"),
        ({"authorize_params": "prompt"}, "Write name=value"),
        ({"client_secret_ref": "NO_SUCH_SECRET", "token_endpoint_auth_method": "client_secret_basic"}, "not found"),
        ({"client_secret_ref": "", "token_endpoint_auth_method": "client_secret_basic"}, "Name the secret"),
        ({"client_id": ""}, "This field is required"),
    ],
)
@pytest.mark.threat("A12", "E01")
def test_a_refused_form_says_why_beside_the_field_and_saves_nothing(
    admin: User, changes: dict[str, Any], sentence: str
) -> None:
    answer = signed_in(admin).post(page(OAuthProvider, "add"), new_provider(**changes))
    assert answer.status_code == 200
    form = answer.context["form"]
    assert list(form.errors) == [next(iter(changes))]
    assert sentence in answer.content.decode()
    assert not OAuthProvider.everything.exists()


def test_everything_that_is_wrong_is_said_at_once(admin: User) -> None:
    sent = new_provider(name="GitHub", token_endpoint="javascript:x", client_id="")
    answer = signed_in(admin).post(page(OAuthProvider, "add"), sent)
    assert set(answer.context["form"].errors) == {"name", "token_endpoint", "client_id"}


def test_a_new_form_offers_the_defaults(admin: User) -> None:
    blank = filled(signed_in(admin), page(OAuthProvider, "add") + "?preset=")
    assert blank["grant_types"] == ["browser_consent"]
    assert blank["token_endpoint_auth_method"] == ["client_secret_basic"]
    assert blank["enabled"] == ["on"]


def test_a_secret_without_the_right_to_use_it_is_refused(admin: User, alice: User) -> None:
    alice.is_staff = True
    alice.save()
    assign_perm("providers.add_oauthprovider", alice)
    factories.make_secret("GITHUB_SECRET")
    sent = new_provider(client_secret_ref="GITHUB_SECRET", token_endpoint_auth_method="client_secret_basic")
    client = signed_in(alice)
    assert "GITHUB_SECRET" not in client.get(page(OAuthProvider, "add") + "?preset=").content.decode()
    answer = client.post(page(OAuthProvider, "add"), sent)
    assert "vault.use_secret" in str(answer.context["form"].errors["client_secret_ref"])
    assert not OAuthProvider.objects.exists()


def test_a_form_sent_back_as_it_came_changes_nothing(admin: User, here: OAuthProvider) -> None:
    client = signed_in(admin)
    assert client.post(page(here, "change"), filled(client, page(here, "change"))).status_code == 302
    after = OAuthProvider.objects.get()
    assert {**vars(after), "_state": 0, "updated_at": 0} == {**vars(here), "_state": 0, "updated_at": 0}
    assert not Event.objects.filter(action="oauth_provider.changed").exists()


def test_the_name_cannot_change_and_the_callback_is_shown(admin: User, here: OAuthProvider) -> None:
    client = signed_in(admin)
    shown = client.get(page(here, "change")).content.decode()
    assert "https://gateway.test/oauth/v1/callback/github" in shown
    assert 'name="name"' not in shown
    client.post(page(here, "change"), filled(client, page(here, "change"), name="gitlab", display_name="Renamed"))
    here.refresh_from_db()
    assert (here.name, here.display_name) == ("github", "Renamed")


@pytest.mark.threat("F15")
def test_names_are_escaped_everywhere(superuser: User) -> None:
    evil = "<script>alert(1)</script>"
    provider = factories.make_provider(display_name=evil, scopes=["<b>scope"], authorize_params={"<i>": "<u>"})
    client = signed_in(superuser)
    urls = [page(provider, what) for what in ("detail", "change", "delete", "disable", "history", "rights_page")]
    for url in [page(OAuthProvider), *urls]:
        shown = client.get(url).content.decode()
        assert evil not in shown, url
        assert "<b>scope" not in shown, url
    assert "&lt;script&gt;alert(1)" in client.get(page(OAuthProvider)).content.decode()


@pytest.mark.threat("F05")
def test_list_and_detail_follow_one_rule(alice: User) -> None:
    alice.is_staff = True
    alice.save()
    seen, unseen = factories.make_provider("seen"), factories.make_provider("unseen")
    assign_perm("view_oauthprovider", alice, seen)
    assign_perm("change_oauthprovider", alice, unseen)  # without view: not even its existence
    client = signed_in(alice)
    listed = client.get(page(OAuthProvider)).content.decode()
    assert page(seen, "detail") in listed
    assert page(unseen, "detail") not in listed
    detail = client.get(page(seen, "change"))
    assert detail.status_code == 200
    assert "https://auth.example.com/token" in detail.content.decode()
    assert 'name="display_name"' not in detail.content.decode()
    assert client.post(page(seen, "change"), {"display_name": "x"}).status_code == 403
    assert client.post(page(seen, "delete"), {"post": "yes"}).status_code == 403
    for what in ("detail", "change", "delete", "disable", "history"):
        answer = client.get(page(unseen, what)).status_code
        assert answer in {403, 404}, what
        assert answer == client.get(reverse(f"admin:providers_oauthprovider_{what}", args=[999])).status_code
    assert OAuthProvider.objects.count() == 2


def test_deleting_says_how_many_connections_it_ends(admin: User, alice: User, here: OAuthProvider) -> None:
    factories.make_vault_entry(alice, here)
    client = signed_in(admin)
    assert "1 connection ends" in client.get(page(here, "delete")).content.decode()
    assert client.post(page(here, "delete"), {"post": "yes"}).status_code == 302
    assert not OAuthProvider.objects.exists()
    assert OAuthProvider.everything.get().deleted_at is not None
    assert client.get(page(here, "change")).status_code == 404


def test_the_list_deletes_one_by_one_through_the_verb(admin: User, here: OAuthProvider) -> None:
    sent = {"action": "delete_selected", "_selected_action": [here.pk], "post": "yes"}
    signed_in(admin).post(page(OAuthProvider), sent)
    assert OAuthProvider.everything.get().deleted_at is not None
    assert Event.objects.filter(action="oauth_provider.deleted").exists()


def test_the_list_asks_as_often_for_forty_as_for_one(admin: User, here: OAuthProvider) -> None:
    client = signed_in(admin)
    client.get(page(OAuthProvider))
    before = queries_of(client, page(OAuthProvider))
    for number in range(40):
        factories.make_provider(f"provider-{number}")
    assert queries_of(client, page(OAuthProvider)) == before
