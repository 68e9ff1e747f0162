"""Transactions of a rebuild: what blobs say of themselves gathered, and versions made of it, over nothing that is newer.

A version comes with its copies, live, in one transaction: they never are pending, so no sweep can take them for what a
writer left behind. A version that is there already only gets the copies that it lacks.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple

from sqlalchemy import func, select, update

from holdfast.catalog import quotas
from holdfast.catalog.common import (
    SEGMENT_ADD,
    VERSION_ADD,
    Head,
    audited,
    check_removable,
    counted,
    pointed,
    read_head,
)
from holdfast.catalog.contract import Actor, NewVersion
from holdfast.catalog.rows import is_own_segment, segment_params, version_params
from holdfast.catalog.schema import objects, replicas, segments, told_blobs, versions
from holdfast.catalog.statements import (
    Many,
    Row,
    Statement,
    constant,
    insert_into,
    int_param,
    one_of,
    text_param,
)
from holdfast.catalog.terms import found_by
from holdfast.catalog.transaction import Attempt, Steps, Transaction
from holdfast.catalog.writing import removed_head
from holdfast.core.findings import Told
from holdfast.core.types import Replica

_COLUMNS: Final = (
    *("tenant", "bucket", "key", "version_id", "part", "segment_id", "store", "blob"),
    *("size", "modified", "origin"),
)
_READABLE: Final = ("live", "suspect")
GATHER = insert_into(told_blobs, "run", *_COLUMNS, unless_there=True)


def _behind(*names: str) -> Any:
    """The condition that a row comes after the one that the parameters name."""
    first, *rest = names
    column = told_blobs.c[first]
    param = int_param("after_part") if first == "part" else text_param(f"after_{first}")
    return column > param if not rest else (column > param) | ((column == param) & _behind(*rest))


_PLACE: Final = ("tenant", "bucket", "key", "version_id")
PAGE = Statement(
    select(*[told_blobs.c[name] for name in _COLUMNS])
    .where(
        told_blobs.c.run == text_param("of_run"),
        told_blobs.c.tenant >= text_param("after_tenant"),
        _behind(*_PLACE),
    )
    .order_by(*[told_blobs.c[name] for name in _COLUMNS[:8]])
    .limit(int_param("rows"))
)
_some = (
    select(told_blobs.c.tenant, told_blobs.c.bucket, told_blobs.c.key)
    .where(told_blobs.c.run == text_param("of_run"))
    .limit(constant(1))
    .subquery()
)
FIRST = Statement(select(_some.c.tenant, _some.c.bucket, _some.c.key))
CLEAR = Statement(
    told_blobs.delete().where(
        told_blobs.c.run == text_param("of_run"),
        told_blobs.c.tenant == text_param("of_tenant"),
        told_blobs.c.bucket == text_param("of_bucket"),
        told_blobs.c.key == text_param("of_key"),
    )
)

_OF_KEY = (versions.c.bucket_id == int_param("in_bucket"), versions.c.key == text_param("of_key"))
BY_ID = Statement(
    select(versions.c.bucket_id, versions.c.key, versions.c.pieces).where(
        versions.c.id == text_param("of_version")
    )
)
SEGMENTS_OF = Statement(
    select(segments.c.id)
    .where(segments.c.version_id == text_param("of_version"))
    .order_by(segments.c.position)
)
#: The oldest of those that are newer, and the newest of those before it.
NEWER = Statement(select(func.min(versions.c.seq)).where(*_OF_KEY, versions.c.created > int_param("created")))
BELOW = Statement(select(func.max(versions.c.seq)).where(*_OF_KEY, versions.c.seq < int_param("at_seq")))
#: In two steps, since each row must have a place of its own at every moment.
SHIFT_AWAY = Statement(
    update(versions)
    .where(*_OF_KEY, versions.c.seq >= int_param("at_seq"))
    .values(seq=-versions.c.seq - constant(1))
)
SHIFT_BACK = Statement(
    update(versions).where(*_OF_KEY, versions.c.seq < constant(0)).values(seq=-versions.c.seq)
)
SHIFT_HEAD = Statement(
    update(objects)
    .where(
        objects.c.bucket_id == int_param("in_bucket"),
        objects.c.key == text_param("of_key"),
        objects.c.seq >= int_param("at_seq"),
    )
    .values(seq=objects.c.seq + constant(1))
)
COPIES = Statement(
    select(replicas.c.id, replicas.c.version_id, replicas.c.state, replicas.c.store, replicas.c.blob).where(
        one_of(replicas.c.id, "ids")
    )
)
KNOWN_BLOBS = Statement(
    select(replicas.c.blob).where(
        replicas.c.store == text_param("of_store"), one_of(replicas.c.blob, "blobs")
    )
)
COPY_ADD = insert_into(
    replicas,
    *("version_id", "id", "segment_id", "store", "blob", "size", "state", "copy_number", "committed"),
)


class Outcome(StrEnum):
    """What came of a version that was to be made."""

    MADE = "made"
    THERE = "there"  #: it was there already, and perhaps got copies
    SUPERSEDED = "superseded"  #: its bucket keeps one version, and a newer one is there
    GOING = "going"  #: its bytes are about to be deleted, or belong to another version


class Placed(NamedTuple):
    """What came of a version, and how many copies it got."""

    outcome: Outcome
    copies: int = 0


def gather(run: str, found: Sequence[Told]) -> Transaction[None]:
    """What blobs say of themselves, kept until the rebuild ends."""

    def steps(attempt: Attempt) -> Steps[None]:
        yield Many(GATHER, [_row(run, one) for one in found])

    return steps


def page(run: str, after: tuple[str, str, str, str], limit: int) -> Transaction[Sequence[Told]]:
    """What was gathered, by tenant, bucket, key and version, behind a version."""

    def steps(attempt: Attempt) -> Steps[Sequence[Told]]:
        place = {f"after_{name}": value for name, value in zip(_PLACE, after, strict=True)}
        return [_told(row) for row in (yield PAGE(of_run=run, rows=limit, **place))]

    return steps


def clear(run: str) -> Transaction[bool]:
    """What was gathered of one key, dropped; False when there was nothing left."""

    def steps(attempt: Attempt) -> Steps[bool]:
        rows = yield FIRST(of_run=run)
        if rows:
            yield CLEAR(of_run=run, of_tenant=rows[0][0], of_bucket=rows[0][1], of_key=rows[0][2])
        return bool(rows)

    return steps


def place(
    version: NewVersion, created: int, copies: Sequence[Replica], *, grace: int, actor: Actor, now: int | None
) -> Transaction[Placed]:
    """A version of which blobs told, at its place in time among those of its key; made twice it is made once."""

    def steps(attempt: Attempt) -> Steps[Placed]:
        ref = version.ref
        head = yield from read_head(ref, now)
        known = {row[0]: row[1:] for row in (yield COPIES(ids=[copy.id for copy in copies]))}
        taken = yield from _taken(copies)
        fresh = [copy for copy in copies if copy.id not in known and (copy.store, copy.blob) not in taken]
        there = yield BY_ID(of_version=version.id)
        if there:
            return (yield from _complete(version, head, there[0], fresh))
        held = {
            copy.segment_id
            for copy in copies
            if copy in fresh
            or (copy.id in known and known[copy.id][0] == version.id and known[copy.id][1] in _READABLE)
        }
        if not fresh or not held >= {segment.id for segment in version.segments}:
            return Placed(Outcome.GOING)
        found = {"in_bucket": head.bucket_id, "of_key": ref.key}
        newer = (yield NEWER(**found, created=created))[0][0]
        if newer is not None and not head.versioning:
            return Placed(Outcome.SUPERSEDED)
        seq = (head.seq or 0) + 1 if newer is None else (yield from _between(found, newer))
        yield from _insert(version, head, seq, created, fresh)
        yield from _settle(version, head, seq, on_top=newer is None, grace=grace)
        yield audited(
            head.clock,
            ref.tenant,
            "rebuild-version",
            actor,
            bucket=ref.bucket,
            key=ref.key,
            version_id=version.id,
            size=version.size,
        )
        return Placed(Outcome.MADE, len(fresh))

    return steps


def _taken(copies: Sequence[Replica]) -> Steps[set[tuple[str, str]]]:
    """Return which blobs a row knows already, perhaps one of another version that shares them."""
    found: set[tuple[str, str]] = set()
    for store in {copy.store for copy in copies}:
        blobs = [copy.blob for copy in copies if copy.store == store]
        found |= {(store, row[0]) for row in (yield KNOWN_BLOBS(of_store=store, blobs=blobs))}
    return found


def _complete(version: NewVersion, head: Head, there: Row, fresh: Sequence[Replica]) -> Steps[Placed]:
    """Give a version that is there the copies that it lacks."""
    bucket_id, key, pieces = there
    if (bucket_id, key) != (head.bucket_id, version.ref.key):
        return Placed(Outcome.GOING)
    mine = {version.id} if not pieces else {row[0] for row in (yield SEGMENTS_OF(of_version=version.id))}
    lacking = [copy for copy in fresh if copy.segment_id in mine]
    if lacking:
        yield Many(COPY_ADD, [_copy(copy, head.now) for copy in lacking])
    return Placed(Outcome.THERE, len(lacking))


def _between(found: dict[str, Any], newer: int) -> Steps[int]:
    """Return a free place before `newer`; where there is none, those from there on move up."""
    below = (yield BELOW(**found, at_seq=newer))[0][0]
    if below is None or newer - below > 1:
        free: int = newer - 1
        if free > 0:
            return free
    yield SHIFT_AWAY(**found, at_seq=newer)
    yield SHIFT_BACK(**found)
    yield SHIFT_HEAD(**found, at_seq=newer)
    return newer


def _insert(
    version: NewVersion, head: Head, seq: int, created: int, copies: Sequence[Replica]
) -> Steps[None]:
    row = dict.fromkeys(column.name for column in versions.columns) | {"hold": False}
    row |= version_params(version, head.bucket_id, seq=seq, created=created)
    yield VERSION_ADD(**row)
    if not is_own_segment(version):
        rows = [segment_params(version.id, number, part) for number, part in enumerate(version.segments)]
        yield Many(SEGMENT_ADD, rows)
    yield Many(COPY_ADD, [_copy(copy, head.now) for copy in copies])
    terms = found_by(head.bucket_id, version.ref.key, version.id, version.metadata, version.tags)
    for call in terms:  # noqa: UP028 - it is sent rows, which a list does not take
        yield call


def _settle(version: NewVersion, head: Head, seq: int, *, on_top: bool, grace: int) -> Steps[None]:
    """Point the key at the version if it is the newest, let go of what it takes the place of, and count."""
    ref = version.ref
    replaced = on_top and head.seq is not None and not head.versioning
    if replaced:
        check_removable(str(ref), head.hold, head.locked_until, head.clock)
        for call in removed_head(head, ref.key, grace=grace):  # noqa: UP028 - see above
            yield call
    kept = head.current is not None and not replaced
    freed, fewer = (head.size, 1) if replaced and head.current else (0, 0)
    if on_top:
        yield pointed(head.bucket_id, ref.key, seq=seq, version_id=version.id)
    more = 1 if on_top and head.current is None and not kept else 0
    yield counted(head.bucket_id, objects=more, versions=1 - fewer, bytes=version.size - freed)
    if head.metered:
        yield from quotas.charge(ref.tenant, head.bucket_id, bytes=version.size - freed, objects=1 - fewer)


def _copy(copy: Replica, at: int) -> dict[str, Any]:
    return {
        "version_id": copy.version_id,
        "id": copy.id,
        "segment_id": copy.segment_id,
        "store": copy.store,
        "blob": copy.blob,
        "size": copy.size,
        "state": "live",
        "copy_number": copy.copy_number,
        "committed": at,
    }


def _row(run: str, one: Told) -> dict[str, Any]:
    return {"run": run} | {name: getattr(one, name) for name in _COLUMNS}


def _told(row: Row) -> Told:
    values = dict(zip(_COLUMNS, row, strict=True))
    return Told(**values)
