"""SQLite as the embedded gateway uses it: WAL, immediate transactions, a patient timeout."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.aigateway import gateways

PROCESSES, THREADS, WRITES = 2, 25, 200


@pytest.mark.threat("G06")
def test_fifty_writers_in_two_processes_never_see_a_locked_database(tmp_path: Path) -> None:
    env = gateways.environment(tmp_path)
    assert gateways.manage("migrate", env=env).returncode == 0
    command = [sys.executable, "-m", "tests.aigateway.sqlite_writers", str(THREADS), str(WRITES)]
    with gateways.serving(tmp_path / "log", env=env) as gateway:
        gateway.url()
        before = _counter(tmp_path)
        writers = [
            subprocess.Popen(
                command, env=env, cwd=gateways.PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            for _ in range(PROCESSES)
        ]
        assert [writer.communicate(timeout=120)[0] for writer in writers] == [""] * PROCESSES
        assert _counter(tmp_path) - before == PROCESSES * THREADS * WRITES
        assert gateway.stop() == 0
    assert "locked" not in gateway.output


def _counter(data_dir: Path) -> int:
    connection = sqlite3.connect(data_dir / "aigateway.sqlite3", timeout=20)
    try:
        row = connection.execute("SELECT value FROM changes_changecounter WHERE id = 1").fetchone()
    finally:
        connection.close()
    return int(row[0]) if row else 0
