"""Whom a change or a deletion would hit, asked beforehand: nothing is changed, and the number is the true one."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from guardian.shortcuts import assign_perm

from clients.api.docs import schema
from connections import freshness, listing
from connections.freshness import Action
from providers import impact
from providers.models import OAuthProvider
from tests import factories
from tests.api import PROVIDERS, SERVERS, findings, send
from vault.models import VaultEntry

GITHUB = f"{PROVIDERS}github/"


@pytest.fixture
def github(db: None) -> OAuthProvider:
    return factories.make_provider(scopes=["read"])


def connect(name: str, provider: OAuthProvider, granted: list[str], **fields: Any) -> User:
    user = factories.make_user(name)
    factories.make_vault_entry(user, provider, scopes_granted=granted, scopes_requested=granted, **fields)
    return user


def test_an_added_scope_counts_those_who_were_never_asked_for_it(admin: User, github: OAuthProvider) -> None:
    connect("old", github, ["read"])
    connect("older", github, ["read", "profile"])
    connect("has-it", github, ["read", "repo"])
    connect("dead", github, ["read"], access_token=None, refresh_token=None, attention_reason="invalid_grant")
    connect("elsewhere", factories.make_provider("gitlab"), ["read"])
    before = list(VaultEntry.objects.values())
    answer = send(admin, "post", f"{GITHUB}scope-impact/", {"scopes": ["read", "repo"]})
    assert answer.json() == {
        "reconnects": 2,
        "detail": "2 connections have to reconnect to be granted repo, and go on working as they are until then.",
    }
    assert list(VaultEntry.objects.values()) == before
    assert OAuthProvider.objects.get(name="github").scopes == ["read"]


def test_the_number_is_how_many_cards_will_offer_reconnect(github: OAuthProvider) -> None:
    users = [connect("a", github, ["read"]), connect("b", github, ["read", "repo"]), connect("c", github, [])]
    predicted = impact.scope_impact(github, ["read", "repo"]).reconnects
    OAuthProvider.objects.update(scopes=["read", "repo"])
    cards = [listing.connection_of(user, "github") for user in users]
    assert predicted == sum(bool(card and "repo" in card.added) for card in cards) == 2
    assert all(card and card.status == "connected" for card in cards)  # contract §7: they keep working


def test_a_dropped_scope_costs_nobody_anything(admin: User, github: OAuthProvider) -> None:
    connect("old", github, ["read"])
    answer = send(admin, "post", f"{GITHUB}scope-impact/", {"scopes": []})
    assert answer.json() == {"reconnects": 0, "detail": "No scope is added, so nobody has to reconnect."}


def test_a_servers_new_scope_counts_the_users_of_that_server(admin: User, github: OAuthProvider) -> None:
    server = factories.make_server(provider=github, required_scopes=["read"])
    for name, granted in (("lacks", ["read"]), ("has", ["read", "repo"]), ("lacked", [])):
        assign_perm("use_mcpserver", connect(name, github, granted), server)
    connect("no-use", github, ["read"])
    answer = send(admin, "post", f"{SERVERS}tools/scope-impact/", {"required_scopes": ["read", "repo"]})
    assert answer.json()["reconnects"] == 1
    assert "scope_upgrade_required" in answer.json()["detail"]
    verdicts = [
        freshness.judge(entry, scopes=["read", "repo"], fingerprint=github.fingerprint(), now=entry.connected_at).action
        for entry in VaultEntry.objects.filter(user_id=User.objects.get(username="lacks").pk)
    ]
    assert verdicts == [Action.SCOPES]


def test_a_server_without_a_provider_costs_nobody_anything(admin: User) -> None:
    factories.make_server()
    answer = send(admin, "post", f"{SERVERS}tools/scope-impact/", {"required_scopes": ["repo"]})
    assert answer.json()["reconnects"] == 0


def test_the_number_takes_as_many_queries_for_many_as_for_one(github: OAuthProvider) -> None:
    server = factories.make_server(provider=github)
    from mcpservers import impact as of_server

    taken = []
    for number in range(2):
        for each in range(1 + 10 * number):
            assign_perm("use_mcpserver", connect(f"u{number}-{each}", github, ["read"]), server)
        with CaptureQueriesContext(connection) as caught:
            impact.scope_impact(github, ["repo"])
            of_server.scope_impact(server, ["read", "repo"])
        taken.append(len(caught))
    assert taken[0] == taken[1] <= 4


MOVES = {
    "issuer": "https://127.0.0.2",
    "client_id": "another",
    "token_endpoint_auth_method": "client_secret_post",
    "token_endpoint": "https://127.0.0.2/token",
    "revocation_endpoint": "https://127.0.0.2/revoke",
    "userinfo_endpoint": "https://127.0.0.2/me",
    "device_authorization_endpoint": "https://127.0.0.2/device",
}


@pytest.mark.threat("A18")
@pytest.mark.parametrize("field", MOVES)
def test_what_a_move_cuts_off_is_said_first_and_then_recorded(admin: User, field: str) -> None:
    from audit.models import Event

    github = factories.make_provider(base="https://127.0.0.1")
    for name in ("one", "two"):
        connect(name, github, ["read"])
    connect("dead", github, ["read"], access_token=None, refresh_token=None, attention_reason="invalid_grant")
    said = send(admin, "post", f"{GITHUB}change-impact/", {field: MOVES[field]}).json()
    assert (said["cut_off"], said["reconnects"]) == (2, 2)
    assert said["detail"].startswith("2 connections are cut off")
    assert getattr(OAuthProvider.objects.get(), field) == getattr(github, field)
    assert send(admin, "patch", GITHUB, {field: MOVES[field]}).status_code == 200
    assert Event.objects.get(action="oauth_provider.changed").data["cut_off"] == 2


@pytest.mark.parametrize(
    "change", [{"display_name": "X"}, {"enabled": False}, {"authorization_endpoint": "https://x.example.com/"}]
)
def test_what_moves_no_credential_cuts_nobody_off(admin: User, github: OAuthProvider, change: dict[str, Any]) -> None:
    connect("one", github, ["read"])
    said = send(admin, "post", f"{GITHUB}change-impact/", change).json()
    assert (said["cut_off"], said["reconnects"]) == (0, 0)


def test_what_a_deletion_hits_is_told_without_naming_what_one_may_not_see(
    admin: User, alice: User, github: OAuthProvider
) -> None:
    factories.make_server("shown", provider=github)
    factories.make_server("hidden", provider=github, enabled=False)
    connect("one", github, ["read"])
    told = send(admin, "get", f"{GITHUB}used-by/").json()
    assert [server["name"] for server in told["servers"]] == ["hidden", "shown"]
    assert told["connections"] == {"connected": 1, "needs_attention": 0, "total": 1}
    assert told["detail"] == (
        "1 connection ends and will be revoked at the provider; 2 MCP servers will answer OAuthProviderNotFound."
    )
    factories.allow(alice, github, "view")
    told = send(alice, "get", f"{GITHUB}used-by/").json()
    assert (told["servers"], told["hidden_servers"]) == ([], 2)


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        (f"{GITHUB}scope-impact/", {}, ("required", "scopes")),
        (f"{GITHUB}scope-impact/", {"scopes": "read"}, ("invalid_scopes", "scopes")),
        (f"{GITHUB}scope-impact/", {"scopes": ["a b"]}, ("invalid_scopes", "scopes")),
        (f"{GITHUB}scope-impact/", {"scopes": [], "enabled": False}, ("unknown_field", "enabled")),
        (f"{GITHUB}change-impact/", {"scopes": 5}, ("invalid_scopes", "scopes")),
        (f"{GITHUB}change-impact/", {"scopes": [["a"]]}, ("invalid_scopes", "scopes")),
        (f"{GITHUB}change-impact/", {"token_endpoint": "javascript:x"}, ("invalid", "token_endpoint")),
        (f"{GITHUB}change-impact/", {"uid": "x"}, ("read_only", "uid")),
        (f"{GITHUB}change-impact/", {"deleted_at": "2000-01-01"}, ("unknown_field", "deleted_at")),
        (f"{SERVERS}tools/scope-impact/", {}, ("required", "required_scopes")),
        (f"{SERVERS}tools/scope-impact/", {"required_scopes": [1]}, ("invalid_scopes", "required_scopes")),
        (f"{SERVERS}tools/scope-impact/", {"required_scopes": [], "url": "x"}, ("unknown_field", "url")),
    ],
)
@pytest.mark.threat("F06")
def test_bad_input_names_its_field(
    admin: User, github: OAuthProvider, path: str, body: Any, expected: tuple[str, str]
) -> None:
    factories.make_server(provider=github)
    answer = send(admin, "post", path, body)
    assert (answer.status_code, findings(answer)) == (400, [expected])


def test_the_schema_describes_the_questions_with_examples() -> None:
    paths = schema()["paths"]
    for path in (
        "oauth-providers/{name}/scope-impact",
        "oauth-providers/{name}/change-impact",
        "mcp-servers/{name}/scope-impact",
    ):
        content = paths[f"/api/v1/{path}/"]["post"]
        assert content["requestBody"]["content"]["application/json"]["examples"]
        assert content["responses"]["200"]["content"]["application/json"]["examples"]
