"""The one place that deletes bytes.

Everyone else dooms rows. A sweep dooms what was left pending past its lease, then deletes the bytes of doomed copies
whose grace is over, then their rows (those of contents in the catalog with them). Where several rows know a blob, all but
the last go without its bytes. Dying in between means deleting again, which succeeds; names are never reused, so
deleting twice or by two sweepers at once can hit nothing else.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from holdfast.catalog.contract import DoomedReplica
from holdfast.core.adopted import is_kept
from holdfast.core.errors import HoldfastError
from holdfast.core.failpoints import failpoint
from holdfast.core.names import INLINE
from holdfast.engine.context import Context

_BATCH = 500
_AT_ONCE = 16
_POSTPONE = 600 * 1_000_000


@dataclass(slots=True)
class SweepReport:
    """What a sweep did: rows that expired, blobs deleted, and per store those that could not be deleted now.

    `released` counts rows that went while another one keeps their blob.
    """

    expired: int = 0
    deleted: int = 0
    released: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    reasons: dict[str, str] = field(default_factory=dict)


async def sweep(context: Context, *, limit: int | None = None, dry_run: bool = False) -> SweepReport:
    """Delete bytes whose time is over, at most `limit` blobs; with `dry_run` only count them (first page)."""
    report = SweepReport()
    if dry_run:
        found = await context.catalog.doomed(limit=min(limit or 1000, 1000))
        report.released = sum(1 for doomed in found if doomed.shared)
        report.deleted = len(found) - report.released
        return report
    await context.stores.refresh()
    while count := await context.catalog.expire(limit=_BATCH):
        report.expired += count
        if count < _BATCH:
            break
    while limit is None or report.deleted < limit:
        batch = await context.catalog.doomed(
            limit=_BATCH if limit is None else min(_BATCH, limit - report.deleted)
        )
        if not batch:
            break
        failpoint("sweep.after_claim")
        await _delete(context, batch, report)
    return report


async def _delete(context: Context, batch: Sequence[DoomedReplica], report: SweepReport) -> None:
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(doomed: DoomedReplica) -> HoldfastError | None:
        if doomed.shared or doomed.store == INLINE or is_kept(doomed.blob):
            # another row needs its bytes, or they go with the row, or are somebody else's
            return None
        async with gate:
            try:
                backend = context.store(doomed.store).for_blob(doomed.blob)
                await (backend.delete if doomed.committed else backend.discard)(doomed.blob)
            except HoldfastError as error:
                return error
        failpoint("sweep.after_delete")
        return None

    errors = await asyncio.gather(*(one(doomed) for doomed in batch))
    gone, left = [], []
    for doomed, error in zip(batch, errors, strict=True):
        if error is None:
            gone.append(doomed.id)
        else:
            left.append(doomed.id)
            report.failed[doomed.store] += 1
            report.reasons[doomed.store] = error.message
    if gone:
        await context.catalog.forget(gone)
        failpoint("sweep.after_forget")
        released = sum(1 for doomed in batch if doomed.shared)
        report.released += released
        report.deleted += len(gone) - released
    if left:
        await context.catalog.postpone(left, until=await context.catalog.now() + _POSTPONE)
