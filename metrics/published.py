"""What the processes of one host tell each other: a file per process, in a folder that `serve` makes for its tree.

A file is replaced as a whole, so that nobody reads half of one. The file of a process that has ended stays, or the
counters would fall back; its levels no longer count.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from metrics.instruments import Instrument, Level, Snapshot, merged, registered

PREFIX = "aigateway-metrics-"


def folder_for_children() -> tempfile.TemporaryDirectory[str]:
    """Make a private folder for the processes that this one starts, to be left when they have ended. Raises OSError."""
    _remove_abandoned()
    return tempfile.TemporaryDirectory(prefix=f"{PREFIX}{os.getpid()}-", ignore_cleanup_errors=True)


def _remove_abandoned() -> None:
    """Remove the folders of parents that were killed."""
    for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        owner = left.name.removeprefix(PREFIX).partition("-")[0]
        if owner.isdecimal() and left.stat().st_uid == os.getuid() and not _is_alive(int(owner)):
            shutil.rmtree(left, ignore_errors=True)


def publish(folder: Path) -> None:
    """Put this process's numbers where the others find them. Raises OSError."""
    content = {name: list(each.snapshot().items()) for name, each in registered.items()}
    draft = folder / f".{os.getpid()}"
    draft.write_text(json.dumps(content))
    draft.replace(folder / f"{os.getpid()}.json")


def of_all_processes(instrument: Instrument, others: list[tuple[bool, dict[str, Any]]]) -> Snapshot:
    """Return the instrument's numbers, this process's and those of `others`, added up."""
    told = [
        {tuple(labels): numbers for labels, numbers in content.get(instrument.name, [])}
        for is_alive, content in others
        if is_alive or not isinstance(instrument, Level)
    ]
    return merged([instrument.snapshot(), *told])


def others(folder: Path | None) -> Iterator[tuple[bool, dict[str, Any]]]:
    """Yield for each other process whether it lives, and what it last published."""
    for path in sorted(folder.glob("*.json")) if folder else ():
        pid = int(path.stem)
        if pid != os.getpid():
            yield _is_alive(pid), json.loads(path.read_text())


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
