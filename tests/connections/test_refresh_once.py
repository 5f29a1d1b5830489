"""One refresh, however many ask: threads, coroutines and processes (B01), and what becomes of the losers."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, connections
from django.db.backends.utils import CursorWrapper
from django.utils import timezone

from connections import refresh, tokens
from connections.database import run_in_thread
from connections.errors import RefreshUnavailable, TokenExpired
from providers.models import OAuthProvider
from tests.connections import race_process
from tests.connections.test_refresh import make_expired, stored, use
from tests.fakes.rotating_provider import RotatingProvider
from vault.models import VaultEntry

CALLERS = 64

pytestmark = pytest.mark.django_db(transaction=True)


def all_at_once(ask: Callable[[], Any]) -> list[Any]:
    """Return what each of CALLERS threads got, exceptions included."""
    start = Barrier(CALLERS)

    def run(_: int) -> Any:
        start.wait()
        try:
            return ask()
        except Exception as exc:
            return exc
        finally:
            connection.close()

    with ThreadPoolExecutor(CALLERS) as pool:
        return list(pool.map(run, range(CALLERS)))


@pytest.mark.threat("B01")
def test_sixty_four_threads_refresh_once(alice: User, rotating: OAuthProvider, upstream: RotatingProvider) -> None:
    make_expired(alice, rotating)
    upstream.delay_seconds = 0.2
    answers = all_at_once(lambda: use(alice, rotating).access_token)
    assert answers == ["access-1"] * CALLERS
    assert upstream.refreshes == ["upstream-refresh"]


@pytest.mark.threat("B01")
def test_two_processes_refresh_once(alice: User, rotating: OAuthProvider, upstream: RotatingProvider) -> None:
    entry = make_expired(alice, rotating)
    upstream.delay_seconds = 0.2
    name = str(connection.settings_dict["NAME"])
    command = [sys.executable, "-m", race_process.__name__, name, "connection", str(alice.pk), str(rotating.uid)]
    racers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        assert [racer.stdout.readline() for racer in racers if racer.stdout] == ["ready\n"] * 2
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("go\n")
            racer.stdin.flush()
        answers = [line for racer in racers for line in racer.communicate(timeout=60)[0].split()]
    finally:
        for racer in racers:
            racer.kill()
            racer.wait()
    assert answers == ["access-1"] * 2 * race_process.THREADS
    assert upstream.refreshes == ["upstream-refresh"]
    assert stored(entry, "refresh_token") == "refresh-2"


@pytest.mark.threat("B01")
async def test_sixty_four_coroutines_refresh_once(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    await run_in_thread(make_expired, alice, rotating)
    wanted: dict[str, Any] = {"user_id": alice.pk, "provider_uid": rotating.uid, "scopes": ["read"]}
    answers = await asyncio.gather(*(tokens.ausable_token(**wanted) for _ in range(CALLERS)))
    assert {answer.access_token for answer in answers} == {"access-1"}
    assert upstream.refreshes == ["upstream-refresh"]


async def test_a_coroutine_that_is_cancelled_takes_nothing_from_the_others(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    await run_in_thread(make_expired, alice, rotating)
    upstream.delay_seconds = 0.2
    wanted: dict[str, Any] = {"user_id": alice.pk, "provider_uid": rotating.uid, "scopes": ["read"]}
    first, second = (asyncio.create_task(tokens.ausable_token(**wanted)) for _ in range(2))
    await asyncio.sleep(0.05)
    first.cancel()
    assert (await second).access_token == "access-1"
    with pytest.raises(asyncio.CancelledError):
        await first


@pytest.mark.threat("B07")
def test_a_failure_is_shared_by_everyone_who_waited(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    make_expired(alice, rotating)
    upstream.delay_seconds = 0.2
    upstream.answers = [(503, {}, {})]
    answers = all_at_once(lambda: use(alice, rotating))
    assert {type(answer) for answer in answers} == {RefreshUnavailable}
    assert len(upstream.refreshes) == 1


@pytest.mark.threat("B06")
def test_an_end_is_shared_by_everyone_who_waited(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    make_expired(alice, rotating)
    upstream.delay_seconds = 0.2
    upstream.live.clear()
    answers = all_at_once(lambda: use(alice, rotating))
    assert {type(answer) for answer in answers} == {TokenExpired}
    assert len(upstream.refreshes) == 1


@pytest.mark.threat("B04")
def test_the_lease_of_a_killed_process_is_taken_over_when_it_lapses(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    make_expired(alice, rotating, lease_holder="killed", lease_until=timezone.now() + timedelta(seconds=0.3))
    answers = all_at_once(lambda: use(alice, rotating).access_token)
    assert answers == ["access-1"] * CALLERS
    assert upstream.refreshes == ["upstream-refresh"]
    assert VaultEntry.objects.get().lease_holder == ""


def test_no_connection_is_held_while_the_provider_thinks(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    make_expired(alice, rotating)
    asking, held = connections["default"], []
    is_pooled = connection.vendor != "sqlite"
    upstream.while_answering = lambda: held.append(
        asking.in_atomic_block or (is_pooled and asking.connection is not None)
    )
    use(alice, rotating)
    assert held == [False]


class Statements:
    """Counts what any connection of this process sends."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        execute = CursorWrapper.execute

        def counted(cursor: CursorWrapper, sql: str, params: Any = None) -> Any:
            self.count += 1
            return execute(cursor, sql, params)

        monkeypatch.setattr(CursorWrapper, "execute", counted)


@pytest.mark.threat("B01")
async def test_a_thousand_coroutines_that_wait_cost_a_query_now_and_then(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They wait for another process, which holds the lease for a second and never comes back."""
    lapses_at = timezone.now() + timedelta(seconds=1)
    await run_in_thread(make_expired, alice, rotating, lease_holder="other", lease_until=lapses_at)
    wanted: dict[str, Any] = {"user_id": alice.pk, "provider_uid": rotating.uid, "scopes": ["read"]}
    sent = Statements(monkeypatch)
    answers = await asyncio.gather(*(tokens.ausable_token(**wanted) for _ in range(1000)))
    assert {answer.access_token for answer in answers} == {"access-1"}
    assert upstream.refreshes == ["upstream-refresh"]
    assert sent.count < 60


@pytest.mark.threat("B01")
def test_threads_that_wait_share_the_answer_without_asking_the_database(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = make_expired(alice, rotating)
    upstream.delay_seconds = 0.5
    sent = Statements(monkeypatch)
    answers = all_at_once(lambda: refresh.renewed(entry, rotating).generation)
    assert answers == [entry.generation + 1] * CALLERS
    assert sent.count < CALLERS / 2


@pytest.mark.threat("B01")
def test_whoever_waits_does_not_take_the_impatience_of_the_one_in_front(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    """The scan, say, which would not wait for the other process."""
    entry = make_expired(alice, rotating, lease_holder="other", lease_until=timezone.now() + timedelta(seconds=0.5))
    with pytest.raises(RefreshUnavailable):
        refresh.renewed(entry, rotating, wait=False)
    with ThreadPoolExecutor(2) as pool:

        def ask(wait: bool) -> Any:
            try:
                return refresh.renewed(entry, rotating, wait=wait).generation
            except RefreshUnavailable as exc:
                return exc.why
            finally:
                connection.close()

        assert set(pool.map(ask, [False, True])) <= {"in_progress", entry.generation + 1}
        assert VaultEntry.objects.get().generation == entry.generation + 1
