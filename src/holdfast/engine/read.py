"""Reading: the best live copy first, each chunk proved before it is handed on, and on to another copy at the offset.

A copy that is gone or damaged is marked `suspect`; one that cannot be reached is passed over for a while. As long as
one copy can be read, the reader notices nothing. Zero copy: where the store offers an open file, the door may send it
from the kernel; those bytes are not proved on their way (scrubbing does that), and a file that breaks off under the
kernel's hands is told with `file_failed`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from types import TracebackType

from holdfast.core.adopted import is_foreign
from holdfast.core.asleep import AsleepError
from holdfast.core.body import FileSlice, in_chunks
from holdfast.core.conditions import Preconditions
from holdfast.core.errors import CorruptedError, UnavailableError
from holdfast.core.names import is_sealed
from holdfast.core.types import ByteRange, Located, ObjectRef, Replica, Segment, Span, Version
from holdfast.engine.checksums import Proof
from holdfast.engine.context import Context
from holdfast.engine.following import again
from holdfast.engine.hot import Hot
from holdfast.engine.run import Health, Run


@dataclass(slots=True)
class ObjectReader:
    """The bytes of one version, or of a span of it. Read once, inside the `async with` that gave it.

    `modified` False means that the conditions answered "not modified" and there are no bytes. `data` holds all of a
    small span, already proved. `file` is the same span as an open file, for sending without a copy.
    """

    version: Version
    span: Span
    modified: bool = True
    file: FileSlice | None = None
    data: bytes | None = None
    _chunks: AsyncIterator[bytes] | None = None
    _run: Run | None = None

    async def file_failed(self) -> None:
        """Tell that `file` could not be read to its end: its copy is marked `suspect`, so that others are read."""
        if self._run is not None:
            await self._run.condemn()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return in_chunks(self.data or b"") if self._chunks is None else self._chunks

    async def read(self) -> bytes:
        """Return the whole span."""
        return b"".join([chunk async for chunk in self])


#: Finds the version to be read, and refuses whoever may not read it.
Resolve = Callable[[ObjectRef, str | None], Awaitable[Located]]


class Opening(AbstractAsyncContextManager[ObjectReader]):
    """An object that is opened by entering it and closed by leaving it. Made by `Session.get`.

    Raises (on entering):
        NotFoundError, PreconditionFailedError, InvalidRangeError; UnavailableError when no copy can be reached.
    Raises (while reading):
        UnavailableError, CorruptedError: every copy failed.
    """

    __slots__ = (
        *("_conditions", "_context", "_health", "_hot", "_range", "_ref", "_resolve", "_runs"),
        "_version_id",
    )

    def __init__(
        self,
        context: Context,
        health: Health,
        hot: Hot,
        resolve: Resolve,
        ref: ObjectRef,
        version_id: str | None,
        range: ByteRange | None,
        conditions: Preconditions,
    ) -> None:
        self._context, self._health, self._hot, self._ref = context, health, hot, ref
        self._resolve = resolve
        self._version_id, self._range, self._conditions = version_id, range, conditions
        self._runs: list[Run] = []

    async def __aenter__(self) -> ObjectReader:
        located = await self._resolve(self._ref, self._version_id)
        await self._context.stores.refresh()
        reader = await self._open(located)
        if reader is None:
            if self._version_id is None and any(is_foreign(copy.blob) for copy in located.replicas):
                await again(self._context, self._ref, located)
            # All copies are gone. If the object moved on meanwhile, that is no loss: read what it is now.
            newer = await self._resolve(self._ref, self._version_id)
            if {copy.id for copy in newer.replicas} != {copy.id for copy in located.replicas}:
                located, reader = newer, await self._open(newer)
        if reader is None:
            if self._runs and (locked := self._runs[0].locked) is not None:
                raise locked
            if self._runs and (asleep := self._runs[0].sleeping) is not None:
                raise _advised(asleep, located.version)
            trouble = self._runs[0].trouble if self._runs else "there is none"
            raise UnavailableError(f"no copy of {self._ref} can be read now: {trouble}", operation="get")
        if reader.modified:
            self._context.activity.downloaded(self._ref.tenant, self._ref.bucket)
            self._context.reads.of_version(located, self._context.environment.clock.now())
        return reader

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for run in self._runs:
            await run.close()

    async def _open(self, located: Located) -> ObjectReader | None:
        """Return a reader whose first segment is already open, or None when no copy of it can be opened."""
        version = located.version
        if self._conditions and not self._conditions.check_read(version):
            return ObjectReader(version, Span(0, 0), modified=False)
        span = Span(0, version.size) if self._range is None else self._range.resolve(version.size)
        if located.data is not None and _sound(located.segments[0], located.data):
            data = located.data if span.length == version.size else located.data[span.offset : span.end]
            return ObjectReader(version, span, data=data)
        if len(located.segments) == 1 and version.size <= self._context.settings.small_read:
            return await self._small(located, span)
        self._runs = runs = self._cut(located, span)
        if not runs:
            return ObjectReader(version, span, data=b"")
        if await runs[0].open() is None:
            return None
        if len(runs) > 1:
            return ObjectReader(version, span, _chunks=_chain(runs))
        if span.length <= self._context.settings.small_read:
            data = await runs[0].whole()
            await runs[0].close()
            return ObjectReader(version, span, data=data)
        return ObjectReader(version, span, file=runs[0].file, _chunks=runs[0].chunks(), _run=runs[0])

    async def _small(self, located: Located, span: Span) -> ObjectReader | None:
        """Return a reader that holds its bytes already; a small content is read whole, so that it is proved."""
        version, segment = located.version, located.segments[0]
        # what is encrypted is kept nowhere in the clear: it must not outlive its key; what others wrote is asked for
        keep = not any(is_sealed(replica.blob) or is_foreign(replica.blob) for replica in located.replicas)
        data = b"" if not segment.size else self._hot.get(segment.id) if keep else None
        if data is None:
            run = Run(
                self._context, self._health, self._ref, segment, Span(0, segment.size), located.replicas
            )
            self._runs = [run]
            if await run.open() is None:
                return None
            data = await run.whole()
            await run.close()
            if keep:
                self._hot.put(segment.id, data)
        if span.length < version.size:
            data = data[span.offset : span.end]
        return ObjectReader(version, span, data=data)

    def _cut(self, located: Located, span: Span) -> list[Run]:
        """Return a run for each segment that `span` touches."""
        copies = defaultdict[str, list[Replica]](list)
        for replica in located.replicas:
            copies[replica.segment_id].append(replica)
        found, start = [], 0
        for segment in located.segments:
            first, last = max(span.offset, start), min(span.end, start + segment.size)
            if first < last:
                part = Span(first - start, last - first)
                found.append(Run(self._context, self._health, self._ref, segment, part, copies[segment.id]))
            start += segment.size
        return found


def _advised(asleep: AsleepError, version: Version) -> AsleepError:
    """Return the error with what wakes the version: what brings it to where it can be read."""
    where = f"{version.ref.bucket}/{version.ref.key}"
    command = f"recall {where}" if version.tier else f"tier STORE {where}"
    return AsleepError(
        f"{asleep.message}: holdfast {command} (it can be read some hours later)", operation="get"
    )


def _sound(segment: Segment, data: bytes) -> bool:
    """Tell whether `data` is what was written; if it is not, a run finds so too, and condemns the copy."""
    try:
        Proof(segment, 0).update(data)
    except CorruptedError:
        return False
    return len(data) == segment.size


async def _chain(runs: list[Run]) -> AsyncIterator[bytes]:
    for run in runs:
        async for chunk in run.chunks():
            yield chunk
        await run.close()
