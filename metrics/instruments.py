"""Counters, histograms and levels that cost less than a microsecond, kept in the process's memory.

The labels of an instrument are closed sets, named where it is made: any other value counts as `other`, so that nothing
that a caller sends makes a new series (H06). `metrics.published` adds up the processes of a host.
"""

import threading
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import product

Labels = tuple[str, ...]
Numbers = list[float]
Snapshot = dict[Labels, Numbers]
OTHER = "other"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 60.0)
registered: dict[str, "Instrument"] = {}


class Instrument:
    """A named family of series, one for each combination of its labels' values."""

    kind = ""

    def __init__(self, name: str, help_text: str, **labels: Sequence[str]) -> None:
        self.name, self.help_text, self.label_names = name, help_text, tuple(labels)
        self._allowed = [frozenset(values) for values in labels.values()]
        self._lock = threading.Lock()
        self._series: Snapshot = {values: self._zero() for values in product(*labels.values())}
        if registered.setdefault(name, self) is not self:
            raise ValueError(f"there are two instruments called {name}")

    def snapshot(self) -> Snapshot:
        """Return this process's numbers, as they are now."""
        with self._lock:
            return {labels: list(numbers) for labels, numbers in self._series.items()}

    def reset(self) -> None:
        """Start again from nothing."""
        with self._lock:
            for numbers in self._series.values():
                numbers[:] = self._zero()

    def _zero(self) -> Numbers:
        return [0.0]

    def _numbers(self, labels: Labels) -> Numbers:
        """Return the series, the one for `other` where a value is not in its set. The lock is held."""
        found = self._series.get(labels)
        if found is not None:
            return found
        known = tuple(v if v in allowed else OTHER for v, allowed in zip(labels, self._allowed, strict=True))
        return self._series.setdefault(known, self._zero())


class Counter(Instrument):
    """How often something happened."""

    kind = "counter"

    def count(self, *labels: str, by: float = 1) -> None:
        """Add to the series of these label values."""
        with self._lock:
            (self._series.get(labels) or self._numbers(labels))[0] += by


class Level(Instrument):
    """How many there are at the moment; those of a process that died are not counted."""

    kind = "gauge"

    def rise(self, *labels: str, by: float = 1) -> None:
        """Add to the level."""
        with self._lock:
            (self._series.get(labels) or self._numbers(labels))[0] += by

    def fall(self, *labels: str, by: float = 1) -> None:
        """Take from the level."""
        with self._lock:
            (self._series.get(labels) or self._numbers(labels))[0] -= by


class Histogram(Instrument):
    """How long something took, in seconds; `numbers` are the buckets, the last without a bound, and then the sum."""

    kind = "histogram"

    def __init__(
        self, name: str, help_text: str, *, bounds: Sequence[float] = SECONDS, **labels: Sequence[str]
    ) -> None:
        self.bounds = tuple(bounds)
        super().__init__(name, help_text, **labels)

    def observe(self, seconds: float, *labels: str) -> None:
        """Add one duration to the series of these label values."""
        bucket = bisect_left(self.bounds, seconds)
        with self._lock:
            numbers = self._series.get(labels) or self._numbers(labels)
            numbers[bucket] += 1
            numbers[-1] += seconds

    def _zero(self) -> Numbers:
        return [0.0] * (len(self.bounds) + 2)


def events(instrument: Instrument, numbers: Sequence[float]) -> float:
    """Return how many events a series holds."""
    return sum(numbers[:-1]) if isinstance(instrument, Histogram) else numbers[0]


def merged(snapshots: Sequence[Mapping[Labels, Sequence[float]]]) -> Snapshot:
    """Add up the series of several processes."""
    total: Snapshot = {}
    for snapshot in snapshots:
        for labels, numbers in snapshot.items():
            so_far = total.setdefault(labels, [0.0] * len(numbers))
            total[labels] = [a + b for a, b in zip(so_far, numbers, strict=True)]
    return total
