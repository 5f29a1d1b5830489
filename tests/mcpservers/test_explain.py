"""A dry run of a call, decision by decision."""

from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from guardian.shortcuts import assign_perm

from audit.models import Event
from clients import holders
from connections import tokens as connection_tokens
from mcpservers.models import MCPServer
from providers.models import OAuthProvider
from tests import factories
from tests.api import client_of

PRIVATE = "https://10.0.0.7/mcp"


def ask(user: User, query: str = "") -> Any:
    return client_of(user).get(f"/api/v1/mcp-servers/tools/explain/{query}")


def explained(user: User, query: str = "") -> dict[str, dict[str, Any]]:
    """Return the decisions by their steps."""
    answer = ask(user, query)
    assert answer.status_code == 200, answer.content
    body = answer.json()
    assert body["would_be_sent"] == all(each["is_ok"] for each in body["decisions"])
    return {each["step"]: each for each in body["decisions"]}


@pytest.fixture
def tools(alice: User) -> MCPServer:
    provider = factories.make_provider("github")
    server = factories.make_server(provider=provider, required_scopes=["read"], url="https://8.8.8.8/mcp")
    factories.allow(alice, server, "view", "use")
    return server


@pytest.fixture(autouse=True)
def no_token_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("a dry run opened a token")

    monkeypatch.setattr(connection_tokens, "usable_token", fail)


def test_a_call_that_would_go_through(alice: User, tools: MCPServer) -> None:
    factories.make_vault_entry(alice, _provider(tools), access_token="canary-access")
    answer = ask(alice)
    assert answer.json()["would_be_sent"]
    assert "canary" not in answer.content.decode()
    found = explained(alice)
    assert "granted: here" in found["permission"]["detail"]
    assert found["header"]["detail"] == "Authorization: Bearer …"
    assert "Wanted: read. Granted: read." in found["connection"]["detail"]


def _provider(server: MCPServer) -> OAuthProvider:
    return OAuthProvider.objects.get(uid=server.provider_uid)


@pytest.mark.parametrize(
    ("fields", "step", "said"),
    [
        ({"enabled": False}, "enabled", "disabled"),
        ({"url": PRIVATE}, "address", "10.0.0.7"),
        ({"auth": {"mode": "static_key", "key_ref": "GONE"}}, "credential", "Secret GONE not found."),
        ({}, "connection", "Not connected"),
    ],
)
def test_each_decision_that_ends_a_call_says_why(
    alice: User, tools: MCPServer, fields: dict[str, Any], step: str, said: str
) -> None:
    MCPServer.objects.update(**fields)
    found = explained(alice)
    assert not found[step]["is_ok"]
    assert said in found[step]["detail"]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"scopes_granted": []}, "not granted: read"),
        ({"access_token": None, "attention_reason": "invalid_grant"}, "has ended (invalid_grant)"),
    ],
)
def test_the_state_of_the_connection_is_told(alice: User, tools: MCPServer, entry: dict[str, Any], said: str) -> None:
    factories.make_vault_entry(alice, _provider(tools), **entry)
    found = explained(alice)["connection"]
    assert not found["is_ok"]
    assert said in found["detail"]


@pytest.mark.parametrize("fate", ["disabled", "deleted"])
def test_a_provider_that_is_gone_is_told(alice: User, tools: MCPServer, fate: str) -> None:
    provider = _provider(tools)
    if fate == "disabled":
        type(provider).objects.update(enabled=False)
    else:
        provider.delete()
    assert not explained(alice)["provider"]["is_ok"]


def test_the_tool_policy_is_asked_for_the_tool(alice: User, tools: MCPServer) -> None:
    factories.restrict(tools, deny=["drop_*"])
    assert explained(alice, "?tool=read")["tool"]["is_ok"]
    assert not explained(alice, "?tool=drop_all")["tool"]["is_ok"]
    assert "tool" not in explained(alice)


@pytest.mark.threat("F05")
def test_calls_of_others_are_explained_to_admins_only(alice: User, bob: User, admin: User, tools: MCPServer) -> None:
    for name in ("bob", "nobody"):
        refused = ask(alice, f"?user={name}")
        assert refused.status_code == 403
        assert name not in refused.content.decode()
    assert ask(bob).status_code == 404
    assert not explained(admin, "?user=bob")["permission"]["is_ok"]
    assert ask(admin, "?user=nobody").status_code == 400
    (error,) = ask(admin, "?page=2").json()["errors"]
    assert error["detail"] == "There is no such filter. Use one of tool, user."
    assert ask(admin, "?who=bob").status_code == 400
    event = Event.objects.get(action="mcp_server.explained")
    assert (event.actor, event.target, event.data["about"]) == ("admin", "tools", "bob")


def test_who_is_not_active_is_told_as_such(alice: User, admin: User, tools: MCPServer) -> None:
    User.objects.filter(pk=alice.pk).update(is_active=False)
    found = explained(admin, "?user=alice")
    assert not found["caller"]["is_ok"]
    assert not found["permission"]["is_ok"]


def test_the_page_shows_it_and_asks_about_others_for_admins_only(
    browser: Client, alice: User, admin: User, tools: MCPServer
) -> None:
    path = "/servers/tools/?tab=explain"
    browser.force_login(alice)
    text = browser.get(path).content.decode()
    assert "Not connected" in text
    assert 'name="user"' not in text
    assert browser.get(f"{path}&user=admin").status_code == 403
    browser.force_login(admin)
    assert 'value="alice"' in browser.get(f"{path}&user=alice").content.decode()
    assert "There is no user nobody." in browser.get(f"{path}&user=nobody").content.decode()


def test_why_discovery_failed_is_told_to_who_may_change_the_server(alice: User, admin: User, tools: MCPServer) -> None:
    MCPServer.objects.update(discovery_error="c4nary")
    assert "last_error" not in explained(alice)
    assert "c4nary" in explained(admin)["last_error"]["detail"]


@pytest.mark.parametrize("way", ["here", "everywhere", "group readers", "group members", "superuser"])
def test_it_says_through_what_one_may_use_the_server(bob: User, tools: MCPServer, way: str) -> None:
    readers = Group.objects.create(name="readers")
    if way == "here":
        factories.allow(bob, tools, "view", "use")
    elif way == "everywhere":
        factories.allow_everywhere(bob, MCPServer, "view", "use")
    elif way == "superuser":
        bob.is_superuser = True
        bob.save()
    elif way == "group members":
        bob.groups.add(Group.objects.get(name="members"))
    else:
        bob.groups.add(readers)
        for permission in ("view_mcpserver", "use_mcpserver"):
            assign_perm(permission, readers, tools)
    assert explained(bob)["permission"]["detail"] == f"May use the server; granted: {way}."
    assert holders.ways(bob, "use", tools) == holders.rights_of(bob, tools).actions["use"] == {way}


def test_a_page_of_decisions_takes_few_queries(browser: Client, alice: User, tools: MCPServer) -> None:
    factories.make_vault_entry(alice, _provider(tools))
    browser.force_login(alice)
    path = "/servers/tools/?tab=explain&tool=read"
    browser.get(path)
    with CaptureQueriesContext(connection) as queries:
        assert browser.get(path).status_code == 200
    assert len(queries) <= 23
