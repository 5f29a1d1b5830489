"""A PostgreSQL and a Redis of the test's own, on free ports, that may be stopped, killed and frozen."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

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

    def _answers(self) -> bool:
        try:
            with Redis.from_url(self.url, socket_timeout=1) as client:
                return bool(client.ping())
        except RedisError:
            return False
