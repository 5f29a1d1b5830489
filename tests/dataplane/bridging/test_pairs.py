"""Every pair of a caller's and an upstream's revision, with one of everything: the table in the guide comes from here.

Both ends are the official SDK's, in one era each; the gateway stands between them.
"""

import asyncio
from typing import Any

import anyio
import pytest
from mcp import MCPError, types
from mcp.types import ElicitResult

from tests.dataplane.bridging.conftest import PAIRS, OpenClient
from tests.fakes.era_server import MODERN, SSE, EraServer

pytestmark = [
    pytest.mark.parametrize("pair", PAIRS, indirect=True, ids=lambda pair: f"{pair[0]}-to-{pair[1]}"),
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]

COMPLETE = {
    "method": "completion/complete",
    "params": {"ref": {"type": "ref/prompt", "name": "greet"}, "argument": {"name": "name", "value": "A"}},
}


async def wait_until(is_so: Any, seconds: float = 5) -> None:
    """Wait for something that happens elsewhere."""
    with anyio.fail_after(seconds):
        while not is_so():
            await anyio.sleep(0.02)


async def test_what_the_server_offers_is_told(open_client: OpenClient, pair: tuple[str, str]) -> None:
    async with open_client() as client:
        assert client.protocol_version == (MODERN if pair[0] == MODERN else "2025-11-25")
        assert client.server_info is not None
        assert client.server_info.name == "era"
        assert client.instructions == "Ask me."
        assert client.server_capabilities.tools is not None


async def test_tools_are_listed(open_client: OpenClient) -> None:
    async with open_client() as client:
        listed = await client.list_tools()
        by_name = {tool.name: tool for tool in listed.tools}
        assert {"echo", "place", "count", "paint"} <= set(by_name)
        assert by_name["place"].output_schema is not None
        assert by_name["region"].input_schema["properties"]["where"]["x-mcp-header"] == "Region"


async def test_a_tool_is_called(open_client: OpenClient) -> None:
    async with open_client() as client:
        result = await client.call_tool("echo", {"text": "grüße\n\U0001f600"})
        assert result.content[0].text == "grüße\n\U0001f600"
        assert not result.is_error


async def test_structured_content_arrives(open_client: OpenClient) -> None:
    async with open_client() as client:
        assert (await client.call_tool("place", {})).structured_content == {"x": 1, "y": 2}
        assert (await client.call_tool("points", {})).structured_content == {"result": [1, 2]}


async def test_an_error_of_the_tool_is_a_result(open_client: OpenClient) -> None:
    async with open_client() as client:
        result = await client.call_tool("fail", {})
        assert result.is_error
        assert "fail" in result.content[0].text


async def test_an_error_of_the_protocol_keeps_its_code(open_client: OpenClient) -> None:
    async with open_client() as client:
        with pytest.raises(MCPError) as refused:
            await client.session.send_request(types.CompleteRequest.model_validate(COMPLETE), types.CompleteResult)
        assert refused.value.error.code == -32601
        with pytest.raises(MCPError) as refused:
            await client.read_resource("era://nowhere")
        assert refused.value.error.code == -32602


async def test_resources_and_prompts(open_client: OpenClient) -> None:
    async with open_client() as client:
        assert [str(row.uri) for row in (await client.list_resources()).resources] == ["era://note"]
        assert (await client.list_resource_templates()).resource_templates[0].uri_template == "era://notes/{number}"
        assert (await client.read_resource("era://note")).contents[0].text == "a note"
        assert [row.name for row in (await client.list_prompts()).prompts] == ["greet"]
        assert (await client.get_prompt("greet", {"name": "Ada"})).messages[0].content.text == "Greet Ada."


async def test_progress_arrives_before_the_result(open_client: OpenClient) -> None:
    told: list[tuple[float, float | None, str | None]] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        told.append((done, total, message))

    async with open_client() as client:
        result = await client.call_tool("count", {"to": 3}, progress_callback=progress)
    assert result.content[0].text == "counted to 3"
    assert told == [(1, 3, "1 of 3"), (2, 3, "2 of 3"), (3, 3, "3 of 3")]


async def test_a_cancelled_call_is_cancelled_upstream(open_client: OpenClient, era: EraServer) -> None:
    async with open_client() as client:
        with anyio.move_on_after(0.6):
            await client.call_tool("count", {"to": 100, "pause_seconds": 0.1})
        await wait_until(lambda: era.cancelled == ["count"])
        assert (await client.call_tool("echo", {"text": "still here"})).content[0].text == "still here"


@pytest.mark.parametrize("action", ["accept", "decline"])
async def test_the_user_is_asked(open_client: OpenClient, era: EraServer, action: str) -> None:
    asked: list[str] = []

    async def answer(_: Any, params: Any) -> ElicitResult:
        asked.append(params.message)
        return ElicitResult(action=action, content={"colour": "red"} if action == "accept" else None)

    async with open_client(elicitation_callback=answer) as client:
        result = await client.call_tool("paint", {"thing": "the door"})
    assert asked == ["Which colour?"]
    assert result.is_error is (action == "decline")
    if action == "accept":
        assert result.content[0].text == "the door is red"
        assert era.calls == ["paint the door"]


async def test_the_clients_model_and_roots_are_asked(open_client: OpenClient) -> None:
    async def sample(_: Any, params: Any) -> types.CreateMessageResult:
        assert params.messages[0].content.text == "a haiku"
        return types.CreateMessageResult(
            role="assistant", model="m", content=types.TextContent(type="text", text="moon")
        )

    async def roots(_: Any) -> types.ListRootsResult:
        return types.ListRootsResult(roots=[types.Root(uri="file:///home")])

    async with open_client(sampling_callback=sample, list_roots_callback=roots) as client:
        assert (await client.call_tool("write_haiku", {})).content[0].text == "moon"
        assert (await client.call_tool("roots", {})).content[0].text == "file:///home"


async def test_a_client_that_cannot_be_asked_learns_why(open_client: OpenClient, era: EraServer) -> None:
    async with open_client() as client:
        try:
            is_error = (await client.call_tool("paint", {"thing": "the door"})).is_error
        except MCPError as refused:
            is_error = refused.error.code in {-32021, -32600}
    assert is_error
    assert era.calls == []


async def test_changes_are_announced(open_client: OpenClient, pair: tuple[str, str]) -> None:
    heard: list[str] = []

    async def hear(message: Any) -> None:
        heard.append(type(message).__name__)

    async with open_client(message_handler=hear) as client:
        if pair[0] == MODERN:
            async with client.listen(tools_list_changed=True, resource_subscriptions=["era://note"]) as events:
                assert events.honored.tools_list_changed is True
                assert events.honored.resource_subscriptions == ["era://note"]
                await client.call_tool("change", {})
                with anyio.fail_after(5):
                    seen = {type(await anext(events)).__name__ for _ in range(2)}
            assert seen == {"ToolsListChanged", "ResourceUpdated"}
            return
        await client.session.subscribe_resource("era://note")
        await asyncio.sleep(0.5)
        await client.call_tool("change", {})
        await wait_until(lambda: {"ToolListChangedNotification", "ResourceUpdatedNotification"} <= set(heard))


async def test_log_messages_arrive_for_who_wants_them(open_client: OpenClient, pair: tuple[str, str]) -> None:
    logged: list[str] = []

    async def log(params: Any) -> None:
        logged.append(params.data)

    async with open_client(logging_callback=log, log_level="warning") as client:
        if pair[0] != MODERN:
            await client.session.set_logging_level("warning")
        await client.call_tool("talk", {})
        await asyncio.sleep(0.1)
    # The SDK's session server sends every message whatever the level: what agrees passes through as it is.
    assert logged in (["loud"], ["quiet", "loud"])
    assert logged == ["loud"] or pair[0] != MODERN


async def test_many_calls_at_once_do_not_mix(open_client: OpenClient) -> None:
    async with open_client() as client:
        results = await asyncio.gather(*(client.call_tool("echo", {"text": str(n)}) for n in range(30)))
    assert [result.content[0].text for result in results] == [str(n) for n in range(30)]


async def test_an_argument_is_repeated_in_its_header(open_client: OpenClient, era: EraServer, pair: Any) -> None:
    async with open_client() as client:
        await client.list_tools()
        assert (await client.call_tool("region", {"where": "zürich"})).content[0].text == "zürich"
    if pair[1] == MODERN:
        assert era.requests[-1]["mcp-param-region"].startswith("=?base64?")
    assert SSE in pair or era.revision == pair[1]
