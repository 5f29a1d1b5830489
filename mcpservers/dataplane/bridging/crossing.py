"""The bridge's one door: take a request over if caller and upstream would not understand each other (contract §6)."""

from typing import Any

from mcp import MCPError
from mcp_types import DiscoverResult
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from mcpservers.dataplane import headers, opening
from mcpservers.dataplane.bridging import (
    agreement,
    modern_caller,
    modern_requests,
    session_caller,
    shapes,
)
from mcpservers.dataplane.bridging.agreement import Way
from mcpservers.dataplane.bridging.attempts import attempted
from mcpservers.dataplane.bridging.call import Call
from mcpservers.dataplane.bridging.connection import Connection
from mcpservers.dataplane.bridging.far_sides import FarSide, ModernSide, SseSide
from mcpservers.dataplane.bridging.handshake import no_greeting
from mcpservers.dataplane.bridging.keeping import pool
from mcpservers.dataplane.credentials import Credential
from mcpservers.dataplane.jsonrpc import Failure, Message
from mcpservers.dataplane.sessions import Session
from mcpservers.dataplane.upstream import Answer, Interrupted
from mcpservers.dataplane.visit import NO_MESSAGE, Visit

# What a server says to a request of a revision that it does not know; never after it has executed anything.
REFUSALS = frozenset({400, 404, 405, 406, 415, 501})
MAX_ANSWER_BYTES = 1_000_000
FAR_SIDES: dict[Way, FarSide] = {Way.SESSION_TO_MODERN: ModernSide(), Way.SESSION_TO_SSE: SseSide()}


async def crossed(visit: Visit, message: Message, session: Session | None, credential: Credential) -> bool:
    """Serve the request across the bridge; False, at once, when it passes through. Raises Failure."""
    way = agreement.way(message, session, visit.plan)
    if way is Way.PASS and session is not None and not session.is_open:
        way = await _way_of_new_session(visit, session, credential)
    if way is Way.PASS:
        return False
    await _cross(way, visit, message, session, credential)
    return True


def may_be_refusal(message: Message, visit: Visit, answer: Answer) -> bool:
    """Tell whether the answer to a request that passed may mean that the upstream does not know its revision."""
    if answer.status not in REFUSALS and (message.method != "server/discover" or answer.status != 200):
        return False
    if message.is_modern:
        return agreement.spoken(visit.plan).modern is None
    return message.method == "initialize" and agreement.spoken(visit.plan).sessions is None


async def crossed_after(visit: Visit, message: Message, credential: Credential, answer: Answer) -> None:
    """Serve a request whose answer `may_be_refusal`: across the bridge if it is one, else with that answer."""
    try:
        body = await answer.read(MAX_ANSWER_BYTES)
    except Interrupted:
        body = b""
    if message.is_modern:
        is_modern = _is_discovery(body, answer, message) or await _speaks_modern(visit, credential)
        if is_modern:  # a refusal proves nothing yet: it may be of the caller's credential
            agreement.learn(visit.plan, modern=True)
        way = Way.PASS if is_modern else Way.MODERN_TO_SESSION
    else:
        is_modern = await _speaks_modern(visit, credential)
        if is_modern:
            agreement.learn(visit.plan, modern=True, sessions=False)
        way = Way.SESSION_TO_MODERN if is_modern else Way.PASS
    if way is Way.PASS:
        await visit.exchange.start(answer.status, headers.to_caller(answer.raw_headers))
        await visit.exchange.write(body, more=False)
    else:
        await _cross(way, visit, message, None, credential)


async def listened(visit: Visit, session: Session | None, credential: Credential) -> bool:
    """Serve a session's stream across the bridge; False when it passes through. Raises Failure."""
    way = agreement.way(NO_MESSAGE, session, visit.plan)
    if way is Way.PASS or session is None:
        return False
    await session_caller.listen(visit, session, credential, FAR_SIDES[way])
    return True


async def ended(session: Session) -> None:
    """Let go of what a session that has ended holds at its upstream."""
    await session_caller.end(session)


async def _cross(way: Way, visit: Visit, message: Message, session: Session | None, credential: Credential) -> None:
    if way is Way.MODERN_TO_SESSION:
        await modern_caller.serve(visit, message, credential)
    else:
        await session_caller.serve(visit, message, session, credential, FAR_SIDES[way])


async def _way_of_new_session(visit: Visit, session: Session, credential: Credential) -> Way:
    """Open a session that was begun before its user was connected; one that the upstream refuses may be bridged."""
    try:
        await opening.ensure_open(session, visit.plan, visit.caller, credential)
    except Failure:
        if agreement.spoken(visit.plan).sessions or not await _speaks_modern(visit, credential):
            raise
        agreement.learn(visit.plan, modern=True, sessions=False)
        return Way.SESSION_TO_MODERN
    return Way.PASS


def _is_discovery(body: bytes, answer: Answer, message: Message) -> bool:
    if message.method != "server/discover" or answer.status != 200:
        return False
    return _names_modern(opening.read_response(body, answer.headers.get("Content-Type", ""), message.id).get("result"))


def _names_modern(result: Any) -> bool:
    try:
        found = DiscoverResult.model_validate(result)
    except ValidationError:
        return False
    return any(version in MODERN_PROTOCOL_VERSIONS for version in found.supported_versions)


async def _speaks_modern(visit: Visit, credential: Credential) -> bool:
    """Ask the upstream itself, as the SDK's clients do. Raises Failure when it cannot be reached."""

    async def ask(connection: Connection) -> dict[str, Any]:
        return await modern_requests.discover(connection, shapes.envelope_of({}, ""))

    call = Call("server/discover", {})
    purpose = f"probe:{call.token}"
    try:
        found = await attempted(call, purpose, visit.plan, visit.caller, credential, no_greeting, ask)
    except MCPError:
        return False
    finally:
        pool().end(purpose)
    return _names_modern(found)
