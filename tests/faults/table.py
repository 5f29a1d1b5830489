"""The fault table: what was done to the gateway how often, and what it cost."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import pytest

# More than one round is the long form: the waits and time limits are then the product's defaults.
ROUNDS = int(os.environ.get("AIGW_FAULT_ROUNDS", "1"))
IS_LONG = ROUNDS > 1


class Traffic(Protocol):
    """The calls made meanwhile."""

    @property
    def calls(self) -> list[Any]: ...

    @property
    def failed(self) -> list[Any]: ...


def rounds(test: Callable[..., None]) -> Callable[..., None]:
    """Run a test `ROUNDS` times."""
    return pytest.mark.parametrize("injection", range(1, ROUNDS + 1))(pytest.mark.usefixtures("injection")(test))


@dataclass
class Row:
    """One fault: times injected, refresh tokens lost, calls made and failed while it lasted, slowest recovery."""

    fault: str
    injected: int = 0
    lost: int = 0
    calls: int = 0
    failed: int = 0
    seconds: float = 0.0


_rows: dict[str, Row] = {}
_notes: list[str] = []


def record(fault: str, *, lost: list[str], traffic: Traffic, seconds: float) -> None:
    """Add one round to a fault's row."""
    row = _rows.setdefault(fault, Row(fault))
    row.injected += 1
    row.lost += len(lost)
    row.calls += len(traffic.calls)
    row.failed += len(traffic.failed)
    row.seconds = max(row.seconds, seconds)


def note(line: str) -> None:
    """Have a line printed below the table."""
    _notes.append(line)


def lines() -> list[str]:
    """Return the table as Markdown and the notes, empty when nothing was injected or measured."""
    if not _rows:
        return _notes
    width = max(len(row.fault) for row in _rows.values())
    head = f"| {'fault':<{width}} | injected | tokens lost | calls | calls failed | seconds to recover |"
    rule = f"|{'-' * (width + 2)}|---------:|------------:|------:|-------------:|-------------------:|"
    return [head, rule, *(_line(row, width) for row in _rows.values()), *_notes]


def _line(row: Row, width: int) -> str:
    counts = f"{row.injected:>8} | {row.lost:>11} | {row.calls:>5} | {row.failed:>12} | {row.seconds:>18.1f}"
    return f"| {row.fault:<{width}} | {counts} |"
