"""A caller with a session (2025-03-26 to 2025-11-25) in front of an upstream that keeps none, or that speaks HTTP+SSE.

The session is the gateway's own, bound to user and server. What the upstream asks during a call goes out on the call's
stream, as it always has in these revisions; the client's answer comes with another POST.
"""

from mcp import MCPError
from mcp_types.jsonrpc import INVALID_REQUEST
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS

from mcpservers.dataplane import jsonrpc
from mcpservers.dataplane.bridging import shapes, talks
from mcpservers.dataplane.bridging.answering import Answering
from mcpservers.dataplane.bridging.attempts import attempted
from mcpservers.dataplane.bridging.call import Asked, Call, Ended
from mcpservers.dataplane.bridging.connection import Connection
from mcpservers.dataplane.bridging.errors import CannotBridge
from mcpservers.dataplane.bridging.far_sides import FarSide
from mcpservers.dataplane.bridging.keeping import pool
from mcpservers.dataplane.bridging.talks import Talk
from mcpservers.dataplane.consent_offer import META_KEY
from mcpservers.dataplane.credentials import Credential
from mcpservers.dataplane.jsonrpc import Message
from mcpservers.dataplane.sessions import Session, sessions
from mcpservers.dataplane.visit import SESSION_HEADER, Visit

PASSED_ON = frozenset({"notifications/roots/list_changed", "notifications/progress"})


async def serve(visit: Visit, message: Message, session: Session | None, credential: Credential, far: FarSide) -> None:
    """Serve one message of the session. Raises Failure."""
    if message.method == "initialize":
        await _initialize(visit, message, credential, far)
    elif session is None:
        error = jsonrpc.error(message.id, INVALID_REQUEST, "There is no session. Initialize first.")
        await visit.exchange.answer(400, error)
    elif unknown := _unknown_version(visit):
        error = jsonrpc.error(message.id, jsonrpc.UNSUPPORTED_VERSION, "Unsupported protocol version", unknown)
        await visit.exchange.answer(400, error)
    elif not message.method:
        talks.talk_of(session).take(message)
        await visit.exchange.answer(202)
    elif not message.has_id:
        await _notified(visit, message, talks.talk_of(session), credential, far)
        await visit.exchange.answer(202)
    else:
        await _request(visit, message, talks.talk_of(session), credential, far)


def _unknown_version(visit: Visit) -> dict[str, object] | None:
    """Return why the session cannot go on in the revision that the request names (2025-11-25, "Protocol Version")."""
    asked = visit.exchange.header("mcp-protocol-version")
    if not asked or asked in HANDSHAKE_PROTOCOL_VERSIONS:
        return None
    return {"supported": list(HANDSHAKE_PROTOCOL_VERSIONS), "requested": asked[:64]}


async def listen(visit: Visit, session: Session, credential: Credential, far: FarSide) -> None:
    """Serve the session's own stream (GET): what the upstream says and asks by itself. Raises Failure."""
    call, talk = Call("", {}), talks.talk_of(session)
    call.start(
        lambda own: attempted(
            own,
            talk.purpose,
            visit.plan,
            visit.caller,
            credential,
            far.greet(session.initialize_params),
            lambda connection: far.listen(connection, own, talk),
        )
    )
    answering = Answering(visit.exchange)
    try:
        await answering.stream()
        ended = await _follow(call, talk, answering, None)
        if ended.error is not None:
            raise ended.error
        await visit.exchange.write(b"", more=False)
    finally:
        await call.leave()


async def end(session: Session) -> None:
    """Let go of what a session that has ended holds upstream."""
    for call in talks.end(session):
        await call.leave()
    pool().end(talks.purpose_of(session))


async def _initialize(visit: Visit, message: Message, credential: Credential, far: FarSide) -> None:
    hello = message.params
    session = await sessions.create(
        visit.caller, visit.plan, hello, upstream_id="", upstream_protocol_version=far.upstream_version
    )

    async def perform(connection: Connection) -> dict[str, object]:
        return await far.initialized(connection, hello)

    purpose = talks.purpose_of(session)
    call = Call("initialize", hello)
    try:
        result = await attempted(call, purpose, visit.plan, visit.caller, credential, far.greet(hello), perform)
    except BaseException:
        await sessions.end(session)
        raise
    fields = [(SESSION_HEADER.encode(), session.id.encode())]
    await visit.exchange.answer(200, jsonrpc.result(message.id, result), fields)


async def _notified(visit: Visit, message: Message, talk: Talk, credential: Credential, far: FarSide) -> None:
    if message.method == "notifications/cancelled":
        call = talk.call_of(message.params.get("requestId"))
        if call is not None:
            await call.leave()
    elif message.method in PASSED_ON:
        greet = far.greet(talk.session.initialize_params)
        async with pool().borrowed(talk.purpose, visit.plan, visit.caller, credential, greet) as connection:
            await far.notify(connection, message.method, message.params)


async def _request(visit: Visit, message: Message, talk: Talk, credential: Credential, far: FarSide) -> None:
    answering = Answering(visit.exchange, [(SESSION_HEADER.encode(), talk.session.id.encode())])
    try:
        result = far.local(talk, message.method, message.params)
    except MCPError as refused:
        await answering.fail(message.id, refused, is_modern=False)
        return
    if result is not None:
        await answering.end(jsonrpc.result(message.id, result))
        return
    call = Call(message.method, message.params, visit.tracing())
    key = (type(message.id), message.id)
    if key in talk.calls:
        error = MCPError(code=INVALID_REQUEST, message="A request with this id is still under way.")
        await answering.fail(message.id, error, is_modern=False)
        return
    talk.calls[key] = call
    greet = far.greet(talk.session.initialize_params)
    call.start(
        lambda own: attempted(
            own,
            talk.purpose,
            visit.plan,
            visit.caller,
            credential,
            greet,
            lambda connection: far.perform(connection, own, talk),
        )
    )
    try:
        token = message.meta.get("progressToken")
        await _end(message, await _follow(call, talk, answering, token), answering)
    finally:
        talk.calls.pop(key, None)
        await call.leave()


async def _follow(call: Call, talk: Talk, answering: Answering, progress_token: object) -> Ended:
    """Pass on what happens, questions included, until the call has ended."""
    while True:
        happened = await answering.until_told(call, progress_token)
        if isinstance(happened, Ended):
            return happened
        if isinstance(happened, Asked):
            await _ask(happened, talk, answering)


async def _ask(asked: Asked, talk: Talk, answering: Answering) -> None:
    """Put a question to the client on the stream, or say at once why it cannot be put."""
    hello = talk.session.initialize_params
    declared, version = hello.get("capabilities"), shapes.version_of(hello)
    try:
        if not answering.can_stream or not shapes.is_declared(asked.method, asked.params, declared):
            raise CannotBridge(f"The MCP server needs {asked.method} from your client, which does not offer it.")
        params = shapes.question_for_session(asked.method, asked.params, version)
    except CannotBridge as exc:
        asked.answer.set_exception(exc)
        return
    question = {"jsonrpc": "2.0", "id": talk.put(asked), "method": asked.method}
    await answering.write({**question, "params": params} if params else question)


async def _end(message: Message, ended: Ended, answering: Answering) -> None:
    if ended.result is not None:
        await answering.end(jsonrpc.result(message.id, ended.result))
    elif isinstance(ended.error, CannotBridge) and message.method == "tools/call":
        text = {"content": [{"type": "text", "text": str(ended.error)}], "isError": True}
        await answering.end(jsonrpc.result(message.id, {**text, "_meta": {META_KEY: {"reason": "CannotBridge"}}}))
    elif isinstance(ended.error, ConnectionAbortedError):
        await answering.cancelled(message.id)
    elif ended.error is not None:
        await answering.fail(message.id, ended.error, is_modern=False)
