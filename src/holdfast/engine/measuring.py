"""Measuring what each bucket holds in each store: a walk over all copies in small steps, kept in the catalog."""

from __future__ import annotations

from typing import Final

from holdfast.engine.context import Context

_SECOND: Final = 1_000_000


async def measure(context: Context, *, younger: float = 0.0) -> bool:
    """Measure, and return whether that was done: not when the last measurement is at most `younger` seconds old.

    Each step is a short transaction of its own, so nobody waits; what changes meanwhile may be missed or counted twice.
    """
    began = await context.catalog.now()
    if younger > 0:
        last, _ = await context.catalog.store_uses()
        if last is not None and began - last < younger * _SECOND:
            return False
    found: dict[tuple[str, int], tuple[int, int]] = {}
    after: str | None = ""
    while after is not None:
        held, after = await context.catalog.measure_stores(after)
        for store, bucket_id, blobs, size in held:
            before = found.get((store, bucket_id), (0, 0))
            found[store, bucket_id] = (before[0] + blobs, before[1] + size)
    await context.catalog.keep_store_uses(
        [(store, bucket_id, *sums) for (store, bucket_id), sums in found.items()], measured=began
    )
    return True
