"""Which process is at the other end of a connection: what a fault is to hit."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def owner_of(port: int) -> int | None:
    """Return the process that has a loopback connection from local `port`; None when it has gone."""
    wanted = f"socket:[{inode}]" if (inode := _inode(port)) else None
    for folder in Path("/proc").glob("[0-9]*/fd"):
        if wanted in _descriptors(folder):
            return int(folder.parent.name)
    return None


def _descriptors(folder: Path) -> Iterator[str]:
    """Yield what a process has open; one that is closed while we look is none of it."""
    with suppress(OSError):
        for descriptor in os.listdir(folder):
            with suppress(FileNotFoundError):
                yield os.readlink(folder / descriptor)


def _inode(port: int) -> str | None:
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if int(fields[1].rpartition(":")[2], 16) == port and fields[9] != "0":
                return fields[9]
    return None


def family(pid: int) -> list[int]:
    """Return a process and all that it started; nothing when it has gone."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(member for child in children for member in family(int(child)))]


def send(number: signal.Signals, *pids: int) -> None:
    """Send a signal to processes, of which some may have gone."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
