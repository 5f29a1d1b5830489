"""Bytes in, bytes out: forward one request with a credential, stream the answer, let go of it whatever happens."""

import asyncio
import logging
from dataclasses import dataclass, field
from types import TracebackType

from mcpservers.dataplane import credentials, headers, passthrough, step_up, upstream
from mcpservers.dataplane.course import Course
from mcpservers.dataplane.credentials import Credential
from mcpservers.dataplane.exchange import Exchange, RawHeaders
from mcpservers.dataplane.jsonrpc import Failure, Reason
from mcpservers.dataplane.routing import Caller, Plan
from mcpservers.dataplane.sessions import Session

logger = logging.getLogger(__name__)
MAX_EVENT_BYTES = 16 * 1024 * 1024
VERSION = b"mcp-protocol-version"
# Whoever calls, these servers see the caller's own credential.
PERSONAL = frozenset({"user_oauth", "token_passthrough"})
# A call that is over sooner needs nobody to watch whether its caller is still there.
WATCH_AFTER_SECONDS = 0.05


@dataclass(slots=True)
class Call:
    """What is sent on: the method, the caller's headers that may pass, and the body as it came."""

    method: str
    headers: RawHeaders = field(repr=False)
    body: bytes | None = field(repr=False)
    is_listening: bool = False
    is_repeatable: bool = False


def call_of(
    exchange: Exchange, token: str, body: bytes | None, *, is_listening: bool = False, is_repeatable: bool = False
) -> Call:
    """Return what of the caller's request goes upstream."""
    passed = headers.to_upstream(exchange.raw_headers, callers_token=token)
    return Call(exchange.method, passed, body, is_listening, is_repeatable)


class forwarded:
    """Send the call on; after a 401 to a token of ours, renew it once and send the same bytes once more (contract §6).

    Raises Failure: no answer, or a second 401. The upstream's own 401 never reaches the caller: it names the
    upstream's authorization server, with which the caller has no business. The answer is closed with the block.
    """

    __slots__ = ("_answer", "_asked")

    def __init__(self, call: Call, plan: Plan, caller: Caller, session: Session | None, credential: Credential) -> None:
        self._asked = (call, plan, caller, session, credential)

    async def __aenter__(self) -> upstream.Answer:
        call, plan, caller, session, credential = self._asked
        self._answer = await _send(call, plan, caller, session, credential)
        if self._answer.status == 401:
            self._answer.close()
            if not credentials.may_renew(plan, caller, credential):
                raise rejected(plan)
            renewed = await credentials.renew(plan, caller, credential)
            self._answer = await _send(call, plan, caller, session, renewed)
            if self._answer.status == 401:
                self._answer.close()
                raise rejected(plan)
        if self._answer.status == 403:
            lacking = step_up.needed(self._answer.headers.getall("www-authenticate", []), plan)
            if lacking is not None:
                self._answer.close()
                raise lacking
        return self._answer

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._answer.close()


async def _send(
    call: Call, plan: Plan, caller: Caller, session: Session | None, credential: Credential
) -> upstream.Answer:
    replaced: dict[bytes, str] = {}
    name = credential.name.lower().encode()
    if name:
        replaced[name] = credential.value
    if session is not None and session.upstream_id:
        replaced[headers.SESSION] = session.upstream_id
    if session is not None and session.upstream_protocol_version and _names(call.headers, VERSION):
        replaced[VERSION] = session.upstream_protocol_version
    # The caller's `x-key` may stand for the gateway's `X_Key` at a server (RFC 3875 §4.1.18); theirs have no `_`.
    lookalike = name.replace(b"_", b"-")
    sent = [field for field in call.headers if field[0] not in replaced and field[0] != lookalike]
    sent += [(name, value.encode("latin-1", "replace")) for name, value in replaced.items()]
    return await upstream.send(
        call.method,
        plan.url,
        sent,
        call.body,
        owner=(plan.key, caller.user_id if plan.mode in PERSONAL else None),
        is_listening=call.is_listening,
        is_repeatable=call.is_repeatable,
    )


def _names(fields: RawHeaders, name: bytes) -> bool:
    return any(key == name for key, _ in fields)


def rejected(plan: Plan) -> Failure:
    """Return what ends a call whose credential the upstream refuses, though it is as new as can be."""
    if plan.mode == "user_oauth":
        text = f"{plan.name} no longer accepts your {plan.provider_label} sign-in. Reconnect to go on."
        return Failure(Reason.OAuthTokenExpired, text, "upstream_rejected", plan.required_scopes)
    if plan.mode == "token_passthrough":
        return passthrough.rejected(plan.name)
    text = f"{plan.name} does not accept the gateway's credential. Ask the admin of this server."
    return Failure(Reason.UpstreamUnavailable, text, "credential_rejected")


async def pass_on(answer: upstream.Answer, exchange: Exchange, session_id: str | None) -> None:
    """Send the upstream's answer to the caller as it arrives; our session id in place of the upstream's.

    On an event stream that the gateway has begun itself, what is no event stream becomes one event.
    """
    if exchange.has_answered:
        await _pass_on_as_events(answer, exchange)
        return
    sent = headers.to_caller(answer.raw_headers)
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
        while piece := await answer.piece():
            if answer.is_read:
                await exchange.write(piece, more=False)
                return
            await exchange.write(piece)
    except upstream.Interrupted as exc:
        # Without the closing piece the server cuts the connection: the caller sees that the answer is not whole.
        logger.warning("upstream answer broke off", extra={"why": str(exc)})
        return
    await exchange.write(b"", more=False)


class until_caller_leaves:
    """Cancel the block when the caller closes the connection, so that the upstream's is closed too (D13)."""

    __slots__ = ("_exchange", "_task", "_timer", "_watch")

    def __init__(self, exchange: Exchange, course: Course) -> None:
        task = course.task
        assert task is not None  # noqa: S101 - a visit is under way in a task
        self._exchange, self._task = exchange, task
        self._watch: asyncio.Task[None] | None = None

    async def __aenter__(self) -> None:
        self._timer = self._task.get_loop().call_later(WATCH_AFTER_SECONDS, self._begin)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._timer.cancel()
        watch = self._watch
        if watch is None:
            return False
        has_left = watch.done() and not watch.cancelled()
        watch.cancel()
        return kind is asyncio.CancelledError and has_left and self._task.uncancel() == 0

    def _begin(self) -> None:
        self._watch = asyncio.create_task(_caller_left(self._exchange))
        self._watch.add_done_callback(self._end)

    def _end(self, watch: asyncio.Task[None]) -> None:
        if not watch.cancelled():
            self._task.cancel()


async def _caller_left(exchange: Exchange) -> None:
    while (await exchange.receive())["type"] != "http.disconnect":
        pass
