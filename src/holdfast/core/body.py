"""Bytes on their way: `Body` goes into a store, `Reader` comes out of one. Both flow in bounded chunks.

A body is made from bytes, from a file, or from a stream that can be read once. While it flows it can be metered
(size, digests, chunk checksums) and checked against what was announced; a body that turns out wrong raises at its end,
*inside* the put that consumes it, so that nothing becomes visible.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from holdfast.core.blobs import NO_DIGESTS, BlobInfo, Digests, Span
from holdfast.core.errors import DigestMismatchError, InvalidRequestError

CHUNK = 256 << 10  #: the size that bodies are gathered to before they are handed on
_SMALL = 16 << 10  #: up to this size, bytes are digested in slices…
_SLICE = 2047  #: …for which hashlib keeps the interpreter's lock; giving it away costs more than the digest
_KEPT = frozenset({"sha256", "md5", "crc64nvme"})
_INLINE = 64 << 10  #: chunks up to this size are digested without a thread hop


class Hasher(Protocol):
    """The part of hashlib's interface that is needed here."""

    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...


class Meter:
    """Counts and digests what flows by; the bytes of large chunks are digested beside the flow, in `executor`.

    `factories` makes one hasher per algorithm, named as the fields of `Digests`, others as its extras. A meter starts anew with every pass,
    so a replayed body is counted once. With `gather` so many bytes are handed to `executor` together, which spares hops.
    """

    def __init__(
        self,
        factories: dict[str, Callable[[], Hasher]],
        executor: Executor | None = None,
        *,
        gather: int = 0,
    ) -> None:
        self._factories = factories
        self._executor = executor
        self._gather = gather
        self.begin()

    def begin(self) -> None:
        """Forget the last pass."""
        self.size = 0
        self._held: list[bytes] = []
        self._holding = 0
        self._pending: asyncio.Future[None] | None = None
        self._hashers = {name: make() for name, make in self._factories.items()}

    async def update(self, chunk: bytes) -> None:
        """Take the next chunk; returns when those *before* it are digested, or held to be digested together."""
        self.size += len(chunk)
        if self._executor is None:
            _digest(self._hashers, [chunk])
            return
        self._held.append(chunk)
        self._holding += len(chunk)
        if self._holding >= self._gather:
            await self._hand_over(self._executor)

    async def finish(self) -> Digests:
        """Return the digests of all that flowed by."""
        if self._held and self._executor is not None:
            await self._hand_over(self._executor)
        if self._pending is not None:
            pending, self._pending = self._pending, None
            await pending
        return self.digests

    async def _hand_over(self, executor: Executor) -> None:
        """Have what is held digested, once what was handed over before it is."""
        held, size, self._held, self._holding = self._held, self._holding, [], 0
        if self._pending is not None:
            pending, self._pending = self._pending, None
            await pending
        if size <= _INLINE:
            _digest(self._hashers, held)
        else:
            loop = asyncio.get_running_loop()
            self._pending = loop.run_in_executor(executor, _digest, self._hashers, held)

    @property
    def digests(self) -> Digests:
        """The digests so far; complete after `finish`."""
        known = {name: hasher.digest() for name, hasher in self._hashers.items()}
        extras = tuple((name, digest) for name, digest in known.items() if name not in _KEPT)
        return Digests(known.get("sha256"), known.get("md5"), known.get("crc64nvme"), extras)

    def hasher(self, name: str) -> Hasher | None:
        """Return the hasher of that name, to read what else it gathered."""
        return self._hashers.get(name)


def _digest(hashers: Mapping[str, Hasher], chunks: Sequence[bytes]) -> None:
    for chunk in chunks:
        for hasher in hashers.values():
            if len(chunk) > _SMALL:
                hasher.update(chunk)
            else:
                for start in range(0, len(chunk), _SLICE):
                    hasher.update(chunk[start : start + _SLICE])


Opener = Callable[[], AsyncIterator[bytes]]


@dataclass(frozen=True, slots=True)
class Body:
    """Bytes to be stored. `size` is None when unknown; `replayable` tells whether `chunks()` may be called again.

    Make one with `of_bytes`, `of_file` or `of_stream`; the constructor is for code that wraps another body.
    """

    opener: Opener
    size: int | None
    replayable: bool
    data: bytes | None = None  #: all of it, when it is in memory anyway
    known: Digests = (
        NO_DIGESTS  #: of all of it, known before it flows: a store may be told, to check what it gets
    )

    @classmethod
    def of_bytes(cls, data: bytes) -> Body:
        """Return a replayable body of `data`."""
        return cls(partial(in_chunks, data), len(data), True, data)

    @classmethod
    def of_file(cls, path: Path | str, *, executor: Executor | None = None) -> Body:
        """Return a replayable body of the file at `path`, read in 1 MiB steps off the loop."""
        where = Path(path)
        size = where.stat().st_size

        async def chunks() -> AsyncIterator[bytes]:
            loop = asyncio.get_running_loop()
            file = await loop.run_in_executor(executor, where.open, "rb", 0)
            try:
                while chunk := await loop.run_in_executor(executor, file.read, CHUNK):
                    yield chunk
            finally:
                file.close()

        return cls(chunks, size, True)

    @classmethod
    def of_stream(cls, stream: AsyncIterable[bytes] | Iterable[bytes], *, size: int | None = None) -> Body:
        """Return a body that can be read once. A given `size` is a promise that is checked while it flows."""
        taken = False

        async def chunks() -> AsyncIterator[bytes]:
            nonlocal taken
            if taken:
                raise InvalidRequestError("a one-shot body was read twice")
            taken = True
            if isinstance(stream, AsyncIterable):
                async for chunk in stream:
                    if chunk:
                        yield chunk
            else:
                for chunk in stream:
                    if chunk:
                        yield chunk

        body = cls(chunks, size, False)
        return body if size is None else body.expecting(size=size)

    def chunks(self) -> AsyncIterator[bytes]:
        """Return the bytes, in order, in chunks of at least one byte."""
        return self.opener()

    async def read(self, limit: int | None = None) -> bytes:
        """Return all bytes; more than `limit` raises `InvalidRequestError` instead of filling memory."""
        if self.data is not None:
            return self.data
        parts, size = [], 0
        async for chunk in self.chunks():
            size += len(chunk)
            if limit is not None and size > limit:
                raise InvalidRequestError(f"the body has more than {limit} bytes")
            parts.append(chunk)
        return b"".join(parts)

    async def peek(self, count: int) -> tuple[bytes, Body]:
        """Return up to `count` first bytes, and a body that still holds everything.

        Fewer than `count` bytes mean that this is the whole body; it is then replayable and its size known.
        """
        if self.data is not None:
            return self.data[:count], self
        source = self.chunks()
        head: list[bytes] = []
        held = 0
        async for chunk in source:
            head.append(chunk)
            held += len(chunk)
            if held >= count:
                break
        else:
            data = b"".join(head)
            return data, Body.of_bytes(data)
        start = b"".join(head)
        if self.replayable:
            await _close(source)
            return start[:count], self

        taken = False

        async def rest() -> AsyncIterator[bytes]:
            nonlocal taken
            if taken:
                raise InvalidRequestError("a one-shot body was read twice")
            taken = True
            yield start
            async for chunk in source:
                yield chunk

        return start[:count], replace(self, opener=rest)

    def gathered(self, least: int = CHUNK) -> Body:
        """Return the same bytes in chunks of at least `least` bytes, but for the last."""
        if self.data is not None:
            return self

        async def chunks() -> AsyncIterator[bytes]:
            held: list[bytes] = []
            size = 0
            async for chunk in self.chunks():
                if not held and len(chunk) >= least:
                    yield chunk
                    continue
                held.append(chunk)
                size += len(chunk)
                if size >= least:
                    joined = b"".join(held)
                    held, size = [], 0
                    yield joined
            if held:
                yield b"".join(held)

        return replace(self, opener=chunks)

    def metered(self, meter: Meter) -> Body:
        """Return the same bytes, shown to `meter` on their way; `meter.digests` is complete at the end of a pass."""

        async def chunks() -> AsyncIterator[bytes]:
            meter.begin()
            async for chunk in self.chunks():
                await meter.update(chunk)
                yield chunk
            await meter.finish()

        return replace(self, opener=chunks, data=None)

    def expecting(
        self, *, size: int | None = None, digests: Digests = NO_DIGESTS, meter: Meter | None = None
    ) -> Body:
        """Return the same bytes, with an error at the end of a pass that is not what was announced.

        `digests` are compared with those of `meter`, which must see this body's flow further in.

        Raises (while flowing):
            DigestMismatchError: fewer or more bytes than `size`, or another digest.
        """

        async def chunks() -> AsyncIterator[bytes]:
            seen = 0
            async for chunk in self.chunks():
                seen += len(chunk)
                if size is not None and seen > size:
                    raise DigestMismatchError(f"the body is longer than the announced {size} bytes")
                yield chunk
            if size is not None and seen != size:
                raise DigestMismatchError(f"the body ended after {seen} of the announced {size} bytes")
            if meter is not None and (wrong := digests.mismatch(await meter.finish())):
                raise DigestMismatchError(f"the {wrong} of the body is not the announced one")

        return replace(self, opener=chunks, size=self.size if size is None else size, data=None)


async def in_chunks(data: bytes) -> AsyncIterator[bytes]:
    """Yield `data` in chunks of at most `CHUNK` bytes; none when there is nothing."""
    for start in range(0, len(data), CHUNK):
        yield data[start : start + CHUNK] if len(data) > CHUNK else data


async def _close(stream: AsyncIterator[bytes]) -> None:
    close = getattr(stream, "aclose", None)
    if close is not None:
        await close()


@dataclass(frozen=True, slots=True)
class FileSlice:
    """The same bytes as an open file: the door may hand them to the kernel. Owned by the reader that offers it."""

    fd: int
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Reader:
    """Bytes on their way out: `span` of the blob that `info` describes. Read once, inside the `async with` that gave it.

    `data` holds all of a small span that was read while it was opened; `chunks` yields the same.
    """

    info: BlobInfo
    span: Span
    chunks: AsyncIterator[bytes]
    file: FileSlice | None = None
    data: bytes | None = None

    @classmethod
    def of_bytes(cls, info: BlobInfo, span: Span, data: bytes) -> Reader:
        """Return a reader whose bytes are here already."""
        return cls(info, span, in_chunks(data), data=data)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self.chunks

    async def read(self) -> bytes:
        """Return all bytes of the span."""
        return b"".join([chunk async for chunk in self.chunks])

    def through(
        self, wrap: Callable[[AsyncIterator[bytes]], AsyncIterator[bytes]], *, unchanged: bool = False
    ) -> Reader:
        """Return a reader whose bytes pass through `wrap`, which only watches them if `unchanged`.

        The open file and the data are dropped otherwise: they would lead past `wrap`.
        """
        if unchanged:
            return Reader(self.info, self.span, wrap(self.chunks), self.file, self.data)
        return Reader(self.info, self.span, wrap(self.chunks))
