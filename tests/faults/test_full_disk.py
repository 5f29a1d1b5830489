"""A full disk under the embedded database (G05). About 15 s, the long form a minute.

The data folder is a small file system of its own, which this user must be allowed to mount.
"""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.faults import table
from tests.faults.far_side import FarSide
from tests.faults.site import USERS, Site

SIZE = "16m"
GRANT = "rotating/user-0"


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Mount a small file system over `folder`; skip the test where that is not allowed."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=700", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """Leave no room for another page."""
    ballast = folder / "ballast"
    with ballast.open("wb") as file, suppress(OSError):
        while True:
            os.write(file.fileno(), bytes(4096))
    try:
        yield
    finally:
        ballast.unlink()


@pytest.mark.threat("G05")
def test_a_full_disk_is_said_clearly_and_harms_nothing(far: FarSide, tmp_path: Path) -> None:
    far.reset()
    with small_disk(tmp_path / "data"):
        site = Site(tmp_path, far, trees=1, workers=0)
        try:
            site.start()
            for _ in range(table.ROUNDS):
                fill_and_free(site, tmp_path / "data")
        finally:
            site.stop()
    assert "disk" in site.log()


def fill_and_free(site: Site, folder: Path) -> None:
    """Check what calls get while the disk is full, and after."""
    site.far.reset()
    site.consent()
    time.sleep(1)
    assert site.call("user-1").succeeded
    with full(folder), site.traffic(USERS[2:5]) as traffic:
        time.sleep(2)
    freed = time.monotonic()
    assert site.call("user-5").succeeded
    seconds = time.monotonic() - freed
    lost = site.lost()
    table.record("disk full (SQLite)", lost=lost, traffic=traffic, seconds=seconds)
    assert lost == []
    assert traffic.failed, "opening a token is audited, and that could not be written"
    assert {(call.status, bool(call.retry_after)) for call in traffic.failed} == {(503, True)}
    assert site.inside("integrity") == "ok"
