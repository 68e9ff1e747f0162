"""Transactions of a restore: rows of a backup put back, each once, over nothing that is newer.

A version comes back with its id, its times and all that was said about it; only where its bytes lie is new. It is put
at its own place in the history of its key, or on top of it, as the engine decided by what stood there; if something
else stands there by then, nothing is changed, and the engine looks again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import insert, select

from holdfast.catalog import generations, metering, placing, quotas, snapshots
from holdfast.catalog import stores as store_rows
from holdfast.catalog.common import (
    BUCKET,
    NOW,
    OBJECT_REMOVE,
    VERSION_ADD,
    Head,
    audited,
    check_removable,
    counted,
    pointed,
    read_head,
)
from holdfast.catalog.contract import Actor
from holdfast.catalog.dumping import KEPT, columns, table
from holdfast.catalog.rows import mapping_of
from holdfast.catalog.schema import objects, segments, versions
from holdfast.catalog.settings import bucket_settings
from holdfast.catalog.statements import (
    Batch,
    Call,
    Many,
    Statement,
    constant,
    insert_into,
    int_param,
    text_param,
)
from holdfast.catalog.tenancy import BUCKET_ADD, USAGE_ADD
from holdfast.catalog.terms import found_by
from holdfast.catalog.transaction import Attempt, Steps, Transaction
from holdfast.catalog.writing import COMMIT, removed_head
from holdfast.core.errors import ConflictError, InternalError
from holdfast.core.records import Standing
from holdfast.core.types import ObjectRef

#: What a row of a backup does not say about columns that may not be empty.
_DEFAULTS: Final[Mapping[str, dict[str, Any]]] = {
    "versions": {"hold": False},
    "tenants": {"state": "active", "settings": "", "signing_generation": 1},
    "buckets": {"settings": ""},
    "api_keys": {"settings": ""},
    "stores": {"sealed": b"", "fingerprint": "", "tested": "", "trouble": "", "active": False},
    "schedules": {"next_at": 1 << 62, "last_job": "", "enabled": False},
}
#: What is set whatever the row says: it is not to act by itself in the place where it is put back.
_STILL: Final[Mapping[str, dict[str, Any]]] = {"schedules": {"enabled": False, "next_at": 1 << 62}}

_OF_KEY = (versions.c.bucket_id == int_param("in_bucket"), versions.c.key == text_param("of_key"))
AT_SEQ = Statement(select(versions.c.id).where(*_OF_KEY, versions.c.seq == int_param("of_seq")))
BY_ID = Statement(
    select(versions.c.bucket_id, versions.c.key).where(versions.c.id == text_param("of_version"))
)
NEWEST = Statement(
    select(versions.c.seq, versions.c.id, versions.c.delete_marker)
    .where(*_OF_KEY)
    .order_by(versions.c.seq.desc())
    .limit(constant(1))
)
POINTED = Statement(
    select(objects.c.version_id).where(
        objects.c.bucket_id == int_param("in_bucket"), objects.c.key == text_param("of_key")
    )
)
SEGMENT_ADD = Statement(insert(segments).inline(), keys=[column.name for column in segments.columns])
_ADDS: Final = {
    name: insert_into(table(name), *sorted({*columns(name), *_DEFAULTS.get(name, {})}), unless_there=True)
    for name in KEPT
    if name not in ("buckets", "snapshots")
}


# -- versions ---------------------------------------------------------------------------------------------------------
def standing(ref: ObjectRef, version_id: str, seq: int, now: int | None) -> Transaction[Standing]:
    """What stands where a version would be put back."""

    def steps(attempt: Attempt) -> Steps[Standing]:
        head = yield from read_head(ref, now)
        known = yield BY_ID(of_version=version_id)
        here = bool(known) and tuple(known[0]) == (head.bucket_id, ref.key)
        taken = yield AT_SEQ(in_bucket=head.bucket_id, of_key=ref.key, of_seq=seq)
        return Standing(
            versioning=bool(head.versioning),
            head=head.version_id or "",
            head_seq=head.seq or 0,
            head_created=head.created if head.seq else 0,
            here=here,
            elsewhere=bool(known) and not here,
            taken=bool(taken),
        )

    return steps


def restore_version(
    ref: ObjectRef,
    row: Mapping[str, Any],
    replica_ids: Sequence[str],
    *,
    over: str,
    on_top: bool,
    grace: int,
    actor: Actor,
    now: int | None,
) -> Transaction[bool]:
    """A version of a backup put back, its copies made live; False, and nothing changed, when it is there already.

    `row` has the names of the columns of `versions`, and its `segments`. `over` is the newest version that stood there
    when the engine looked. With `on_top` it becomes the newest, and takes the place of that one in a bucket without
    versions.

    Raises:
        ConflictError: something else stands there now; or what it would take the place of may not be removed.
    """

    def steps(attempt: Attempt) -> Steps[bool]:
        head = yield from read_head(ref, now)
        known = yield BY_ID(of_version=row["id"])
        if known:
            if tuple(known[0]) == (head.bucket_id, ref.key):
                return False
            raise ConflictError("a version of that id is there already, of another key", name=str(ref))
        if (head.version_id or "") != over:
            raise ConflictError("the object changed meanwhile", name=str(ref))
        if head.snapped is not None and row["created"] <= head.snapped:
            raise ConflictError(
                "the bucket has snapshots, which older versions would change; restore into another bucket",
                name=str(ref),
            )
        seq = (head.seq or 0) + 1 if on_top else row["seq"]
        if (yield AT_SEQ(in_bucket=head.bucket_id, of_key=ref.key, of_seq=seq)):
            raise ConflictError("the object changed meanwhile", name=str(ref))
        replaced = head if on_top and head.seq is not None and not head.versioning else None
        yield from _flip(row, replica_ids, head.now)
        yield from _insert(head, ref, row, seq)
        yield from _settle(head, ref, row, replaced, replica_ids, grace)
        yield audited(
            head.clock,
            ref.tenant,
            "restore-version",
            actor,
            bucket=ref.bucket,
            key=ref.key,
            version_id=row["id"],
            size=row["size"],
        )
        return True

    return steps


def _flip(row: Mapping[str, Any], replica_ids: Sequence[str], at: int) -> Steps[None]:
    """Make the copies live, each of which must still be pending, and see that each segment has one."""
    if row["delete_marker"]:
        return
    flipped = yield COMMIT(of_version=row["id"], ids=list(replica_ids), at=at)
    wanted = {segment["id"] for segment in row["segments"]} or {row["id"]}
    if len(flipped) != len(replica_ids) or not {found[0] for found in flipped} >= wanted:
        raise ConflictError("a copy took too long and its lease was lost", name=row["key"])


def _insert(head: Head, ref: ObjectRef, row: Mapping[str, Any], seq: int) -> Steps[None]:
    """Write the rows of the version, its segments and its terms."""
    known = {column.name for column in versions.columns}
    given = {name: value for name, value in row.items() if name in known}
    empty = dict.fromkeys(known) | _DEFAULTS["versions"]
    yield Call(VERSION_ADD, empty | given | {"bucket_id": head.bucket_id, "key": ref.key, "seq": seq})
    if row["segments"]:
        yield Many(SEGMENT_ADD, [{**segment, "version_id": row["id"]} for segment in row["segments"]])
    said = mapping_of(row["metadata"]), mapping_of(row["tags"])
    yield Batch(found_by(head.bucket_id, ref.key, row["id"], *said))


def _settle(
    head: Head,
    ref: ObjectRef,
    row: Mapping[str, Any],
    replaced: Head | None,
    release: Sequence[str],
    grace: int,
) -> Steps[None]:
    """Let go of what is replaced, point the key at its newest version, and count."""
    freed, fewer = 0, 0
    if replaced is not None:
        check_removable(str(ref), replaced.hold, replaced.locked_until, replaced.clock)
        yield Batch(removed_head(replaced, ref.key, grace=grace))
        freed, fewer = (0, 0) if replaced.delete_marker else (replaced.size, 1)
    had = bool((yield POINTED(in_bucket=head.bucket_id, of_key=ref.key)))
    seq, version_id, is_marker = (yield NEWEST(in_bucket=head.bucket_id, of_key=ref.key))[0]
    if is_marker:
        yield OBJECT_REMOVE(in_bucket=head.bucket_id, of_key=ref.key)
    else:
        yield pointed(head.bucket_id, ref.key, seq=seq, version_id=version_id)
    has = not is_marker
    more = 0 if row["delete_marker"] else 1
    yield counted(
        head.bucket_id, objects=int(has) - int(had), versions=more - fewer, bytes=row["size"] - freed
    )
    if head.metered:
        yield from quotas.charge(
            ref.tenant, head.bucket_id, bytes=row["size"] - freed, objects=more - fewer, release=release
        )


# -- everything else --------------------------------------------------------------------------------------------------
def restore_row(name: str, row: Mapping[str, Any], now: int | None) -> Transaction[bool]:
    """A row of another table put back, unless there is one with its key; whether it was.

    What would act by itself is put back switched off: schedules, and stores, whose secrets are in no backup.
    """

    def steps(attempt: Attempt) -> Steps[bool]:
        if name == "buckets":
            return (yield from _bucket(row, now))
        if name == "snapshots":
            return (yield from _snapshot(row))
        if name not in _ADDS:
            raise InternalError(f"rows of {name} are not put back")
        if (yield _THERE[name](**{f"of_{column}": row[column] for column in _keys(name)})):
            return False
        given = {column: row.get(column) for column in columns(name)}
        filled = {column: value for column, value in given.items() if value is not None}
        values = dict.fromkeys(given) | _DEFAULTS.get(name, {}) | filled | _STILL.get(name, {})
        yield _ADDS[name](**values)
        if name == "rules":
            yield generations.bumped(placing.NAME)
        elif name == "stores":
            yield generations.bumped(store_rows.GENERATION)
        return True

    return steps


def _bucket(row: Mapping[str, Any], now: int | None) -> Steps[bool]:
    """Make a bucket with its counters at zero, as `tenancy.create_bucket` does, and as old as it was."""
    place = {"tenant": row["tenant"], "bucket": row["name"]}
    if (yield BUCKET(**place, now=0)):
        return False
    settings = bucket_settings(row.get("settings") or "")
    metered = yield from metering.is_metered(row["tenant"])
    yield BUCKET_ADD(
        tenant=row["tenant"],
        name=row["name"],
        created=row["created"],
        versioning=bool(row["versioning"]),
        settings=row.get("settings") or "",
        metered=metered,
        counting_since=(yield NOW(now=now))[0][0] if settings.counts_reads else None,
    )
    bucket_id = (yield BUCKET(**place, now=0))[0][0]
    yield USAGE_ADD(bucket_id=bucket_id, objects=0, versions=0, bytes=0, upload_bytes=0)
    if metered:
        yield metering.row_of(row["tenant"], bucket_id, settings.quota)
    return True


def _snapshot(row: Mapping[str, Any]) -> Steps[bool]:
    """Name a moment of a bucket again; not of one that keeps no versions or follows a store, as it could not be kept."""
    found = yield BUCKET(tenant=row["tenant"], bucket=row["bucket"], now=0)
    if not found:
        return False
    bucket_id, versioning = found[0][0], found[0][1]
    if not versioning or (yield snapshots.UPSTREAM(in_bucket=bucket_id))[0][0] == "attached":
        return False
    if (yield snapshots.ONE(in_bucket=bucket_id, of_name=row["name"])):
        return False
    told = {name: row[name] for name in ("name", "at", "created", "principal", "note")}
    yield snapshots.ADD(bucket_id=bucket_id, **told)
    yield snapshots.MARK(in_bucket=bucket_id)
    return True


def _keys(name: str) -> list[str]:
    return [column.name for column in table(name).primary_key]


def _there(name: str) -> Statement:
    found, key = table(name), _keys(name)
    return Statement(select(found.c[key[0]]).where(*[found.c[one] == text_param(f"of_{one}") for one in key]))


_THERE: Final[Mapping[str, Callable[..., Call]]] = {name: _there(name) for name in _ADDS}


def note_change(
    tenant: str, action: str, detail: Mapping[str, str], actor: Actor, now: int | None
) -> Transaction[None]:
    """A line of the audit about what was done outside the catalog."""

    def steps(attempt: Attempt) -> Steps[None]:
        at = (yield NOW(now=now))[0][0]
        yield audited(at, tenant, action, actor, detail=detail)

    return steps
