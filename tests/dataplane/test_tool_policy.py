"""A tool that its caller may not use is neither listed nor called, by whatever way (D17); a changed one waits (D18)."""

import gzip
import json
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import requests
from django.contrib.auth.models import Group, User
from django.utils import timezone

from audit.models import Event
from changes import counter
from mcpservers.dataplane import list_changes, local_call, refusals
from mcpservers.models import GroupToolPolicy, MCPServer, ToolPolicy
from mcpservers.tool_policy import definitions
from tests import factories
from tests.dataplane.conftest import Agent
from tests.dataplane.test_hot_path import elsewhere, hops, watcher
from tests.dataplane.test_relay import wait_for
from tests.fakes.mcp_server import FakeMcpServer

__all__ = ["hops", "watcher"]
TOOLS: list[dict[str, Any]] = [
    {"name": name, "description": f"Does {name}.", "inputSchema": {"type": "object"}, "_meta": {"kept": [1, None]}}
    for name in ("read_file", "write_file", "drop_all", "Drop_all", "whoami")
]
ALL: list[str] = [tool["name"] for tool in TOOLS]


@pytest.fixture(autouse=True)
def nothing_recorded() -> None:
    refusals._recorded.clear()


def listed(**extra: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "result": {"tools": TOOLS, **extra}}


@pytest.fixture
def lists(upstream: FakeMcpServer) -> FakeMcpServer:
    """An upstream with more than one tool, whose pages go on."""

    async def behave(request: Any, wire: Any) -> None:
        result = listed(nextCursor="page-2") if request.message["method"] == "tools/list" else {"result": {}}
        await wire(200, {"jsonrpc": "2.0", "id": request.message.get("id"), **result})

    upstream.behave = behave
    return upstream


def restrict(server: MCPServer, **fields: Any) -> None:
    ToolPolicy.objects.update_or_create(server=server, defaults=fields)


def restrict_group(server: MCPServer, user: User, name: str, **lists: list[str]) -> None:
    group = Group.objects.get_or_create(name=name)[0]
    user.groups.add(group)
    GroupToolPolicy.objects.create(server=server, group=group, **lists)


def names(answer: Any) -> list[str]:
    return [tool["name"] for tool in answer.json()["result"]["tools"]]


@pytest.mark.threat("D17")
def test_a_denied_tool_is_neither_listed_nor_called(agent: Agent, server: MCPServer, lists: FakeMcpServer) -> None:
    restrict(server, deny=["drop_all"])
    answer = agent.post("tools/list")
    assert names(answer) == ["read_file", "write_file", "Drop_all", "whoami"]
    assert answer.json()["result"]["nextCursor"] == "page-2"
    assert answer.json()["result"]["tools"][0] == TOOLS[0]
    before = len(lists.requests)
    for _ in range(3):
        refused = agent.call("drop_all")
        assert (refused.status_code, refused.json()["id"]) == (200, 7)
        assert refused.json()["error"] == {"code": -32602, "message": "Unknown tool: drop_all"}
    assert len(lists.requests) == before
    [event] = Event.objects.filter(action="mcp.tool_refused")
    assert (event.result, event.target, event.data) == ("refused", "tools", {"tool": "drop_all", "why": "hidden"})
    assert agent.call("Drop_all").json()["result"] == {}


@pytest.mark.threat("D17", "H01")
def test_the_trail_of_a_refusal_holds_no_credential(agent: Agent, server: MCPServer, lists: FakeMcpServer) -> None:
    restrict(server, allow=["read_file"])
    agent.call("access_token=3Xk9-canary")
    [event] = Event.objects.filter(action="mcp.tool_refused")
    assert event.data == {"tool": "access_token=[redacted]", "why": "hidden"}


@pytest.mark.threat("D17")
def test_a_denied_tool_is_refused_in_either_revision(agent: Agent, server: MCPServer, upstream: FakeMcpServer) -> None:
    restrict(server, allow=["read_*"])
    upstream.behave = None
    refused = agent.modern("tools/call", {"name": "whoami"}, Mcp_Method="tools/call", Mcp_Name="whoami")
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, -32602)
    result = agent.modern("tools/list").json()["result"]
    assert (result["tools"], result["cacheScope"]) == ([], "private")
    assert agent.post("tools/call", {"name": "whoami"}, id=None).status_code == 202
    assert "tools/call" not in upstream.methods()


@pytest.mark.threat("D17")
def test_a_denied_tool_is_refused_also_under_the_name_of_the_gateways_own(
    agent: Agent, server: MCPServer, lists: FakeMcpServer
) -> None:
    restrict(server, deny=["connect_account"])
    assert agent.call("connect_account").json()["error"]["code"] == -32602
    assert "tools/call" not in lists.methods()


@pytest.mark.threat("D17")
def test_a_list_that_is_filtered_is_private(agent: Agent, server: MCPServer, upstream: FakeMcpServer) -> None:
    async def public(request: Any, wire: Any) -> None:
        await wire(200, listed(resultType="complete", ttlMs=60000, cacheScope="public"))

    upstream.behave = public
    assert agent.modern("tools/list").json()["result"]["cacheScope"] == "public"
    restrict(server, deny=["drop_all"])
    assert agent.modern("tools/list").json()["result"]["cacheScope"] == "private"


CASES: dict[str, tuple[dict[str, Any], dict[str, dict[str, Any]], list[str]]] = {
    "nothing": ({}, {}, ALL),
    "allow": ({"allow": ["read_file", "who*"]}, {}, ["read_file", "whoami"]),
    "deny wins": ({"allow": ["*_file"], "deny": ["write_*"]}, {}, ["read_file"]),
    "case counts": ({"deny": ["Drop_all"]}, {}, ["read_file", "write_file", "drop_all", "whoami"]),
    "classes": ({"allow": ["[rw]*_file"]}, {}, ["read_file", "write_file"]),
    "one character": ({"allow": ["whoam?"]}, {}, ["whoami"]),
    "a group narrows": ({}, {"a": {"allow": ["whoami"]}}, ["whoami"]),
    "groups add up": ({}, {"a": {"allow": ["whoami"]}, "b": {"allow": ["read_file"]}}, ["read_file", "whoami"]),
    "a group's deny is its own": ({}, {"a": {"deny": ["*_all"]}, "b": {"allow": ["drop_all"]}}, ALL[:3] + ALL[4:]),
    "never beyond the server": ({"deny": ["drop_*"]}, {"a": {"allow": ["drop_all", "whoami"]}}, ["whoami"]),
    "an empty group says nothing": ({}, {"a": {}}, ALL),
    "an empty group beside one": ({}, {"a": {}, "b": {"allow": ["whoami"]}}, ["whoami"]),
    "no regular expression": ({"allow": [".*", "who(ami|x)", "^whoami$"]}, {}, []),
}


@pytest.mark.threat("D17")
@pytest.mark.parametrize(("own", "of_groups", "expected"), CASES.values(), ids=CASES)
def test_the_lists_and_what_they_mean(
    agent: Agent,
    server: MCPServer,
    alice: User,
    lists: FakeMcpServer,
    own: dict[str, Any],
    of_groups: dict[str, dict[str, Any]],
    expected: list[str],
) -> None:
    restrict(server, **own)
    for name, rules in of_groups.items():
        restrict_group(server, alice, name, **rules)
    assert names(agent.post("tools/list")) == expected
    called = [name for name in ALL if "error" not in agent.call(name).json()]
    assert called == expected


def test_a_groups_lists_are_for_its_members(agent: Agent, server: MCPServer, bob: User, lists: FakeMcpServer) -> None:
    restrict_group(server, bob, "others", allow=["whoami"])
    assert names(agent.post("tools/list")) == ALL
    factories.allow(bob, server, "use")
    assert names(Agent(agent.url.partition("/mcp/")[0], bob).post("tools/list")) == ["whoami"]


def test_other_methods_pass_untouched(agent: Agent, server: MCPServer, upstream: FakeMcpServer) -> None:
    async def spaced(request: Any, wire: Any) -> None:
        await wire(200, b'{ "jsonrpc":"2.0", "id":1, "result":{"tools":[{"name":"drop_all"}]} }')

    upstream.behave = spaced
    restrict(server, deny=["drop_all"])
    assert agent.post("prompts/list").text.startswith("{ ")
    assert upstream.requests[-1].header("accept-encoding") != "identity"
    assert names(agent.post("tools/list")) == []
    assert upstream.requests[-1].header("accept-encoding") == "identity"


EVENT = b"event: message\nid: 5\nretry: 10\ndata: " + json.dumps(listed()).encode() + b"\n\n"


@pytest.mark.threat("D17")
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_list_on_a_stream_is_filtered_wherever_it_is_cut(
    agent: Agent, server: MCPServer, upstream: FakeMcpServer, ends: str, size: int
) -> None:
    told = b'data: {"jsonrpc":"2.0","method":"notifications/message","params":{"a":1.50}}\n\n'
    stream = (b": hello\n\n" + told + EVENT).replace(b"\n", ends.encode())

    async def behave(request: Any, wire: Any) -> None:
        await wire.start()
        for start in range(0, len(stream), size):
            await wire.piece(stream[start : start + size])
        await wire.piece(b"", more=False)

    upstream.behave = behave
    restrict(server, allow=["whoami"])
    text = agent.post("tools/list").content.decode()
    assert "drop_all" not in text
    assert all(kept in text.replace(ends, "\n") for kept in (": hello\n\n", "id: 5\nretry: 10\n", '"name":"whoami"'))
    assert json.loads(text.replace(ends, "\n").split("data: ")[-1])["result"]["tools"] == [TOOLS[-1]]


@pytest.mark.threat("D17")
def test_a_list_that_is_replayed_on_the_sessions_stream_is_filtered(
    agent: Agent, server: MCPServer, upstream: FakeMcpServer
) -> None:
    restrict(server, allow=["whoami"])
    agent.initialize()

    async def behave(request: Any, wire: Any) -> None:
        await wire.start()
        await wire.piece(EVENT, more=False)

    upstream.behave = behave
    fields = {**agent.headers, "Mcp-Session-Id": agent.session, "Last-Event-ID": "4"}
    answer = requests.get(agent.url, headers=fields, timeout=20)
    assert "drop_all" not in answer.text
    assert '"whoami"' in answer.text


Behave = Callable[[Any, Any], Any]


async def _gzipped(request: Any, wire: Any) -> None:
    await wire(200, gzip.compress(json.dumps(listed()).encode()), content_encoding="gzip")


async def _no_json(request: Any, wire: Any) -> None:
    await wire(200, b'{"result": {"tools": [{"name": "drop_all"')


async def _cut_off(request: Any, wire: Any) -> None:
    await wire.start(200, "application/json", content_length="5000")
    await wire.piece(json.dumps(listed()).encode()[:100])
    raise ConnectionError


async def _deep(request: Any, wire: Any) -> None:
    await wire(200, b'{"result":{"tools":[{"name":"drop_all","x":' + b"[" * 200_000 + b"]" * 200_000 + b"}]}}")


@pytest.mark.threat("D17")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("behave", [_gzipped, _no_json, _cut_off, _deep])
def test_a_list_that_cannot_be_read_is_not_shown(
    agent: Agent, server: MCPServer, upstream: FakeMcpServer, behave: Behave
) -> None:
    restrict(server, deny=["drop_all"])
    upstream.behave = behave
    answer = agent.post("tools/list")
    assert (answer.status_code, answer.json()["error"]["data"]["reason"]) == (502, "UpstreamUnavailable")
    assert "drop_all" not in answer.text


@pytest.mark.threat("D17")
@pytest.mark.parametrize(
    "body",
    [
        b"\xef\xbb\xbf" + json.dumps(listed()).encode(),
        json.dumps([listed()]).encode(),
        json.dumps(listed()).replace('"tools"', r'"t\u006fols"').encode(),
        json.dumps(listed()).encode().replace(b"Does", b"\xff\xfe"),
        b'{"jsonrpc":"2.0","id":1,"result":{},"result":' + json.dumps(listed()["result"]).encode() + b"}",
        json.dumps(listed()).replace("drop_all", "drop_all\\ud800").encode(),
    ],
)
def test_no_odd_writing_gets_around_the_filter(
    agent: Agent, server: MCPServer, upstream: FakeMcpServer, body: bytes
) -> None:
    for as_event in (False, True):

        async def behave(request: Any, wire: Any, as_event: bool = as_event) -> None:
            kind = "text/event-stream; charset=utf-8" if as_event else "application/json"
            await wire.start(200, kind)
            await wire.piece(b"data: " + body + b"\n\n" if as_event else body, more=False)

        upstream.behave = behave
        restrict(server, allow=["whoami"])
        text = agent.post("tools/list").content.decode()
        assert "drop_all" not in text
        assert '"whoami"' in text


def test_the_upstreams_error_passes_as_it_is(agent: Agent, server: MCPServer, upstream: FakeMcpServer) -> None:
    async def failing(request: Any, wire: Any) -> None:
        await wire(500, b"<h1>broken</h1>", content_type="text/html")

    restrict(server, deny=["drop_all"])
    upstream.behave = failing
    assert (agent.post("tools/list").status_code, agent.post("tools/list").text) == (500, "<h1>broken</h1>")


@pytest.mark.threat("D17")
def test_the_cached_list_of_somebody_not_connected_is_filtered(gateway: str, upstream_url: str, alice: User) -> None:
    row = factories.make_server(
        url=upstream_url, provider=factories.make_provider(), tools=TOOLS, capabilities={"capabilities": {"tools": {}}}
    )
    factories.allow(alice, row, "use")
    restrict(row, deny=["drop_all"])
    agent = Agent(gateway, alice)
    assert names(agent.post("tools/list")) == ["read_file", "write_file", "Drop_all", "whoami"]
    assert agent.call("drop_all").json()["error"]["code"] == -32602
    assert agent.call("whoami").json()["error"]["data"]["reason"] == "OAuthConnectionRequired"


def test_the_connect_tool_is_the_gateways_and_no_policy_hides_it(gateway: str, upstream_url: str, alice: User) -> None:
    row = factories.make_server(url=upstream_url, provider=factories.make_provider())
    factories.allow(alice, row, "use")
    restrict(row, allow=["whoami"])
    assert "authorize_url" in Agent(gateway, alice).call("connect_account").text


@pytest.mark.threat("D17")
def test_the_gateways_own_call_is_under_the_policy(server: MCPServer, alice: User, upstream: FakeMcpServer) -> None:
    restrict(server, deny=["whoami"])
    answer = local_call.call_tool(alice, "tools", "whoami", {})
    assert answer["error"]["message"] == "Unknown tool: whoami"
    assert "tools/call" not in upstream.methods()


@pytest.mark.threat("D18")
def test_a_tool_that_changed_is_held_until_it_is_approved(
    agent: Agent, server: MCPServer, lists: FakeMcpServer
) -> None:
    approved = definitions.by_name(TOOLS)
    approved["read_file"] = {**approved["read_file"], "description": "Reads a file."}
    del approved["write_file"]
    restrict(server, on_change="hold", approved=approved)
    server.tools = TOOLS
    server.save()
    assert names(agent.post("tools/list")) == ["drop_all", "Drop_all", "whoami"]
    for name in ("read_file", "write_file", "never_seen"):
        refused = agent.call(name).json()["error"]
        assert (refused["code"], refused["data"]["reason"]) == (-32018, "ToolHeldForReview")
        assert "held for review" in refused["message"]
    assert agent.call("whoami").json()["result"] == {}
    assert lists.methods().count("tools/call") == 1
    restrict(server, on_change="warn")
    assert names(agent.post("tools/list")) == ALL


@pytest.mark.threat("D18")
def test_a_changed_definition_that_passes_by_is_not_shown_before_discovery_saw_it(
    agent: Agent, server: MCPServer, lists: FakeMcpServer
) -> None:
    approved = definitions.by_name(TOOLS)
    approved["drop_all"] = {**approved["drop_all"], "description": "Harmless."}
    restrict(server, on_change="hold", approved=approved)
    assert names(agent.post("tools/list")) == ["read_file", "write_file", "Drop_all", "whoami"]


def test_before_the_first_discovery_nothing_is_approved(agent: Agent, server: MCPServer, lists: FakeMcpServer) -> None:
    restrict(server, on_change="hold")
    assert names(agent.post("tools/list")) == []
    assert agent.call("whoami").json()["error"]["data"]["reason"] == "ToolHeldForReview"


@pytest.mark.threat("D18")
def test_a_policy_made_by_another_process_holds_within_a_second(
    agent: Agent, server: MCPServer, watcher: counter.Watcher, lists: FakeMcpServer
) -> None:
    assert "result" in agent.call().json()
    time.sleep(0.5)
    assert "result" in agent.call().json()
    elsewhere(lambda: restrict(server, deny=["whoami"]))
    changed = time.monotonic()
    wait_for(lambda: "error" in agent.call().json(), seconds=2)
    assert time.monotonic() - changed < 1


def test_calls_and_lists_under_a_policy_ask_the_database_nothing(
    agent: Agent, server: MCPServer, alice: User, lists: FakeMcpServer, hops: list[str]
) -> None:
    restrict(server, deny=["drop_*"], on_change="hold", approved=definitions.by_name(TOOLS))
    restrict_group(server, alice, "team", allow=["who*"])
    agent.call()
    agent.call("drop_all")  # audited once a minute
    before = len(hops)
    for _ in range(5):
        assert agent.call().json()["result"] == {}
        assert agent.call("drop_all").json()["error"]["code"] == -32602
        assert names(agent.post("tools/list")) == ["whoami"]
    assert len(hops) == before


NOTICE = b'data: {"jsonrpc":"2.0","method":"notifications/tools/list_changed"}\n\n'


@pytest.fixture
def seen_before(server: MCPServer) -> MCPServer:
    """The server, asked a while ago and due in an hour."""
    server.tools_refreshed_at = timezone.now() - timedelta(minutes=30)
    server.save()
    restrict(server, due_at=timezone.now() + timedelta(hours=1))
    list_changes._heard.clear()
    return server


def is_due_soon() -> bool:
    return ToolPolicy.objects.get().due_at < timezone.now() + timedelta(seconds=10)  # type: ignore[operator]


@pytest.mark.parametrize("size", [1, 20, 1000])
@pytest.mark.parametrize("way", ["stream", "subscription"])
def test_a_list_that_changed_is_asked_for_soon(
    agent: Agent, seen_before: MCPServer, upstream: FakeMcpServer, way: str, size: int
) -> None:
    async def behave(request: Any, wire: Any) -> None:
        await wire.start()
        for start in range(0, len(NOTICE), size):
            await wire.piece(NOTICE[start : start + size])
        await wire.piece(b": end\n\n", more=False)

    if way == "stream":
        agent.initialize()
        upstream.behave = behave
        fields = {**agent.headers, "Mcp-Session-Id": agent.session}
        answer = requests.get(agent.url, headers=fields, timeout=20)
    else:
        upstream.behave = behave
        answer = agent.modern("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
    assert answer.content == NOTICE + b": end\n\n"
    assert is_due_soon()


@pytest.mark.threat("D18")
def test_a_changed_definition_that_passes_by_is_looked_at_soon(
    agent: Agent, seen_before: MCPServer, lists: FakeMcpServer
) -> None:
    approved = definitions.by_name(TOOLS)
    restrict(seen_before, on_change="hold", approved=approved)
    assert names(agent.post("tools/list")) == ALL
    assert not is_due_soon()
    restrict(seen_before, approved={**approved, "whoami": {**approved["whoami"], "title": "Who"}})
    assert names(agent.post("tools/list")) == ALL[:-1]
    assert is_due_soon()


def test_a_server_that_says_so_all_the_time_is_heard_once_in_a_while(
    agent: Agent, seen_before: MCPServer, upstream: FakeMcpServer, hops: list[str]
) -> None:
    async def behave(request: Any, wire: Any) -> None:
        await wire.start()
        for _ in range(200):
            await wire.piece(NOTICE)
        await wire.piece(b"", more=False)

    agent.call()
    upstream.behave = behave
    before = len(hops)
    agent.modern("subscriptions/listen", {"notifications": {}})
    assert len(hops) == before + 1
