"""A connection that is kept for the next request: when it is, when it must not be, and that nothing is sent twice."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import BinaryIO

import pytest
import requests

from outbound import pools
from outbound.addresses import Policy
from outbound.errors import AddressNotAllowed, ConnectFailed, OutboundError, TimedOut
from outbound.sync import guarded_session

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CLOSES_AFTER_IT = [ANSWER]  # without having said so


@pytest.fixture
def session(server):
    with guarded_session(policy=Policy.parse(server.open_for), keeps_connection=True) as session:
        yield session


class Scripted:
    """A server that sends what it is told to, connection by connection, whatever is asked; then it waits for the end.

    An empty answer closes the connection instead.
    """

    def __init__(self, *connections: list[bytes], then: bytes = b"") -> None:
        self.requests: list[bytes] = []
        self.ended = 0
        self._connections, self._then = connections, then
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(5)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/token"
        self.policy = Policy.parse(["127.0.0.1"])

    def _serve(self) -> None:
        for answers in self._connections:
            taken, _ = self._listener.accept()
            taken.settimeout(5)
            with taken, taken.makefile("rb") as asked:
                for answer in answers:
                    self._hear(asked)
                    taken.sendall(answer)
                if self._then:
                    time.sleep(0.05)
                    taken.sendall(self._then)
                if answers is not CLOSES_AFTER_IT and answers[-1]:
                    with suppress(ConnectionResetError):  # it did not even read what we had sent
                        assert not asked.read(1), "nothing more was expected"
                    self.ended += 1

    def _hear(self, asked: BinaryIO) -> None:
        head = b"".join(iter(asked.readline, b"\r\n"))
        length = re.search(rb"Content-Length: (\d+)", head)
        self.requests.append(head + asked.read(int(length[1]) if length else 0))

    @contextmanager
    def running(self) -> Iterator[Scripted]:
        """Serve while the block lasts."""
        with self._listener, ThreadPoolExecutor(1) as pool:
            serving = pool.submit(self._serve)
            yield self
            serving.result(timeout=5)


def kept(scripted: Scripted) -> requests.Session:
    """Make a session that keeps its connection to such a server."""
    return guarded_session(policy=scripted.policy, keeps_connection=True)


def test_the_next_request_uses_the_same_connection(session, server):
    assert [session.get(server.url()).text for _ in range(5)] == ["hello"] * 5
    assert server.connections == 1


def test_over_tls_too(tls_server, ca_bundle):
    policy = Policy.parse(tls_server.open_for)
    with guarded_session(policy=policy, ca_bundle=ca_bundle, keeps_connection=True) as session:
        assert [session.get(tls_server.url()).text for _ in range(3)] == ["hello"] * 3
    assert tls_server.connections == 1


def test_no_cookie_goes_from_one_request_to_the_next(session, server):
    session.get(server.url("/cookie"))
    session.get(server.url())
    assert server.connections == 1
    assert "Cookie" not in server.requests[1][2]


def test_closing_the_session_closes_the_connection():
    with Scripted([ANSWER]).running() as scripted, kept(scripted) as session:
        session.get(scripted.url)
        assert not scripted.ended
    assert scripted.ended


@pytest.mark.parametrize(("limit", "seconds"), [("IDLE_SECONDS", 0.05), ("AGE_SECONDS", 0.05)])
def test_it_is_kept_for_moments_only(session, server, monkeypatch, limit, seconds):
    monkeypatch.setattr(pools, limit, seconds)
    session.get(server.url())
    time.sleep(2 * seconds)
    session.get(server.url())
    assert server.connections == 2


@pytest.mark.threat("E02")
def test_a_name_that_is_judged_anew_after_that_may_be_refused(server, monkeypatch):
    monkeypatch.setattr(pools, "IDLE_SECONDS", 0.05)
    answers = iter([["127.0.0.1"], ["169.254.169.254"]])
    policy = Policy.parse([f"localhost:{server.port}"], resolve=lambda *_: next(answers))
    with guarded_session(policy=policy, keeps_connection=True) as session:
        session.get(server.url(host="localhost"))
        session.get(server.url(host="localhost"))
        time.sleep(0.1)
        with pytest.raises(AddressNotAllowed):
            session.get(server.url(host="localhost"))
    assert server.connections == 1


@pytest.mark.threat("E01")
def test_it_does_not_outlive_the_setting_that_allowed_it(server, settings):
    settings.AIGW_OUTBOUND_ALLOW = server.open_for
    with guarded_session(keeps_connection=True) as session:
        session.get(server.url())
        settings.AIGW_OUTBOUND_ALLOW = []
        with pytest.raises(AddressNotAllowed):
            session.get(server.url())
    assert len(server.requests) == 1


def test_it_serves_no_other_server(session, server, second_server):
    session.get(server.url())
    with pytest.raises(AddressNotAllowed):
        session.get(second_server.url())
    assert second_server.connections == 0


def test_nor_the_same_server_with_another_trust(authority, tls_server, ca_bundle, settings):
    settings.AIGW_OUTBOUND_CA_BUNDLE = ca_bundle
    with guarded_session(policy=Policy.parse(tls_server.open_for), keeps_connection=True) as session:
        session.get(tls_server.url())
        settings.AIGW_OUTBOUND_CA_BUNDLE = ""
        with pytest.raises(ConnectFailed):
            session.get(tls_server.url())
    assert len(tls_server.requests) == 1


@pytest.mark.parametrize("path", ["/redirect/302", "/big/2000000", "/drip_body"])
def test_an_answer_that_was_not_read_to_its_end_ends_it(server, path):
    policy = Policy.parse(server.open_for)
    with guarded_session(policy=policy, keeps_connection=True, total_timeout_seconds=0.4) as session:
        with pytest.raises(OutboundError):
            session.get(server.url(path))
        assert session.get(server.url()).text == "hello"
    assert server.connections == 2


def test_each_request_has_the_whole_time_limit(server):
    policy = Policy.parse(server.open_for)
    with guarded_session(policy=policy, keeps_connection=True, total_timeout_seconds=0.4) as session:
        for _ in range(3):
            session.get(server.url())
            time.sleep(0.2)
        with pytest.raises(TimedOut):
            session.get(server.url("/drip_body"))
    assert server.connections == 1


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(ANSWER + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nothers", id="another answer at once"),
        pytest.param(ANSWER + b"x", id="a byte too many"),
        pytest.param(ANSWER.replace(b"200 OK", b"500 Oh"), id="an error"),
        pytest.param(ANSWER.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), id="closing"),
        pytest.param(ANSWER.replace(b"HTTP/1.1", b"HTTP/1.0"), id="HTTP/1.0"),
    ],
)
def test_what_came_unasked_is_never_taken_for_the_next_answer(first):
    with Scripted([first], [ANSWER]).running() as scripted, kept(scripted) as session:
        session.get(scripted.url)
        assert session.get(scripted.url).text == "hello"
    assert len(scripted.requests) == 2


def test_nor_what_came_while_nothing_was_asked():
    stray = ANSWER.replace(b"hello", b"other")
    with Scripted([ANSWER], [ANSWER], then=stray).running() as scripted, kept(scripted) as session:
        session.get(scripted.url)
        time.sleep(0.15)
        assert session.get(scripted.url).text == "hello"


@pytest.mark.threat("B05")
def test_a_request_on_a_kept_connection_that_breaks_is_not_sent_again():
    with Scripted([ANSWER, b""], [ANSWER]).running() as scripted, kept(scripted) as session:
        session.post(scripted.url, data=b"refresh_token=first")
        with pytest.raises(ConnectFailed):
            session.post(scripted.url, data=b"refresh_token=second")
        session.post(scripted.url, data=b"refresh_token=third")
    assert [request.rpartition(b"=")[2] for request in scripted.requests] == [b"first", b"second", b"third"]


def test_a_connection_that_the_other_side_has_closed_is_noticed_before_anything_is_sent():
    with Scripted(CLOSES_AFTER_IT, [ANSWER]).running() as scripted, kept(scripted) as session:
        session.post(scripted.url, data=b"refresh_token=first")
        time.sleep(0.05)
        session.post(scripted.url, data=b"refresh_token=second")
    assert len(scripted.requests) == 2


def test_two_threads_on_one_session_never_share_a_connection_at_once(server):
    policy = Policy.parse(server.open_for)
    answers: list[str] = []
    with guarded_session(policy=policy, keeps_connection=True) as session:

        def ask() -> None:
            answers.extend(session.get(server.url()).text for _ in range(20))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == ["hello"] * 80


def test_a_kept_connection_stays_at_the_address_that_was_judged(server):
    asked: list[str] = []

    def resolve(host: str, _: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    policy = Policy.parse([f"localhost:{server.port}"], resolve=resolve)
    with guarded_session(policy=policy, keeps_connection=True) as session:
        for _ in range(3):
            session.get(server.url(host="localhost"))
    assert asked == ["localhost"], "one look-up for the one connection"
