"""Rows with sealed columns: each states the keys that it is under, on every write.

A row whose values were sealed at different times may be under several keys: it states all of them, joined by `+`, and
perhaps one too many after a write of some of its values, but never one too few. So a key that no row states is a key
that nothing needs.
"""

import time
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NoReturn, TypeVar

from django.db import models, transaction
from django.db.models import Case, F, Model, Value, When
from django.db.models.functions import Concat

from vault import keyring
from vault.fields import Sealed, SealedTextField

M = TypeVar("M", bound=Model)

# What a row states besides ids: null until its keys are known, and one of these.
NOTHING = ""
UNREADABLE = "unreadable"
CHUNK = 500
# Between two chunks: SQLite lets whoever waits for it try again every 0.1 seconds, and gives nobody a turn.
PAUSE_SECONDS = 0.12


def columns_of(model: type[Model]) -> list[str]:
    """Return the names of the model's sealed columns."""
    return [field.name for field in model._meta.local_fields if isinstance(field, SealedTextField)]


def joined(ids: Iterable[str]) -> str:
    """Return what a row states that is under these keys."""
    return "+".join(sorted(set(ids)))


def split(stated: str | None) -> set[str]:
    """Return the keys that a row states."""
    return set(stated.split("+")) if stated else set()


def without_key(stated: str | None) -> set[str]:
    """Return what is to be stated of a value that does not open: the missing key, if the row stated one."""
    return split(stated).difference(keyring.ids()) or {UNREADABLE}


def actual(row: Model, stated: str | None) -> str:
    """Return the keys that the row's values, as they are in memory, are under; `stated` helps with one that is gone."""
    ids: set[str] = set()
    for value in (getattr(row, column) for column in columns_of(type(row))):
        if isinstance(value, Sealed):
            known = value.key_id or keyring.under(value.ciphertext)
            ids |= {known} if known else without_key(stated)
    return joined(ids)


def keys_of(values: Iterable[Sealed]) -> str:
    """Return what is to be stated of these values."""
    return joined(value.key_id or keyring.under(value.ciphertext) or UNREADABLE for value in values)


class KeyIdsField(models.TextField):  # type: ignore[type-arg]
    """What a row states. Whoever saves a row need not think of it."""

    _pyi_private_set_type: Any
    _pyi_private_get_type: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"null": True, "editable": False, **kwargs})

    def pre_save(self, model_instance: Model, add: bool) -> str | None:
        """Find the keys of what is about to be written."""
        stated: str | None = getattr(model_instance, self.attname)
        if not model_instance.get_deferred_fields().intersection(columns_of(type(model_instance))):
            stated = actual(model_instance, stated)
            setattr(model_instance, self.attname, stated)
        return stated


class SealedModel(models.Model):
    """A model with sealed columns. Give it an index on `key_ids` and `id`."""

    key_ids = KeyIdsField()

    class Meta:
        abstract = True

    def save(self, *args: Any, update_fields: Iterable[str] | None = None, **kwargs: Any) -> None:
        """Write the keys along with the values, of which all or none are to be written."""
        columns = set(columns_of(type(self)))
        if update_fields is not None and columns.intersection(update_fields):
            if not columns.issubset(update_fields):
                raise TypeError(f"save all sealed columns of a {type(self).__name__} at once, or use update()")
            update_fields = {*update_fields, "key_ids"}
        super().save(*args, update_fields=update_fields, **kwargs)

    def sealed_owner(self) -> str:
        """Return what a value is sealed together with, as `vault.sealing.Owned` has it."""
        raise NotImplementedError


class SealedQuerySet(models.QuerySet[M]):
    """Rows with sealed columns."""

    def update(self, **values: Any) -> int:
        """Write the keys along with the values."""
        return super().update(**_with_key_ids(self.model, values))

    def bulk_update(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse: it would encrypt the SQL `CASE` expression in place of the value (C06)."""
        raise TypeError("bulk_update destroys sealed columns; save the rows one by one")


def _with_key_ids(model: type[Model], values: dict[str, Any]) -> dict[str, Any]:
    columns = columns_of(model)
    written = [values[column] for column in columns if column in values]
    if not written or "key_ids" in values:
        return values
    held = [value for value in written if value is not None]
    if not all(isinstance(value, Sealed) for value in held):
        return {**values, "key_ids": None}  # an expression; plain text is refused by the column
    ids = {value.key_id or keyring.under(value.ciphertext) or UNREADABLE for value in held}
    if len(written) == len(columns):
        return {**values, "key_ids": joined(ids)}
    if len(ids) > 1:
        return {**values, "key_ids": None}
    return {**values, "key_ids": _added(ids.pop())} if ids else values


def _added(id: str) -> Case:
    """Add a key to what the row states by itself."""
    return Case(
        When(key_ids__isnull=True, then=Value(None)),
        When(key_ids=NOTHING, then=Value(id)),
        When(key_ids__contains=id, then=F("key_ids")),
        default=Concat(F("key_ids"), Value(f"+{id}")),
        output_field=models.TextField(),
    )


def state_unknown(model: type[Model]) -> None:
    """Find the keys of every row that does not state them; no row is locked for longer than `CHUNK` rows take."""
    unknown = model._base_manager.filter(key_ids__isnull=True).order_by("pk")
    rows: list[Model] = [model()]
    while rows:
        with transaction.atomic():
            rows = list(unknown.select_for_update().only("pk", *columns_of(model))[:CHUNK])
            found = defaultdict(list)
            for row in rows:
                found[actual(row, None)].append(row.pk)
            for stated, pks in found.items():
                model._base_manager.filter(pk__in=pks).update(key_ids=stated)
        if len(rows) == CHUNK:
            time.sleep(PAUSE_SECONDS)
