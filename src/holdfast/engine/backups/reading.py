"""Segments out of the engine, proved on their way: also those of versions that were removed after the moment."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from holdfast.core.errors import HoldfastError
from holdfast.core.types import ObjectRef, Replica, ReplicaState, Segment, Span
from holdfast.engine.backups import frames
from holdfast.engine.context import Context
from holdfast.engine.run import Health, Run

_SMALL: Final = 1 << 20  #: bytes; smaller segments are read ahead, several at a time
_AHEAD: Final = 16


@dataclass(frozen=True, slots=True)
class Wanted:
    """A segment to be read from `offset` on."""

    ref: ObjectRef
    version_id: str
    position: int
    segment: Segment
    offset: int = 0


class Segments:
    """Reads segments of versions, the same ones whatever happens to the objects meanwhile."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._health = Health(context)

    async def parts(
        self, wanted: Sequence[Wanted]
    ) -> AsyncGenerator[tuple[Wanted, int, bytes | HoldfastError], None]:
        """Yield the bytes of segments in order, in stretches of at most `frames.PAYLOAD`, each with its offset.

        Of a segment that cannot be read (any further) the error is yielded instead, and the next one follows.
        """
        copies = await self._copies(wanted)
        ahead: deque[asyncio.Task[bytes] | None] = deque()
        started = 0
        try:
            for number, one in enumerate(wanted):
                while started < len(wanted) and started < number + _AHEAD:
                    ahead.append(self._begin(wanted[started], copies))
                    started += 1
                task = ahead.popleft()
                try:
                    if task is not None:
                        yield one, one.offset, await task
                        continue
                    async for offset, payload in self._flow(one, copies):
                        yield one, offset, payload
                except HoldfastError as error:
                    yield one, one.offset, error
        finally:
            for task in ahead:
                if task is not None:
                    task.cancel()
            await asyncio.gather(*(task for task in ahead if task is not None), return_exceptions=True)

    def _begin(self, one: Wanted, copies: dict[tuple[str, str], list[Replica]]) -> asyncio.Task[bytes] | None:
        if one.segment.size - one.offset > _SMALL:
            return None
        return asyncio.ensure_future(self._whole(one, copies))

    async def _whole(self, one: Wanted, copies: dict[tuple[str, str], list[Replica]]) -> bytes:
        return b"".join([payload async for _, payload in self._flow(one, copies)])

    async def _copies(self, wanted: Sequence[Wanted]) -> dict[tuple[str, str], list[Replica]]:
        """Return the copies by version and segment; those that were given up are the last to be read."""
        found = defaultdict[tuple[str, str], list[Replica]](list)
        if wanted:
            ids = list(dict.fromkeys(one.version_id for one in wanted))
            for copy in await self._context.catalog.copies_of(ids):
                late = copy.state is ReplicaState.DOOMED
                kept = replace(copy, state=ReplicaState.SUSPECT) if late else copy
                found[copy.version_id, copy.segment_id].append(kept)
        return found

    async def _flow(
        self, one: Wanted, copies: dict[tuple[str, str], list[Replica]]
    ) -> AsyncIterator[tuple[int, bytes]]:
        """Yield the rest of a segment in stretches that are as long as they may be."""
        segment = one.segment
        if one.offset >= segment.size:
            return
        span = Span(one.offset, segment.size - one.offset)
        run = Run(self._context, self._health, one.ref, segment, span, copies[one.version_id, segment.id])
        offset, held, size = one.offset, list[bytes](), 0
        try:
            async for chunk in run.chunks():
                held.append(chunk)
                size += len(chunk)
                while size >= frames.PAYLOAD:
                    joined = b"".join(held)
                    yield offset, joined[: frames.PAYLOAD]
                    held, size = [joined[frames.PAYLOAD :]], size - frames.PAYLOAD
                    offset += frames.PAYLOAD
            if size:
                yield offset, b"".join(held)
        finally:
            await run.close()
