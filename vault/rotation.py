"""Re-encrypt what is sealed under an older key, while the gateway serves (contract §8, C05).

Row by row: the values of a row are replaced, and its keys stated, only while they are still the ciphertexts that were
read, so that no newer value is ever overwritten; whoever wrote meanwhile sealed under the newest key already. What was
done stays done: a run that was cut off goes on where it was, since it asks the index for rows under other keys.
"""

import time
from collections.abc import Callable, Iterator

from django.db.models import BinaryField, QuerySet
from django.db.models.functions import Cast

from vault import keyring, sealing, standing
from vault.fields import Sealed
from vault.rows import NOTHING, UNREADABLE, SealedModel, actual, columns_of, joined, split, without_key

BATCH = 200
# Rows that a process with older keys wrote behind us are caught by another pass; one that never stops is an operator's.
MOST_PASSES = 5

# Told after each batch: the table, how many of its rows were looked at, and how many there are to look at.
Progress = Callable[[str, int, int], None]


def rotate(progress: Progress, *, rows_per_second: float = 0, trusting: bool = True) -> int:
    """Bring every readable value under the newest key; return how many rows were written.

    `rows_per_second`: no faster than this; 0 for as fast as it goes. Not `trusting`, it looks at every row, whatever
    key the row states.
    """
    total = 0
    for _ in range(MOST_PASSES):
        done = sum(_rotate(model, progress, rows_per_second, trusting) for model in standing.sealed_models())
        total += done
        if not done:
            break
    return total


def astray(model: type[SealedModel]) -> int:
    """Open every row and count those that are under a key that they do not state."""
    found = 0
    for row in _batches(model._base_manager.filter(key_ids__isnull=False)):
        found += not split(actual(row, row.key_ids)) <= split(row.key_ids) | {UNREADABLE}
    return found


def _rotate(model: type[SealedModel], progress: Progress, rows_per_second: float, trusting: bool) -> int:
    everything = standing.stated(model)
    stale = {said: rows for said, rows in everything.items() if said not in (NOTHING, keyring.newest())}
    todo = stale if trusting else everything
    written = seen = 0
    total, pause, due = sum(todo.values()), 1 / rows_per_second if rows_per_second else 0, time.monotonic()
    for said in todo:
        for row in _batches(model._base_manager.filter(**_states(said))):
            written += _restate(row)
            seen += 1
            due += pause
            time.sleep(max(0, due - time.monotonic()))
            if seen % BATCH == 0:
                progress(model._meta.db_table, seen, total)
    if seen % BATCH:
        progress(model._meta.db_table, seen, total)
    return written


def _restate(row: SealedModel) -> bool:
    """Bring a row under the newest key as far as it opens; False when nothing was to do or someone was faster."""
    values: dict[str, Sealed] = {}
    ids: set[str] = set()
    for column in columns_of(type(row)):
        try:
            if sealing.needs_reseal(row, column):
                values[column] = sealing.resealed(row, column)
            if getattr(row, column) is not None:
                ids.add(keyring.newest())
        except sealing.Unreadable:
            ids |= without_key(row.key_ids)
    stated = joined(ids)
    if not values and stated == row.key_ids:
        return False
    return bool(_as_read(row).update(**values, key_ids=stated))


def _as_read(row: SealedModel) -> QuerySet[SealedModel]:
    rows = type(row)._base_manager.filter(pk=row.pk)
    for column in columns_of(type(row)):
        read: Sealed | None = getattr(row, column)
        if read is None:
            rows = rows.filter(**{f"{column}__isnull": True})
        else:
            rows = rows.annotate(**{f"{column}_as_read": Cast(column, BinaryField())})
            rows = rows.filter(**{f"{column}_as_read": read.ciphertext})
    return rows


def _states(said: str | None) -> dict[str, object]:
    return {"key_ids__isnull": True} if said is None else {"key_ids": said}


def _batches(rows: QuerySet[SealedModel]) -> Iterator[SealedModel]:
    """Yield the rows in batches, so that no query and no memory grows with the table."""
    rows = rows.order_by("pk")
    last: object = None
    while batch := list((rows if last is None else rows.filter(pk__gt=last))[:BATCH]):
        yield from batch
        last = batch[-1].pk
