"""Connections of requests and urllib3 that can only go to a judged address, and how long one may be kept.

A kept connection stays at the address that was judged when it was opened. It serves the next request only if that
follows soon, nothing of what it was judged by has changed, the last answer was a plain 200 that was read to its end,
and the other side has neither closed it nor said anything since: what it said unasked would be taken for the next
answer. A request that breaks off is never sent again: the other side may have acted on it.
"""

from __future__ import annotations

import io
import socket
import ssl
import time
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from outbound.addresses import Policy
from outbound.errors import as_outbound_error
from outbound.urls import Target

CONNECT_TIMEOUT_SECONDS = 5.0
TOTAL_TIMEOUT_SECONDS = 15.0
MAX_ANSWER_BYTES = 1_000_000
# Servers close what is idle after two seconds and more: we are first, so that no request meets one that closes.
IDLE_SECONDS = 1.0
# After that a name is looked up and judged anew.
AGE_SECONDS = 30.0


@dataclass(frozen=True)
class Limits:
    """How long to wait for the connection and for all of it, and how much to read."""

    connect_timeout_seconds: float = CONNECT_TIMEOUT_SECONDS
    total_timeout_seconds: float = TOTAL_TIMEOUT_SECONDS
    max_answer_bytes: int = MAX_ANSWER_BYTES


@dataclass(frozen=True)
class Origin:
    """What a connection is for, and by whose judgement: a connection serves no other."""

    target: Target
    policy: Policy
    tls: ssl.SSLContext | None


def pool_for(origin: Origin, limits: Limits, *, keeps: bool) -> Pool:
    """Make the pool for an origin; unless it `keeps`, each of its connections is for one request."""
    target = origin.target
    pool: Pool
    if origin.tls is None:
        pool = Pool(target.host, target.port)
    else:
        pool = _TLSPool(target.host, target.port, ssl_context=origin.tls)
    pool.origin, pool.limits, pool.keeps = origin, limits, keeps
    return pool


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
        self._reader = _Answer(_TimedReader(self._sock, self._deadline))
        return self._reader

    def is_at_its_end(self) -> bool:
        """Tell whether the answer was read to its end and nothing came after it."""
        unread = self._sock.pending() if isinstance(self._sock, ssl.SSLSocket) else 0
        return self._reader.closed and not self._reader.leftover and not unread


class _TimedReader(io.RawIOBase):
    def __init__(self, sock: socket.socket, deadline: _Deadline) -> None:
        self._sock = sock
        self._file = sock.makefile("rb", buffering=0)
        self._deadline = deadline
        self.is_over = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self.is_over:
            return 0
        self._sock.settimeout(self._deadline.remaining())
        return self._file.readinto(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()


class _Answer(io.BufferedReader):
    """A buffer that notices, when it is closed, what it holds beyond the answer's end."""

    raw: _TimedReader
    leftover = b""

    def close(self) -> None:
        if not self.closed:
            self.raw.is_over = True
            self.leftover = self.peek(1)
        super().close()


class _Connection(HTTPConnection):
    limits: Limits
    policy: Policy
    deadline: _Deadline
    _opened_at = _answered_at = 0.0
    _heard: _TimedSocket | None = None
    _answer: HTTPResponse | None = None
    _pieces: list[bytes] | None = None

    def begin(self, limits: Limits, policy: Policy) -> None:
        """Start the clock of one request."""
        self.limits, self.policy = limits, policy
        self.deadline = _Deadline(limits.total_timeout_seconds)
        self._heard = self._answer = None

    def request(self, *args: Any, **kwargs: Any) -> None:
        """Send head and body in one piece, where urllib3 makes two: each would wake the other side up."""
        self._pieces = []
        try:
            super().request(*args, **kwargs)
            pieces = self._pieces
        finally:
            self._pieces = None
        self.send(b"".join(pieces))

    def send(self, data: Any) -> None:
        """Send, or keep for a moment what belongs to one request."""
        if self._pieces is None:
            super().send(data)
        else:
            self._pieces.append(data)

    def _new_conn(self) -> socket.socket:
        """Connect to the judged addresses, one after the other, and to nothing else."""
        self._opened_at = time.monotonic()
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
        self._heard = _TimedSocket(sock, self.deadline)
        self._answer = HTTPResponse(self._heard, *args, **kwargs)  # type: ignore[arg-type]
        return self._answer

    def may_be_kept(self) -> bool:
        """Tell whether nothing of the last exchange could reach into the next one."""
        self._answered_at = time.monotonic()
        is_plain = self._answer is not None and self._answer.status == 200
        return is_plain and self._heard is not None and self._heard.is_at_its_end()

    def is_stale(self) -> bool:
        """Tell whether it was idle, or has been open, for too long."""
        now = time.monotonic()
        return now - self._answered_at > IDLE_SECONDS or now - self._opened_at > AGE_SECONDS


class _TLSConnection(_Connection, HTTPSConnection):
    pass


class Pool(HTTPConnectionPool):
    """Guarded connections; one that may be kept is, by a pool that `keeps`."""

    ConnectionCls = _Connection
    origin: Origin
    limits: Limits
    keeps: bool

    def urlopen(  # type: ignore[override]
        self, method: str, url: str, *, body: Any = None, headers: Any = None, timeout: Any = None, **_: Any
    ) -> Any:
        """Make one request on one connection, and nothing after it.

        urllib3's own way there prepares for retries, redirects and proxies, of which there are none here.
        """
        connection = self._get_conn()
        try:
            return self._make_request(
                connection,
                method,
                url,
                body=body,
                headers=headers,
                timeout=timeout,
                response_conn=connection,
                preload_content=False,
                decode_content=False,
            )
        except BaseException:
            connection.close()
            super()._put_conn(None)
            raise

    def _get_conn(self, timeout: float | None = None) -> Any:
        """Hand out the connection that was kept, unless it is closed or too old: it then opens anew."""
        connection: Any = super()._get_conn(timeout)
        if connection.is_stale():
            connection.close()
        connection.begin(self.limits, self.origin.policy)
        return connection

    def _put_conn(self, conn: Any) -> None:
        if conn is not None and not (self.keeps and conn.may_be_kept()):
            conn.close()
            conn = None
        super()._put_conn(conn)


class _TLSPool(Pool, HTTPSConnectionPool):
    ConnectionCls = _TLSConnection
