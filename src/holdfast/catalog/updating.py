"""What is said about a version, changed without a new content; and what is known of it beside that."""

from __future__ import annotations

from typing import Final

from sqlalchemy import func, select, update

from holdfast.catalog.common import BUCKET, audited, is_readable
from holdfast.catalog.contract import Actor, FileFacts, Said
from holdfast.catalog.locking import KEPT, keeping_of
from holdfast.catalog.reading import BY_ID_ALONE
from holdfast.catalog.rows import VERSION_WIDTH, text_of, version_of
from holdfast.catalog.schema import debts, replicas, versions
from holdfast.catalog.statements import Batch, Statement, constant, int_param, text_param
from holdfast.catalog.terms import TERMS_REMOVE, found_by
from holdfast.catalog.transaction import Attempt, Steps, Transaction
from holdfast.core.errors import ConflictError, NotFoundError
from holdfast.core.retention import KeptError
from holdfast.core.types import ObjectRef, Version

_MOST: Final = 10_000  #: versions of a key are counted up to here

SAY = Statement(
    update(versions)
    .where(
        versions.c.bucket_id == int_param("in_bucket"),
        versions.c.key == text_param("of_key"),
        versions.c.seq == int_param("of_seq"),
        versions.c.id == text_param("of_version"),
    )
    .values(
        content_type=text_param("new_type"),
        metadata=text_param("new_metadata"),
        tags=text_param("new_tags"),
    )
)

PLACE = Statement(
    select(
        versions.c.bucket_id,
        versions.c.key,
        versions.c.pieces,
        versions.c.expires,
        func.coalesce(debts.c.reason, constant("")),
    )
    .select_from(versions.outerjoin(debts, debts.c.version_id == versions.c.id))
    .where(versions.c.id == text_param("of_version"))
)
COPIES = Statement(
    select(func.count())
    .select_from(replicas)
    .where(replicas.c.version_id == text_param("of_version"), is_readable(replicas))
    .group_by(replicas.c.segment_id)
)
OF_KEY = Statement(
    select(func.count()).select_from(
        select(versions.c.seq)
        .where(
            versions.c.bucket_id == int_param("in_bucket"),
            versions.c.key == text_param("of_key"),
            versions.c.delete_marker.is_(False),
        )
        .limit(constant(_MOST))
        .subquery("kept")
    )
)


def gone(version_id: str) -> NotFoundError:
    """Return the error for a version id that leads nowhere (any more)."""
    return NotFoundError(
        "there is no such file: it was never there, was deleted, or was overwritten in a bucket that keeps no versions",
        name=version_id[:80],
    )


def update_version(version: Version, said: Said, *, actor: Actor, now: int | None) -> Transaction[Version]:
    """`version` with what is said of it replaced, if that is still what `version` tells."""
    ref = version.ref

    def steps(attempt: Attempt) -> Steps[Version]:
        rows = yield BY_ID_ALONE(of_version=version.id, tenant=ref.tenant)
        if not rows:
            raise gone(version.id)
        found = version_of(rows[0], ref.tenant, ref.bucket, current=rows[0][VERSION_WIDTH + 1] == rows[0][1])
        if attempt.again and Said.of(found) == said:
            return found
        if Said.of(found) != Said.of(version):
            raise ConflictError("somebody else changed what is said of it meanwhile", name=str(ref))
        place = (yield BUCKET(tenant=ref.tenant, bucket=ref.bucket, now=now))[0]
        bucket_id, at = place[0], place[3]
        if said.differs(found) not in ([], ["tags"]):
            yield from _check_free(ref, bucket_id, version.id, now)
        yield SAY(
            in_bucket=bucket_id,
            of_key=ref.key,
            of_seq=found.seq,
            of_version=version.id,
            new_type=said.content_type,
            new_metadata=text_of(said.metadata),
            new_tags=text_of(said.tags),
        )
        if found.metadata or found.tags:
            yield TERMS_REMOVE(of_version=version.id)
        if calls := found_by(bucket_id, ref.key, version.id, said.metadata, said.tags):
            yield Batch(calls)
        yield audited(
            at,
            ref.tenant,
            "update",
            actor,
            bucket=ref.bucket,
            key=ref.key,
            version_id=version.id,
            size=version.size,
            detail={"changed": ",".join(said.differs(found))},
        )
        return said.about(found)

    return steps


def _check_free(ref: ObjectRef, bucket_id: int, version_id: str, now: int | None) -> Steps[None]:
    """Return when nothing keeps the version: what is kept stays what it is, but for its tags."""
    (row,) = yield KEPT(in_bucket=bucket_id, of_key=ref.key, of_version=version_id, now=now)
    if why := keeping_of(row).why(row[5]):
        raise KeptError(
            f"{why}; its content type and metadata stay as they are, tags may change", name=str(ref)
        )


def file_facts(tenant: str, version_id: str) -> Transaction[FileFacts]:
    """What is known of a version beside itself."""

    def steps(attempt: Attempt) -> Steps[FileFacts]:
        rows = yield PLACE(of_version=version_id)
        if not rows:
            raise gone(version_id)
        bucket_id, key, pieces, expires, owed = rows[0]
        copies = [row[0] for row in (yield COPIES(of_version=version_id))]
        kept = (yield OF_KEY(in_bucket=bucket_id, of_key=key))[0][0]
        whole = min(copies) if len(copies) >= max(pieces, 1) else 0
        return FileFacts(versions=kept, replicas=whole, expires=expires, owed=owed)

    return steps
