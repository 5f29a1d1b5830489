"""A stranger's JSON Schema as a table: what people read, and that no schema takes the page with it."""

import time
from typing import Any

import pytest

from mcpservers import schema_rows
from mcpservers.schema_rows import MAX_ROWS, kind_of, table_of


def rows(**properties: Any) -> dict[str, Any]:
    """Return the rows of an object with these properties by their names."""
    return {row.name: row for row in table_of({"type": "object", "properties": properties}).rows}


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"type": "string"}, "text"),
        ({"type": "string", "format": "email"}, "text (email)"),
        ({"type": ["string", "null"]}, "text or nothing"),
        ({"type": "array", "items": {"type": "integer"}}, "list of whole number"),
        ({"type": "array"}, "list"),
        ({"anyOf": [{"type": "boolean"}, {"type": "number"}]}, "yes or no or number"),
        ({"oneOf": [{"const": "a"}, {"const": 1}]}, "always a or always 1"),
        ({"enum": [1, 2]}, "one of"),
        ({"properties": {}}, "object"),
        ({"type": "string", "const": "x"}, "always x"),
        ({}, "anything"),
        ({"type": 7}, "anything"),
        ({"type": "array", "items": {"$ref": "#/$defs/missing"}}, "list of anything"),
    ],
)
def test_kinds_are_told_in_words(schema: dict[str, Any], kind: str) -> None:
    assert kind_of(schema, schema) == kind


def test_a_row_says_limits_default_and_choices() -> None:
    row = rows(count={"type": "integer", "minimum": 1, "maximum": 9, "default": 0, "enum": [0, 1], "title": "How many"})
    assert row["count"].limits == ("at least 1", "at most 9")
    assert row["count"].choices == ("0", "1")
    assert (row["count"].default, row["count"].description) == ("0", "How many")
    assert rows(plain={})["plain"].default == ""


def test_nested_objects_lists_and_alternatives_are_rows_of_their_own() -> None:
    inner = {"type": "object", "properties": {"street": {"type": "string"}}, "required": ["street"]}
    found = rows(home=inner, others={"type": "array", "items": inner}, either={"oneOf": [inner, {"type": "null"}]})
    assert list(found) == ["home", "home.street", "others", "others[].street", "either", "either.street"]
    assert all(found[name].is_required for name in found if name.endswith("street"))


def test_references_within_the_schema_are_followed() -> None:
    schema = {
        "properties": {"a": {"$ref": "#/$defs/x~1y", "description": "beside"}},
        "$defs": {"x/y": {"type": "integer", "description": "there"}},
    }
    (row,) = table_of(schema).rows
    assert (row.kind, row.description) == ("whole number", "beside")


@pytest.mark.parametrize("schema", [None, [], 1, "x", {"properties": []}, {"properties": {"x": 1}, "required": 3}])
def test_what_is_no_schema_has_no_rows_or_plain_ones(schema: Any) -> None:
    assert all(row.kind == "anything" for row in table_of(schema).rows)


def test_a_schema_that_contains_itself_ends() -> None:
    node: dict[str, Any] = {"properties": {f"p{n}": {"$ref": "#/$defs/node"} for n in range(20)}}
    table = table_of({"$ref": "#/$defs/node", "$defs": {"node": node, "loop": {"$ref": "#/$defs/loop"}}})
    assert table.is_cut
    assert len(table.rows) == MAX_ROWS
    assert table_of({"$ref": "#/$defs/loop", "$defs": {"loop": {"$ref": "#/$defs/loop"}}}).rows == ()
    assert table_of({"$ref": "#", "properties": {"x": {"$ref": "#"}}}).rows != ()


def test_alternatives_within_alternatives_cost_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    many = {"anyOf": [{"$ref": "#/$defs/many"}] * 1000}
    schema = {"properties": {f"p{n}": {"$ref": "#/$defs/many"} for n in range(1000)}, "$defs": {"many": many}}
    looked_at: list[Any] = []
    resolved = schema_rows.resolved

    def counted(schema: Any, root: dict[str, Any]) -> dict[str, Any]:
        looked_at.append(schema)
        return resolved(schema, root)

    monkeypatch.setattr(schema_rows, "resolved", counted)
    table_of(schema)
    assert len(looked_at) < 100 * MAX_ROWS


@pytest.mark.parametrize(
    "schema",
    [
        {"$defs": {"long": {"$ref": "#/" + "/" * 1_000_000}}},
        {"$defs": {"long": {}}, "required": ["x"] * 1_000_000},
    ],
)
def test_a_reference_and_a_list_of_names_cost_no_time(schema: dict[str, Any]) -> None:
    schema |= {"properties": {f"p{n}": {"$ref": "#/$defs/long"} for n in range(200)}}
    began = time.monotonic()
    assert len(table_of(schema).rows) == 200
    assert time.monotonic() - began < 1
