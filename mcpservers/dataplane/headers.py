"""Which headers pass, in either direction. Names are lower case, as ASGI has them."""

import re
from functools import lru_cache

from mcpservers.dataplane.exchange import RawHeaders

# RFC 9110 §7.6.1, and what the gateway or the HTTP client sets itself.
HOP_BY_HOP = frozenset(
    {b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"proxy-connection"}
)
CALLERS_OWN = frozenset(
    {
        b"authorization",
        b"cookie",
        b"forwarded",
        b"host",
        b"origin",
        b"referer",
        b"via",
        b"x-real-ip",
        b"x-api-key",
        b"api-key",
        b"x-csrftoken",
        b"x-upstream-authorization",
        b"content-length",
        b"expect",
        b"mcp-session-id",
    }
)
CALLERS_OWN_PREFIXES = (b"proxy-", b"x-forwarded-", b"sec-", b"access-control-", b"cf-", b"x-aigw-")
# Repeats an argument under the name that a tool's schema gives it (MCP 2026-07-28, "Custom Headers").
PARAMETER_PREFIX = b"mcp-param-"
STAYS = HOP_BY_HOP | CALLERS_OWN
NONE: frozenset[bytes] = frozenset()
BACK = frozenset(
    {b"content-type", b"content-encoding", b"content-length", b"content-language", b"retry-after", b"allow"}
)
BACK_PREFIX = b"mcp-"
SESSION = b"mcp-session-id"
CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


def to_upstream(raw: RawHeaders, *, callers_token: str) -> RawHeaders:
    """Return the caller's headers that go upstream: never a credential, a cookie or the way that it came (D02).

    A header that repeats the caller's own token anywhere is dropped whole (D01), and so is a name with `_`, which
    some servers read as `-`: it would stand beside, or in place of, the gateway's own (RFC 3875 §4.1.18).
    """
    named = _named_by_connection(raw)
    token = callers_token.encode()
    return [
        field
        for field in raw
        if _may_go_upstream(field[0]) and field[0] not in named and not (token and token in field[1])
    ]


@lru_cache(maxsize=4096)
def _may_go_upstream(name: bytes) -> bool:
    return (
        name not in STAYS
        and not name.startswith(CALLERS_OWN_PREFIXES)
        and (b"_" not in name or name.startswith(PARAMETER_PREFIX))
    )


def to_caller(raw: RawHeaders) -> RawHeaders:
    """Return the upstream's headers that the caller may see, by an allow-list (D06)."""
    named = _named_by_connection(raw)
    return [
        (key, value)
        for key, value in raw
        if (key in BACK or (key.startswith(BACK_PREFIX) and key != SESSION))
        and key not in named
        and not CONTROL.search(value)
    ]


def _named_by_connection(raw: RawHeaders) -> frozenset[bytes]:
    """Return the headers that belong to the connection because its own header says so (RFC 9110 §7.6.1)."""
    named = NONE
    for key, value in raw:
        if key == b"connection":
            named |= _names(value)
    return named


@lru_cache(maxsize=1024)
def _names(value: bytes) -> frozenset[bytes]:
    return frozenset(name.strip().lower() for name in value.split(b","))
