"""The upstream of the streams: an event each second, each with its number and the moment that it was sent.

`POST /stream?count=N&seconds=S` sends N events, S seconds apart, on an event stream.
"""

import asyncio
import sys
import time
from typing import Any
from urllib.parse import parse_qs

import uvicorn


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Serve one stream."""
    while (await receive()).get("more_body"):
        pass
    query = parse_qs(scope["query_string"].decode())
    count, seconds = int(query.get("count", ["1"])[0]), float(query.get("seconds", ["0"])[0])
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    for number in range(count):
        event = b"data: %d %d\n\n" % (number, time.monotonic_ns())
        await send({"type": "http.response.body", "body": event, "more_body": True})
        await asyncio.sleep(seconds)
    await send({"type": "http.response.body", "body": b""})


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False, lifespan="off")
