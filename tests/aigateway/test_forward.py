"""Migrating forward with data, while somebody writes (G08).

5,000 connections, some ten seconds a database; 100,000 and some minutes when `AIGW_FAULT_ROUNDS` is set.
"""

import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.aigateway import gateways

CONNECTIONS = 100_000 if os.environ.get("AIGW_FAULT_ROUNDS") else 5_000
LONGEST_LOCK_SECONDS = 5.0
KEYS = {"FERNET_KEYS": f"another-{gateways.KEYS['FERNET_KEYS']},{gateways.KEYS['FERNET_KEYS']}"}

Connect = Callable[[], Any]


@pytest.fixture
def embedded(tmp_path: Path) -> tuple[dict[str, str], Connect]:
    """Give the environment of a gateway on SQLite, and a connection to its database of our own."""
    file = tmp_path / "data" / "aigateway.sqlite3"
    env = gateways.environment(tmp_path / "data", **KEYS)
    return env, lambda: sqlite3.connect(file, timeout=60, isolation_level=None)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[dict[str, str], Connect]]:
    """Give the same on a new PostgreSQL database."""
    base, _, _ = os.environ["TEST_DATABASE_URL"].rpartition("/")
    name = f"forward_{os.getpid()}"
    with psycopg.connect(f"{base}/postgres", autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
    url = f"{base}/{name}"
    env = gateways.environment(tmp_path / "data", DATABASE_URL=url, SECRET_KEY=gateways.KEYS["SECRET_KEY"], **KEYS)
    yield env, lambda: psycopg.connect(url, autocommit=True)
    with psycopg.connect(f"{base}/postgres", autocommit=True) as server:
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


def run(env: dict[str, str], *command: str, status: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, *command],
        env=env,
        cwd=gateways.PROJECT,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == status, done.stderr[-2000:]
    return done.stdout


class Writer(threading.Thread):
    """Writes to a connection and to the trail again and again, as old code does; `longest` is how long one took."""

    def __init__(self, connect: Connect) -> None:
        super().__init__()
        self._connect = connect
        self.stopped = threading.Event()
        self.longest = 0.0
        self.times = 0

    def run(self) -> None:
        with closing(self._connect()) as database:
            while not self.stopped.is_set():
                started = time.monotonic()
                database.execute("UPDATE vault_vaultentry SET failures = failures + 1 WHERE user_id = 7")
                self.longest = max(self.longest, time.monotonic() - started)
                self.times += 1
                time.sleep(0.02)


def moves_forward(env: dict[str, str], connect: Connect) -> None:
    """Migrate an old database with data; fail when a lock lasted, something was lost, or twice is not once."""
    run(env, "-m", "tests.aigateway.old_vault", str(CONNECTIONS))
    writer = Writer(connect)
    writer.start()
    started = time.monotonic()
    try:
        run(env, "manage.py", "migrate")
    finally:
        seconds = time.monotonic() - started
        writer.stopped.set()
        writer.join()
    print(f"{CONNECTIONS:,} connections: migrated in {seconds:.1f} s, longest wait of a writer {writer.longest:.2f} s")
    assert writer.times > 10
    assert writer.longest < LONGEST_LOCK_SECONDS
    with closing(connect()) as database:
        query = "SELECT count(*), count(key_ids), count(DISTINCT key_ids), max(failures) FROM vault_vaultentry"
        assert tuple(database.execute(query).fetchone()) == (CONNECTIONS, CONNECTIONS, 1, writer.times)
        assert database.execute("SELECT count(*) FROM audit_event").fetchone()[0] == 1
        before = database.execute("SELECT max(id), max(key_ids) FROM vault_vaultentry").fetchone()
        assert "No migrations to apply" in run(env, "manage.py", "migrate")
        assert database.execute("SELECT max(id), max(key_ids) FROM vault_vaultentry").fetchone() == before
    said = run(env, "manage.py", "rotate_vault_keys", "--status", status=1)
    assert f"newest 0, older {CONNECTIONS:,}, missing 0, unknown 0, unreadable 0 rows" in said


@pytest.mark.threat("G08")
def test_an_embedded_gateway_moves_forward(embedded: tuple[dict[str, str], Connect]) -> None:
    moves_forward(*embedded)


@pytest.mark.threat("G08")
@pytest.mark.service
def test_a_gateway_on_postgresql_moves_forward(served: tuple[dict[str, str], Connect]) -> None:
    moves_forward(*served)
