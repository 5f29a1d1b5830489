"""What a check found: how bad, in which field, and a sentence with the way out."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a check found."""

    level: Level
    field: str
    sentence: str


def ok(field: str, sentence: str) -> Finding:
    """Say that something is as it should be."""
    return Finding("ok", field, sentence)


def warning(field: str, sentence: str) -> Finding:
    """Say that something may not work, or could be better."""
    return Finding("warning", field, sentence)


def error(field: str, sentence: str) -> Finding:
    """Say that something will not work."""
    return Finding("error", field, sentence)
