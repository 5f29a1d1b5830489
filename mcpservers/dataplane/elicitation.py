"""The second rung: a 2025-11-25 session whose client declared `elicitation.url` (contract §6).

Where the client reads the call's answer as a stream, `elicitation/create` goes out on it and the call is held
until the consent is there; then the upstream's answer follows on the same stream. A client that does not react
in `AIGW_CONSENT_WAIT_SECONDS`, or cannot read a stream, gets error -32042 with the same link, and is told
`notifications/elicitation/complete` on its session's stream once it is connected.
"""

import asyncio
import json
import secrets
import uuid
from typing import Any

from django.conf import settings

from mcpservers.dataplane import waiting
from mcpservers.dataplane.credentials import Credential
from mcpservers.dataplane.exchange import Exchange
from mcpservers.dataplane.jsonrpc import Failure
from mcpservers.dataplane.routing import Caller, Plan
from mcpservers.dataplane.sessions import Session
from metrics import catalog

URL_ELICITATION_REQUIRED = -32042
KEEP_ALIVE = b": waiting for the user\n\n"
KEEP_ALIVE_SECONDS = 10.0
EVENT_STREAM = (b"content-type", b"text/event-stream")


class Declined(Exception):
    """The user, or the client, said no or said nothing."""


def is_declared(session: Session | None) -> bool:
    """Tell whether the session's client said at `initialize` that it can open links."""
    declared = session.initialize_params.get("capabilities") if session else None
    elicitation = declared.get("elicitation") if isinstance(declared, dict) else None
    return isinstance(elicitation, dict) and isinstance(elicitation.get("url"), dict)


def reads_streams(exchange: Exchange) -> bool:
    """Tell whether the caller takes an event stream as the answer."""
    return "text/event-stream" in exchange.header("accept")


def offer(session: Session, link: str, text: str) -> dict[str, Any]:
    """Return the parameters of one URL-mode elicitation, remembered for its completion."""
    id = str(uuid.uuid4())
    session.offered.append(id)
    return {"mode": "url", "elicitationId": id, "url": link, "message": text}


def event(message: dict[str, Any]) -> bytes:
    """Return a message as one server-sent event."""
    return b"event: message\ndata: " + json.dumps(message, separators=(",", ":")).encode() + b"\n\n"


def completions(session: Session) -> list[bytes]:
    """Return the notifications for every elicitation that was offered, once."""
    offered, session.offered[:] = session.offered[:], []
    method = "notifications/elicitation/complete"
    return [event({"jsonrpc": "2.0", "method": method, "params": {"elicitationId": id}}) for id in offered]


async def ask(exchange: Exchange, session: Session, plan: Plan, caller: Caller, params: dict[str, Any]) -> Credential:
    """Begin the call's stream with `elicitation/create` and hold it. Raises Declined, or Failure for other reasons."""
    id = f"aigateway-{secrets.token_urlsafe(9)}"
    said: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    session.asked[id] = said
    connecting = asyncio.create_task(
        waiting.until_connected(plan, caller, seconds=2 * settings.AIGW_CONSENT_WAIT_SECONDS)
    )
    try:
        await exchange.start(200, [EVENT_STREAM, (b"mcp-session-id", session.id.encode())])
        await exchange.write(event({"jsonrpc": "2.0", "id": id, "method": "elicitation/create", "params": params}))
        catalog.consent_offers.count("elicitation")
        await _until_said_or_connected(exchange, said, connecting)
        return await _until_connected(exchange, connecting)
    finally:
        connecting.cancel()
        session.asked.pop(id, None)


def answered(session: Session, id: object, result: object) -> bool:
    """Take a client's response if it answers a question of ours; False when it is the upstream's to hear."""
    said = session.asked.get(id) if isinstance(id, str) else None
    if said is None:
        return False
    if not said.done():
        action = result.get("action") if isinstance(result, dict) else "cancel"
        said.set_result(action if action in {"accept", "decline"} else "cancel")
    return True


async def _until_said_or_connected(
    exchange: Exchange, said: asyncio.Future[str], connecting: asyncio.Task[Credential]
) -> None:
    """Wait for the first of the two; a client that says nothing in time does not handle elicitation."""
    await _wait(exchange, {said, connecting}, settings.AIGW_CONSENT_WAIT_SECONDS)
    if not connecting.done() and (not said.done() or said.result() != "accept"):
        raise Declined


async def _until_connected(exchange: Exchange, connecting: asyncio.Task[Credential]) -> Credential:
    await _wait(exchange, {connecting}, settings.AIGW_CONSENT_WAIT_SECONDS)
    if not connecting.done():
        raise Declined
    return connecting.result()


async def _wait(exchange: Exchange, whichever: set[asyncio.Future[Any]], seconds: float) -> None:
    """Wait for any of these, `seconds` at the most, with a comment now and then so that no proxy gives up."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while (left := deadline - loop.time()) > 0:
        done, _ = await asyncio.wait(
            whichever, timeout=min(left, KEEP_ALIVE_SECONDS), return_when=asyncio.FIRST_COMPLETED
        )
        if done:
            return
        await exchange.write(KEEP_ALIVE)


def ended(failure: Failure) -> bool:
    """Tell whether there is no sense in asking: the upstream refuses a token that is as new as can be."""
    return failure.detail == "upstream_rejected"
