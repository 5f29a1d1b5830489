"""One request to an upstream MCP server, streaming: its headers, then its bytes as they come.

Three limits, each its own (D12): to connect, to the first byte (the answer's headers), and between two pieces.
Nothing is sent twice, and no redirect is followed.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from django.conf import settings
from multidict import CIMultiDict

from mcpservers.dataplane import lifespan
from mcpservers.dataplane.jsonrpc import Failure, Reason
from outbound.errors import OutboundError, RedirectRefused, TimedOut
from outbound.streaming import map_client_error

NO_DEFAULTS = ("Accept", "Accept-Encoding", "User-Agent", "Content-Type")


class Interrupted(Exception):
    """The upstream's answer broke off after it had begun."""


class Answer:
    """An upstream's answer: `status`, `headers`, and `pieces()` of its body."""

    def __init__(self, response: aiohttp.ClientResponse, idle_seconds: float | None) -> None:
        self._response, self._idle_seconds = response, idle_seconds
        self.status, self.headers = response.status, response.headers

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives, untouched. Raises Interrupted."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._idle_seconds) as idle:
                async for piece, _ in self._response.content.iter_chunks():
                    if self._idle_seconds is not None:
                        idle.reschedule(None)
                    if piece:
                        yield piece
                    if self._idle_seconds is not None:
                        idle.reschedule(loop.time() + self._idle_seconds)
        except (TimeoutError, aiohttp.ClientError, OutboundError) as exc:
            raise Interrupted(type(exc).__name__) from None

    async def read(self, limit: int) -> bytes:
        """Return the whole body. Raises Interrupted, also when it is longer than `limit` bytes."""
        body = bytearray()
        async for piece in self.pieces():
            body += piece
            if len(body) > limit:
                raise Interrupted("too large")
        return bytes(body)


@asynccontextmanager
async def send(
    method: str, url: str, headers: CIMultiDict[str], body: bytes | None, *, is_listening: bool = False
) -> AsyncIterator[Answer]:
    """Send one request; the answer is closed, and its connection freed, when the block ends.

    `is_listening` waits without limit: the stream of a GET or a subscription may stay silent for hours.
    Raises Failure `UpstreamUnavailable` when there is no answer at all.
    """
    first_byte = None if is_listening else settings.AIGW_UPSTREAM_FIRST_BYTE_TIMEOUT_SECONDS
    idle = None if is_listening else settings.AIGW_UPSTREAM_IDLE_TIMEOUT_SECONDS
    try:
        async with asyncio.timeout(first_byte):
            response = await lifespan.http().request(
                method, url, data=body, headers=headers, allow_redirects=False, skip_auto_headers=NO_DEFAULTS
            )
    except (TimeoutError, aiohttp.ClientError, OutboundError, OSError, ValueError) as exc:
        raise _unavailable(exc) from None
    try:
        yield Answer(response, idle)
    finally:
        response.close() if not response.content.at_eof() else response.release()


def _unavailable(exc: Exception) -> Failure:
    error = TimedOut("") if isinstance(exc, TimeoutError) else map_client_error(exc)
    if isinstance(error, TimedOut) or isinstance(exc, aiohttp.ServerTimeoutError):
        return Failure(Reason.UpstreamUnavailable, "The MCP server did not answer in time.", "timeout", http_status=504)
    if isinstance(error, RedirectRefused):
        text = "The MCP server answered with a redirect, which the gateway does not follow."
        return Failure(Reason.UpstreamUnavailable, text, "redirect_refused")
    return Failure(
        Reason.UpstreamUnavailable,
        "The MCP server cannot be reached. Nothing is known of the call's effect.",
        "unreachable",
    )
