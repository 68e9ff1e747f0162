"""What is done to each object of a request over many: the same whether it is answered at once or done by a job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from holdfast.core.conditions import NO_CONDITIONS, Preconditions
from holdfast.core.errors import (
    ConflictError,
    NotFoundError,
    PermissionDeniedError,
    PreconditionFailedError,
)
from holdfast.engine.batches import Act, Item, Result
from holdfast.engine.describing import Change
from holdfast.engine.session import Session


class Deed(StrEnum):
    """What can be done to many objects."""

    DELETE = "delete"
    TAG = "tag"
    COPY = "copy"


#: The permission that each needs.
VERBS: Final[Mapping[str, str]] = {"delete": "delete", "tag": "update", "copy": "get", "download": "get"}


@dataclass(frozen=True, slots=True)
class Doing:
    """A deed, and for `tag` what is set; with `merge` what is not named stays."""

    deed: Deed
    metadata: Mapping[str, str | None] | None = None
    tags: Mapping[str, str | None] | None = None
    merge: bool = True


async def located(session: Session, item: Item, verb: str) -> Item:
    """Return `item` with its bucket and key, which an id alone does not tell."""
    if item.key or item.version_id is None:
        return item
    version = await session.file(item.version_id, verb)
    return Item(version.ref.bucket, version.ref.key, item.version_id, item.target)


def act_of(session: Session, doing: Doing, *, since: int | None = None) -> Act:
    """Return what does one item as `session` may.

    Args:
        since: when it all began, microseconds, for what may be done long after: what somebody wrote since then is
            neither removed nor replaced, which is looked at in the transaction that would.
    """
    unless = NO_CONDITIONS if since is None else Preconditions(if_made_by=since)

    async def delete(item: Item) -> Result:
        item = await located(session, item, "delete")
        conditions = unless if item.version_id is None else NO_CONDITIONS
        try:
            deleted = await session.delete(
                item.bucket, item.key, version_id=item.version_id, conditions=conditions
            )
        except PreconditionFailedError:
            raise _written("delete it again") from None
        return Result(item, deleted.version_id)

    async def tag(item: Item) -> Result:
        change = Change(None, doing.metadata, doing.tags, merge=doing.merge)
        item = await located(session, item, "update")
        version = await session.update(item.bucket, item.key, change, version_id=item.version_id)
        return Result(item, version.id, version.size)

    async def copy(item: Item) -> Result:
        source = await located(session, item, "get")
        target = target_of(source, item)
        try:
            version = await session.copy(
                (source.bucket, source.key),
                target,
                source_version_id=source.version_id,
                conditions=unless,
            )
        except PreconditionFailedError:
            if since is not None and (made := await _copied(session, source, target, since)) is not None:
                return made
            raise _written("copy over it again") from None
        return Result(Item(*target, None), version.id, version.size)

    return {Deed.DELETE: delete, Deed.TAG: tag, Deed.COPY: copy}[doing.deed]


def act_again(session: Session, doing: Doing, *, since: int) -> Act:
    """Return what does one item that may have been done already by a process that died: what was done is left alone."""
    act = act_of(session, doing, since=since)

    async def delete(item: Item) -> Result:
        item = await located(session, item, "delete")
        if item.version_id is None:
            try:
                await session.head(item.bucket, item.key)
            except NotFoundError:
                return Result(item)  # no second delete marker
            except PermissionDeniedError:
                pass  # what may not be looked at cannot be told from what was done
        return await act(item)

    async def copy(item: Item) -> Result:
        source = await located(session, item, "get")
        made = await _copied(session, source, target_of(source, item), since)
        return await act(item) if made is None else made

    return {Deed.DELETE: delete, Deed.TAG: act, Deed.COPY: copy}[doing.deed]


async def _copied(session: Session, source: Item, target: tuple[str, str], since: int) -> Result | None:
    """Return what there is when it was written since then and is what a copy of `source` would be."""
    version, _ = await session.head(source.bucket, source.key, version_id=source.version_id)
    try:
        made, _ = await session.head(*target)
    except (NotFoundError, PermissionDeniedError):
        return None
    if made.created > since and (made.size, made.etag) == (version.size, version.etag):
        return Result(Item(*target, None), made.id, made.size)
    return None


def _written(then: str) -> ConflictError:
    return ConflictError(f"it was written after the batch began: it was left; {then}")


def target_of(source: Item, item: Item) -> tuple[str, str]:
    """Return bucket and key of the copy of `source`; that of an id is known as far as its prefix."""
    assert source.target is not None
    bucket, key = source.target
    return bucket or source.bucket, key if item.key else f"{key}{source.key}"
