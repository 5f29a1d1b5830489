"""The guarded httpx2 client for the official MCP SDK, for tool discovery and calls of our own.

The SDK follows redirects within one origin by itself, whatever the client says;
the transport raises on any redirect before the SDK sees it. Errors of this tree
leave the SDK inside an ExceptionGroup: `errors.as_outbound_error` finds them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, cast

import anyio
import httpcore2
import httpx2

from outbound.addresses import RESOLVE_TIMEOUT_SECONDS, Policy, current_policy
from outbound.errors import AnswerTooLarge, RedirectRefused, as_outbound_error, is_redirect, translated
from outbound.tls import ssl_context
from outbound.urls import read_target

MAX_ANSWER_BYTES = 10_000_000


def guarded_mcp_client(
    headers: Mapping[str, str],
    timeout_seconds: float,
    *,
    max_answer_bytes: int = MAX_ANSWER_BYTES,
    policy: Policy | None = None,
    ca_bundle: str | None = None,
) -> httpx2.AsyncClient:
    """Make a client whose every answer, streams included, ends within `timeout_seconds`.

    `policy` and `ca_bundle` stand in for the settings.
    """
    transport = _Transport(timeout_seconds, max_answer_bytes, policy, ca_bundle)
    return httpx2.AsyncClient(
        transport=transport,
        # Uncompressed, so that counting bytes bounds the memory they take.
        headers={**headers, "Accept-Encoding": "identity"},
        timeout=httpx2.Timeout(timeout_seconds),
        follow_redirects=False,
        trust_env=False,
    )


class _Transport(httpx2.AsyncHTTPTransport):
    def __init__(self, seconds: float, max_bytes: int, policy: Policy | None, ca_bundle: str | None) -> None:
        context = ssl_context(ca_bundle)
        super().__init__(verify=context, trust_env=False)
        # httpx2 has no argument for the backend; its own pool never opened anything.
        self._pool = httpcore2.AsyncConnectionPool(ssl_context=context, network_backend=_Backend(policy))
        self._seconds = seconds
        self._max_bytes = max_bytes

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        host = read_target(str(request.url)).host
        deadline = anyio.current_time() + self._seconds
        with translated(host), anyio.fail_after(self._seconds):
            response = await super().handle_async_request(request)
        if is_redirect(response.status_code):
            await response.aclose()
            raise RedirectRefused(host)
        if response.headers.get("content-encoding", "identity") != "identity":
            await response.aclose()
            raise AnswerTooLarge(host)
        return httpx2.Response(
            response.status_code,
            headers=response.headers,
            stream=_Stream(cast(httpx2.AsyncByteStream, response.stream), host, deadline, self._max_bytes),
            extensions=response.extensions,
        )


class _Stream(httpx2.AsyncByteStream):
    """An answer that ends at its deadline or its size limit."""

    def __init__(self, stream: httpx2.AsyncByteStream, host: str, deadline: float, max_bytes: int) -> None:
        self._stream = stream
        self._host = host
        self._deadline = deadline
        self._bytes_left = max_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        chunks = aiter(self._stream)
        while (chunk := await self._next(chunks)) is not None:
            self._bytes_left -= len(chunk)
            if self._bytes_left < 0:
                raise AnswerTooLarge(self._host)
            yield chunk

    async def _next(self, chunks: AsyncIterator[bytes]) -> bytes | None:
        with translated(self._host), anyio.fail_after(max(self._deadline - anyio.current_time(), 0)):
            return await anext(chunks, None)

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Backend(httpcore2.AnyIOBackend):
    """Open connections to judged addresses only."""

    def __init__(self, policy: Policy | None) -> None:
        self._policy = policy

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 (the base class has it)
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        policy = self._policy or current_policy()
        failure: Exception = OSError()
        seconds = RESOLVE_TIMEOUT_SECONDS if timeout is None else timeout
        for address in await policy.aaddresses(host, port, timeout_seconds=seconds):
            try:
                return await super().connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise as_outbound_error(failure, host)

    async def connect_unix_socket(self, *_: Any, **__: Any) -> httpcore2.AsyncNetworkStream:
        raise NotImplementedError
