"""Real gateways for tests: `manage.py` in a process of its own, with an environment of its own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
KEPT = ("PATH", "HOME", "LANG", "TMPDIR")
READY_SECONDS = 60
KEYS = {
    "SECRET_KEY": "signing-key-of-a-test-0123456789-0123456789",
    "FERNET_KEYS": "sealing-key-of-a-test-0123456789-0123456789",
}


def environment(data_dir: Path, **extra: str) -> dict[str, str]:
    """Return the environment of a gateway that keeps everything in `data_dir`."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return {**kept, "AIGW_DATA_DIR": str(data_dir), "PYTHONWARNINGS": "ignore", **extra}


def manage(*arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run one management command to its end."""
    return _run([sys.executable, str(PROJECT / "manage.py"), *arguments], env)


def worker(*, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a Celery worker that is expected to refuse."""
    return _run([sys.executable, "-m", "celery", "-A", "aigateway", "worker", "-P", "threads", "-c", "1"], env)


def web(*, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a web process that is expected to refuse."""
    return _run([sys.executable, "-m", "uvicorn", "aigateway.asgi:application", "--port", "0"], env)


def _run(command: list[str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=env, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)


class Gateway:
    """A running `manage.py serve`."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.log = log

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return self.log.read_text(errors="replace")

    def url(self) -> str:
        """Wait for the ready line and return its URL."""
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            for line in self.output.splitlines():
                if line.startswith("ready http"):
                    return line.split()[1]
            assert self.process.poll() is None, self.output
            time.sleep(0.05)
        raise AssertionError(f"not ready:\n{self.output}")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to end; return its status."""
        self.process.send_signal(number)
        return self.process.wait(timeout=30)

    def children(self) -> list[int]:
        """Return the process ids of its children."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in path.read_text().split()]


@contextmanager
def serving(log: Path, *arguments: str, env: dict[str, str]) -> Iterator[Gateway]:
    """Run `manage.py serve` until the block ends."""
    command = [sys.executable, str(PROJECT / "manage.py"), "serve", "--port", "0", *arguments]
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=env, cwd=PROJECT, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield Gateway(process, log)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
