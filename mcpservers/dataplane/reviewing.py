"""Look after the open visits of a loop: end those whose caller lost the right, whose time is up, or all at a stop.

The database is asked only after the change counter has moved, once per caller, server and connection, whatever the
number of streams (contract §8). A person who lost the right has no open stream a few seconds later.
"""

import asyncio
import logging
import weakref

from django.db import DatabaseError
from django.utils import timezone

from changes import counter
from connections import begun
from connections.database import run_in_thread
from mcpservers.dataplane import browsers, lifespan, open_visits, routing
from mcpservers.dataplane.course import Ended
from mcpservers.dataplane.jsonrpc import Failure, Reason
from mcpservers.dataplane.routing import Caller, Plan, Refused
from mcpservers.dataplane.visit import Visit

logger = logging.getLogger(__name__)
LOOK_SECONDS = 0.5
REVIEW_SECONDS = 2.0
RETRY = (b"retry-after", b"1")
CHALLENGE = (b"www-authenticate", b'Bearer error="invalid_token"')
CLOSE = (b"connection", b"close")
SIGNED_OUT = Ended(401, "not_authenticated", "You have signed out, or your session has ended.", CHALLENGE)
TOKEN_ENDED = Ended(401, "not_authenticated", "This token has expired or was revoked.", CHALLENGE)
NOT_FOUND = Ended(404, "not_found", "There is no MCP server of this name that you may see.", CLOSE)
FORBIDDEN = Ended(403, "permission_denied", "You may no longer use this MCP server. Ask an admin.", CLOSE)
CHANGED = Ended(503, "server_changed", "The MCP server was changed meanwhile. Try again.", RETRY)
STOPPING = Ended(503, "stopping", "The gateway stops. Try again.", RETRY)
TOO_SLOW = Ended(408, "request_timeout", "The request did not arrive in time.", CLOSE)
_changes = 0
_watching: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[None]] = weakref.WeakKeyDictionary()


def _count() -> None:
    global _changes  # noqa: PLW0603 - written from any thread, compared only
    _changes += 1


class looked_after(open_visits.under_way):
    """Keep a visit among those that are open, and looked after, while the block lasts."""

    __slots__ = ()

    async def __aenter__(self) -> None:
        loop = asyncio.get_running_loop()
        if loop not in _watching:
            _watching[loop] = loop.create_task(_watch())
        await super().__aenter__()


async def stop() -> None:
    """End what is still open in the running loop, and look no more."""
    watching = _watching.pop(asyncio.get_running_loop(), None)
    if watching is not None:
        watching.cancel()
        end_all()


counter.on_change(_count)
lifespan.on_stop(stop)


def end_streams() -> None:
    """End every stream that only listens: the gateway stops, and calls may finish meanwhile."""
    for visit in open_visits.here():
        if visit.course.is_listening:
            visit.course.end(STOPPING)


def end_all() -> None:
    """End every visit: the time to finish is over."""
    text = "The gateway stops before the MCP server has answered. Nothing is known of the call's effect."
    for visit in open_visits.here():
        course = visit.course
        is_call = course.message is not None and not course.is_listening
        course.end(Failure(Reason.UpstreamUnavailable, text, "stopping", http_status=503) if is_call else STOPPING)


async def _watch() -> None:
    loop, seen, next_review = asyncio.get_running_loop(), _changes, 0.0
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        visits = open_visits.here()
        _end_late(visits, loop.time())
        now = _changes
        # The end of a session is not counted as a change: there are many, and hardly ever does a visit depend on one.
        due = visits if seen != now else [visit for visit in visits if visit.caller.is_browser]
        if loop.time() < next_review or not (due or seen != now):
            continue
        next_review = loop.time() + REVIEW_SECONDS
        try:
            await Review().end_those_without_right(due)
            seen = now
        except DatabaseError as exc:
            logger.warning("open streams were not reviewed", extra={"error": type(exc).__name__})
        except Exception as exc:
            logger.error("open streams were not reviewed", extra={"error": type(exc).__name__})


def _end_late(visits: list[Visit], now: float) -> None:
    clock = timezone.now()
    for visit in visits:
        course, expires_at = visit.course, visit.caller.expires_at
        if expires_at is not None and expires_at <= clock:
            course.end(_credential_ended(visit))
        elif course.deadline is not None and course.deadline <= now:
            text = "The call has taken too long. Nothing is known of its effect."
            late = Failure(Reason.UpstreamUnavailable, text, "total_timeout", http_status=504)
            course.end(TOO_SLOW if course.message is None else late)


class Review:
    """One look at who may go on; what several visits share is asked once."""

    def __init__(self) -> None:
        self._callers: dict[str, Caller | None] = {}
        self._plans: dict[tuple[int, str], Plan | Refused] = {}
        self._connections: dict[tuple[int, object], bool] = {}

    async def end_those_without_right(self, visits: list[Visit]) -> None:
        """End each visit whose caller would be refused now. Raises DatabaseError."""
        for visit in visits:
            if visit.course.ending is None and (why := await self._why(visit)) is not None:
                code = why.code if isinstance(why, Ended) else why.reason.name
                logger.info("an open visit was ended", extra={"server": visit.plan.name, "why": code})
                visit.course.end(why)

    async def _why(self, visit: Visit) -> Ended | Failure | None:
        if visit.token and await self._caller(visit) is None:
            return _credential_ended(visit)
        plan = await self._plan(visit.caller, visit.plan.name)
        if isinstance(plan, Refused):
            return FORBIDDEN if plan.exists else NOT_FOUND
        if plan.server_uid != visit.plan.server_uid:
            return NOT_FOUND
        if not plan.enabled:
            return Failure(Reason.ServerDisabled, f"The MCP server {plan.name} is disabled.")
        if visit.course.is_listening and _place(plan) != _place(visit.plan):
            return CHANGED
        if not await self._is_connected(visit):
            text = f"Your {plan.provider_label} connection has ended. Connect again to use {plan.name}."
            return Failure(Reason.OAuthConnectionRequired, text, scopes=plan.required_scopes)
        return None

    async def _caller(self, visit: Visit) -> Caller | None:
        token, look_up = visit.token, browsers.caller_of if visit.caller.is_browser else routing.caller_of
        if token not in self._callers:
            self._callers[token] = await look_up(token)
        return self._callers[token]

    async def _plan(self, caller: Caller, name: str) -> Plan | Refused:
        key = (caller.user_id, name)
        if key not in self._plans:
            self._plans[key] = await routing.plan_for(caller, name)
        return self._plans[key]

    async def _is_connected(self, visit: Visit) -> bool:
        user_id, provider_uid, generation = visit.caller.user_id, visit.plan.provider_uid, visit.course.generation
        if generation is None or provider_uid is None:
            return True
        key = (user_id, (provider_uid, generation))
        if key not in self._connections:
            self._connections[key] = await run_in_thread(
                begun.may_go_on, user_id=user_id, provider_uid=provider_uid, generation=generation
            )
        return self._connections[key]


def _credential_ended(visit: Visit) -> Ended:
    return SIGNED_OUT if visit.caller.is_browser else TOKEN_ENDED


def _place(plan: Plan) -> tuple[object, ...]:
    """Return what leads to the upstream: a stream to another place is opened anew."""
    return plan.url, plan.transport, plan.mode, plan.provider_uid, plan.header_name, plan.key_ref
