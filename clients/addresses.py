"""Which address a request comes from: the peer's, or what a trusted proxy says (`AIGW_TRUSTED_PROXIES`)."""

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

from django.conf import settings
from django.core.signals import setting_changed
from django.http import HttpRequest

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
# Agents call again and again from one address; what a stranger can make as long as a header is not kept.
REMEMBERED_CHARACTERS = 200


def client_address(request: HttpRequest) -> str:
    """Return the caller's address of a Django request."""
    return judge(request.META.get("REMOTE_ADDR", ""), request.META.get("HTTP_X_FORWARDED_FOR", ""))


def judge(peer: str, forwarded_for: str) -> str:
    """Return the right-most address of peer and `X-Forwarded-For` that is not a trusted proxy.

    A header from anyone but a trusted proxy changes nothing (F08). An entry that is no address ends the
    walk: what stands left of it cannot be believed. Returns "" when the peer itself is unknown.
    """
    decide = _judged if len(forwarded_for) <= REMEMBERED_CHARACTERS else _judged.__wrapped__
    return decide(peer, forwarded_for, _trusted())


@lru_cache(maxsize=1)
def _trusted() -> tuple[str, ...]:
    return tuple(settings.AIGW_TRUSTED_PROXIES)


def _forget(**_: object) -> None:
    _trusted.cache_clear()


setting_changed.connect(_forget, dispatch_uid="clients.addresses")


@lru_cache(maxsize=4096)
def _judged(peer: str, forwarded_for: str, trusted: tuple[str, ...]) -> str:
    proxies, address = _networks(trusted), _clean(peer)
    for hop in reversed(forwarded_for.split(",")):
        if not address or not _inside(address, proxies):
            break
        named = _clean(hop)
        if not named:
            break
        address = named
    return address


def _clean(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text.strip()))
    except ValueError:
        return ""


def _inside(address: str, networks: Sequence[Network]) -> bool:
    parsed = ipaddress.ip_address(address)
    return any(parsed in network for network in networks)


@lru_cache(maxsize=4)
def _networks(entries: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(entry, strict=False) for entry in entries)
