"""`NAME/permissions/` of providers, servers and secrets: one implementation, tried on each."""

from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db.models import Model
from guardian.shortcuts import assign_perm

from audit.models import Event
from clients import rights
from clients.api.docs import schema
from clients.holders import users_who_may
from tests import factories
from tests.api import PROVIDERS, SECRETS, SERVERS, client_of, findings

KINDS = {"provider": f"{PROVIDERS}github/", "server": f"{SERVERS}tools/", "secret": f"{SECRETS}MCP_KEY/"}
SPECIAL = {"provider": "attach", "server": "use", "secret": "use"}


def made(kind: str) -> Model:
    makers: dict[str, Any] = {
        "provider": factories.make_provider,
        "server": factories.make_server,
        "secret": lambda: factories.make_secret("MCP_KEY"),
    }
    target: Model = makers[kind]()
    return target


def ask(user: User, method: str, kind: str, body: Any = None, query: str = "") -> Any:
    sent = {} if body is None else {"data": body, "content_type": "application/json"}
    return getattr(client_of(user), method)(f"{KINDS[kind]}permissions/{query}", **sent)


def may(user: User, action: str, target: Model) -> bool:
    return rights.may(User.objects.get(pk=user.pk), action, target)


@pytest.mark.parametrize("kind", KINDS)
def test_an_admin_gives_and_takes(admin: User, alice: User, kind: str) -> None:
    target, special = made(kind), SPECIAL[kind]
    given = ask(admin, "post", kind, {"user": "alice", "permissions": ["view", special]})
    assert given.status_code == 200
    (held,) = [holder for holder in given.json()["holders"] if holder["user"] == "alice"]
    assert {row["permission"]: row["through"] for row in held["permissions"]} == {
        "view": ["object"],
        special: ["object"],
    }
    assert may(alice, "view", target)
    assert may(alice, special, target)
    assert not may(alice, "change", target)
    assert ask(admin, "delete", kind, {"user": "alice", "permissions": [special]}).status_code == 204
    assert not may(alice, special, target)
    assert may(alice, "view", target)
    assert ask(admin, "delete", kind, query="?user=alice&permissions=view").status_code == 204
    assert not may(alice, "view", target)
    taken = Event.objects.filter(action="permission.taken", result="ok")
    assert [event.data["to"] for event in taken] == ["alice", "alice"]


def test_a_group_is_given_rights_as_well(admin: User, alice: User) -> None:
    provider, team = made("provider"), Group.objects.create(name="team")
    alice.groups.add(team)
    assert ask(admin, "post", "provider", {"group": "team", "permissions": ["attach"]}).status_code == 200
    assert may(alice, "attach", provider)


def test_the_list_says_through_what_a_right_is_held(admin: User, alice: User, superuser: User) -> None:
    provider, team = made("provider"), Group.objects.create(name="team")
    alice.groups.add(team)
    assign_perm("view_oauthprovider", alice, provider)
    assign_perm("attach_oauthprovider", team, provider)
    assign_perm("providers.change_oauthprovider", alice)
    listed = ask(admin, "get", "provider").json()
    assert listed["superusers"] == ["root"]
    held = {
        row["user"] or row["group"]: {r["permission"]: r["through"] for r in row["permissions"]}
        for row in listed["holders"]
    }
    assert held["alice"] == {"view": ["object"], "change": ["global"]}
    assert held["team"] == {"attach": ["object"]}
    assert held["admins"]["attach"] == ["global"]

    of_alice = ask(admin, "get", "provider", query="?user=alice").json()["holders"]
    assert {row["permission"]: row["through"] for row in of_alice[0]["permissions"]} == {
        "view": ["object"],
        "change": ["global"],
        "attach": ["group team"],
    }
    of_root = ask(admin, "get", "provider", query="?user=root").json()["holders"]
    assert {row["permission"] for row in of_root[0]["permissions"]} == {"view", "attach", "change", "delete"}


@pytest.mark.threat("F07")
@pytest.mark.parametrize("kind", KINDS)
def test_whoever_holds_every_right_but_is_no_admin_gives_none(alice: User, bob: User, kind: str) -> None:
    target = made(kind)
    factories.allow(alice, target, "view", "change", "delete", SPECIAL[kind])
    for who in ("alice", "bob"):
        refused = ask(alice, "post", kind, {"user": who, "permissions": ["view"]})
        assert (refused.status_code, findings(refused)) == (403, [("permission_denied", None)])
    assert ask(alice, "delete", kind, {"user": "alice", "permissions": ["view"]}).status_code == 403
    assert ask(alice, "get", kind).status_code == 403
    assert ask(bob, "post", kind, {"user": "bob", "permissions": ["view"]}).status_code == 404
    assert not may(bob, "view", target)
    assert Event.objects.filter(action="permission.refused", result="refused", actor="alice").count() == 4


@pytest.mark.threat("F07")
def test_an_admin_raises_nobody_above_itself_and_half_a_grant_is_none(admin: User, alice: User) -> None:
    provider, admins = made("provider"), Group.objects.get(name="admins")
    admins.permissions.remove(*admins.permissions.filter(codename="attach_oauthprovider"))
    for who in ("admin", "alice"):
        refused = ask(admin, "post", "provider", {"user": who, "permissions": ["view", "attach"]})
        assert (refused.status_code, findings(refused)) == (403, [("permission_denied", "permissions")])
    assert not may(alice, "view", provider)
    assert not may(admin, "attach", provider)
    assert Event.objects.filter(action="permission.granted", result="refused").count() == 2


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"user": "nobody", "permissions": ["view"]}, ("not_found", "user")),
        ({"group": "nobody", "permissions": ["view"]}, ("not_found", "group")),
        ({"user": "gone", "permissions": ["view"]}, ("not_found", "user")),
        ({"user": "alice", "group": "members", "permissions": ["view"]}, ("invalid", "group")),
        ({"permissions": ["view"]}, ("required", "user")),
        ({"user": "alice"}, ("required", "permissions")),
        ({"user": "alice", "permissions": []}, ("empty", "permissions")),
        ({"user": "alice", "permissions": "view"}, ("not_a_list", "permissions")),
        ({"user": "alice", "permissions": ["view", "add"]}, ("invalid_choice", "permissions")),
        ({"user": "alice", "permissions": ["own"]}, ("invalid_choice", "permissions")),
    ],
)
@pytest.mark.parametrize("method", ["post", "delete"])
def test_bad_input_names_its_field(admin: User, alice: User, method: str, body: Any, expected: tuple[str, str]) -> None:
    provider = made("provider")
    factories.make_user("gone", is_active=False)
    answer = ask(admin, method, "provider", body)
    assert (answer.status_code, findings(answer)) == (400, [expected])
    assert not may(alice, "view", provider)


@pytest.mark.threat("F06")
@pytest.mark.parametrize("field", ["is_staff", "is_superuser", "giver", "permission", "target", "id"])
def test_no_other_field_is_taken(admin: User, alice: User, field: str) -> None:
    provider = made("provider")
    answer = ask(admin, "post", "provider", {"user": "alice", "permissions": ["view"], field: True})
    assert (answer.status_code, findings(answer)) == (400, [("unknown_field", field)])
    assert not may(alice, "view", provider)


@pytest.mark.parametrize(("method", "query"), [("get", "?usr=alice"), ("get", "?group=x"), ("post", "?user=alice")])
def test_no_parameter_is_ignored(admin: User, alice: User, method: str, query: str) -> None:
    made("provider")
    body = {"user": "alice", "permissions": ["view"]} if method == "post" else None
    answer = ask(admin, method, "provider", body, query)
    assert (answer.status_code, findings(answer)[0][0]) == (400, "unknown_filter")


def test_who_may_use_a_server_is_asked_from_both_sides_alike(admin: User, alice: User, bob: User) -> None:
    server, other = factories.make_server(), factories.make_server("other")
    team = Group.objects.create(name="team")
    member, by_global, away = (factories.make_user(name) for name in ("member", "global", "away"))
    member.groups.add(team)
    away.groups.add(team)
    User.objects.filter(pk=away.pk).update(is_active=False)
    assign_perm("use_mcpserver", team, server)
    assign_perm("use_mcpserver", alice, server)
    assign_perm("use_mcpserver", bob, other)
    assign_perm("mcpservers.use_mcpserver", by_global)
    found = set(users_who_may("use", server))
    assert found == {user for user in User.objects.all() if rights.may(user, "use", server)}
    assert found == {admin, alice, member, by_global}


@pytest.mark.parametrize("resource", ["oauth-providers", "mcp-servers", "secrets"])
def test_the_schema_describes_all_three_with_examples(resource: str) -> None:
    operations = schema()["paths"][f"/api/v1/{resource}/{{name}}/permissions/"]
    assert set(operations) == {"get", "post", "delete"}
    assert operations["post"]["requestBody"]["content"]["application/json"]["examples"]
    assert {parameter["name"] for parameter in operations["delete"]["parameters"]} == {
        "name",
        "user",
        "group",
        "permissions",
    }
