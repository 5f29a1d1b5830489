"""Two providers and their MCP server on loopback, which fail on request; each grant's refresh token rotates.

Paths are `/PROVIDER/token`, `/PROVIDER/revoke` and `/PROVIDER/mcp`. A grant is one user's consent at one provider;
its tokens name it, so that the far side always knows which refresh token it still honours.
"""

import json
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from tests.faults import processes

STALL_MOST_SECONDS = 60.0
DRIP_SECONDS = 0.5


@dataclass
class Asked:
    """One request for new tokens: for which grant, when, and by which process if it is held."""

    grant: str
    refresh_token: str
    pid: int | None
    at: float = field(default_factory=time.monotonic)


class FarSide:
    """What it does next and what it was asked.

    `moods` says per provider how its token endpoint behaves: `answer`, `error` (503), `flood` (429 with Retry-After
    `retry_after`), `stall` (headers, then nothing), `drip` (a byte now and then), `reset` (before it rotates),
    `lose` (rotates, then resets), `hold` (waits for `let_go` before it rotates) and `hold_answer` (rotates at once,
    answers after `let_go`).
    """

    def __init__(self) -> None:
        self.base = ""
        self.moods: dict[str, str] = {}
        self.retry_after = "3"
        self.asked: list[Asked] = []
        self.revoked: Counter[str] = Counter()
        self._numbers: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._go = threading.Event()

    def refresh_token(self, grant: str) -> str:
        """Return the one refresh token of a grant that is honoured."""
        return f"refresh:{grant}:{self._numbers[grant]}"

    def reset(self) -> None:
        """Behave again, and forget what was asked."""
        self.moods.clear()
        self.let_go()
        self.asked.clear()
        self.revoked.clear()
        self._go = threading.Event()

    def let_go(self) -> None:
        """Go on with what was held or stalled."""
        self._go.set()

    def goes_on_after_a_moment(self) -> None:
        """Behave from now on, once a fault has had the time to strike."""
        time.sleep(0.3)
        self.moods.clear()
        self.let_go()

    def first_asked(self, count: int = 1, seconds: float = 30) -> Asked:
        """Wait for the `count`-th request since `reset`."""
        deadline = time.monotonic() + seconds
        while len(self.asked) < count:
            assert time.monotonic() < deadline, f"no request number {count} within {seconds} seconds"
            time.sleep(0.01)
        return self.asked[count - 1]

    def serve_token(self, handler: "_Handler", provider: str, form: dict[str, str]) -> None:
        """Answer a refresh request in the mood of the moment."""
        token = form["refresh_token"]
        grant = token.split(":")[1]
        mood, go = self.moods.get(provider, "answer"), self._go
        # Looking for the process takes a while: only where a test is about to do something to it.
        pid = processes.owner_of(handler.client_address[1]) if mood.startswith("hold") else None
        self.asked.append(Asked(grant, token, pid))
        if mood == "error":
            return handler.answer(503, {"error": "server_error"})
        if mood == "flood":
            return handler.answer(429, {}, {"Retry-After": self.retry_after})
        if mood in {"stall", "drip"}:
            return handler.stall(go, drips=mood == "drip")
        if mood == "reset":
            return handler.reset()
        if mood == "hold":
            go.wait(STALL_MOST_SECONDS)
        if mood == "hold" and handler.is_alone():
            return None
        answer = self._rotated(grant, token)
        if mood == "hold_answer":
            go.wait(STALL_MOST_SECONDS)
        return handler.reset() if mood == "lose" else handler.answer(*answer)

    def takes(self, access_token: str) -> bool:
        """Tell whether an access token was given out; like elsewhere, a newer one does not end the older."""
        kind, _, rest = access_token.partition(":")
        grant, _, number = rest.partition(":")
        return kind == "access" and number.isdecimal() and int(number) <= self._numbers[grant]

    def _rotated(self, grant: str, token: str) -> tuple[int, dict[str, Any]]:
        with self._lock:
            if token != self.refresh_token(grant):
                return 400, {"error": "invalid_grant"}
            self._numbers[grant] += 1
            access = f"access:{grant}:{self._numbers[grant]}"
            return 200, {
                "access_token": access,
                "refresh_token": self.refresh_token(grant),
                "token_type": "Bearer",
                "expires_in": 3600,
            }


class _Handler(BaseHTTPRequestHandler):
    far: FarSide

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        _, provider, what = self.path.split("/")
        form = {name: values[0] for name, values in parse_qs(body).items()}
        if what == "mcp":
            self._call()
        elif what == "revoke":
            self.far.revoked[form["token"]] += 1
            self.answer(200, {})
        else:
            self.far.serve_token(self, provider, form)

    def answer(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        """Send JSON; whoever asked may have gone."""
        body = json.dumps(content).encode()
        self._head(status, len(body), headers or {})
        self._write(body)

    def stall(self, go: threading.Event, *, drips: bool) -> None:
        """Send headers, then nothing or next to nothing."""
        self._head(200, 1000, {})
        ends = time.monotonic() + STALL_MOST_SECONDS
        while time.monotonic() < ends and not go.wait(DRIP_SECONDS) and not self.is_alone():
            if drips:
                self._write(b" ")
        self.close_connection = True

    def reset(self) -> None:
        """End the connection with RST."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def is_alone(self) -> bool:
        """Tell whether whoever asked has gone."""
        try:
            return self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _call(self) -> None:
        taken = self.far.takes(self.headers.get("Authorization", "").removeprefix("Bearer "))
        result = {"jsonrpc": "2.0", "id": 1, "result": {"content": [{"type": "text", "text": "ok"}]}}
        self.answer(200, result) if taken else self.answer(401, {})

    def _head(self, status: int, length: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers, "Content-Length": str(length)}.items():
            self.send_header(name, value)
        try:
            self.end_headers()
        except OSError:
            self.close_connection = True

    def _write(self, data: bytes) -> None:
        try:
            self.wfile.write(data)
            self.wfile.flush()
        except OSError:
            self.close_connection = True

    def finish(self) -> None:
        with suppress(OSError, ValueError):
            super().finish()

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: callers that are killed are what this is for."""


@contextmanager
def far_side() -> Iterator[FarSide]:
    """Serve one."""
    far = FarSide()
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"far": far}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    far.base = f"http://127.0.0.1:{server.server_port}"
    try:
        yield far
    finally:
        far.let_go()
        server.shutdown()
        server.server_close()
        thread.join()
