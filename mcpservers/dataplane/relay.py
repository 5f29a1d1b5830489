"""Bytes in, bytes out: forward one request with a credential, stream the answer, let go of it whatever happens."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from multidict import CIMultiDict

from mcpservers.dataplane import credentials, headers, upstream
from mcpservers.dataplane.credentials import Credential
from mcpservers.dataplane.exchange import Exchange
from mcpservers.dataplane.jsonrpc import Failure, Reason
from mcpservers.dataplane.routing import Caller, Plan
from mcpservers.dataplane.sessions import Session

logger = logging.getLogger(__name__)
MAX_EVENT_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Call:
    """What is sent on: the method, the caller's headers that may pass, and the body as it came."""

    method: str
    headers: CIMultiDict[str] = field(repr=False)
    body: bytes | None = field(repr=False)
    is_listening: bool = False


def call_of(exchange: Exchange, token: str, body: bytes | None, *, is_listening: bool = False) -> Call:
    """Return what of the caller's request goes upstream."""
    return Call(exchange.method, headers.to_upstream(exchange.raw_headers, callers_token=token), body, is_listening)


@asynccontextmanager
async def forwarded(
    call: Call, plan: Plan, caller: Caller, session: Session | None, credential: Credential
) -> AsyncIterator[upstream.Answer]:
    """Send the call on; after a 401 to a user's token, renew it once and send the same bytes once more (contract §6).

    Raises Failure: no answer, or a second 401. The upstream's own 401 never reaches the caller: it names the
    upstream's authorization server, with which the caller has no business.
    """
    async with AsyncExitStack() as stack:
        answer = await stack.enter_async_context(_send(call, plan, session, credential))
        if answer.status == 401 and credentials.may_renew(plan, caller, credential):
            await stack.aclose()
            renewed = await credentials.renew(plan, caller, credential)
            answer = await stack.enter_async_context(_send(call, plan, session, renewed))
        if answer.status == 401:
            raise _rejected(plan)
        yield answer


def _send(
    call: Call, plan: Plan, session: Session | None, credential: Credential
) -> contextlib.AbstractAsyncContextManager[upstream.Answer]:
    sent = call.headers.copy()
    if credential.name:
        sent.popall(credential.name, None)
        sent[credential.name] = credential.value
    if session is not None and session.upstream_id:
        sent["Mcp-Session-Id"] = session.upstream_id
    if session is not None and session.upstream_protocol_version and "MCP-Protocol-Version" in sent:
        sent["MCP-Protocol-Version"] = session.upstream_protocol_version
    return upstream.send(call.method, plan.url, sent, call.body, is_listening=call.is_listening)


def _rejected(plan: Plan) -> Failure:
    if plan.mode == "user_oauth":
        text = f"{plan.name} no longer accepts your {plan.provider_label} sign-in. Reconnect to go on."
        return Failure(Reason.OAuthTokenExpired, text, "upstream_rejected", plan.required_scopes)
    text = f"{plan.name} does not accept the gateway's credential. Ask the admin of this server."
    return Failure(Reason.UpstreamUnavailable, text, "credential_rejected")


async def pass_on(answer: upstream.Answer, exchange: Exchange, session_id: str | None) -> None:
    """Send the upstream's answer to the caller as it arrives; our session id in place of the upstream's.

    On an event stream that the gateway has begun itself, what is no event stream becomes one event.
    """
    if exchange.has_answered:
        await _pass_on_as_events(answer, exchange)
        return
    sent = headers.to_caller(answer.headers)
    if session_id is not None:
        sent.append((b"mcp-session-id", session_id.encode()))
    await exchange.start(answer.status, sent)
    await _pass_on_pieces(answer, exchange)


async def _pass_on_as_events(answer: upstream.Answer, exchange: Exchange) -> None:
    if answer.headers.get("Content-Type", "").startswith("text/event-stream"):
        await _pass_on_pieces(answer, exchange)
        return
    try:
        body = await answer.read(MAX_EVENT_BYTES)
    except upstream.Interrupted as exc:
        logger.warning("upstream answer broke off", extra={"why": str(exc)})
        return
    lines = b"".join(b"data: " + line + b"\n" for line in body.splitlines())
    await exchange.write(b"event: message\n" + lines + b"\n" if lines else b"", more=False)


async def _pass_on_pieces(answer: upstream.Answer, exchange: Exchange) -> None:
    try:
        async for piece in answer.pieces():
            await exchange.write(piece)
    except upstream.Interrupted as exc:
        # Without the closing piece the server cuts the connection: the caller sees that the answer is not whole.
        logger.warning("upstream answer broke off", extra={"why": str(exc)})
        return
    await exchange.write(b"", more=False)


@asynccontextmanager
async def until_caller_leaves(exchange: Exchange) -> AsyncIterator[None]:
    """Cancel the block when the caller closes the connection, so that the upstream's is closed too (D13)."""
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - a coroutine always runs in a task
    watch = asyncio.create_task(_caller_left(exchange))
    watch.add_done_callback(lambda done: None if done.cancelled() else task.cancel())
    try:
        yield
    except asyncio.CancelledError:
        if not watch.done() or watch.cancelled() or task.uncancel() > 0:
            raise
    finally:
        watch.cancel()


async def _caller_left(exchange: Exchange) -> None:
    while (await exchange.receive())["type"] != "http.disconnect":
        pass
