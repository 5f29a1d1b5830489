"""A token endpoint in a process of its own, which rotates, takes 30 ms and counts what it is asked.

Run with a port as its argument. `POST /token` renews, `POST /refuse` answers `invalid_grant`. `GET /seen` says how many
were in flight at most, when each arrived (seconds of the monotonic clock, which all processes share), and how many
refresh tokens came more than once.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from itertools import count
from typing import Any
from urllib.parse import parse_qs

import uvicorn

LATENCY_SECONDS = 0.03


class Endpoint:
    """What it was asked so far."""

    def __init__(self) -> None:
        self._arrivals: list[float] = []
        self._tokens: Counter[str] = Counter()
        self._in_flight = self._most = 0
        self._numbers = count()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        status = 400 if scope["path"] == "/refuse" else 200
        answer = self._seen() if scope["path"] == "/seen" else await self._renewed(parse_qs(body.decode()))
        content = json.dumps(answer if status == 200 else {"error": "invalid_grant"}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def _renewed(self, form: dict[str, list[str]]) -> dict[str, Any]:
        self._arrivals.append(time.monotonic())
        self._tokens[form["refresh_token"][0]] += 1
        self._in_flight += 1
        self._most = max(self._most, self._in_flight)
        await asyncio.sleep(LATENCY_SECONDS)
        self._in_flight -= 1
        number = next(self._numbers)
        tokens = {"access_token": f"access-{number}", "refresh_token": f"refresh-{number}"}
        return {**tokens, "token_type": "Bearer", "expires_in": 3600}

    def _seen(self) -> dict[str, Any]:
        twice = sum(times - 1 for times in self._tokens.values())
        return {"arrivals": self._arrivals, "most_in_flight": self._most, "twice": twice}


if __name__ == "__main__":
    uvicorn.run(
        Endpoint(), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False, lifespan="off"
    )
