"""One request to an upstream MCP server, streaming: its headers, then its bytes as they come.

Three limits, each its own (D12): to connect, to the first byte (the answer's headers), and between two pieces.
Nothing that may have an effect is sent twice, and no redirect is followed.
"""

from collections.abc import AsyncIterator, Hashable
from time import perf_counter
from types import TracebackType

from multidict import CIMultiDict, CIMultiDictProxy

from mcpservers.dataplane import circuits, lifespan, limits, stopwatch
from mcpservers.dataplane.exchange import RawHeaders
from mcpservers.dataplane.jsonrpc import Failure, Reason
from outbound.errors import InvalidAnswer, OutboundError, RedirectRefused, TimedOut
from outbound.http1 import client


class Interrupted(Exception):
    """The upstream's answer broke off after it had begun."""


class Answer:
    """An upstream's answer: `status`, `headers`, and `pieces()` of its body. Closed when its block ends."""

    def __init__(self, answer: client.Answer) -> None:
        self._answer = answer
        self.status, self.raw_headers = answer.status, answer.headers

    @property
    def headers(self) -> CIMultiDictProxy[str]:
        """Return the headers to look things up in; `raw_headers` are the same as they came, names in lower case."""
        pairs = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in self.raw_headers)
        return CIMultiDictProxy(CIMultiDict(pairs))

    async def piece(self) -> bytes:
        """Return the next bytes of the body, untouched; b"" at its end. Raises Interrupted."""
        began = perf_counter()
        try:
            return await self._answer.read()
        except OutboundError as exc:
            raise Interrupted(type(exc).__name__) from None
        finally:
            stopwatch.waited_for_upstream(began)

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives, untouched. Raises Interrupted."""
        while piece := await self.piece():
            yield piece

    async def read(self, limit: int) -> bytes:
        """Return the whole body. Raises Interrupted, also when it is longer than `limit` bytes."""
        body = bytearray()
        while piece := await self.piece():
            body += piece
            if len(body) > limit:
                raise Interrupted("too large")
        return bytes(body)

    @property
    def is_read(self) -> bool:
        """Tell whether the whole body has been handed over."""
        return self._answer.is_read

    def close(self) -> None:
        """Let go: a connection whose answer was read to its end is kept, any other is closed."""
        self._answer.close()

    async def __aenter__(self) -> "Answer":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


async def send(
    method: str,
    url: str,
    headers: RawHeaders,
    body: bytes | None,
    *,
    owner: Hashable,
    is_listening: bool = False,
    is_repeatable: bool = False,
) -> Answer:
    """Send one request; whoever takes the answer closes it.

    `owner` is whose credential goes along: no connection serves two of them. `is_listening` waits without limit: the
    stream of a GET or a subscription may stay silent for hours. `is_repeatable` lets a request without effect be sent
    again when the upstream closed a kept connection under it.
    Raises Failure `UpstreamUnavailable` when there is no answer at all.
    """
    allowed = limits.current()
    first_byte = None if is_listening else allowed.first_byte_seconds
    idle = None if is_listening else allowed.idle_seconds
    began = perf_counter()
    try:
        with circuits.guarding(url) as circuit:
            answer = await lifespan.http().send(
                method,
                url,
                headers,
                body,
                owner=owner,
                first_byte_seconds=first_byte,
                idle_seconds=idle,
                is_repeatable=is_repeatable,
            )
            circuit.answered(answer.status)
    except OutboundError as exc:
        raise _unavailable(exc) from None
    finally:
        stopwatch.waited_for_upstream(began)
    return Answer(answer)


def _unavailable(error: OutboundError) -> Failure:
    if isinstance(error, TimedOut):
        return Failure(Reason.UpstreamUnavailable, "The MCP server did not answer in time.", "timeout", http_status=504)
    if isinstance(error, RedirectRefused):
        text = "The MCP server answered with a redirect, which the gateway does not follow."
        return Failure(Reason.UpstreamUnavailable, text, "redirect_refused")
    if isinstance(error, InvalidAnswer):
        text = "The MCP server sent an answer that is not valid HTTP. Nothing is known of the call's effect."
        return Failure(Reason.UpstreamUnavailable, text, "invalid_answer")
    return Failure(
        Reason.UpstreamUnavailable,
        "The MCP server cannot be reached. Nothing is known of the call's effect.",
        "unreachable",
    )
