from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import override_settings
from guardian.shortcuts import assign_perm
from pytest_django import DjangoAssertNumQueries

from audit.models import Event
from clients import rights
from mcpservers import discovery
from mcpservers.dataplane import local_call
from mcpservers.models import MCPServer
from tests import factories
from tests.api import SERVERS, bound_to, client_of, findings, send, server_body


@pytest.mark.threat("A12")
@pytest.mark.parametrize("url", ["javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", ""])
def test_a_url_that_is_no_web_address_is_refused(admin: User, url: str) -> None:
    answer = send(admin, "post", SERVERS, server_body(url=url))
    assert answer.status_code == 400
    assert findings(answer)[0][1] == "url"
    assert not MCPServer.objects.exists()


@pytest.mark.threat("E01")
@pytest.mark.parametrize("host", ["169.254.169.254", "127.0.0.1", "localhost", "[::1]", "10.0.0.1", "100.64.0.1"])
@override_settings(AIGW_OUTBOUND_ALLOW=[])
def test_a_private_address_is_refused(admin: User, host: str) -> None:
    answer = send(admin, "post", SERVERS, server_body(url=f"https://{host}/mcp"))
    assert (answer.status_code, findings(answer)) == (400, [("address_not_allowed", "url")])
    assert Event.objects.filter(action="mcp_server.refused", result="refused").exists()


def test_a_users_token_asks_for_https_even_on_loopback(admin: User) -> None:
    factories.make_provider()
    body = server_body(url="http://127.0.0.1:9/mcp", auth=bound_to("github"))
    answer = send(admin, "post", SERVERS, body)
    assert findings(answer) == [("https_required", "url")]
    detail = answer.json()["errors"][0]["detail"]
    assert "remote_mcp.user_oauth_requires_https" in detail
    assert "HTTPS required" in detail


def static_key(**fields: Any) -> dict[str, Any]:
    return {"mode": "static_key", "key_ref": "MCP_KEY", **fields}


@pytest.mark.threat("D03", "D04")
@pytest.mark.parametrize(
    "header",
    [
        {"header_name": name}
        for name in [
            "Host", "Content-Length", "Transfer-Encoding", "Connection", "Cookie", ":path", "X-Key\r\nX-Other",
            "X-Key\x00", "X Key", "", "Mcp-Session-Id", "X-Forwarded-For", "Content_Length", "MCP_Session_Id", 5, None,
        ]
    ]
    + [{"header_prefix": prefix} for prefix in ["Bearer\r\nX: y", "Bearer\x00", "Béarer", " Bearer", "x" * 65, 5]],
)  # fmt: skip
def test_a_header_that_could_break_the_request_is_refused(admin: User, header: dict[str, Any]) -> None:
    factories.make_provider(client_secret_ref="MCP_KEY")
    for auth in (static_key(**header), bound_to("github", token_injection=header)):
        answer = send(admin, "post", SERVERS, server_body(auth=auth))
        assert (answer.status_code, findings(answer)) == (400, [("invalid_header", "auth")])


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"name": "-tools"}, ("invalid_name", "name")),
        ({"description": "x" * 257}, ("max_length", "description")),
        ({"kind": "managed"}, ("invalid", "kind")),
        ({"managed_type": "notes"}, ("invalid", "managed_type")),
        ({"config": {"a": 1}}, ("invalid", "config")),
        ({"transport": "stdio"}, ("invalid_choice", "transport")),
        ({"auth": {"mode": "token_passthrough", "key_ref": "KEY"}}, ("invalid", "auth")),
        ({"auth": {"mode": "other"}}, ("invalid", "auth")),
        ({"auth": {"mode": "none", "key": "x"}}, ("invalid", "auth")),
        ({"auth": "none"}, ("invalid", "auth")),
        ({"auth": None}, ("null", "auth")),
        ({"auth": static_key(key_ref="mcp-key")}, ("invalid_ref", "auth")),
        ({"auth": static_key()}, ("secret_not_found", "auth")),
        ({"auth": bound_to("nowhere")}, ("oauth_provider_not_found", "auth")),
        ({"auth": bound_to("github", required_scopes=["a b"])}, ("invalid_scopes", "auth")),
        ({"tools": []}, ("read_only", "tools")),
        ({"provider_uid": "x"}, ("unknown_field", "provider_uid")),
    ],
)  # fmt: skip
def test_bad_input_names_its_field(admin: User, fields: dict[str, Any], expected: tuple[str, str]) -> None:
    factories.make_provider()
    answer = send(admin, "post", SERVERS, server_body(**fields))
    assert (answer.status_code, findings(answer)) == (400, [expected])
    assert not MCPServer.objects.exists()


@pytest.mark.parametrize("change", [{"name": "other"}, {"kind": "managed"}, {"managed_type": "notes"}])
def test_what_a_server_is_cannot_be_changed(admin: User, change: dict[str, str]) -> None:
    factories.make_server()
    answer = send(admin, "patch", f"{SERVERS}tools/", change)
    assert (answer.status_code, findings(answer)) == (400, [("immutable", next(iter(change)))])


def test_a_server_is_made_read_and_deleted(admin: User) -> None:
    made = send(admin, "post", SERVERS, server_body())
    assert made.status_code == 201
    assert made.json()["endpoint_url"] == "https://gateway.test/mcp/v1/tools"
    assert made.json()["auth"] == {"mode": "none"}
    assert made.json()["created_at"].endswith("Z")
    assert send(admin, "get", f"{SERVERS}tools/").json() == made.json()
    assert findings(send(admin, "post", SERVERS, server_body())) == [("unique", "name")]
    assert send(admin, "delete", f"{SERVERS}tools/").status_code == 204
    actions = Event.objects.filter(target="tools", target_type="mcp_server").order_by("pk")
    assert list(actions.values_list("action", flat=True)) == [
        "mcp_server.created",
        "mcp_server.refused",
        "mcp_server.deleted",
    ]


def test_a_static_key_needs_use_of_its_secret(alice: User) -> None:
    secret = factories.make_secret("MCP_KEY")
    assign_perm("mcpservers.add_mcpserver", alice)
    body = server_body(auth=static_key())
    answer = send(alice, "post", SERVERS, body)
    assert (answer.status_code, findings(answer)) == (403, [("secret_permission_denied", "auth")])
    assign_perm("use_secret", alice, secret)
    assert send(alice, "post", SERVERS, body).status_code == 201


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"url": "https://evil.example.com/mcp"}, 403),
        ({"auth": static_key(header_name="X-Api-Key")}, 403),
        ({"auth": static_key(header_prefix="")}, 403),
        ({"auth": static_key(header_name="Authorization", header_prefix="Bearer")}, 200),
        ({"auth": {"mode": "none"}}, 200),
        ({"description": "new", "enabled": False}, 200),
    ],
)
def test_sending_a_key_elsewhere_needs_use_of_its_secret(alice: User, change: dict[str, Any], status: int) -> None:
    factories.make_secret("MCP_KEY")
    server = factories.make_server(auth=static_key())
    for action in ("view", "change"):
        assign_perm(f"{action}_mcpserver", alice, server)
    assert send(alice, "patch", f"{SERVERS}tools/", change).status_code == status


def test_who_may_view_but_not_do_gets_403_and_who_may_not_view_404(alice: User, bob: User) -> None:
    assign_perm("view_mcpserver", alice, factories.make_server())
    for method, path, body in [
        ("patch", "", {"enabled": False}),
        ("delete", "", None),
        ("post", "refresh-tools/", {}),
        ("post", "tools/echo/call/", {"arguments": {}}),
    ]:
        refused = send(alice, method, f"{SERVERS}tools/{path}", body)
        assert (refused.status_code, findings(refused)) == (403, [("permission_denied", None)])
        assert send(bob, method, f"{SERVERS}tools/{path}", body).status_code == 404
    assert send(alice, "get", f"{SERVERS}tools/tools/").status_code == 200
    assert send(bob, "get", f"{SERVERS}tools/tools/").status_code == 404


def test_tools_are_those_last_seen(admin: User) -> None:
    tools = [{"name": "echo", "inputSchema": {"type": "object"}}]
    factories.make_server(tools=tools)
    assert send(admin, "get", f"{SERVERS}tools/tools/").json() == {"tools": tools, "tools_refreshed_at": None}
    assert send(admin, "get", f"{SERVERS}tools/").json()["tools"] == tools


def test_a_server_that_does_not_answer_is_a_bad_gateway(admin: User) -> None:
    factories.make_server(url="http://127.0.0.1:9/mcp")
    answer = send(admin, "post", f"{SERVERS}tools/refresh-tools/", {})
    assert (answer.status_code, findings(answer)) == (502, [("discovery_failed", None)])


def test_refreshing_tools_takes_no_body(admin: User) -> None:
    factories.make_server()
    answer = send(admin, "post", f"{SERVERS}tools/refresh-tools/", {"url": "https://elsewhere.example.com"})
    assert findings(answer) == [("unknown_field", "url")]


def test_refreshed_tools_are_returned(admin: User, monkeypatch: pytest.MonkeyPatch) -> None:
    factories.make_server()

    def refresh_tools(server: MCPServer, *, user_id: int) -> None:
        assert user_id == admin.pk
        MCPServer.objects.filter(pk=server.pk).update(tools=[{"name": "echo"}])

    monkeypatch.setattr(discovery, "refresh_tools", refresh_tools)
    assert send(admin, "post", f"{SERVERS}tools/refresh-tools/").json()["tools"] == [{"name": "echo"}]


@pytest.mark.parametrize("said", [{"result": {"content": []}}, {"error": {"code": -32010, "message": "x"}}])
def test_a_tool_call_hands_over_what_the_server_said(
    admin: User, monkeypatch: pytest.MonkeyPatch, said: dict[str, Any]
) -> None:
    factories.make_server()
    seen: list[Any] = []

    def call_tool(*call: Any) -> dict[str, Any]:
        seen.append(call)
        return {"jsonrpc": "2.0", "id": "1", **said}

    monkeypatch.setattr(local_call, "call_tool", call_tool)
    answer = send(admin, "post", f"{SERVERS}tools/tools/files/read/call/", {"arguments": {"path": "a"}})
    assert (answer.status_code, answer.json()) == (200, said)
    assert seen == [(admin, "tools", "files/read", {"path": "a"}, None)]


@pytest.mark.parametrize(("status", "expected"), [(403, 403), (500, 502), (200, 502)])
def test_a_call_that_was_refused_on_the_way_keeps_its_code(
    admin: User, monkeypatch: pytest.MonkeyPatch, status: int, expected: int
) -> None:
    factories.make_server()

    def call_tool(*_: Any) -> dict[str, Any]:
        raise local_call.CallRefused(status, "no_answer", "Nothing came back.")

    monkeypatch.setattr(local_call, "call_tool", call_tool)
    answer = send(admin, "post", f"{SERVERS}tools/tools/echo/call/", {})
    assert (answer.status_code, findings(answer)) == (expected, [("no_answer", None)])


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("name_contains=ool", ["tools"]),
        ("enabled=false", ["files"]),
        ("consent_delivery=error", ["files"]),
        ("kind=remote&transport=streamable_http", ["files", "tools"]),
        ("ordering=-name", ["tools", "files"]),
    ],
)
def test_lists_can_be_narrowed_and_ordered(admin: User, query: str, names: list[str]) -> None:
    factories.make_server("tools")
    factories.make_server("files", enabled=False, consent_delivery="error")
    assert [row["name"] for row in send(admin, "get", f"{SERVERS}?{query}").json()["results"]] == names


def test_a_list_by_object_permissions_takes_few_queries(
    alice: User, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    team = Group.objects.create(name="team")
    alice.groups.add(team)
    for number in range(20):
        assign_perm("view_mcpserver", alice if number % 2 else team, factories.make_server(f"s{number}"))
    client = client_of(alice)
    client.get(SERVERS)
    with django_assert_max_num_queries(6):
        assert client.get(SERVERS).json()["count"] == 20


def test_the_creator_gets_rights_on_the_server(alice: User) -> None:
    assign_perm("mcpservers.add_mcpserver", alice)
    send(alice, "post", SERVERS, server_body())
    server = MCPServer.objects.get()
    assert [a for a in ("view", "change", "delete", "use") if rights.may(alice, a, server)] == [
        "view",
        "change",
        "delete",
    ]


def test_what_was_created_is_not_said_to_be_at_the_upstreams_address(admin: User) -> None:
    answer = send(admin, "post", SERVERS, server_body())
    assert (answer.status_code, "Location" in answer.headers) == (201, False)
