"""Wait for a consent that is under way: woken by any change, and once a second in case it came from elsewhere."""

import asyncio
import weakref
from time import perf_counter

from changes import counter
from mcpservers.dataplane import credentials, stopwatch
from mcpservers.dataplane.credentials import Credential
from mcpservers.dataplane.jsonrpc import NEEDS_CONSENT, Failure
from mcpservers.dataplane.routing import Caller, Plan

LOOK_AGAIN_SECONDS = 1.0


class _Bell(asyncio.Event):
    """An event that any thread may ring."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.get_running_loop()


_bells: weakref.WeakSet[_Bell] = weakref.WeakSet()


def _ring() -> None:
    for bell in list(_bells):
        if not bell.loop.is_closed():
            bell.loop.call_soon_threadsafe(bell.set)


counter.on_change(_ring)


async def until_connected(plan: Plan, caller: Caller, *, seconds: float) -> Credential:
    """Return the caller's credential as soon as there is one. Raises the last Failure after `seconds`."""
    bell = _Bell()
    _bells.add(bell)
    deadline = bell.loop.time() + seconds
    while True:
        bell.clear()
        try:
            return await credentials.resolve(plan, caller)
        except Failure as failure:
            left = deadline - bell.loop.time()
            if failure.reason not in NEEDS_CONSENT or left <= 0:
                raise
        began = perf_counter()
        try:
            async with asyncio.timeout(min(left, LOOK_AGAIN_SECONDS)):
                await bell.wait()
        except TimeoutError:
            pass
        finally:
            stopwatch.waited_for_user(began)
