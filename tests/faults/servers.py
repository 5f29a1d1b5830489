"""A PostgreSQL and a Redis of the test's own, on free ports, that may be stopped, killed and frozen."""

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
from redis import Redis, RedisError

from tests.faults import processes

START_SECONDS = 30


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def missing() -> str:
    """Return the name of a server that is not installed, or nothing."""
    return "" if postgres_programs() and shutil.which("redis-server") else "PostgreSQL and Redis server programs"


def postgres_programs() -> Path | None:
    """Return the folder of `initdb` and `pg_ctl`, if there is one."""
    found = [Path(shutil.which("initdb") or ""), *sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))]
    return next((path.parent for path in reversed(found) if path.is_file()), None)


class Postgres:
    """One cluster in a folder of its own. It keeps what it was told, whatever is done to its processes."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="aigateway-faults-"))
        self._port = free_port()
        self.url = f"postgresql://aigateway@127.0.0.1:{self._port}/postgres"
        self._as_owner: list[str] = []
        if os.geteuid() == 0:  # it refuses to run as root
            shutil.chown(self._folder, "postgres")
            self._as_owner = ["runuser", "-u", "postgres", "--"]
        self._run("initdb", "-D", str(self._data), "-U", "aigateway", "-A", "trust", "--no-sync", "-E", "UTF8")

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = f"-p {self._port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        self._run("pg_ctl", "-D", str(self._data), "-l", str(self._folder / "log"), "-w", "-o", options, "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop it: `fast` ends every connection, `immediate` is a crash."""
        self._run("pg_ctl", "-D", str(self._data), "-w", "-m", mode, "stop")

    def freeze(self) -> None:
        """Make it hang: connections stay, nothing is answered."""
        processes.send(signal.SIGSTOP, *self._family())

    def thaw(self) -> None:
        """Let it go on."""
        processes.send(signal.SIGCONT, *self._family())

    def answers(self) -> bool:
        """Tell whether it takes connections."""
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def make_database(self, name: str) -> str:
        """Make one more database; return its URL."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return self.url.removesuffix("/postgres") + f"/{name}"

    def dump(self, url: str, *options: str) -> bytes:
        """Return what `pg_dump` gives of a database."""
        command = [f"{postgres_programs()}/pg_dump", *options, url]
        return subprocess.run(command, capture_output=True, check=True, timeout=60).stdout

    def files(self, url: str) -> bytes:
        """Return the files of a database, and the write-ahead log of them all, as they lie on the disk."""
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CHECKPOINT")
            [oid] = (
                connection.execute("SELECT oid FROM pg_database WHERE datname = current_database()").fetchone() or ()
            )
        folders = [self._data / "base" / str(oid), self._data / "pg_wal"]
        return b"".join(path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file())

    def remove(self) -> None:
        """Stop it and delete everything."""
        if (self._data / "postmaster.pid").exists():
            self.thaw()
            self.stop("immediate")
        shutil.rmtree(self._folder)

    def _family(self) -> list[int]:
        return processes.family(int((self._data / "postmaster.pid").read_text().split()[0]))

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._as_owner, f"{postgres_programs()}/{program}", *arguments]
        # A file, not a pipe: the server inherits it and would keep a pipe open.
        with tempfile.TemporaryFile() as output:
            status = subprocess.run(command, cwd=self._folder, stdout=output, stderr=output, check=False).returncode
            output.seek(0)
            assert status == 0, output.read().decode(errors="replace")


class RedisServer:
    """One Redis that keeps nothing on disk: a restart loses every message."""

    def __init__(self) -> None:
        self._port = free_port()
        self.url = f"redis://127.0.0.1:{self._port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        port = ["--port", str(self._port), "--bind", "127.0.0.1"]
        self._process = subprocess.Popen(
            ["redis-server", *port, "--save", "", "--appendonly", "no"], stdout=subprocess.DEVNULL, cwd="/"
        )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            assert time.monotonic() < deadline, "redis-server does not answer"
            time.sleep(0.05)

    def kill(self) -> None:
        """End it at once, with everything it held."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Make it hang."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def lose_everything(self) -> None:
        """Drop every key: queues, messages, what was delivered and not yet acknowledged."""
        with Redis.from_url(self.url) as client:
            client.flushall()

    def is_idle(self) -> bool:
        """Tell whether no message waits."""
        with Redis.from_url(self.url) as client:
            return client.llen("aigateway") == 0

    def everything(self) -> list[str]:
        """Return every key and all that is under it, messages also as their readers see them."""
        with Redis.from_url(self.url, decode_responses=True) as client:
            found = [text for key in client.scan_iter() for text in (key, *_under(client, key))]
        return found + [body for text in found for body in _bodies(text)]

    def _answers(self) -> bool:
        try:
            with Redis.from_url(self.url, socket_timeout=1) as client:
                return bool(client.ping())
        except RedisError:
            return False


def _under(client: "Redis[str]", key: str) -> list[str]:
    readers: dict[str, Callable[[], Any]] = {
        "string": lambda: [client.get(key)],
        "list": lambda: client.lrange(key, 0, -1),
        "set": lambda: client.smembers(key),
        "zset": lambda: client.zrange(key, 0, -1),
        "hash": lambda: [text for pair in client.hgetall(key).items() for text in pair],
    }
    return [str(text) for text in readers[client.type(key)]()]


def _bodies(text: str) -> list[str]:
    """Return the bodies of the messages in a text: they are base64 inside JSON."""
    with suppress(ValueError):
        message = json.loads(text)
        while isinstance(message, list) and message:
            message = message[0]
        if isinstance(message, dict) and isinstance(message.get("body"), str):
            return [base64.b64decode(message["body"]).decode()]
    return []
