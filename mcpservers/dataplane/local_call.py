"""The gateway's own call of a tool for a signed-in user, by the same path that agents take.

The API and, later, the inspector use it: same permission, credential, consent, limits and audit.
"""

import asyncio
import json
import re
from typing import Any
from urllib.parse import urlsplit

from asgiref.sync import async_to_sync
from django.conf import settings
from django.contrib.auth.models import User
from mcp.shared.inbound import encode_header_value, find_invalid_x_mcp_header, mcp_param_headers, x_mcp_header_map
from mcp_types import CLIENT_CAPABILITIES_META_KEY, CLIENT_INFO_META_KEY, PROTOCOL_VERSION_META_KEY
from mcp_types.version import LATEST_HANDSHAKE_VERSION, LATEST_MODERN_VERSION

from mcpservers.dataplane import lifespan, passthrough
from mcpservers.dataplane.app import PREFIX, application
from mcpservers.dataplane.exchange import CallerGone
from mcpservers.dataplane.opening import read_response
from mcpservers.dataplane.routing import Caller
from mcpservers.models import MCPServer

CLIENT = {"name": "aigateway", "version": "1"}
CALL_ID = "aigateway-call"
# The answer is held in memory, where a stream to a client would pass through.
MAX_ANSWER_BYTES = 16 * 1024 * 1024
TOO_LARGE = f"The answer is larger than {MAX_ANSWER_BYTES // 1024 // 1024} MB. It was not read to its end."
HALF_A_PAIR = "A text among the arguments holds half of a surrogate pair. Nothing was sent."
TOO_DEEP = "The arguments are nested too deeply. Nothing was sent."
NO_NUMBER = "A number among the arguments is larger than JSON has them. Nothing was sent."
# Nobody who reads or writes the answer after us gets near the limit of recursion.
MAX_DEPTH = 500
ANSWER_TOO_DEEP = "The answer is nested too deeply to be passed on."
_ESCAPED_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class CallRefused(Exception):
    """The data plane answered with no JSON-RPC response: `status` and, if it said so, `code` and `detail`."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail


def call_tool(
    user: User, server_name: str, tool: str, arguments: dict[str, Any], own_credential: str | None = None
) -> dict[str, Any]:
    """Call a tool as `user` and return the JSON-RPC response: `result` or `error`, verbatim. Raises CallRefused.

    `own_credential` is the caller's for the upstream, as it came in `X-Upstream-Authorization`.
    """
    return async_to_sync(_call_tool)(user, server_name, tool, arguments, own_credential)


async def _call_tool(
    user: User, server_name: str, tool: str, arguments: dict[str, Any], own_credential: str | None
) -> dict[str, Any]:
    door = _Door(Caller(user.pk, user.get_username()), server_name, own_credential)
    try:
        return await _exchange(door, server_name, tool, arguments)
    finally:
        await lifespan.stop_unless_kept()


async def _exchange(door: "_Door", server_name: str, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    params: dict[str, Any] = {"name": tool, "arguments": arguments}
    try:
        json.dumps(params, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        raise CallRefused(400, "invalid", HALF_A_PAIR) from None
    except RecursionError:
        raise CallRefused(400, "invalid", TOO_DEEP) from None
    except ValueError:
        raise CallRefused(400, "invalid", NO_NUMBER) from None
    server = await MCPServer.objects.filter(name=server_name).only("capabilities", "tools").afirst()
    if server and LATEST_MODERN_VERSION in server.capabilities.get("supported_versions", []):
        return await door.modern("tools/call", params, _routing_headers(server, tool, arguments))
    return await door.with_session("tools/call", params)


def _routing_headers(server: MCPServer, tool: str, arguments: dict[str, Any]) -> dict[str, str]:
    schema = next((row.get("inputSchema") for row in server.tools if row.get("name") == tool), None)
    declared = {} if find_invalid_x_mcp_header(schema) else x_mcp_header_map(schema)
    repeated = {name.lower(): value for name, value in mcp_param_headers(declared, arguments).items()}
    return {"mcp-name": encode_header_value(tool), **repeated}


class _Door:
    """In-process requests to the data plane for a caller whom we know already."""

    def __init__(self, caller: Caller, server_name: str, own_credential: str | None) -> None:
        self._caller, self._path = caller, PREFIX + server_name
        self._own = {} if own_credential is None else {passthrough.NAME.lower(): own_credential}

    async def modern(self, method: str, params: dict[str, Any], routing: dict[str, str]) -> dict[str, Any]:
        """Make a request of 2026-07-28: no session, and headers that repeat what it names."""
        meta = {
            PROTOCOL_VERSION_META_KEY: LATEST_MODERN_VERSION,
            CLIENT_INFO_META_KEY: CLIENT,
            CLIENT_CAPABILITIES_META_KEY: {},
        }
        fields = {"mcp-protocol-version": LATEST_MODERN_VERSION, "mcp-method": method, **routing}
        return (await self._request(method, {**params, "_meta": meta}, fields))[0]

    async def with_session(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Make a request in a session that lasts as long as the request."""
        hello = {"protocolVersion": LATEST_HANDSHAKE_VERSION, "capabilities": {}, "clientInfo": CLIENT}
        answer, id = await self._request("initialize", hello, {})
        if "error" in answer:
            return answer
        version = answer.get("result", {}).get("protocolVersion", LATEST_HANDSHAKE_VERSION)
        fields = {"mcp-protocol-version": version, **({"mcp-session-id": id} if id else {})}
        await self._send("POST", {"jsonrpc": "2.0", "method": "notifications/initialized"}, fields)
        try:
            return (await self._request(method, params, fields))[0]
        finally:
            if id:
                await self._send("DELETE", None, fields)

    async def _request(self, method: str, params: dict[str, Any], fields: dict[str, str]) -> tuple[dict[str, Any], str]:
        message = {"jsonrpc": "2.0", "id": CALL_ID, "method": method, "params": params}
        status, headers, body = await self._send("POST", message, fields)
        response = read_response(body, headers.get("content-type", ""), CALL_ID)
        if not response:
            raise _refusal(status, body)
        if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _is_deep(response):
            raise CallRefused(502, "answer_too_deep", ANSWER_TOO_DEEP)
        if _ESCAPED_SURROGATE.search(body):
            response = _encodable(response)
        return response, headers.get("mcp-session-id", "")

    async def _send(
        self, method: str, message: dict[str, Any] | None, fields: dict[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        body = b"" if message is None else json.dumps(message).encode()
        sent = {
            "host": urlsplit(settings.AIGW_BASE_URL).netloc,
            "content-type": "application/json",
            **self._own,
            **fields,
        }
        sent["accept"] = "application/json, text/event-stream"
        scope = {
            "type": "http",
            "method": method,
            "path": self._path,
            "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
            "aigateway.caller": self._caller,
        }
        collected = _Collected(body)
        await application(scope, collected.receive, collected.send)
        if collected.is_cut:
            raise CallRefused(502, "answer_too_large", TOO_LARGE)
        return collected.status, collected.headers, bytes(collected.body)


class _Collected:
    """Both ends of an in-process request: gives the body once, then stays; keeps the answer."""

    def __init__(self, body: bytes) -> None:
        self.is_cut = False
        self.status, self.headers, self.body = 0, dict[str, str](), bytearray()
        self._request: bytes | None = body
        self._never = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        if self._request is None:
            await self._never.wait()
        body, self._request = self._request, None
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, event: Any) -> None:
        if event["type"] == "http.response.start":
            self.status = event["status"]
            self.headers = {key.decode(): value.decode("latin-1") for key, value in event["headers"]}
            return
        if len(self.body) + len(event["body"]) > MAX_ANSWER_BYTES:
            self.is_cut = True
            raise CallerGone  # as a client that hangs up: nothing more is read of the upstream
        self.body += event["body"]


def _is_deep(response: dict[str, Any]) -> bool:
    level: list[Any] = [response]
    for _ in range(MAX_DEPTH):
        below = (each.values() if isinstance(each, dict) else each for each in level)
        level = [child for children in below for child in children if isinstance(child, dict | list)]
        if not level:
            return False
    return True


def _encodable(response: dict[str, Any]) -> dict[str, Any]:
    """Return a response with U+FFFD for each half of a surrogate pair: no page and no answer could hold it."""
    text = json.dumps(response, ensure_ascii=False)
    replaced: dict[str, Any] = json.loads(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    return replaced


def _refusal(status: int, body: bytes) -> CallRefused:
    try:
        error = json.loads(body)["errors"][0]
        return CallRefused(status, error["code"], error["detail"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return CallRefused(status, "no_answer", "The MCP server gave no answer to the call.")
