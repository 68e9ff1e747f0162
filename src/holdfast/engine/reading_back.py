"""A copy that was just made, read back: a store that answers "stored" may hold something else than was sent."""

from __future__ import annotations

from typing import Final

from holdfast.core.asleep import AsleepError
from holdfast.core.body import CHUNK, Meter
from holdfast.core.errors import CorruptedError
from holdfast.core.fetching import OtherSizeError, fetched
from holdfast.core.types import Replica, Segment
from holdfast.engine import checksums
from holdfast.engine.blame import at_stores
from holdfast.engine.context import Context

_AT_ONCE: Final = 1 << 20  #: bytes that are digested with one hop to another thread


async def read_back(context: Context, segment: Segment, made: Replica, *, sent: bool) -> None:
    """Return when `made` reads as `segment`, every byte of it; memory stays flat, and the lease of a large one is kept.

    What went to sleep in an archive class at once cannot be read: then the store's own check of what was `sent` has to
    do, and the size that it tells. A copy that it made by itself was checked by nobody.

    Raises:
        CorruptedError: the store holds something else, or nobody can tell.
        UnavailableError: the store does not give it back.
    """
    try:
        fits = await _reads_as(context, segment, made)
    except AsleepError:
        with at_stores():
            head = await context.store(made.store).for_blob(made.blob).head(made.blob)
        fits = sent and head.size == segment.size
    if not fits:
        raise CorruptedError(
            "read back, the new copy is not what was sent; it is given up",
            operation="get",
            store=made.store,
            name=made.blob,
        )


async def _reads_as(context: Context, segment: Segment, made: Replica) -> bool:
    """Tell whether `made` has the size and the digests of `segment`."""
    backend = context.store(made.store).for_blob(made.blob)
    hashers = checksums.proving(segment.digests)
    if segment.size <= CHUNK:
        meter = Meter(hashers)
        try:
            with at_stores():
                await meter.update(await fetched(backend, made.blob, segment.size))
        except OtherSizeError:
            return False
        return not meter.digests.mismatch(segment.digests)
    meter = Meter(hashers, context.executor, gather=_AT_ONCE)
    async with context.leased([made]):
        with at_stores():
            async with backend.get(made.blob) as reader:
                async for chunk in reader:
                    await meter.update(chunk)
    digests = await meter.finish()
    return meter.size == segment.size and not digests.mismatch(segment.digests)
