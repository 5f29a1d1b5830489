"""Serve a session's stream (GET) and its end (DELETE)."""

from mcpservers.dataplane import admission, elicitation, jsonrpc, listing, opening, relay, waiting
from mcpservers.dataplane.bridging import crossing
from mcpservers.dataplane.credentials import Credential
from mcpservers.dataplane.elicitation import EVENT_STREAM, KEEP_ALIVE, KEEP_ALIVE_SECONDS
from mcpservers.dataplane.jsonrpc import Failure
from mcpservers.dataplane.sessions import Session, sessions
from mcpservers.dataplane.visit import NO_MESSAGE, Visit


async def get(visit: Visit) -> None:
    """Serve what the server sends by itself; hold the stream while a client that can open links is not connected."""
    session = await visit.session()
    if session is None and visit.names_session():
        await visit.no_such_session(NO_MESSAGE)
        return
    try:
        if (turn := admission.of_user(visit, None)) is not None:
            await turn
        async with relay.until_caller_leaves(visit.exchange, visit.course):
            await _listen(listing.of_stream(visit), session)
    except Failure as failure:
        if failure.reason in jsonrpc.NEEDS_CONSENT and not visit.exchange.has_answered:
            text = "There is no stream to listen to until you are connected."
            await visit.exchange.refuse(405, "not_connected", text, [(b"allow", b"POST, DELETE")])
        else:
            await visit.fail(failure, NO_MESSAGE)


async def delete(visit: Visit) -> None:
    """End a session, at the upstream too if it was opened there."""
    session = await visit.session()
    if session is None and visit.names_session():
        await visit.no_such_session(NO_MESSAGE)
        return
    if session is not None:
        await sessions.end(session)
        await crossing.ended(session)
        if not session.upstream_id:
            await visit.exchange.answer(204)
            return
    try:
        visit.require_enabled()
        await _pass(visit, session, await visit.credential())
    except Failure as failure:
        await visit.fail(failure, NO_MESSAGE)


async def _listen(visit: Visit, session: Session | None) -> None:
    visit.require_enabled()
    try:
        credential = await visit.credential()
    except Failure as failure:
        if session is None or failure.reason not in jsonrpc.NEEDS_CONSENT or not elicitation.is_declared(session):
            raise
        credential = await _hold(visit, session)
    await _pass(visit, session, credential)


async def _hold(visit: Visit, session: Session) -> Credential:
    """Keep the stream open until the user has connected, then tell the client which questions are settled."""
    await visit.exchange.start(200, [EVENT_STREAM])
    while True:
        await visit.exchange.write(KEEP_ALIVE)
        try:
            credential = await waiting.until_connected(visit.plan, visit.caller, seconds=KEEP_ALIVE_SECONDS)
        except Failure as failure:
            if failure.reason not in jsonrpc.NEEDS_CONSENT:
                raise
            continue
        for settled in elicitation.completions(session):
            await visit.exchange.write(settled)
        return credential


async def _pass(visit: Visit, session: Session | None, credential: Credential) -> None:
    if (turn := admission.at_server(visit, credential)) is not None:
        await turn
    if visit.exchange.method == "GET" and await crossing.listened(visit, session, credential):
        return
    if session is not None:
        await opening.ensure_open(session, visit.plan, visit.caller, credential)
    is_listening = visit.exchange.method == "GET"
    call = relay.call_of(visit.exchange, visit.token, None, is_listening=is_listening, is_repeatable=True)
    async with relay.forwarded(call, visit.plan, visit.caller, session, credential) as answer:
        if session is not None and answer.status == 404:
            await sessions.end(session)
        await relay.pass_on(answer, visit.exchange, None)
