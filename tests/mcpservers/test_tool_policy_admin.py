"""The page of a server's tools in the admin."""

from typing import Any

import pytest
from django.contrib.auth.models import Group, User

from audit.models import Event
from mcpservers import admin_tools
from mcpservers.models import GroupToolPolicy, MCPServer, ToolPolicy
from mcpservers.tool_policy.definitions import Change
from tests import factories
from tests.admin_pages import filled, page, queries_of, signed_in

TOOLS: list[dict[str, Any]] = [
    {"name": name, "description": "Does it.", "inputSchema": {"type": "object"}} for name in ("get_one", "drop[*]", "b")
]


@pytest.fixture
def server(db: None, alice: User) -> MCPServer:
    """A server that alice, an editor, may change."""
    from django.utils import timezone

    alice.groups.add(Group.objects.get(name="mcp-editors"))
    row = factories.make_server(tools=TOOLS, tools_refreshed_at=timezone.now())
    factories.allow(alice, row, "view", "change")
    return row


def test_what_is_checked_and_typed_is_saved_and_shown_again(server: MCPServer, alice: User) -> None:
    client, url = signed_in(alice), page(server, "tools")
    group = Group.objects.get(name="members")
    sent = {
        "on_change": "hold",
        "allow-everyone": ["get_one", "drop[*]"],
        "deny_other-everyone": "delete_*\r\n\r\n  purge  ",
        "group": [f"g{group.pk}"],
        f"deny-g{group.pk}": ["drop[*]"],
    }
    assert client.post(url, sent).status_code == 302
    row = ToolPolicy.objects.get()
    assert (row.on_change, row.allow, row.deny) == ("hold", ["get_one", "drop[[][*]]"], ["delete_*", "purge"])
    assert [(each.group, each.deny) for each in GroupToolPolicy.objects.all()] == [(group, ["drop[[][*]]"])]
    again = filled(client, url)
    assert again["allow-everyone"] == ["get_one", "drop[*]"]
    assert again["deny_other-everyone"].split() == ["delete_*", "purge"]
    assert again[f"deny-g{group.pk}"] == ["drop[*]"]
    events = Event.objects.filter(action="mcp_server.tool_policy_changed").count()
    assert client.post(url, again).status_code == 302
    assert Event.objects.filter(action="mcp_server.tool_policy_changed").count() == events == 1


def test_a_group_gets_lists_and_loses_them(server: MCPServer, alice: User) -> None:
    client, url = signed_in(alice), page(server, "tools")
    group = Group.objects.get(name="members")
    added = filled(client, f"{url}?group=members")
    assert added["group"] == f"g{group.pk}"
    client.post(url, {**added, f"allow_other-g{group.pk}": "get_*"})
    assert GroupToolPolicy.objects.get().allow == ["get_*"]
    client.post(url, {**filled(client, url), f"allow_other-g{group.pk}": ""})
    assert not GroupToolPolicy.objects.exists()


def test_what_is_refused_is_said_and_kept_in_the_form(server: MCPServer, alice: User) -> None:
    client, url = signed_in(alice), page(server, "tools")
    answer = client.post(url, {"on_change": "warn", "deny_other-everyone": "x" * 129, "deny-everyone": ["b"]})
    assert answer.status_code == 200
    text = answer.content.decode()
    assert "1 to 128 printable characters" in text
    assert "x" * 129 in text
    assert not ToolPolicy.objects.exists()
    assert "Use one of warn, hold" in client.post(url, {}).content.decode()


@pytest.mark.threat("D18", "F15")
def test_a_changed_tool_is_flagged_compared_and_approved(server: MCPServer, alice: User) -> None:
    was = {tool["name"]: {"description": "Did it.", "inputSchema": {"type": "object"}} for tool in TOOLS[:2]}
    ToolPolicy.objects.create(server=server, approved=was)
    server.tools[0]["description"] = "Does it.\n<script>alert(1)</script>"
    server.save()
    client, url = signed_in(alice), page(server, "tools")
    assert "3 to review" in client.get(page(MCPServer)).content.decode()
    assert "3 tools not as approved" in client.get(page(server, "detail")).content.decode()
    text = client.get(url).content.decode()
    assert "<script>alert" not in text
    assert "Did it.</del>" in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;</ins>" in text
    digests = [entry["digest"] for entry in client.get(url).context["pending"]]
    seen = {"approve": "one", "tool": "get_one", "digest": digests[0]}
    assert client.post(url, seen).status_code == 302
    assert "no longer as you saw" in client.post(url, {**seen, "tool": "b", "digest": digests[0]}).content.decode()
    assert "no longer lists" in client.post(url, {**seen, "tool": "no_such"}).content.decode()
    rest = client.get(url).context["pending_digest"]
    assert client.post(url, {"approve": "all", "digest": rest}).status_code == 302
    assert "Waiting for review" not in client.get(url).content.decode()
    assert Event.objects.filter(action="mcp_server.tool_approved").count() == 2


@pytest.mark.threat("D17")
def test_a_viewer_sees_only_the_tools_they_may_call(server: MCPServer, bob: User) -> None:
    ToolPolicy.objects.create(server=server, deny=["b"])
    bob.is_staff = True
    bob.save()
    factories.allow(bob, server, "view")
    for what in ("detail", "change"):
        text = signed_in(bob).get(page(server, what)).content.decode()
        assert ">get_one<" in text
        assert ">b<" not in text
        assert page(server, "tools") not in text
    assert signed_in(bob).get(page(server, "tools")).status_code == 403


def test_the_list_asks_no_more_for_more_servers(server: MCPServer, admin: User) -> None:
    client = signed_in(admin)
    client.get(page(MCPServer))
    before = queries_of(client, page(MCPServer))
    for name in ("a", "b", "c"):
        other = factories.make_server(name, tools=TOOLS, tools_refreshed_at=server.tools_refreshed_at)
        ToolPolicy.objects.create(server=other, approved={})
    assert queries_of(client, page(MCPServer)) == before


def test_members_are_compared_line_by_line() -> None:
    change = Change("t", {"description": "a\nb", "title": "T"}, {"description": "a\nc"})
    assert admin_tools.members(change) == [
        ("description", [("same", "a"), ("was", "b"), ("now", "c")]),
        ("title", [("was", "T")]),
    ]
