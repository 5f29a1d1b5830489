"""Requests that two readers could take in two ways end with 400 before anything is served (RFC 9112; D07, D23)."""

import asyncio
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import uvicorn

from aigateway.wire import MAX_HEAD_BYTES, HeadHeld, Protocol
from mcpservers.models import MCPServer
from tests.dataplane.conftest import Agent, _app
from tests.fakes.mcp_server import FakeMcpServer
from tests.fakes.serving import serving

BODY = b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}'
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)


@pytest.fixture(scope="module")
def wire(django_db_setup: None) -> Iterator[str]:
    """The data plane behind the gateway's own reading of HTTP/1.1."""
    made = uvicorn.Config.__init__

    def with_protocol(self: uvicorn.Config, *args: object, **options: object) -> None:
        made(self, *args, **{**options, "http": Protocol})  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(uvicorn.Config, "__init__", with_protocol)
        with serving(_app, lifespan="on") as url:
            patch.undo()
            yield url


@pytest.fixture
def ask(wire: str, agent: Agent, settings: object) -> Iterator[object]:
    """Send raw bytes as alice's agent; return the status and whether the connection was closed."""
    settings.AIGW_BASE_URL = wire  # type: ignore[attr-defined]
    at = urlsplit(wire)

    def send(head: bytes, body: bytes = BODY, line: bytes = b"POST /mcp/v1/tools HTTP/1.1") -> tuple[int, bool]:
        own = f"Host: {at.netloc}\r\nAuthorization: Bearer {agent.token}\r\n".encode()
        with socket.create_connection((at.hostname, at.port), 5) as connection:
            connection.settimeout(1)
            connection.sendall(line + b"\r\n" + own + head + b"\r\n" + body)
            heard = b""
            try:
                while piece := connection.recv(65_536):
                    heard += piece
            except (TimeoutError, ConnectionResetError) as exc:
                return int(heard.split(b" ", 2)[1] if heard else 0), isinstance(exc, ConnectionResetError)
        return int(heard.split(b" ", 2)[1]), True

    return send  # type: ignore[return-value]


def test_a_plain_request_passes_either_way(ask, upstream: FakeMcpServer) -> None:
    assert ask(LENGTH) == (200, False)
    assert ask(b"Transfer-Encoding: chunked\r\n", CHUNKED) == (200, False)
    assert [request.body for request in upstream.requests] == [BODY, BODY]


@pytest.mark.threat("D07")
@pytest.mark.parametrize(
    ("head", "body"),
    [
        (LENGTH + b"Transfer-Encoding: chunked\r\n", CHUNKED),
        (b"Transfer-Encoding: chunked\r\n" + LENGTH, CHUNKED),
        (LENGTH + LENGTH, BODY),
        (LENGTH + b"Content-Length: 5\r\n", BODY),
        (b"Content-Length: 46, 46\r\n", BODY),
        (b"Content-Length: +46\r\n", BODY),
        (b"Content-Length : 46\r\n", BODY),
        (b"X: a\r\n folded\r\n" + LENGTH, BODY),
        (b"X: a\x00b\r\n" + LENGTH, BODY),
        (b"X: a\rY: b\r\n" + LENGTH, BODY),
        (b"X: a\nY: b\r\n" + LENGTH, BODY),
        (b"Transfer-Encoding: identity\r\n", BODY),
        (b"Transfer-Encoding: xchunked\r\n", CHUNKED),
        (b"Transfer-Encoding: gzip, chunked\r\n", CHUNKED),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", CHUNKED),
        (b"Host: evil.example\r\n" + LENGTH, BODY),
        (b"X: " + b"x" * (MAX_HEAD_BYTES + 1) + b"\r\n" + LENGTH, BODY),
        (b"X: " + b"x" * (4 * MAX_HEAD_BYTES), b""),
        (b"X: 1\r\n" * 30_000 + LENGTH, BODY),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(ask, upstream: FakeMcpServer, head: bytes, body: bytes) -> None:
    status, is_closed = ask(head, body)
    assert is_closed
    assert status in {400, 0}  # 0: the connection was reset while we were still sending
    assert upstream.requests == []


@pytest.mark.threat("D23")
@pytest.mark.parametrize(
    "line",
    [
        b"POST http://evil.example/mcp/v1/tools HTTP/1.1",
        b"CONNECT evil.example:443 HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"TRACE /mcp/v1/tools HTTP/1.1",
        b"BREW /mcp/v1/tools HTTP/1.1",
        b"POST /mcp/v1/tools HTTP/1.0",
        b"POST /mcp/v1/tools HTTP/2.0",
        b"POST /mcp/v1/tools",
        b"PUT /mcp/v1/tools HTTP/1.1",
    ],
)
def test_another_form_version_or_method_is_never_proxied(ask, upstream: FakeMcpServer, line: bytes) -> None:
    assert ask(LENGTH, line=line)[0] in {400, 405}
    assert upstream.requests == []


def test_a_large_body_is_no_large_head(ask, upstream: FakeMcpServer, server: MCPServer) -> None:
    body = b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"a":"%b"}}' % (b"x" * 500_000)
    assert ask(b"Content-Length: %d\r\n" % len(body), body) == (200, False)
    assert upstream.requests[0].body == body


class Recorded:
    """A transport that keeps what is written to it."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.is_closed = False

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True


HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


async def test_the_head_leaves_with_the_first_piece_of_the_body() -> None:
    under = Recorded()
    held = HeadHeld(under)  # type: ignore[arg-type]
    held.write(HEAD)
    held.write(b"body")
    held.write(b"more")
    await asyncio.sleep(0)
    assert under.writes == [HEAD + b"body", b"more"]


async def test_the_head_of_a_silent_stream_waits_for_nothing() -> None:
    under = Recorded()
    HeadHeld(under).write(HEAD)  # type: ignore[arg-type]
    await asyncio.sleep(0)
    assert under.writes == [HEAD]


async def test_a_large_body_is_not_copied_behind_its_head() -> None:
    under = Recorded()
    held = HeadHeld(under)  # type: ignore[arg-type]
    held.write(HEAD)
    held.write(b"x" * 20_000)
    assert under.writes == [HEAD, b"x" * 20_000]


async def test_a_held_head_leaves_before_the_connection_is_closed() -> None:
    under = Recorded()
    held = HeadHeld(under)  # type: ignore[arg-type]
    held.write(HEAD)
    held.close()
    await asyncio.sleep(0)
    assert (under.writes, under.is_closed) == ([HEAD], True)


async def test_nothing_is_written_to_a_connection_that_was_lost() -> None:
    under = Recorded()
    HeadHeld(under).write(HEAD)  # type: ignore[arg-type]
    under.is_closed = True
    await asyncio.sleep(0)
    assert under.writes == []
