"""What a server behind the inspector offers and answers: one of everything, friendly and hostile."""

import base64
import json
from typing import Any

from tests.fakes.mcp_server import FakeMcpServer, Request

EVIL = '<img src=x onerror="window.broken=1"><script>window.broken=1</script>'
DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
BIG = 10_000_000
RICH: dict[str, Any] = {
    "type": "object",
    "properties": {
        "title": {"type": "string", "description": "What it is called", "minLength": 3, "pattern": "^[A-Z]"},
        "count": {"type": "integer", "minimum": 1, "maximum": 9, "default": 3},
        "loud": {"type": "boolean"},
        "level": {"enum": ["low", "high"], "description": "How much"},
        "due": {"type": "string", "format": "date"},
        "secret": {"type": "string", "format": "password"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "place": {
            "type": "object",
            "description": "Where it is",
            "properties": {"city": {"type": "string"}, "zip": {"anyOf": [{"type": "string"}, {"type": "null"}]}},
            "required": ["city"],
        },
        "by": {
            "oneOf": [
                {"title": "By name", "type": "string"},
                {"title": "By number", "type": "object", "properties": {"number": {"type": "integer"}}},
            ]
        },
    },
    "required": ["title"],
    "additionalProperties": False,
}
PEOPLE = [{"name": f"Person {n}", "age": n, "note": EVIL if n == 1 else "fine"} for n in range(1, 4)]
BARE: dict[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}
# Each refers to itself, twenty times over: through properties, through alternatives, and as "a value or nothing".
NODE = {"type": "object", "properties": {f"n{n}": {"$ref": "#/$defs/node"} for n in range(20)}}
EITHER = {"oneOf": [{"$ref": "#/$defs/either"}] * 20}
MAYBE = {"anyOf": [{"$ref": "#/$defs/maybe"}, {"type": "null"}]}
# No script can make a text or a number of it.
UNREADABLE = {"toString": 1, "valueOf": 1}
HOSTILE: dict[str, Any] = {
    "properties": {
        "node": {"$ref": "#/$defs/node"},
        "either": {"$ref": "#/$defs/either"},
        "maybe": {"$ref": "#/$defs/maybe"},
        "__proto__": {"type": "string"},
        "slow": {"type": "string", "pattern": "^(a+)+$"},
        "broken": {"type": 7, "enum": "x", "properties": [], "required": {}, "description": {}, "pattern": "("},
        "odd": {"type": "string", "format": "constructor", "maxLength": UNREADABLE},
        "whole": {"type": "integer", "minimum": UNREADABLE, "default": UNREADABLE},
        "far": {"$ref": "#/" + "/" * 100_000},
        **{f"p{n}": {"type": "string"} for n in range(2000)},
    },
    "$defs": {"node": NODE, "either": EITHER, "maybe": MAYBE},
}
TOOLS: list[dict[str, Any]] = [
    {"name": "rich", "title": "Takes everything", "description": "Gives back what it got.", "inputSchema": RICH},
    {"name": "slow", "description": "Counts, and never ends.", "inputSchema": BARE},
    {"name": "people", "inputSchema": BARE, "outputSchema": {"type": "object", "properties": {"people": {}}}},
    {"name": "picture", "inputSchema": BARE},
    {"name": "big", "inputSchema": BARE},
    {"name": "hostile", "inputSchema": HOSTILE},
    {"name": "deep", "inputSchema": BARE},
    {"name": "wrong", "description": "Refuses its arguments.", "inputSchema": BARE},
    {"name": EVIL, "title": EVIL, "description": EVIL, "inputSchema": {"properties": {EVIL: {"enum": [EVIL]}}}},
    {"name": "n" * 65_536, "description": "d" * 65_536, "inputSchema": BARE},
]
PROMPT = {"name": "greet", "arguments": [{"name": "who", "required": True}]}
LISTS: dict[str, dict[str, Any]] = {
    "tools/list": {"tools": TOOLS},
    "prompts/list": {"prompts": [PROMPT]},
    "resources/list": {"resources": [{"uri": "note://one", "name": "The note"}]},
    "resources/templates/list": {"resourceTemplates": [{"uriTemplate": "note://{number}", "name": "A note"}]},
    "server/discover": {
        "supportedVersions": ["2026-07-28"],
        "capabilities": {"tools": {}, "prompts": {}, "resources": {}},
        "serverInfo": {"name": "showcase", "version": "1"},
    },
}


def showcase() -> FakeMcpServer:
    """Return the server, of 2026-07-28."""
    server = FakeMcpServer()
    server.behave = _behave
    return server


async def _behave(request: Request, wire: Any) -> None:
    message = request.message
    method, params = message.get("method", ""), message.get("params", {})
    if method == "tools/call" and params["name"] == "slow":
        await _count(wire, params["_meta"].get("progressToken"))
        return
    if method == "tools/call" and params["name"] == "deep":
        nested = b'{"jsonrpc":"2.0","id":%d,"result":{"content":[],"structuredContent":{"a":%b}}}'
        await wire(200, nested % (message["id"], b"[" * 100_000 + b"]" * 100_000))
        return
    if method == "tools/call" and params["name"] == "wrong":
        error = {"code": -32602, "message": f"title: too short {EVIL}"}
        await wire(200, {"jsonrpc": "2.0", "id": message["id"], "error": error})
        return
    result = {"resultType": "complete", **_said(method, params)}
    if method.endswith(("/list", "/discover")):
        result |= {"ttlMs": 0, "cacheScope": "private"}
    await wire(200, {"jsonrpc": "2.0", "id": message["id"], "result": result})


async def _count(wire: Any, token: Any) -> None:
    await wire.start()
    for done in (1, 2):
        told = {"progressToken": token, "progress": done, "total": 4, "message": f"{done} of 4 {EVIL}"}
        event = {"jsonrpc": "2.0", "method": "notifications/progress", "params": told}
        await wire.piece(b"data: " + json.dumps(event).encode() + b"\r\n\r\n")
    await wire.until_left()


def _said(method: str, params: dict[str, Any]) -> dict[str, Any]:
    if method in LISTS:
        return LISTS[method]
    if method == "resources/read":
        return {"contents": [{"uri": params["uri"], "text": f"the note of {params['uri']}"}]}
    if method == "prompts/get":
        text = f"Greet {params['arguments']['who']}."
        return {"messages": [{"role": "user", "content": {"type": "text", "text": text}}]}
    return _called(params["name"], params.get("arguments", {}))


def _called(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    if name == "people":
        return {"content": [{"type": "text", "text": "see the table"}], "structuredContent": {"people": PEOPLE}}
    if name == "picture":
        svg = base64.b64encode(f"<svg xmlns='http://www.w3.org/2000/svg'>{EVIL}</svg>".encode()).decode()
        pictures = [("image/png", DOT), ("image/svg+xml", svg), ("image/png", 'x" onerror="window.broken=1')]
        return {"content": [{"type": "image", "mimeType": kind, "data": data} for kind, data in pictures]}
    if name == "big":
        return {"content": [{"type": "text", "text": "x" * BIG}]}
    if name == EVIL:
        return {"content": [{"type": "text", "text": EVIL}, {"type": EVIL, "link": "javascript:window.broken=1"}]}
    return {"content": [{"type": "text", "text": json.dumps(arguments)}], "structuredContent": arguments}
