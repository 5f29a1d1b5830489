"""The guarded aiohttp session of the data plane: pooled, streaming, untouched bytes.

The caller passes `allow_redirects=False`; should it forget, a redirect is an
error anyway. `map_client_error` turns what aiohttp raises into our own tree.
"""

from __future__ import annotations

import socket
from contextvars import ContextVar
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from outbound.addresses import Policy, current_policy
from outbound.errors import (
    AddressNotAllowed,
    InvalidURL,
    OutboundError,
    RedirectRefused,
    TLSFailed,
    as_outbound_error,
    is_redirect,
)
from outbound.tls import ssl_context
from outbound.urls import read_target

# The host of the request that a connection is opened for: the socket factory
# sees an address only, and an allow-list entry may be bound to a name.
_HOST: ContextVar[str] = ContextVar("outbound_host", default="")


def guarded_client_session(
    *,
    connect_timeout_seconds: float = 5.0,
    total_timeout_seconds: float | None = None,
    limit: int = 1000,
    limit_per_host: int = 0,
    keepalive_timeout_seconds: float = 30.0,
    policy: Policy | None = None,
    ca_bundle: str | None = None,
) -> aiohttp.ClientSession:
    """Make a session, inside a running loop; the caller closes it.

    `limit` and `limit_per_host` are simultaneous connections, 0 for any number.
    `policy` and `ca_bundle` stand in for the settings.
    """
    door = _Guard(policy)
    connector = aiohttp.TCPConnector(
        resolver=_Resolver(door, connect_timeout_seconds),
        socket_factory=door.open_socket,
        ssl=ssl_context(ca_bundle),
        limit=limit,
        limit_per_host=limit_per_host,
        keepalive_timeout=keepalive_timeout_seconds,
    )
    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=total_timeout_seconds, sock_connect=connect_timeout_seconds),
        middlewares=(door.watch,),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
    )


def map_client_error(exc: BaseException) -> OutboundError:
    """Turn what a request or a body read raised into an error that is safe to show."""
    if isinstance(exc, aiohttp.InvalidURL):
        return InvalidURL(reason="its host cannot be read")
    return as_outbound_error(exc, str(getattr(exc, "host", "")))


class _Guard:
    """The checks of one session: the URL, the address of each socket, the status."""

    def __init__(self, policy: Policy | None) -> None:
        self._policy = policy

    @property
    def policy(self) -> Policy:
        return self._policy or current_policy()

    async def watch(self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        """Check each request and answer; aiohttp calls this for every hop."""
        host = read_target(str(request.url)).host
        if request.ssl is not True:
            raise TLSFailed(host, ": verification cannot be switched off or replaced")
        token = _HOST.set(host)
        try:
            response = await handler(request)
        finally:
            _HOST.reset(token)
        if is_redirect(response.status):
            response.close()
            raise RedirectRefused(host)
        return response

    def open_socket(self, address: Any) -> socket.socket:
        """Open a socket for a permitted address; every connection passes here.

        aiohttp asks no resolver about IP literals, and tries several addresses
        of a name side by side: this sees each of them.
        """
        family, kind, proto, _, (ip, port, *_) = address
        host = _HOST.get()
        if not self.policy.permits(ip, port, host):
            raise AddressNotAllowed(host)
        return socket.socket(family, kind, proto)


class _Resolver(AbstractResolver):
    """Resolve through the policy, so that one denied address refuses the name."""

    def __init__(self, door: _Guard, timeout_seconds: float) -> None:
        self._door = door
        self._timeout_seconds = timeout_seconds

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._door.policy.aaddresses(host, port, timeout_seconds=self._timeout_seconds)
        return [
            ResolveResult(
                hostname=host,
                host=ip,
                port=port,
                family=socket.AF_INET6 if ":" in ip else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for ip in found
        ]

    async def close(self) -> None:
        """Hold nothing open."""
