"""A proxy on loopback before an authorization server's back channel: passes on, and keeps every value it saw."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import requests


class RecordingProxy:
    """`sent` and `answered` are pairs of parameter and value; `instead` is answered, once, in place of the server."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.base = ""
        self.sent: list[tuple[str, str]] = []
        self.answered: list[tuple[str, str]] = []
        self.instead: list[tuple[int, bytes]] = []

    def values(self, name: str) -> list[str]:
        """Return every value of a parameter that went either way."""
        return [value for key, value in [*self.sent, *self.answered] if key == name]

    def pass_on(self, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        """Ask the server, or answer in its place."""
        self.sent += [(name, value) for name, values in parse_qs(body.decode()).items() for value in values]
        if self.instead:
            return self.instead.pop(0)
        with requests.Session() as session:
            session.trust_env = False
            response = session.post(f"{self.target}{path}", data=body, headers=headers, timeout=30)
        if response.headers.get("Content-Type", "").startswith("application/json"):
            self.answered += [(name, str(value)) for name, value in json.loads(response.content).items()]
        return response.status_code, response.content


@contextmanager
def recording_proxy(target: str) -> Iterator[RecordingProxy]:
    """Serve one."""
    proxy = RecordingProxy(target)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kept = {name: self.headers[name] for name in ("Authorization", "Content-Type") if name in self.headers}
            status, answer = proxy.pass_on(self.path, body, kept)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    proxy.base = f"http://127.0.0.1:{server.server_port}"
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
