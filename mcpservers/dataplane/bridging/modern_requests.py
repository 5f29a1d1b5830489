"""Requests of 2026-07-28 on behalf of a session: headers that repeat the body, the upstream's questions answered."""

import asyncio
import contextlib
from typing import Any

from mcp import MCPError
from mcp.shared.inbound import (
    MCP_METHOD_HEADER,
    MCP_NAME_HEADER,
    MCP_PROTOCOL_VERSION_HEADER,
    NAME_BEARING_METHODS,
    encode_header_value,
    find_invalid_x_mcp_header,
    mcp_param_headers,
    x_mcp_header_map,
)
from mcp_types.jsonrpc import HEADER_MISMATCH
from mcp_types.methods import is_input_required
from mcp_types.version import LATEST_MODERN_VERSION

from mcpservers.dataplane.bridging import shapes
from mcpservers.dataplane.bridging.call import Call, Json
from mcpservers.dataplane.bridging.connection import Connection
from mcpservers.dataplane.bridging.errors import CannotBridge
from mcpservers.dataplane.jsonrpc import Failure, Reason

MAX_ROUNDS = 10
MAX_PAGES = 50
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.05, 0.25


async def request(connection: Connection, call: Call, params: Json) -> Json:
    """Make the request, and again with the caller's answers while the upstream asks. Raises CannotBridge too."""
    pause = FIRST_PAUSE_SECONDS
    for _ in range(MAX_ROUNDS):
        result = await _with_headers(connection, call, params)
        if not is_input_required(result):
            return result
        if not result.get("inputRequests"):
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        params = {name: value for name, value in params.items() if name not in shapes.ROUND} | await _round(
            call, result
        )
    raise CannotBridge("The MCP server asks for input again and again.")


async def _round(call: Call, result: Json) -> Json:
    """Put the upstream's questions to the caller, all at once, and return what its next round needs."""
    asked: dict[str, Any] = result.get("inputRequests") or {}
    if not isinstance(asked, dict) or not all(map(_is_question, asked.values())):
        text = "The MCP server asks for input in a form that cannot be read."
        raise Failure(Reason.UpstreamUnavailable, text, "invalid_answer")
    answers = await asyncio.gather(*(call.ask(one["method"], one.get("params") or {}) for one in asked.values()))
    state = {"requestState": result["requestState"]} if "requestState" in result else {}
    return state | ({"inputResponses": dict(zip(asked, answers, strict=True))} if asked else {})


def _is_question(asked: Any) -> bool:
    is_object = isinstance(asked, dict) and isinstance(asked.get("method"), str)
    return is_object and isinstance(asked.get("params"), dict | None)


async def _with_headers(connection: Connection, call: Call, params: Json) -> Json:
    """Make one request; where it lacks what a tool's schema wants repeated in headers, read the schema and repeat."""
    schema = next((tool.get("inputSchema") for tool in connection.plan.tools if _is_named(tool, params)), None)
    try:
        return await connection.request(call, call.method, params, headers_of(call.method, params, schema))
    except MCPError as exc:
        if exc.error.code != HEADER_MISMATCH or call.method != "tools/call":
            raise
    schema = await _schema(connection, params)
    return await connection.request(call, call.method, params, headers_of(call.method, params, schema))


async def _schema(connection: Connection, params: Json) -> Any:
    listing: Json = {"_meta": params["_meta"]}
    for _ in range(MAX_PAGES):
        page = await connection.request(
            Call("tools/list", listing), "tools/list", listing, headers_of("tools/list", {})
        )
        tools = page.get("tools")
        for tool in tools if isinstance(tools, list) else ():
            if _is_named(tool, params):
                return tool.get("inputSchema")
        if not page.get("nextCursor"):
            break
        listing = {**listing, "cursor": page["nextCursor"]}
    return None


def _is_named(tool: Any, params: Json) -> bool:
    return isinstance(tool, dict) and "name" in params and tool.get("name") == params["name"]


def headers_of(method: str, params: Json, input_schema: Any = None) -> dict[str, str]:
    """Return the headers that repeat the body (Streamable HTTP, "Standard Request Headers" and "Custom Headers")."""
    headers = {MCP_PROTOCOL_VERSION_HEADER: LATEST_MODERN_VERSION, MCP_METHOD_HEADER: method}
    name = params.get(NAME_BEARING_METHODS.get(method, ""))
    if isinstance(name, str):
        headers[MCP_NAME_HEADER] = encode_header_value(name)
    arguments = params.get("arguments")
    if isinstance(arguments, dict) and input_schema is not None and not find_invalid_x_mcp_header(input_schema):
        headers |= mcp_param_headers(x_mcp_header_map(input_schema), arguments)
    return headers


async def discover(connection: Connection, envelope: Json) -> Json:
    """Return what the upstream says of itself. Raises MCPError, Failure, Unauthorized."""
    params = {"_meta": envelope}
    method = "server/discover"
    return await connection.request(Call(method, params), method, params, headers_of(method, params))


async def listen(connection: Connection, call: Call, filter: Json, envelope: Json) -> None:
    """Listen until the upstream ends it; what it announces goes to the connection's listeners."""
    params = {"notifications": filter, "_meta": envelope}
    method = "subscriptions/listen"
    with contextlib.suppress(MCPError):
        await connection.request(call, method, params, headers_of(method, params))
