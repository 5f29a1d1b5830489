"""Several processes of one host add up, the dead included, but for what there is at the moment."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from metrics import catalog, published

COUNT = """
import sys
from pathlib import Path
from metrics import catalog, published
catalog.refreshes.count("renewed", by=5)
catalog.lease_waiters.rise(by=2)
catalog.lease_waits.observe(0.3, "other_process")
published.publish(Path(sys.argv[1]))
print("published", flush=True)
sys.stdin.read()
"""


def total(folder: Path) -> tuple[float, float, float]:
    others = list(published.others(folder))
    refreshes = published.of_all_processes(catalog.refreshes, others)["renewed",][0]
    waiters = published.of_all_processes(catalog.lease_waiters, others)[()][0]
    waits = published.of_all_processes(catalog.lease_waits, others)["other_process",]
    return refreshes, waiters, sum(waits[:-1])


def test_processes_add_up_and_a_dead_ones_level_is_gone(tmp_path: Path) -> None:
    catalog.refreshes.count("renewed")
    catalog.lease_waiters.rise()
    published.publish(tmp_path)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", COUNT, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "published\n"
    assert total(tmp_path) == (11, 5, 2)
    processes[0].kill()
    processes[0].communicate()
    assert total(tmp_path) == (11, 3, 2), "what a killed process counted stays"
    processes[1].communicate("")
    assert total(tmp_path) == (11, 1, 2)


def test_nobody_reads_half_a_file(tmp_path: Path) -> None:
    published.publish(tmp_path)
    (tmp_path / ".123").write_text('{"aigw_refr')
    assert list(published.others(tmp_path)) == []
    assert [path.name for path in tmp_path.glob("*.json")] == [f"{os.getpid()}.json"]


def test_the_folder_is_private_and_left_clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published.tempfile, "tempdir", str(tmp_path))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    abandoned, foreign = tmp_path / f"{published.PREFIX}{ended.pid}-x", tmp_path / f"{published.PREFIX}{os.getpid()}-x"
    abandoned.mkdir()
    foreign.mkdir()
    with published.folder_for_children() as folder:
        assert Path(folder).stat().st_mode & 0o077 == 0
        assert not abandoned.exists(), "its parent was killed"
        assert foreign.exists(), "its parent lives"
    assert not Path(folder).exists()
