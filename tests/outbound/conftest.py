"""A misbehaving server on loopback, and the three transports as one kind of function."""

from __future__ import annotations

import asyncio
import gzip
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol

import httpx2
import pytest
import trustme

from outbound.addresses import Policy
from outbound.errors import InvalidURL
from outbound.http1.client import Client
from outbound.mcp_http import guarded_mcp_client
from outbound.sync import guarded_session


@dataclass
class Server:
    """A running server: where it is and what reached it."""

    port: int
    scheme: str = "http"
    requests: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    connections: int = 0

    def url(self, path: str = "/ok", host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{host}:{self.port}{path}"

    @property
    def open_for(self) -> list[str]:
        """The allow-list entries that let tests reach it by address."""
        return [f"127.0.0.1:{self.port}"]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one packet: no wait for an acknowledgement
    record: Server
    redirect_to = ""

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        named = {name.title(): value for name, value in self.headers.items()}
        self.record.requests.append((self.command, self.path, named, body))
        kind, _, argument = self.path.partition("?")[0].strip("/").partition("/")
        getattr(self, f"answer_{kind}")(argument)

    do_POST = do_GET

    def answer(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def answer_ok(self, _: str) -> None:
        self.answer(b"hello")

    def answer_cookie(self, _: str) -> None:
        self.answer(b"", Set_Cookie="session=1; Path=/")

    def answer_redirect(self, status: str) -> None:
        self.answer(b"", int(status), Location=self.redirect_to or "/ok")

    def answer_big(self, size: str) -> None:
        self.answer(b"x" * int(size))

    def answer_bomb(self, size: str) -> None:
        self.answer(gzip.compress(b"x" * int(size)), Content_Encoding="gzip")

    def answer_drip_body(self, _: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.flush()
        self.drip(b"x" * 1000)

    def answer_drip_headers(self, _: str) -> None:
        self.drip(b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 1000)

    def answer_silence(self, _: str) -> None:
        self.drip(b"", seconds=2)

    def drip(self, body: bytes, seconds: float = 3) -> None:
        """Send a byte at a time until the caller is gone."""
        self.close_connection = True
        end = time.monotonic() + seconds
        for byte in body or b"\0" * 100:
            if time.monotonic() > end:
                return
            if body:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
            time.sleep(0.1)


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Callers that hang up on us are what we test."""


@contextmanager
def running_server(certificate: trustme.LeafCert | None = None, redirect_to: str = "") -> Iterator[Server]:
    record = Server(0)
    handler = type("Handler", (_Handler,), {"record": record, "redirect_to": redirect_to})
    with _QuietServer(("127.0.0.1", 0), handler) as server:
        record.port = server.server_address[1]
        if certificate is not None:
            record.scheme = "https"
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            certificate.configure_cert(context)
            # The handshake belongs to the connection's thread, not to accept().
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        accept = server.get_request

        def counted() -> Any:
            accepted = accept()
            record.connections += 1
            return accepted

        server.get_request = counted  # type: ignore[method-assign]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield record
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    with running_server() as record:
        yield record


@pytest.fixture
def second_server() -> Iterator[Server]:
    with running_server() as record:
        yield record


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_bundle(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


@pytest.fixture
def tls_server(authority: trustme.CA) -> Iterator[Server]:
    with running_server(authority.issue_cert("127.0.0.1", "idp.example")) as record:
        yield record


class Fetch(Protocol):
    """Send one request through a transport; return its status and body, or raise OutboundError."""

    def __call__(
        self,
        url: str,
        *,
        policy: Policy | None = None,
        ca_bundle: str = "",
        method: str = "GET",
        data: bytes = b"",
        headers: dict[str, str] | None = None,
        seconds: float = 5,
        max_bytes: int = 1_000_000,
    ) -> tuple[int, bytes]: ...


def fetch_sync(
    url: str, *, policy=None, ca_bundle="", method="GET", data=b"", headers=None, seconds=5, max_bytes=1_000_000
):
    with guarded_session(
        connect_timeout_seconds=min(seconds, 5),
        total_timeout_seconds=seconds,
        max_answer_bytes=max_bytes,
        policy=policy,
        ca_bundle=ca_bundle,
    ) as session:
        response = session.request(method, url, data=data, headers=headers)
        return response.status_code, response.content


def fetch_http1(
    url: str, *, policy=None, ca_bundle="", method="GET", data=b"", headers=None, seconds=5, max_bytes=1_000_000
):
    async def fetch():
        client = Client(connect_seconds=min(seconds, 5), policy=policy, ca_bundle=ca_bundle)
        fields = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
        try:
            answer = await client.send(method, url, fields, data, total_seconds=seconds)
            body = b""
            while piece := await answer.read():
                body += piece
            answer.close()
            return answer.status, body
        finally:
            await client.close()

    return asyncio.run(fetch())


def fetch_mcp(
    url: str, *, policy=None, ca_bundle="", method="GET", data=b"", headers=None, seconds=5, max_bytes=1_000_000
):
    async def fetch():
        async with guarded_mcp_client(
            headers or {}, seconds, max_answer_bytes=max_bytes, policy=policy, ca_bundle=ca_bundle
        ) as client:
            try:
                response = await client.request(method, url, content=data)
            except httpx2.InvalidURL:
                raise InvalidURL(reason="refused by the library") from None
            return response.status_code, response.content

    return asyncio.run(fetch())


TRANSPORTS: dict[str, Callable[..., Any]] = {
    "sync": fetch_sync,
    "http1": fetch_http1,
    "mcp_http": fetch_mcp,
}


@pytest.fixture(params=TRANSPORTS)
def fetch(request: pytest.FixtureRequest) -> Fetch:
    """Each transport in turn."""
    return TRANSPORTS[request.param]


@pytest.fixture(params=["sync", "mcp_http"])
def limited_fetch(request: pytest.FixtureRequest) -> Fetch:
    """The transports that read the whole answer themselves."""
    return TRANSPORTS[request.param]
