"""Steps that several transactions share: the head of a key, counters, audit, removal of a version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from sqlalchemy import and_, case, func, insert, literal_column, or_, select, update

from holdfast.catalog.contract import Actor
from holdfast.catalog.rows import text_of
from holdfast.catalog.schema import audit, buckets, objects, replicas, segments, usage, usage_deltas, versions
from holdfast.catalog.settings import bucket_settings
from holdfast.catalog.statements import (
    Call,
    Statement,
    catalog_now,
    constant,
    insert_into,
    int_param,
    text_param,
    upsert_into,
)
from holdfast.catalog.terms import TERMS_REMOVE
from holdfast.catalog.transaction import Steps
from holdfast.core.errors import ConflictError, NotFoundError
from holdfast.core.names import INLINE
from holdfast.core.retention import moment
from holdfast.core.types import EMPTY, ObjectRef

DAY: Final = 86_400_000_000  #: microseconds
#: The longest grace of contents in the catalog, microseconds: readers are given them with the version, so it is only for
#: those who read piece by piece, and for a commit that is asked for again to be recognised.
INLINE_GRACE: Final = 900_000_000


_NO_LOCK: Final[Mapping[str, Any]] = {"locked_until": None, "lock_mode": None}


class ClashError(ConflictError):
    """A row with the same identity is there already: perhaps our own, from an attempt whose end we did not hear of."""


class Head(NamedTuple):
    """A bucket and the newest version of a key in it; the fields from `seq` on are None when the key has none."""

    bucket_id: int
    versioning: bool
    metered: bool
    settings: str
    clock: int
    seq: int | None
    version_id: str | None
    size: int
    etag: str
    created: int
    delete_marker: bool
    pieces: int
    labelled: bool  # has tags or metadata
    hold: bool | None
    locked_until: int | None
    upstream: str  # what is remembered of changes: adopted, attached, or nothing
    pin: str | None
    snapped: int | None  # the moment of the bucket's newest snapshot
    seen: tuple[str, int] | None = None  # what the upstream had of the key a moment ago, and since when

    @property
    def now(self) -> int:
        """When a version that is made now is made: later than any snapshot of the bucket, so that it is in none of them.

        Only this order may ask it. Where the clock was wrong once it lies ahead, and would end locks before their time.
        """
        return self.clock if self.snapped is None else max(self.clock, self.snapped + 1)

    @property
    def current(self) -> Head | None:
        """What a reader of the key finds: itself (it has `etag` and `created`), or None."""
        return None if self.seq is None or self.delete_marker else self

    @property
    def expires(self) -> int | None:
        """When a version that is made now is to be removed by itself, as the bucket is set."""
        days = bucket_settings(self.settings).retention_days
        return None if days is None else self.clock + days * DAY

    @property
    def lock(self) -> Mapping[str, Any]:
        """The columns of the retention lock of a version that is made now, as the bucket is set."""
        wanted = bucket_settings(self.settings).default_lock if self.versioning else None
        if wanted is None:
            return _NO_LOCK
        return {"locked_until": self.clock + wanted.days * DAY, "lock_mode": wanted.mode.value}

    @property
    def freed(self) -> int:
        """The bytes that a new version takes the place of: those of the current one, unless it is kept."""
        return self.size if self.current and not self.versioning else 0


def in_bucket() -> Any:
    """The condition that `buckets` is the one that `tenant` and `bucket` name."""
    return and_(buckets.c.tenant == text_param("tenant"), buckets.c.name == text_param("bucket"))


def is_readable(table: Any) -> Any:
    """The condition that a copy may be read."""
    return or_(table.c.state == constant("live"), table.c.state == constant("suspect"))


#: Whether a version has tags or metadata, and so terms.
IS_LABELLED = or_(versions.c.metadata != constant(""), versions.c.tags != constant(""))

_older = versions.alias("older")
NEWEST_SEQ = (
    select(func.max(_older.c.seq))
    .where(_older.c.bucket_id == buckets.c.id, _older.c.key == text_param("key"))
    .correlate(buckets)
    .scalar_subquery()
)

HEAD = Statement(
    select(
        buckets.c.id,
        buckets.c.versioning,
        buckets.c.metered,
        buckets.c.settings,
        catalog_now().label("now"),
        versions.c.seq,
        versions.c.id,
        versions.c.size,
        versions.c.etag,
        versions.c.created,
        versions.c.delete_marker,
        versions.c.pieces,
        IS_LABELLED.label("labelled"),
        versions.c.hold,
        versions.c.locked_until,
        buckets.c.upstream,
        versions.c.pin,
        buckets.c.snapped,
    )
    .select_from(
        buckets.outerjoin(
            versions,
            and_(
                versions.c.bucket_id == buckets.c.id,
                versions.c.key == text_param("key"),
                versions.c.seq == NEWEST_SEQ,
            ),
        )
    )
    .where(in_bucket())
)

BUCKET = Statement(
    select(
        buckets.c.id,
        buckets.c.versioning,
        buckets.c.created,
        catalog_now().label("now"),
        buckets.c.settings,
        buckets.c.metered,
    ).where(in_bucket())
)

#: The clock alone.
NOW = Statement(select(catalog_now().label("now")))

AUDIT = insert_into(
    audit,
    *("at", "tenant", "principal", "action", "bucket", "key", "version_id", "request_id", "detail"),
    *("address", "bytes"),
)


def sum_of(name: str) -> Any:
    """The exact value of a counter of `usage`: the row, and the changes that were not yet added to it."""
    deltas = (
        select(func.coalesce(func.sum(usage_deltas.c[name]), literal_column("0")))
        .where(usage_deltas.c.bucket_id == usage.c.bucket_id)
        .correlate(usage)
        .scalar_subquery()
    )
    return (usage.c[name] + deltas).label(name)


#: On SQLite the counter itself; on PostgreSQL a delta, so that writers of one bucket do not queue for its counter.
USAGE = Statement(
    update(usage)
    .where(usage.c.bucket_id == int_param("in_bucket"))
    .values(
        objects=usage.c.objects + int_param("more_objects"),
        versions=usage.c.versions + int_param("more_versions"),
        bytes=usage.c.bytes + int_param("more_bytes"),
        upload_bytes=usage.c.upload_bytes + int_param("more_upload_bytes"),
    ),
    postgres=insert(usage_deltas)
    .inline()
    .values(
        bucket_id=int_param("in_bucket"),
        objects=int_param("more_objects"),
        versions=int_param("more_versions"),
        bytes=int_param("more_bytes"),
        upload_bytes=int_param("more_upload_bytes"),
    ),
)

OBJECT_PUT = upsert_into(
    objects,
    "bucket_id",
    "key",
    "seq",
    "version_id",
    "generation",
    unique=("bucket_id", "key"),
    change={"generation": objects.c.generation + constant(1)},
)
OBJECT_REMOVE = Statement(
    objects.delete().where(
        objects.c.bucket_id == int_param("in_bucket"), objects.c.key == text_param("of_key")
    )
)

VERSION_ADD = insert_into(versions, *[column.name for column in versions.columns])
VERSION_REMOVE = Statement(
    versions.delete().where(
        versions.c.bucket_id == int_param("in_bucket"),
        versions.c.key == text_param("of_key"),
        versions.c.seq == int_param("of_seq"),
    )
)
SEGMENT_ADD = insert_into(segments, *[column.name for column in segments.columns])
SEGMENTS_REMOVE = Statement(segments.delete().where(segments.c.version_id == text_param("of_version")))

#: Copies still being written (pending) are left to their lease; their version is gone when they want to commit.
REPLICAS_DOOM = Statement(
    update(replicas)
    .where(
        replicas.c.version_id == text_param("of_version"),
        is_readable(replicas),
    )
    .values(
        state=constant("doomed"),
        not_before=case(
            (replicas.c.store == constant(INLINE), int_param("inline_from")), else_=int_param("delete_from")
        ),
    )
)


def read_head(ref: ObjectRef, now: int | None) -> Steps[Head]:
    """Return the head of the key, or raise `NotFoundError` when there is no such bucket."""
    rows = yield Call(HEAD, {"tenant": ref.tenant, "bucket": ref.bucket, "key": ref.key, "now": now})
    if not rows:
        raise no_bucket(ref.bucket)
    return Head(*rows[0])


def check_removable(name: str, hold: object, locked_until: int | None, now: int) -> None:
    """Return when a version may be removed now; every transaction that removes one asks.

    Raises:
        ConflictError: it is under legal hold, or its retention lock has not ended.
    """
    if hold:
        raise ConflictError("it is under legal hold; nothing removes it until the hold is cleared", name=name)
    if locked_until is not None and locked_until > now:
        raise ConflictError(
            f"its retention lock ends at {moment(locked_until)}; until then it stays", name=name
        )


def no_bucket(bucket: str) -> NotFoundError:
    """Return the error for a bucket that is not there."""
    return NotFoundError("there is no such bucket", name=bucket)


def no_object(ref: ObjectRef) -> NotFoundError:
    """Return the error for an object or version that is not there."""
    return NotFoundError("there is no such object", name=str(ref))


def audited(
    at: int,
    tenant: str,
    action: str,
    actor: Actor,
    *,
    bucket: str = "",
    key: str = "",
    version_id: str = "",
    size: int = 0,
    detail: Mapping[str, str] = EMPTY,
) -> Call:
    """Return the call that writes one line of the audit; `size` is of the object, in bytes."""
    actor.trace.written = True
    return Call(
        AUDIT,
        {
            "at": at,
            "tenant": tenant,
            "principal": actor.principal,
            "action": action,
            "bucket": bucket,
            "key": key,
            "version_id": version_id,
            "request_id": actor.request_id,
            "detail": text_of(detail),
            "address": actor.address,
            "bytes": size,
        },
    )


def counted(
    bucket_id: int, *, objects: int = 0, versions: int = 0, bytes: int = 0, upload_bytes: int = 0
) -> Call:
    """Return the call that changes the counters of a bucket."""
    return Call(
        USAGE,
        {
            "in_bucket": bucket_id,
            "more_objects": objects,
            "more_versions": versions,
            "more_bytes": bytes,
            "more_upload_bytes": upload_bytes,
        },
    )


def removed(
    bucket_id: int,
    key: str,
    *,
    seq: int,
    version_id: str,
    pieces: int,
    delete_marker: bool,
    delete_from: int,
    inline_from: int | None = None,
    labelled: bool = True,
) -> list[Call]:
    """Return the calls that remove one version and doom its bytes; `labelled` says that it may have terms.

    Its bytes may be deleted from `delete_from` on, those in the catalog from `inline_from` on.
    """
    soon = delete_from if inline_from is None else inline_from
    calls = [Call(VERSION_REMOVE, {"in_bucket": bucket_id, "of_key": key, "of_seq": seq})]
    if not delete_marker:
        doom = {"of_version": version_id, "delete_from": delete_from, "inline_from": soon}
        calls.append(Call(REPLICAS_DOOM, doom))
    if pieces:
        calls.append(Call(SEGMENTS_REMOVE, {"of_version": version_id}))
    if labelled:
        calls.append(TERMS_REMOVE(of_version=version_id))
    return calls


def pointed(bucket_id: int, key: str, *, seq: int, version_id: str) -> Call:
    """Return the call that makes a version the one that readers of the key find."""
    return Call(
        OBJECT_PUT,
        {"bucket_id": bucket_id, "key": key, "seq": seq, "version_id": version_id, "generation": 1},
    )
