"""Numbers over time, for the charts of the admin: added to a row per slice of time, in batches, by every process.

Counters are written as what was added since the last batch, so that any number of processes may write the same slice;
a batch that cannot be written stays for the next one.
"""

import threading
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Expression, F, Value
from django.db.models.functions import Greatest
from django.utils import timezone

from metrics import catalog
from metrics.instruments import Instrument, events
from metrics.models import Tally

SLICE_SECONDS = 300
ROWS_PER_DELETION = 1000
_Key = tuple[str, str]
_lock = threading.Lock()
_written: dict[_Key, float] = {}
_peaks: dict[_Key, float] = {}


def peak(name: str, value: float, label: str = "") -> None:
    """Note a height; each slice of time keeps the greatest."""
    with _lock:
        _peaks[name, label] = max(value, _peaks.get((name, label), value))


def flush() -> None:
    """Write what was counted since the last time. Raises DatabaseError, and nothing is lost."""
    with _lock:
        now = _counted(catalog.KEPT)
        added = {key: value - _written.get(key, 0) for key, value in now.items()}
        sums = {key: value for key, value in added.items() if value > 0}
        _write(sums, dict(_peaks))
        _written.update(now)
        _peaks.clear()


def forget() -> None:
    """Count from now on only, as a process that has just started."""
    with _lock:
        _written.clear()
        _written.update(_counted(catalog.KEPT))
        _peaks.clear()


def since(moment: datetime) -> list[tuple[datetime, str, str, float]]:
    """Return `(slice, name, label, value)` of what was written since then."""
    return list(Tally.objects.filter(at__gte=_slice(moment)).values_list("at", "name", "label", "value"))


def last_written(name: str) -> datetime | None:
    """Return when `name` was last counted, within a flush of it; None if not in the last day."""
    recent = Tally.objects.filter(at__gte=timezone.now() - timedelta(days=1), name=name)
    return recent.order_by("-at").values_list("updated_at", flat=True).first()


def prune() -> int:
    """Delete what is older than `AIGW_METRICS_HISTORY_DAYS`, in chunks; return how many rows went."""
    before, gone = timezone.now() - timedelta(days=settings.AIGW_METRICS_HISTORY_DAYS), 0
    while pks := list(Tally.objects.filter(at__lt=before).values_list("pk", flat=True)[:ROWS_PER_DELETION]):
        gone += Tally.objects.filter(pk__in=pks).delete()[0]
    return gone


def _counted(instruments: Iterable[Instrument]) -> dict[_Key, float]:
    return {
        (each.name, ",".join(labels)): events(each, numbers)
        for each in instruments
        for labels, numbers in each.snapshot().items()
    }


def _write(sums: dict[_Key, float], peaks: dict[_Key, float]) -> None:
    """Write all or nothing; in one order, so that two processes never wait for each other."""
    at, now = _slice(timezone.now()), timezone.now()
    changes: dict[_Key, tuple[float, Expression | Greatest]] = {
        key: (value, F("value") + Value(value)) for key, value in sums.items()
    }
    changes |= {key: (value, Greatest(F("value"), Value(value))) for key, value in peaks.items()}
    if not changes:
        return
    with transaction.atomic():
        for (name, label), (value, changed) in sorted(changes.items(), key=lambda change: change[0]):
            row = Tally.objects.filter(at=at, name=name, label=label)
            if row.update(value=changed, updated_at=now):
                continue
            try:
                with transaction.atomic():
                    Tally.objects.create(at=at, name=name, label=label, value=value, updated_at=now)
            except IntegrityError:  # another process was first
                row.update(value=changed, updated_at=now)


def _slice(moment: datetime) -> datetime:
    return datetime.fromtimestamp(moment.timestamp() // SLICE_SECONDS * SLICE_SECONDS, tz=moment.tzinfo)
