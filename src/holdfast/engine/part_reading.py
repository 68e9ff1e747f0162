"""Reading parts of an upload before the upload is complete, and the first bytes of what is to be judged by them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from holdfast.core.types import Located, Part, Segment, Span, Upload
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


async def first_bytes(context: Context, parts: Sequence[tuple[Upload, Part]], length: int) -> bytes:
    """Return the first `length` bytes of what these parts, each of its upload, make in this order; all if it has fewer."""
    head = bytearray()
    for upload, part in parts:
        if len(head) >= length:
            break
        if part.size:
            async for chunk in read_part(context, upload, part, length - len(head)):
                head += chunk
    return bytes(head)


async def head_of(context: Context, located: Located, length: int) -> bytes:
    """Return the first `length` bytes of a version, each proved before, or all if it has fewer."""
    head = bytearray()
    for segment in located.segments:
        span = Span(0, min(segment.size, length - len(head)))
        if not span.length:
            continue
        copies = [copy for copy in located.replicas if copy.segment_id == segment.id]
        run = Run(context, Health(context), located.version.ref, segment, span, copies)
        try:
            async for chunk in run.chunks():
                head += chunk
        finally:
            await run.close()
    return bytes(head)
