"""A provider's own page in the admin, its list, its switch and its end."""

from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.urls import reverse
from guardian.shortcuts import assign_perm

from audit.models import Event
from providers.models import OAuthProvider
from tests import factories
from tests.admin_pages import page, queries_of, signed_in
from vault.models import Secret

CARDS = (
    "Authorization Callback URL",
    "OAuth Endpoints",
    "Client Configuration",
    "Scopes &amp; Grant Types",
    "Used by",
    "Permissions",
    "Metadata",
)


def staff(user: User, *permissions: str) -> User:
    user.is_staff = True
    user.save()
    for permission in permissions:
        assign_perm(permission, user)
    return user


def text_of(user: User, url: str, **query: str) -> str:
    answer = signed_in(user).get(url, query)
    assert answer.status_code == 200
    text: str = answer.content.decode()
    return text


@pytest.fixture
def provider(db: None) -> OAuthProvider:
    return factories.make_provider(base="https://127.0.0.1", display_name="GitHub", preset="github")


# --- Detail ------------------------------------------------------------------------------------------


def test_the_page_has_every_card_and_action(admin: User, provider: OAuthProvider) -> None:
    text = text_of(admin, page(provider, "detail"))
    assert [card for card in CARDS if f">{card}</h2>" not in text] == []
    for what in ("change", "disable", "delete", "rights_page"):
        assert f'href="{page(provider, what)}"' in text, what
    assert "/oauth/v1/authorize?provider_name=github" in text  # Connect, for oneself
    for shown in ("https://gateway.test/oauth/v1/callback/github", "https://127.0.0.1/token", "GITHUB_CLIENT_SECRET"):
        assert shown in text
    assert "exists" in text


@pytest.mark.threat("F05")
def test_who_may_only_view_sees_it_without_the_actions(alice: User, provider: OAuthProvider) -> None:
    assign_perm("view_oauthprovider", staff(alice), provider)
    for url in (page(provider, "detail"), page(provider, "change")):
        text = text_of(alice, url)
        assert [card for card in CARDS if f">{card}</h2>" not in text] == []
        for what in ("disable", "delete", "rights_page", "enable"):
            assert page(provider, what) not in text, what
        assert 'name="display_name"' not in text
    client = signed_in(alice)
    for what in ("disable", "enable", "change", "delete"):
        assert client.post(page(provider, what), {"post": "yes"}).status_code == 403, what
    assert OAuthProvider.objects.get().enabled


def test_a_missing_secret_is_said(admin: User, provider: OAuthProvider) -> None:
    Secret.objects.all().delete()
    assert "missing" in text_of(admin, page(provider, "detail"))


def test_used_by_counts_connections_and_links_servers(admin: User, alice: User, provider: OAuthProvider) -> None:
    factories.make_vault_entry(alice, provider)
    factories.make_vault_entry(admin, provider, attention_reason="invalid_grant")
    server = factories.make_server("code-search", provider=provider, required_scopes=["repo"])
    text = text_of(admin, page(provider, "detail"))
    assert "1 connected" in text
    assert "1 needs attention" in text
    assert f'href="{page(server, "detail")}">code-search' in text


@pytest.mark.threat("F05")
def test_a_server_that_one_may_not_view_is_only_counted(alice: User, provider: OAuthProvider) -> None:
    assign_perm("view_oauthprovider", staff(alice, "providers.delete_oauthprovider"), provider)
    factories.make_server("very-secret-project", provider=provider)
    for what in ("detail", "delete"):
        text = text_of(alice, page(provider, what))
        assert "very-secret-project" not in text
        assert "1 that you may not view" in text


@pytest.mark.threat("F07")
def test_the_page_says_who_may_do_what_and_through_what(admin: User, alice: User, provider: OAuthProvider) -> None:
    assign_perm("attach_oauthprovider", alice, provider)
    assign_perm("view_oauthprovider", Group.objects.create(name="security"), provider)
    rows = signed_in(admin).get(page(provider, "detail")).context["holders"]
    found = {row["holder"].name: (row["here"], sorted(row["everywhere"])) for row in rows}
    assert found["alice"] == (["attach"], [])
    assert found["security"] == (["view"], [])
    assert found["admins"] == ([], ["attach", "change", "delete", "view"])


def test_no_connect_where_there_is_nothing_to_connect(admin: User) -> None:
    for fields in ({"enabled": False}, {"grant_types": ["token_exchange"]}):
        provider = factories.make_provider(f"p{len(fields)}{OAuthProvider.objects.count()}", **fields)
        assert "/oauth/v1/authorize" not in text_of(admin, page(provider, "detail"))


@pytest.mark.threat("A12")
def test_an_endpoint_is_never_a_link(admin: User) -> None:
    provider = factories.make_provider(authorization_endpoint="javascript:alert(1)", issuer="data:text/html,x")
    text = text_of(admin, page(provider, "detail"))
    assert 'href="javascript' not in text
    assert 'href="data' not in text


@pytest.mark.threat("C07")
def test_no_page_shows_the_secret(superuser: User, provider: OAuthProvider) -> None:
    Secret.objects.all().delete()
    factories.make_secret("GITHUB_CLIENT_SECRET", "canary-1f3e")
    for what in ("detail", "change", "delete", "disable", "history", "rights_page"):
        assert "canary-1f3e" not in text_of(superuser, page(provider, what)), what


# --- Switching and deleting --------------------------------------------------------------------------


@pytest.mark.threat("A15")
def test_disable_asks_with_numbers_and_a_get_changes_nothing(admin: User, alice: User, provider: OAuthProvider) -> None:
    factories.make_vault_entry(alice, provider)
    client = signed_in(admin)
    text = client.get(page(provider, "disable")).content.decode()
    assert "1 connection</strong>" in text
    assert OAuthProvider.objects.get().enabled
    assert client.get(page(provider, "enable")).status_code == 405
    assert client.post(page(provider, "disable")).headers["Location"] == page(provider, "detail")
    assert not OAuthProvider.objects.get().enabled
    assert Event.objects.filter(action="oauth_provider.changed", target="github").exists()
    assert client.post(page(provider, "enable")).status_code == 302
    assert OAuthProvider.objects.get().enabled


@pytest.mark.threat("A15")
def test_every_form_wants_the_csrf_token(browser: Any, admin: User, provider: OAuthProvider) -> None:
    browser.force_login(admin, "django.contrib.auth.backends.ModelBackend")
    for url in [page(provider, what) for what in ("disable", "enable", "delete", "change")] + [
        page(OAuthProvider, "add")
    ]:
        assert browser.post(url, {"post": "yes"}).status_code == 403, url
    assert OAuthProvider.objects.get().enabled


@pytest.mark.threat("A19")
def test_delete_shows_what_it_hits_and_then_it_is_gone(admin: User, alice: User, provider: OAuthProvider) -> None:
    factories.make_vault_entry(alice, provider)
    factories.make_server("code-search", provider=provider)
    client = signed_in(admin)
    text = client.get(page(provider, "delete")).content.decode()
    for said in ("1 connection", "1 MCP server", "code-search", "cannot be undone"):
        assert said in text
    assert OAuthProvider.objects.exists()
    assert client.post(page(provider, "delete"), {"post": "yes"}).status_code == 302
    assert "github" not in client.get(page(OAuthProvider)).content.decode().partition("result_list")[2]
    for what in ("detail", "change", "disable"):
        assert client.get(page(provider, what)).status_code == 404


# --- The list ----------------------------------------------------------------------------------------


def test_the_list_shows_badges_counts_and_opens_the_page(admin: User, alice: User, provider: OAuthProvider) -> None:
    OAuthProvider.objects.update(grant_types=["browser_consent", "token_exchange"], scopes=["a", "b", "c", "d"])
    factories.make_vault_entry(alice, provider)
    factories.make_server("code-search", provider=provider)
    answer = signed_in(admin).get(page(OAuthProvider))
    text = answer.content.decode()
    assert text.count('<span class="aigw-badge">') == 2
    assert f'href="{page(provider, "detail")}"' in text
    assert "Create provider" in text
    [row] = answer.context["cl"].result_list
    assert (row.connection_total, row.server_total) == (1, 1)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"status": "disabled"}, ["okta"]),
        ({"grant_type": "token_exchange"}, ["okta"]),
        ({"category": "Code & Dev"}, ["github"]),
        ({"category": "-"}, ["mine"]),
        ({"preset": "github"}, ["github"]),
        ({"q": "HUB"}, ["github"]),
        ({"q": "Own thing"}, ["mine"]),
        ({"q": "127.0.0.1"}, []),
    ],
)
def test_the_list_is_narrowed_and_searched(
    admin: User, provider: OAuthProvider, query: dict[str, str], found: list[str]
) -> None:
    factories.make_provider("okta", preset="okta", enabled=False, grant_types=["token_exchange"])
    factories.make_provider("mine", display_name="Own thing")
    answer = signed_in(admin).get(page(OAuthProvider), query)
    assert [row.name for row in answer.context["cl"].result_list] == found


def test_pages_ask_as_often_for_many_as_for_one(admin: User, alice: User, bob: User, provider: OAuthProvider) -> None:
    client = signed_in(admin)
    factories.make_server("server-one", provider=provider)
    factories.make_vault_entry(alice, provider)
    urls = [page(OAuthProvider), page(provider, "detail"), page(provider, "delete"), page(provider, "change")]
    for url in urls:
        client.get(url)
    before = [queries_of(client, url) for url in urls]
    factories.make_vault_entry(bob, provider)
    for number in range(20):
        factories.make_server(f"server-{number}", provider=provider)
        other = factories.make_provider(f"provider-{number}")
        factories.make_server(f"other-{number}", provider=other)
        assign_perm("view_oauthprovider", Group.objects.create(name=f"group-{number}"), provider)
    assert [queries_of(client, url) for url in urls] == before
    assert max(before) <= 40


def test_there_is_no_page_for_what_is_not_there(admin: User) -> None:
    for what in ("detail", "disable", "change"):
        assert signed_in(admin).get(reverse(f"admin:providers_oauthprovider_{what}", args=[999])).status_code == 404
