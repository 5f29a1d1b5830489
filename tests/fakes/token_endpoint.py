"""A provider's endpoints on loopback: well-behaved until told otherwise, and it writes down what it got.

    with TokenEndpoint() as far_side:
        far_side.will(status=503, headers={"Retry-After": "30"})        # the next answer of /token
        provider = make_provider(**far_side.endpoints)
        ...
        assert far_side.token_requests[0].form["grant_type"] == "refresh_token"

Left alone, `/token` issues `access-1` and `refresh-1`, then `access-2` and `refresh-2`, and so on; `/revoke`
answers an empty 200, `/userinfo` the account of `alice`.
"""

import base64
import json
import ssl
import threading
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any, Self
from urllib.parse import parse_qsl, unquote_plus, urlencode, urlsplit

import trustme


@dataclass(frozen=True)
class Received:
    """One request as it came in; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        """The fields of the body; a field that is there twice fails the test."""
        pairs = parse_qsl(self.body.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict")
        assert len(dict(pairs)) == len(pairs), "a parameter was sent twice (RFC 6749 §3.2)"
        return dict(pairs)

    @property
    def client(self) -> tuple[str, str | None] | None:
        """Who the client says it is, read strictly by RFC 6749 §2.3.1; saying it twice is saying nothing."""
        scheme, _, value = self.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            name, colon, secret = base64.b64decode(value, validate=True).decode("ascii").partition(":")
            is_alone = colon and ":" not in secret and not {"client_id", "client_secret"} & set(self.form)
            return (unquote_plus(name, errors="strict"), unquote_plus(secret, errors="strict")) if is_alone else None
        return (self.form["client_id"], self.form.get("client_secret")) if "client_id" in self.form else None


@dataclass
class Answer:
    """What to say, how late, or whether to hang up instead."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    after_seconds: float = 0
    hang_up: bool = False


class TokenEndpoint:
    """A running provider, used as a context manager. Every request is kept in `requests`."""

    def __init__(self, certificate: trustme.LeafCert | None = None) -> None:
        self.requests: list[Received] = []
        self.always: dict[str, Answer] = {}
        self._next: dict[str, deque[Answer]] = {}
        self._client: tuple[str, str | None] | None = None
        self._numbers = count(1)
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"far_side": self}))
        self._scheme = "http"
        if certificate is not None:
            self._scheme = "https"
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            certificate.configure_cert(context)
            # The handshake belongs to the connection's thread, not to accept().
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def url(self, path: str = "/token") -> str:
        """The address of one of its pages."""
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}{path}"

    @property
    def endpoints(self) -> dict[str, str]:
        """The fields of a provider that point here."""
        pages = {"authorization": "/authorize", "token": "/token", "revocation": "/revoke", "userinfo": "/userinfo"}
        return {f"{name}_endpoint": self.url(path) for name, path in pages.items()}

    def will(
        self,
        *,
        path: str = "/token",
        times: int | None = 1,
        status: int = 200,
        fields: object = None,
        form: dict[str, str] | None = None,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        after_seconds: float = 0,
        hang_up: bool = False,
    ) -> None:
        """Queue an answer of `path`: `fields` as JSON, `form`, or a raw `body`; `times=None` is from now on."""
        kind = "text/html"
        if fields is not None:
            kind, body = "application/json", json.dumps(fields).encode()
        elif form is not None:
            kind, body = "application/x-www-form-urlencoded", urlencode(form).encode()
        answer = Answer(status, body, {"Content-Type": kind, **(headers or {})}, after_seconds, hang_up)
        if times is None:
            self.always[path] = answer
        else:
            self._next.setdefault(path, deque()).extend([answer] * times)

    def accept_only(self, client_id: str, client_secret: str | None) -> None:
        """Answer 401 `invalid_client` to anyone else; None stands for a public client, which has no secret."""
        self._client = (client_id, client_secret)

    def received(self, path: str) -> list[Received]:
        """The requests for one page, in order."""
        return [request for request in self.requests if urlsplit(request.path).path == path]

    @property
    def token_requests(self) -> list[Received]:
        """The requests to the token endpoint."""
        return self.received("/token")

    def _answer(self, request: Received) -> Answer:
        path = urlsplit(request.path).path
        with self._lock:
            self.requests.append(request)
            if queue := self._next.get(path):
                return queue.popleft()
            if path in self.always:
                return self.always[path]
            if path != "/userinfo" and self._client and request.client != self._client:
                return _json({"error": "invalid_client"}, 401)
            return self._usual(path)

    def _usual(self, path: str) -> Answer:
        if path == "/token":
            n = next(self._numbers)
            tokens = {"access_token": f"access-{n}", "refresh_token": f"refresh-{n}"}
            return _json({**tokens, "token_type": "Bearer", "expires_in": 3600})
        if path == "/userinfo":
            return _json({"sub": "1", "preferred_username": "alice"})
        return Answer() if path == "/revoke" else Answer(404)


def _json(fields: dict[str, Any], status: int = 200) -> Answer:
    return Answer(status, json.dumps(fields).encode(), {"Content-Type": "application/json"})


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_: Any) -> None:
        """Callers that hang up on us are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    far_side: TokenEndpoint

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.far_side._answer(Received(self.command, self.path, headers, body))
        if answer.after_seconds:
            self.far_side._closing.wait(answer.after_seconds)
        if answer.hang_up:
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    do_GET = do_POST
