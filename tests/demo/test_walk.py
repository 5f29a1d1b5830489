"""`manage.py demo` from outside, and the parts of it that must not be able to say "held" when something did not."""

import hashlib
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from aigateway.demo.folder import FolderError, fresh_folder
from aigateway.demo.leaks import TABLES, issued_tokens, leaks
from aigateway.demo.pages import Document
from aigateway.demo.processes import PROJECT
from aigateway.demo.report import DidNotHold, Report, expect
from aigateway.demo.walk import Walk
from aigateway.management.commands import demo as command
from tests.demo.test_processes import is_alive

KEPT = ("PATH", "HOME", "LANG", "TMPDIR")
STEPS = (
    "the agents connect before anyone consented",
    "alice calls whoami and is asked to connect",
    "bob opens alice's link and is refused",
    "alice opens it, sees what will be asked, consents",
    "the same call answers",
    "the server's own tools are listed now",
    "bob's call still asks for bob's own consent",
    "the token expires, and 8 calls at once do not notice",
    "alice disconnects, and the authorization server confirms",
    "her next call asks again",
    "no credential is readable in the gateway's log or data",
)


def demo(folder: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return subprocess.Popen(
        [sys.executable, "manage.py", "demo", "--folder", str(folder), *arguments],
        cwd=PROJECT,
        env={**kept, "PYTHONWARNINGS": "ignore", "NO_COLOR": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def children(pid: int) -> list[int]:
    """Return the process ids of every descendant."""
    mine = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return mine + [below for child in mine for below in children(child)]


def lines_until(process: subprocess.Popen[str], last: str) -> list[str]:
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        if last in line:
            return lines
    raise AssertionError(f"{last!r} never came: {lines}")


def test_every_step_holds_and_the_demo_ends_when_asked(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        # The settings of this environment must not matter to the demo's gateway.
        process = demo(tmp_path / "demo", "--port", str(port), DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
        try:
            walk = lines_until(process, "Every step held")
            invitation = "\n".join(lines_until(process, "/api/v1/mcp-servers/demo/tools/whoami/call/"))
            started = children(process.pid)
            process.send_signal(signal.SIGTERM)
            rest, errors = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 0, errors
    for number, claim in enumerate(STEPS, start=1):
        assert any(line.startswith(f"✓ {number:2}  {claim}: ") for line in walk), (claim, walk)
    assert any(f"port {port} is in use" in line for line in walk)
    assert "Connections " in invitation
    assert re.search(r"Authorization: Bearer \S{20,}", invitation)
    assert "stopping" in rest
    assert started
    assert not any(is_alive(pid) for pid in started)
    log = (tmp_path / "demo" / "logs" / "gateway.log").read_text()
    assert "Traceback" not in log
    refused = demo(PROJECT, "--exit")
    assert "holds files that are not a demo's" in refused.communicate(timeout=30)[1]
    assert refused.returncode == 1


@pytest.mark.parametrize("holds", [True, False])
def test_exit_is_zero_only_if_every_step_held(tmp_path: Path, holds: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    class ShortWalk(Walk):
        def run(self) -> None:
            self.report.step("it works", lambda: "so far")
            self.report.step("it still works", lambda: str(expect(holds, "it does not")))

    monkeypatch.setattr(command, "Walk", ShortWalk)
    monkeypatch.setattr(command, "_set_up", lambda *_: None)
    output = StringIO()

    def run() -> None:
        call_command(command.Command(), "--exit", folder=tmp_path / "demo", stdout=output)

    if holds:
        run()
    else:
        with pytest.raises(CommandError, match="1 of 2 steps did not hold") as failed:
            run()
        assert failed.value.returncode == 1
    assert ("Every step held" in output.getvalue()) is holds


@pytest.mark.parametrize(
    ("check", "seen"),
    [
        (lambda: expect(False, "two refreshes"), "NOT SO: two refreshes"),
        (lambda: {}["link"], "NOT SO: KeyError: 'link'"),
        (lambda: _raise(ExceptionGroup("outer", [OSError("refused")])), "NOT SO: OSError: refused"),
    ],
)
def test_a_step_that_does_not_hold_has_a_cross_and_what_was_seen(check: Callable[[], str], seen: str) -> None:
    written: list[str] = []
    report = Report(written.append)
    report.step("it works", lambda: "as it should")
    report.step("it works", check)
    assert written == ["✓  1  it works: as it should\n", f"✗  2  it works: {seen}\n"]
    assert (report.taken, report.failed) == (2, 1)


def _raise(error: Exception) -> str:
    raise error


def test_expect_says_nothing_of_what_holds() -> None:
    expect(True, "nothing")
    with pytest.raises(DidNotHold, match="something else"):
        expect([], "something else")


def test_a_leaked_value_and_a_leaked_token_are_found(tmp_path: Path) -> None:
    token, secret = "Abcdefghij0123456789Abcdefghij", "s-e-c-r-e-t"
    database = tmp_path / "authserver.sqlite3"
    with closing(sqlite3.connect(database)) as tables:
        for table in TABLES:
            tables.execute(f"CREATE TABLE {table} (token_checksum TEXT)")
        digest = hashlib.sha256(token.encode()).hexdigest()
        tables.execute("INSERT INTO oauth2_provider_refreshtoken VALUES (?)", [digest])
        tables.commit()
    digests = issued_tokens(database)
    clean, told = tmp_path / "clean.log", tmp_path / "told.log"
    clean.write_text(f"{token[:-1]} s-e-c")
    told.write_text(f"xx{token}yy {secret}")
    assert leaks([clean], {"the secret": secret}, digests) == []
    found = leaks([clean, told], {"the secret": secret}, digests)
    assert found == ["the secret in told.log", "a token of the authorization server in told.log"]


def test_a_folder_that_is_not_a_demos_is_not_emptied(tmp_path: Path) -> None:
    (tmp_path / "diary.txt").write_text("mine")
    with pytest.raises(FolderError, match="not a demo's"), fresh_folder(tmp_path):
        pass
    assert (tmp_path / "diary.txt").read_text() == "mine"


def test_a_folder_in_use_is_not_emptied_and_an_old_one_is(tmp_path: Path) -> None:
    with fresh_folder(tmp_path / "demo") as folder:
        (folder / "gateway").mkdir()
        with pytest.raises(FolderError, match="runs in"), fresh_folder(folder):
            pass
        assert (folder / "gateway").is_dir()
    with fresh_folder(tmp_path / "demo") as folder:
        assert not (folder / "gateway").exists()


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderError, match="cannot be used"), fresh_folder(tmp_path / "file"):
        pass


def test_a_button_finds_its_form_and_a_box_its_label() -> None:
    page = Document(
        """<form id="user"><input name="name" value="alice">
        <label><input type="checkbox" name="groups" value="3"> <b>members</b></label></form>
        <button form="user" name="_save">Save</button><button form="nobody">Lost</button>"""
    )
    (form,) = page.forms
    assert [button.label for button in form.buttons] == ["Save"]
    assert form.filled({"groups": "members"}) == {"name": "alice", "groups": "3"}


def test_a_wrong_port_is_named() -> None:
    done = demo(PROJECT, "--port", "65536")
    assert "'65536' is no port" in done.communicate(timeout=30)[1]
    assert done.returncode == 2
