"""A caller of streams made of plain sockets: what it costs itself is little, and it sees every byte."""

import asyncio
import re
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from bench._machines import CALL

EVENT = re.compile(rb"data: (\d+) (\d+)\n")


async def first_events(url: str, token: str, count: int) -> list[float]:
    """Open a stream `count` times, one after the other; return for each the milliseconds from upstream to caller."""
    found = []
    for number in range(count + 10):
        reader, writer = await _opened(url, token)
        line = await reader.readuntil(b"\n\n")
        while not (event := EVENT.search(line)):
            line = await reader.readuntil(b"\n\n")
        arrived = time.monotonic_ns()
        writer.close()
        if number >= 10:
            found.append((arrived - int(event.group(2))) / 1e6)
    return found


async def many_streams(url: str, token: str, count: int, look: Callable[[], None]) -> tuple[int, int]:
    """Read `count` streams to their end; return how many events came, and how many not in their order."""
    watch = asyncio.create_task(_repeat(look))
    try:
        read = await asyncio.gather(*(_read_stream(url, token, place * 0.004) for place in range(count)))
    finally:
        watch.cancel()
    return sum(events for events, _ in read), sum(wrong for _, wrong in read)


async def _read_stream(url: str, token: str, seconds_to_wait: float) -> tuple[int, int]:
    await asyncio.sleep(seconds_to_wait)
    reader, writer = await _opened(url, token)
    text = await reader.read(-1)
    writer.close()
    numbers = [int(number) for number, _ in EVENT.findall(text)]
    return len(numbers), sum(number != place for place, number in enumerate(numbers))


async def _opened(url: str, token: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    target = urlsplit(url)
    reader, writer = await asyncio.open_connection(target.hostname, target.port)
    head = (
        f"POST {target.path} HTTP/1.1\r\nHost: {target.netloc}\r\nAuthorization: Bearer {token}\r\n"
        f"Accept: application/json, text/event-stream\r\nContent-Type: application/json\r\nConnection: close\r\n"
        f"Content-Length: {len(CALL)}\r\n\r\n{CALL}"
    )
    writer.write(head.encode())
    return reader, writer


async def _repeat(look: Callable[[], None]) -> None:
    while True:
        look()
        await asyncio.sleep(0.5)
