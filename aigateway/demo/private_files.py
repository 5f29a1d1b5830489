"""Files that only their owner may read: how generated secrets reach a child process, never by its arguments."""

import json
import os
from pathlib import Path
from typing import Any


def write_private(path: Path, content: bytes) -> None:
    """Write a file of mode 0600, replacing what was there."""
    path.unlink(missing_ok=True)
    # O_EXCL: never write a secret through a link or into a file that someone else prepared.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def write_private_json(path: Path, data: dict[str, Any]) -> None:
    """Write a JSON object to a file of mode 0600."""
    write_private(path, json.dumps(data, indent=1).encode())


def read_private_json(path: Path) -> dict[str, Any]:
    """Read a JSON object, refusing a file that others may read.

    Raises PermissionError when group or others have any right on the file.
    """
    if path.stat().st_mode & 0o077:
        raise PermissionError(f"{path} holds secrets and must be readable by its owner alone (mode 0600)")
    data: dict[str, Any] = json.loads(path.read_text())
    return data
