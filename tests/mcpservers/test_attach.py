"""The attach matrix of contract §5, through the API."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from guardian.shortcuts import assign_perm

from audit.models import Event
from mcpservers.models import MCPServer
from providers.models import OAuthProvider
from tests import factories
from tests.api import SERVERS, bound_to, findings, send, server_body

DENIED = (403, [("attach_permission_denied", "auth")])


@pytest.fixture
def editor(db: None) -> User:
    """May do everything to servers, and nothing to providers."""
    user = factories.make_user("editor")
    for action in ("add", "view", "change", "delete", "use"):
        assign_perm(f"mcpservers.{action}_mcpserver", user)
    return user


@pytest.fixture
def provider(db: None) -> OAuthProvider:
    return factories.make_provider("github")


@pytest.fixture
def server(provider: OAuthProvider) -> MCPServer:
    return factories.make_server(provider=provider)


def refusal(answer: Any) -> tuple[int, list[tuple[str, str | None]]]:
    return answer.status_code, findings(answer)


@pytest.mark.parametrize("may_view", [False, True])
def test_naming_a_provider_without_attach_is_refused_whether_or_not_it_may_be_viewed(
    editor: User, provider: OAuthProvider, may_view: bool
) -> None:
    if may_view:
        for action in ("view", "change", "delete"):
            assign_perm(f"{action}_oauthprovider", editor, provider)
    assert refusal(send(editor, "post", SERVERS, server_body(auth=bound_to("github")))) == DENIED
    assert not MCPServer.objects.exists()
    assert Event.objects.get(action="mcp_server.refused").data == {"codes": {"auth": ["attach_permission_denied"]}}


def test_a_provider_that_does_not_exist_is_said_so(editor: User, provider: OAuthProvider) -> None:
    provider.delete()
    for name in ("github", "nowhere"):
        answer = send(editor, "post", SERVERS, server_body(auth=bound_to(name)))
        assert refusal(answer) == (400, [("oauth_provider_not_found", "auth")])
        assert "OAuth provider not found" in answer.json()["errors"][0]["detail"]


def test_attach_on_the_provider_binds_the_server_and_records_which(editor: User, provider: OAuthProvider) -> None:
    assign_perm("attach_oauthprovider", editor, provider)
    assert send(editor, "post", SERVERS, server_body(auth=bound_to("github"))).status_code == 201
    assert MCPServer.objects.get().provider_uid == provider.uid
    assert Event.objects.get(action="mcp_server.created").data["provider_uid"] == str(provider.uid)


def test_attach_alone_does_not_let_one_edit_servers(bob: User, provider: OAuthProvider, server: MCPServer) -> None:
    assign_perm("attach_oauthprovider", bob, provider)
    assert send(bob, "post", SERVERS, server_body(name="other", auth=bound_to("github"))).status_code == 403
    assert send(bob, "patch", f"{SERVERS}tools/", {"url": "https://x.example.com/mcp"}).status_code == 404


@pytest.mark.parametrize(
    "change",
    [
        {"url": "https://evil.example.com/mcp"},
        {"auth": bound_to("github", required_scopes=["read", "write"])},
        {"auth": bound_to("github", token_injection={"header_name": "X-Token", "header_prefix": ""})},
        {"auth": {"mode": "none"}},
        {"auth": bound_to("gitlab")},
    ],
)
def test_where_a_bound_servers_tokens_go_needs_attach(
    editor: User, provider: OAuthProvider, server: MCPServer, change: dict[str, Any]
) -> None:
    other = factories.make_provider("gitlab")
    assert refusal(send(editor, "patch", f"{SERVERS}tools/", change)) == DENIED
    assert MCPServer.objects.get().url == server.url
    for each in (provider, other):
        assign_perm("attach_oauthprovider", editor, each)
    assert send(editor, "patch", f"{SERVERS}tools/", change).status_code == 200


@pytest.mark.parametrize("held", ["github", "gitlab"])
def test_a_swap_needs_attach_on_both_providers(editor: User, server: MCPServer, held: str) -> None:
    factories.make_provider("gitlab")
    assign_perm("attach_oauthprovider", editor, OAuthProvider.objects.get(name=held))
    assert refusal(send(editor, "patch", f"{SERVERS}tools/", {"auth": bound_to("gitlab")})) == DENIED


@pytest.mark.parametrize(
    "change",
    [
        {"description": "new"},
        {"enabled": False},
        {"consent_delivery": "tool_result"},
        {"url": "https://mcp.example.com/mcp", "auth": bound_to("github")},
        {"auth": bound_to("github", token_injection={"header_name": "Authorization", "header_prefix": "Bearer"})},
    ],
)
def test_what_does_not_move_the_tokens_does_not_ask(editor: User, server: MCPServer, change: dict[str, Any]) -> None:
    assert send(editor, "patch", f"{SERVERS}tools/", change).status_code == 200
    stored = MCPServer.objects.get()
    assert stored.provider_uid == server.provider_uid


def test_a_put_of_what_is_there_does_not_ask(editor: User, server: MCPServer) -> None:
    body = server_body(auth=bound_to("github"), description="new")
    assert send(editor, "put", f"{SERVERS}tools/", body).status_code == 200


def test_leaving_user_mode_forgets_the_provider(admin: User, server: MCPServer) -> None:
    assert send(admin, "patch", f"{SERVERS}tools/", {"auth": {"mode": "none"}}).status_code == 200
    assert MCPServer.objects.get().provider_uid is None
    # No longer bound, so its address is an editor's to change.


def test_a_provider_made_again_is_not_silently_bound(admin: User, editor: User, provider: OAuthProvider) -> None:
    server = factories.make_server(provider=provider)
    provider.delete()
    again = factories.make_provider("github")
    for user, change in ((admin, {"description": "new"}), (admin, {"url": "https://moved.example.com/mcp"})):
        assert send(user, "patch", f"{SERVERS}tools/", change).status_code == 200
        assert MCPServer.objects.get().provider_uid == server.provider_uid
    body = server_body(url="https://moved.example.com/mcp", auth=bound_to("github"))
    assert send(admin, "put", f"{SERVERS}tools/", body).status_code == 200
    assert MCPServer.objects.get().provider_uid == server.provider_uid
    # Naming it again on purpose is an attach, and asks for it.
    assert refusal(send(editor, "patch", f"{SERVERS}tools/", {"auth": bound_to("github")})) == DENIED
    assert send(admin, "patch", f"{SERVERS}tools/", {"auth": bound_to("github")}).status_code == 200
    assert MCPServer.objects.get().provider_uid == again.uid


def test_a_server_whose_provider_is_gone_can_be_described_and_unbound(editor: User, provider: OAuthProvider) -> None:
    factories.make_server(provider=provider)
    provider.delete()
    assert send(editor, "patch", f"{SERVERS}tools/", {"enabled": False}).status_code == 200
    moved = send(editor, "patch", f"{SERVERS}tools/", {"url": "https://evil.example.com/mcp"})
    assert refusal(moved) == (400, [("oauth_provider_not_found", "auth")])
    assert send(editor, "patch", f"{SERVERS}tools/", {"auth": {"mode": "none"}}).status_code == 200


def test_a_static_key_needs_no_attach(editor: User) -> None:
    assign_perm("use_secret", editor, factories.make_secret("MCP_KEY"))
    body = server_body(auth={"mode": "static_key", "key_ref": "MCP_KEY"})
    assert send(editor, "post", SERVERS, body).status_code == 201
    assert MCPServer.objects.get().provider_uid is None
