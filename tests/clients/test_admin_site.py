"""Who gets into the admin, and what nobody gets there."""

import re

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from django.urls import reverse

from clients.admin_site import SECTIONS
from clients.models import ApiToken
from mcpservers.models import MCPServer
from providers.models import OAuthProvider
from tests import factories
from tests.admin_pages import page, signed_in
from vault.models import Secret


def all_lists() -> list[str]:
    return [page(model) for model in admin.site._registry]


def every_address() -> list[str]:
    """Return an address for every pattern of the admin, so that a new page is tried without being named here."""
    found = []
    for pattern in admin.site.get_urls():
        inner = getattr(pattern, "url_patterns", [pattern])
        outer = str(pattern.pattern) if inner != [pattern] else ""
        found += [outer + str(each.pattern) for each in inner if getattr(each, "name", None)]
    # The one address that is for whoever is not let in, and the one that ends a session.
    found = [address for address in found if address not in {"login/", "logout/"}]
    return ["/admin/" + re.sub(r"<[^>]+>", "1", address).removesuffix("$") for address in found if "(?P" not in address]


def test_signed_out_goes_to_the_sign_in_page_and_back(browser: Client, db: None) -> None:
    answer = browser.get(page(OAuthProvider) + "?q=x")
    assert answer.status_code == 302
    assert answer["Location"] == f"{reverse('sign-in')}?next=/admin/providers/oauthprovider/%3Fq%3Dx"
    assert browser.get(reverse("admin:login"))["Location"].startswith(reverse("sign-in"))


@pytest.mark.threat("F05")
def test_a_user_without_rights_is_refused_with_a_sentence(bob: User) -> None:
    for url in ["/admin/", *all_lists(), page(factories.make_provider(), "change")]:
        answer = signed_in(bob).get(url)
        assert answer.status_code == 403, url
        assert "mcp-editors" in answer.content.decode()


def test_an_inactive_admin_is_not_let_in(admin: User) -> None:
    client = signed_in(admin)
    User.objects.filter(pk=admin.pk).update(is_active=False)
    assert client.get("/admin/").status_code == 302


def test_the_groups_enter_without_being_staff(admin: User, alice: User) -> None:
    alice.groups.add(Group.objects.get(name="mcp-editors"))
    for user in (admin, alice):
        assert signed_in(user).get("/admin/").status_code == 200
    shown = signed_in(alice).get("/admin/").content.decode()
    assert page(MCPServer) in shown
    for model in (OAuthProvider, Secret, ApiToken, User):
        assert page(model) not in shown


@pytest.mark.threat("F05")
def test_every_address_is_closed_to_strangers_and_to_users_without_rights(bob: User, browser: Client) -> None:
    addresses, client = every_address(), signed_in(bob)
    assert len(addresses) > 50
    for url in addresses:
        assert browser.get(url)["Location"].startswith(reverse("sign-in")), url
        assert client.get(url).status_code == 403, url
        assert client.post(url).status_code == 403, url


@pytest.mark.threat("F05")
def test_internals_have_no_page() -> None:
    shown = {model._meta.label for model in admin.site._registry}
    assert shown == {
        "audit.Event",
        "auth.Group",
        "auth.User",
        "clients.ApiToken",
        "mcpservers.MCPServer",
        "providers.OAuthProvider",
        "vault.Secret",
        "vault.VaultEntry",
    }


@pytest.mark.threat("F07")
def test_only_superusers_reach_users_and_groups(admin: User) -> None:
    """A staff user with every permission of `auth` still cannot raise anyone's rights."""
    admin.is_staff = True
    admin.save()
    admin.user_permissions.set(Permission.objects.filter(content_type__app_label="auth"))
    client, group = signed_in(admin), Group.objects.get(name="admins")
    for url in (
        page(User),
        page(User, "add"),
        page(admin, "change"),
        page(admin, "delete"),
        reverse("admin:auth_user_password_change", args=[admin.pk]),
        page(Group),
        page(group, "change"),
    ):
        assert client.get(url).status_code == 403, url
        assert client.post(url, {"is_superuser": "on", "username": "admin"}).status_code == 403, url
    admin.refresh_from_db()
    assert not admin.is_superuser


def test_a_superuser_edits_users_and_it_is_recorded(superuser: User, bob: User) -> None:
    from audit.models import Event
    from tests.admin_pages import filled

    client = signed_in(superuser)
    assert client.get(page(User)).status_code == 200
    sent = filled(client, page(bob, "change"), first_name="Robert", groups=[Group.objects.get(name="members").pk])
    assert client.post(page(bob, "change"), sent).status_code == 302
    assert bob.groups.get().name == "members"
    event = Event.objects.get(action="user.changed", target="bob")
    assert (event.actor, sorted(event.data["fields"])) == ("root", ["first_name", "groups"])


def test_tokens_are_listed_without_digest_and_revoked_after_one_question(admin: User, alice: User) -> None:
    secret = factories.make_api_token(alice, "laptop")
    token = ApiToken.objects.get()
    client, one = signed_in(admin), reverse("admin:clients_apitoken_revoke", args=[token.pk])
    for url in (page(ApiToken), page(token, "change"), one):
        shown = client.get(url).content.decode()
        assert "laptop" in shown
        assert token.digest not in shown
        assert secret not in shown
    assert ApiToken.objects.get().revoked_at is None
    assert client.post(one, {"confirmed": "yes"}).status_code == 302
    assert ApiToken.objects.get().revoked_at is not None


def test_the_list_action_asks_before_it_revokes(admin: User, alice: User) -> None:
    factories.make_api_token(alice)
    client, row = signed_in(admin), ApiToken.objects.get()
    sent = {"action": "revoke_selected", "_selected_action": [str(row.pk)]}
    assert "Revoke this API token?" in client.post(page(ApiToken), sent).content.decode()
    assert ApiToken.objects.get().revoked_at is None
    client.post(page(ApiToken), {**sent, "confirmed": "yes"})
    assert ApiToken.objects.get().revoked_at is not None


def test_an_editor_sees_no_token(alice: User) -> None:
    alice.groups.add(Group.objects.get(name="mcp-editors"))
    factories.make_api_token(alice)
    row = ApiToken.objects.get()
    client = signed_in(alice)
    for url in (page(ApiToken), page(row, "change"), reverse("admin:clients_apitoken_revoke", args=[row.pk])):
        assert client.get(url).status_code in {403, 404}
        assert client.post(url, {"confirmed": "yes"}).status_code in {403, 404}
    row.refresh_from_db()
    assert row.revoked_at is None


@pytest.mark.threat("A15")
def test_a_forged_form_changes_nothing(admin: User, alice: User, browser: Client) -> None:
    factories.make_api_token(alice)
    browser.force_login(admin, "django.contrib.auth.backends.ModelBackend")
    one = reverse("admin:clients_apitoken_revoke", args=[ApiToken.objects.get().pk])
    assert browser.post(one, {"confirmed": "yes"}).status_code == 403
    assert ApiToken.objects.get().revoked_at is None


def test_an_empty_list_says_so_and_offers_only_what_can_be_done(admin: User) -> None:
    client = signed_in(admin)
    providers, tokens = client.get(page(OAuthProvider)).content.decode(), client.get(page(ApiToken)).content.decode()
    assert "No OAuth providers yet" in providers
    assert providers.count("Create provider") == 2, "in the head, and in the empty list"
    assert "No API tokens yet" in tokens
    assert "Show all" not in tokens.split("No API tokens yet")[1]
    assert "Nothing matches" in client.get(page(ApiToken) + "?q=zzz").content.decode()


def test_the_first_page_has_the_sections_of_the_side_bar(superuser: User, alice: User) -> None:
    alice.groups.add(Group.objects.get(name="mcp-editors"))

    def sections(user: User) -> dict[str, list[str]]:
        listed = signed_in(user).get(reverse("admin:index")).context["app_list"]
        return {section["name"]: [model["object_name"] for model in section["models"]] for section in listed}

    assert sections(superuser) == {
        "Gateway": ["OAuthProvider", "MCPServer", "Secret", "VaultEntry"],
        "Access": ["ApiToken", "User", "Group"],
        "Audit": ["Event"],
    }
    assert "MCPServer" in sections(alice)["Gateway"]
    assert "User" not in sections(alice).get("Access", [])


def test_every_model_of_the_admin_has_a_section() -> None:
    in_sections = {label for _, entries in SECTIONS for _, _, label in entries}
    assert in_sections == {model._meta.label_lower for model in admin.site._registry}
