"""The guarded httpx2 clients for the official MCP SDK: for discovery, and for the sessions of the data plane's bridge.

The SDK follows redirects within one origin by itself, whatever the client says;
the transport raises on any redirect before the SDK sees it. Errors of this tree
leave the SDK inside an ExceptionGroup: `errors.as_outbound_error` finds them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import anyio
import httpcore2
import httpx2

from outbound.addresses import RESOLVE_TIMEOUT_SECONDS, Policy, current_policy
from outbound.errors import AnswerTooLarge, OutboundError, RedirectRefused, as_outbound_error, is_redirect, translated
from outbound.tls import ssl_context
from outbound.urls import read_target

MAX_ANSWER_BYTES = 10_000_000
SESSION_CONNECTIONS = 100
Heard = Callable[[httpx2.Response | OutboundError], None]


@dataclass(frozen=True, slots=True)
class _Limits:
    """In seconds: to the answer's headers, between two pieces, and for the whole; in bytes, but of no event stream."""

    first_byte: float
    idle: float
    total: float | None
    answer_bytes: int


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
    limits = _Limits(timeout_seconds, timeout_seconds, timeout_seconds, max_answer_bytes)
    transport = _Transport(limits, policy, ca_bundle)
    return _client(transport, headers, httpx2.Timeout(timeout_seconds))


def guarded_mcp_session_client(
    headers: Mapping[str, str],
    *,
    connect_seconds: float,
    first_byte_seconds: float,
    idle_seconds: float,
    heard: Heard,
    max_answer_bytes: int = MAX_ANSWER_BYTES,
) -> httpx2.AsyncClient:
    """Make a client for a session that lasts: no answer has a deadline, and the stream of a GET may stay silent.

    `heard` is told of every answer, in the context of its request, or of the error that came instead. The SDK gets
    an empty 502 for that one: an exception would end its whole session, and every other request in it.
    """
    limits = _Limits(first_byte_seconds, idle_seconds, None, max_answer_bytes)
    transport = _Reporting(_Transport(limits, None, None), heard)
    return _client(transport, headers, httpx2.Timeout(None, connect=connect_seconds, pool=first_byte_seconds))


def _client(
    transport: httpx2.AsyncBaseTransport, headers: Mapping[str, str], timeout: httpx2.Timeout
) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        transport=transport,
        # Uncompressed, so that counting bytes bounds the memory they take.
        headers={**headers, "Accept-Encoding": "identity"},
        timeout=timeout,
        follow_redirects=False,
        trust_env=False,
    )


class _Reporting(httpx2.AsyncBaseTransport):
    """Tells what became of each request."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, heard: Heard) -> None:
        self._inner, self._heard = inner, heard

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        try:
            response = await self._inner.handle_async_request(request)
        except (OutboundError, httpx2.TransportError, OSError) as exc:
            self._heard(as_outbound_error(exc, request.url.host))
            return httpx2.Response(502, request=request)
        self._heard(response)
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Transport(httpx2.AsyncHTTPTransport):
    def __init__(self, limits: _Limits, policy: Policy | None, ca_bundle: str | None) -> None:
        context = ssl_context(ca_bundle)
        super().__init__(verify=context, trust_env=False)
        # httpx2 has no argument for the backend; its own pool never opened anything.
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=context, network_backend=_Backend(policy), max_connections=SESSION_CONNECTIONS
        )
        self._limits = limits

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        host = read_target(str(request.url)).host
        limits = self._limits
        is_listening = limits.total is None and request.method == "GET"
        deadline = None if limits.total is None else anyio.current_time() + limits.total
        with translated(host), anyio.fail_after(None if is_listening else limits.first_byte):
            response = await super().handle_async_request(request)
        if is_redirect(response.status_code):
            await response.aclose()
            raise RedirectRefused(host)
        if response.headers.get("content-encoding", "identity") != "identity":
            await response.aclose()
            raise AnswerTooLarge(host)
        is_endless = limits.total is None and response.headers.get("content-type", "").startswith("text/event-stream")
        stream = _Stream(
            cast(httpx2.AsyncByteStream, response.stream),
            host,
            deadline=deadline,
            idle_seconds=None if is_listening else limits.idle,
            max_bytes=None if is_endless else limits.answer_bytes,
        )
        return httpx2.Response(
            response.status_code, headers=response.headers, stream=stream, extensions=response.extensions
        )


class _Stream(httpx2.AsyncByteStream):
    """An answer that ends at its deadline, its longest silence or its size limit."""

    def __init__(
        self,
        stream: httpx2.AsyncByteStream,
        host: str,
        *,
        deadline: float | None,
        idle_seconds: float | None,
        max_bytes: int | None,
    ) -> None:
        self._stream = stream
        self._host = host
        self._deadline = deadline
        self._idle_seconds = idle_seconds
        self._bytes_left = max_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        chunks = aiter(self._stream)
        while (chunk := await self._next(chunks)) is not None:
            if self._bytes_left is not None:
                self._bytes_left -= len(chunk)
                if self._bytes_left < 0:
                    raise AnswerTooLarge(self._host)
            yield chunk

    async def _next(self, chunks: AsyncIterator[bytes]) -> bytes | None:
        left = self._idle_seconds if self._deadline is None else max(self._deadline - anyio.current_time(), 0)
        with translated(self._host), anyio.fail_after(left):
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
