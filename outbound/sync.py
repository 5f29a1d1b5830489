"""Guarded requests sessions: one connection per request, to a judged address.

For token endpoints and the like: small answers, a hard limit on the whole time.
`guard` equips any `requests.Session`, so also an `OAuth2Session`.
"""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPResponse
from http.cookiejar import DefaultCookiePolicy
from typing import Any, TypeVar

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from outbound.addresses import Policy, current_policy
from outbound.errors import AnswerTooLarge, RedirectRefused, as_outbound_error, is_redirect
from outbound.tls import ssl_context
from outbound.urls import read_target

CONNECT_TIMEOUT_SECONDS = 5.0
TOTAL_TIMEOUT_SECONDS = 15.0
MAX_ANSWER_BYTES = 1_000_000

SessionT = TypeVar("SessionT", bound=requests.Session)


def guarded_session(
    *,
    connect_timeout_seconds: float = CONNECT_TIMEOUT_SECONDS,
    total_timeout_seconds: float = TOTAL_TIMEOUT_SECONDS,
    max_answer_bytes: int = MAX_ANSWER_BYTES,
    policy: Policy | None = None,
    ca_bundle: str | None = None,
) -> requests.Session:
    """Make a session that raises OutboundError and nothing of requests' own.

    `policy` and `ca_bundle` stand in for the settings.
    """
    limits = Limits(connect_timeout_seconds, total_timeout_seconds, max_answer_bytes)
    return guard(_Session(), limits=limits, policy=policy, ca_bundle=ca_bundle)


@dataclass(frozen=True)
class Limits:
    """How long to wait for the connection and for all of it, and how much to read."""

    connect_timeout_seconds: float = CONNECT_TIMEOUT_SECONDS
    total_timeout_seconds: float = TOTAL_TIMEOUT_SECONDS
    max_answer_bytes: int = MAX_ANSWER_BYTES


def guard(
    session: SessionT,
    *,
    limits: Limits = Limits(),  # noqa: B008 (frozen)
    policy: Policy | None = None,
    ca_bundle: str | None = None,
) -> SessionT:
    """Put a session, such as an OAuth2Session, behind the guard and return it.

    A URL that requests cannot parse raises requests' own error before the guard
    sees it: `check_url` comes first.
    """
    adapter = OutboundAdapter(limits=limits, policy=policy, ca_bundle=ca_bundle)
    session.trust_env = False
    session.adapters.clear()
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return session


class _Session(requests.Session):
    def request(self, method: str | bytes, url: str | bytes, *args: Any, **kwargs: Any) -> requests.Response:
        """Refuse a bad URL before requests does, whose error would quote it."""
        read_target(url if isinstance(url, str) else url.decode("latin-1"))
        return super().request(method, url, *args, **kwargs)


class OutboundAdapter(HTTPAdapter):
    """Send through the guard; `verify`, `proxies`, `cert` and `timeout` of the caller are not heard."""

    def __init__(
        self,
        *,
        limits: Limits = Limits(),  # noqa: B008 (frozen)
        policy: Policy | None = None,
        ca_bundle: str | None = None,
    ) -> None:
        super().__init__()
        self.limits = limits
        self._policy = policy
        self._ca_bundle = ca_bundle

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        """Send one request and read the whole answer within the limits."""
        host = read_target(request.url or "").host
        timeout = (self.limits.connect_timeout_seconds, self.limits.total_timeout_seconds)
        try:
            response = super().send(request, stream=True, timeout=timeout)
            self._read(response, host)
        except Exception as error:
            failure = as_outbound_error(error, host)
        else:
            return response
        # Raised out here so that the library's error, which carries the
        # request and its secrets, is not even attached as context.
        raise failure

    def _read(self, response: requests.Response, host: str) -> None:
        try:
            if is_redirect(response.status_code):
                raise RedirectRefused(host)
            body = io.BytesIO()
            for chunk in response.iter_content(16_384):
                if body.tell() + len(chunk) > self.limits.max_answer_bytes:
                    raise AnswerTooLarge(host)
                body.write(chunk)
        finally:
            response.close()
        body.seek(0)
        response._content, response._content_consumed = body.getvalue(), True  # type: ignore[attr-defined]

    def get_connection_with_tls_context(
        self,
        request: requests.PreparedRequest,
        verify: bool | str | None,
        proxies: Mapping[str, str] | None = None,
        cert: object = None,
    ) -> HTTPConnectionPool:
        """Give a pool for this request alone: an address is judged for one use."""
        target = read_target(request.url or "")
        pool: _Pool
        if target.scheme == "http":
            pool = _Pool(target.host, target.port)
        else:
            pool = _TLSPool(target.host, target.port, ssl_context=ssl_context(self._ca_bundle))
        pool.limits, pool.policy = self.limits, self._policy or current_policy()
        return pool

    def cert_verify(self, *_: object) -> None:
        """Leave verification to our own context: requests would add its roots, or switch it off."""


class _Deadline:
    """A moment after which nothing is waited for any more."""

    def __init__(self, seconds: float) -> None:
        self._ends = time.monotonic() + seconds

    def remaining(self) -> float:
        """Give the seconds left; raise TimeoutError when there are none."""
        seconds = self._ends - time.monotonic()
        if seconds <= 0:
            raise TimeoutError
        return seconds


class _TimedSocket:
    """What http.client reads an answer from, with the time limit over all reads.

    A socket's own timeout starts anew with each byte, so a server that sends
    one every few seconds would hold us for ever.
    """

    def __init__(self, sock: socket.socket, deadline: _Deadline) -> None:
        self._sock = sock
        self._deadline = deadline

    def makefile(self, mode: str) -> io.BufferedReader:
        """Open the reading side, as socket.makefile does."""
        return io.BufferedReader(_TimedReader(self._sock, self._deadline))


class _TimedReader(io.RawIOBase):
    def __init__(self, sock: socket.socket, deadline: _Deadline) -> None:
        self._sock = sock
        self._file = sock.makefile("rb", buffering=0)
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._deadline.remaining())
        return self._file.readinto(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()


class _Connection(HTTPConnection):
    limits: Limits
    policy: Policy
    deadline: _Deadline

    def _new_conn(self) -> socket.socket:
        """Connect to the judged addresses, one after the other, and to nothing else."""
        self.deadline = _Deadline(self.limits.total_timeout_seconds)
        timeout = min(self.limits.connect_timeout_seconds, self.deadline.remaining())
        addresses = self.policy.addresses(self.host, self.port, timeout_seconds=timeout)
        failure = OSError()
        for address in addresses:
            timeout = min(self.limits.connect_timeout_seconds, self.deadline.remaining())
            try:
                sock = socket.create_connection((address, self.port), timeout)
            except OSError as error:
                failure = error
            else:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return sock
        raise as_outbound_error(failure, self.host)

    def response_class(  # type: ignore[override]
        self, sock: socket.socket, *args: Any, **kwargs: Any
    ) -> HTTPResponse:
        """Read the answer against the clock; http.client calls this like a class."""
        return HTTPResponse(_TimedSocket(sock, self.deadline), *args, **kwargs)  # type: ignore[arg-type]


class _TLSConnection(_Connection, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    """A pool that keeps nothing: connections are guarded, used once and closed."""

    ConnectionCls = _Connection
    limits: Limits
    policy: Policy

    def _new_conn(self) -> Any:
        connection: Any = super()._new_conn()
        connection.limits, connection.policy = self.limits, self.policy
        return connection

    def _put_conn(self, conn: Any) -> None:
        if conn is not None:
            conn.close()


class _TLSPool(_Pool, HTTPSConnectionPool):
    ConnectionCls = _TLSConnection
