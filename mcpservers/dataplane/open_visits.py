"""The visits that are under way, and how one is ended before it ends by itself.

`reviewing` decides which: of a caller who has lost the right, of a request that takes too long, of a gateway that
stops. The visit's task is cancelled, which closes the upstream, and the caller is told in the way that is still open.
"""

import asyncio
import logging
from types import TracebackType

from mcpservers.dataplane import limits
from mcpservers.dataplane.course import Ended
from mcpservers.dataplane.jsonrpc import Failure
from mcpservers.dataplane.visit import NO_MESSAGE, Visit

logger = logging.getLogger(__name__)
# A caller that reads nothing must not keep its visit open.
TELLING_SECONDS = 2.0
_open: dict[asyncio.Task[object], Visit] = {}


def here() -> list[Visit]:
    """Return the visits of the running loop."""
    loop = asyncio.get_running_loop()
    return [visit for task, visit in list(_open.items()) if task.get_loop() is loop]


class under_way:
    """Keep a visit among those that are open while the block lasts; an ended one leaves it without an error."""

    __slots__ = ("_task", "_visit")

    def __init__(self, visit: Visit) -> None:
        self._visit = visit

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine always runs in a task
        course = self._visit.course
        course.task = self._task = task
        course.began = began = task.get_loop().time()
        course.deadline = began + limits.current().request_seconds
        _open[task] = self._visit

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        course = self._visit.course
        _open.pop(self._task, None)
        course.over()
        is_ended = course.ending is not None and course.take_back() and kind is asyncio.CancelledError
        course.task = None  # which may go on with another visit
        if not is_ended or course.ending is None:
            return False
        await tell(self._visit, course.ending)
        return True


async def tell(visit: Visit, why: Ended | Failure) -> None:
    """Tell the caller why its visit was ended, and end its stream as a whole one; what cannot be ended so is cut."""
    exchange, course = visit.exchange, visit.course
    try:
        async with asyncio.timeout(TELLING_SECONDS):
            if exchange.is_event_stream and (course.is_listening or isinstance(why, Ended)):
                await exchange.write(b"", more=False)
            elif isinstance(why, Failure):
                await visit.fail(why, course.message or NO_MESSAGE)
            elif not exchange.has_answered:
                await exchange.refuse(why.status, why.code, why.detail, [why.header])
    except TimeoutError:
        logger.info("an ended caller reads nothing", extra={"server": visit.plan.name})
