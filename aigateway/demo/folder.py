"""The folder that one run of the demo keeps everything in."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = "demo.lock"


class FolderError(Exception):
    """The folder cannot be used; the message says why and what to do."""


@contextmanager
def fresh_folder(folder: Path) -> Iterator[Path]:
    """Empty the demo's folder and keep other demos out of it until the block ends.

    Raises FolderError for a folder that holds something else, or in which another demo runs: neither is emptied.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        kept = {path.name for path in folder.iterdir()}
        if kept and LOCK not in kept:
            raise FolderError(f"--folder {folder} holds files that are not a demo's. Name an empty or a new folder.")
        with (folder / LOCK).open("w") as lock:
            _take(lock.fileno(), folder)
            for name in kept - {LOCK}:
                _remove(folder / name)
            yield folder
    except (NotADirectoryError, FileExistsError, PermissionError) as exc:
        raise FolderError(f"--folder {folder} cannot be used: {exc.strerror}. Name another folder.") from exc


def _take(lock: int, folder: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise FolderError(f"A demo runs in {folder} already. Stop it, or name another --folder.") from None


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
