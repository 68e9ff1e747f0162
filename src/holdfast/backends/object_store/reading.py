"""Blobs on their way out: exactly the bytes that were promised, or an error."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Protocol

from holdfast.backends.object_store.driver import Found
from holdfast.backends.object_store.errors import Where
from holdfast.backends.object_store.ranges import Ranges, short
from holdfast.core.body import CHUNK, Reader
from holdfast.core.errors import HoldfastError, InvalidRangeError, UnavailableError, UnsupportedError
from holdfast.core.types import BlobInfo, ByteRange, Span

_AT_ONCE = 256 << 10  #: spans up to this size are read with one call instead of a stream


class Source(Protocol):
    """What reads by key: the drivers of this room."""

    async def get(self, where: Where, key: str, wish: Any = None) -> Found: ...

    async def head(self, where: Where, key: str) -> BlobInfo: ...

    def translate(self, error: BaseException, where: Where) -> HoldfastError:
        """Return our error for one of the object-store library's."""
        ...


class Opening:
    """The context manager that `get` returns. Written out, since it is on the way of every read.

    Without `ranges` the server is known to answer ranges as it should.
    """

    __slots__ = ("_driver", "_key", "_range", "_ranges", "_reader", "_stack", "_where")

    def __init__(
        self, driver: Source, ranges: Ranges | None, where: Where, key: str, range: ByteRange | None
    ) -> None:
        self._driver = driver
        self._ranges = ranges
        self._stack: AsyncExitStack | None = None
        self._where = where
        self._key = key
        self._range = range
        self._reader: Reader | None = None

    async def __aenter__(self) -> Reader:
        if self._range is None:
            found = await self._driver.get(self._where, self._key)
        elif self._ranges is not None and self._ranges.loose:
            return await self._loosely(self._ranges, self._range)
        else:
            try:
                found = await self._part(self._range)
            except UnsupportedError:
                if self._ranges is None:
                    raise
                return await self._loosely(self._ranges, self._range)
        start, end = found.span
        span, length = Span(start, end - start), end - start
        if length <= _AT_ONCE:
            data = await _at_once(found.result, length, self._where, self._driver)
            self._reader = Reader.of_bytes(found.info, span, data)
        else:
            chunks = _chunks(found.result, length, self._where, self._driver)
            self._reader = Reader(found.info, span, chunks)
        return self._reader

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._reader is not None:
            await self._reader.chunks.aclose()  # type: ignore[attr-defined]  # ours is a generator
        if self._stack is not None:
            await self._stack.aclose()

    async def _part(self, range: ByteRange) -> Found:
        try:
            found = await self._driver.get(self._where, self._key, _wish(range, self._where))
        except (InvalidRangeError, UnavailableError):
            if range.start is not None:
                raise
            # Servers disagree about a suffix longer than the blob, and about any suffix of an empty one.
            info = await self._driver.head(self._where, self._key)
            span = range.resolve(info.size)
            found = await self._driver.get(self._where, self._key, (span.offset, span.end))
        self._check(range, Span(found.span[0], found.span[1] - found.span[0]), found.info.size)
        return found

    async def _loosely(self, ranges: Ranges, range: ByteRange) -> Reader:
        """Read with a request of our own from a server that sends the part but calls it the whole (200, not 206)."""
        _wish(range, self._where)
        info = await self._driver.head(self._where, self._key)
        span = range.resolve(info.size)
        self._stack = AsyncExitStack()
        chunks = await self._stack.enter_async_context(ranges.read(self._where, self._key, span, info))
        self._reader = Reader(info, span, chunks)
        return self._reader

    def _check(self, range: ByteRange, span: Span, size: int) -> None:
        """Raise when the server sent another part than was asked for."""
        if span != range.resolve(size):
            raise short("the store sent another range than it was asked for", self._where)


def _wish(range: ByteRange, where: Where) -> Any:
    """Return the range in the library's terms; what can be refused without asking is refused here."""
    if range.start is None:
        if not range.end or range.end < 0:
            raise _invalid(f"no last {range.end or 0} bytes", where)
        return {"suffix": range.end}
    if range.start < 0 or (range.end is not None and range.end < range.start):
        raise _invalid(f"range {range.start}-{'' if range.end is None else range.end} runs backwards", where)
    return {"offset": range.start} if range.end is None else (range.start, range.end + 1)


async def _at_once(result: Any, length: int, where: Where, source: Source) -> bytes:
    if not length:
        return b""
    try:
        data: bytes = (await result.bytes_async()).to_bytes()
    except Exception as error:
        raise source.translate(error, where) from error
    if len(data) != length:
        raise short(f"the store sent {len(data)} of {length} bytes", where)
    return data


async def _chunks(result: Any, length: int, where: Where, source: Source) -> AsyncIterator[bytes]:
    seen = 0
    try:
        async for chunk in result.stream(min_chunk_size=CHUNK):
            seen += len(chunk)
            if seen > length:
                break
            yield chunk
    except Exception as error:
        raise source.translate(error, where) from error
    if seen != length:
        raise short(f"the store sent {seen} of {length} bytes", where)


def _invalid(text: str, where: Where) -> InvalidRangeError:
    return InvalidRangeError(text, operation=where.operation, store=where.store, name=where.name)
