"""A plain form for a tool's arguments, made from its JSON Schema, and the arguments that were typed into it. No I/O.

What one input cannot take (lists, alternatives, objects of no certain shape) is typed as JSON. The schema is a
stranger's: it is bounded, no pattern of it is run, and whether the arguments are right is for the server to say.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from mcpservers.schema_rows import MAX_OPTIONS, kind_of, options_of, required_in, resolved, shown, text_of

MAX_DEPTH = 4
MAX_FIELDS = 100
MAX_CHOICES = 500
MAX_TYPED = 1_000_000
OTHER = "other"
INPUT_TYPES = {"date": "date", "email": "email", "uri": "url", "password": "password"}
YES_NO = {"true": True, "false": False}
Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Field:
    """One input: `key` is its name in the form, `path` where its value goes. `typed` and `problem` are of a try."""

    key: str
    path: Path
    kind: str  # text, number, integer, choice, yes_no or json
    words: str
    is_required: bool
    description: str = ""
    input_type: str = "text"
    choices: tuple[tuple[str, str, Any], ...] = field(default=(), repr=False)
    typed: str = ""
    problem: str = ""

    @property
    def label(self) -> str:
        """Return the name that people read."""
        return ".".join(self.path)


@dataclass(frozen=True, slots=True)
class Form:
    """The inputs of a tool; `other` takes, as JSON, what has no input of its own."""

    fields: tuple[Field, ...]
    other: Field | None

    @property
    def inputs(self) -> tuple[Field, ...]:
        """Return every input, in order."""
        return (*self.fields, self.other) if self.other else self.fields

    @property
    def problems(self) -> list[Field]:
        """Return the inputs that have to be typed again."""
        return [each for each in self.inputs if each.problem]


def blank(schema: Any) -> Form:
    """Return the form of a tool, with the defaults of its schema."""
    root = schema if isinstance(schema, dict) else {}
    top = resolved(root, root)
    found = tuple(islice(_fields(top, root, (), 1), MAX_FIELDS + 1))
    is_open = len(found) > MAX_FIELDS or not found or "additionalProperties" in top or bool(options_of(top, root))
    is_closed = top.get("additionalProperties") is False and len(found) <= MAX_FIELDS
    other = Field(OTHER, (), "json", "object", is_required=False) if is_open and not is_closed else None
    return Form(found[:MAX_FIELDS], other)


def filled(form: Form, typed: Mapping[str, str]) -> tuple[Form, dict[str, Any]]:
    """Return the form as it was filled in, with what is wrong beside each input, and the arguments."""
    arguments: dict[str, Any] = {}
    tried = [_tried(each, typed.get(each.key, "")) for each in form.inputs]
    for each, value in sorted(tried, key=lambda pair: bool(pair[0].path)):  # the rest first: an own input wins
        if value is not _NOTHING:
            _put(arguments, each.path, value)
    checked = [_required(each, arguments, form) for each, _ in tried]
    count = len(form.fields)
    return Form(tuple(checked[:count]), checked[count] if form.other else None), arguments


_NOTHING = object()


def _fields(schema: dict[str, Any], root: dict[str, Any], path: Path, depth: int) -> Iterator[Field]:
    properties, needed = schema.get("properties"), required_in(schema)
    for name, given in properties.items() if isinstance(properties, dict) else ():
        found, below = _without_null(resolved(given, root), root), (*path, name)
        if depth < MAX_DEPTH and _has_properties(found):
            yield from _fields(found, root, below, depth + 1)
        else:
            yield _field(found, root, below, is_required=name in needed)


def _has_properties(schema: dict[str, Any]) -> bool:
    """Tell whether an object has inputs of its own: what has none is one, or a search for inputs would not end."""
    properties = schema.get("properties")
    return schema.get("type") == "object" and isinstance(properties, dict) and bool(properties)


def _without_null(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of "a value or nothing" as the value's: an empty input says nothing."""
    types = schema.get("type")
    options = [{"type": each} for each in types] if isinstance(types, list) else options_of(schema, root)
    others = [option for option in options[:MAX_OPTIONS] if option.get("type") != "null"]
    if len(others) != 1 or len(others) == len(options):
        return schema
    beside = {key: value for key, value in schema.items() if key not in ("type", "oneOf", "anyOf")}
    if beside.get("default", "") is None:
        del beside["default"]
    return {**beside, **others[0]}


def _field(schema: dict[str, Any], root: dict[str, Any], path: Path, *, is_required: bool) -> Field:
    kind, choices = _kind(schema), _choices(schema)
    made = Field(
        key="/".join(("arg", *(name.replace("~", "~0").replace("/", "~1") for name in path))),
        path=path,
        kind=kind,
        words=kind_of(schema, root),
        is_required=is_required,
        description=text_of(schema.get("description")) or text_of(schema.get("title")),
        input_type=INPUT_TYPES.get(text_of(schema.get("format")), "text"),
        choices=choices,
    )
    value = schema.get("default", schema["const"] if "const" in schema and is_required else _NOTHING)
    return made if value is _NOTHING else replace(made, typed=_typed_as(made, value))


def _kind(schema: dict[str, Any]) -> str:
    if isinstance(listed := schema.get("enum"), list) and len(listed) <= MAX_CHOICES:
        return "choice"
    named = {"string": "text", "number": "number", "integer": "integer", "boolean": "yes_no"}
    return named.get(text_of(schema.get("type")), "json") if "const" not in schema else "json"


def _choices(schema: dict[str, Any]) -> tuple[tuple[str, str, Any], ...]:
    if _kind(schema) != "choice":
        return ()
    return tuple((str(number), shown(value), value) for number, value in enumerate(schema["enum"]))


def _typed_as(made: Field, value: Any) -> str:
    """Return what one would type for a value."""
    if made.kind == "choice":
        return next((key for key, _, each in made.choices if each == value and type(each) is type(value)), "")
    return value if made.kind == "text" and isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _tried(each: Field, typed: str) -> tuple[Field, Any]:
    text = typed[:MAX_TYPED] if each.kind == "text" else typed[:MAX_TYPED].strip()
    tried = replace(each, typed=text, problem="")
    if not text:
        return tried, _NOTHING
    try:
        return tried, _value(each, text)
    except (ValueError, LookupError, RecursionError):
        return replace(tried, problem=_what_is_wrong(each)), _NOTHING


def _value(each: Field, text: str) -> Any:
    if each.kind == "choice":
        return {key: value for key, _, value in each.choices}[text]
    if each.kind == "yes_no":
        return YES_NO[text]
    if each.kind == "integer":
        return int(text)
    if each.kind == "text":
        return text
    value = json.loads(text, parse_constant=_no_constant)
    if each.kind == "number" and (isinstance(value, bool) or not isinstance(value, int | float) or math.isinf(value)):
        raise ValueError
    if each.key == OTHER and not isinstance(value, dict):
        raise ValueError
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(name)  # NaN and Infinity are not JSON


def _what_is_wrong(each: Field) -> str:
    wanted = {"integer": "a whole number", "number": "a number", "choice": "one of the choices", "yes_no": "yes or no"}
    if each.key == OTHER:
        return "This must be a JSON object."
    return f"{shown(each.label)} must be {wanted.get(each.kind, 'JSON')}."


def _required(each: Field, arguments: dict[str, Any], form: Form) -> Field:
    """Say of an input that it is missing, unless the object that it belongs to was left out as a whole."""
    if each.problem or not each.is_required or each.typed or _has(arguments, each.path):
        return each
    if len(each.path) > 1 and not _has(arguments, each.path[:-1]):
        return each
    return replace(each, problem=f"{shown(each.label)} is required.")


def _put(arguments: dict[str, Any], path: Path, value: Any) -> None:
    if not path:
        arguments.update(value)
        return
    for name in path[:-1]:
        below = arguments.get(name)
        if not isinstance(below, dict):
            below = arguments[name] = {}
        arguments = below
    arguments[path[-1]] = value


def _has(arguments: dict[str, Any], path: Path) -> bool:
    found: Any = arguments
    for name in path:
        if not isinstance(found, dict) or name not in found:
            return False
        found = found[name]
    return True
