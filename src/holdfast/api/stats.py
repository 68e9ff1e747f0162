"""How much is stored, from kept counters."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from holdfast.api.describe import iso
from holdfast.api.disks import Disks
from holdfast.api.exchange import Exchange
from holdfast.api.models import encode
from holdfast.core.clock import Environment
from holdfast.core.sizes import readable
from holdfast.core.types import QuotaUse, Usage
from holdfast.engine.engine import Engine


class BucketShare(Struct, frozen=True):
    """One bucket; `size` is `bytes` for people, `object_count` and `total_size_*` repeat it as older clients read it."""

    objects: int
    size: str
    bytes: int
    versions: int
    upload_bytes: int
    object_count: int
    total_size_bytes: int
    total_size_mb: float


class StorageUsage(Struct, frozen=True):
    """What is taken and what is left: of the tenant's quota, else of the disk or account under the default store, else unknown."""

    used_space: str
    free_space: str | None
    usage_percentage: float | None
    used_bytes: int
    free_bytes: int | None
    limited_by: str | None


class Collection(Struct, frozen=True):
    """How many objects stand for documents of an older service."""

    document_count: int


class Stats(Struct, frozen=True):
    """Figures of the caller's tenant, of this moment. Sizes for people are in steps of 1,024."""

    total_buckets: int
    total_objects: int
    total_size: str
    total_bytes: int
    buckets: dict[str, BucketShare]
    storage_usage: StorageUsage
    collections: dict[str, Collection]
    timestamp: str


class StatsPage:
    """Answers from the catalog's counters and one look at the disk."""

    def __init__(
        self, engine: Engine, environment: Environment, disks: Disks, documents: Iterable[str] = ()
    ) -> None:
        self._default = engine.context.placement.stores[0]
        self._clock = environment.clock
        self._disks = disks
        self._documents = tuple(documents)

    async def show(self, exchange: Exchange) -> None:
        """Answer with the sums of all buckets that the caller may see, and each of them."""
        quota = await exchange.session.quota()
        found = {bucket.name: usage for bucket, usage in await exchange.session.buckets()}
        used = sum(usage.bytes + usage.upload_bytes for usage in found.values())
        size = sum(usage.bytes for usage in found.values())
        stats = Stats(
            total_buckets=len(found),
            total_objects=sum(usage.objects for usage in found.values()),
            total_size=readable(size),
            total_bytes=size,
            buckets={name: _bucket(usage) for name, usage in found.items()},
            storage_usage=await self._usage(used, quota),
            collections={name: Collection(found[name].objects) for name in self._documents if name in found},
            timestamp=iso(self._clock.now()),
        )
        await exchange.answer_json(200, encode(stats))

    async def _usage(self, used: int, quota: QuotaUse) -> StorageUsage:
        limit = quota.quota.max_bytes
        if limit is not None:
            free = max(0, limit - quota.bytes - quota.reserved_bytes)
            return _space(used, free, limit, "quota")
        disk = (await self._disks.look()).get(self._default)
        if disk is not None:
            return _space(used, disk.free, used + disk.free, "disk")
        return StorageUsage(readable(used), None, None, used, None, None)


def _space(used: int, free: int, whole: int, by: str) -> StorageUsage:
    share = round(100 * (whole - free) / whole, 1) if whole else 100.0
    return StorageUsage(readable(used), readable(free), share, used, free, by)


def _bucket(usage: Usage) -> BucketShare:
    return BucketShare(
        objects=usage.objects,
        size=readable(usage.bytes),
        bytes=usage.bytes,
        versions=usage.versions,
        upload_bytes=usage.upload_bytes,
        object_count=usage.objects,
        total_size_bytes=usage.bytes,
        total_size_mb=round(usage.bytes / (1 << 20), 2),
    )
