"""Serve a POST, GET or DELETE of a caller who may use the server: resolve the credential, then forward or answer."""

from dataclasses import dataclass, field

from mcpservers.dataplane import consent_offer, credentials, jsonrpc, local, opening, relay
from mcpservers.dataplane.credentials import Credential
from mcpservers.dataplane.exchange import BodyTooLarge, Exchange
from mcpservers.dataplane.jsonrpc import Failure, MalformedMessage, Message, Reason
from mcpservers.dataplane.protocol import header_mismatch
from mcpservers.dataplane.routing import Caller, Plan
from mcpservers.dataplane.sessions import Session, sessions

SESSION_HEADER = "mcp-session-id"
LISTENING = frozenset({"subscriptions/listen"})
NO_MESSAGE = Message(method="", id=None, has_id=True, params={})


@dataclass(frozen=True, slots=True)
class Visit:
    """A request that may be served: whose it is, to which server, and the token it came with."""

    exchange: Exchange
    plan: Plan
    caller: Caller
    token: str = field(repr=False)


async def post(visit: Visit) -> None:
    """Serve one JSON-RPC message."""
    message_and_body = await _read(visit)
    if message_and_body is None:
        return
    message, body = message_and_body
    try:
        async with relay.until_caller_leaves(visit.exchange):
            await _serve(visit, message, body)
    except Failure as failure:
        await _fail(visit, failure, message)


async def get(visit: Visit) -> None:
    """Serve the stream of a session's messages from the server; 405 while there is nothing to listen to."""
    session = _session(visit)
    if session is None and visit.exchange.header(SESSION_HEADER):
        await _no_such_session(visit, NO_MESSAGE)
        return
    try:
        async with relay.until_caller_leaves(visit.exchange):
            await _without_body(visit, session)
    except Failure as failure:
        if failure.reason in jsonrpc.NEEDS_CONSENT:
            text = "There is no stream to listen to until you are connected."
            await visit.exchange.refuse(405, "not_connected", text, [(b"allow", b"POST, DELETE")])
        else:
            await _fail(visit, failure, NO_MESSAGE)


async def delete(visit: Visit) -> None:
    """End a session, at the upstream too if it was opened there."""
    session = _session(visit)
    if session is None and visit.exchange.header(SESSION_HEADER):
        await _no_such_session(visit, NO_MESSAGE)
        return
    if session is not None:
        sessions.end(session)
        if not session.is_open:
            await visit.exchange.answer(204)
            return
    try:
        await _without_body(visit, session)
    except Failure as failure:
        await _fail(visit, failure, NO_MESSAGE)


async def _read(visit: Visit) -> tuple[Message, bytes] | None:
    """Return the message and its bytes; None when it was refused, and why was answered."""
    exchange = visit.exchange
    try:
        body = await exchange.body()
        message = jsonrpc.read(body)
    except BodyTooLarge:
        error = jsonrpc.error(None, jsonrpc.INVALID_REQUEST, "The message is larger than this gateway forwards.")
        await exchange.answer(413, error, [(b"connection", b"close")])
        return None
    except MalformedMessage as exc:
        await exchange.answer(400, jsonrpc.error(exc.id, exc.code, exc.message))
        return None
    if visit.token and visit.token.encode() in body:
        text = "The message holds your gateway token. It was not sent on; revoke the token if a model has seen it."
        await exchange.answer(400, jsonrpc.error(message.id, jsonrpc.INVALID_REQUEST, text))
        return None
    if mismatch := header_mismatch(message, exchange):
        await exchange.answer(400, jsonrpc.error(message.id, jsonrpc.HEADER_MISMATCH, mismatch))
        return None
    return message, body


async def _serve(visit: Visit, message: Message, body: bytes) -> None:
    plan = visit.plan
    if not plan.enabled:
        raise _disabled(plan)
    session = None
    if not message.is_modern and message.method != "initialize":
        session = _session(visit)
        if session is None and visit.exchange.header(SESSION_HEADER):
            await _no_such_session(visit, message)
            return
    try:
        credential = await credentials.resolve(plan, visit.caller)
    except Failure as failure:
        await _without_credential(visit, message, session, failure)
        return
    if plan.mode == "user_oauth" and local.is_connect_call(message, plan):
        await visit.exchange.answer(200, jsonrpc.result(message.id, local.already_connected(message, plan)))
        return
    await _forward(visit, message, body, session, credential)


async def _forward(
    visit: Visit, message: Message, body: bytes, session: Session | None, credential: Credential
) -> None:
    if session is not None:
        await opening.ensure_open(session, visit.plan, visit.caller, credential)
    call = relay.call_of(visit.exchange, visit.token, body, is_listening=message.method in LISTENING)
    async with relay.forwarded(call, visit.plan, visit.caller, session, credential) as answer:
        if message.method == "initialize" and not message.is_modern and answer.status == 200:
            session = _adopt(visit, message, answer.headers.get(SESSION_HEADER, ""))
        if session is not None and answer.status == 404:
            sessions.end(session)
        await relay.pass_on(answer, visit.exchange, session.id if session is not None else None)


def _adopt(visit: Visit, message: Message, upstream_id: str) -> Session | None:
    """Give the caller an id of ours for the session that the upstream has just begun; none where it keeps none."""
    if not upstream_id:
        return None
    session = sessions.create(visit.caller, visit.plan, message.params)
    session.upstream_id = upstream_id
    return session


async def _without_credential(visit: Visit, message: Message, session: Session | None, failure: Failure) -> None:
    """Answer what can be answered from the cache; offer consent for the rest (contract §6, "not connected")."""
    if failure.reason not in jsonrpc.NEEDS_CONSENT:
        raise failure
    if not message.is_request:
        await visit.exchange.answer(202)
        return
    if not local.can_answer(message, visit.plan):
        raise failure
    result = await local.answer(message, visit.plan, visit.caller, failure)
    if message.method == "initialize":
        session = sessions.create(visit.caller, visit.plan, message.params)
        session.protocol_version = result["protocolVersion"]
    fields = [(SESSION_HEADER.encode(), session.id.encode())] if session is not None else []
    await visit.exchange.answer(200, jsonrpc.result(message.id, result), fields)


async def _without_body(visit: Visit, session: Session | None) -> None:
    plan, caller, exchange = visit.plan, visit.caller, visit.exchange
    if not plan.enabled:
        raise _disabled(plan)
    credential = await credentials.resolve(plan, caller)
    if session is not None:
        await opening.ensure_open(session, plan, caller, credential)
    call = relay.call_of(exchange, visit.token, None, is_listening=exchange.method == "GET")
    async with relay.forwarded(call, plan, caller, session, credential) as answer:
        if session is not None and answer.status == 404:
            sessions.end(session)
        await relay.pass_on(answer, exchange, None)


def _session(visit: Visit) -> Session | None:
    id = visit.exchange.header(SESSION_HEADER)
    return sessions.find(id, visit.caller, visit.plan) if id else None


async def _fail(visit: Visit, failure: Failure, message: Message) -> None:
    if visit.exchange.has_answered:
        return
    if not message.has_id:
        await visit.exchange.answer(202)
        return
    body = await consent_offer.render(failure, message, visit.plan, visit.caller)
    await visit.exchange.answer(failure.http_status, body)


async def _no_such_session(visit: Visit, message: Message) -> None:
    text = "There is no such session. Initialize again."
    await visit.exchange.answer(404, jsonrpc.error(message.id, jsonrpc.SESSION_NOT_FOUND, text))


def _disabled(plan: Plan) -> Failure:
    return Failure(Reason.ServerDisabled, f"The MCP server {plan.name} is disabled.")
