"""Read a URL that someone typed, strictly: what we cannot name plainly we refuse.

No network in here; where the host leads is judged by `addresses`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit

from outbound.errors import HTTPSRequired, InvalidURL
from outbound.networks import judged_as, literal_address

_ODD_CHARACTER = re.compile(r"[^\x21-\x7e]|\\")
HOST_NAME = re.compile(r"(?=.{1,254}\Z)([a-z0-9_]([a-z0-9_-]{0,62})\.)*[a-z0-9_]([a-z0-9_-]{0,62})\.?", re.ASCII)
_DEFAULT_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True)
class Target:
    """Where a URL points, without path and query."""

    scheme: str
    host: str
    port: int


@lru_cache(maxsize=512)
def read_url(url: str) -> Target:
    """Take a URL apart by its spelling alone; raise InvalidURL."""
    if _ODD_CHARACTER.search(url):
        raise InvalidURL(
            reason="it holds a space, a backslash, a control or a non-ASCII character (write such names as xn--…)"
        )
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise InvalidURL(reason="host or port cannot be read") from None
    if parts.scheme not in _DEFAULT_PORTS:
        raise InvalidURL(reason="it must start with https://")
    if "@" in parts.netloc:
        raise InvalidURL(reason="a user name or password does not belong in it")
    if "#" in url:
        raise InvalidURL(reason="it must not have a fragment (#)")
    if port == 0 or not _is_host(host, bracketed=parts.netloc.startswith("[")):
        raise InvalidURL(reason="it needs a host name or an IP address, and a port between 1 and 65535 if any")
    return Target(parts.scheme, host, port or _DEFAULT_PORTS[parts.scheme])


@lru_cache(maxsize=512)
def read_target(url: str) -> Target:
    """Take a URL apart that is about to be used; raise InvalidURL or HTTPSRequired."""
    target = read_url(url)
    require_https(target)
    return target


def require_https(target: Target) -> None:
    """Raise HTTPSRequired for plain http beyond this machine."""
    if target.scheme == "http" and not is_loopback_host(target.host):
        raise HTTPSRequired(target.host)


def is_loopback_host(host: str) -> bool:
    """Tell a host that names this machine: localhost, *.localhost (RFC 6761) or its address."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    address = literal_address(host)
    return address is not None and judged_as(address).is_loopback


def _is_host(host: str, *, bracketed: bool) -> bool:
    try:
        if bracketed:
            return ip_address(host).version == 6 and "%" not in host
        literal_address(host)
    except ValueError:
        return False
    return HOST_NAME.fullmatch(host) is not None
