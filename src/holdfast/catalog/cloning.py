"""The transaction of a clone: a version whose copies are the blobs of another one. No bytes move.

The rows of the other version are locked while theirs are made from them, so no blob is shared that is being given up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import select

from holdfast.catalog.common import is_readable, read_head
from holdfast.catalog.contract import Actor, NewVersion
from holdfast.catalog.rows import is_own_segment, made_of, version_of
from holdfast.catalog.schema import replicas, versions
from holdfast.catalog.statements import Batch, Many, Statement, among, insert_into, text_param
from holdfast.catalog.transaction import Attempt, Steps, Transaction
from holdfast.catalog.writing import BY_ID, become_current, charge_put, keep_segments
from holdfast.core.errors import ConflictError, NotFoundError
from holdfast.core.types import Version

_COPY: Final = (
    *("version_id", "id", "segment_id", "store", "blob", "size", "state", "copy_number"),
    *("committed", "proved"),
)
COPY_ADD = insert_into(replicas, *_COPY)
#: Copies that can be read, and will be until the transaction ends.
HELD = Statement(
    select(
        replicas.c.id,
        replicas.c.segment_id,
        replicas.c.store,
        replicas.c.blob,
        replicas.c.size,
        replicas.c.state,
        replicas.c.copy_number,
        replicas.c.proved,
    )
    .where(
        replicas.c.version_id == text_param("of_version"), among(replicas.c.id, "ids"), is_readable(replicas)
    )
    .order_by(replicas.c.id)
    .with_for_update(read=True)
)
ORIGIN = Statement(select(versions.c.cloned_from).where(versions.c.id == text_param("of_version")))


def clone(
    version: NewVersion,
    source: Version,
    ids: Mapping[str, str],
    *,
    over: str | None,
    grace: int,
    actor: Actor,
    now: int | None,
) -> Transaction[Version]:
    """A new version over the copies of `source`; see the contract."""

    def steps(attempt: Attempt) -> Steps[Version]:
        ref = version.ref
        head = yield from read_head(ref, now)
        if attempt.again and (made := (yield BY_ID(of_version=version.id))):
            return version_of(made[0], ref.tenant, ref.bucket, current=head.version_id == version.id)
        if over is not None and over != (head.version_id if head.current else ""):
            raise ConflictError("the object changed meanwhile", name=str(ref))
        if over and not head.versioning:
            raise ConflictError("the bucket keeps no versions any more", name=ref.bucket)
        origin = yield ORIGIN(of_version=source.id)
        if not origin:
            raise NotFoundError("the version that is to be cloned is gone", name=str(source.ref))
        own = is_own_segment(version)
        copies = yield HELD(of_version=source.id, ids=list(ids))
        rows: list[dict[str, Any]] = [
            {
                "version_id": version.id,
                "id": ids[id_],
                "segment_id": version.id if own else segment_id,
                "store": store,
                "blob": blob,
                "size": size,
                "state": state,
                "copy_number": number,
                "committed": head.now,
                "proved": proved,
            }
            for id_, segment_id, store, blob, size, state, number, proved in copies
        ]
        if not {row["segment_id"] for row in rows} >= {segment.id for segment in version.segments}:
            raise ConflictError("the copies of the version changed meanwhile", name=str(source.ref))
        said = replace(version, cloned_from=origin[0][0] or source.id)
        made_now = made_of(said, seq=(head.seq or 0) + 1, created=head.now)
        yield Many(COPY_ADD, rows)
        yield Batch(become_current(head, said, made_now, grace=grace, actor=actor, action="clone"))
        yield from keep_segments(said)
        yield from charge_put(head, said, release=())
        return made_now

    return steps
