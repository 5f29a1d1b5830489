"""The data plane's HTTP/1.1 client against real sockets that misbehave, one script per connection."""

import asyncio
import contextlib
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outbound.addresses import Policy
from outbound.errors import ConnectFailed, InvalidAnswer, InvalidRequest, OutboundError, TimedOut
from outbound.http1.client import Answer, Client
from outbound.http1.wire import MAX_BARREN_BYTES, Connection

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
HEAD = [(b"accept", b"*/*")]


class FarSide:
    """A server made of scripts: connection number N runs script N, and the last one ever after."""

    def __init__(self) -> None:
        self.scripts: list[Script] = [answering(OK)]
        self.connections = self.open = 0
        self.requests: list[bytes] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        script = self.scripts[min(self.connections, len(self.scripts) - 1)]
        self.connections += 1
        self.open += 1
        try:
            await script(Requests(reader, self.requests), writer)  # type: ignore[arg-type]
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open -= 1
            writer.close()


class Requests:
    """The reading side, which keeps every request."""

    def __init__(self, reader: asyncio.StreamReader, kept: list[bytes]) -> None:
        self.reader, self.kept = reader, kept

    async def one(self) -> bytes:
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = next((int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:")), 0)
        self.kept.append(head + await self.reader.readexactly(length))
        return self.kept[-1]

    async def end(self) -> None:
        """Wait until the client closes."""
        await self.reader.read(-1)


def answering(*answers: bytes, then_close: bool = False) -> Script:
    """Answer the requests of one connection with these, the last one again and again."""

    async def script(requests: Any, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await requests.one()
            writer.write(answer)
        while not then_close:
            await requests.one()
            writer.write(answers[-1])

    return script


@pytest.fixture
async def far_side() -> AsyncIterator[FarSide]:
    far = FarSide()
    server = await asyncio.start_server(far.serve, "127.0.0.1", 0)
    far.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"
    yield far
    server.close()


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    made = Client(policy=Policy.parse(["127.0.0.1"]), limit_per_origin=4, limit=6)
    yield made
    await made.close()
    assert len(made.pool) == 0


async def body_of(answer: Answer) -> bytes:
    pieces = []
    try:
        while piece := await answer.read():
            pieces.append(piece)
    finally:
        answer.close()
    return b"".join(pieces)


async def fetch(client: Client, url: str, **options: Any) -> tuple[int, bytes]:
    answer = await client.send("POST", url, HEAD, b"{}", **options)
    return answer.status, await body_of(answer)


async def until(condition: Callable[[], bool], seconds: float = 2) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_request_is_sent_whole_and_a_connection_is_used_again(far_side: FarSide, client: Client) -> None:
    for _ in range(3):
        assert await fetch(client, far_side.url + "?a=1") == (200, b"ok")
    host = far_side.url.split("/")[2].encode()
    head = b"POST /mcp?a=1 HTTP/1.1\r\nhost: " + host + b"\r\naccept: */*\r\ncontent-length: 2\r\n\r\n{}"
    assert far_side.requests == [head] * 3
    assert far_side.connections == 1


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (CHUNKED + b"3\r\nabc\r\n2;note=x\r\nde\r\n0\r\nx-trailer: 1\r\n\r\n", (200, b"abcde")),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK, (200, b"ok")),
        (b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n", (202, b"")),
        (b"HTTP/1.1 204 No Content\r\n\r\n", (204, b"")),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 1\r\n\r\nx", (500, b"x")),
        (b"HTTP/1.1 200\r\nContent-Length: 1\r\n\r\nx", (200, b"x")),
    ],
)
async def test_every_framing_is_read_and_leaves_the_connection_fit_for_the_next(
    far_side: FarSide, client: Client, answer: bytes, expected: tuple[int, bytes]
) -> None:
    far_side.scripts = [answering(answer, OK)]
    assert await fetch(client, far_side.url) == expected
    assert await fetch(client, far_side.url) == (200, b"ok")
    assert far_side.connections == 1


async def test_an_answer_that_comes_a_byte_at_a_time_is_the_same(far_side: FarSide, client: Client) -> None:
    async def slowly(requests: Any, writer: asyncio.StreamWriter) -> None:
        await requests.one()
        for byte in CHUNKED + b"3\r\nabc\r\n0\r\n\r\n":
            writer.write(bytes([byte]))
            await asyncio.sleep(0)
        await requests.end()

    far_side.scripts = [slowly]
    assert await fetch(client, far_side.url) == (200, b"abc")


async def test_headers_come_as_they_were_sent_repeated_ones_too(far_side: FarSide, client: Client) -> None:
    head = (
        b"HTTP/1.1 200 OK\r\nMcp-A: 1\r\nmcp-a: 2\r\nX: caf\xe9\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n"
    )
    far_side.scripts = [answering(head + b"\x1f\x8b")]
    answer = await client.send("GET", far_side.url, HEAD)
    assert answer.headers[:3] == [(b"mcp-a", b"1"), (b"mcp-a", b"2"), (b"x", b"caf\xe9")]
    assert await body_of(answer) == b"\x1f\x8b"
    assert b"content-length" not in far_side.requests[0]


async def test_a_body_may_end_with_the_connection(far_side: FarSide, client: Client) -> None:
    far_side.scripts = [answering(b"HTTP/1.1 200 OK\r\n\r\nall of it", then_close=True), answering(OK)]
    assert await fetch(client, far_side.url) == (200, b"all of it")
    assert await fetch(client, far_side.url) == (200, b"ok")
    assert far_side.connections == 2


@pytest.mark.parametrize("framing", [b"Connection: close\r\n", b""])
async def test_a_connection_that_ends_is_not_kept(far_side: FarSide, client: Client, framing: bytes) -> None:
    version = b"HTTP/1.1" if framing else b"HTTP/1.0"
    far_side.scripts = [answering(version + b" 200 OK\r\n" + framing + b"Content-Length: 2\r\n\r\nok")]
    for _ in range(2):
        assert await fetch(client, far_side.url) == (200, b"ok")
    assert far_side.connections == 2


@pytest.mark.threat("D07")
@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, identity\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n folded\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX : a\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
        b"hello\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * (MAX_BARREN_BYTES + 1),
        b"HTTP/1.1 100 Continue\r\n\r\n" * 4000,
    ],
)
async def test_an_answer_that_two_readers_could_take_in_two_ways_is_refused(
    far_side: FarSide, client: Client, answer: bytes
) -> None:
    far_side.scripts = [answering(answer), answering(OK)]
    with pytest.raises(InvalidAnswer):
        await fetch(client, far_side.url)
    await until(lambda: far_side.open == 0)
    assert await fetch(client, far_side.url) == (200, b"ok")


@pytest.mark.threat("D07")
@pytest.mark.parametrize(
    "body",
    [
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"3\nabc\r\n0\r\n\r\n",
        b"-3\r\nabc\r\n",
        b"ffffffffffffffffff\r\n",
        b"3\r\nabc\r\n0\r\nx: " + b"x" * (8 * MAX_BARREN_BYTES),
        b"3\r\nabc\r\n3;" + b"x" * (8 * MAX_BARREN_BYTES),
    ],
)
async def test_a_broken_chunk_ends_the_answer_with_an_error(far_side: FarSide, client: Client, body: bytes) -> None:
    far_side.scripts = [answering(CHUNKED + body)]
    with pytest.raises(InvalidAnswer):
        await fetch(client, far_side.url, idle_seconds=5)
    await until(lambda: far_side.open == 0)


@pytest.mark.threat("D07")
async def test_bytes_that_nobody_asked_for_end_the_connection(far_side: FarSide, client: Client) -> None:
    async def late(requests: Any, writer: asyncio.StreamWriter) -> None:
        await requests.one()
        writer.write(OK)
        await asyncio.sleep(0.05)
        writer.write(OK.replace(b"ok", b"no"))
        await requests.end()

    far_side.scripts = [answering(OK + OK.replace(b"ok", b"no")), late, answering(OK)]
    for _ in range(2):
        assert await fetch(client, far_side.url) == (200, b"ok")
    await until(lambda: far_side.open == 0)
    assert await fetch(client, far_side.url) == (200, b"ok")
    assert far_side.connections == 3


@pytest.mark.parametrize("value", [b"a\r\nx-evil: 1", b"a\nb", b"a\rb", b"a\0b"])
@pytest.mark.threat("D03")
async def test_a_header_that_would_become_two_is_not_sent(far_side: FarSide, client: Client, value: bytes) -> None:
    with pytest.raises(InvalidRequest):
        await client.send("POST", far_side.url, [(b"authorization", value)], b"{}")
    with pytest.raises(InvalidRequest):
        await client.send("POST", far_side.url, [(value, b"x")], b"{}")
    assert far_side.connections == 0


@pytest.mark.threat("D12")
@pytest.mark.parametrize("begun", [CHUNKED + b"3\r\nabc\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"])
async def test_what_came_before_a_break_is_handed_over_first(far_side: FarSide, client: Client, begun: bytes) -> None:
    far_side.scripts = [answering(begun, then_close=True)]
    answer = await client.send("POST", far_side.url, HEAD, b"{}")
    assert await answer.read() == b"abc"
    with pytest.raises(ConnectFailed):
        await answer.read()
    answer.close()


def stalling(begun: bytes) -> Script:
    async def script(requests: Any, writer: asyncio.StreamWriter) -> None:
        await requests.one()
        writer.write(begun)
        await requests.end()

    return script


@pytest.mark.threat("D12")
@pytest.mark.parametrize(
    ("begun", "limits"),
    [
        (b"", {"first_byte_seconds": 0.4}),
        (b"HTTP/1.1 200 OK\r\nX: ", {"first_byte_seconds": 0.4}),
        (b"", {"total_seconds": 0.4}),
        (CHUNKED + b"3\r\nabc\r\n", {"idle_seconds": 0.4, "first_byte_seconds": 9}),
        (CHUNKED, {"total_seconds": 0.4, "idle_seconds": 9}),
    ],
)
async def test_each_limit_holds_to_a_tenth(
    far_side: FarSide, client: Client, begun: bytes, limits: dict[str, float]
) -> None:
    await fetch(client, far_side.url, first_byte_seconds=0.2, idle_seconds=0.2)  # its timer must not ring in the next
    far_side.scripts = [stalling(begun)]
    started = time.monotonic()
    with pytest.raises(TimedOut):
        await fetch(client, far_side.url, owner="other", **limits)
    assert time.monotonic() - started == pytest.approx(0.4, rel=0.1, abs=0.05)
    await until(lambda: far_side.open <= 1)


@pytest.mark.threat("D12")
async def test_the_total_holds_although_something_keeps_coming(far_side: FarSide, client: Client) -> None:
    async def dripping(requests: Any, writer: asyncio.StreamWriter) -> None:
        await requests.one()
        writer.write(CHUNKED)
        while True:
            writer.write(b"1\r\nx\r\n")
            await writer.drain()
            await asyncio.sleep(0.01)

    far_side.scripts = [dripping]
    started = time.monotonic()
    with pytest.raises(TimedOut):
        await fetch(client, far_side.url, total_seconds=0.3, idle_seconds=5)
    assert time.monotonic() - started == pytest.approx(0.3, abs=0.05)


@pytest.mark.threat("D13")
async def test_a_cancelled_request_closes_its_connection_and_leaves_nothing(far_side: FarSide, client: Client) -> None:
    far_side.scripts = [stalling(CHUNKED + b"3\r\nabc\r\n")]
    gc.collect()
    tasks = len(asyncio.all_tasks())

    async def leave(place: int) -> None:
        answer = await client.send("POST", far_side.url, HEAD, b"{}", owner=place)
        reading = asyncio.ensure_future(body_of(answer))
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)

    for place in range(500):
        await leave(place)
    await until(lambda: far_side.open == 0)
    assert far_side.connections == 500
    assert len(client.pool) == 0
    assert len(asyncio.all_tasks()) <= tasks


@pytest.mark.threat("D13")
async def test_a_caller_who_leaves_the_queue_gives_up_the_place(far_side: FarSide, client: Client) -> None:
    far_side.scripts = [stalling(b"")]
    holding = [asyncio.create_task(fetch(client, far_side.url)) for _ in range(4)]
    await until(lambda: far_side.open == 4)
    waiting = [asyncio.create_task(fetch(client, far_side.url)) for _ in range(3)]
    await asyncio.sleep(0.05)
    assert far_side.connections == 4
    waiting[0].cancel()
    holding[0].cancel()
    await until(lambda: far_side.connections == 5)
    for task in (*holding, *waiting):
        task.cancel()
    await asyncio.gather(*holding, *waiting, return_exceptions=True)
    await until(lambda: far_side.open == 0)
    assert len(client.pool) == 0


@pytest.mark.threat("D12")
async def test_waiting_for_a_place_counts_towards_the_first_byte(far_side: FarSide, client: Client) -> None:
    far_side.scripts = [stalling(b"")]
    holding = [asyncio.create_task(fetch(client, far_side.url)) for _ in range(4)]
    await until(lambda: far_side.open == 4)
    started = time.monotonic()
    with pytest.raises(TimedOut):
        await fetch(client, far_side.url, first_byte_seconds=0.3)
    assert time.monotonic() - started == pytest.approx(0.3, abs=0.05)
    for task in holding:
        task.cancel()
    await asyncio.gather(*holding, return_exceptions=True)


async def test_a_full_pool_lets_the_next_use_what_is_given_back(far_side: FarSide, client: Client) -> None:
    answers = await asyncio.gather(*(fetch(client, far_side.url) for _ in range(40)))
    assert answers == [(200, b"ok")] * 40
    assert far_side.connections == 4


async def test_no_connection_serves_two_owners(far_side: FarSide, client: Client) -> None:
    for owner in ("alice", "bob", "alice", "bob"):
        await fetch(client, far_side.url, owner=owner)
    assert far_side.connections == 2


async def test_an_idle_connection_of_another_owner_makes_room(far_side: FarSide, client: Client) -> None:
    for owner in range(12):
        await fetch(client, far_side.url, owner=owner)
    await until(lambda: far_side.open <= 4)
    assert far_side.connections == 12
    assert len(client.pool) == 4


async def test_an_idle_connection_is_closed_in_time(far_side: FarSide) -> None:
    client = Client(policy=Policy.parse(["127.0.0.1"]), idle_seconds=0.2)
    await fetch(client, far_side.url, first_byte_seconds=60)
    assert far_side.open == 1
    started = time.monotonic()
    await until(lambda: far_side.open == 0)
    assert time.monotonic() - started == pytest.approx(0.2, abs=0.05)
    assert len(client.pool) == 0


async def test_a_connection_that_another_rule_allowed_is_not_used_again(far_side: FarSide, settings: Any) -> None:
    settings.AIGW_OUTBOUND_ALLOW = ["127.0.0.1"]
    client = Client()
    assert await fetch(client, far_side.url) == (200, b"ok")
    settings.AIGW_OUTBOUND_ALLOW = []
    with pytest.raises(OutboundError, match="not an allowed address"):
        await fetch(client, far_side.url)
    await client.close()


def closing_under(requests_served: int) -> Script:
    """Answer, then close as soon as the next request has come, without a byte of an answer."""

    async def script(requests: Any, writer: asyncio.StreamWriter) -> None:
        for _ in range(requests_served):
            await requests.one()
            writer.write(OK)
        await requests.one()
        writer.transport.abort()

    return script


@pytest.mark.threat("D21")
async def test_a_kept_connection_that_was_closed_is_noticed_before_anything_is_sent(
    far_side: FarSide, client: Client
) -> None:
    far_side.scripts = [answering(OK, then_close=True), answering(OK)]
    for _ in range(2):
        assert await fetch(client, far_side.url) == (200, b"ok")
        await asyncio.sleep(0.05)
    assert len(far_side.requests) == 2


@pytest.mark.threat("D21")
async def test_what_only_reads_is_repeated_once_on_a_new_connection(far_side: FarSide, client: Client) -> None:
    far_side.scripts = [closing_under(1), answering(OK)]
    await fetch(client, far_side.url)
    assert await fetch(client, far_side.url, is_repeatable=True) == (200, b"ok")
    assert (len(far_side.requests), far_side.connections) == (3, 2)


@pytest.mark.threat("D21")
async def test_it_is_not_repeated_twice(far_side: FarSide, client: Client) -> None:
    far_side.scripts = [closing_under(1), closing_under(0)]
    await fetch(client, far_side.url)
    with pytest.raises(ConnectFailed):
        await fetch(client, far_side.url, is_repeatable=True)
    assert len(far_side.requests) == 3


@pytest.mark.threat("D20")
async def test_what_may_have_an_effect_is_not_repeated(far_side: FarSide, client: Client) -> None:
    far_side.scripts = [closing_under(1), answering(OK)]
    await fetch(client, far_side.url)
    with pytest.raises(ConnectFailed):
        await fetch(client, far_side.url)
    assert len(far_side.requests) == 2


@pytest.mark.threat("D21")
async def test_nothing_is_repeated_after_a_byte_of_an_answer_or_on_a_new_connection(
    far_side: FarSide, client: Client
) -> None:
    far_side.scripts = [answering(OK, b"HTTP/1.1 2", then_close=True), closing_under(0)]
    await fetch(client, far_side.url)
    for _ in range(2):
        with pytest.raises(ConnectFailed):
            await fetch(client, far_side.url, is_repeatable=True)
    assert len(far_side.requests) == 3


@pytest.mark.threat("D11")
@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
async def test_a_huge_answer_waits_for_its_reader(far_side: FarSide, client: Client, framing: str) -> None:
    sent = 0

    async def flooding(requests: Any, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await requests.one()
        length = b"Content-Length: 2000000000\r\n" if framing == "length" else b""
        writer.write(CHUNKED if framing == "chunked" else b"HTTP/1.1 200 OK\r\n" + length + b"\r\n")
        piece = b"x" * 65_536
        while True:
            writer.write(b"10000\r\n" + piece + b"\r\n" if framing == "chunked" else piece)
            await writer.drain()
            sent += len(piece)

    far_side.scripts = [flooding]
    answer = await client.send("POST", far_side.url, HEAD, b"{}")
    first = await answer.read()
    await asyncio.sleep(0.3)
    held = sent
    await asyncio.sleep(0.2)
    assert sent == held < 30_000_000  # what the two kernels hold between them
    read = len(first)
    while read < 50_000_000:
        read += len(await answer.read())
    answer.close()
    await until(lambda: far_side.open == 0)


async def test_an_early_answer_is_passed_on_and_the_rest_of_the_request_is_not_mistaken_for_the_next(
    far_side: FarSide, client: Client
) -> None:
    async def refusing(requests: Any, writer: asyncio.StreamWriter) -> None:
        await requests.reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.2)

    far_side.scripts = [refusing, answering(OK)]
    answer = await client.send("POST", far_side.url, HEAD, b"x" * 50_000_000)
    assert (answer.status, await body_of(answer)) == (413, b"")
    assert await fetch(client, far_side.url) == (200, b"ok")
    assert far_side.connections == 2


class Wire:
    """A connection without a socket, for the parser's edges."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.connection = Connection(loop, "far.example")
        self.connection.connection_made(self)  # type: ignore[arg-type]

    def write(self, data: bytes) -> None:
        pass

    pause_reading = resume_reading = lambda self: None
    get_write_buffer_size = lambda self: 0  # noqa: E731

    def abort(self) -> None:
        if (connection := self.connection) and connection.lost is None:
            connection.lost = lambda _: None
            connection.connection_lost(None)

    async def heard(self, pieces: list[bytes]) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        self.connection.send(b"GET / HTTP/1.1\r\n\r\n", b"")
        for piece in pieces:
            if self.connection.is_open:
                self.connection.data_received(piece)
        if self.connection.is_open:
            self.connection.eof_received()
            self.abort()
        await self.connection.head(None)
        status, headers = self.connection.status, self.connection.headers
        body = b""
        while piece := await self.connection.read(1, None):
            body += piece
        return status, headers, body


ANSWERS = [
    OK,
    CHUNKED + b"5\r\nhello\r\n1;x=y\r\n!\r\n0\r\na: b\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nMcp-Session-Id: 1\r\n\r\nto the end",
]


@given(answer=st.sampled_from(ANSWERS), cuts=st.lists(st.integers(0, 120), max_size=6))
def test_an_answer_reads_the_same_wherever_the_network_cuts_it(answer: bytes, cuts: list[int]) -> None:
    places = [0, *sorted(min(cut, len(answer)) for cut in cuts), len(answer)]
    pieces = [answer[start:end] for start, end in pairwise(places) if start < end]

    async def both() -> None:
        loop = asyncio.get_running_loop()
        assert await Wire(loop).heard(pieces) == await Wire(loop).heard([answer])

    asyncio.run(both())


@given(
    answer=st.sampled_from(ANSWERS),
    place=st.integers(0, 100),
    junk=st.binary(max_size=12) | st.sampled_from([b"\r\n", b"\n", b"\0", b"Content-Length: 1\r\n", b"HTTP/1.1 "]),
)
def test_nothing_that_comes_raises_anything_but_an_error_of_ours(answer: bytes, place: int, junk: bytes) -> None:
    async def heard() -> None:
        with contextlib.suppress(OutboundError):
            status, _, _ = await Wire(asyncio.get_running_loop()).heard([answer[:place] + junk + answer[place:]])
            assert 200 <= status <= 999

    asyncio.run(heard())
