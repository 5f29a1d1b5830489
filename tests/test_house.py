"""The rules of the house that a machine can check: imports point down, and nothing is without a test."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import get_commands

from aigateway.celery import app as celery

PROJECT = Path(__file__).resolve().parents[1]
FLOORS = ("vault", "providers", "connections", "mcpservers")  # from the bottom up
SIDE_FLOORS = frozenset({"outbound", "clients", "audit", "changes", "metrics"})
OURS = frozenset({*FLOORS, *SIDE_FLOORS, "aigateway"})
# What a side floor may use of the others; one that is not named here may use all.
BESIDE: dict[str, frozenset[str]] = {
    "audit": frozenset(),
    "changes": frozenset(),
    "outbound": frozenset(),
    "clients": frozenset({"audit", "changes"}),
}
FORBIDDEN_NAMES = {"utils", "helpers", "services", "common", "util", "helper"}


def sources(app: str) -> Iterator[Path]:
    """Yield the modules of an app, without its migrations."""
    return (path for path in (PROJECT / app).rglob("*.py") if "migrations" not in path.parts)


def imported(path: Path) -> Iterator[str]:
    """Yield which of our packages a module imports, deferred imports included."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        yield from (name.partition(".")[0] for name in names if name.partition(".")[0] in OURS)


@pytest.mark.parametrize("app", sorted(OURS - {"aigateway"}))
def test_imports_point_down(app: str) -> None:
    below = FLOORS[: FLOORS.index(app)] if app in FLOORS else ()
    allowed = BESIDE.get(app, SIDE_FLOORS) | {app, *below}
    wrong = [f"{path.relative_to(PROJECT)} imports {name}" for path in sources(app) for name in imported(path)]
    assert [line for line in wrong if line.rpartition(" ")[2] not in allowed] == []


def test_no_module_is_named_for_nothing() -> None:
    found = [path for app in OURS for path in sources(app) if {path.stem, path.parent.name} & FORBIDDEN_NAMES]
    assert found == []


def test_only_settings_read_the_environment() -> None:
    reading = re.compile(r"os\.environ|os\.getenv")
    found = {
        str(path.relative_to(PROJECT)) for app in OURS for path in sources(app) if reading.search(path.read_text())
    }
    allowed = {"aigateway/asgi.py", "aigateway/celery.py", "aigateway/management/commands/serve.py"}
    assert {name for name in found if "/demo/" not in name and not name.endswith("/demo.py")} <= allowed


def text_of_tests() -> str:
    """Return the text of every test but this one."""
    return "\n".join(path.read_text() for path in (PROJECT / "tests").rglob("*.py") if path != Path(__file__))


def test_every_task_has_a_test() -> None:
    celery.loader.import_default_modules()
    tasks = [name for name in celery.tasks if name.partition(".")[0] in OURS]
    text = text_of_tests()
    assert [name for name in tasks if name.rpartition(".")[2] not in text] == []


def test_every_management_command_has_a_test() -> None:
    commands = [name for name, app in get_commands().items() if app in OURS]
    text = text_of_tests()
    assert {"serve", "create_token"} <= set(commands)
    assert [name for name in commands if f'"{name}"' not in text] == []


def defined(path: Path) -> set[str]:
    """Return the tests of a module, as `name` or `Class::name`."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        inner = node.body if isinstance(node, ast.ClassDef) else [node]
        prefix = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        found |= {prefix + each.name for each in inner if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}
    return found


def test_every_test_that_the_checklist_names_exists() -> None:
    text = (PROJECT / "docs" / "mcp-checklist.md").read_text()
    points = [line for line in text.splitlines() if re.match(r"\| \d+ \|", line)]
    assert [int(line.split("|")[1]) for line in points] == list(range(1, 21))
    assert [line for line in points if "::test_" not in line] == []
    named = re.findall(r"`([\w/]+\.py)::([\w:]+)`", text)
    assert len(named) == text.count(".py::") > 60
    files = {name: PROJECT / "tests" / name for name, _ in named}
    assert [name for name, path in files.items() if not path.exists()] == []
    tests = {name: defined(path) for name, path in files.items()}
    assert [f"{name}::{test}" for name, test in named if test not in tests[name]] == []


def test_every_public_name_has_a_docstring() -> None:
    missing = []
    for path in (path for app in OURS for path in sources(app)):
        for node in ast.parse(path.read_text()).body:
            is_definition = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            if is_definition and not node.name.startswith("_") and not ast.get_docstring(node):
                missing.append(f"{path.relative_to(PROJECT)}: {node.name}")
    assert missing == []


def test_lock_files_name_no_host_and_hash_every_package() -> None:
    for path in (PROJECT / "requirements").glob("*.lock"):
        text = path.read_text()
        assert not re.search(r"https?://|file://|^ *-", text.replace("    --hash=sha256:", ""), re.MULTILINE), path
        assert all("--hash=sha256:" in part for part in re.split(r"\n(?=\S)", text.strip())), path


def test_the_lock_file_of_the_typescript_clients_names_no_host_and_hashes_every_package() -> None:
    text = (PROJECT / "tests" / "real_clients" / "package-lock.json").read_text()
    assert "://" not in text
    packages = {name: entry for name, entry in json.loads(text)["packages"].items() if name}
    assert len(packages) > 100
    assert all(entry["integrity"].startswith("sha512-") for entry in packages.values())
    assert not any(entry.get("hasInstallScript") for entry in packages.values())
