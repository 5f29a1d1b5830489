"""Re-encrypt what is sealed under an older key, while the gateway serves (contract §8, C05).

The values of a row are replaced, and its keys stated, only while they are still the ciphertexts that were read, so that
no newer value is ever overwritten; whoever wrote meanwhile sealed under the newest key already. Rows are re-encrypted
with nothing locked and then written some at a time, in transactions so short that nobody who writes notices. What was
done stays done: a run that was cut off goes on where it was, since it asks the index for rows under other keys.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any

from django.db import OperationalError, connection, transaction
from django.db.models import QuerySet

from vault import keyring, sealing, standing
from vault.fields import Sealed
from vault.rows import NOTHING, UNREADABLE, SealedModel, actual, columns_of, joined, split, without_key

BATCH = 200
# How long SQLite may be locked at a time, about; how many rows that is is found out on the way.
WRITE_SECONDS = 0.05
# Rows that a process with older keys wrote behind us are caught by another pass; one that never stops is an operator's.
MOST_PASSES = 5

# Told after each batch: the table, how many of its rows were looked at, and how many there are to look at.
Progress = Callable[[str, int, int], None]


def rotate(progress: Progress, *, rows_per_second: float = 0, trusting: bool = True) -> int:
    """Bring every readable value under the newest key; return how many rows were written.

    `rows_per_second`: no faster than this; 0 for as fast as it goes. Not `trusting`, it looks at every row, whatever
    key the row states.
    """
    total, pace = 0, _Pace(rows_per_second)
    for _ in range(MOST_PASSES):
        done = sum(_rotate(model, progress, pace, trusting) for model in standing.sealed_models())
        total += done
        if not done:
            break
    return total


def astray(model: type[SealedModel]) -> int:
    """Open every row and count those that are under a key that they do not state."""
    found = 0
    for row in chain.from_iterable(_batches(model._base_manager.filter(key_ids__isnull=False))):
        found += not split(actual(row, row.key_ids)) <= split(row.key_ids) | {UNREADABLE}
    return found


class _Pace:
    """How many rows are handled at a time, and how soon one after the other."""

    def __init__(self, rows_per_second: float) -> None:
        self._pause = 1 / rows_per_second if rows_per_second else 0.0
        # A tenth of a second's worth, so that a slow pace is a steady one.
        self._most = max(min(BATCH, int(rows_per_second / 10) if rows_per_second else BATCH), 1)
        self._size = min(self._most, 25)
        self._due = time.monotonic()

    def portions(self, rows: Sequence[SealedModel]) -> Iterator[Sequence[SealedModel]]:
        """Hand out the rows, some at a time, each when its turn has come."""
        start = 0
        while portion := rows[start : start + self._size]:
            yield portion
            start += len(portion)
            self._due = max(self._due, time.monotonic() - 1.0) + self._pause * len(portion)
            time.sleep(max(0, self._due - time.monotonic()))

    def written(self, seconds: float) -> None:
        """Take smaller portions after a write that took too long, and larger ones after a quick one."""
        if seconds > WRITE_SECONDS:
            self._size = max(self._size // 2, 1)
        elif seconds < WRITE_SECONDS / 4:
            self._size = min(self._size * 2, self._most)


def _rotate(model: type[SealedModel], progress: Progress, pace: _Pace, trusting: bool) -> int:
    everything = standing.stated(model)
    stale = {said: rows for said, rows in everything.items() if said not in (NOTHING, keyring.newest())}
    todo = stale if trusting else everything
    written = seen = 0
    total = sum(todo.values())
    for said in todo:
        for batch in _batches(model._base_manager.filter(**_states(said))):
            for portion in pace.portions(batch):
                changes = [change for row in portion if (change := _change_of(row))]
                began = time.monotonic()
                written += _written(changes)
                pace.written(time.monotonic() - began)
            seen += len(batch)
            progress(model._meta.db_table, seen, max(seen, total))
    return written


@dataclass(frozen=True, slots=True)
class _Change:
    """What is to be written into a row, if its values are still as they are in `row`."""

    row: SealedModel
    values: dict[str, Sealed]
    stated: str


def _change_of(row: SealedModel) -> _Change | None:
    """Bring a row under the newest key as far as it opens; None when nothing is to do."""
    values: dict[str, Sealed] = {}
    ids: set[str] = set()
    for column in columns_of(type(row)):
        try:
            if value := sealing.resealed(row, column):
                values[column] = value
            if getattr(row, column) is not None:
                ids.add(keyring.newest())
        except sealing.Unreadable:
            ids |= without_key(row.key_ids)
    stated = joined(ids)
    return None if not values and stated == row.key_ids else _Change(row, values, stated)


def _written(changes: Sequence[_Change]) -> int:
    """Write in one transaction; return how many of the rows were still as they were read."""
    try:
        with transaction.atomic():
            return _swapped(changes)
    except OperationalError:
        # A deadlock with someone who writes several of these rows in another order, most likely: one by one, then.
        return sum(_swapped([change]) for change in changes)


def _swapped(changes: Iterable[_Change]) -> int:
    batches: dict[str, list[list[Any]]] = defaultdict(list)
    for change in changes:
        model, columns = type(change.row), columns_of(type(change.row))
        read = {column: getattr(change.row, column) for column in columns}
        held = tuple(column for column in columns if read[column] is not None)
        parameters: list[Any] = [value.ciphertext for value in change.values.values()]
        parameters += [change.stated, change.row.pk, *(read[column].ciphertext for column in held)]
        batches[_statement(model, tuple(change.values), held)].append(parameters)
    swapped = 0
    with connection.cursor() as cursor:
        for statement, rows in batches.items():
            cursor.executemany(statement, rows)
            swapped += cursor.rowcount
    return swapped


@lru_cache(maxsize=64)
def _statement(model: type[SealedModel], written: tuple[str, ...], held: tuple[str, ...]) -> str:
    """Return the statement that swaps one row's values; names are the model's own, values parameters.

    A column may hold text where someone put it there by hand: hence the cast.
    """
    names = {field.name: (field.column, field.db_type(connection)) for field in model._meta.concrete_fields}
    assignments = [*(f"{names[name][0]} = %s" for name in written), "key_ids = %s"]
    conditions = [
        f"CAST({column} AS {kind}) = %s" if name in held else f"{column} IS NULL"
        for name, (column, kind) in names.items()
        if name in columns_of(model)
    ]
    where = " AND ".join([f"{model._meta.pk.column} = %s", *conditions])
    return f"UPDATE {model._meta.db_table} SET {', '.join(assignments)} WHERE {where}"  # noqa: S608


def _states(said: str | None) -> dict[str, object]:
    return {"key_ids__isnull": True} if said is None else {"key_ids": said}


def _batches(rows: QuerySet[SealedModel]) -> Iterator[list[SealedModel]]:
    """Yield the rows in batches, so that no query and no memory grows with the table."""
    rows = rows.order_by("pk")
    last: object = None
    while batch := list((rows if last is None else rows.filter(pk__gt=last))[:BATCH]):
        yield batch
        last = batch[-1].pk
