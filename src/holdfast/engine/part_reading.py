"""Reading a part of an upload before the upload is complete."""

from __future__ import annotations

from collections.abc import AsyncIterator

from holdfast.core.types import Part, Segment, Span, Upload
from holdfast.engine.context import Context
from holdfast.engine.run import Health, Run


async def read_part(
    context: Context, upload: Upload, part: Part, length: int | None = None
) -> AsyncIterator[bytes]:
    """Yield the bytes of an acknowledged part, the first `length` of them, each proved before."""
    segment = Segment(part.segment_id, part.size, part.digests, part.chunk_size, part.chunk_crcs)
    copies = await context.catalog.part_copies(upload, part.segment_id)
    span = Span(0, part.size if length is None else min(length, part.size))
    if not span.length:
        return
    run = Run(context, Health(context), upload.ref, segment, span, copies)
    try:
        async for chunk in run.chunks():
            yield chunk
    finally:
        await run.close()


async def first_bytes(context: Context, upload: Upload, part: Part, length: int) -> bytes:
    """Return the first `length` bytes of an acknowledged part, or all if it has fewer."""
    return b"".join([chunk async for chunk in read_part(context, upload, part, length)])
