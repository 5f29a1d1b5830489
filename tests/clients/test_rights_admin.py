"""Granting and taking rights on one object."""

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse
from guardian.shortcuts import assign_perm

from audit.models import Event
from changes import counter
from clients import granting, rights
from mcpservers.models import MCPServer
from providers.models import OAuthProvider
from tests import factories
from tests.admin_pages import signed_in


def rights_url(target: OAuthProvider | MCPServer) -> str:
    return reverse(f"admin:{target._meta.app_label}_{target._meta.model_name}_rights_page", args=[target.pk])


def grant(client: Client, target: OAuthProvider, name: str, *actions: str, kind: str = "user") -> int:
    return client.post(rights_url(target), {"kind": kind, "name": name, "actions": actions}).status_code


@pytest.fixture
def provider(db: None) -> OAuthProvider:
    return factories.make_provider()


def test_an_admin_grants_to_a_user_and_takes_it_back(admin: User, alice: User, provider: OAuthProvider) -> None:
    client, before = signed_in(admin), counter.current()
    assert grant(client, provider, "alice", "view", "attach") == 302
    alice = User.objects.get(pk=alice.pk)
    assert rights.may(alice, "attach", provider)
    assert not rights.may(alice, "change", provider)
    assert counter.current() > before
    event = Event.objects.filter(action="permission.granted").latest("pk")
    assert (event.actor, event.target, event.data) == ("admin", "github", {"to": "alice", "permissions": ["attach"]})

    shown = client.get(rights_url(provider)).content.decode()
    assert f'value="user:{alice.pk}:attach"' in shown
    assert client.post(rights_url(provider), {"take": f"user:{alice.pk}:attach"}).status_code == 302
    assert not rights.may(User.objects.get(pk=alice.pk), "attach", provider)
    assert Event.objects.filter(action="permission.taken", result="ok").exists()


def test_a_group_is_granted_as_well(admin: User, alice: User, provider: OAuthProvider) -> None:
    team = Group.objects.create(name="team")
    alice.groups.add(team)
    assert grant(signed_in(admin), provider, "team", "view", kind="group") == 302
    assert rights.may(User.objects.get(pk=alice.pk), "view", provider)


def test_the_page_says_through_what_a_right_is_held(admin: User, alice: User, provider: OAuthProvider) -> None:
    assign_perm("view_oauthprovider", alice, provider)
    shown = signed_in(admin).get(rights_url(provider)).content.decode()
    assert "alice" in shown
    assert "on this object" in shown
    assert "everywhere" in shown  # the group admins


@pytest.mark.threat("F07")
def test_whoever_may_change_an_object_cannot_give_rights_on_it(alice: User, bob: User, provider: OAuthProvider) -> None:
    alice.is_staff = True
    alice.save()
    for action in ("view", "change", "delete", "attach"):
        assign_perm(f"{action}_oauthprovider", alice, provider)
    client = signed_in(alice)
    assert client.get(rights_url(provider)).status_code == 403
    assert grant(client, provider, "bob", "view") == 403
    assert not rights.may(bob, "view", provider)


@pytest.mark.threat("F07")
def test_an_admin_gives_nothing_that_it_does_not_hold(admin: User, provider: OAuthProvider) -> None:
    Group.objects.get(name="admins").permissions.remove(
        *Group.objects.get(name="admins").permissions.filter(codename="attach_oauthprovider")
    )
    client = signed_in(admin)
    assert "attach:" not in client.get(rights_url(provider)).content.decode()
    assert grant(client, provider, "admin", "attach") == 400
    with pytest.raises(rights.PermissionRefused, match="you do not hold it yourself"):
        granting.grant(admin, admin, "attach", provider)
    assert not rights.may(User.objects.get(pk=admin.pk), "attach", provider)
    assert Event.objects.get(action="permission.granted", result="refused").data["permissions"] == ["attach"]


@pytest.mark.threat("F07")
def test_the_verb_itself_refuses_everyone_but_admins(alice: User, bob: User, provider: OAuthProvider) -> None:
    assign_perm("attach_oauthprovider", alice, provider)
    for verb in (granting.grant, granting.take):
        with pytest.raises(rights.PermissionRefused, match="only by superusers"):
            verb(alice, bob, "attach", provider)
    with pytest.raises(granting.UnknownAction):
        granting.grant(alice, bob, "add", provider)


def test_an_unknown_name_is_named_beside_its_field(admin: User, provider: OAuthProvider) -> None:
    answer = signed_in(admin).post(rights_url(provider), {"kind": "user", "name": "nobody", "actions": ["view"]})
    assert answer.status_code == 400
    assert "There is no active user called nobody" in answer.content.decode()


@pytest.mark.threat("A15")
def test_a_get_and_a_forged_post_give_nothing(admin: User, bob: User, provider: OAuthProvider, browser: Client) -> None:
    browser.force_login(admin, "django.contrib.auth.backends.ModelBackend")
    wanted = {"kind": "user", "name": "bob", "actions": "view"}
    browser.get(rights_url(provider), wanted)
    assert browser.post(rights_url(provider), wanted).status_code == 403
    assert not rights.may(bob, "view", provider)


def test_a_server_and_a_secret_have_the_page_too(admin: User) -> None:
    server, secret = factories.make_server(), factories.make_secret()
    client = signed_in(admin)
    assert "call its tools" in client.get(rights_url(server)).content.decode()
    assert (
        "sends its value upstream"
        in client.get(reverse("admin:vault_secret_rights_page", args=[secret.pk])).content.decode()
    )
    assert client.get(reverse("admin:vault_secret_rights_page", args=[999])).status_code == 404
