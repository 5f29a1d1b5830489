"""Who may be reached: the deny list, the operator's allow-list, and one door to both.

`check_url` judges when an address is saved. The transports ask
`Policy.addresses` each time they connect and connect to nothing else, so a name
that changed its mind since (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, ip_address, ip_network
from threading import Thread

from django.conf import settings

from outbound.errors import AddressNotAllowed, ConnectFailed, InvalidURL, OutboundError, TimedOut
from outbound.networks import (
    ALLOWED_BY_HOST_NAME,
    DENIED,
    LINK_LOCAL_AND_METADATA,
    Address,
    Network,
    judged_as,
    literal_address,
    within,
)
from outbound.urls import HOST_NAME, is_loopback_host, read_url, require_https

RESOLVE_TIMEOUT_SECONDS = 5.0

Resolver = Callable[[str, int], Iterable[str]]


def system_resolver(host: str, port: int) -> list[str]:
    """Resolve a name as the machine does; raises OSError when there is no answer."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


@dataclass(frozen=True)
class AllowEntry:
    """One line of AIGW_OUTBOUND_ALLOW: a network or a host name, and a port or any."""

    network: Network | None
    host: str
    port: int | None

    def covers(self, address: Address, port: int, host: str) -> bool:
        """Tell whether the entry names this destination."""
        if self.port not in (None, port):
            return False
        if self.network is not None:
            return address in self.network and self._may_name(address)
        return self.host == _plain(host) and within(address, ALLOWED_BY_HOST_NAME) and self._may_name(address)

    def _may_name(self, address: Address) -> bool:
        """Leave link-local and metadata addresses to an entry that means exactly them."""
        special = [network for network in LINK_LOCAL_AND_METADATA if address in network]
        return not special or any(_is_inside(self.network, network) for network in special)


@dataclass(frozen=True)
class Policy:
    """What the guard permits; `resolve` is how names become addresses."""

    allow: tuple[AllowEntry, ...] = ()
    resolve: Resolver = system_resolver

    @classmethod
    def parse(cls, entries: Iterable[str], *, resolve: Resolver = system_resolver) -> Policy:
        """Read `host[:port]` and `CIDR[:port]` entries; ValueError names the bad one."""
        return cls(tuple(_parse_entry(entry) for entry in entries), resolve)

    def permits(self, ip: Address | str, port: int, host: str = "") -> bool:
        """Judge one address; `host` is the name it was found under."""
        address = judged_as(ip_address(ip))
        if not within(address, DENIED) and not within(address, LINK_LOCAL_AND_METADATA):
            return True
        return any(entry.covers(address, port, host) for entry in self.allow)

    def addresses(self, host: str, port: int, *, timeout_seconds: float = RESOLVE_TIMEOUT_SECONDS) -> list[str]:
        """Give the addresses to connect to, every one of them permitted.

        One denied address refuses the name altogether: an honest name does not
        mix them. Raises AddressNotAllowed, ConnectFailed when there is no such
        name, TimedOut, and InvalidURL for a number that is no address.
        """
        with _resolving(host):
            found = self._asked(host, port).result(max(timeout_seconds, 0))
        return self._judged(found, host, port)

    async def aaddresses(self, host: str, port: int, *, timeout_seconds: float = RESOLVE_TIMEOUT_SECONDS) -> list[str]:
        """Do as `addresses` does, without blocking the event loop."""
        with _resolving(host):
            async with asyncio.timeout(timeout_seconds):
                found = await asyncio.wrap_future(self._asked(host, port))
        return self._judged(found, host, port)

    def _judged(self, found: list[str], host: str, port: int) -> list[str]:
        if not found:
            raise ConnectFailed(host)
        if not all(self.permits(ip, port, host) for ip in found):
            raise AddressNotAllowed(host)
        return found

    def _asked(self, host: str, port: int) -> Future[list[str]]:
        answer: Future[list[str]] = Future()
        answer.set_running_or_notify_cancel()
        literal = literal_address(host)
        if literal is not None:
            answer.set_result([str(literal)])
            return answer

        def ask() -> None:
            try:
                answer.set_result(list(self.resolve(host, port)))
            except Exception as error:
                answer.set_exception(error)

        # A thread of its own: getaddrinfo knows no time limit, and one slow
        # name server must not use up a pool that others wait for.
        Thread(target=ask, name="outbound-resolve", daemon=True).start()
        return answer


def current_policy() -> Policy:
    """Give the policy of AIGW_OUTBOUND_ALLOW, read anew when the setting changes."""
    return _policy_of(tuple(settings.AIGW_OUTBOUND_ALLOW))


def check_url(url: str, *, policy: Policy | None = None, purpose: str = "") -> None:
    """Judge a URL before it is saved; `purpose` opens the message, for example a field name.

    Raises InvalidURL, HTTPSRequired or AddressNotAllowed. A name that does not
    resolve now is let through: what it leads to is judged when we connect.
    """
    try:
        _check_url(url, policy or current_policy())
    except OutboundError as error:
        error.purpose = purpose
        raise


def _check_url(url: str, policy: Policy) -> None:
    target = read_url(url)
    # A denied IP address is told as such: https would not help. A name is not
    # even looked up when its scheme is refused anyway.
    if literal_address(target.host) is None:
        require_https(target)
    try:
        policy.addresses(target.host, target.port)
    except (ConnectFailed, TimedOut):
        if is_loopback_host(target.host) and not policy.permits(IPv4Address("127.0.0.1"), target.port, target.host):
            raise AddressNotAllowed(target.host) from None
    require_https(target)


@contextmanager
def _resolving(host: str) -> Iterator[None]:
    try:
        yield
    except TimeoutError:
        raise TimedOut(host) from None
    except OSError:
        raise ConnectFailed(host) from None
    except ValueError:
        raise InvalidURL(reason="the host is neither a name nor an address we can read") from None


@lru_cache(maxsize=8)
def _policy_of(entries: tuple[str, ...]) -> Policy:
    return Policy.parse(entries)


_ENTRY = re.compile(r"(?P<host>\[[^\]]+\]|[^:\[\]/]+)(?P<prefix>/[0-9]{1,3})?(:(?P<port>[0-9]{1,5}))?", re.ASCII)


def _parse_entry(entry: str) -> AllowEntry:
    """Read one entry, IPv6 in brackets: `[fd00::/8]:443` and `[fd00::]/8:443` are the same."""
    match = _ENTRY.fullmatch(entry.strip())
    if not match:
        raise ValueError(f"{entry!r} is not host[:port] or CIDR[:port] (IPv6 in brackets)")
    host, prefix = match["host"].strip("[]"), match["prefix"] or ""
    port = int(match["port"]) if match["port"] else None
    if port is not None and not 1 <= port <= 65535:
        raise ValueError(f"{entry!r} has a port outside 1 to 65535")
    network = _parse_network(entry, host + prefix, is_ipv6=match["host"].startswith("["))
    if network is None and not HOST_NAME.fullmatch(host.lower()):
        raise ValueError(f"{entry!r} does not name a host")
    return AllowEntry(network, "" if network else _plain(host), port)


def _parse_network(entry: str, text: str, *, is_ipv6: bool) -> Network | None:
    if not is_ipv6 and "/" not in text and not text.rpartition(".")[2].isdigit():
        return None
    try:
        network = ip_network(text)
    except ValueError as error:
        raise ValueError(f"{entry!r} is not a network: {error}") from None
    if "/" not in text and within(network.network_address, LINK_LOCAL_AND_METADATA):
        raise ValueError(f"{entry!r} is a link-local or metadata address: write it as a CIDR if you mean it")
    return network


def _is_inside(inner: Network | None, outer: Network) -> bool:
    if inner is None or inner.version != outer.version:
        return False
    return inner.network_address in outer and inner.prefixlen >= outer.prefixlen


def _plain(host: str) -> str:
    return host.rstrip(".").lower()
