"""An agent: the official MCP client, connected for as long as the walk lasts."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import httpx2
from anyio import create_task_group
from anyio.from_thread import BlockingPortal
from mcp import Client, MCPError
from mcp.client.client import ConnectMode
from mcp.client.streamable_http import streamable_http_client
from mcp_types import TextContent

TIMEOUT_SECONDS = 40


class Agent:
    """A connected client, for code that is not asynchronous."""

    def __init__(self, portal: BlockingPortal, client: Client) -> None:
        self._portal = portal
        self._client = client

    @property
    def revision(self) -> str:
        """The protocol revision that client and gateway agreed on."""
        return self._client.protocol_version

    def tools(self) -> list[str]:
        """Name the tools that are offered now."""
        return [tool.name for tool in self._portal.call(self._client.list_tools).tools]

    def call(self, tool: str) -> str:
        """Call a tool and return its words. Raises MCPError when the answer is an error."""
        return self._portal.call(self._call, tool)

    def call_at_once(self, tool: str, times: int) -> list[str]:
        """Make the same call several times at the same moment. Raises when one of them fails."""
        return self._portal.call(self._call_at_once, tool, times)

    def refusal(self, tool: str) -> MCPError | None:
        """Call a tool and return the error that came, None when there was none."""
        try:
            self.call(tool)
        except MCPError as error:
            return error
        return None

    async def _call(self, tool: str) -> str:
        result = await self._client.call_tool(tool, {})
        return " ".join(block.text for block in result.content if isinstance(block, TextContent))

    async def _call_at_once(self, tool: str, times: int) -> list[str]:
        answers: list[str] = []

        async def call() -> None:
            answers.append(await self._call(tool))

        async with create_task_group() as group:
            for _ in range(times):
                group.start_soon(call)
        return answers


@contextmanager
def connected(portal: BlockingPortal, url: str, token: str, mode: ConnectMode) -> Iterator[Agent]:
    """Connect to an MCP endpoint with a gateway token; `mode` as of `mcp.Client`."""
    leaving: BaseException | None = None
    with portal.wrap_async_context_manager(_client(url, token, mode)) as client:
        try:
            yield Agent(portal, client)
        except (KeyboardInterrupt, SystemExit) as exc:
            # Handed to the client's event loop it would end the loop, and with it every other agent.
            leaving = exc
    if leaving is not None:
        raise leaving


@asynccontextmanager
async def _client(url: str, token: str, mode: ConnectMode) -> AsyncIterator[Client]:
    async with (
        httpx2.AsyncClient(
            headers={"Authorization": f"Bearer {token}"}, trust_env=False, timeout=TIMEOUT_SECONDS
        ) as http,
        Client(
            streamable_http_client(url, http_client=http), mode=mode, cache=None, read_timeout_seconds=TIMEOUT_SECONDS
        ) as client,
    ):
        yield client
