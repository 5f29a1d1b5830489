"""What the data plane holds while the gateway runs: one pooled, guarded HTTP session per event loop."""

import asyncio
import weakref

import aiohttp
from django.conf import settings

from outbound.streaming import guarded_client_session

_sessions: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, aiohttp.ClientSession] = weakref.WeakKeyDictionary()


_kept: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()


async def start() -> None:
    """Open the session of the running loop, to be kept until `stop`."""
    _kept.add(asyncio.get_running_loop())
    http()


async def stop() -> None:
    """Close the session of the running loop, and every connection that it kept."""
    _kept.discard(asyncio.get_running_loop())
    session = _sessions.pop(asyncio.get_running_loop(), None)
    if session is not None:
        await session.close()


async def stop_unless_kept() -> None:
    """Close the session of a loop that lasts for one call only: outside a running gateway."""
    if asyncio.get_running_loop() not in _kept:
        await stop()


def http() -> aiohttp.ClientSession:
    """Return the session of the running loop, opened when it is first needed."""
    loop = asyncio.get_running_loop()
    if loop not in _sessions:
        _sessions[loop] = guarded_client_session(
            connect_timeout_seconds=settings.AIGW_UPSTREAM_CONNECT_TIMEOUT_SECONDS,
            limit=settings.AIGW_UPSTREAM_CONNECTIONS,
            limit_per_host=settings.AIGW_UPSTREAM_CONNECTIONS_PER_SERVER,
            keepalive_timeout_seconds=15,
        )
    return _sessions[loop]
