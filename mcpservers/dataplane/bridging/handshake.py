"""Open a session at an upstream of 2024-11-05 to 2025-11-25 with a client's own `initialize` parameters."""

import contextlib

from mcp import MCPError
from mcp_types import InitializeResult
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from pydantic import ValidationError

from mcpservers.dataplane.bridging import agreement, log_levels, shapes
from mcpservers.dataplane.bridging.call import Call, Json
from mcpservers.dataplane.bridging.connection import Connection
from mcpservers.dataplane.bridging.errors import Broken, SessionLost
from mcpservers.dataplane.bridging.pool import Greet
from mcpservers.dataplane.jsonrpc import Failure, Reason


def greeting(hello: Json) -> Greet:
    """Return what initializes a new connection with `hello`. It raises Failure and Unauthorized."""

    own = shapes.without_odd_meta(hello)

    async def greet(connection: Connection) -> None:
        try:
            result = await connection.request(Call("initialize", own), "initialize", own)
        except MCPError as exc:
            raise _refused(f"error_{exc.code}") from None
        except (Broken, SessionLost):
            raise _refused("no_answer") from None
        version = result.get("protocolVersion")
        if version not in HANDSHAKE_PROTOCOL_VERSIONS:
            raise _refused("unknown_revision")
        if not _is_sound(result):
            raise _refused("invalid_answer")
        connection.version, connection.initialized = version, result
        if connection.plan.transport != "sse" and agreement.spoken(connection.plan).modern is None:
            agreement.learn(connection.plan, modern=False)
        await connection.notify("notifications/initialized", None)

    return greet


def _is_sound(result: Json) -> bool:
    try:
        InitializeResult.model_validate(result)
    except ValidationError:
        return False
    return True


async def ensure_log_level(connection: Connection, level: str) -> None:
    """Have the session send the log messages that a request asks for; the most talkative level so far stays."""
    can_log = "logging" in (connection.initialized.get("capabilities") or {})
    if not can_log or level not in log_levels.LEVELS or not log_levels.is_lower(level, connection.log_level):
        return
    connection.log_level, params = level, {"level": level}
    with contextlib.suppress(MCPError):
        await connection.request(Call("logging/setLevel", params), "logging/setLevel", params)


async def no_greeting(_: Connection) -> None:
    """Leave a new connection as it is: 2026-07-28 has no sessions."""


def _refused(detail: str) -> Failure:
    return Failure(Reason.UpstreamUnavailable, "The MCP server did not accept the session.", detail)
