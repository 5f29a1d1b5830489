"""A JSON Schema as rows that a person can read: one per property, nested ones under a dotted name. No I/O.

The schema is a stranger's: whatever is not as it should be is left out, and depth and number of rows are bounded.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

MAX_DEPTH = 6
# Alternatives within alternatives multiply: a kind is told three levels down, eight wide, in so many steps.
KIND_DEPTH = 3
KIND_STEPS = 32
MAX_OPTIONS = 8
# What a reference and a list of names may cost, each time that one is looked at.
MAX_REFERENCE = 1000
MAX_REQUIRED = 1000
MAX_ROWS = 200
MAX_CHOICES = 30
MAX_VALUE = 200
NUMBERS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "more than {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "less than {}",
    "multipleOf": "a multiple of {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "pattern": "matches {}",
}
WORDS = {"string": "text", "integer": "whole number", "boolean": "yes or no", "array": "list", "null": "nothing"}


@dataclass(frozen=True, slots=True)
class Row:
    """One property: where it is, what it takes, and what its author says of it."""

    name: str
    kind: str
    is_required: bool
    description: str
    default: str
    limits: tuple[str, ...]
    choices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of a schema; `is_cut` when it has more than are shown."""

    rows: tuple[Row, ...]
    is_cut: bool


def table_of(schema: Any) -> Table:
    """Return the properties of an object schema as a table, in its author's order."""
    root = schema if isinstance(schema, dict) else {}
    rows = tuple(islice(_rows(resolved(root, root), root, "", 1), MAX_ROWS + 1))
    return Table(rows[:MAX_ROWS], len(rows) > MAX_ROWS)


def _rows(schema: dict[str, Any], root: dict[str, Any], prefix: str, depth: int) -> Iterator[Row]:
    properties, needed = schema.get("properties"), required_in(schema)
    for name, given in properties.items() if isinstance(properties, dict) else ():
        found = resolved(given, root)
        yield _row(f"{prefix}{name}", found, root, is_required=name in needed)
        if depth < MAX_DEPTH:
            yield from _below(found, root, f"{prefix}{name}", depth)


def _below(schema: dict[str, Any], root: dict[str, Any], name: str, depth: int) -> Iterator[Row]:
    """Yield the properties of an object, of a list's objects, and of each alternative."""
    yield from _rows(schema, root, f"{name}.", depth + 1)
    if isinstance(items := schema.get("items"), dict):
        yield from _rows(resolved(items, root), root, f"{name}[].", depth + 1)
    for option in options_of(schema, root):
        yield from _rows(option, root, f"{name}.", depth + 1)


def _row(name: str, schema: dict[str, Any], root: dict[str, Any], *, is_required: bool) -> Row:
    return Row(
        name=name,
        kind=kind_of(schema, root),
        is_required=is_required,
        description=text_of(schema.get("description")) or text_of(schema.get("title")),
        default=shown(schema["default"]) if "default" in schema else "",
        limits=tuple(words.format(shown(schema[key])) for key, words in NUMBERS.items() if key in schema),
        choices=_choices(schema),
    )


def required_in(schema: dict[str, Any]) -> frozenset[str]:
    """Return the names of the properties that may not be left out."""
    given = schema.get("required")
    names = given[:MAX_REQUIRED] if isinstance(given, list) else ()
    return frozenset(name for name in names if isinstance(name, str))


def kind_of(schema: dict[str, Any], root: dict[str, Any]) -> str:
    """Return what a value is, in words: `text`, `list of whole number`, `text or nothing`."""
    return _kind(schema, root, 1, iter(range(KIND_STEPS)))


def _kind(schema: dict[str, Any], root: dict[str, Any], depth: int, steps: Iterator[int]) -> str:
    if "const" in schema:
        return f"always {shown(schema['const'])}"
    if next(steps, None) is None or depth > KIND_DEPTH:
        return "anything"
    if kinds := dict.fromkeys(_kind(option, root, depth + 1, steps) for option in _options(schema, root)):
        return " or ".join(kinds)
    given = schema.get("type")
    names = [name for name in (given[:MAX_OPTIONS] if isinstance(given, list) else [given]) if isinstance(name, str)]
    if not names:
        return "object" if "properties" in schema else "one of" if "enum" in schema else "anything"
    return " or ".join(_named(name, schema, root, depth, steps) for name in names)


def _named(name: str, schema: dict[str, Any], root: dict[str, Any], depth: int, steps: Iterator[int]) -> str:
    if name == "array" and isinstance(items := schema.get("items"), dict):
        return f"list of {_kind(resolved(items, root), root, depth + 1, steps)}"
    form = schema.get("format")
    return f"{WORDS.get(name, name)} ({form})" if isinstance(form, str) else WORDS.get(name, name)


def options_of(schema: dict[str, Any], root: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the alternatives of a schema, the first of them."""
    return list(_options(schema, root))


def _options(schema: dict[str, Any], root: dict[str, Any]) -> Iterator[dict[str, Any]]:
    given = next((schema[member] for member in ("oneOf", "anyOf") if isinstance(schema.get(member), list)), ())
    return (resolved(option, root) for option in given[:MAX_OPTIONS])


def resolved(schema: Any, root: dict[str, Any]) -> dict[str, Any]:
    """Return the schema, or what its reference within the same document names; what is beside it is kept."""
    for _ in range(MAX_DEPTH):
        if not isinstance(schema, dict) or not isinstance(reference := schema.get("$ref"), str):
            break
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        schema = {**_at(reference, root), **beside}
    return schema if isinstance(schema, dict) else {}


def _at(reference: str, root: dict[str, Any]) -> dict[str, Any]:
    if not reference.startswith("#/") or len(reference) > MAX_REFERENCE:
        return {}
    found: Any = root
    for step in reference.removeprefix("#/").split("/"):
        key = step.replace("~1", "/").replace("~0", "~")
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) and found is not root else {}


def _choices(schema: dict[str, Any]) -> tuple[str, ...]:
    values = schema.get("enum")
    return tuple(shown(value) for value in values[:MAX_CHOICES]) if isinstance(values, list) else ()


def shown(value: Any) -> str:
    """Return a value as it is read, cut to length."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_VALUE else f"{text[:MAX_VALUE]}…"


def text_of(value: Any) -> str:
    """Return a text; what is none is empty."""
    return value if isinstance(value, str) else ""
