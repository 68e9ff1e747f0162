"""Figures for people and programs without Prometheus: counts, errors and latencies out of the same numbers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from msgspec import Struct

from holdfast.api.describe import iso
from holdfast.api.operations import operation_of
from holdfast.api.pool import Family

Labelled = Sequence[tuple[str, dict[str, str], float]]
_OUTCOMES: Final = frozenset({"ok", "cancelled", "not_found", "precondition_failed", "already_exists"})


class Latency(Struct, frozen=True):
    """Milliseconds within which so many of a hundred were done; null before the first."""

    p50: float | None
    p95: float | None
    p99: float | None


class OperationFigures(Struct, frozen=True):
    """One kind of operation since the processes began. `refused` is the client's doing, `errors` ours."""

    count: int
    refused: int
    errors: int
    latency_ms: Latency


class StoreOperation(Struct, frozen=True):
    """One verb of a store."""

    count: int
    errors: int
    retries: int
    latency_ms: Latency


class StoreFigures(Struct, frozen=True):
    """One store since the processes began."""

    active: bool
    failing: bool
    in_flight: int
    waiting: int
    bytes_in: int
    bytes_out: int
    operations: dict[str, StoreOperation]


class CatalogFigures(Struct, frozen=True):
    """The catalog's transactions of one kind."""

    count: int
    failures: int
    in_flight: int
    latency_ms: Latency


class StorageMetrics(Struct, frozen=True):
    """Everything that is counted, in short; `/metrics` has it in full."""

    timestamp: str
    uploads: dict[str, int]
    downloads: dict[str, int]
    operations: dict[str, OperationFigures]
    stores: dict[str, StoreFigures]
    catalog: dict[str, CatalogFigures]
    backlog: dict[str, float]


def summary(families: Iterable[Family], now: int) -> StorageMetrics:
    """Return the figures of `families` in short."""
    found = {
        family.name: [(name, dict(labels), value) for name, labels, value in family.samples]
        for family in families
    }
    return StorageMetrics(
        timestamp=iso(now),
        uploads=_by(found.get("storage_uploads", ()), "bucket"),
        downloads=_by(found.get("storage_downloads", ()), "bucket"),
        operations=_operations(found),
        stores=_stores(found),
        catalog=_catalog(found),
        backlog={
            name.removeprefix("holdfast_"): samples[0][2]
            for name, samples in found.items()
            if name in _WAITING and samples
        },
    )


_WAITING: Final = frozenset(
    f"holdfast_{name}"
    for name in (
        "doomed_blobs",
        "doomed_bytes",
        "sweep_overdue_seconds",
        "pending_blobs",
        "open_uploads",
        "expired_versions",
        "reservations",
        "audit_unsealed",
    )
)


def _operations(found: Mapping[str, Labelled]) -> dict[str, OperationFigures]:
    totals: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for _, labels, value in found.get("holdfast_http_requests", ()):
        operation = operation_of(labels["method"], labels["route"])
        if operation:
            totals[operation][0] += int(value)
            totals[operation][1] += int(value) if labels["status"].startswith("4") else 0
            totals[operation][2] += int(value) if labels["status"].startswith(("5", "0")) else 0
    times = _latencies(found.get("storage_operation_seconds", ()), "operation")
    return {
        name: OperationFigures(count, refused, errors, times.get((name,), _NONE))
        for name, (count, refused, errors) in sorted(totals.items())
    }


def _stores(found: Mapping[str, Labelled]) -> dict[str, StoreFigures]:
    active = _by(found.get("holdfast_store_active", ()), "store")
    failing = _by(found.get("holdfast_store_failing", ()), "store")
    in_flight = _by(found.get("holdfast_store_in_flight", ()), "store")
    waiting = _by(found.get("holdfast_store_waiting", ()), "store")
    moved = {
        (labels["store"], labels["direction"]): int(value)
        for _, labels, value in found.get("holdfast_store_bytes", ())
    }
    return {
        name: StoreFigures(
            active=bool(active[name]),
            failing=bool(failing.get(name)),
            in_flight=in_flight.get(name, 0),
            waiting=waiting.get(name, 0),
            bytes_in=moved.get((name, "in"), 0),
            bytes_out=moved.get((name, "out"), 0),
            operations=_verbs(found, name),
        )
        for name in active
    }


def _verbs(found: Mapping[str, Labelled], store: str) -> dict[str, StoreOperation]:
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for _, labels, value in found.get("holdfast_store_operations", ()):
        if labels["store"] == store:
            counts[labels["operation"]][0] += int(value)
            counts[labels["operation"]][1] += 0 if labels["outcome"] in _OUTCOMES else int(value)
    for _, labels, value in found.get("holdfast_store_retries", ()):
        if labels["store"] == store:
            counts[labels["operation"]][2] += int(value)
    times = _latencies(found.get("holdfast_store_operation_seconds", ()), "store", "operation")
    return {
        verb: StoreOperation(count, errors, retries, times.get((store, verb), _NONE))
        for verb, (count, errors, retries) in sorted(counts.items())
        if count
    }


def _catalog(found: Mapping[str, Labelled]) -> dict[str, CatalogFigures]:
    samples = found.get("holdfast_catalog_seconds", ())
    counts = {labels["kind"]: int(value) for name, labels, value in samples if name.endswith("_count")}
    failures = _by(found.get("holdfast_catalog_failures", ()), "kind")
    in_flight = _by(found.get("holdfast_catalog_in_flight", ()), "kind")
    times = _latencies(samples, "kind")
    return {
        kind: CatalogFigures(count, failures.get(kind, 0), in_flight.get(kind, 0), times.get((kind,), _NONE))
        for kind, count in counts.items()
    }


def _by(samples: Labelled, label: str) -> dict[str, int]:
    sums: dict[str, int] = {}
    for _, labels, value in samples:
        sums[labels[label]] = sums.get(labels[label], 0) + int(value)
    return sums


_NONE: Final = Latency(None, None, None)


def _latencies(samples: Labelled, *names: str) -> dict[tuple[str, ...], Latency]:
    """Return the quantiles of a histogram for each combination of the labels `names`."""
    classes: dict[tuple[str, ...], list[tuple[float, float]]] = defaultdict(list)
    for name, labels, value in samples:
        if name.endswith("_bucket"):
            classes[tuple(labels[label] for label in names)].append((float(labels["le"]), value))
    return {
        place: Latency(*(quantile(sorted(edges), share) for share in (0.5, 0.95, 0.99)))
        for place, edges in classes.items()
    }


def quantile(edges: Sequence[tuple[float, float]], share: float) -> float | None:
    """Return the milliseconds within which `share` of all were done, as Prometheus reckons it from (edge, count) pairs."""
    total = edges[-1][1] if edges else 0
    if not total:
        return None
    rank, below, lower = share * total, 0.0, 0.0
    for edge, count in edges:
        if count >= rank:
            upper = edge if edge != float("inf") else lower
            inside = (rank - below) / (count - below) if count > below else 1.0
            return round((lower + (upper - lower) * inside) * 1000, 3)
        below, lower = count, edge
    return round(lower * 1000, 3)
