"""A token endpoint on loopback that rotates: each refresh token is good once, a second use is `invalid_grant`."""

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any
from urllib.parse import parse_qs

CREDENTIALS = base64.b64encode(b"gateway-client:s3cret-value").decode()
Answer = tuple[int, Any, dict[str, str]]


class RotatingProvider:
    """What it was asked, what it does next.

    `answers` are given before anything else, one per request to the token endpoint; `revocation_status`, `_body` and
    `_headers` are what the revocation endpoint says, `revocation_of` what it says of one kind of token;
    `while_answering` runs between taking a request and answering it, and each of `after_rotating`, for one request,
    between the rotation and its answer. With `is_lenient` a refresh token that was replaced goes on being good.
    """

    def __init__(self) -> None:
        self.base = ""
        self.live = {"upstream-refresh"}
        self.refreshes: list[str] = []
        self.revoked: list[tuple[str, str]] = []
        self.answers: list[Answer] = []
        self.extra: dict[str, Any] = {"expires_in": 3600}
        self.rotates = True
        self.delay_seconds = 0.0
        self.revocation_status = 200
        self.revocation_body: dict[str, str] = {}
        self.revocation_headers: dict[str, str] = {}
        self.revocation_of: dict[str, Answer] = {}
        self.while_answering: Callable[[], None] | None = None
        self.after_rotating: list[Callable[[], None]] = []
        self.is_lenient = False
        self.in_flight = 0
        self.most_in_flight = 0
        self._numbers = count(1)
        self._lock = threading.Lock()

    def refresh(self, form: dict[str, str]) -> Answer:
        """Answer a refresh request."""
        with self._lock:
            self.refreshes.append(form["refresh_token"])
            planned = self.answers.pop(0) if self.answers else None
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        time.sleep(self.delay_seconds)
        if self.while_answering is not None:
            self.while_answering()
        answer = planned or self._rotate(form["refresh_token"])
        if self.after_rotating:
            self.after_rotating.pop(0)()
        with self._lock:
            self.in_flight -= 1
        return answer

    def revoke(self, form: dict[str, str]) -> Answer:
        """Answer a revocation request."""
        hint = form.get("token_type_hint", "")
        usual = (self.revocation_status, self.revocation_body, self.revocation_headers)
        answer = self.revocation_of.get(hint, usual)
        if answer[0] == 200:
            self.live.discard(form["token"])
        self.revoked.append((hint, form["token"]))
        return answer

    def _rotate(self, refresh_token: str) -> Answer:
        with self._lock:
            if refresh_token not in self.live:
                return 400, {"error": "invalid_grant"}, {}
            answer = {"access_token": f"access-{next(self._numbers)}", "token_type": "Bearer", **self.extra}
            if self.rotates:
                answer["refresh_token"] = f"refresh-{next(self._numbers)}"
                self.live = (self.live if self.is_lenient else set()) | {answer["refresh_token"]}
            return 200, answer, {}


@contextmanager
def rotating_provider() -> Iterator[RotatingProvider]:
    """Serve one."""
    fake = RotatingProvider()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {name: values[0] for name, values in parse_qs(body).items()}
            if self.headers["Authorization"] != f"Basic {CREDENTIALS}":
                self._answer(401, {"error": "invalid_client"}, {})
            elif self.path == "/token":
                self._answer(*fake.refresh(form))
            else:
                self._answer(*fake.revoke(form))

        def _answer(self, status: int, content: Any, headers: dict[str, str]) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    fake.base = f"http://127.0.0.1:{server.server_port}"
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
