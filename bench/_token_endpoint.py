"""The token endpoint of the benchmarks: rotates every refresh token, after as many milliseconds as the path says."""

import asyncio
import json
import sys
from itertools import count
from typing import Any

import uvicorn

numbers = count()


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Read the request, wait, and answer."""
    while (await receive()).get("more_body"):
        pass
    await asyncio.sleep(int(scope["path"].rpartition("/")[2]) / 1000)
    number = next(numbers)
    tokens = {"access_token": f"access-{number}", "refresh_token": f"refresh-{number}", "expires_in": 3600}
    body = json.dumps({**tokens, "token_type": "Bearer"}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False, lifespan="off")
