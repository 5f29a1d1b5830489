"""A tool as a person reads it: what it does, what it says of its effects, what it takes and gives. No I/O."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mcpservers.schema_rows import Table, table_of

# The server's own claims (MCP, "Tool Annotations"): hints, which nobody has checked.
CLAIMS = (
    ("readOnlyHint", True, "Only reads"),
    ("readOnlyHint", False, "May change things"),
    ("destructiveHint", True, "May delete or overwrite"),
    ("destructiveHint", False, "Deletes nothing"),
    ("idempotentHint", True, "Safe to repeat"),
    ("openWorldHint", True, "Reaches beyond this server"),
    ("openWorldHint", False, "Stays within this server"),
)
MEANINGLESS_WHEN_READING = {"destructiveHint", "idempotentHint"}


@dataclass(frozen=True, slots=True)
class ToolCard:
    """One tool; `gives` is None when the server does not say what comes back."""

    name: str
    title: str
    description: str
    claims: tuple[str, ...]
    takes: Table
    gives: Table | None


def found(tools: Iterable[Any], *, search: str = "") -> list[Mapping[str, Any]]:
    """Return the tools whose name, title or description holds `search`, in the server's order."""
    wanted = search.casefold()
    return [tool for tool in tools if isinstance(tool, dict) and wanted in _words(tool).casefold()]


def card_of(tool: Mapping[str, Any]) -> ToolCard:
    """Return what a page shows of a tool."""
    annotations = tool.get("annotations")
    hints = annotations if isinstance(annotations, dict) else {}
    output = tool.get("outputSchema")
    return ToolCard(
        name=_text(tool.get("name")),
        title=_text(tool.get("title")) or _text(hints.get("title")),
        description=_text(tool.get("description")),
        claims=tuple(_claims(hints)),
        takes=table_of(tool.get("inputSchema")),
        gives=table_of(output) if isinstance(output, dict) else None,
    )


def _claims(hints: Mapping[str, Any]) -> Iterable[str]:
    skipped = MEANINGLESS_WHEN_READING if hints.get("readOnlyHint") is True else set()
    return (words for hint, value, words in CLAIMS if hint not in skipped and hints.get(hint) is value)


def _words(tool: Mapping[str, Any]) -> str:
    return "\n".join(_text(tool.get(member)) for member in ("name", "title", "description"))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
