"""Serve a POST of a caller who may use the server: resolve the credential, then forward, answer or offer consent."""

from django.conf import settings

from mcpservers.dataplane import (
    admission,
    elicitation,
    input_required,
    jsonrpc,
    ladder,
    listing,
    local,
    measured,
    opening,
    policing,
    privacy,
    relay,
    waiting,
)
from mcpservers.dataplane.admission import LISTENING
from mcpservers.dataplane.bridging import crossing
from mcpservers.dataplane.credentials import Credential
from mcpservers.dataplane.exchange import BodyTooLarge
from mcpservers.dataplane.input_required import ForeignState
from mcpservers.dataplane.jsonrpc import Failure, MalformedMessage, Message
from mcpservers.dataplane.protocol import header_mismatch
from mcpservers.dataplane.sessions import Session, sessions
from mcpservers.dataplane.visit import SESSION_HEADER, Visit

# What may be sent again when a kept connection turns out to be closed (D21): it only reads.
WITHOUT_EFFECT = frozenset(
    {
        "ping",
        "server/discover",
        "tools/list",
        "prompts/list",
        "prompts/get",
        "resources/list",
        "resources/read",
        "resources/templates/list",
        "completion/complete",
    }
)

# What a client says of itself is kept with its session, in the database and in memory.
MAX_HELLO_BYTES = 64 * 1024


async def post(visit: Visit) -> None:
    """Serve one JSON-RPC message."""
    message_and_body = await _read(visit)
    if message_and_body is None:
        return
    message, body = message_and_body
    try:
        if (turn := admission.of_user(visit, message)) is not None:
            await turn
        async with relay.until_caller_leaves(visit.exchange, visit.course):
            seen = listing.of_request(visit, message)
            await _serve(seen, message, body)
            listing.require_whole(seen)
    except Failure as failure:
        await visit.fail(failure, message)


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
        if visit.caller.is_browser:
            text = "The message holds your session of this gateway. It was not sent on; sign out to end it."
        await exchange.answer(400, jsonrpc.error(message.id, jsonrpc.INVALID_REQUEST, text))
        return None
    measured.message(message, len(body))
    if message.method == "initialize" and len(body) > MAX_HELLO_BYTES:
        text = f"An initialize request may have {MAX_HELLO_BYTES:,} bytes: the gateway remembers it with the session."
        await exchange.answer(413, jsonrpc.error(message.id, jsonrpc.INVALID_REQUEST, text))
        return None
    if mismatch := header_mismatch(message, exchange):
        await exchange.answer(400, jsonrpc.error(message.id, jsonrpc.HEADER_MISMATCH, mismatch))
        return None
    return message, body


async def _serve(visit: Visit, message: Message, body: bytes) -> None:
    visit.require_enabled()
    session = None
    if not message.is_modern and message.method != "initialize":
        session = await visit.session()
        if session is None and visit.names_session():
            await visit.no_such_session(message)
            return
    if session is not None and not message.method and elicitation.answered(session, message.id, message.answer):
        await visit.exchange.answer(202)
        return
    if "requestState" in message.params and visit.plan.mode == "user_oauth":
        await _serve_retry(visit, message, body)
        return
    await _call(visit, message, body, session)


async def _serve_retry(visit: Visit, message: Message, body: bytes) -> None:
    """Serve a call that comes back after our own question, held until the consent is there; or the upstream's round."""
    try:
        retry = input_required.retry_of(message, visit.plan, visit.caller)
    except ForeignState:
        text = "This requestState is not one for this call, or it has expired. Make the call again without it."
        await visit.exchange.answer(400, jsonrpc.error(message.id, jsonrpc.INVALID_PARAMS, text))
        return
    if retry is None:
        await _call(visit, message, body, None)
        return
    if not retry.is_declined:
        seconds = settings.AIGW_CONSENT_WAIT_SECONDS
        try:
            await waiting.until_connected(visit.plan, visit.caller, seconds=seconds)
        except Failure as failure:
            await ladder.offer(visit, retry.message, None, failure, asked=retry.asked)
            return
    await _call(visit, retry.message, retry.message.encoded(), None, may_offer=not retry.is_declined)


async def _call(
    visit: Visit, message: Message, body: bytes, session: Session | None, *, may_offer: bool = True
) -> None:
    if await policing.refused(visit, message):
        return
    try:
        credential = await visit.credential()
    except Failure as failure:
        if not await _answered_here(visit, message, session, failure):
            if not may_offer:
                raise
            offered = await ladder.offer(visit, message, session, failure)
            # A tool that is held stays so: while there was no consent, that came first.
            if offered is not None and not await policing.refused(visit, message):
                await _forward(visit, message, body, session, offered)
        return
    if local.is_connect_call(message, visit.plan):
        answer = local.already_connected(message, visit.plan)
        await visit.exchange.answer(200, jsonrpc.result(message.id, answer))
        return
    await _forward(visit, message, body, session, credential)


async def _forward(
    visit: Visit, message: Message, body: bytes, session: Session | None, credential: Credential
) -> None:
    if (turn := admission.at_server(visit, credential)) is not None:
        await turn
    if await crossing.crossed(visit, message, session, credential):
        return
    if session is not None:
        await opening.ensure_open(session, visit.plan, visit.caller, credential)
    call = relay.call_of(
        visit.exchange,
        visit.token,
        body,
        is_listening=message.method in LISTENING,
        is_repeatable=message.method in WITHOUT_EFFECT,
    )
    is_private = privacy.is_due(message, visit.plan)
    if is_private:
        call = privacy.uncompressed(call)
    async with relay.forwarded(call, visit.plan, visit.caller, session, credential) as answer:
        if crossing.may_be_refusal(message, visit, answer):
            await crossing.crossed_after(visit, message, credential, answer)
            return
        if message.method == "initialize" and not message.is_modern and answer.status == 200:
            session = await _adopt(visit, message, answer.headers.get(SESSION_HEADER, ""))
        if session is not None and answer.status == 404:
            await sessions.end(session)
        if is_private and answer.status == 200:
            await privacy.pass_on(answer, visit.exchange, message)
            return
        await relay.pass_on(answer, visit.exchange, session.id if session is not None else None)


async def _adopt(visit: Visit, message: Message, upstream_id: str) -> Session | None:
    """Give the caller an id of ours for the session that the upstream has just begun.

    Where the upstream keeps none there is none either, except that a server which may ask for consent needs one:
    what the client declared at `initialize` decides how it is asked.
    """
    if not upstream_id and visit.plan.mode != "user_oauth":
        return None
    return await sessions.create(visit.caller, visit.plan, message.params, upstream_id=upstream_id)


async def _answered_here(visit: Visit, message: Message, session: Session | None, failure: Failure) -> bool:
    """Answer what can be answered from the cache while the user is not connected (contract §6)."""
    if failure.reason not in jsonrpc.NEEDS_CONSENT:
        raise failure
    if not message.is_request:
        await visit.exchange.answer(202)
        return True
    if unknown := local.unsupported_version(message, visit.plan, visit.exchange.header("mcp-protocol-version")):
        error = jsonrpc.error(message.id, jsonrpc.UNSUPPORTED_VERSION, "Unsupported protocol version", unknown)
        await visit.exchange.answer(400, error)
        return True
    if not local.can_answer(message, visit.plan):
        return False
    result = await local.answer(message, visit.plan, visit.caller, failure)
    if message.method == "initialize":
        version = result["protocolVersion"]
        session = await sessions.create(visit.caller, visit.plan, message.params, protocol_version=version)
    fields = [(SESSION_HEADER.encode(), session.id.encode())] if session is not None else []
    await visit.exchange.answer(200, jsonrpc.result(message.id, result), fields)
    return True
