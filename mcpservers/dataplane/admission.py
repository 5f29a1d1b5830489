"""Who may begin a call now: so many at a time and so many a minute, for each user and each server.

What is refused says so at once, with `Retry-After`, and never reaches the upstream. Calls, other messages and
listening streams are counted apart: neither keeps a place from the other. A place is held until the visit is over.
Where nobody has to wait, which is nearly always, there is nothing to await: None is returned.
"""

import math
from collections.abc import Awaitable, Hashable

from mcpservers.dataplane import limits
from mcpservers.dataplane.course import Course
from mcpservers.dataplane.credentials import Credential
from mcpservers.dataplane.jsonrpc import Failure, Message, Reason
from mcpservers.dataplane.places import Places
from mcpservers.dataplane.rates import Rates
from mcpservers.dataplane.visit import Visit

LISTENING = frozenset({"subscriptions/listen"})
CALL, MESSAGE, STREAM = "call", "message", "stream"
BUSY_RETRY_SECONDS = 1.0
places, rates = Places(), Rates()
Key = tuple[str, int | str]


def of_user(visit: Visit, message: Message | None) -> Awaitable[None] | None:
    """Let a user's request in, within what one user may have under way and begin in a minute. Raises Failure."""
    allowed, course = limits.current(), visit.course
    course.message = message
    if visit.exchange.method == "GET" or (message is not None and message.method in LISTENING):
        course.is_listening, course.deadline = True, None
    else:
        course.deadline = course.began + allowed.call_seconds
    if allowed.per_minute_per_user:
        _within_rate(("user", visit.caller.user_id), allowed.per_minute_per_user, "you may make")
    if allowed.per_minute_per_server:
        _within_rate(("server", visit.plan.key), allowed.per_minute_per_server, "this server takes")
    course.kind = _kind(course)
    key = (course.kind, visit.caller.user_id)
    limit = allowed.streams_per_user if course.is_listening else allowed.calls_per_user
    if places.take(key, limit):
        course.holds(places.leave, key)
        return None
    text = f"You have {limit} requests of this kind under way. Wait for one of them to end."
    return _waited(course, key, limit, Failure(Reason.RateLimited, text, "too_many_at_once", retry_after_seconds=1))


def at_server(visit: Visit, credential: Credential) -> Awaitable[None] | None:
    """Let a request on to its server, within what one server may have under way. Raises Failure."""
    allowed, course = limits.current(), visit.course
    if visit.plan.mode == "user_oauth":
        course.generation = credential.generation
    if not course.is_listening:
        course.deadline = course.began + allowed.call_seconds
    key = (course.kind, visit.plan.key)
    limit = allowed.streams_per_server if course.is_listening else allowed.calls_per_server
    if places.take(key, limit):
        course.holds(places.leave, key)
        return None
    text = f"{visit.plan.name} is busy with other calls. Nothing was sent to it. Try again."
    busy = Failure(Reason.UpstreamUnavailable, text, "busy", http_status=503, retry_after_seconds=BUSY_RETRY_SECONDS)
    return _waited(course, key, limit, busy)


def _kind(course: Course) -> str:
    if course.is_listening:
        return STREAM
    return CALL if course.message is not None and course.message.is_request else MESSAGE


async def _waited(course: Course, key: Key, limit: int, refusal: Failure) -> None:
    if not await places.wait(key, limit, limits.current().busy_wait_seconds):
        raise refusal
    course.holds(places.leave, key)


def _within_rate(key: tuple[str, Hashable], per_minute: int, who: str) -> None:
    if wait := rates.take(key, per_minute):
        seconds = math.ceil(wait)
        text = f"That is more than the {per_minute} calls a minute that {who}. Wait {seconds} seconds."
        raise Failure(Reason.RateLimited, text, f"per_{key[0]}", retry_after_seconds=seconds)
