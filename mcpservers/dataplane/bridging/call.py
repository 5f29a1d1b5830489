"""One request on its way across the bridge: what happens to it upstream, in order, for whoever answers the caller."""

import asyncio
import itertools
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx2

from mcpservers.dataplane.bridging import log_levels
from outbound.errors import OutboundError

MAX_WAITING = 1000
Json = dict[str, Any]
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Told:
    """A notification for the caller."""

    method: str
    params: Json


@dataclass(frozen=True, slots=True)
class Asked:
    """A question for the caller; `answer` takes its result, or an exception."""

    key: str
    method: str
    params: Json
    answer: asyncio.Future[Json] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Ended:
    """The call's result, or why there is none."""

    result: Json | None
    error: BaseException | None = None


Event = Told | Asked | Ended


class Call:
    """A request of one caller, and what the upstream says of it until its end."""

    def __init__(self, method: str, params: Json, headers: dict[str, str] | None = None) -> None:
        self.method, self.params, self.headers = method, params, headers or {}
        self.token = f"aigw-{next(_numbers)}"
        self.status, self.challenges = 0, list[str]()
        self.failure: OutboundError | None = None
        self.refused: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.log_level: str | None = None
        self._events: deque[Event] = deque()
        self._has_events = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._questions = 0
        self._open_questions = 0
        self._heard_at = asyncio.get_running_loop().time()

    def start(self, perform: Callable[["Call"], Awaitable[Json]]) -> None:
        """Make the request in a task of its own, whose end is the last event."""
        self._task = asyncio.create_task(self._run(perform))

    async def _run(self, perform: Callable[["Call"], Awaitable[Json]]) -> None:
        try:
            self._put(Ended(await perform(self)))
        except asyncio.CancelledError:
            self._put(Ended(None, ConnectionAbortedError()))
            raise
        except Exception as exc:
            self._put(Ended(None, exc))

    async def next(self, seconds: float | None = None) -> Event | None:
        """Return what happens next; None when nothing does for `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                await self._has_events.wait()
        except TimeoutError:
            return None
        return self._pop()

    def more_questions(self) -> list[Asked]:
        """Return the questions that came together with the last one."""
        found: list[Asked] = []
        while self._events and isinstance(asked := self._events[0], Asked):
            found.append(asked)
            self._pop()
        return found

    def _put(self, event: Event) -> None:
        self._events.append(event)
        self._has_events.set()

    def _pop(self) -> Event:
        event = self._events.popleft()
        if not self._events:
            self._has_events.clear()
        return event

    def tell(self, method: str, params: Json) -> None:
        """Pass a notification on; those of a caller who does not read are dropped."""
        self._heard_at = asyncio.get_running_loop().time()
        is_log = method == "notifications/message" and self.log_level is not None
        if is_log and not log_levels.is_wanted(params.get("level"), self.log_level or ""):
            return
        if len(self._events) < MAX_WAITING:
            self._put(Told(method, params))

    async def ask(self, method: str, params: Json) -> Json:
        """Ask the caller and return the result of its answer. Raises what the caller's side put in its place."""
        self._questions += 1
        answer: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        self._put(Asked(f"q{self._questions}", method, params, answer))
        self._open_questions += 1
        try:
            return await answer
        finally:
            self._open_questions -= 1
            self._heard_at = asyncio.get_running_loop().time()

    @property
    def was_asked(self) -> bool:
        """Tell whether the caller was asked something: then the call is under way for good."""
        return self._questions > 0

    def silent_seconds(self) -> float:
        """Return for how long the upstream has said nothing, which it may while it waits for the caller."""
        return 0.0 if self._open_questions else asyncio.get_running_loop().time() - self._heard_at

    def heard(self, answer: httpx2.Response | OutboundError) -> None:
        """Take note of what HTTP said: the SDK gives one error for all of them."""
        if isinstance(answer, OutboundError):
            self.status, self.failure = 502, answer
        else:
            self.status = answer.status_code
            self.challenges = answer.headers.get_list("www-authenticate")
        if self.status >= 400 and not self.refused.done():
            self.refused.set_result(None)

    async def leave(self) -> None:
        """Give the request up: it is cancelled upstream, in the upstream's own way."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task], timeout=2)
