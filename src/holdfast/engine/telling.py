"""Blobs told anew what they are: a version is put together from pieces that could not know of each other when they were sent."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from holdfast.catalog.contract import NewVersion
from holdfast.core.backend import Describer
from holdfast.core.errors import HoldfastError
from holdfast.core.types import More, Origin, Part, Segment, Upload
from holdfast.engine.context import Context

_AT_ONCE: Final = 8


async def tell_whole(
    context: Context, version: NewVersion, owned: Sequence[tuple[Upload, Part]], *, each: bool = False
) -> None:
    """Have the first piece of `version` say how many there are, so that a catalog can be rebuilt with it whole.

    With `each` every piece is told anew: they were sent as pieces of something else. A store that does not take it is
    passed over: what the pieces say then is not enough to tell whether they are all.
    """
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(number: int, upload: Upload, segment: Segment) -> None:
        async with gate:
            with suppress(HoldfastError):
                await _tell(context, version, number, upload, segment)

    pieces = list(zip(owned, version.segments, strict=True))[: None if each else 1]
    await asyncio.gather(
        *(one(number, upload, segment) for number, ((upload, _), segment) in enumerate(pieces, 1))
    )


async def _tell(context: Context, version: NewVersion, number: int, upload: Upload, segment: Segment) -> None:
    digests = segment.digests
    more = More(
        version.content_type,
        version.metadata,
        version.tags,
        version.storage_class,
        version.etag,
        "" if digests.crc64nvme is None else digests.crc64nvme.hex(),
        len(version.segments),
    )
    ref = version.ref
    origin = Origin(
        ref.tenant,
        ref.bucket,
        ref.key,
        version.id,
        segment.id,
        number,
        context.environment.clock.now(),
        None if digests.sha256 is None else digests.sha256.hex(),
        more,
    )
    for copy in await context.catalog.part_copies(upload, segment.id):
        face = context.store(copy.store).for_blob(copy.blob)
        if isinstance(face, Describer):
            await face.describe(copy.blob, origin)
