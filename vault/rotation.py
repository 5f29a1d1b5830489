"""Re-encrypt what is sealed under an older key, while the gateway serves (contract §8, C05).

Row by row: a value is replaced only while it is still the ciphertext that was read, so that no newer value is ever
overwritten; whoever wrote meanwhile sealed under the newest key already. What was done stays done: a run that was cut
off is simply started again.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields

from django.apps import apps
from django.db import models
from django.db.models import BinaryField, Model
from django.db.models.functions import Cast

from vault import sealing
from vault.fields import Sealed, SealedTextField

BATCH = 200
# Rows that a process with older keys wrote behind us are caught by another pass; one that never stops is an operator's.
MOST_PASSES = 5

SealedModel = type[Model]


@dataclass(slots=True)
class Standing:
    """How many sealed values there are under the newest key, under older ones, and under none that is set."""

    newest: int = 0
    older: int = 0
    unreadable: int = 0

    def __add__(self, other: "Standing") -> "Standing":
        return Standing(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))


def sealed_columns() -> dict[SealedModel, list[str]]:
    """Return every model that has sealed columns, on whatever floor, and their names."""
    found = {
        model: [field.name for field in model._meta.local_fields if isinstance(field, SealedTextField)]
        for model in apps.get_models()
    }
    return {model: columns for model, columns in found.items() if columns}


def standing(model: SealedModel, columns: list[str]) -> Standing:
    """Count the model's sealed values by the key that opens them."""
    found = Standing()
    for row in _rows(model, columns):
        for column in columns:
            if getattr(row, column) is not None:
                state = _state(row, column)
                setattr(found, state, getattr(found, state) + 1)
    return found


def rotate(progress: Callable[[str, int], None]) -> int:
    """Bring every readable value under the newest key; return how many were re-encrypted.

    `progress(table, how many so far)` is told after each batch in which something was.
    """
    total = 0
    for _ in range(MOST_PASSES):
        done = sum(_rotate(model, columns, progress) for model, columns in sealed_columns().items())
        total += done
        if not done:
            break
    return total


def _rotate(model: SealedModel, columns: list[str], progress: Callable[[str, int], None]) -> int:
    done = told = 0
    for number, row in enumerate(_rows(model, columns), start=1):
        done += sum(_reseal(row, column) for column in columns if _state(row, column) == "older")
        if number % BATCH == 0 and done > told:
            progress(model._meta.db_table, done)
            told = done
    if done > told:
        progress(model._meta.db_table, done)
    return done


def _reseal(row: Model, column: str) -> bool:
    """Put the new ciphertext in place of the one that was read; False when someone else was there first."""
    read: Sealed = getattr(row, column)
    same = type(row)._base_manager.annotate(as_read=Cast(column, BinaryField())).filter(pk=row.pk)
    resealed = sealing.resealed(row, column)  # type: ignore[arg-type]
    return bool(same.filter(as_read=read.ciphertext).update(**{column: resealed}))


def _state(row: Model, column: str) -> str:
    try:
        return "older" if sealing.needs_reseal(row, column) else "newest"  # type: ignore[arg-type]
    except sealing.Unreadable:
        return "unreadable"


def _rows(model: SealedModel, columns: list[str]) -> Iterator[Model]:
    """Yield the rows that hold something, in batches, so that no query and no memory grows with the table."""
    holding = models.Q(*((f"{column}__isnull", False) for column in columns), _connector=models.Q.OR)
    rows = model._base_manager.filter(holding).order_by("pk")
    last: object = None
    while batch := list((rows if last is None else rows.filter(pk__gt=last))[:BATCH]):
        yield from batch
        last = batch[-1].pk
