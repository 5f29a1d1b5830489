"""The pool of each event loop, and who looks after it: closes what is open upstream once it is idle, or once its user,
server or credential is no longer what it was.

Every process learns of a change within a second (`changes`); what a person who lost the right still has open ends a
few seconds later (contract §8).
"""

import asyncio
import logging
import weakref

from changes import counter
from mcpservers.dataplane import credentials, lifespan, routing
from mcpservers.dataplane.bridging.pool import Kept, Key, Pool, same_place
from mcpservers.dataplane.jsonrpc import Failure
from mcpservers.dataplane.routing import Plan

logger = logging.getLogger(__name__)
LOOK_SECONDS = 2.0
_changes = 0
_pools: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[Pool, asyncio.Task[None]]] = (
    weakref.WeakKeyDictionary()
)


def _count() -> None:
    global _changes  # noqa: PLW0603 - written from any thread, compared only
    _changes += 1


counter.on_change(_count)


def pool() -> Pool:
    """Return the pool of the running loop, looked after from its first use on."""
    loop = asyncio.get_running_loop()
    if loop not in _pools:
        own = Pool()
        _pools[loop] = own, loop.create_task(watch(own))
    return _pools[loop][0]


async def stop() -> None:
    """Close every connection of the running loop."""
    own, watching = _pools.pop(asyncio.get_running_loop(), (None, None))
    if own is not None and watching is not None:
        watching.cancel()
        await own.stop()


lifespan.on_stop(stop)


async def watch(pool: Pool) -> None:
    """Look after a pool until cancelled."""
    seen = _changes
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            pool.close_idle()
            if seen != _changes:
                seen = _changes
                await review(pool)
        except Exception as exc:
            logger.error("bridged sessions were not reviewed", extra={"error": type(exc).__name__})
            seen -= 1


async def review(pool: Pool) -> None:
    """Close every connection that its user would not be given now."""
    for key, kept in list(pool.kept.items()):
        plan = await routing.plan_for(kept.caller, kept.plan.name)
        if not isinstance(plan, Plan) or not plan.enabled or not same_place(plan, kept.plan):
            pool.cut(key)
        else:
            await _review_credential(pool, key, kept, plan)


async def _review_credential(pool: Pool, key: Key, kept: Kept, plan: Plan) -> None:
    if plan.mode == "token_passthrough":
        return
    try:
        credential = await credentials.resolve(plan, kept.caller)
    except Failure:
        pool.cut(key)
        return
    if credential != kept.credential:
        pool.drop(key)
