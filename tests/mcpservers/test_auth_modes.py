"""Service accounts and passed-through tokens at the API and in the admin: who may set what, and what it costs whom."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import override_settings
from django.utils import timezone
from guardian.shortcuts import assign_perm

from mcpservers.admin_form import MODES
from mcpservers.dataplane import local_call
from mcpservers.models import MCPServer
from mcpservers.registration import server_needs
from providers.models import OAuthProvider
from tests import factories
from tests.admin_pages import filled, page, signed_in
from tests.api import SERVERS, bound_to, client_of, findings, send, server_body
from vault import registry
from vault.models import ServiceToken, VaultEntry

ENDPOINT = "https://auth.example.com/token"
MODE = "service_account_oauth"
HERE = "https://127.0.0.1:1/mcp"


def own_client(**fields: Any) -> dict[str, Any]:
    auth = {"mode": MODE, "client_id": "robot", "client_secret_ref": "ROBOT_SECRET", "token_endpoint": ENDPOINT}
    return {name: value for name, value in {**auth, **fields}.items() if value is not None}


def of_provider(**fields: Any) -> dict[str, Any]:
    return {"mode": MODE, "provider_name": "github", **fields}


@pytest.fixture
def editor(db: None) -> User:
    """May do everything to servers; nothing to providers or secrets."""
    user = factories.make_user("editor")
    for action in ("add", "view", "change", "delete", "use"):
        assign_perm(f"mcpservers.{action}_mcpserver", user)
    return user


@pytest.mark.parametrize(
    ("auth", "code", "member"),
    [
        (own_client(client_id=None), "required", "client_id"),
        (own_client(client_id="a\x00"), "invalid", "client_id"),
        (own_client(client_id=5), "invalid", "client_id"),
        (own_client(client_id="x" * 513), "max_length", "client_id"),
        (own_client(client_secret_ref="robot"), "invalid_ref", "client_secret_ref"),
        (own_client(client_secret_ref=None), "invalid_ref", "client_secret_ref"),
        (own_client(client_secret_ref="GONE"), "secret_not_found", "GONE"),
        (own_client(token_endpoint=None), "required", "token_endpoint"),
        (own_client(token_endpoint="http://auth.example.com/token"), "https_required", "token_endpoint"),
        (own_client(token_endpoint="https://169.254.169.254/token"), "address_not_allowed", "token_endpoint"),
        (own_client(token_endpoint="javascript:x"), "invalid", "token_endpoint"),
        (own_client(token_endpoint_auth_method="private_key_jwt"), "invalid", "token_endpoint_auth_method"),
        (own_client(token_endpoint_auth_method="none"), "invalid", "client_secret_ref"),
        (own_client(scopes=["a b"]), "invalid_scopes", "scopes"),
        (own_client(scopes="read"), "invalid_scopes", "scopes"),
        (own_client(resource="mcp"), "invalid", "resource"),
        (own_client(provider_name="github"), "invalid", "client_id"),
        (own_client(header_name="X-Api-Key"), "invalid", "header_name"),
        (of_provider(provider_name="nowhere"), "oauth_provider_not_found", "nowhere"),
        (of_provider(provider_name="No Where"), "oauth_provider_not_found", "provider_name"),
        (of_provider(resource="https://mcp.example.com"), "invalid", "resource"),
        ({"mode": "token_passthrough", "header_name": "X-Api-Key"}, "invalid", "header_name"),
    ],
)
@pytest.mark.threat("E01")
def test_what_does_not_fit_is_named(admin: User, auth: dict[str, Any], code: str, member: str) -> None:
    factories.make_provider()
    factories.make_secret("ROBOT_SECRET")
    answer = send(admin, "post", SERVERS, server_body(auth=auth))
    assert (answer.status_code, {found[1] for found in findings(answer)}) == (400, {"auth"})
    assert code in {found[0] for found in findings(answer)}, answer.json()
    assert member in answer.content.decode()
    assert not MCPServer.objects.exists()


@override_settings(AIGW_OUTBOUND_ALLOW=[])
def test_a_private_token_endpoint_is_refused(admin: User) -> None:
    factories.make_secret("ROBOT_SECRET")
    answer = send(admin, "post", SERVERS, server_body(auth=own_client(token_endpoint="https://10.0.0.1/token")))
    assert findings(answer) == [("address_not_allowed", "auth")]


@pytest.mark.parametrize("auth", [own_client(), own_client(scopes=[]), of_provider(), {"mode": "token_passthrough"}])
def test_each_mode_is_made_and_read_back(admin: User, auth: dict[str, Any]) -> None:
    provider = factories.make_provider()
    factories.make_secret("ROBOT_SECRET")
    made = send(admin, "post", SERVERS, server_body(auth=auth))
    assert made.status_code == 201, made.json()
    assert made.json()["auth"] == auth
    assert MCPServer.objects.get().provider_uid == (provider.uid if "provider_name" in auth else None)


@pytest.mark.threat("F07")
def test_a_secret_of_others_cannot_be_used_nor_sent_elsewhere(editor: User) -> None:
    secret = factories.make_secret("ROBOT_SECRET")
    refused = [("secret_permission_denied", "auth")]
    assert findings(send(editor, "post", SERVERS, server_body(auth=own_client()))) == refused
    factories.make_server(auth=own_client(), url="https://mcp.example.com/mcp")
    moves: list[dict[str, Any]] = [
        {"auth": own_client(token_endpoint="https://evil.example.com/token")},
        {"auth": own_client(client_id="other")},
        {"url": "https://evil.example.com/mcp"},
    ]
    for change in moves:
        answer = send(editor, "patch", f"{SERVERS}tools/", change)
        assert (answer.status_code, findings(answer)) == (403, refused)
    assert send(editor, "patch", f"{SERVERS}tools/", {"description": "x"}).status_code == 200
    written_out = own_client(scopes=[], token_endpoint_auth_method="client_secret_basic")
    assert send(editor, "patch", f"{SERVERS}tools/", {"auth": written_out}).status_code == 200
    assign_perm("use_secret", editor, secret)
    for change in moves:
        assert send(User.objects.get(pk=editor.pk), "patch", f"{SERVERS}tools/", change).status_code == 200


@pytest.mark.threat("F07")
def test_a_providers_client_needs_attach(editor: User) -> None:
    provider = factories.make_provider()
    answer = send(editor, "post", SERVERS, server_body(auth=of_provider()))
    assert (answer.status_code, findings(answer)) == (403, [("attach_permission_denied", "auth")])
    assign_perm("attach_oauthprovider", editor, provider)
    assert send(User.objects.get(pk=editor.pk), "post", SERVERS, server_body(auth=of_provider())).status_code == 201


def test_a_service_account_is_nobodys_connection_and_counts_as_a_use(admin: User) -> None:
    provider = factories.make_provider()
    factories.make_secret("ROBOT_SECRET")
    factories.make_server("bound", auth=of_provider(), provider_uid=provider.uid)
    factories.make_server("own", auth=own_client())
    assert list(server_needs(None)) == []
    assert [str(use) for use in registry.used_by("ROBOT_SECRET")] == ["mcp-server own"]


def test_who_must_connect_is_told_before_the_mode_is_switched(
    admin: User, editor: User, alice: User, bob: User
) -> None:
    provider = factories.make_provider()
    server = factories.make_server(auth=of_provider(), provider_uid=provider.uid, url=HERE)
    for user in (alice, bob):
        factories.allow(user, server, "use")
    factories.make_vault_entry(alice, provider)
    path = f"{SERVERS}tools/auth-impact/"

    def told(auth: dict[str, Any]) -> tuple[int, str]:
        answer = send(admin, "post", path, {"auth": auth})
        assert answer.status_code == 200, answer.json()
        return answer.json()["reconnects"], answer.json()["detail"]

    # admin, editor and bob lack it; alice has it.
    count, sentence = told(bound_to("github", required_scopes=["read"]))
    assert count == 3
    assert "3 users who may use tools have to connect Github first" in sentence
    assert told(bound_to("github", required_scopes=["write"]))[0] == 4
    assert told({"mode": "none"})[0] == 0
    denied = send(editor, "post", path, {"auth": bound_to("github")})
    assert (denied.status_code, findings(denied)) == (403, [("attach_permission_denied", "auth")])
    assert findings(send(admin, "post", path, {"auth": {"mode": "other"}})) == [("invalid", "auth")]
    server.auth = bound_to("github", required_scopes=["read"])
    server.save()
    count, sentence = told(of_provider())
    assert (count, "Connections to github stay as they are" in sentence) == (0, True)
    assert send(admin, "patch", f"{SERVERS}tools/", {"auth": of_provider()}).status_code == 200
    assert VaultEntry.objects.count() == 1


def test_the_admin_asks_before_users_have_to_connect(admin: User, alice: User) -> None:
    provider = factories.make_provider()
    server = factories.make_server(auth=of_provider(), provider_uid=provider.uid, url=HERE)
    factories.allow(alice, server, "use")
    client = signed_in(admin)
    changes = {"auth_mode": "user_oauth", "provider_name": "github", "required_scopes": "read"}
    sent = filled(client, page(server, "change"), **changes)
    asked = client.post(page(server, "change"), sent)
    assert "2 users who may use tools have to connect Github first" in asked.content.decode()
    assert "Save the new authentication" in asked.content.decode()
    server.refresh_from_db()
    assert server.mode == MODE
    answer = client.post(page(server, "change"), {**sent, "confirmed": "github: read"})
    assert answer.status_code == 302
    server.refresh_from_db()
    assert server.mode == "user_oauth"


def form(**changes: Any) -> dict[str, Any]:
    return {"name": "tools", "enabled": "on", "url": HERE, "consent_delivery": "auto", "auth_mode": MODE, **changes}


def test_the_form_makes_and_keeps_a_client_of_its_own(admin: User) -> None:
    factories.make_secret("ROBOT_SECRET")
    client = signed_in(admin)
    sent = form(
        service_client_id="robot",
        service_client_secret_ref="ROBOT_SECRET",
        service_token_endpoint=ENDPOINT,
        service_token_endpoint_auth_method="client_secret_post",
        service_scopes="read\nwrite",
    )
    answer = client.post(page(MCPServer, "add"), sent)
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    server = MCPServer.objects.get()
    expected = own_client(scopes=["read", "write"], token_endpoint_auth_method="client_secret_post")
    assert server.auth == expected
    again = filled(client, page(server, "change"), description="x")
    assert client.post(page(server, "change"), again).status_code == 302
    server.refresh_from_db()
    assert (server.description, server.auth) == ("x", expected)
    shown = client.get(page(server, "detail")).content.decode()
    assert all(text in shown for text in ("Service-account OAuth", "robot", ENDPOINT, "ROBOT_SECRET", "write"))
    assert "Service-account OAuth" in client.get(page(MCPServer)).content.decode()


def test_the_form_takes_a_providers_client(admin: User) -> None:
    provider = factories.make_provider()
    client = signed_in(admin)
    answer = client.post(page(MCPServer, "add"), form(service_provider_name="github", service_scopes="read"))
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    server = MCPServer.objects.get()
    assert (server.auth, server.provider_uid) == (of_provider(scopes=["read"]), provider.uid)


def test_the_form_passes_tokens_through(admin: User) -> None:
    assert signed_in(admin).post(page(MCPServer, "add"), form(auth_mode="token_passthrough")).status_code == 302
    server = MCPServer.objects.get()
    assert server.auth == {"mode": "token_passthrough"}
    assert "X-Upstream-Authorization" in signed_in(admin).get(page(server, "detail")).content.decode()


@pytest.mark.parametrize(
    ("changes", "field", "sentence"),
    [
        ({}, "service_client_id", "Name the client"),
        ({}, "service_token_endpoint", "Give the address"),
        ({}, "service_client_secret_ref", "A-Z"),
        ({"service_client_secret_ref": "GONE"}, "service_client_secret_ref", "not found"),
        ({"service_token_endpoint": "http://auth.example.com/"}, "service_token_endpoint", "https"),
        ({"service_scopes": 'a"'}, "service_scopes", "scope"),
        ({"service_resource": "x"}, "service_resource", "absolute URI"),
        ({"service_provider_name": "github", "service_client_id": "robot"}, "service_client_id", "Leave this out"),
        ({"service_provider_name": "gone", "service_client_id": ""}, "service_provider_name", "not found"),
    ],
)
def test_a_refused_form_says_why_beside_the_field(
    admin: User, changes: dict[str, str], field: str, sentence: str
) -> None:
    factories.make_provider()
    whole = {} if not changes else {"service_client_id": "robot"}
    if "service_client_secret_ref" in changes:
        whole["service_token_endpoint"] = ENDPOINT
    answer = signed_in(admin).post(page(MCPServer, "add"), form(**{**whole, **changes}))
    assert answer.status_code == 200
    errors = answer.context["adminform"].form.errors
    assert sentence in str(errors[field])
    assert "__all__" not in errors
    assert not MCPServer.objects.exists()


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"last_error": "invalid_client", "is_refused": True}, "refuses the service account (invalid_client)"),
        ({"last_error": "timeout"}, "gave no token (timeout)"),
    ],
)
def test_the_page_of_a_server_says_that_its_client_is_refused(admin: User, row: dict[str, Any], sentence: str) -> None:
    factories.make_secret("ROBOT_SECRET")
    server = factories.make_server(auth=own_client())
    ServiceToken.objects.create(server_uid=server.uid, failing_since=timezone.now() - timedelta(hours=1), **row)
    assert sentence in signed_in(admin).get(page(server, "detail")).content.decode()


def test_every_mode_shows_its_page(admin: User) -> None:
    provider = factories.make_provider()
    factories.make_secret("KEY")
    auths: list[dict[str, Any]] = [{"mode": "none"}, {"mode": "static_key", "key_ref": "KEY"}]
    auths += [{"mode": "token_passthrough"}, of_provider(), bound_to("github")]
    for number, auth in enumerate(auths):
        uid = provider.uid if "provider_name" in auth else None
        server = factories.make_server(f"server-{number}", auth=auth, provider_uid=uid)
        shown = signed_in(admin).get(page(server, "detail")).content.decode()
        assert MODES[auth["mode"]].label in shown
        assert 'role="alert"' not in shown


def test_a_call_over_the_api_takes_the_callers_token_along(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    server = factories.make_server(auth={"mode": "token_passthrough"})
    factories.allow(alice, server, "view", "use")
    seen: list[Any] = []
    monkeypatch.setattr(local_call, "call_tool", lambda *given: seen.append(given[4]) or {"result": {}})
    path = f"{SERVERS}tools/tools/whoami/call/"
    client = client_of(alice)
    client.post(path, {}, content_type="application/json", headers={"X-Upstream-Authorization": "Bearer mine"})
    client.post(path, {}, content_type="application/json")
    assert seen == ["Bearer mine", None]


@pytest.mark.threat("F05")
def test_a_replaced_provider_is_not_silently_taken(admin: User) -> None:
    provider = factories.make_provider()
    server = factories.make_server(auth=of_provider(), provider_uid=provider.uid, url=HERE)
    provider.delete()
    successor = factories.make_provider()
    client = signed_in(admin)
    assert "was replaced" in client.get(page(server, "detail")).content.decode()
    sent = filled(client, page(server, "change"), attach_again="on")
    assert client.post(page(server, "change"), sent).status_code == 302
    server.refresh_from_db()
    assert server.provider_uid == successor.uid
    assert OAuthProvider.objects.count() == 1
