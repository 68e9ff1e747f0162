"""Transactions of proving: which copies are due, which were read whole and right, and what becomes of a bad one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import LargeBinary, and_, bindparam, case, func, literal_column, null, or_, select, update

from holdfast.catalog.common import is_readable
from holdfast.catalog.contract import Owed
from holdfast.catalog.owing import HURRY_ONE, OWE_ONCE, debt_row
from holdfast.catalog.rows import REPLICA, digests_of, replica_of
from holdfast.catalog.schema import buckets, replicas, segments, versions
from holdfast.catalog.sharing import of_same_blob
from holdfast.catalog.statements import Row, Statement, catalog_now, constant, int_param, one_of, text_param
from holdfast.catalog.transaction import Attempt, Steps, Transaction
from holdfast.core.findings import Condemned, Provable, Proven
from holdfast.core.types import Digests, ObjectRef, Replica

DAMAGED: Final = "damaged"  #: why a version owes: one of its copies is bad

_own = replicas.c.segment_id == replicas.c.version_id


def _either(name: str) -> Any:
    """The digest of the copy's segment: the version's, where that is its own only segment."""
    return case((_own, versions.c[name]), else_=segments.c[name])


_DUE = (
    *REPLICA,
    buckets.c.tenant,
    buckets.c.name,
    versions.c.key,
    replicas.c.proved,
    _either("sha256"),
    _either("crc64nvme"),
    versions.c.content_type,
    segments.c.position,
    versions.c.cloned_from,
)
_WITH_SEGMENT = and_(segments.c.version_id == replicas.c.version_id, segments.c.id == replicas.c.segment_id)
_OF_STORE = (
    replicas.join(versions, versions.c.id == replicas.c.version_id)
    .join(buckets, buckets.c.id == versions.c.bucket_id)
    .outerjoin(segments, _WITH_SEGMENT)
)
_behind = or_(
    replicas.c.blob > text_param("after"),
    and_(replicas.c.blob == text_param("after"), replicas.c.id > text_param("after_id")),
)
NEVER = Statement(
    select(*_DUE)
    .select_from(_OF_STORE)
    .where(
        replicas.c.store == text_param("of_store"),
        replicas.c.blob >= text_param("after"),
        _behind,
        replicas.c.proved.is_(None),
        is_readable(replicas),
    )
    .order_by(replicas.c.blob, replicas.c.id)
    .limit(int_param("rows"))
)
LONGEST_AGO = Statement(
    select(*_DUE)
    .select_from(_OF_STORE)
    .where(
        replicas.c.store == text_param("of_store"),
        replicas.c.proved >= int_param("after_proved"),
        replicas.c.proved < int_param("until"),
        or_(
            replicas.c.proved > int_param("after_proved"),
            replicas.c.id > text_param("after_id"),
        ),
        replicas.c.proved.is_not(None),
        is_readable(replicas),
    )
    .order_by(replicas.c.proved, replicas.c.id)
    .limit(int_param("rows"))
)
_OF_BUCKET = (
    versions.join(buckets, buckets.c.id == versions.c.bucket_id)
    .join(replicas, replicas.c.version_id == versions.c.id)
    .outerjoin(segments, _WITH_SEGMENT)
)
IN_BUCKET = Statement(
    select(*_DUE, versions.c.seq)
    .select_from(_OF_BUCKET)
    .where(
        versions.c.bucket_id == int_param("in_bucket"),
        versions.c.key >= text_param("after"),
        or_(
            versions.c.key > text_param("after"),
            versions.c.seq > int_param("after_seq"),
            and_(versions.c.seq == int_param("after_seq"), replicas.c.id > text_param("after_id")),
        ),
        or_(replicas.c.proved.is_(None), replicas.c.proved < int_param("until")),
        or_(text_param("of_store") == literal_column("''"), replicas.c.store == text_param("of_store")),
        is_readable(replicas),
    )
    .order_by(versions.c.key, versions.c.seq, replicas.c.id)
    .limit(int_param("rows"))
)
_named, _twin = replicas.alias("named"), replicas.alias("twin")
#: A copy that was suspect is none any more once it was read whole and right; nor is any other of the same blob.
PROVED = Statement(
    update(replicas)
    .where(
        replicas.c.id.in_(
            select(_twin.c.id)
            .select_from(
                _named.join(_twin, and_(_twin.c.store == _named.c.store, _twin.c.blob == _named.c.blob))
            )
            .where(one_of(_named.c.id, "ids"))
        ),
        is_readable(replicas),
    )
    .values(proved=int_param("at"), state=constant("live"))
)
#: Every row of the blob that a copy is, in versions that are there.
EACH = Statement(
    select(
        replicas.c.id,
        replicas.c.version_id,
        replicas.c.segment_id,
        versions.c.bucket_id,
        catalog_now().label("now"),
    )
    .select_from(replicas.join(versions, versions.c.id == replicas.c.version_id))
    .where(replicas.c.id.in_(of_same_blob("of_replica")))
    .order_by(replicas.c.id)
)
CONDEMN = Statement(
    update(replicas)
    .where(replicas.c.id.in_(of_same_blob("of_replica")), is_readable(replicas))
    .values(state=constant("suspect"), proved=null())
    .returning(replicas.c.id)
)
OTHERS = Statement(
    select(func.count())
    .select_from(replicas)
    .where(
        replicas.c.version_id == text_param("of_version"),
        replicas.c.segment_id == text_param("of_segment"),
        replicas.c.state == constant("live"),
        replicas.c.id != text_param("of_replica"),
    )
)
_LEARNT: Final = ("sha256", "crc64nvme", "chunk_crcs")
#: What an adopted copy turned out to be, when it is read whole for the first time.
LEARN_VERSION = Statement(
    update(versions)
    .where(versions.c.id == text_param("of_version"), versions.c.sha256.is_(None))
    .values({name: bindparam(f"new_{name}", type_=LargeBinary()) for name in _LEARNT})
    .values(chunk_size=int_param("new_chunk_size"))
)
LEARN_SEGMENT = Statement(
    update(segments)
    .where(
        segments.c.version_id == text_param("of_version"),
        segments.c.id == text_param("of_segment"),
        segments.c.sha256.is_(None),
    )
    .values({name: bindparam(f"new_{name}", type_=LargeBinary()) for name in _LEARNT})
    .values(chunk_size=int_param("new_chunk_size"))
)


def _count(*where: Any, size: bool = False) -> Any:
    counted = replicas.c.size if size else literal_column("1")
    return func.coalesce(
        func.sum(case((and_(*where), counted), else_=literal_column("0"))), literal_column("0")
    )


_since = replicas.c.proved >= int_param("since")
PROVEN = Statement(
    select(
        replicas.c.store,
        func.count(),
        func.coalesce(func.sum(replicas.c.size), literal_column("0")),
        _count(replicas.c.proved.is_(None)),
        _count(replicas.c.state == constant("suspect")),
        _count(_since),
        _count(_since, size=True),
        func.min(replicas.c.proved),
    )
    .where(is_readable(replicas))
    .group_by(replicas.c.store)
    .order_by(replicas.c.store)
)
COUNT = Statement(
    select(func.count(), func.coalesce(func.sum(replicas.c.size), literal_column("0"))).where(
        replicas.c.store == text_param("of_store"), is_readable(replicas)
    )
)
#: Every row of a store in the order of its listing, whatever its state; several may be of one blob.
IN_ORDER = Statement(
    select(*REPLICA)
    .where(replicas.c.store == text_param("of_store"), replicas.c.blob >= text_param("after"), _behind)
    .order_by(replicas.c.blob, replicas.c.id)
    .limit(int_param("rows"))
)
OF_BLOBS = Statement(
    select(*REPLICA).where(replicas.c.store == text_param("of_store"), one_of(replicas.c.blob, "blobs"))
)
DUE_OF_BLOBS = Statement(
    select(*_DUE)
    .select_from(_OF_STORE)
    .where(
        replicas.c.store == text_param("of_store"), one_of(replicas.c.blob, "blobs"), is_readable(replicas)
    )
)


def never(store: str, after: tuple[str, str], limit: int) -> Transaction[Sequence[Provable]]:
    """Copies in a store that were never proved, by blob, behind a (blob, id)."""

    def steps(attempt: Attempt) -> Steps[Sequence[Provable]]:
        rows = yield NEVER(of_store=store, after=after[0], after_id=after[1], rows=limit)
        return [_due(row) for row in rows]

    return steps


def longest_ago(
    store: str, until: int, after: tuple[int, str], limit: int
) -> Transaction[Sequence[Provable]]:
    """Copies in a store that were proved before `until`, the least lately first, behind a (time, id)."""

    def steps(attempt: Attempt) -> Steps[Sequence[Provable]]:
        rows = yield LONGEST_AGO(
            of_store=store, until=until, after_proved=after[0], after_id=after[1], rows=limit
        )
        return [_due(row) for row in rows]

    return steps


def in_bucket(
    bucket_id: int, store: str, until: int, after: tuple[str, int, str], limit: int
) -> Transaction[Sequence[tuple[Provable, int]]]:
    """Copies of a bucket's versions that were not proved since `until`, by key, behind a (key, sequence, id)."""

    def steps(attempt: Attempt) -> Steps[Sequence[tuple[Provable, int]]]:
        key, seq, id_ = after
        rows = yield IN_BUCKET(
            in_bucket=bucket_id,
            of_store=store,
            until=until,
            after=key,
            after_seq=seq,
            after_id=id_,
            rows=limit,
        )
        return [(_due(row[:-1]), row[-1]) for row in rows]

    return steps


def of_blobs(store: str, blobs: Sequence[str]) -> Transaction[Sequence[Replica]]:
    """Every row of these blobs, whatever its state."""

    def steps(attempt: Attempt) -> Steps[Sequence[Replica]]:
        return [replica_of(row) for row in (yield OF_BLOBS(of_store=store, blobs=list(blobs)))]

    return steps


def due_of_blobs(store: str, blobs: Sequence[str]) -> Transaction[Sequence[Provable]]:
    """The copies that can be read among these blobs."""

    def steps(attempt: Attempt) -> Steps[Sequence[Provable]]:
        return [_due(row) for row in (yield DUE_OF_BLOBS(of_store=store, blobs=list(blobs)))]

    return steps


def in_order(store: str, after: tuple[str, str], limit: int) -> Transaction[Sequence[Replica]]:
    """Rows of a store by blob, behind a (blob, id)."""

    def steps(attempt: Attempt) -> Steps[Sequence[Replica]]:
        rows = yield IN_ORDER(of_store=store, after=after[0], after_id=after[1], rows=limit)
        return [replica_of(row) for row in rows]

    return steps


def proved(ids: Sequence[str], at: int) -> Transaction[None]:
    """Copies that were read whole and right."""

    def steps(attempt: Attempt) -> Steps[None]:
        yield PROVED(ids=list(ids), at=at)

    return steps


def condemn(replica_id: str, *, now: int | None) -> Transaction[Condemned]:
    """A copy that is bad: suspect from now on, and a debt to have another made, if another is sound.

    The same of every other row of its blob. What is returned is of the one that was named.
    """

    def steps(attempt: Attempt) -> Steps[Condemned]:
        each = yield EACH(of_replica=replica_id, now=now)
        going = {row[0] for row in (yield CONDEMN(of_replica=replica_id))}
        known = [row for row in each if row[0] in going]
        found = Condemned(there=False)
        for id_, version_id, segment_id, bucket_id, at in known:
            others = yield from _condemned(id_, version_id, segment_id, bucket_id, at)
            if id_ == replica_id:
                found = Condemned(there=True, others=others)
        return found

    return steps


def _condemned(replica_id: str, version_id: str, segment_id: str, bucket_id: int, at: int) -> Steps[int]:
    """Write down what the version of a bad copy owes, and return how many other sound copies there are."""
    others: int = (yield OTHERS(of_version=version_id, of_segment=segment_id, of_replica=replica_id))[0][0]
    if others:
        yield OWE_ONCE(**debt_row(version_id, bucket_id, Owed("", DAMAGED), at))
        yield HURRY_ONE(of_version=version_id, at=at)
    return others


def learn(
    version_id: str, segment_id: str, digests: Digests, chunk_size: int, chunk_crcs: bytes
) -> Transaction[None]:
    """The digests of bytes that nobody had read before; what is known already stays."""

    def steps(attempt: Attempt) -> Steps[None]:
        given = {
            "of_version": version_id,
            "new_sha256": digests.sha256,
            "new_crc64nvme": digests.crc64nvme,
            "new_chunk_size": chunk_size,
            "new_chunk_crcs": chunk_crcs,
        }
        if segment_id == version_id:
            yield LEARN_VERSION(**given)
        else:
            yield LEARN_SEGMENT(**given, of_segment=segment_id)

    return steps


def proven(since: int) -> Transaction[Sequence[Proven]]:
    """How far copies are proved, store by store."""

    def steps(attempt: Attempt) -> Steps[Sequence[Proven]]:
        rows = yield PROVEN(since=since)
        return [
            Proven(row[0], row[1], int(row[2]), int(row[3]), int(row[4]), int(row[5]), int(row[6]), row[7])
            for row in rows
        ]

    return steps


def count(store: str) -> Transaction[tuple[int, int]]:
    """How many copies a store has that can be read, and of how many bytes."""

    def steps(attempt: Attempt) -> Steps[tuple[int, int]]:
        row = (yield COUNT(of_store=store))[0]
        return int(row[0]), int(row[1])

    return steps


def _due(row: Row) -> Provable:
    tenant, bucket, key, proved_at, sha256, crc, content_type, position, cloned_from = row[8:17]
    return Provable(
        replica_of(row[:8]),
        ObjectRef(tenant, bucket, key),
        digests_of(sha256, None, crc),
        proved_at,
        content_type,
        None if position is None else position + 1,
        cloned_from or "",
    )
