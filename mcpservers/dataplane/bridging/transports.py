"""The official SDK's transports, over the guarded client, with the limits that every upstream request has."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from django.conf import settings
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

from mcpservers.dataplane.credentials import Credential
from mcpservers.dataplane.routing import Plan
from outbound.mcp_http import Heard, guarded_mcp_session_client

MAX_EVENT_BYTES = 16 * 1024 * 1024


@asynccontextmanager
async def opened(plan: Plan, credential: Credential, heard: Heard) -> AsyncIterator[Any]:
    """Open the server's transport and give its two streams; `heard` is told what HTTP says."""

    def http(*_: Any, **__: Any) -> httpx2.AsyncClient:
        return guarded_mcp_session_client(
            {credential.name: credential.value} if credential.name else {},
            connect_seconds=settings.AIGW_UPSTREAM_CONNECT_TIMEOUT_SECONDS,
            first_byte_seconds=settings.AIGW_UPSTREAM_FIRST_BYTE_TIMEOUT_SECONDS,
            idle_seconds=settings.AIGW_UPSTREAM_IDLE_TIMEOUT_SECONDS,
            heard=heard,
        )

    if plan.transport == "sse":
        async with sse_client(plan.url, httpx_client_factory=http) as streams:
            yield streams
        return
    async with (
        http() as client,
        streamable_http_client(plan.url, http_client=client, max_sse_event_size=MAX_EVENT_BYTES) as streams,
    ):
        yield streams
