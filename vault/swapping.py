"""Compare-and-swap on one entry, as a statement that is written once.

A scan makes two of these per renewal, and the ORM takes several times longer to compose one than either database takes
to run it (docs/performance.md). Names come from the model and are the same for every call; values are parameters.
"""

from datetime import datetime
from functools import lru_cache
from typing import Any

from django.db import connection
from django.db.models import CharField, IntegerField

from vault.fields import Sealed
from vault.models import VaultEntry
from vault.rows import columns_of, keys_of


def swap(
    entry: VaultEntry, values: dict[str, Any], *, same: tuple[str, ...] = (), over: tuple[str, ...] = (), now: datetime
) -> bool:
    """Write `values` into the row of `entry`; tell whether it was still as it was read.

    That is its generation and the columns `same`; the moments in the columns `over` must be past, if there are any.
    """
    unchanged = ("id", "generation", *same)
    keys, key_parameters = _key_ids(values)
    parameters = [
        *(_prepared(name, value) for name, value in values.items()),
        *key_parameters,
        *(_prepared(name, getattr(entry, name)) for name in unchanged),
        *(_prepared(name, now) for name in over),
    ]
    with connection.cursor() as cursor:
        cursor.execute(_statement(tuple(values), keys, unchanged, over), parameters)
        return bool(cursor.rowcount)


_FIELDS = {field.name: field for field in VaultEntry._meta.concrete_fields}
# Every driver takes these as they are; Django would ask each value what it is first.
_PLAIN = frozenset(name for name, field in _FIELDS.items() if isinstance(field, CharField | IntegerField))


def _prepared(name: str, value: Any) -> Any:
    if value is None or name in _PLAIN:
        return value
    return _FIELDS[name].get_db_prep_save(value, connection)


def _key_ids(values: dict[str, Any]) -> tuple[str, list[str]]:
    """Return the assignment of the keys that the row states from now on, and its parameters (`vault.rows`)."""
    sealed = [name for name in columns_of(VaultEntry) if name in values]
    held: list[Sealed] = [values[name] for name in sealed if values[name] is not None]
    if not sealed or (not held and len(sealed) < len(columns_of(VaultEntry))):
        return "", []
    stated = keys_of(held)
    if len(sealed) == len(columns_of(VaultEntry)):
        return "key_ids = %s", [stated]
    return f"key_ids = {_ADDED}", [stated, f"%{stated}%", f"+{stated}"]


# What the row states by itself, and a key more; not known, it stays so.
_ADDED = (
    "CASE WHEN key_ids IS NULL THEN NULL WHEN key_ids = '' THEN %s WHEN key_ids LIKE %s THEN key_ids "
    "ELSE key_ids || %s END"
)


@lru_cache(maxsize=16)
def _statement(written: tuple[str, ...], keys: str, unchanged: tuple[str, ...], over: tuple[str, ...]) -> str:
    conditions = [
        *(f"{_FIELDS[name].column} = %s" for name in unchanged),
        *(f"({_FIELDS[name].column} IS NULL OR {_FIELDS[name].column} <= %s)" for name in over),
    ]
    assignments = ", ".join([*(f"{_FIELDS[name].column} = %s" for name in written), *([keys] if keys else [])])
    return f"UPDATE {VaultEntry._meta.db_table} SET {assignments} WHERE {' AND '.join(conditions)}"  # noqa: S608
