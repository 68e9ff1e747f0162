"""Versions whose time is over, removed: by the transaction that removes any version, which looks once more.

Nothing has a date unless its bucket has a retention. The version goes for good, an older one does not come back (it is
due first), and its bytes are left to `sweep`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from holdfast.catalog.contract import Actor, Due
from holdfast.core.failpoints import failpoint
from holdfast.core.types import ObjectRef
from holdfast.engine.context import Context

ACTOR: Final = Actor("retention")  #: who it was, in the audit
_PAGE: Final = 500
_AT_ONCE: Final = 16


async def expire(context: Context) -> int:
    """Remove every version that is due now and return how many there were."""
    count, after = 0, (-1, "")
    while page := await context.catalog.due(after=after, limit=_PAGE):
        count += await _remove(context, page)
        failpoint("expire.after_page")
        after = (page[-1].expires, page[-1].version_id)
    return count


async def _remove(context: Context, page: Sequence[Due]) -> int:
    """Remove a page: keys beside each other, the versions of one key oldest first."""
    gate = asyncio.Semaphore(_AT_ONCE)
    by_key: dict[ObjectRef, list[str]] = {}
    for due in page:
        by_key.setdefault(due.ref, []).append(due.version_id)

    async def work(ref: ObjectRef, ids: Sequence[str]) -> int:
        async with gate:
            return sum([await _one(context, ref, version_id) for version_id in ids])

    return sum(await asyncio.gather(*(work(ref, ids) for ref, ids in by_key.items())))


async def _one(context: Context, ref: ObjectRef, version_id: str) -> int:
    deleted = await context.catalog.delete_object(
        ref,
        version_id=version_id,
        marker_id=context.environment.new_id(),
        grace=context.grace,
        actor=ACTOR,
        if_due=True,
    )
    return 1 if deleted.version_id is not None else 0
