"""What of a tool's definition is approved, and how two of them compare: no database, no I/O.

A definition counts by what a model or a client acts on. What it does not say and what it says is null are the same:
discovery reads it through the SDK, and the same tool that passes by must compare equal.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Definition = dict[str, Any]
TEXTS = ("title", "description", "inputSchema", "outputSchema")
HINTS = ("title", "readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint")
NEW, CHANGED = "new", "changed"


@dataclass(frozen=True, slots=True)
class Change:
    """A tool that is not as it was approved; `was` is None for one that was not there."""

    name: str
    was: Definition | None
    now: Definition

    @property
    def kind(self) -> str:
        """Return `new` or `changed`."""
        return NEW if self.was is None else CHANGED

    @property
    def digest(self) -> str:
        """Return what stands for exactly this definition of this tool."""
        return digest_of(self.now, self.name)


def definition_of(tool: Mapping[str, Any]) -> Definition:
    """Return what counts of a tool as its server lists it."""
    found = {key: _bare(tool[key]) for key in TEXTS if tool.get(key) is not None}
    annotations = tool.get("annotations")
    hints = {key: annotations[key] for key in HINTS if key in annotations} if isinstance(annotations, dict) else {}
    if hints := _bare(hints):
        found["annotations"] = hints
    return found


def digest_of(definition: Definition, name: str = "") -> str:
    """Return a digest that two definitions share only if they are the same."""
    text = json.dumps([name, definition], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def by_name(tools: Iterable[Mapping[str, Any]]) -> dict[str, Definition]:
    """Return the definitions of the tools by their names."""
    return {tool["name"]: definition_of(tool) for tool in tools if isinstance(tool.get("name"), str)}


def changes(tools: Iterable[Mapping[str, Any]], approved: Mapping[str, Definition] | None) -> list[Change]:
    """Return the tools that are not as approved, in the server's order; none while nothing was ever approved."""
    if approved is None:
        return []
    named = ((tool["name"], definition_of(tool)) for tool in tools if isinstance(tool.get("name"), str))
    return [Change(name, approved.get(name), now) for name, now in named if approved.get(name) != now]


def digest_of_all(pending: Iterable[Change]) -> str:
    """Return what stands for exactly these changes."""
    return hashlib.sha256("".join(change.digest for change in pending).encode()).hexdigest()


def _bare(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _bare(inner) for key, inner in value.items() if inner is not None}
    return [_bare(inner) for inner in value] if isinstance(value, list) else value
