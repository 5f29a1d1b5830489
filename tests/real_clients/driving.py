"""Drive a client program: commands go in and events come out, each as one line of JSON."""

import json
import os
import queue
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import pytest

from tests.real_clients import installing
from tests.real_clients.kinds import FASTMCP, Kind

SECONDS = 60
KEPT = ("PATH", "LANG", "TMPDIR")
Event = dict[str, Any]


class Driven:
    """One running client; what it complains of is kept in a log."""

    def __init__(self, command: Sequence[str], folder: Path, token: str, **environment: str) -> None:
        self._log = folder / "client.log"
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=installing.HERE,
                env={**kept, "HOME": str(folder), "MCP_TOKEN": token, **environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self._events: queue.Queue[Event] = queue.Queue()
        self._reading = threading.Thread(target=self._read)

    def __enter__(self) -> Self:
        self._reading.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.wait()
        self._reading.join()
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()

    def tell(self, **command: str) -> None:
        """Hand over a command without waiting for what it leads to."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()

    def next(self, *kinds: str) -> Event:
        """Return the next event, which must be of one of these kinds, but for a `settled` nobody asked for."""
        while (event := self._events.get(timeout=SECONDS))["event"] == "settled" and "settled" not in kinds:
            pass
        assert event["event"] in kinds, f"{event}\n{self._log.read_text()[-2000:]}"
        return event

    def is_silent(self) -> bool:
        """Tell whether everything that was said has been read."""
        return self._events.empty()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._events.put(json.loads(line))
        self._events.put({"event": "ended"})


def started(kind: Kind, url: str, token: str, folder: Path, **environment: str) -> Driven:
    """Start a client of this kind, which keeps its things in a new `folder`; skip where it cannot be had."""
    if kind.program != FASTMCP and (absent := installing.missing()):
        pytest.skip(f"needs {absent}")
    folder.mkdir()
    return Driven(kind.command(url, token, folder), folder, token, **environment)
