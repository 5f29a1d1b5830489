"""How async code reaches the database: on threads of its own, which keep no connection between two calls.

Outside Django's handler the ORM would run on one thread, stay on a dead connection after a restart and
exhaust the pool (dependencies.md, "Database").
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import ParamSpec, TypeVar

from django.db import close_old_connections, connection, connections

P = ParamSpec("P")
T = TypeVar("T")

# Most of these wait: for a pooled connection, or for a token endpoint while they hold none.
THREADS = 64
_executor = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="connections")


async def run_in_thread(fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run sync `fn` off the event loop, in a copy of the caller's context, and give its connection back."""
    context = copy_context()
    return await asyncio.get_running_loop().run_in_executor(
        _executor, lambda: context.run(_with_own_connection, lambda: fn(*args, **kwargs))
    )


def let_go() -> None:
    """Give this thread's connection back before something slow. Inside a transaction there is none to give.

    SQLite's are not pooled: one that is idle takes nothing from anybody, and closing the last one costs a checkpoint.
    """
    if connection.vendor != "sqlite":
        drop()


def drop() -> None:
    """Close this thread's connection, for good when it is broken. Not inside a transaction."""
    if not connection.in_atomic_block:
        connection.close()


def _with_own_connection(call: Callable[[], T]) -> T:
    close_old_connections()
    try:
        return call()
    finally:
        connections.close_all()
