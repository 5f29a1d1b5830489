"""What a server tells one user is shared with nobody (MCP 2026-07-28, "Caching": `cacheScope`).

An upstream that calls its lists public knows nothing of the users whose tokens the gateway brings: to a caller, the
answers of a `user_oauth` server are private. What says so already passes untouched. The upstream is asked not to
compress these answers, and one that does so all the same is not passed on: nobody could tell what it says.
"""

from dataclasses import replace
from typing import Any

from mcp_types.methods import CACHEABLE_METHODS

from mcpservers.dataplane import headers
from mcpservers.dataplane.exchange import Exchange
from mcpservers.dataplane.jsonrpc import Failure, Message, Reason
from mcpservers.dataplane.opening import read_response
from mcpservers.dataplane.relay import Call
from mcpservers.dataplane.routing import Plan
from mcpservers.dataplane.upstream import Answer, Interrupted

MAX_ANSWER_BYTES = 16 * 1024 * 1024


def is_due(message: Message, plan: Plan) -> bool:
    """Tell whether the answer to this may be called public and must not be."""
    return message.is_modern and message.method in CACHEABLE_METHODS and plan.mode == "user_oauth"


def uncompressed(call: Call) -> Call:
    """Return the call as one that asks for an answer that can be read."""
    others = [field for field in call.headers if field[0] != b"accept-encoding"]
    return replace(call, headers=[*others, (b"accept-encoding", b"identity")])


async def pass_on(answer: Answer, exchange: Exchange, message: Message) -> None:
    """Send the answer, private. Raises Failure when there is no whole one, or none that can be read."""
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        text = "The MCP server compressed an answer although it was asked not to."
        raise Failure(Reason.UpstreamUnavailable, text, "encoded")
    try:
        body = await answer.read(MAX_ANSWER_BYTES)
    except Interrupted:
        text = "The MCP server's answer broke off."
        raise Failure(Reason.UpstreamUnavailable, text, "interrupted") from None
    response: dict[str, Any] = {}
    if b'"public"' in body:
        response = read_response(body, answer.headers.get("Content-Type", ""), message.id)
    result = response.get("result")
    if isinstance(result, dict) and result.get("cacheScope") == "public":
        await exchange.answer(200, {**response, "result": {**result, "cacheScope": "private"}})
        return
    await exchange.start(200, headers.to_caller(answer.raw_headers))
    await exchange.write(body, more=False)
