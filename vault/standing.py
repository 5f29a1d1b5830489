"""How many rows there are under each key, by what they state: read from an index, nothing is opened."""

from collections import Counter
from collections.abc import Iterator

from django.apps import apps
from django.db.models import Count, Model

from vault import keyring
from vault.rows import NOTHING, UNREADABLE, SealedModel, split

UNKNOWN = "not known yet"


def sealed_models() -> list[type[SealedModel]]:
    """Return every model that has sealed columns, on whatever floor."""
    return [model for model in apps.get_models() if issubclass(model, SealedModel)]


def stated(model: type[Model]) -> dict[str | None, int]:
    """Return how many rows state what."""
    counted = model._base_manager.order_by().values_list("key_ids").annotate(rows=Count("*"))
    return dict(counted.values_list("key_ids", "rows"))


def stated_ids(model: type[Model]) -> Iterator[str]:
    """Yield what rows state, each once: from one to the next by the index, whatever the size of the table."""
    rows = model._base_manager.order_by("key_ids").values_list("key_ids", flat=True)
    said: str | None = rows.filter(key_ids__isnull=False).first()
    while said is not None:
        yield said
        said = rows.filter(key_ids__gt=said).first()


def rows_by_key(model: type[Model]) -> Counter[str]:
    """Return how many rows are under which key, each counted once: under the oldest that it states.

    Besides ids, the keys are `UNREADABLE` and `UNKNOWN`. Rows that hold nothing are left out.
    """
    counts: Counter[str] = Counter()
    for said, rows in stated(model).items():
        if said != NOTHING:
            counts[_oldest(said)] += rows
    return counts


def rows_without_key() -> dict[str, Counter[str]]:
    """Return, for each key that rows state and `FERNET_KEYS` lacks, how many of which table; not of those given up."""
    lacking: dict[str, Counter[str]] = {}
    for model in sealed_models():
        for said in stated_ids(model):
            for id in split(said).difference(keyring.ids(), keyring.given_up(), {UNREADABLE}):
                rows = model._base_manager.filter(key_ids=said).count()
                lacking.setdefault(id, Counter())[model._meta.db_table] += rows
    return lacking


def _oldest(said: str | None) -> str:
    if said is None:
        return UNKNOWN
    order, ids = keyring.ids(), split(said)
    readable = [id for id in order if id in ids]
    unreadable = ids & {UNREADABLE, *keyring.given_up()}
    missing = sorted(ids.difference(readable, unreadable))
    if missing:
        return missing[0]
    return UNREADABLE if unreadable and readable in ([], [order[0]]) else readable[-1]
