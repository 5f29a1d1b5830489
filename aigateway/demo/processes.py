"""Child processes that never outlive their parent.

Each child leads a process group of its own and writes to a log file; it is up when that file holds a line
`ready URL`. However the parent ends (return, exception, Ctrl-C, SIGTERM, even SIGKILL on Linux), the children end too.
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

PROJECT = Path(__file__).resolve().parents[2]
INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "VIRTUAL_ENV")
POLL_SECONDS = 0.05
PROGRESS_SECONDS = 3
STOP_SECONDS = 10
LOG_TAIL_LINES = 20

_PR_SET_PDEATHSIG = 1
# Loaded here because nothing may be imported between fork and exec.
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


class ChildFailedError(Exception):
    """A child ended, or did not answer in time, before its ready line; the message holds the end of its log."""


@dataclass(frozen=True)
class Child:
    """One child process, leader of a process group of its own."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def has_ended(self) -> bool:
        """Tell whether the child is gone; what it left of its group is killed when that is first seen."""
        if self.process.returncode is None and self.process.poll() is not None:
            # At once: the process id, which names the group, may be given to another from now on.
            self._signal_group(signal.SIGKILL)
        return self.process.returncode is not None

    def terminate(self) -> None:
        """Ask the leader, who knows how to end its own children, to end."""
        if not self.has_ended():
            self.process.terminate()

    def kill(self) -> None:
        """End the whole group without asking."""
        if not self.has_ended():
            self._signal_group(signal.SIGKILL)
            self.process.wait()

    def ready_url(self) -> str | None:
        """Read the URL of the ready line, None while there is none."""
        for line in self.log.read_text(errors="replace").splitlines():
            if line.startswith("ready http"):
                return line.split()[1]
        return None

    def log_tail(self) -> str:
        """Read the last lines that the child wrote."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])

    def _signal_group(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)


class ProcessTree:
    """The children of one run: started one by one, stopped together when the `with` block ends."""

    def __init__(self, log_folder: Path, say: Callable[[str], object] = print) -> None:
        self._log_folder = log_folder
        self._say = say
        self._children: list[Child] = []
        self._previous_handler: Any = None

    def __enter__(self) -> Self:
        self._log_folder.mkdir(parents=True, exist_ok=True)
        self._previous_handler = signal.signal(signal.SIGTERM, _leave)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.stop()
        finally:
            signal.signal(signal.SIGTERM, self._previous_handler)

    def start(
        self, name: str, arguments: Sequence[str], environment: Mapping[str, str], *, timeout_seconds: float = 60
    ) -> str:
        """Start `python *arguments` from the project folder, wait for its ready line and return the URL in it.

        The child sees `environment` and a few harmless variables, nothing else of ours.
        Raises ChildFailedError when it ends first or takes longer than the timeout.
        """
        child = self._spawn(name, arguments, environment)
        started = time.monotonic()
        next_word = started + PROGRESS_SECONDS
        self._say(f"starting {name} ...")
        while (url := child.ready_url()) is None:
            now = time.monotonic()
            if child.has_ended():
                raise ChildFailedError(f"{name} ended with status {child.process.returncode}:\n{child.log_tail()}")
            if now > started + timeout_seconds:
                raise ChildFailedError(f"{name} was not ready after {timeout_seconds:g} s:\n{child.log_tail()}")
            if now > next_word:
                self._say(f"still starting {name} ({now - started:.0f} s; log: {child.log}) ...")
                next_word += PROGRESS_SECONDS
            time.sleep(POLL_SECONDS)
        self._say(f"{name} is ready at {url} ({time.monotonic() - started:.1f} s)")
        return url

    def log_of(self, name: str) -> Path:
        """Return the file that the child of this name writes to."""
        return self._log_folder / f"{name.replace(' ', '-')}.log"

    def ended(self) -> list[str]:
        """Name the children that are no longer running."""
        return [child.name for child in self._children if child.has_ended()]

    def stop(self) -> None:
        """End every child, last started first, and whatever is left of their process groups."""
        children = [self._children.pop() for _ in range(len(self._children))]
        deadline = time.monotonic() + STOP_SECONDS
        try:
            for child in children:
                child.terminate()
            while not all(child.has_ended() for child in children) and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)
        finally:
            for child in children:
                child.kill()

    def _spawn(self, name: str, arguments: Sequence[str], environment: Mapping[str, str]) -> Child:
        log = self.log_of(name)
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: PLW1509 - see _die_with_parent
                [sys.executable, *arguments],
                cwd=PROJECT,
                env=_environment(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # A group of its own: Ctrl-C in the terminal reaches only the parent, which ends the others in order.
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        child = Child(name, process, log)
        self._children.append(child)
        return child


def run_to_end(arguments: Sequence[str], environment: Mapping[str, str], *, timeout_seconds: float = 60) -> str:
    """Run `python *arguments` from the project folder and return what it wrote to standard output.

    Raises ChildFailedError when it fails or takes longer than the timeout.
    """
    try:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=PROJECT,
            env=_environment(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ChildFailedError(f"{arguments[1]} took longer than {timeout_seconds:g} s") from None
    if done.returncode != 0:
        raise ChildFailedError(f"{arguments[1]} ended with status {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout


def free_port(host: str = "127.0.0.1") -> int:
    """Find a port that nobody listens on, for a server whose URL must be known before it starts."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Tell whether a server could listen on this port now."""
    with socket.socket() as probe:
        # As a server does: what an ended one left in TIME_WAIT is no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def _environment(given: Mapping[str, str]) -> dict[str, str]:
    inherited = {key: os.environ[key] for key in INHERITED if key in os.environ}
    return {**inherited, "PYTHONUNBUFFERED": "1", **given}


def _die_with_parent() -> None:
    # A parent killed with SIGKILL cannot clean up after itself; the kernel then sends its children SIGTERM.
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)
