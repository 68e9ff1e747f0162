"""Small contents: bytes that lie in the catalog, beside the replicas that speak of them.

To the engine the catalog is a store like others; `put`, `get`, `info`, `delete` and `names` are its verbs. Two things
are done here and nowhere else: `commit` writes version, replica and bytes in one transaction, and `data_of` lets the
read of a version bring its bytes along. What a sweep forgets goes with its bytes (`FORGOTTEN`), in one transaction too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import case, func, select

from holdfast.catalog.common import read_head
from holdfast.catalog.contract import Actor, Idempotency, NewVersion
from holdfast.catalog.folding import BEYOND, successor
from holdfast.catalog.rows import made_of
from holdfast.catalog.schema import contents, replicas
from holdfast.catalog.sharing import IS_SHARED
from holdfast.catalog.statements import (
    Batch,
    Call,
    Statement,
    constant,
    insert_into,
    int_param,
    one_of,
    text_param,
    upsert_into,
)
from holdfast.catalog.transaction import Attempt, Steps, Transaction
from holdfast.catalog.writing import NotPendingError, answer_of, answered, become_current, charge_put
from holdfast.core.conditions import Preconditions
from holdfast.core.errors import AlreadyExistsError, NotFoundError, UnavailableError
from holdfast.core.names import INLINE
from holdfast.core.types import Replica, Version

#: With a shorter grace, microseconds, a replaced version may be forgotten while its commit is still asked for again.
_MEMORY: Final = 120_000_000

_COLUMNS: Final = ("blob", "data", "created")
CONTENT_PUT = upsert_into(contents, *_COLUMNS, unique=("blob",))
CONTENT_ADD = insert_into(contents, *_COLUMNS)
CONTENT_ADD_NEW = insert_into(contents, *_COLUMNS, unless_there=True)
_OF_BLOB = contents.c.blob == text_param("of_blob")
CONTENT = Statement(select(contents.c.data, contents.c.created).where(_OF_BLOB))
_SIZE = func.length(contents.c.data)
CONTENT_INFO = Statement(select(_SIZE, contents.c.created).where(_OF_BLOB))
CONTENT_DELETE = Statement(contents.delete().where(_OF_BLOB))
CONTENTS_PAGE = Statement(
    select(contents.c.blob, _SIZE, contents.c.created)
    .where(
        contents.c.blob >= text_param("lower"),
        contents.c.blob < text_param("upper"),
        contents.c.blob > text_param("after"),
    )
    .order_by(contents.c.blob)
    .limit(int_param("rows"))
)
#: The bytes of doomed replicas that are about to be forgotten, unless other rows know them.
FORGOTTEN = Statement(
    contents.delete().where(
        contents.c.blob.in_(
            select(replicas.c.blob).where(
                one_of(replicas.c.id, "ids"),
                replicas.c.state == constant("doomed"),
                replicas.c.store == constant(INLINE),
                ~IS_SHARED,
            )
        )
    )
)

_LIVE: Final = (
    "version_id",
    "id",
    "segment_id",
    "store",
    "blob",
    "size",
    "state",
    "copy_number",
    "committed",
)
REPLICA_LIVE = insert_into(replicas, *_LIVE)

_held = contents.alias("held")
#: In a statement that reads `replicas`: the bytes of the replica, if it lives here.
DATA_OF: Any = case(
    (
        (replicas.c.store == constant(INLINE)) & (replicas.c.state == constant("live")),
        select(_held.c.data).where(_held.c.blob == replicas.c.blob).correlate(replicas).scalar_subquery(),
    )
)


class Content(NamedTuple):
    """A content that lies here, or what is known of it: then `data` is empty."""

    blob: str
    size: int
    created: int
    data: bytes = b""


def commit(
    version: NewVersion,
    replica: Replica,
    data: bytes,
    *,
    conditions: Preconditions,
    request: Idempotency | None,
    grace: int,
    actor: Actor,
    now: int | None,
) -> Transaction[Version]:
    """A put of one transaction: `version`, its only copy and its bytes; nothing was begun for it before.

    Raises `ClashError` when it may have been made before (see `writing.made_before`).
    """

    def steps(attempt: Attempt) -> Steps[Version]:
        head = yield from read_head(version.ref, now)
        if request is not None:
            earlier = yield from answer_of(version.ref.tenant, request, now)
            if earlier is not None:
                return earlier
        if head.version_id == version.id:
            raise NotPendingError("the version is there already", name=str(version.ref))
        if attempt.again and grace < _MEMORY:
            raise UnavailableError("the catalog was lost while committing; the outcome is not known")
        conditions.check_write(head.current)
        made = made_of(version, seq=(head.seq or 0) + 1, created=head.now)
        kept = [
            Call(REPLICA_LIVE, _live(replica, head.now)),
            CONTENT_ADD(blob=replica.blob, data=data, created=head.now),
        ]
        yield Batch([*kept, *become_current(head, version, made, grace=grace, actor=actor, action="put")])
        if request is not None:
            yield answered(version.ref.tenant, request, made)
        yield from charge_put(head, version, release=())
        return made

    return steps


def _live(replica: Replica, at: int) -> dict[str, Any]:
    return {
        "version_id": replica.version_id,
        "id": replica.id,
        "segment_id": replica.segment_id,
        "store": INLINE,
        "blob": replica.blob,
        "size": replica.size,
        "state": "live",
        "copy_number": replica.copy_number,
        "committed": at,
    }


def put(blob: str, data: bytes, *, if_absent: bool, created: int) -> Transaction[None]:
    """Bytes under a name, in place of others unless `if_absent`; then `AlreadyExistsError` when there are any."""

    def steps(attempt: Attempt) -> Steps[None]:
        if not if_absent:
            yield CONTENT_PUT(blob=blob, data=data, created=created)
            return
        before = yield CONTENT(of_blob=blob)
        if not before:
            yield CONTENT_ADD_NEW(blob=blob, data=data, created=created)
        elif not (attempt.again and (bytes(before[0][0]), before[0][1]) == (data, created)):
            raise AlreadyExistsError("a blob with that name is there", name=blob)

    return steps


def get(blob: str) -> Transaction[Content]:
    """All bytes of a name."""

    def steps(attempt: Attempt) -> Steps[Content]:
        rows = yield CONTENT(of_blob=blob)
        if not rows:
            raise no_blob(blob)
        data = bytes(rows[0][0])
        return Content(blob, len(data), rows[0][1], data)

    return steps


def info(blob: str) -> Transaction[Content]:
    """What is known of a name."""

    def steps(attempt: Attempt) -> Steps[Content]:
        rows = yield CONTENT_INFO(of_blob=blob)
        if not rows:
            raise no_blob(blob)
        return Content(blob, rows[0][0], rows[0][1])

    return steps


def delete(blob: str) -> Transaction[None]:
    """A name removed, if it is there."""

    def steps(attempt: Attempt) -> Steps[None]:
        yield CONTENT_DELETE(of_blob=blob)

    return steps


def names(prefix: str, after: str, limit: int) -> Transaction[Sequence[Content]]:
    """A page of names in byte order."""

    def steps(attempt: Attempt) -> Steps[Sequence[Content]]:
        upper = successor(prefix) if prefix else BEYOND
        rows = yield CONTENTS_PAGE(lower=prefix, upper=upper, after=after, rows=limit)
        return [Content(*row) for row in rows]

    return steps


def no_blob(blob: str) -> NotFoundError:
    """Return the error for a name that is not there."""
    return NotFoundError("there is no such blob", name=blob)
