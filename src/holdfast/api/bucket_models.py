"""The JSON of buckets. Sizes come in as bytes or as text such as `100MB`, and go out as bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from holdfast.api.describe import iso
from holdfast.core.sizes import readable
from holdfast.core.types import Bucket, Quota, QuotaUse, Usage, Visibility
from holdfast.engine.buckets import BucketStats
from holdfast.policy.artifacts import kind_of
from holdfast.policy.buckets import settings_members

Name = Annotated[str, Meta(max_length=1024)]
Size = int | Annotated[str, Meta(max_length=40)] | None
Texts = Annotated[list[Name], Meta(max_length=1000)]


class DefaultLockInfo(Struct, frozen=True, forbid_unknown_fields=True):
    """The lock of every version that is made: `governance` or `compliance`, and for how many days."""

    mode: Annotated[str, Meta(max_length=40)]
    days: int


class BucketChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of a bucket. What is not given stays as it is, or as the service has it by default; null takes a limit away."""

    versioning: bool | UnsetType = UNSET
    visibility: str | UnsetType = UNSET
    allowed_types: Texts | UnsetType = UNSET
    max_object_size: Size | UnsetType = UNSET
    max_bytes: Size | UnsetType = UNSET
    max_objects: int | UnsetType | None = UNSET
    retention_days: int | UnsetType | None = UNSET
    encryption: str | UnsetType = UNSET
    ip_allow: Texts | UnsetType = UNSET
    ip_deny: Texts | UnsetType = UNSET
    inline: Size | UnsetType = UNSET
    lifecycle: Annotated[list[dict[str, Any]], Meta(max_length=100)] | UnsetType = UNSET
    default_lock: DefaultLockInfo | UnsetType | None = UNSET

    @property
    def settings(self) -> dict[str, object]:
        """What is given, beside versioning and the name."""
        given = {name: getattr(self, name) for name in BucketChange.__struct_fields__ if name != "versioning"}
        if isinstance(self.default_lock, DefaultLockInfo):
            given["default_lock"] = msgspec.structs.asdict(self.default_lock)
        return {name: value for name, value in given.items() if value is not UNSET}


class NewBucket(BucketChange, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A bucket to be made."""

    name: Name


class BucketInfo(Struct, frozen=True, kw_only=True):
    """A bucket with its counters. `size` is `bytes` for people, in steps of 1,024."""

    name: str
    creation_date: str
    objects: int
    size: str
    bytes: int
    versions: int
    upload_bytes: int
    versioning: bool
    visibility: str
    max_object_size: int | None
    max_bytes: int | None
    max_objects: int | None
    retention_days: int | None
    encryption: str
    allowed_types: list[str]


class BucketDetail(BucketInfo, frozen=True, kw_only=True):
    """A bucket with its counters, all its settings, and what writes and uploads under way have reserved of its limits."""

    ip_allow: list[str]
    ip_deny: list[str]
    inline: int | None
    lifecycle: list[dict[str, Any]]
    default_lock: DefaultLockInfo | None
    reserved_bytes: int
    reserved_objects: int


class Buckets(Struct, frozen=True):
    """All buckets by name."""

    buckets: list[BucketInfo]


class BucketFigures(Struct, frozen=True, kw_only=True):
    """How much a bucket holds and may hold: bytes, and the same for people.

    `bucket_type` is the kind of a default bucket (executions, artifacts, logs, temp, backups), else versioned or plain.
    """

    bucket_name: str
    bucket_type: str
    created_at: str
    retention_days: int | None
    max_object_size: int | None
    total_size_limit: int | None
    current_size: int
    size: str
    size_limit: str | None
    usage_percentage: float | None
    object_count: int
    version_count: int
    upload_bytes: int
    lifecycle_policy: dict[str, int] | None
    encryption_enabled: bool
    versioning_enabled: bool
    public_access: bool
    reserved_bytes: int | UnsetType = UNSET
    reserved_objects: int | UnsetType = UNSET


class StorageBuckets(Struct, frozen=True):
    """All buckets by name, with what they hold and may hold."""

    buckets: list[BucketFigures]
    total: int


class QuotaInfo(Struct, frozen=True, kw_only=True):
    """The limits of a tenant or a bucket and how much of them is taken; null: no limit."""

    max_bytes: int | None
    max_objects: int | None
    bytes: int
    objects: int
    reserved_bytes: int
    reserved_objects: int


def bucket_info(bucket: Bucket, usage: Usage) -> BucketInfo:
    """Return a bucket as lists show it."""
    return msgspec.convert(_members(bucket, usage), BucketInfo)


def bucket_detail(stats: BucketStats) -> BucketDetail:
    """Return a bucket with all there is to know of it."""
    reserved = {"reserved_bytes": stats.use.reserved_bytes, "reserved_objects": stats.use.reserved_objects}
    return msgspec.convert(_members(stats.bucket, stats.usage) | reserved, BucketDetail)


def _members(bucket: Bucket, usage: Usage) -> dict[str, object]:
    counted: Mapping[str, object] = {
        "name": bucket.name,
        "creation_date": iso(bucket.created),
        "objects": usage.objects,
        "size": readable(usage.bytes),
        "bytes": usage.bytes,
        "versions": usage.versions,
        "upload_bytes": usage.upload_bytes,
        "versioning": bucket.versioning,
    }
    return {**counted, **settings_members(bucket.settings)}


def bucket_figures(bucket: Bucket, usage: Usage, use: QuotaUse | None = None) -> BucketFigures:
    """Return what a bucket holds and may hold; `use` adds what is reserved."""
    settings = bucket.settings
    held, limit = usage.bytes + usage.upload_bytes, settings.quota.max_bytes
    return BucketFigures(
        bucket_name=bucket.name,
        bucket_type=kind_of(bucket.name) or ("versioned" if bucket.versioning else "plain"),
        created_at=iso(bucket.created),
        retention_days=settings.retention_days,
        max_object_size=settings.max_object_size,
        total_size_limit=limit,
        current_size=held,
        size=readable(held),
        size_limit=None if limit is None else readable(limit),
        usage_percentage=None if not limit else round(100 * held / limit, 2),
        object_count=usage.objects,
        version_count=usage.versions,
        upload_bytes=usage.upload_bytes,
        lifecycle_policy=_lifecycle(settings.retention_days),
        encryption_enabled=settings.encryption != "none",
        versioning_enabled=bucket.versioning,
        public_access=settings.visibility is Visibility.PUBLIC,
        reserved_bytes=UNSET if use is None else use.reserved_bytes,
        reserved_objects=UNSET if use is None else use.reserved_objects,
    )


def _lifecycle(days: int | None) -> dict[str, int] | None:
    return None if days is None else {"expiration_days": days}


def quota_info(use: QuotaUse) -> QuotaInfo:
    """Return a quota and its use as answers show it."""
    quota: Quota = use.quota
    return QuotaInfo(
        max_bytes=quota.max_bytes,
        max_objects=quota.max_objects,
        bytes=use.bytes,
        objects=use.objects,
        reserved_bytes=use.reserved_bytes,
        reserved_objects=use.reserved_objects,
    )
