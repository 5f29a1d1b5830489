"""What the gateway answers itself while a user is not connected: from what discovery last saw (contract §6)."""

from typing import Any

from mcp_types import PROTOCOL_VERSION_META_KEY
from mcp_types.version import (
    HANDSHAKE_PROTOCOL_VERSIONS,
    KNOWN_PROTOCOL_VERSIONS,
    LATEST_HANDSHAKE_VERSION,
    LATEST_MODERN_VERSION,
)

from mcpservers.dataplane import consent_offer
from mcpservers.dataplane.jsonrpc import Failure, Message
from mcpservers.dataplane.routing import Caller, Plan

CONNECT_TOOL = "connect_account"
# A list may change with the first connection and is one user's: kept for no time, shared with nobody.
NOT_CACHED = {"ttlMs": 0, "cacheScope": "private"}
LISTS = {
    "tools/list": "tools",
    "prompts/list": "prompts",
    "resources/list": "resources",
    "resources/templates/list": "resourceTemplates",
}
ANSWERED = frozenset({"initialize", "server/discover", "ping", *LISTS})


def can_answer(message: Message, plan: Plan) -> bool:
    """Tell whether the gateway has an answer of its own to this request."""
    return message.method in ANSWERED or is_connect_call(message, plan)


def unsupported_version(message: Message, plan: Plan, header: str) -> dict[str, Any] | None:
    """Return the data of `UnsupportedProtocolVersion` when nobody knows the revision that a request is made in."""
    asked = message.params["_meta"][PROTOCOL_VERSION_META_KEY] if message.is_modern else header
    supported = _supported(plan)
    if not asked or message.method == "initialize" or asked in (*supported, *KNOWN_PROTOCOL_VERSIONS):
        return None
    return {"supported": supported, "requested": str(asked)[:64]}


def is_connect_call(message: Message, plan: Plan) -> bool:
    """Tell whether this calls the gateway's own tool, which is offered while nothing was ever cached."""
    if plan.mode != "user_oauth" or message.method != "tools/call" or message.name != CONNECT_TOOL:
        return False
    return not any(tool.get("name") == CONNECT_TOOL for tool in plan.tools)


async def answer(message: Message, plan: Plan, caller: Caller, failure: Failure) -> dict[str, Any]:
    """Return the result of a request for which `can_answer` holds; `failure` says why the user is not connected."""
    match message.method:
        case "initialize":
            return initialize(message, plan)
        case "server/discover":
            return _discover(plan)
        case "ping":
            return {"resultType": "complete"} if message.is_modern else {}
        case "tools/call":
            return await _connect(message, plan, caller, failure)
    key = LISTS[message.method]
    rows = _tools(plan) if key == "tools" else plan.capabilities.get(key, [])
    return {key: rows, **({"resultType": "complete", **NOT_CACHED} if message.is_modern else {})}


def initialize(message: Message, plan: Plan) -> dict[str, Any]:
    """Return the `initialize` result that the server gave last, or the least that lets a client go on."""
    asked = message.params.get("protocolVersion")
    version = asked if asked in _handshake_versions(plan) else plan.capabilities.get("protocol_version")
    if version not in HANDSHAKE_PROTOCOL_VERSIONS:
        version = LATEST_HANDSHAKE_VERSION
    return {
        "protocolVersion": version,
        "capabilities": _capabilities(plan),
        "serverInfo": plan.capabilities.get("server_info") or {"name": plan.name, "version": "0"},
        "instructions": _instructions(plan),
    }


def _discover(plan: Plan) -> dict[str, Any]:
    return {
        "resultType": "complete",
        "supportedVersions": _supported(plan),
        "capabilities": _capabilities(plan),
        "instructions": _instructions(plan),
        **NOT_CACHED,
    }


def _supported(plan: Plan) -> list[str]:
    """Return what a caller may speak: what the server does, and 2026-07-28, from which the gateway bridges."""
    seen: list[str] | None = plan.capabilities.get("supported_versions")
    return sorted({*seen, LATEST_MODERN_VERSION}) if seen else list(KNOWN_PROTOCOL_VERSIONS)


def _handshake_versions(plan: Plan) -> list[str]:
    seen = plan.capabilities.get("supported_versions", [])
    # A server's discover answer may leave out what it speaks after `initialize`.
    return [version for version in seen if version in HANDSHAKE_PROTOCOL_VERSIONS] or [*HANDSHAKE_PROTOCOL_VERSIONS]


def _capabilities(plan: Plan) -> dict[str, Any]:
    seen: dict[str, Any] | None = plan.capabilities.get("capabilities")
    return {"tools": {"listChanged": True}} if seen is None else seen


def _instructions(plan: Plan) -> str:
    own = f"The user has not connected their {plan.provider_label} account yet: a call answers with a link to open."
    return "\n\n".join(text for text in (plan.capabilities.get("instructions"), own) if text)


def _tools(plan: Plan) -> list[dict[str, Any]]:
    if plan.capabilities:
        return plan.tools
    tool = {
        "name": CONNECT_TOOL,
        "title": f"Connect {plan.provider_label}",
        "description": f"Get the link at which the user connects their {plan.provider_label} account to {plan.name}. "
        "The server's own tools are listed once they have.",
        "inputSchema": {"type": "object", "properties": {}, "additionalProperties": False},
        "annotations": {"readOnlyHint": True},
    }
    return [tool]


def already_connected(message: Message, plan: Plan) -> dict[str, Any]:
    """Return what the gateway's own tool says to somebody who has connected meanwhile."""
    text = f"Your {plan.provider_label} account is connected. List the tools again to see what {plan.name} offers."
    value: dict[str, Any] = {"content": [{"type": "text", "text": text}], "isError": False}
    return {"resultType": "complete", **value} if message.is_modern else value


async def _connect(message: Message, plan: Plan, caller: Caller, failure: Failure) -> dict[str, Any]:
    link = await consent_offer.authorize_url(plan, caller)
    text = f"Open this link in a browser to connect your {plan.provider_label} account: {link}"
    data = consent_offer.error_data(failure, plan, link)
    return consent_offer.tool_text(text, data, is_error=False, is_modern=message.is_modern)
