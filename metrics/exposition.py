"""All numbers of this host's processes, and of the database, in Prometheus's text format."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from django.conf import settings
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from metrics import published
from metrics.instruments import Histogram, Instrument, Labels, Numbers, registered
from metrics.readings import Reader

CONTENT_TYPE = CONTENT_TYPE_LATEST
reader = Reader()


def text() -> bytes:
    """Return what Prometheus reads."""
    registry = CollectorRegistry()
    registry.register(_Everything())
    if not settings.AIGW_METRICS_DIR:  # of several processes, the one that answers would speak for itself alone
        ProcessCollector(registry=registry)
    return generate_latest(registry)


class _Everything(Collector):
    def describe(self) -> list[Metric]:
        """Name nothing beforehand."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield what was counted, then what the database holds."""
        folder = Path(settings.AIGW_METRICS_DIR) if settings.AIGW_METRICS_DIR else None
        others = list(published.others(folder))
        for instrument in registered.values():
            yield _family(instrument, published.of_all_processes(instrument, others))
        readings = reader.read()
        yield GaugeMetricFamily("aigw_database_up", "1 when the database answered.", value=int(readings is not None))
        for reading in readings or ():
            family = GaugeMetricFamily(reading.name, reading.help_text, labels=[reading.label] if reading.label else [])
            for label, value in reading.values.items():
                family.add_metric([label] if reading.label else [], value)
            yield family


_FAMILIES: dict[str, Any] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
}


def _family(instrument: Instrument, series: dict[Labels, Numbers]) -> Metric:
    family = _FAMILIES[instrument.kind](instrument.name, instrument.help_text, labels=instrument.label_names)
    for labels, numbers in series.items():
        if isinstance(instrument, Histogram):
            family.add_metric(labels, _buckets(instrument, numbers), numbers[-1])
        else:
            family.add_metric(labels, numbers[0])
    return cast(Metric, family)


def _buckets(histogram: Histogram, numbers: Numbers) -> list[tuple[str, float]]:
    """Return Prometheus's buckets: each counts what fits under its bound, so all that fitted under the smaller ones."""
    so_far, found = 0.0, []
    for bound, count in zip((*histogram.bounds, float("inf")), numbers[:-1], strict=True):
        so_far += count
        found.append((str(floatToGoString(bound)), so_far))  # type: ignore[no-untyped-call]
    return found
