"""Make a request upstream, and once more where that is safe: after a renewed credential, or in a new session."""

from collections.abc import Awaitable, Callable

from mcp import MCPError

from mcpservers.dataplane import circuits, credentials, relay
from mcpservers.dataplane.bridging.call import Call, Json
from mcpservers.dataplane.bridging.connection import Connection
from mcpservers.dataplane.bridging.errors import Broken, SessionLost, Unauthorized
from mcpservers.dataplane.bridging.keeping import pool
from mcpservers.dataplane.bridging.pool import Greet
from mcpservers.dataplane.credentials import Credential
from mcpservers.dataplane.jsonrpc import Failure, Reason
from mcpservers.dataplane.routing import Caller, Plan

Perform = Callable[[Connection], Awaitable[Json]]
UNKNOWN = "The MCP server broke the connection off. Nothing is known of the call's effect."


async def attempted(
    call: Call, purpose: str, plan: Plan, caller: Caller, credential: Credential, greet: Greet, perform: Perform
) -> Json:
    """Return what `perform` does with the connection for `purpose`. Raises MCPError and Failure.

    A 401 and a lost session mean that the request was not executed: it is made again, once for each. A connection
    that breaks off tells nothing, so only what changes nothing is asked again (D20).
    """
    is_renewed = is_reopened = False
    while True:
        try:
            return await _once(purpose, plan, caller, credential, greet, perform)
        except Unauthorized:
            if is_renewed or not credentials.may_renew(plan, caller, credential):
                raise relay.rejected(plan) from None
            credential, is_renewed = await credentials.renew(plan, caller, credential), True
        except (SessionLost, Broken) as exc:
            may_repeat = isinstance(exc, SessionLost) or is_safe(call, plan)
            if is_reopened or not may_repeat or call.was_asked:
                raise Failure(Reason.UpstreamUnavailable, UNKNOWN, "interrupted") from None
            is_reopened = True


async def _once(
    purpose: str, plan: Plan, caller: Caller, credential: Credential, greet: Greet, perform: Perform
) -> Json:
    with circuits.guarding(plan.url) as circuit:
        try:
            async with pool().borrowed(purpose, plan, caller, credential, greet) as connection:
                result = await perform(connection)
        except (MCPError, Unauthorized, SessionLost):
            circuit.answered(200)
            raise
        circuit.answered(200)
        return result


def is_safe(call: Call, plan: Plan) -> bool:
    """Tell whether a request can be made twice: it only reads, or names a tool that says so of itself."""
    if call.method != "tools/call":
        return True
    named = next((tool for tool in plan.tools if tool.get("name") == call.params.get("name")), {})
    hints = named.get("annotations") or {}
    return bool(hints.get("readOnlyHint") or hints.get("idempotentHint"))
