"""Make a connection: resolve, judge every address, connect to one of them and to nothing else (E02)."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from outbound.addresses import Policy
from outbound.errors import ConnectFailed, as_outbound_error
from outbound.http1.wire import Connection
from outbound.urls import read_target

DEFAULT_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a URL leads: the origin, the `Host` header and the request target (RFC 9112 §3.2.1)."""

    scheme: str
    host: str
    port: int
    host_field: bytes
    target: bytes
    origin: str


@lru_cache(maxsize=2048)
def destination_of(url: str) -> Destination:
    """Take a URL apart that is about to be used. Raises InvalidURL, HTTPSRequired."""
    found, parts = read_target(url), urlsplit(url)
    name = f"[{found.host}]" if ":" in found.host else found.host
    host_field = name if found.port == DEFAULT_PORTS[found.scheme] else f"{name}:{found.port}"
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    origin = f"{found.scheme}://{name}:{found.port}"
    return Destination(found.scheme, found.host, found.port, host_field.encode(), target.encode(), origin)


async def opened(destination: Destination, policy: Policy, context: ssl.SSLContext, *, seconds: float) -> Connection:
    """Connect within so many seconds, the TLS handshake included.

    Raises AddressNotAllowed, ConnectFailed, TLSFailed, TimedOut.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    addresses = await policy.aaddresses(destination.host, destination.port, timeout_seconds=seconds)
    failure: Exception = ConnectFailed(destination.host)
    for place, address in enumerate(addresses):
        # An address that swallows packets must leave time for the next.
        share = max(deadline - loop.time(), 0) / (len(addresses) - place)
        try:
            async with asyncio.timeout(share):
                return await _connected(loop, destination, address, context)
        except OSError as exc:  # TimeoutError and ssl.SSLError are some of these
            failure = exc
    raise as_outbound_error(failure, destination.host) from None


async def _connected(
    loop: asyncio.AbstractEventLoop, destination: Destination, address: str, context: ssl.SSLContext
) -> Connection:
    is_tls = destination.scheme == "https"
    _, connection = await loop.create_connection(
        lambda: Connection(loop, destination.host),
        address,
        destination.port,
        ssl=context if is_tls else None,
        server_hostname=destination.host if is_tls else None,
    )
    return connection
