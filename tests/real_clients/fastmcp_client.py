"""The client of fastmcp, driven by lines of JSON: `python fastmcp_client.py MODE DECLARED URL`.

MODE is legacy, auto or a revision to insist on, DECLARED what it is told to handle: nothing or links. The token comes
in MCP_TOKEN. Asked to open a link it tells the link and answers with MCP_ANSWER, accept if there is none.
"""

import asyncio
import json
import os
import sys
from typing import Any

from fastmcp import Client
from fastmcp.client.elicitation import ElicitResult
from fastmcp.client.transports import StreamableHttpTransport
from mcp import MCPError

MODE, DECLARED, URL = sys.argv[1:]


def say(**event: Any) -> None:
    """Write one event as one line."""
    print(json.dumps(event), flush=True)


async def open_link(message: str, response_type: Any, params: Any, context: Any) -> ElicitResult[Any]:
    """Tell the link that the user would be shown."""
    say(event="link", url=params.url, message=message)
    return ElicitResult(action=os.environ.get("MCP_ANSWER", "accept"))


async def do(client: Client[Any], command: dict[str, Any]) -> None:
    """List the tools or call one."""
    try:
        if command["do"] == "tools":
            say(event="tools", names=[tool.name for tool in await client.list_tools()])
        else:
            result = await client.call_tool(command["tool"], {}, raise_on_error=False)
            text = " ".join(block.text for block in result.content)
            say(event="tool error" if result.is_error else "result", text=text)
    except MCPError as error:
        say(event="error", code=error.code, message=error.message, data=error.data)


async def main() -> None:
    """Connect, then obey every line until there are no more."""
    transport = StreamableHttpTransport(URL, headers={"Authorization": f"Bearer {os.environ['MCP_TOKEN']}"})
    handling = {"elicitation_handler": open_link} if DECLARED == "links" else {}
    async with Client(transport, mode=MODE, **handling) as client, asyncio.TaskGroup() as group:
        say(event="connected", revision=client.session.protocol_version)
        while line := await asyncio.to_thread(sys.stdin.readline):
            group.create_task(do(client, json.loads(line)))


asyncio.run(main())
