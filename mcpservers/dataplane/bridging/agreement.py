"""Which revisions an upstream speaks, and so whether a caller's request passes through or crosses the bridge.

Known from discovery; else learned from how the upstream answers, and remembered for that address. A request that both
sides understand is never held up for it: the upstream's refusal of one that it does not understand is what tells.
"""

import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from enum import Enum, auto
from functools import lru_cache
from typing import Any

from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS

from mcpservers.dataplane.jsonrpc import Message
from mcpservers.dataplane.routing import Plan
from mcpservers.dataplane.sessions import Session

REMEMBER_SECONDS = 3600.0
KEPT = 10_000
_MODERN, _HANDSHAKE = frozenset(MODERN_PROTOCOL_VERSIONS), frozenset(HANDSHAKE_PROTOCOL_VERSIONS)


class Way(Enum):
    """How a request reaches the upstream."""

    PASS = auto()
    MODERN_TO_SESSION = auto()
    SESSION_TO_MODERN = auto()
    SESSION_TO_SSE = auto()


@dataclass(frozen=True, slots=True)
class Spoken:
    """Whether an upstream speaks 2026-07-28, and whether it takes `initialize`; None while nobody knows."""

    modern: bool | None = None
    sessions: bool | None = None


_learned: OrderedDict[tuple[Any, ...], tuple[float, Spoken]] = OrderedDict()


def spoken(plan: Plan) -> Spoken:
    """Return what is known: what the upstream itself showed lately, else what discovery saw."""
    learned = _learned.get(_key(plan)) if _learned else None
    if learned is not None and learned[0] > time.monotonic():
        return learned[1]
    versions = plan.capabilities.get("supported_versions") or [plan.capabilities.get("protocol_version")]
    return _seen(not _MODERN.isdisjoint(versions), not _HANDSHAKE.isdisjoint(versions))


@lru_cache
def _seen(is_modern: bool, has_sessions: bool) -> Spoken:
    # A modern server's discover answer may leave out what it speaks after `initialize`.
    return Spoken(is_modern or (False if has_sessions else None), has_sessions or None)


def learn(plan: Plan, **facts: bool) -> None:
    """Remember what an upstream has shown of itself (`modern`, `sessions`)."""
    _learned[_key(plan)] = (time.monotonic() + REMEMBER_SECONDS, replace(spoken(plan), **facts))
    _learned.move_to_end(_key(plan))
    while len(_learned) > KEPT:
        _learned.popitem(last=False)


def forget() -> None:
    """Forget what was learned."""
    _learned.clear()


def way(message: Message, session: Session | None, plan: Plan) -> Way:
    """Return how this request goes; PASS also where nobody knows yet."""
    if plan.transport == "sse":
        return Way.MODERN_TO_SESSION if message.is_modern else Way.SESSION_TO_SSE
    if message.is_modern:
        return Way.MODERN_TO_SESSION if spoken(plan).modern is False else Way.PASS
    if session is not None and session.upstream_protocol_version in MODERN_PROTOCOL_VERSIONS:
        return Way.SESSION_TO_MODERN
    if session is not None and session.is_open:
        return Way.PASS
    return Way.SESSION_TO_MODERN if spoken(plan).sessions is False else Way.PASS


def _key(plan: Plan) -> tuple[Any, ...]:
    """Name the server as it is now: of one that was moved or discovered anew, nothing is known from before."""
    seen = plan.capabilities
    return plan.server_uid, plan.url, seen.get("protocol_version"), tuple(seen.get("supported_versions") or ())
