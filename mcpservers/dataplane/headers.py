"""Which headers pass, in either direction. Names are lower case, as ASGI has them."""

import re

from multidict import CIMultiDict, CIMultiDictProxy

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
BACK = frozenset({"content-type", "content-encoding", "content-length", "content-language", "retry-after", "allow"})
BACK_PREFIXES = ("mcp-",)
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def to_upstream(raw: RawHeaders, *, callers_token: str) -> CIMultiDict[str]:
    """Return the caller's headers that go upstream: never a credential, a cookie or the way that it came (D02).

    A header that repeats the caller's own token anywhere is dropped whole (D01).
    """
    named = {name.strip().lower() for key, value in raw if key == b"connection" for name in value.split(b",")}
    token = callers_token.encode()
    kept: CIMultiDict[str] = CIMultiDict()
    for key, value in raw:
        if key in HOP_BY_HOP or key in CALLERS_OWN or key in named or key.startswith(CALLERS_OWN_PREFIXES):
            continue
        if token and token in value:
            continue
        kept.add(key.decode("latin-1"), value.decode("latin-1"))
    return kept


def to_caller(upstream: CIMultiDictProxy[str]) -> RawHeaders:
    """Return the upstream's headers that the caller may see, by an allow-list (D06)."""
    named = {name.strip().lower() for value in upstream.getall("Connection", []) for name in value.split(",")}
    return [
        (name.lower().encode("latin-1"), value.encode("utf-8", "surrogateescape"))
        for name, value in upstream.items()
        if _is_for_caller(name.lower()) and name.lower() not in named and not CONTROL.search(value)
    ]


def _is_for_caller(name: str) -> bool:
    return (name in BACK or name.startswith(BACK_PREFIXES)) and name != "mcp-session-id"
