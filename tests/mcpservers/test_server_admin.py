"""MCP servers in the admin."""

from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.urls import reverse
from guardian.shortcuts import assign_perm

from mcpservers.admin_form import MODES
from mcpservers.models import MCPServer
from mcpservers.validation import MODES as MODE_NAMES
from providers.models import OAuthProvider
from tests import factories
from tests.admin_pages import filled, page, queries_of, signed_in
from vault.models import Secret

HERE = "https://127.0.0.1:1/mcp"


@pytest.fixture
def editor(alice: User) -> User:
    """A member of `mcp-editors`: no attach, no secret."""
    alice.groups.add(Group.objects.get(name="mcp-editors"))
    return alice


@pytest.fixture
def provider(db: None) -> OAuthProvider:
    return factories.make_provider()


def new_server(**changes: Any) -> dict[str, Any]:
    return {
        "name": "tools",
        "description": "What it is for",
        "enabled": "on",
        "url": HERE,
        "auth_mode": "none",
        "key_ref": "",
        "header_name": "Authorization",
        "header_prefix": "Bearer",
        "provider_name": "",
        "required_scopes": "",
        "consent_delivery": "auto",
        **changes,
    }


def test_an_editor_creates_a_server_without_a_credential(editor: User) -> None:
    answer = signed_in(editor).post(page(MCPServer, "add"), new_server())
    assert answer.status_code == 302, answer.content.decode()
    assert MCPServer.objects.get().auth == {"mode": "none"}


def test_an_admin_binds_a_server_to_a_provider(admin: User, provider: OAuthProvider) -> None:
    sent = new_server(auth_mode="user_oauth", provider_name="github", required_scopes="repo\ngist")
    assert signed_in(admin).post(page(MCPServer, "add"), sent).status_code == 302
    server = MCPServer.objects.get()
    assert server.auth == {"mode": "user_oauth", "provider_name": "github", "required_scopes": ["repo", "gist"]}
    assert server.provider_uid == provider.uid


@pytest.mark.threat("F07")
def test_attach_is_asked_for_beside_the_provider(editor: User, provider: OAuthProvider) -> None:
    client = signed_in(editor)
    assert "GitHub" not in client.get(page(MCPServer, "add")).content.decode()
    answer = client.post(page(MCPServer, "add"), new_server(auth_mode="user_oauth", provider_name="github"))
    assert answer.status_code == 200
    assert "providers.attach_oauthprovider" in str(answer.context["adminform"].form.errors["provider_name"])
    assert not MCPServer.objects.exists()
    assign_perm("attach_oauthprovider", editor, provider)
    client = signed_in(User.objects.get(pk=editor.pk))
    assert (
        client.post(page(MCPServer, "add"), new_server(auth_mode="user_oauth", provider_name="github")).status_code
        == 302
    )


@pytest.mark.threat("F07")
def test_an_editor_cannot_send_a_bound_servers_tokens_elsewhere(editor: User, provider: OAuthProvider) -> None:
    server = factories.make_server(provider=provider, url=HERE)
    client = signed_in(editor)
    sent = filled(client, page(server, "change"))
    answer = client.post(page(server, "change"), {**sent, "url": "https://127.0.0.1:2/mcp"})
    assert answer.status_code == 200
    server.refresh_from_db()
    assert server.url == HERE
    assert client.post(page(server, "change"), {**sent, "description": "New words"}).status_code == 302
    server.refresh_from_db()
    assert server.description == "New words"


@pytest.mark.parametrize(
    ("field", "changes", "sentence"),
    [
        ("name", {"name": "Tools"}, "lower-case letters"),
        ("url", {"url": ""}, "MCP endpoint"),
        ("url", {"url": "http://169.254.169.254/mcp"}, "169.254.169.254"),
        (
            "url",
            {"url": "http://127.0.0.1/mcp", "auth_mode": "user_oauth", "provider_name": "github"},
            "HTTPS required",
        ),
        ("key_ref", {"auth_mode": "static_key"}, "Choose the secret"),
        ("key_ref", {"auth_mode": "static_key", "key_ref": "NO_SUCH"}, "not found"),
        (
            "header_name",
            {"auth_mode": "static_key", "key_ref": "KEY", "header_name": "Host"},
            "protocol",
        ),
        ("provider_name", {"auth_mode": "user_oauth"}, "Choose the provider"),
        ("provider_name", {"auth_mode": "user_oauth", "provider_name": "gone"}, "OAuth provider not found"),
        ("required_scopes", {"auth_mode": "user_oauth", "provider_name": "github", "required_scopes": 'a"'}, "scope"),
        ("auth_mode", {"auth_mode": "other"}, "There is no mode other"),
    ],
)
@pytest.mark.threat("D04", "E01")
def test_a_refused_form_says_why_beside_the_field_and_saves_nothing(
    admin: User, provider: OAuthProvider, field: str, changes: dict[str, Any], sentence: str
) -> None:
    factories.make_secret("KEY")
    answer = signed_in(admin).post(page(MCPServer, "add"), new_server(**changes))
    assert answer.status_code == 200
    assert sentence in str(answer.context["adminform"].form.errors[field])
    assert not MCPServer.objects.exists()


def test_each_mode_says_who_the_upstream_will_see(editor: User) -> None:
    shown = signed_in(editor).get(page(MCPServer, "add")).content.decode()
    for label, sentence in MODES.values():
        assert label in shown
        assert sentence in shown
    assert set(MODES) == set(MODE_NAMES)


def test_the_fields_of_a_mode_stand_together_under_its_name(admin: User) -> None:
    groups = signed_in(admin).get(page(MCPServer, "add")).context["adminform"].fieldsets
    fields = {title: options["fields"] for title, options in groups}
    assert fields["Static key"] == ("key_ref", "header_name", "header_prefix")
    assert fields["User-delegated OAuth"] == ("provider_name", "required_scopes", "consent_delivery")
    assert {"aigw-mode-static_key", "aigw-mode-user_oauth"} <= {
        name for _, options in groups for name in options.get("classes", ())
    }


def test_new_stands_beside_the_lists_for_whoever_may_add(admin: User, editor: User) -> None:
    shown = signed_in(admin).get(page(MCPServer, "add")).content.decode()
    assert f'href="{page(OAuthProvider, "add")}"' in shown
    assert f'href="{page(Secret, "add")}"' in shown
    assert 'data-new-for="id_provider_name"' in shown
    assert "data-new-for" not in signed_in(editor).get(page(MCPServer, "add")).content.decode()


def test_only_attachable_providers_are_offered_and_a_disabled_one_says_so(
    editor: User, provider: OAuthProvider
) -> None:
    factories.make_provider("gitlab")
    OAuthProvider.objects.filter(pk=provider.pk).update(enabled=False)
    assign_perm("attach_oauthprovider", editor, provider)
    form = signed_in(editor).get(page(MCPServer, "add")).context["adminform"].form
    offered = list(form.fields["provider_name"].widget.choices)
    assert offered == [("", "Select one"), ("github", "Github (github, disabled)")]


def test_a_bound_server_is_saved_by_an_editor_who_may_not_attach(editor: User, provider: OAuthProvider) -> None:
    auth = {"mode": "user_oauth", "provider_name": "github", "required_scopes": ["repo"]}
    server = factories.make_server(auth=auth, provider_uid=provider.uid, url=HERE)
    client = signed_in(editor)
    sent = filled(client, page(server, "change"), description="x", consent_delivery="error")
    assert client.post(page(server, "change"), sent).status_code == 302
    server.refresh_from_db()
    assert (server.description, server.consent_delivery, server.auth) == ("x", "error", auth)
    refused = client.post(page(server, "change"), {**sent, "required_scopes": "repo admin"})
    assert "providers.attach_oauthprovider" in str(refused.context["adminform"].form.errors["provider_name"])


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "upstream cannot tell who calls"),
        ({"auth": {"mode": "static_key", "key_ref": "GONE"}}, "Secret GONE not found"),
        ({"auth": {"mode": "user_oauth", "provider_name": "gone"}}, "OAuth provider not found"),
        ({"auth": {"mode": "user_oauth", "provider_name": "github"}}, "was replaced"),
    ],
)
def test_the_page_of_a_server_says_what_stands_in_the_way(
    admin: User, provider: OAuthProvider, fields: dict[str, Any], sentence: str
) -> None:
    server = factories.make_server(**fields)
    shown = signed_in(admin).get(page(server, "detail")).content.decode()
    assert sentence in shown
    assert "https://gateway.test/mcp/v1/tools" in shown


def test_the_page_of_a_server_shows_each_viewer_what_they_may_do(bob: User, provider: OAuthProvider) -> None:
    bob.is_staff = True
    bob.save()
    server = factories.make_server(provider=provider, tools=[{"name": "whoami"}])
    assert signed_in(bob).get(page(server, "detail")).status_code == 404
    assign_perm("view_mcpserver", bob, server)
    shown = signed_in(User.objects.get(pk=bob.pk)).get(page(server, "detail")).content.decode()
    assert "whoami" in shown
    assert "Each user calls as themselves" in shown
    for what in ("delete", "rights_page", "refresh_tools"):
        assert f'href="{page(server, what)}"' not in shown
        assert f'action="{page(server, what)}"' not in shown
    # The provider is named, but not linked: it may not be viewed.
    assert page(provider, "detail") not in shown
    assert signed_in(bob).post(page(server, "detail")).status_code == 405
    assign_perm("view_oauthprovider", bob, provider)
    seen = signed_in(User.objects.get(pk=bob.pk)).get(page(server, "detail")).content.decode()
    assert page(provider, "detail") in seen


def test_what_no_form_shows_is_kept(admin: User, provider: OAuthProvider) -> None:
    injection = {"header_name": "X-Api-Key", "header_prefix": ""}
    auth = {"mode": "user_oauth", "provider_name": "github", "required_scopes": ["repo"], "token_injection": injection}
    server = factories.make_server(auth=auth, provider_uid=provider.uid, url=HERE)
    client = signed_in(admin)
    sent = filled(client, page(server, "change"), description="x")
    assert client.post(page(server, "change"), sent).status_code == 302
    server.refresh_from_db()
    assert (server.description, server.auth) == ("x", auth)


def test_a_replaced_provider_is_bound_again_only_when_ticked(admin: User, provider: OAuthProvider) -> None:
    server = factories.make_server(provider=provider, url=HERE)
    provider.delete()
    successor = factories.make_provider()
    client = signed_in(admin)
    sent = filled(client, page(server, "change"), description="x")
    client.post(page(server, "change"), sent)
    server.refresh_from_db()
    assert (server.description, server.provider_uid) == ("x", provider.uid)
    client.post(page(server, "change"), {**sent, "attach_again": "on"})
    server.refresh_from_db()
    assert server.provider_uid == successor.uid
    assert "Attach again" not in client.get(page(server, "change")).content.decode()


@pytest.mark.threat("F15")
def test_what_an_upstream_calls_its_tools_is_escaped(admin: User) -> None:
    evil = "<script>alert(1)</script>"
    tools = [{"name": evil, "description": evil, "inputSchema": {"properties": {evil: {}}}}]
    server = factories.make_server(description=evil, tools=tools, discovery_error=evil)
    client = signed_in(admin)
    for url in (page(MCPServer), *(page(server, what) for what in ("detail", "change", "rights_page", "delete"))):
        assert evil not in client.get(url).content.decode(), url


def test_odd_tools_break_no_page(admin: User) -> None:
    for number, tools in enumerate(([{}], [{"name": 1, "inputSchema": None}], ["x"], [{"inputSchema": "x"}])):
        server = factories.make_server(f"tools-{number}", tools=tools)
        assert signed_in(admin).get(page(server, "change")).status_code == 200


def test_refreshing_tools_says_what_went_wrong(admin: User, bob: User) -> None:
    server = factories.make_server(url="http://127.0.0.1:1/mcp")
    url = reverse("admin:mcpservers_mcpserver_refresh_tools", args=[server.pk])
    client = signed_in(admin)
    assert client.get(url).status_code == 405
    answer = client.post(url, follow=True)
    assert answer.status_code == 200
    assert [message.level_tag for message in answer.context["messages"]] == ["error"]
    bob.is_staff = True
    bob.save()
    assert signed_in(bob).post(url).status_code == 404
    assign_perm("view_mcpserver", bob, server)
    assert signed_in(User.objects.get(pk=bob.pk)).post(url).status_code == 403


def test_who_may_only_view_gets_a_page_without_fields(bob: User, provider: OAuthProvider) -> None:
    bob.is_staff = True
    bob.save()
    server = factories.make_server(provider=provider, tools=[{"name": "whoami"}])
    other = factories.make_server("other")
    assign_perm("view_mcpserver", bob, server)
    client = signed_in(bob)
    shown = client.get(page(server, "change")).content.decode()
    assert "User-delegated OAuth" in shown
    assert "whoami" in shown
    assert 'name="url"' not in shown
    assert "Refresh tools" not in shown
    assert client.post(page(server, "change"), new_server()).status_code == 403
    assert client.get(page(other, "change")).status_code == 404
    assert page(other, "change") not in client.get(page(MCPServer)).content.decode()


def test_the_name_cannot_change(admin: User) -> None:
    server = factories.make_server(url=HERE)
    client = signed_in(admin)
    shown = client.get(page(server, "change")).content.decode()
    assert "https://gateway.test/mcp/v1/tools" in shown
    client.post(page(server, "change"), filled(client, page(server, "change"), name="other", description="x"))
    server.refresh_from_db()
    assert (server.name, server.description) == ("tools", "x")


def test_the_list_asks_as_often_for_forty_as_for_one(admin: User, provider: OAuthProvider) -> None:
    client = signed_in(admin)
    factories.make_server(provider=provider)
    client.get(page(MCPServer))
    before = queries_of(client, page(MCPServer))
    for number in range(40):
        factories.make_server(f"server-{number}", provider=provider)
    assert queries_of(client, page(MCPServer)) == before


def test_whom_new_scopes_cost_a_consent_is_said_before_they_are_saved(
    admin: User, alice: User, provider: OAuthProvider
) -> None:
    server = factories.make_server(provider=provider, url=HERE)
    factories.make_vault_entry(alice, provider)
    factories.allow(alice, server, "use")
    client = signed_in(admin)
    sent = filled(client, page(server, "change"), required_scopes="read write")
    asked = client.post(page(server, "change"), sent)
    shown = asked.content.decode()
    assert asked.status_code == 200
    assert "1 connection has to reconnect to be granted write" in shown
    assert "Please correct" not in shown
    server.refresh_from_db()
    assert server.required_scopes == ["read"]
    # The answer counts for what was asked: other scopes are a new question.
    other = client.post(page(server, "change"), {**sent, "confirmed": "read write", "required_scopes": "read admin"})
    assert "to be granted admin" in other.content.decode()
    assert client.post(page(server, "change"), {**sent, "confirmed": "read write"}).status_code == 302
    server.refresh_from_db()
    assert server.required_scopes == ["read", "write"]


def test_scopes_that_cost_nobody_anything_are_saved_at_once(admin: User, alice: User, provider: OAuthProvider) -> None:
    server = factories.make_server(provider=provider, url=HERE, required_scopes=["read", "write"])
    factories.make_vault_entry(alice, provider, scopes_granted=["read", "write"])
    factories.allow(alice, server, "use")
    client = signed_in(admin)
    sent = filled(client, page(server, "change"), required_scopes="read")
    assert client.post(page(server, "change"), sent).status_code == 302
