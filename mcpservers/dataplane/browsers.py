"""A signed-in person's browser as caller: the inspector's calls, by the same path as an agent's (contract §3).

A session counts only where no `Authorization` header came, and only together with the CSRF token, from our own pages.
What is remembered of it is younger than a second: a session that ends calls no more, whichever process ended it.
"""

from typing import Any

from django.conf import settings
from django.http import parse_cookie

from clients import signed_in
from clients.api.authentication import WHERE_TO_GET_ONE
from connections.database import run_in_thread
from mcpservers.dataplane import jsonrpc
from mcpservers.dataplane.exchange import Exchange
from mcpservers.dataplane.memory import Memory
from mcpservers.dataplane.routing import Caller

REMEMBER_SECONDS = 0.5
CHECKED = ("host", "origin", "referer", "sec-fetch-site", "x-csrftoken")
FORGED = "The session was not used: the CSRF token is missing or wrong. Reload the page, and send it as X-CSRFToken."
# Nobody was recognised, so nothing is said of any server.
UNASKED: dict[str, Any] = {"server": None, "provider": None, "authorize_url": None, "scopes": [], "detail": None}
_callers: Memory[Caller] = Memory(seconds=REMEMBER_SECONDS)


def session_of(exchange: Exchange) -> str:
    """Return the session cookie, or ""."""
    return _cookies(exchange).get(settings.SESSION_COOKIE_NAME, "")


async def authenticate(exchange: Exchange, session: str) -> Caller | None:
    """Return who is signed in in this session; None when the request was refused."""
    headers = {name: value for name in CHECKED if (value := exchange.header(name))}
    if signed_in.is_forgery(_cookies(exchange), headers):
        data = {"status": "PERMISSION_DENIED", "reason": "csrf_failed", **UNASKED}
        await exchange.answer(403, jsonrpc.error(None, jsonrpc.INVALID_REQUEST, FORGED, data))
        return None
    caller = await caller_of(session)
    if caller is None:
        detail = f"You are signed out. Sign in again, or use an API token. {WHERE_TO_GET_ONE}"
        await exchange.refuse(401, "not_authenticated", detail, [(b"www-authenticate", b"Bearer")])
    return caller


async def caller_of(session: str) -> Caller | None:
    """Return who is signed in in a session; None when nobody is."""
    try:
        return await _callers.get(session, lambda: run_in_thread(_read, session))
    except LookupError:
        return None


def _read(session: str) -> Caller:
    found = signed_in.by_session(session)
    if found is None:
        raise LookupError
    return Caller(found.user.pk, found.user.get_username(), expires_at=found.until, is_browser=True)


def _cookies(exchange: Exchange) -> dict[str, str]:
    return parse_cookie("; ".join(value.decode("latin-1") for key, value in exchange.raw_headers if key == b"cookie"))
