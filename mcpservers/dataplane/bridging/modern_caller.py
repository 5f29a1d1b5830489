"""A caller of 2026-07-28 in front of an upstream with sessions: each request stands alone here, and has one there.

The upstream session is opened with what the caller's request says of its client. What the upstream asks during a call
goes back as `InputRequiredResult`, while the call stays open (`open_rounds`).
"""

import hashlib
import json
from typing import Any

from mcp import MCPError
from mcp.shared.inbound import (
    InboundLadderRejection,
    classify_inbound_request,
    find_duplicated_routing_header,
    validate_mcp_param_headers,
)
from mcp_types import LOG_LEVEL_META_KEY
from mcp_types.jsonrpc import INVALID_REQUEST, METHOD_NOT_FOUND
from mcp_types.methods import CLIENT_REQUESTS, INPUT_REQUIRED_METHODS
from mcp_types.version import LATEST_MODERN_VERSION

from mcpservers.dataplane import jsonrpc
from mcpservers.dataplane.bridging import open_rounds, shapes, subscriptions
from mcpservers.dataplane.bridging.answering import Answering
from mcpservers.dataplane.bridging.attempts import attempted
from mcpservers.dataplane.bridging.call import Asked, Call, Ended, Json
from mcpservers.dataplane.bridging.connection import Connection
from mcpservers.dataplane.bridging.handshake import ensure_log_level, greeting
from mcpservers.dataplane.bridging.open_rounds import StateRefused
from mcpservers.dataplane.credentials import Credential
from mcpservers.dataplane.jsonrpc import Message
from mcpservers.dataplane.visit import Visit

REMOVED = {method for method, _ in CLIENT_REQUESTS} - {
    method for method, version in CLIENT_REQUESTS if version == LATEST_MODERN_VERSION
}


async def serve(visit: Visit, message: Message, credential: Credential) -> None:
    """Answer one request. Raises Failure."""
    answering = Answering(visit.exchange)
    if not message.is_request:
        await visit.exchange.answer(202)
    elif refused := _refusal(visit, message):
        error = MCPError(code=refused.code, message=refused.message, data=refused.data)
        await answering.fail(message.id, error, is_modern=True)
    elif message.method == "subscriptions/listen":
        await subscriptions.serve(visit, message, credential, purpose_of(message), greeting(_hello(message)))
    else:
        await _serve_call(visit, message, credential, answering)


async def _serve_call(visit: Visit, message: Message, credential: Credential, answering: Answering) -> None:
    try:
        call = open_rounds.resumed(message, visit.plan, visit.caller)
    except StateRefused as exc:
        await answering.end(jsonrpc.error(message.id, jsonrpc.INVALID_PARAMS, str(exc)), 400)
        return
    if call is None:
        call = _begin(visit, message, credential)
    is_left_open = False
    try:
        is_left_open = await _answer(visit, message, call, answering)
    finally:
        if not is_left_open:
            await call.leave()


async def _answer(visit: Visit, message: Message, call: Call, answering: Answering) -> bool:
    """Follow the call to its end; True when it waits for the caller's answers instead."""
    token = message.meta.get("progressToken")
    while True:
        happened = await answering.until_told(call, token)
        if isinstance(happened, Asked):
            questions = [asked for asked in [happened, *call.more_questions()] if _may_ask(asked, message)]
            if questions:
                result = open_rounds.offer(call, questions, message, visit.plan, visit.caller)
                await answering.end(jsonrpc.result(message.id, result))
                return True
        elif isinstance(happened, Ended) and happened.result is not None:
            result = shapes.result_for_modern(message.method, happened.result)
            await answering.end(jsonrpc.result(message.id, result))
            return False
        elif isinstance(happened, Ended) and happened.error is not None:
            await answering.fail(message.id, happened.error, is_modern=True)
            return False


def _may_ask(asked: Asked, message: Message) -> bool:
    """Tell whether this client can be asked this now; if not, tell the upstream so."""
    declared = _hello(message)["capabilities"]
    if message.method in INPUT_REQUIRED_METHODS and shapes.is_declared(asked.method, asked.params, declared):
        return True
    text = f"{asked.method} is not supported by the client during {message.method}"
    asked.answer.set_exception(MCPError(code=INVALID_REQUEST, message=text))
    return False


def _begin(visit: Visit, message: Message, credential: Credential) -> Call:
    call = Call(message.method, message.params, visit.tracing())
    hello, level = _hello(message), message.meta.get(LOG_LEVEL_META_KEY)
    call.log_level = level if isinstance(level, str) else ""

    async def perform(connection: Connection) -> Json:
        if message.method == "server/discover":
            return shapes.discovered(connection.initialized)
        await ensure_log_level(connection, call.log_level or "")
        params = shapes.params_for_session(message.params, call.token)
        return await connection.request(call, message.method, params or None)

    purpose = purpose_of(message)
    call.start(lambda own: attempted(own, purpose, visit.plan, visit.caller, credential, greeting(hello), perform))
    return call


def _hello(message: Message) -> Json:
    return shapes.hello_of(message.meta)


def purpose_of(message: Message) -> str:
    """Return what sets an upstream session apart: clients that declare different things do not share one."""
    hello = json.dumps(_hello(message), sort_keys=True)
    return f"client:{hashlib.sha256(hello.encode()).hexdigest()}"


def _refusal(visit: Visit, message: Message) -> InboundLadderRejection | None:
    """Return why the gateway, which is the server here, refuses the request (Streamable HTTP, "Server Validation")."""
    raw = [(key.decode("latin-1"), value.decode("latin-1")) for key, value in visit.exchange.raw_headers]
    if twice := find_duplicated_routing_header(raw):
        return InboundLadderRejection(jsonrpc.HEADER_MISMATCH, f"{twice} header appears more than once")
    verdict = classify_inbound_request({"method": message.method, "params": message.params}, headers=dict(raw))
    if isinstance(verdict, InboundLadderRejection):
        return verdict
    if message.method in REMOVED:
        return InboundLadderRejection(METHOD_NOT_FOUND, "Method not found", message.method)
    return _param_mismatch(visit, message, dict(raw))


def _param_mismatch(visit: Visit, message: Message, fields: dict[str, str]) -> InboundLadderRejection | None:
    arguments: Any = message.params.get("arguments") or {}
    tool = next((tool for tool in visit.plan.tools if tool.get("name") == message.name), None)
    if message.method != "tools/call" or tool is None or not isinstance(arguments, dict):
        return None
    return validate_mcp_param_headers(tool.get("inputSchema"), arguments, fields)
