"""Turn what one revision of MCP says into what the other understands. Pure: no I/O, and nothing of who calls.

Objects pass as they are, unknown members included; only what the revisions spell differently is changed.
"""

import uuid
from typing import Any

from mcp_types import (
    CLIENT_CAPABILITIES_META_KEY,
    CLIENT_INFO_META_KEY,
    LOG_LEVEL_META_KEY,
    PROTOCOL_VERSION_META_KEY,
    SERVER_INFO_META_KEY,
)
from mcp_types.methods import CACHEABLE_METHODS
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, LATEST_HANDSHAKE_VERSION, LATEST_MODERN_VERSION

from mcpservers.dataplane.bridging.call import Json
from mcpservers.dataplane.bridging.errors import CannotBridge

ENVELOPE = (PROTOCOL_VERSION_META_KEY, CLIENT_INFO_META_KEY, CLIENT_CAPABILITIES_META_KEY, LOG_LEVEL_META_KEY)
ROUND = ("requestState", "inputResponses")
ASKABLE = ("elicitation", "roots", "sampling")
CAPABILITY = {"elicitation/create": "elicitation", "sampling/createMessage": "sampling", "roots/list": "roots"}
NOBODY = {"name": "aigateway", "version": "1"}
# What a list holds is decided per user: shared with nobody. The upstream says nothing of its age.
NOT_CACHED = {"ttlMs": 0, "cacheScope": "private"}
MODERN_ONLY = ("resultType", "ttlMs", "cacheScope")
URL_MODE_SINCE = "2025-11-25"


def hello_of(meta: Json) -> Json:
    """Return the `initialize` parameters of a client that says in each request what it is (2026-07-28)."""
    declared = meta.get(CLIENT_CAPABILITIES_META_KEY)
    declared = declared if isinstance(declared, dict) else {}
    return {
        "protocolVersion": LATEST_HANDSHAKE_VERSION,
        "capabilities": {name: declared[name] for name in ASKABLE if isinstance(declared.get(name), dict)},
        "clientInfo": meta.get(CLIENT_INFO_META_KEY) or NOBODY,
    }


def envelope_of(hello: Json, log_level: str) -> Json:
    """Return the `_meta` members that a request of 2026-07-28 needs, from a session's `initialize` parameters."""
    declared = hello.get("capabilities")
    declared = declared if isinstance(declared, dict) else {}
    envelope: Json = {
        PROTOCOL_VERSION_META_KEY: LATEST_MODERN_VERSION,
        CLIENT_INFO_META_KEY: hello.get("clientInfo") or NOBODY,
        CLIENT_CAPABILITIES_META_KEY: {name: declared[name] for name in ASKABLE if name in declared},
    }
    return envelope | ({LOG_LEVEL_META_KEY: log_level} if log_level else {})


def meta_of(params: Json) -> Json:
    """Return the `_meta` of a message; {} also for what is no object."""
    meta = params.get("_meta")
    return meta if isinstance(meta, dict) else {}


def without_odd_meta(params: Json) -> Json:
    """Return the parameters without a `_meta` that is no object, which nobody can read."""
    return params if isinstance(params.get("_meta", {}), dict) else {k: v for k, v in params.items() if k != "_meta"}


def params_for_session(params: Json, progress_token: str) -> Json:
    """Return the parameters without what only 2026-07-28 knows; progress, where asked for, under our own token."""
    kept = {name: value for name, value in params.items() if name not in {"_meta", *ROUND}}
    return kept | _meta(params, {}, progress_token)


def params_for_modern(params: Json, envelope: Json, progress_token: str) -> Json:
    """Return a session's parameters as those of a request that stands alone."""
    kept = {name: value for name, value in params.items() if name != "_meta"}
    return kept | _meta(params, envelope, progress_token)


def _meta(params: Json, envelope: Json, progress_token: str) -> Json:
    kept = {name: value for name, value in meta_of(params).items() if name not in ENVELOPE} | envelope
    if "progressToken" in kept:
        kept["progressToken"] = progress_token
    return {"_meta": kept} if kept else {}


def result_for_modern(method: str, result: Json) -> Json:
    """Return a session's result as one of 2026-07-28."""
    return {**result, "resultType": "complete", **(NOT_CACHED if method in CACHEABLE_METHODS else {})}


def result_for_session(method: str, result: Json) -> Json:
    """Return a 2026-07-28 result as one for a session.

    There, structured content and its schema are objects: of another kind only the text remains.
    """
    kept = {name: value for name, value in result.items() if name not in MODERN_ONLY}
    if method == "tools/call" and not isinstance(kept.get("structuredContent", {}), dict):
        del kept["structuredContent"]
    if method == "tools/list" and isinstance(kept.get("tools"), list):
        kept["tools"] = [_tool_for_session(tool) for tool in kept["tools"]]
    return kept


def _tool_for_session(tool: Any) -> Any:
    schema = tool.get("outputSchema") if isinstance(tool, dict) else None
    if isinstance(schema, dict) and schema.get("type") == "object":
        return tool
    return {name: value for name, value in tool.items() if name != "outputSchema"} if isinstance(tool, dict) else tool


def discovered(initialized: Json) -> Json:
    """Return what `server/discover` says of a server that said this at `initialize`."""
    capabilities = initialized.get("capabilities") or {}
    server_info = initialized.get("serverInfo")
    return {
        "resultType": "complete",
        "supportedVersions": [LATEST_MODERN_VERSION, initialized.get("protocolVersion")],
        "capabilities": {name: value for name, value in capabilities.items() if name != "tasks"},
        **({"instructions": initialized["instructions"]} if initialized.get("instructions") else {}),
        **({"_meta": {SERVER_INFO_META_KEY: server_info}} if server_info else {}),
        **NOT_CACHED,
    }


def version_of(hello: Json) -> str:
    """Return the revision in which the gateway answers a client that said `hello`: its own, if it is one."""
    asked = hello.get("protocolVersion")
    return asked if asked in HANDSHAKE_PROTOCOL_VERSIONS else LATEST_HANDSHAKE_VERSION


def initialized(found: Json, hello: Json, name: str) -> Json:
    """Return what `initialize` says of a server that said this to `server/discover`."""
    capabilities = found.get("capabilities") or {}
    meta = meta_of(found)
    return {
        "protocolVersion": version_of(hello),
        "capabilities": {key: value for key, value in capabilities.items() if key != "extensions"},
        "serverInfo": meta.get(SERVER_INFO_META_KEY) or {"name": name, "version": "0"},
        **({"instructions": found["instructions"]} if found.get("instructions") else {}),
    }


def is_declared(method: str, params: Json, capabilities: Any) -> bool:
    """Tell whether a client that declared `capabilities` may be asked this."""
    own = capabilities.get(CAPABILITY.get(method, "")) if isinstance(capabilities, dict) else None
    if not isinstance(own, dict):
        return False
    if method != "elicitation/create":
        return True
    # An empty object is what clients of 2025-06-18 declare: forms.
    return "url" in own if params.get("mode") == "url" else "form" in own or not own


def question_for_modern(method: str, params: Json) -> Json:
    """Return a session server's question as one of `inputRequests`."""
    kept = {name: value for name, value in params.items() if name not in {"_meta", "task", "elicitationId"}}
    if method == "elicitation/create":
        kept.setdefault("mode", "form")
    return {"method": method, **({"params": kept} if kept else {})}


def question_for_session(method: str, params: Json, version: str) -> Json:
    """Return the parameters of one of `inputRequests` as a session client knows them. Raises CannotBridge."""
    if method != "elicitation/create":
        return params
    knows_modes = version >= URL_MODE_SINCE
    if params.get("mode") == "url":
        if not knows_modes:
            raise CannotBridge(f"It asks to open a link, which clients of MCP {version} cannot be asked.")
        return {**params, "elicitationId": str(uuid.uuid4())}
    return params if knows_modes else {name: value for name, value in params.items() if name != "mode"}
