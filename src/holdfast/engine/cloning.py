"""One version made again somewhere else of its tenant, over the same blobs: rows are written, no bytes move.

The clone is charged in full, and goes its own way from then on: it is removed, moved and healed by itself. Where the
rules want it elsewhere, it owes that, and `reconcile` makes copies of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from holdfast.catalog.contract import Actor, NewVersion, Owed
from holdfast.core.errors import ConflictError, InvalidRequestError
from holdfast.core.names import is_sealed
from holdfast.core.types import Located, ObjectRef, Replica, ReplicaState, Version
from holdfast.engine import rules
from holdfast.engine.context import Context
from holdfast.engine.facts import asking
from holdfast.engine.replicas import sealed_in
from holdfast.engine.write import check_kept
from holdfast.policy.placement import Plan

CLONED: Final = "cloned"  #: why a version owes: its blobs lie where those of another one belong
_TRIES: Final = 3


async def clone(
    context: Context, source: Version, target: ObjectRef, *, over: str | None = None, actor: Actor
) -> Version:
    """Return the new current version of `target`, which has the content of `source` and what is said of it.

    `over` is the version that must be current ("" for none); None: whatever is.

    Raises:
        NotFoundError: the source or the target's bucket is gone.
        ConflictError: something else is current than `over`.
        InvalidRequestError, TooLargeError, QuotaExceededError: the bucket does not take it.
    """
    if source.ref.tenant != target.tenant:
        raise InvalidRequestError("blobs are shared within one tenant only; copy instead")
    for left in reversed(range(_TRIES)):
        located = await context.catalog.resolve(source.ref, version_id=source.id)
        new_id = context.environment.new_id()
        made = await _made(context, located, target, new_id)
        ids = {copy.id: context.environment.new_id() for copy in located.replicas}
        try:
            return await context.catalog.clone(
                made, located.version, ids, over=over, grace=context.grace, actor=actor
            )
        except ConflictError:  # perhaps its copies were replaced by others meanwhile
            if not left:
                raise
    raise AssertionError("unreachable")


async def _made(context: Context, located: Located, target: ObjectRef, new_id: str) -> NewVersion:
    version = located.version
    bucket = await context.rules.bucket(target.tenant, target.bucket)
    if target.bucket != version.ref.bucket:
        rules.check_type(bucket, target.key, version.content_type)
        rules.check_size(bucket, version.size, context.settings.max_object_size)
        await check_kept(context, bucket, located, target.key, version.content_type)
    asked = await asking(context, bucket)
    plan = asked.of_version(replace(version, ref=target, tier=""), parts=len(located.segments))
    rules.check_encryption(bucket, context.stores, plan.stores, encrypt=plan.encrypt)
    one = len(located.segments) == 1 and located.segments[0].id == version.id
    segments = (replace(located.segments[0], id=new_id),) if one else tuple(located.segments)
    home = _is_home(located, plan, sealed_in(context, plan))
    return NewVersion(
        id=new_id,
        ref=target,
        size=version.size,
        etag=version.etag,
        segments=segments,
        content_type=version.content_type,
        metadata=version.metadata,
        tags=version.tags,
        digests=version.digests,
        checksum_type=version.checksum_type,
        parts=version.parts,
        storage_class=version.storage_class,
        owed=None if home else Owed(plan.rule, CLONED),
    )


def _is_home(located: Located, plan: Plan, sealed: Sequence[str]) -> bool:
    """Whether the copies are those that `plan` wants, and no others."""
    if any(copy.store not in plan.stores or not _sound(copy, sealed) for copy in located.replicas):
        return False
    there = {(copy.segment_id, copy.store) for copy in located.replicas}
    return all((segment.id, store) in there for segment in located.segments for store in plan.stores)


def _sound(copy: Replica, sealed: Sequence[str]) -> bool:
    return copy.state is ReplicaState.LIVE and (copy.store not in sealed or is_sealed(copy.blob))
