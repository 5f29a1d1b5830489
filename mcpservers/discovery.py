"""Ask a server what it offers, with the official SDK, and keep the answer on the server (contract §6, "cache").

A `user_oauth` server is asked with the token of the user who asks, or of the one who connected first.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
from asgiref.sync import async_to_sync
from django.db import transaction
from django.utils import timezone
from mcp import Client, MCPError
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from pydantic import BaseModel

from audit import trail
from connections import service_tokens, tokens
from connections.errors import TokenError
from mcpservers import service_account
from mcpservers.dataplane import service_credentials
from mcpservers.dataplane.credentials import header_of
from mcpservers.dataplane.jsonrpc import Failure
from mcpservers.dataplane.routing import Plan, plan_of
from mcpservers.models import MCPServer, Transport
from mcpservers.tool_policy import review, schedule
from outbound.errors import OutboundError, as_outbound_error
from outbound.mcp_http import guarded_mcp_client
from vault import secrets

logger = logging.getLogger(__name__)
TIMEOUT_SECONDS = 20.0
MAX_PAGES = 50
MAX_ROWS = 2000
CALLERS_OWN = (
    "This server takes each caller's own token (X-Upstream-Authorization) and the gateway has none of its own to ask "
    "with, so its tools are not listed here. Callers see them through the gateway."
)
CHECK = "Check its address and credential."


class DiscoveryFailed(Exception):
    """The server did not tell what it offers; the message is safe to show."""


@dataclass(frozen=True, slots=True)
class DiscoveryResult:
    """What a server offers: its tools, and everything else that a client learns when it connects."""

    tools: list[dict[str, Any]]
    capabilities: dict[str, Any] = field(repr=False)


def refresh_tools(server: MCPServer, *, user_id: int | None, by_itself: bool = False) -> DiscoveryResult:
    """Ask the server, as `user_id` or the designated user where it needs one, and keep what it says.

    Raises DiscoveryFailed; the last good answer is kept then, with the reason beside it. `by_itself` says that nobody
    asked for it: the trail then tells of what is new only.
    """
    asked_as = schedule.asker(server, user_id) if server.mode == "user_oauth" else None
    try:
        found = async_to_sync(_ask)(server.url, server.transport, _headers(server, asked_as))
    except DiscoveryFailed as exc:
        schedule.failed(server)
        _keep(server, {"discovery_error": str(exc)[:256]}, {})
        raise
    values = {"tools": found.tools, "capabilities": found.capabilities, "discovery_error": ""}
    with transaction.atomic():
        before = _keep(server, values, {"tools_refreshed_at": timezone.now()})
        review.seen(server, before.tools if before.tools_refreshed_at else None)
        if not by_itself or before.tools != found.tools:
            trail.record("mcp_server.discovered", target_type="mcp_server", target=server.name, tools=len(found.tools))
    schedule.answered(server, asked_as)
    return found


def _keep(server: MCPServer, values: dict[str, Any], times: dict[str, Any]) -> MCPServer:
    """Save only what discovery found, and only if the server was not pointed elsewhere meanwhile.

    Returns what was known before. When that says the same, the time alone is written, past the signals: no process has
    to forget anything for it.
    """
    with transaction.atomic():
        rows = MCPServer.objects.filter(pk=server.pk)
        before = rows.select_for_update().filter(url=server.url).first()
        if before is None:
            raise DiscoveryFailed(f"{server.name} was changed while it was being asked. Try again.")
        for name, value in (values | times).items():
            setattr(server, name, value)
        if any(getattr(before, name) != value for name, value in values.items()) or not before.tools_refreshed_at:
            server.save(update_fields=[*values, *times])
        else:
            rows.update(**times)
    return before


def _headers(server: MCPServer, user_id: int | None) -> dict[str, str]:
    plan = plan_of(server)
    try:
        if plan.mode == "static_key":
            value = secrets.read(plan.key_ref, purpose=f"mcp-server {plan.name}")
        elif plan.mode == "token_passthrough":
            raise DiscoveryFailed(CALLERS_OWN)
        elif plan.mode == service_account.MODE:
            value = _shared_token(plan)
        elif plan.mode == "user_oauth":
            value = _token(plan.provider_uid, user_id, plan.required_scopes)
        else:
            return {}
        header = header_of(plan, value, None)
    except (secrets.SecretNotFound, Failure) as exc:
        raise DiscoveryFailed(str(exc)) from None
    except TokenError:
        text = f"Connect your own {plan.provider_name} account first: this server shows its tools only to a user."
        raise DiscoveryFailed(text) from None
    return {header.name: header.value}


def _shared_token(plan: Plan) -> str:
    # Whoever asks for the tools may have put the client right where the gateway cannot see it.
    service_tokens.try_again(plan.server_uid)
    try:
        return service_tokens.usable_token(plan.server_uid).access_token
    except TokenError as exc:
        raise service_credentials.failure(plan, exc) from None


def _token(provider_uid: Any, user_id: int | None, scopes: tuple[str, ...]) -> str:
    if provider_uid is None or user_id is None:
        raise DiscoveryFailed("This server shows its tools only to a connected user.")
    return tokens.usable_token(user_id=user_id, provider_uid=provider_uid, scopes=scopes).access_token


async def _ask(url: str, transport: str, headers: dict[str, str]) -> DiscoveryResult:
    mode = "legacy" if transport == Transport.SSE else "auto"
    try:
        streams = _streams(url, transport, headers)
        async with Client(streams, cache=None, mode=mode, read_timeout_seconds=TIMEOUT_SECONDS) as client:
            return await _read(client)
    except Exception as exc:
        raise DiscoveryFailed(_reason(list(_single(exc)))) from None


@asynccontextmanager
async def _streams(url: str, transport: str, headers: dict[str, str]) -> AsyncIterator[Any]:
    """Open the SDK's transport for a server, over the guarded client."""

    def guarded(*_: Any, **__: Any) -> httpx2.AsyncClient:
        return guarded_mcp_client(headers, TIMEOUT_SECONDS)

    if transport == Transport.SSE:
        async with sse_client(url, httpx_client_factory=guarded) as streams:
            yield streams
        return
    async with guarded() as http, streamable_http_client(url, http_client=http) as streams:
        yield streams


def _single(error: Exception) -> Iterator[Exception]:
    """Yield what is in a group of errors, whatever its depth."""
    for inner in error.exceptions if isinstance(error, ExceptionGroup) else ():
        yield from _single(inner)
    if not isinstance(error, ExceptionGroup):
        yield error


def _reason(errors: list[Exception]) -> str:
    """Say why there is no answer; of the errors that come together, the server's own word first."""
    for error in errors:
        if isinstance(error, MCPError):
            return f"The server does not answer as an MCP server (JSON-RPC error {error.code}). {CHECK}"
    for error in errors:
        if isinstance(error, OutboundError | OSError):
            return str(as_outbound_error(error))
    # The class only: what the SDK says of an answer that it trips over quotes the answer (H02).
    logger.warning("discovery met an unreadable answer", extra={"error": type(errors[0]).__name__})
    return f"The server does not answer as an MCP server. {CHECK}"


async def _read(client: Client) -> DiscoveryResult:
    offers = client.server_capabilities
    seen: dict[str, Any] = {
        "protocol_version": client.protocol_version,
        "supported_versions": _supported(client),
        "capabilities": _plain(offers),
        "server_info": _plain(client.server_info) if client.server_info else None,
        "instructions": client.instructions,
    }
    tools = await _rows(client.list_tools, "tools") if offers.tools else []
    if offers.prompts:
        seen["prompts"] = await _rows(client.list_prompts, "prompts")
    if offers.resources:
        seen["resources"] = await _rows(client.list_resources, "resources")
        seen["resourceTemplates"] = await _rows(client.list_resource_templates, "resource_templates")
    return DiscoveryResult(tools, seen)


def _supported(client: Client) -> list[str]:
    """Return the revisions that the server is known to speak; a discover answer names the modern ones only."""
    discovered = client.session.discover_result
    if discovered is None:
        return [client.protocol_version]
    return sorted({*discovered.supported_versions})


async def _rows(page: Callable[..., Awaitable[Any]], key: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    cursor = None
    for _ in range(MAX_PAGES):
        answer = await page(cursor=cursor)
        rows += [_plain(row) for row in getattr(answer, key)]
        cursor = answer.next_cursor
        if not cursor or len(rows) >= MAX_ROWS:
            break
    return rows[:MAX_ROWS]


def _plain(model: BaseModel) -> dict[str, Any]:
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)
