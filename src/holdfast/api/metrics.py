"""Figures of the door, as Prometheus collects them; and the page that shows all figures of the process."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from functools import cache
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from holdfast.api.exchange import Exchange

_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_METHODS: Final = frozenset({"GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH"})


class DoorMetrics(Collector):
    """Counts in plain numbers, since every request passes here, and makes families of them when asked.

    Routes are templates and methods are the known ones, so the number of series is bounded and no name of an object
    appears.
    """

    def __init__(self) -> None:
        self.in_flight = 0
        self.sent = 0
        self._requests: dict[tuple[str, str, int], int] = {}
        self._seconds: dict[str, tuple[list[int], list[float]]] = {}

    def count(self, exchange: Exchange, seconds: float) -> None:
        """Count an answered request."""
        method = exchange.method if exchange.method in _METHODS else "other"
        key = (method, exchange.route, exchange.status)
        self._requests[key] = self._requests.get(key, 0) + 1
        times = self._seconds.get(exchange.route)
        if times is None:
            times = self._seconds[exchange.route] = ([0] * (len(_BUCKETS) + 1), [0.0])
        times[0][bisect_left(_BUCKETS, seconds)] += 1
        times[1][0] += seconds
        self.sent += exchange.sent

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
        for route, (counts, total) in sorted(self._seconds.items()):
            seconds.add_metric([route], buckets=_cumulated(counts), sum_value=total[0])
        yield seconds
        yield CounterMetricFamily("holdfast_http_sent_bytes", "Bytes of bodies sent", value=self.sent)
        yield GaugeMetricFamily("holdfast_http_in_flight", "Requests being answered", value=self.in_flight)


def _cumulated(counts: list[int]) -> list[tuple[str, float]]:
    found, total = [], 0
    for edge, count in zip((*map(str, _BUCKETS), "+Inf"), counts, strict=True):
        total += count
        found.append((edge, float(total)))
    return found


@cache
def door_metrics(registry: CollectorRegistry = REGISTRY) -> DoorMetrics:
    """Return the collector of `registry`, made once."""
    made = DoorMetrics()
    registry.register(made)
    return made


async def show_metrics(exchange: Exchange) -> None:
    """Answer with all figures of this process."""
    body = generate_latest(REGISTRY)
    headers = [
        (b"content-type", CONTENT_TYPE_LATEST.encode()),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    ]
    await exchange.answer(200, headers, body)
