"""One process tree: started together, stopped together, none outliving the others.

Every child leads a session of its own, so that Ctrl-C in a terminal reaches the parent alone, which ends the
children in its own way. Should the parent be killed, the kernel asks the children to end (Linux).
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from types import FrameType, TracebackType
from typing import NoReturn, Self

POLL_SECONDS = 0.1

_PR_SET_PDEATHSIG = 1
# Loaded here because nothing may be imported between fork and exec.
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


class ChildEndedError(Exception):
    """A child ended although nobody asked it to; `str` says which and how."""


class ProcessTree:
    """The children of one `with` block; SIGTERM and SIGINT leave the block with `SystemExit(0)`."""

    def __init__(self, *, grace_seconds: float) -> None:
        self._grace_seconds = grace_seconds
        self._children: list[tuple[str, subprocess.Popen[bytes]]] = []

    def __enter__(self) -> Self:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _leave)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A second Ctrl-C must not interrupt the stop half way; it cuts the grace short.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._hurry)
        self._stop()

    def start(
        self, name: str, arguments: Sequence[str], environment: Mapping[str, str], *, keep_open: Sequence[int] = ()
    ) -> None:
        """Start a child; `keep_open` are the descriptors it inherits."""
        parent = os.getpid()

        def die_with_parent() -> None:
            if _libc is not None:
                _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
                if os.getppid() != parent:  # the parent died before the line above
                    os._exit(1)

        process = subprocess.Popen(  # noqa: S603 - our own commands
            arguments,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=keep_open,
            preexec_fn=die_with_parent,
        )
        self._children.append((name, process))

    def check(self) -> None:
        """Raise ChildEndedError when a child is gone."""
        for name, process in self._children:
            if (status := process.poll()) is not None:
                raise ChildEndedError(f"{name} ended {_in_words(status)}")

    def watch(self) -> NoReturn:
        """Wait, for ever, until a signal asks to stop or a child ends (ChildEndedError)."""
        while True:
            self.check()
            time.sleep(POLL_SECONDS)

    def _stop(self) -> None:
        self._signal(signal.SIGTERM)
        self._deadline = time.monotonic() + self._grace_seconds
        while self._alive() and time.monotonic() < self._deadline:
            time.sleep(POLL_SECONDS / 4)
        self._signal(signal.SIGKILL)
        for _, process in self._children:
            process.wait()

    def _alive(self) -> list[subprocess.Popen[bytes]]:
        return [process for _, process in self._children if process.poll() is None]

    def _signal(self, number: signal.Signals) -> None:
        for process in self._alive():
            process.send_signal(number)

    def _hurry(self, number: int, frame: FrameType | None) -> None:
        self._deadline = 0.0


def _in_words(status: int) -> str:
    return f"with status {status}" if status >= 0 else f"by signal {signal.Signals(-status).name}"


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(0)
