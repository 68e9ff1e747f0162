"""Figures of this process as Prometheus collects them: of the door, of the catalog's transactions, of buckets."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from holdfast.api.exchange import Exchange
from holdfast.api.operations import operation_of
from holdfast.api.pool import Family, metrics_of
from holdfast.catalog.measuring import EDGES, Measures
from holdfast.engine.activity import Activity
from holdfast.engine.outages import Outages

_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
disable_created_metrics()  # type: ignore[no-untyped-call]

_METHODS: Final = frozenset({"GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH"})


class DoorMetrics(Collector):
    """Counts in plain numbers, since every request passes here, and makes families of them when asked.

    Routes are templates and methods are the known ones, so the number of series is bounded and no name of an object
    appears.
    """

    def __init__(self) -> None:
        self.in_flight = 0
        self.sent = 0
        self.received = 0
        self._requests: dict[tuple[str, str, int], int] = {}
        self._seconds: dict[tuple[str, str], tuple[list[int], list[float]]] = {}

    def count(self, exchange: Exchange, seconds: float) -> None:
        """Count an answered request."""
        method = exchange.method if exchange.method in _METHODS else "other"
        key = (method, exchange.route, exchange.status)
        self._requests[key] = self._requests.get(key, 0) + 1
        place = (method, exchange.route)
        times = self._seconds.get(place)
        if times is None:
            times = self._seconds[place] = ([0] * (len(_BUCKETS) + 1), [0.0])
        times[0][bisect_left(_BUCKETS, seconds)] += 1
        times[1][0] += seconds
        self.sent += exchange.sent
        self.received += exchange.received

    def collect(self) -> Iterator[Metric]:
        """Yield the figures."""
        requests = CounterMetricFamily(
            "holdfast_http_requests", "Requests answered", labels=["method", "route", "status"]
        )
        for (method, route, status), count in sorted(self._requests.items()):
            requests.add_metric([method, route, str(status)], count)
        yield requests
        seconds = HistogramMetricFamily(
            "holdfast_http_request_seconds",
            "Time from the headers to the end of the answer",
            labels=["route"],
        )
        for route, counts, total in _summed(self._seconds, lambda place: place[1]):
            seconds.add_metric([route], buckets=_cumulated(_BUCKETS, counts), sum_value=total)
        yield seconds
        operations = HistogramMetricFamily(
            "storage_operation_seconds",
            "Time of an operation, the travel of its bytes included",
            labels=["operation"],
        )
        for operation, counts, total in _summed(self._seconds, lambda place: operation_of(*place)):
            operations.add_metric([operation], buckets=_cumulated(_BUCKETS, counts), sum_value=total)
        yield operations
        yield CounterMetricFamily("holdfast_http_sent_bytes", "Bytes of bodies sent", value=self.sent)
        yield CounterMetricFamily(
            "holdfast_http_received_bytes", "Bytes of bodies received", value=self.received
        )
        yield GaugeMetricFamily("holdfast_http_in_flight", "Requests being answered", value=self.in_flight)


def _summed(
    seconds: Mapping[tuple[str, str], tuple[list[int], list[float]]],
    name: Callable[[tuple[str, str]], str],
) -> list[tuple[str, list[int], float]]:
    """Return (name, classes, seconds) of the requests that `name` gives one name; "" leaves them out."""
    found: dict[str, tuple[list[int], float]] = {}
    for place, (counts, total) in seconds.items():
        if called := name(place):
            before, sum_ = found.get(called, ([0] * len(counts), 0.0))
            found[called] = ([a + b for a, b in zip(before, counts, strict=True)], sum_ + total[0])
    return [(called, counts, sum_) for called, (counts, sum_) in sorted(found.items())]


def _cumulated(edges: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    found, total = [], 0
    for edge, count in zip((*map(str, edges), "+Inf"), counts, strict=True):
        total += count
        found.append((edge, float(total)))
    return found


class CatalogMetrics(Collector):
    """How long the catalog takes."""

    def __init__(self, measures: Measures) -> None:
        self.measures = measures

    def collect(self) -> Iterator[Metric]:
        """Yield the figures."""
        seconds = HistogramMetricFamily(
            "holdfast_catalog_seconds",
            "Time of a transaction, waiting for its turn included",
            labels=["kind"],
        )
        failed = CounterMetricFamily(
            "holdfast_catalog_failures", "Transactions that the database failed", labels=["kind"]
        )
        in_flight = GaugeMetricFamily(
            "holdfast_catalog_in_flight", "Transactions waiting or running now", labels=["kind"]
        )
        for kind, measure in self.measures.kinds.items():
            seconds.add_metric([kind], _cumulated(EDGES, measure.counts), measure.seconds)
            failed.add_metric([kind], measure.failed)
            in_flight.add_metric([kind], measure.in_flight)
        yield from (seconds, failed, in_flight)


def activity_of(activity: Activity) -> Iterator[Metric]:
    """Yield how often each bucket was written to and read from."""
    for name, text, counts in (
        ("storage_uploads", "Contents stored", activity.uploads),
        ("storage_downloads", "Contents opened for reading", activity.downloads),
    ):
        family = CounterMetricFamily(name, text, labels=["tenant", "bucket"])
        for (tenant, bucket), count in sorted(counts.items()):
            family.add_metric([tenant, bucket], count)
        yield family


def fallbacks_of(outages: Outages) -> Iterator[Metric]:
    """Yield how often a store was passed over, and which one took the object instead."""
    family = CounterMetricFamily(
        "holdfast_fallback_writes",
        "Contents accepted on a fallback store (`to`) since their own (`store`) took none",
        labels=["store", "to"],
    )
    for (store, taker), count in sorted(outages.fallbacks.items()):
        family.add_metric([store, taker], count)
    yield family


@cache
def door_metrics(registry: CollectorRegistry = REGISTRY) -> DoorMetrics:
    """Return the collector of `registry`, made once."""
    made = DoorMetrics()
    registry.register(made)
    return made


@cache
def catalog_measures(registry: CollectorRegistry = REGISTRY) -> Measures:
    """Return what the catalog of this process tells its transactions to; `registry` shows it."""
    made = CatalogMetrics(Measures())
    registry.register(made)
    return made.measures


class _Families:
    """Families as Prometheus' library wants them."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self.metrics = metrics

    def collect(self) -> Sequence[Metric]:
        """Return them."""
        return self.metrics


def text_of(families: Iterable[Family]) -> bytes:
    """Return the figures in Prometheus' text form."""
    return generate_latest(_Families(metrics_of(families)))
