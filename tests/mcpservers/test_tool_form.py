"""A plain form from a tool's schema, which is a stranger's, and the arguments that were typed into it."""

import json
import time
from typing import Any

import pytest

from mcpservers import tool_form
from mcpservers.tool_form import MAX_FIELDS

RICH: dict[str, Any] = {
    "type": "object",
    "properties": {
        "title": {"type": "string", "description": "What it is called"},
        "count": {"type": "integer", "default": 3},
        "ratio": {"type": "number"},
        "loud": {"type": "boolean"},
        "level": {"enum": ["low", 1, None, True]},
        "when": {"type": "string", "format": "date"},
        "secret": {"type": "string", "format": "password"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "either": {"oneOf": [{"type": "string"}, {"type": "integer"}]},
        "place": {"$ref": "#/$defs/Place"},
    },
    "required": ["title"],
    "$defs": {
        "Place": {
            "type": "object",
            "properties": {"x": {"type": "integer"}, "y": {"type": "integer"}},
            "required": ["x"],
        }
    },
}


def filled(schema: Any, **typed: str) -> tuple[dict[str, str], dict[str, Any]]:
    """Return what is wrong, by input, and the arguments."""
    form, arguments = tool_form.filled(tool_form.blank(schema), {f"arg/{name}": text for name, text in typed.items()})
    return {each.label: each.problem for each in form.problems}, arguments


def test_each_kind_of_value_has_its_input() -> None:
    kinds = {each.label: (each.kind, each.input_type) for each in tool_form.blank(RICH).inputs}
    assert kinds == {
        "title": ("text", "text"),
        "count": ("integer", "text"),
        "ratio": ("number", "text"),
        "loud": ("yes_no", "text"),
        "level": ("choice", "text"),
        "when": ("text", "date"),
        "secret": ("text", "password"),
        "tags": ("json", "text"),
        "either": ("json", "text"),
        "place.x": ("integer", "text"),
        "place.y": ("integer", "text"),
    }


def test_what_was_typed_becomes_the_arguments() -> None:
    typed = {"title": " a\nb ", "count": "4", "ratio": "0.5", "loud": "false", "level": "3", "tags": '["a"]'}
    problems, arguments = filled(RICH, **typed, **{"place/x": "1"})
    assert problems == {}
    assert arguments == {
        "title": " a\nb ",
        "count": 4,
        "ratio": 0.5,
        "loud": False,
        "level": True,
        "tags": ["a"],
        "place": {"x": 1},
    }


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("title", "", "title is required."),
        ("count", "3.5", "count must be a whole number."),
        ("ratio", "NaN", "ratio must be a number."),
        ("ratio", "1e999", "ratio must be a number."),
        ("ratio", "true", "ratio must be a number."),
        ("loud", "maybe", "loud must be yes or no."),
        ("level", "9", "level must be one of the choices."),
        ("tags", "[", "tags must be JSON."),
        ("tags", "[" * 100_000, "tags must be JSON."),
        ("place/x", "x", "place.x must be a whole number."),
    ],
)
def test_what_is_wrong_names_the_field(name: str, text: str, problem: str) -> None:
    problems, _ = filled(RICH, **{"title": "t", name: text})
    assert list(problems.values()) == [problem]


def test_a_required_field_of_an_object_is_missed_once_the_object_is_begun() -> None:
    assert filled(RICH, title="t")[0] == {}
    assert filled(RICH, **{"title": "t", "place/y": "1"})[0] == {"place.x": "place.x is required."}


def test_a_value_that_is_not_typed_is_left_out_but_a_default_stands_there() -> None:
    assert {each.label: each.typed for each in tool_form.blank(RICH).inputs if each.typed} == {"count": "3"}
    assert filled(RICH, title="t")[1] == {"title": "t"}


@pytest.mark.parametrize(
    "schema", [None, [], "x", {}, {"type": "object"}, {"additionalProperties": {"type": "string"}}]
)
def test_what_has_no_input_of_its_own_is_typed_as_json(schema: Any) -> None:
    form = tool_form.blank(schema)
    assert form.other is not None
    assert tool_form.filled(form, {"other": '{"a": {"b": 1}}'})[1] == {"a": {"b": 1}}
    [wrong] = tool_form.filled(form, {"other": "[1]"})[0].problems
    assert wrong.problem == "This must be a JSON object."


def test_a_tool_that_takes_nothing_has_no_inputs() -> None:
    assert tool_form.blank({"type": "object", "properties": {}, "additionalProperties": False}).inputs == ()


@pytest.mark.parametrize("of", [{"anyOf": [{"type": "integer"}, {"type": "null"}]}, {"type": ["integer", "null"]}])
def test_a_value_or_nothing_has_the_input_of_the_value(of: dict[str, Any]) -> None:
    [made] = tool_form.blank({"properties": {"n": {**of, "default": None, "description": "d"}}}).fields
    assert (made.kind, made.typed, made.description) == ("integer", "", "d")


def test_names_that_look_alike_are_told_apart() -> None:
    schema = {
        "properties": {"a": {"type": "object", "properties": {"b": {"type": "string"}}}, "a/b": {"type": "string"}}
    }
    keys = [each.key for each in tool_form.blank(schema).fields]
    assert len(keys) == len(set(keys)) == 2
    form = tool_form.blank(schema)
    assert tool_form.filled(form, dict(zip(keys, "12", strict=True)))[1] == {"a": {"b": "1"}, "a/b": "2"}


def without_inputs(width: int) -> dict[str, Any]:
    """A schema of some KB, of whose `width` ** 3 objects none has an input."""
    defs: dict[str, Any] = {"leaf": {"type": "object", "properties": [1]}}
    for name, below in (("inner", "leaf"), ("outer", "inner")):
        defs[name] = {"type": "object", "properties": {f"p{n}": {"$ref": f"#/$defs/{below}"} for n in range(width)}}
    return {"$defs": defs, "properties": {f"p{n}": {"$ref": "#/$defs/outer"} for n in range(width)}}


@pytest.mark.threat("F15")
@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {f"p{n}": {"type": "string"} for n in range(5000)}},
        {"properties": {"x" * 65536: {"type": "string", "description": "y" * 65536}}},
        {"$ref": "#"},
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
        {
            "properties": {"a": {"$ref": "#/$defs/n"}},
            "$defs": {"n": {"type": "object", "properties": {"a": {"$ref": "#/$defs/n"}}}},
        },
        {
            "properties": {"a": 5, "b": None, "c": {"type": 5, "enum": "x", "format": [], "description": {}}},
            "required": 7,
        },
        {"properties": {"a": {"enum": [{"deep": [1]}] * 100_000}}},
        {"properties": {"a": {"type": ["string", "null"]}}, "required": ["a", {}]},
        without_inputs(200),
        {"properties": {"a": {"$ref": "#/" + "/" * 1_000_000}}, "required": ["x"] * 100_000},
    ],
)
def test_a_hostile_schema_makes_a_bounded_form(schema: Any) -> None:
    began = time.monotonic()
    form = tool_form.blank(schema)
    assert time.monotonic() - began < 5
    assert len(form.inputs) <= MAX_FIELDS + 1
    tool_form.filled(form, {each.key: "1" for each in form.inputs})
    json.dumps([each.label for each in form.inputs])
