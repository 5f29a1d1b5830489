import json

import pytest
from django.contrib.auth.models import User
from guardian.shortcuts import assign_perm
from pytest_django import DjangoAssertNumQueries

from audit.models import Event
from clients import rights
from tests import factories
from tests.api import SECRETS, client_of, findings, send
from vault import secrets
from vault.models import Secret

CANARY = "canary-value-7d1f"


@pytest.mark.threat("C07")
@pytest.mark.parametrize("who", ["admin", "superuser"])
def test_no_answer_ever_holds_the_value(who: str, request: pytest.FixtureRequest) -> None:
    user: User = request.getfixturevalue(who)
    bodies = [
        send(user, "post", SECRETS, {"name": "MCP_KEY", "value": CANARY}),
        send(user, "get", SECRETS),
        send(user, "get", f"{SECRETS}MCP_KEY/"),
        send(user, "patch", f"{SECRETS}MCP_KEY/", {"description": "a key"}),
        send(user, "put", f"{SECRETS}MCP_KEY/", {"name": "MCP_KEY", "value": CANARY + "2"}),
        send(user, "patch", f"{SECRETS}MCP_KEY/", {"value": CANARY + "\x00"}),
        send(user, "options", f"{SECRETS}MCP_KEY/"),
        send(user, "get", "/api/v1/schema/"),
    ]
    assert [answer.status_code for answer in bodies] == [201, 200, 200, 200, 200, 400, 200, 200]
    stored = Secret.objects.get().value.ciphertext.decode()
    for answer in bodies:
        assert CANARY not in answer.content.decode()
        assert stored not in answer.content.decode()
    assert CANARY not in json.dumps(list(Event.objects.values_list("data", flat=True)))


def test_a_new_value_rotates_and_a_description_does_not(admin: User) -> None:
    send(admin, "post", SECRETS, {"name": "MCP_KEY", "value": " first "})
    assert secrets.read("MCP_KEY", purpose="test") == " first "
    assert send(admin, "patch", f"{SECRETS}MCP_KEY/", {"description": "new"}).json()["description"] == "new"
    assert secrets.read("MCP_KEY", purpose="test") == " first "
    send(admin, "patch", f"{SECRETS}MCP_KEY/", {"value": "second"})
    assert secrets.read("MCP_KEY", purpose="test") == "second"
    actions = ["secret.created", "secret.changed", "secret.rotated"]
    assert list(Event.objects.filter(action__in=actions).order_by("pk").values_list("action", flat=True)) == actions


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"name": "mcp-key", "value": "x"}, ("invalid_ref", "name")),
        ({"name": "MCP_KEY"}, ("required", "value")),
        ({"name": "MCP_KEY", "value": ""}, ("blank", "value")),
        ({"name": "MCP_KEY", "value": "x" * 16_385}, ("max_length", "value")),
        ({"name": "MCP_KEY", "value": ["x"]}, ("invalid", "value")),
        ({"name": "MCP_KEY", "value": "x", "uid": "1"}, ("unknown_field", "uid")),
        ({"name": "TAKEN", "value": "x"}, ("unique", "name")),
    ],
)
def test_bad_input_names_its_field(admin: User, body: dict[str, object], expected: tuple[str, str]) -> None:
    factories.make_secret("TAKEN")
    answer = send(admin, "post", SECRETS, body)
    assert (answer.status_code, findings(answer)) == (400, [expected])
    assert Secret.objects.count() == 1


def test_the_name_is_immutable(admin: User) -> None:
    factories.make_secret("MCP_KEY")
    for body in ({"name": "OTHER"}, {"name": "OTHER", "value": "x"}):
        assert findings(send(admin, "patch", f"{SECRETS}MCP_KEY/", body)) == [("immutable", "name")]


def test_a_secret_in_use_stays_and_says_who_uses_it(admin: User) -> None:
    factories.make_provider("github")
    factories.make_server("tools", auth={"mode": "static_key", "key_ref": "GITHUB_CLIENT_SECRET"})
    path = f"{SECRETS}GITHUB_CLIENT_SECRET/"
    uses = [
        {"kind": "oauth-provider", "name": "github", "deleted": False},
        {"kind": "mcp-server", "name": "tools", "deleted": False},
    ]
    assert send(admin, "get", path).json()["used_by"] == uses
    answer = send(admin, "delete", path)
    assert (answer.status_code, findings(answer)) == (400, [("in_use", "name")])
    assert "oauth-provider github, mcp-server tools" in answer.json()["errors"][0]["detail"]


@pytest.mark.parametrize(("query", "status"), [("?force=false", 400), ("?force=yes", 400), ("?forced=true", 400)])
def test_nothing_but_force_true_forces(admin: User, query: str, status: int) -> None:
    factories.make_provider("github")
    assert send(admin, "delete", f"{SECRETS}GITHUB_CLIENT_SECRET/{query}").status_code == status
    assert send(admin, "get", f"{SECRETS}GITHUB_CLIENT_SECRET/?force=true").status_code == 400
    assert Secret.objects.exists()


def test_a_forced_deletion_says_in_the_trail_what_it_broke(admin: User, alice: User) -> None:
    factories.make_provider("github")
    buried = factories.make_provider("gone", client_secret_ref="GITHUB_CLIENT_SECRET")
    buried.delete()
    path = f"{SECRETS}GITHUB_CLIENT_SECRET/"
    assert [use["deleted"] for use in send(admin, "get", path).json()["used_by"]] == [False, True]
    assert "?force=true" in send(admin, "delete", path).json()["errors"][0]["detail"]
    factories.allow(alice, Secret.objects.get(), "view")
    assert send(alice, "delete", f"{path}?force=true").status_code == 403
    assert send(admin, "delete", f"{path}?force=true").status_code == 204
    told = Event.objects.get(action="secret.deleted").data["used_by"]
    assert told == ["oauth-provider github", "oauth-provider gone (deleted, tokens to revoke)"]
    with pytest.raises(secrets.SecretNotFound):
        secrets.read("GITHUB_CLIENT_SECRET", purpose="test")


def test_a_free_secret_goes(admin: User) -> None:
    factories.make_secret("MCP_KEY")
    assert send(admin, "delete", f"{SECRETS}MCP_KEY/").status_code == 204
    assert not Secret.objects.exists()


def test_the_creator_may_use_it_and_others_do_not_see_it(alice: User, bob: User) -> None:
    assign_perm("vault.add_secret", alice)
    assert send(alice, "post", SECRETS, {"name": "MCP_KEY", "value": "x"}).status_code == 201
    assert rights.may(alice, "use", Secret.objects.get())
    assert send(bob, "get", f"{SECRETS}MCP_KEY/").status_code == 404
    assert send(bob, "patch", f"{SECRETS}MCP_KEY/", {"value": "y"}).status_code == 404
    assert send(bob, "post", SECRETS, {"name": "OTHER", "value": "x"}).status_code == 403


def test_a_list_takes_as_many_queries_for_many_as_for_one(
    alice: User, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(20):
        assign_perm("view_secret", alice, factories.make_secret(f"KEY_{number}"))
    client = client_of(alice)
    client.get(SECRETS)
    with django_assert_max_num_queries(8):  # two of them ask who uses them, for the whole page at once
        assert client.get(SECRETS).json()["count"] == 20
