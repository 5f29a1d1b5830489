"""What the data plane holds while the gateway runs: one pooled, guarded HTTP client per event loop."""

import asyncio
import weakref
from collections.abc import Awaitable, Callable

from django.conf import settings

from outbound.http1.client import Client

_clients: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Client] = weakref.WeakKeyDictionary()


_kept: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()
_stoppers: list[Callable[[], Awaitable[None]]] = []


def on_stop(stopper: Callable[[], Awaitable[None]]) -> None:
    """Have `stopper` awaited when a loop stops, before its HTTP client closes."""
    _stoppers.append(stopper)


async def start() -> None:
    """Make the client of the running loop, to be kept until `stop`."""
    _kept.add(asyncio.get_running_loop())
    http()


async def stop() -> None:
    """Close the client of the running loop, and every connection that it kept."""
    _kept.discard(asyncio.get_running_loop())
    for stopper in _stoppers:
        await stopper()
    client = _clients.pop(asyncio.get_running_loop(), None)
    if client is not None:
        await client.close()


async def stop_unless_kept() -> None:
    """Close the client of a loop that lasts for one call only: outside a running gateway."""
    if asyncio.get_running_loop() not in _kept:
        await stop()


def http() -> Client:
    """Return the client of the running loop, made when it is first needed."""
    loop = asyncio.get_running_loop()
    return _clients.get(loop) or _made(loop)


def _made(loop: asyncio.AbstractEventLoop) -> Client:
    client = _clients[loop] = Client(
        connect_seconds=settings.AIGW_UPSTREAM_CONNECT_TIMEOUT_SECONDS,
        limit=settings.AIGW_UPSTREAM_CONNECTIONS,
        limit_per_origin=settings.AIGW_UPSTREAM_CONNECTIONS_PER_SERVER,
    )
    return client
