"""The ASGI callable behind `/mcp/v1/NAME` (contract §6): who calls, may they, then forward or answer.

It stands in front of Django's handler: no middleware, no ORM call and no thread hop on a call whose caller,
plan and token are remembered.
"""

import logging
import re
from functools import lru_cache
from urllib.parse import urlsplit

from django.conf import settings
from django.db import DatabaseError

from audit import context
from clients import activity, addresses, throttle
from clients.api.authentication import WHERE_TO_GET_ONE
from mcpservers.dataplane import browsers, measured, refusals, reviewing, routing, serving, streams
from mcpservers.dataplane.exchange import CallerGone, Exchange, Receive, Scope, Send
from mcpservers.dataplane.routing import Caller, Plan, Refused
from mcpservers.dataplane.visit import Visit

logger = logging.getLogger(__name__)
PREFIX = "/mcp/v1/"
PATH = re.compile(r"\A/mcp/v1/([a-z][a-z0-9-]{0,62})\Z")
METHODS = {"POST": serving.post, "GET": streams.get, "DELETE": streams.delete}
NOT_FOUND = "There is no MCP server of this name that you may see."


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one HTTP request."""
    exchange = Exchange(scope, receive, send)
    address = addresses.judge(exchange.peer, exchange.header("x-forwarded-for"))
    with context.serving(context.Request(exchange.request_id, address)), measured.call(exchange):
        try:
            await _serve(exchange, scope)
        except CallerGone:
            pass
        except DatabaseError as exc:
            logger.error("database unavailable", extra={"error": type(exc).__name__})
            await _broken(exchange, 503, "unavailable", "The database does not answer. Try again.")
        except Exception as exc:
            # The class only: a message or a traceback may hold what the caller or the upstream sent (H02).
            logger.error("data plane failed", extra={"error": type(exc).__name__, "where": refusals.where(exc)})
            await _broken(exchange, 500, "error", "The gateway failed to serve this call. Its log has the request id.")


async def _serve(exchange: Exchange, scope: Scope) -> None:
    if exchange.method not in METHODS:
        allow = [(b"allow", b"POST, GET, DELETE")]
        await exchange.refuse(405, "method_not_allowed", "Use POST, GET or DELETE.", allow)
    elif scope.get("http_version", "1.1") != "1.1":
        detail = "Use HTTP/1.1: answers are streams. Behind nginx, set proxy_http_version 1.1."
        await exchange.refuse(400, "http_version", detail)
    elif not _is_own_host(exchange.header("host")):
        await exchange.refuse(400, "invalid_host", f"This gateway is {settings.AIGW_BASE_URL}.")
    elif not _is_own_origin(exchange.header("origin")):
        await exchange.refuse(403, "origin_not_allowed", "Requests from pages of other sites are refused.")
    else:
        await _visit(exchange, scope.get("aigateway.caller"))


async def _visit(exchange: Exchange, caller: Caller | None) -> None:
    """Serve a request of `caller`, known when the gateway calls itself, else of whom token or session stand for."""
    token = ""
    if caller is None:
        authorization = exchange.header("authorization")
        if not authorization and (token := browsers.session_of(exchange)):
            caller = await browsers.authenticate(exchange, token)
        else:
            token = _bearer(authorization)
            caller = await _authenticate(exchange, token)
    plan = await _plan(exchange, caller) if caller else None
    if caller and plan:
        measured.known(caller, plan)
        visit = Visit(exchange, plan, caller, token)
        async with reviewing.looked_after(visit):
            await METHODS[exchange.method](visit)


async def _authenticate(exchange: Exchange, token: str) -> Caller | None:
    """Return whom the token stands for; None when the request was refused.

    A right token passes whatever else comes from its address: behind one proxy, one guesser must not stop everyone.
    """
    caller = await routing.caller_of(token) if token else None
    if caller is not None:
        if caller.token_pk is not None:
            activity.token_used(caller.token_pk)
        return caller
    if wait := throttle.seconds_to_wait():
        retry = [(b"retry-after", str(wait).encode())]
        await exchange.refuse(429, "throttled", f"Too many wrong tokens from your address. Wait {wait} seconds.", retry)
        return None
    if token:
        throttle.count_failure()
        detail, challenge = "This token is not valid, has expired or was revoked.", b'Bearer error="invalid_token"'
    else:
        detail, challenge = "Sign in with an API token.", b"Bearer"
    await exchange.refuse(401, "not_authenticated", f"{detail} {WHERE_TO_GET_ONE}", [(b"www-authenticate", challenge)])
    return None


async def _plan(exchange: Exchange, caller: Caller) -> Plan | None:
    match = PATH.match(exchange.path)
    plan: Plan | Refused = await routing.plan_for(caller, match.group(1)) if match else Refused(exists=False)
    if isinstance(plan, Plan):
        return plan
    if not plan.exists:
        await exchange.refuse(404, "not_found", NOT_FOUND)
        return None
    name = match.group(1) if match else ""
    await refusals.record(caller, name)
    await exchange.refuse(
        403, "permission_denied", f"You need the permission mcpservers.use_mcpserver on {name}. Ask an admin."
    )
    return None


def _bearer(header: str) -> str:
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _is_own_host(host: str) -> bool:
    """Tell whether a Host header is that of our public address, whose scheme's own port may be written out."""
    return host.lower() in _own_hosts(settings.AIGW_BASE_URL)


@lru_cache(maxsize=4)
def _own_hosts(base_url: str) -> tuple[str, str | None]:
    own = urlsplit(base_url)
    name = own.netloc.lower()
    return name, f"{name}:{443 if own.scheme == 'https' else 80}" if own.port is None else own.hostname


def _is_own_origin(origin: str) -> bool:
    """Tell whether the request may come from where it says: no browser, or our own pages (D08)."""
    return not origin or origin.lower() == settings.AIGW_BASE_URL.lower()


async def _broken(exchange: Exchange, status: int, code: str, detail: str) -> None:
    if not exchange.has_answered:
        await exchange.refuse(status, code, detail, [(b"retry-after", b"2")] if status == 503 else None, "server_error")
