"""What the catalog knows, as Prometheus collects it: sizes of buckets, quotas, and work that waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from holdfast.catalog.contract import Backlog, Debts
from holdfast.core.findings import FindingCounts, FindingState
from holdfast.core.types import QuotaUse, Usage
from holdfast.engine.targets import COPIES, DOWN
from holdfast.policy.lag import Lag

#: Buckets that are told apart, the largest; the others are shown as one.
MOST: Final = 500
_PLACE: Final = ("tenant", "bucket")
_OTHER: Final = ["other", "other"]
_REASONS: Final = (DOWN, COPIES)
_QUIET: Final = (FindingState.NOTED, FindingState.REMOVED)  #: not known to be so; no longer so

_USAGE: Final[tuple[tuple[str, str, Callable[[Usage], int]], ...]] = (
    ("storage_usage_bytes", "Bytes kept, older versions included", lambda usage: usage.bytes),
    ("storage_objects", "Keys with a current version", lambda usage: usage.objects),
    ("storage_versions", "Versions kept", lambda usage: usage.versions),
    ("storage_upload_bytes", "Bytes of parts of open uploads", lambda usage: usage.upload_bytes),
)
_QUOTA: Final[tuple[tuple[str, str, Callable[[QuotaUse], int | None]], ...]] = (
    ("holdfast_quota_limit_bytes", "Most bytes allowed", lambda use: use.quota.max_bytes),
    ("holdfast_quota_limit_objects", "Most versions allowed", lambda use: use.quota.max_objects),
    ("holdfast_quota_used_bytes", "Bytes that count", lambda use: use.bytes),
    ("holdfast_quota_used_objects", "Versions that count", lambda use: use.objects),
    ("holdfast_quota_reserved_bytes", "Bytes announced by writers", lambda use: use.reserved_bytes),
    ("holdfast_quota_reserved_objects", "Versions announced by writers", lambda use: use.reserved_objects),
)
_BACKLOG: Final[tuple[tuple[str, str, Callable[[Backlog], float]], ...]] = (
    ("holdfast_doomed_blobs", "Copies to be deleted by the sweep", lambda found: found.doomed),
    ("holdfast_doomed_bytes", "Bytes of copies to be deleted", lambda found: found.doomed_bytes),
    ("holdfast_sweep_overdue_seconds", "Age of the deletion due first", lambda found: found.overdue),
    ("holdfast_pending_blobs", "Copies being written", lambda found: found.pending),
    ("holdfast_open_uploads", "Uploads in pieces that are open", lambda found: found.uploads),
    ("holdfast_expired_versions", "Versions past their retention", lambda found: found.expired),
    ("holdfast_reservations", "Reservations of quotas", lambda found: found.reservations),
    ("holdfast_catalog_unfolded", "Changes not yet added to counters", lambda found: found.unfolded),
    ("holdfast_audit_unsealed", "Audit records of changes not yet sealed", lambda found: found.unsealed),
)


def catalog_figures(
    usages: Sequence[tuple[str, str, Usage]],
    quotas: Sequence[tuple[str, str, QuotaUse]],
    backlog: Backlog,
) -> Iterator[Metric]:
    """Yield the figures of a catalog that answers."""
    yield _up(1)
    yield GaugeMetricFamily("storage_buckets", "Buckets of all tenants", value=len(usages))
    yield from _of_buckets(usages)
    yield from _of_quotas(quotas)
    for name, text, value in _BACKLOG:
        yield GaugeMetricFamily(name, text, value=value(backlog))


def debt_figures(debts: Mapping[str, Debts], now: int) -> Iterator[Metric]:
    """Yield how many versions are not where they belong, and since when."""
    count = GaugeMetricFamily(
        "holdfast_owed_versions",
        "Versions that are not (wholly) where they belong: `down`, on a fallback store; `copies`, further ones;"
        " `damaged`, a copy is bad; `asleep`, being woken in an archive class",
        labels=["reason"],
    )
    age = GaugeMetricFamily(
        "holdfast_owed_seconds", "Age of the oldest version that is not where it belongs", labels=["reason"]
    )
    for reason in dict.fromkeys((*_REASONS, *sorted(debts))):
        found = debts.get(reason)
        count.add_metric([reason], 0 if found is None else found.count)
        age.add_metric([reason], 0 if found is None else max(0, now - found.since) / 1_000_000)
    yield count
    yield age


def lag_figures(lags: Mapping[str, Lag], now: int) -> Iterator[Metric]:
    """Yield what each store is behind."""
    copies = GaugeMetricFamily(
        "holdfast_owed_copies", "Copies that the store should have and does not have yet", labels=["store"]
    )
    size = GaugeMetricFamily("holdfast_owed_bytes", "Bytes of those copies", labels=["store"])
    oldest = GaugeMetricFamily(
        "holdfast_owed_oldest_seconds", "For how long the oldest of those copies is owed", labels=["store"]
    )
    for name, lag in lags.items():
        copies.add_metric([name], lag.copies)
        size.add_metric([name], lag.bytes)
        oldest.add_metric([name], 0 if lag.since is None else max(0, now - lag.since) / 1_000_000)
    yield copies
    yield size
    yield oldest


def finding_figures(counts: FindingCounts) -> Iterator[Metric]:
    """Yield how much was found wrong with stores. Of `lost` and `wrong-hash` that last no sound copy may be left."""
    family = GaugeMetricFamily(
        "holdfast_findings",
        "Blobs that are not as the catalog says: dark, lost, wrong-size, wrong-hash, wrong-metadata",
        labels=["store", "kind", "state"],
    )
    for (store, kind, state), count in counts.items():
        if state not in _QUIET:
            family.add_metric([store, kind, state], count)
    yield family


def catalog_gone() -> Iterator[Metric]:
    """Yield the figures of a catalog that does not answer."""
    yield _up(0)


def _up(value: int) -> Metric:
    return GaugeMetricFamily("holdfast_catalog_up", "Whether the catalog answers", value=value)


def _of_buckets(usages: Sequence[tuple[str, str, Usage]]) -> Iterator[Metric]:
    largest = sorted(usages, key=lambda found: -found[2].bytes)
    rest = [usage for _, _, usage in largest[MOST:]]
    for name, text, value in _USAGE:
        family = GaugeMetricFamily(name, text, labels=_PLACE)
        for tenant, bucket, usage in largest[:MOST]:
            family.add_metric([tenant, bucket], value(usage))
        if rest:
            family.add_metric(_OTHER, sum(value(usage) for usage in rest))
        yield family


def _of_quotas(quotas: Sequence[tuple[str, str, QuotaUse]]) -> Iterator[Metric]:
    """Yield limits and use, the fullest first; where there is no limit there is no figure of it."""
    fullest = sorted(quotas, key=lambda found: (found[1] != "", -_full(found[2])))[:MOST]
    for name, text, value in _QUOTA:
        family = GaugeMetricFamily(name, f"{text}; bucket is empty for a tenant's own quota", labels=_PLACE)
        for tenant, bucket, use in fullest:
            if (figure := value(use)) is not None:
                family.add_metric([tenant, bucket], figure)
        yield family


def _full(use: QuotaUse) -> float:
    limit = use.quota.max_bytes
    return 0.0 if not limit else (use.bytes + use.reserved_bytes) / limit
