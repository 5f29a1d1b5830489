"""A steady load on one real gateway (I01, I02, I04): its own time, its memory, and what it holds, before and after.

About 45 s. The long form, which runs alone, holds to the figures of the threats: 60 s of 200 calls a second, and 500
streams of 60 s.
"""

import asyncio
import re
import statistics
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from tests.faults.one_gateway import Running, Upstream, running
from tests.faults.table import IS_LONG

CALLS_PER_SECOND = 200
CALLERS, SECONDS = 8, 60.0 if IS_LONG else 8.0
# How long the gateway keeps a connection to an upstream that nobody uses.
IDLE_SECONDS = 15.0
STREAMS, EVENTS = (500, 60) if IS_LONG else (100, 5)
# Beside other tests no machine is quiet; the long form has it to itself.
P95_SECONDS = 0.050 if IS_LONG else 0.250
CALL = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{}}}'
TICKS = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"tick-%d"}}'


class Ticking(Upstream):
    """`tick-N` is a stream of so many events, one a second, each with its number."""

    async def _serve(self, name: str, amount: int, message: Any, headers: Any, send: Any, gone: Any) -> None:
        if name != "tick":
            await super()._serve(name, amount, message, headers, send, gone)
            return
        event_stream = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": event_stream})
        for number in range(amount):
            await send({"type": "http.response.body", "body": b"data: event-%d\n\n" % number, "more_body": True})
            await asyncio.wait([gone], timeout=1)
        await send({"type": "http.response.body", "body": b"data: last\n\n", "more_body": False})


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A gateway with room for the load."""
    folder, room = tmp_path_factory.mktemp("load"), {"AIGW_CALLS_PER_USER": "1000", "AIGW_CALLS_PER_SERVER": "1000"}
    with running(folder, upstream=Ticking(), **room) as found:
        paced(found, 2.0)  # what is allocated once
        yield found


def headers(site: Running) -> dict[str, str]:
    """Return the headers of a call."""
    accept = "application/json, text/event-stream"
    return {"Authorization": f"Bearer {site.tokens[0]}", "Content-Type": "application/json", "Accept": accept}


def paced(site: Running, seconds: float) -> list[float]:
    """Call at a pace, on kept connections; return how long each call took. Any but a good answer fails."""
    took: list[float] = []
    wrong: list[int] = []
    begun = time.monotonic()

    def caller(first: int) -> None:
        line = HTTPConnection(str(site.address.hostname), site.address.port, timeout=20)
        for number in range(first, int(seconds * CALLS_PER_SECOND), CALLERS):
            time.sleep(max(begun + number / CALLS_PER_SECOND - time.monotonic(), 0))
            at = time.perf_counter()
            line.request("POST", "/mcp/v1/tools", CALL, headers(site))
            answer = line.getresponse()
            if answer.status != 200 or b'"result"' not in answer.read():
                wrong.append(answer.status)
            took.append(time.perf_counter() - at)
        line.close()

    threads = [threading.Thread(target=caller, args=(first,)) for first in range(CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    return took


def held(site: Running) -> tuple[int, int, float]:
    """Return descriptors, threads and megabytes of the gateway."""
    status = Path(f"/proc/{site.pid}/status").read_text()
    megabytes = int(status.partition("VmRSS:")[2].split()[0]) / 1024
    return len(list(Path(f"/proc/{site.pid}/fd").iterdir())), site.threads(), megabytes


@pytest.mark.threat("I01", "I04")
def test_a_steady_load_is_served_in_time_and_leaves_nothing(site: Running) -> None:
    paced(site, SECONDS / 4)
    descriptors, threads, megabytes = held(site)
    took = paced(site, SECONDS)
    assert len(took) == int(SECONDS * CALLS_PER_SECOND)
    assert statistics.quantiles(took, n=20)[18] < P95_SECONDS
    after = held(site)
    assert after[0] <= descriptors + CALLERS
    assert after[1] <= threads + 2
    assert after[2] <= megabytes * 1.1


@pytest.mark.threat("I02", "I04")
def test_streams_lose_and_reorder_nothing(site: Running) -> None:
    descriptors, threads, _ = held(site)
    site.reset_peak()

    async def one(number: int) -> bytes:
        await asyncio.sleep(number / STREAMS)
        reader, writer = await asyncio.open_connection(site.address.hostname, site.address.port, limit=2**20)
        body = TICKS % EVENTS
        fields = {"Host": site.address.netloc, "Content-Length": str(len(body)), "Connection": "close", **headers(site)}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        writer.write(f"POST /mcp/v1/tools HTTP/1.1\r\n{head}\r\n".encode() + body)
        try:
            return await asyncio.wait_for(reader.read(), EVENTS * 2 + 30)
        finally:
            writer.close()

    async def all_of_them() -> list[bytes]:
        return list(await asyncio.gather(*(one(number) for number in range(STREAMS))))

    wanted = [b"event-%d" % number for number in range(EVENTS)] + [b"last"]
    for answer in asyncio.run(all_of_them()):
        assert re.findall(rb"data: (\S+)", answer) == wanted, answer[:300]
    assert site.peak_megabytes() < 1024
    # The connections to the upstream are kept for what comes next, and closed when nothing does.
    deadline = time.monotonic() + IDLE_SECONDS + 10
    while held(site)[0] > descriptors + 2:
        assert time.monotonic() < deadline, held(site)
        time.sleep(0.5)
    assert held(site)[1] <= threads + 2
