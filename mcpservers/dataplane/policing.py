"""Refuse the call of a tool that its caller may not use, before anything of it goes upstream (D17, D18)."""

from mcp.shared.inbound import ERROR_CODE_HTTP_STATUS

from audit.redaction import redacted_name
from mcpservers.dataplane import jsonrpc, local, refusals
from mcpservers.dataplane.jsonrpc import Failure, Message, Reason
from mcpservers.dataplane.visit import Visit
from mcpservers.tool_policy.rules import Verdict

LONGEST_NAME = 128


async def refused(visit: Visit, message: Message) -> bool:
    """Answer a call that may not be made; False when it may. Raises Failure for a tool that is held for review.

    Who is not connected is asked for consent first: a held tool says so once they are.
    """
    policy, name = visit.plan.policy, message.name
    if policy is None or message.method != "tools/call" or name is None or local.is_connect_call(message, visit.plan):
        return False
    verdict = policy.verdict(name)
    if verdict is Verdict.ALLOWED or (verdict is Verdict.HELD and await _needs_consent(visit)):
        return False
    shown = redacted_name(name, LONGEST_NAME)
    await refusals.record(visit.caller, visit.plan.name, "mcp.tool_refused", tool=shown, why=verdict.value)
    if verdict is Verdict.HELD:
        text = f"The tool {shown} is new or has changed, and is held for review. Ask an admin of {visit.plan.name}."
        raise Failure(Reason.ToolHeldForReview, text, "held")
    await _answer_unknown(visit, message, shown)
    return True


async def _needs_consent(visit: Visit) -> bool:
    if visit.plan.mode != "user_oauth":
        return False
    try:
        await visit.credential()
    except Failure as failure:
        return failure.reason in jsonrpc.NEEDS_CONSENT
    return False


async def _answer_unknown(visit: Visit, message: Message, name: str) -> None:
    """Answer as for a tool that does not exist (MCP, Tools, "Error Handling")."""
    if not message.is_request:
        await visit.exchange.answer(202)
        return
    status = ERROR_CODE_HTTP_STATUS.get(jsonrpc.INVALID_PARAMS, 400) if message.is_modern else 200
    await visit.exchange.answer(status, jsonrpc.error(message.id, jsonrpc.INVALID_PARAMS, f"Unknown tool: {name}"))
