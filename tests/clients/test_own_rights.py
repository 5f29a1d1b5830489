"""Nobody raises their own rights, by any door (F07): users, groups, object permissions, bodies with extra fields."""

from typing import Any

import pytest
from django.contrib import admin as django_admin
from django.contrib.auth.models import Group, Permission, User
from django.db.models import Model
from django.urls import reverse

from clients import granting, rights
from mcpservers.models import MCPServer
from providers.models import OAuthProvider
from tests import factories
from tests.admin_pages import signed_in
from tests.api import PROVIDERS, SECRETS, SERVERS, client_of, provider_body, server_body
from vault.models import Secret


def staff_with_auth() -> User:
    """Hold every permission that Django has on users and groups, and be staff."""
    user = factories.make_user("climber", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(content_type__app_label__in=("auth", "guardian")))
    return user


def in_group(name: str) -> User:
    user = factories.make_user("climber", is_staff=True)
    user.groups.add(Group.objects.get(name=name))
    return user


CLIMBERS: dict[str, Any] = {
    "staff with auth.*": staff_with_auth,
    "admins": lambda: in_group("admins"),
    "mcp-editors": lambda: in_group("mcp-editors"),
    "members": lambda: in_group("members"),
}


def held(user: User, targets: list[Model]) -> dict[str, object]:
    """Return everything that a right could follow from."""
    fresh = User.objects.get(pk=user.pk)
    return {
        "flags": (fresh.is_staff, fresh.is_superuser, fresh.is_active),
        "groups": set(fresh.groups.values_list("name", flat=True)),
        "permissions": fresh.get_all_permissions(),
        "superusers": set(User.objects.filter(is_superuser=True).values_list("username", "password")),
        "of groups": {group.name: group.permissions.count() for group in Group.objects.all()},
        "on objects": {
            (str(target), action): rights.may(fresh, action, target)
            for target in targets
            for action in granting.actions_on(target)
        },
    }


@pytest.fixture
def targets(db: None) -> list[Model]:
    provider = factories.make_provider("target")
    return [provider, factories.make_server("target", provider=provider), factories.make_secret("TARGET")]


@pytest.mark.threat("F07")
@pytest.mark.parametrize("climber", CLIMBERS)
def test_no_page_of_users_and_groups_lets_anyone_climb(superuser: User, targets: list[Model], climber: str) -> None:
    user = CLIMBERS[climber]()
    before, client = held(user, targets), signed_in(user)
    everything = {
        "username": "climber",
        "name": "admins",
        "is_active": "on",
        "is_staff": "on",
        "is_superuser": "on",
        "groups": [group.pk for group in Group.objects.all()],
        "permissions": [permission.pk for permission in Permission.objects.all()],
        "user_permissions": [permission.pk for permission in Permission.objects.all()],
        "password1": "a-long-enough-word",
        "password2": "a-long-enough-word",
    }
    for model, rows in ((User, [user, superuser]), (Group, list(Group.objects.all()))):
        for pattern in django_admin.site._registry[model].get_urls():
            if not pattern.name:
                continue
            takes_one = "<" in str(pattern.pattern)
            for row in rows if takes_one else rows[:1]:
                path = reverse(f"admin:{pattern.name}", args=[row.pk] if takes_one else [])
                assert client.get(path).status_code in (403, 404), path
                assert client.post(path, everything).status_code in (403, 404), path
    assert held(user, targets) == before


@pytest.mark.threat("F07")
@pytest.mark.parametrize("climber", [name for name in CLIMBERS if name != "admins"])
def test_no_rights_page_or_endpoint_lets_anyone_but_admins_give_to_themselves(
    targets: list[Model], climber: str
) -> None:
    user = CLIMBERS[climber]()
    before, pages, api = held(user, targets), signed_in(user), client_of(user)
    for target, address in zip(targets, (PROVIDERS, SERVERS, SECRETS), strict=True):
        actions = granting.actions_on(target)
        prefix = f"admin:{target._meta.app_label}_{target._meta.model_name}"
        form = {"kind": "user", "name": "climber", "actions": actions}
        assert pages.post(reverse(f"{prefix}_rights_page", args=[target.pk]), form).status_code in (403, 404)
        for receiver in ({"user": "climber"}, {"group": "members"}, {"group": "mcp-editors"}):
            body = {**receiver, "permissions": actions}
            path = f"{address}{target.name}/permissions/"  # type: ignore[attr-defined]
            assert api.post(path, body, content_type="application/json").status_code in (403, 404)
    assert held(user, targets) == before


@pytest.mark.threat("F07")
def test_an_admin_whose_group_lost_a_right_cannot_give_it_to_itself_or_its_groups(targets: list[Model]) -> None:
    user, admins = in_group("admins"), Group.objects.get(name="admins")
    admins.permissions.remove(*admins.permissions.filter(codename__in=("attach_oauthprovider", "use_secret")))
    before, api = held(user, targets), client_of(user)
    for path, action in ((f"{PROVIDERS}target/", "attach"), (f"{SECRETS}TARGET/", "use")):
        for receiver in ({"user": "climber"}, {"group": "admins"}):
            body = {**receiver, "permissions": ["view", action]}
            assert api.post(f"{path}permissions/", body, content_type="application/json").status_code == 403
    assert held(user, targets) == before


@pytest.mark.threat("F06", "F07")
@pytest.mark.parametrize("field", ["is_staff", "is_superuser", "groups", "user_permissions", "permissions", "owner"])
@pytest.mark.parametrize(
    ("model", "path", "body"),
    [
        (OAuthProvider, PROVIDERS, provider_body(name="new")),
        (MCPServer, SERVERS, server_body(name="new")),
        (Secret, SECRETS, {"name": "NEW", "value": "x"}),
    ],
)
def test_no_body_carries_rights(admin: User, field: str, model: type[Model], path: str, body: dict[str, Any]) -> None:
    count = model._default_manager.count()
    answer = client_of(admin).post(path, {**body, field: ["attach"]}, content_type="application/json")
    assert answer.status_code == 400
    assert model._default_manager.count() == count
    assert not rights.may(User.objects.get(pk=admin.pk), "add", User)


@pytest.mark.threat("F07")
def test_whoever_makes_a_thing_anew_gets_no_attach_by_it(alice: User, targets: list[Model]) -> None:
    provider = targets[0]
    assert isinstance(provider, OAuthProvider)
    factories.allow(alice, provider, "view", "delete")
    alice.user_permissions.add(Permission.objects.get(codename="add_oauthprovider"))
    api = client_of(alice)
    assert api.delete(f"{PROVIDERS}target/").status_code == 204
    assert api.post(PROVIDERS, provider_body(name="target"), content_type="application/json").status_code == 201
    again = OAuthProvider.objects.get(name="target")
    assert not rights.may(User.objects.get(pk=alice.pk), "attach", again)
