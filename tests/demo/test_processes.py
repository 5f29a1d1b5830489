"""Child processes end whatever happens to their parent."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aigateway.demo.processes import PROJECT, ChildFailedError, ProcessTree, free_port, is_free, run_to_end

READY = "import os, time; print('ready http://127.0.0.1:1', flush=True); time.sleep(60)"
WITH_GRANDCHILD = (
    f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); {READY}"
)
PARENT = f"""
import pathlib, sys, time
from aigateway.demo.processes import ProcessTree
with ProcessTree(pathlib.Path(sys.argv[1]), say=lambda line: None) as tree:
    tree.start("child", ["-c", {READY!r}], {{}})
    print(tree._children[0].process.pid, flush=True)
    time.sleep(60)
"""


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 5
    while is_alive(pid):
        assert time.monotonic() < deadline, "the child outlived its parent"
        time.sleep(0.02)


def test_a_child_that_ends_early_is_reported_with_its_log(tmp_path: Path) -> None:
    with ProcessTree(tmp_path, say=lambda line: None) as tree, pytest.raises(ChildFailedError, match="no such luck"):
        tree.start("child", ["-c", "raise SystemExit('no such luck')"], {})


def test_a_child_that_is_never_ready_is_reported_and_stopped(tmp_path: Path) -> None:
    with ProcessTree(tmp_path, say=lambda line: None) as tree:
        with pytest.raises(ChildFailedError, match="was not ready after 0.3 s"):
            tree.start("child", ["-c", "import time; time.sleep(60)"], {}, timeout_seconds=0.3)
        pid = tree._children[0].process.pid
        assert is_alive(pid)
    assert not is_alive(pid)


def test_the_environment_of_the_parent_stays_with_the_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "canary")
    with ProcessTree(tmp_path, say=lambda line: None) as tree:
        tree.start("child", ["-c", f"import os; print(sorted(os.environ)); {READY}"], {"GIVEN": "1"})
        log = (tmp_path / "child.log").read_text()
    assert "GIVEN" in log
    assert "SECRET_KEY" not in log


def test_a_command_returns_what_it_printed_and_fails_with_what_it_complained_of() -> None:
    assert run_to_end(["-c", "import os; print(os.environ['GIVEN'])"], {"GIVEN": "1"}) == "1\n"
    with pytest.raises(ChildFailedError, match="no such luck"):
        run_to_end(["-c", "raise SystemExit('no such luck')"], {})
    with pytest.raises(ChildFailedError, match="longer than 0.2 s"):
        run_to_end(["-c", "import time; time.sleep(60)"], {}, timeout_seconds=0.2)


def test_a_port_that_is_listened_on_is_not_free() -> None:
    assert is_free(free_port())
    with socket.create_server(("127.0.0.1", 0)) as busy:
        assert not is_free(busy.getsockname()[1])


def test_grandchildren_end_with_the_child(tmp_path: Path) -> None:
    with ProcessTree(tmp_path, say=lambda line: None) as tree:
        tree.start("child", ["-c", WITH_GRANDCHILD], {})
        leader = tree._children[0].process.pid
        children = Path(f"/proc/{leader}/task/{leader}/children").read_text().split()
        assert children
    for pid in children:
        wait_until_gone(int(pid))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_children_end_with_a_killed_parent(tmp_path: Path, number: signal.Signals) -> None:
    environment = {"PATH": os.environ["PATH"]}
    arguments = [sys.executable, "-c", PARENT, str(tmp_path)]
    with subprocess.Popen(
        arguments, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert is_alive(child)
        parent.send_signal(number)
        assert parent.wait(timeout=10) != 0
    wait_until_gone(child)


@pytest.mark.parametrize("program", ["aigateway.demo.authserver", "aigateway.demo.mcpserver"])
def test_a_server_without_its_folder_says_which_variable_is_missing(program: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", program], cwd=PROJECT, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True
    )
    assert ended.returncode == 2
    assert "DEMO_DATA_DIR must name the folder" in ended.stderr
