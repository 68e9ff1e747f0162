"""The layer: plain bytes above it, encrypted ones below."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Final

from holdfast.core.backend import NO_OPTIONS, Backend, Capability, Limits, PutOptions
from holdfast.core.body import CHUNK, Body, Reader
from holdfast.core.clock import Environment
from holdfast.core.directly import reads_directly
from holdfast.core.errors import (
    CorruptedError,
    InvalidRangeError,
    InvalidRequestError,
    TooLargeError,
    UnavailableError,
)
from holdfast.core.keyring import BlobKey, KeyRing, LockedError, ShreddedError
from holdfast.core.names import check_blob_name
from holdfast.core.types import BlobInfo, ByteRange, Span
from holdfast.layers.base import Layer, closed_after
from holdfast.layers.encryption.envelope import (
    ENVELOPE,
    METADATA,
    Envelope,
    metadata_room,
    open_metadata,
    seal_metadata,
    stream_of,
)
from holdfast.layers.encryption.floe import NONCE, OVERHEAD, SHAPE, Floe, FloeError, Opening, Sealing

_STEP: Final = 1 << 20  #: bytes after which others have their turn
_TYPE: Final = "application/octet-stream"  #: what a store learns of the type


class Encryption(Layer):
    """Seals what is put and opens what is got. The store sees sizes, names and times; contents and metadata it does not.

    A range costs one request when the ring has the key, two when the blob itself must be asked for it. What was cut,
    swapped, repeated or altered is a `CorruptedError`, and no byte of it is given out. Closing closes what is below.
    """

    preserves = Capability.RANGE | Capability.IF_ABSENT | Capability.METADATA | Capability.FOLDERS
    as_stored = False

    def __init__(self, inner: Backend, ring: KeyRing, *, environment: Environment) -> None:
        super().__init__(inner)
        self._ring, self._environment = ring, environment
        below = inner.limits
        largest = below.max_blob_size
        self._limits = Limits(
            None if largest is None else _most(largest),
            below.max_name_bytes,
            metadata_room(below.max_metadata_bytes),
        )

    @property
    def limits(self) -> Limits:
        """What fits when all that encryption adds is there too."""
        return self._limits

    # -- writing --------------------------------------------------------------------------------------------------
    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        """Put, under a new key, which is kept before the first byte moves. See `Backend.put`."""
        if if_absent:
            self.need(Capability.IF_ABSENT, "put", name)
        check_blob_name(name)
        self._check_size(name, body.size)
        key = await self._ring.make(self.store, name)
        sealed = self._sealed(name, key, body)
        info = await self.inner.put(
            name, sealed, options=self._options(name, key, options), if_absent=if_absent
        )
        shown = dict(options.metadata) if Capability.METADATA in self.capabilities else {}
        return info._replace(size=self._size(info.size, "put", name), metadata=shown)

    def _check_size(self, name: str, size: int | None) -> None:
        most = self._limits.max_blob_size
        if most is not None and size is not None and size > most:
            raise TooLargeError(
                f"{size} bytes; at most {most} fit in one blob", operation="put", store=self.store, name=name
            )

    def _options(self, name: str, key: BlobKey, options: PutOptions) -> PutOptions:
        metadata: dict[str, str] = {}
        if options.metadata and Capability.METADATA in self.capabilities:
            size = sum(len(text.encode()) for pair in options.metadata.items() for text in pair)
            sealed = seal_metadata(name, key, dict(options.metadata), self._random())
            text = base64.b64encode(sealed).decode()
            if len(METADATA) + len(text) > self.inner.limits.max_metadata_bytes:
                raise InvalidRequestError(
                    f"metadata of {size} bytes; at most {self._limits.max_metadata_bytes} fit",
                    operation="put",
                    store=self.store,
                    name=name,
                )
            metadata[METADATA] = text
        return replace(options, content_type=_TYPE, metadata=metadata, origin=None)

    def _sealed(self, name: str, key: BlobKey, body: Body) -> Body:
        floe = stream_of(name, key)
        head = Envelope(key.generation, key.wrapped, floe.header).bytes
        if body.data is not None and len(body.data) <= CHUNK:
            sealing = Sealing(floe, self._random)
            return Body.of_bytes(b"".join((head, sealing.update(body.data), sealing.finish())))

        async def chunks() -> AsyncIterator[bytes]:
            sealing = Sealing(floe, self._random)
            ready, done = head, 0
            async for chunk in body.chunks():
                for start in range(0, len(chunk), _STEP):
                    piece = chunk[start : start + _STEP] if len(chunk) > _STEP else chunk
                    made = sealing.update(piece)
                    if made:
                        yield ready + made if ready else made
                        ready = b""
                    done += len(piece)
                    if done >= _STEP:
                        done = 0
                        await asyncio.sleep(0)
            yield ready + sealing.finish()

        size = None if body.size is None else ENVELOPE + SHAPE.sealed(body.size)
        return Body(chunks, size, body.replayable)

    def _random(self) -> bytes:
        return self._environment.random.getrandbits(8 * NONCE).to_bytes(NONCE, "big")

    # -- reading --------------------------------------------------------------------------------------------------
    def get(self, name: str, *, range: ByteRange | None = None) -> AbstractAsyncContextManager[Reader]:
        """Open.

        Raises (on entering, and while reading):
            CorruptedError: it is not what was put. LockedError, ShreddedError: its key cannot be had.
        """
        if range is None:
            return self._whole(name)
        self.need(Capability.RANGE, "get", name)
        return self._part(name, range)

    @asynccontextmanager
    async def _whole(self, name: str) -> AsyncIterator[Reader]:
        check_blob_name(name)
        known = await self._ring.find(self.store, name)
        async with self.inner.get(name) as reader:
            size = self._size(reader.info.size, "get", name)
            source = _Source(reader.chunks)
            head = await source.take(ENVELOPE)
            floe, key = await self._fitting(name, head, known)
            info = self._shown(reader.info, name, size, key)
            opening = Opening(floe, reader.info.size - ENVELOPE)
            chunks = self._opened(name, source, opening, size)
            if reader.data is None:
                yield Reader(info, Span(0, size), chunks)
            else:
                yield Reader.of_bytes(info, Span(0, size), await _all(chunks))

    @asynccontextmanager
    async def _part(self, name: str, wish: ByteRange) -> AsyncIterator[Reader]:
        check_blob_name(name)
        key = await self._ring.find(self.store, name)
        fresh = key is None
        if key is None:
            key = await self._carried(name)
        async with self._reached(name, wish) as reader:
            size = self._size(reader.info.size, "get", name)
            span = wish.resolve(size)
            place = span.offset // SHAPE.content
            end = min(ENVELOPE + ((span.end - 1) // SHAPE.content + 1) * SHAPE.segment, reader.info.size)
            source = _Source(reader.chunks)
            await source.take(ENVELOPE + place * SHAPE.segment - reader.span.offset)
            sealed = reader.info.size - ENVELOPE
            last = place == SHAPE.last(sealed)
            first = await source.take(min(SHAPE.segment, end - ENVELOPE - place * SHAPE.segment))
            floe = stream_of(name, key)
            try:
                plain = floe.open(place, first, last=last)
            except FloeError as error:
                # perhaps it was put again, and what the ring has is of the put that failed or came second
                again = None if fresh else await self._carried(name)
                if again is None or hmac.compare_digest(again.secret, key.secret):
                    raise self._damaged(error, name) from error
                key, floe = again, stream_of(name, again)
                with self._translated(name):
                    plain = floe.open(place, first, last=last)
            skip = span.offset - place * SHAPE.content
            info = self._shown(reader.info, name, size, key)
            data = plain[skip : skip + span.length]
            if len(data) == span.length:
                yield Reader.of_bytes(info, span, data)
                return
            opening = Opening(floe, sealed, place + 1)
            rest = self._opened(name, source, opening, span.length - len(data))
            yield Reader(info, span, _after(data, rest))

    async def _opened(
        self, name: str, source: _Source, opening: Opening, length: int
    ) -> AsyncIterator[bytes]:
        """Yield `length` bytes of content."""
        left, done = length, 0
        async for chunk in source:
            for start in range(0, len(chunk), _STEP):
                piece = chunk[start : start + _STEP] if len(chunk) > _STEP else chunk
                try:
                    plain = opening.update(piece)
                except FloeError as error:
                    raise self._damaged(error, name) from None
                if len(plain) > left:
                    plain = plain[:left]
                left -= len(plain)
                if plain:
                    yield plain
                done += len(piece)
                if done >= _STEP:
                    done = 0
                    await asyncio.sleep(0)
        if left or not opening.between:
            raise UnavailableError(
                f"the stream ended {left} bytes early", operation="get", store=self.store, name=name
            )

    async def head(self, name: str) -> BlobInfo:
        """Return what is known of `name`: the size of its content, and its metadata opened."""
        info = await self.inner.head(name)
        key = None
        if METADATA in info.metadata:
            key = await self._ring.find(self.store, name) or await self._carried(name)
        size = self._size(info.size, "head", name)
        try:
            return self._shown(info, name, size, key, operation="head")
        except CorruptedError:
            return self._shown(info, name, size, await self._carried(name), operation="head")

    async def list(self, prefix: str = "", *, after: str = "") -> AsyncIterator[BlobInfo]:
        """Yield blobs with the sizes of their contents; one that is not of our format with the size that it has."""
        async with closed_after(self.inner.list(prefix, after=after)) as items:
            async for info in items:
                try:
                    size = SHAPE.opened(info.size - ENVELOPE)
                except FloeError:
                    size = info.size
                yield info._replace(size=size, metadata={})

    # -- removing -------------------------------------------------------------------------------------------------
    async def delete(self, name: str) -> None:
        """Remove the blob, then its key: who dies in between does it again."""
        await self.inner.delete(name)
        await self._ring.forget(self.store, name)

    async def discard(self, name: str) -> None:
        """Remove what is there of the blob, then its key."""
        await self.inner.discard(name)
        await self._ring.forget(self.store, name)

    # -- keys -----------------------------------------------------------------------------------------------------
    async def _fitting(self, name: str, head: bytes, known: BlobKey | None) -> tuple[Floe, BlobKey]:
        """Return the stream that `head` begins: with the key that the ring has, else with the one that it carries."""
        with self._translated(name):
            envelope = Envelope.parse(head)
            if known is not None:
                floe = stream_of(name, known)
                if hmac.compare_digest(floe.header, envelope.header):
                    if reads_directly():
                        await self._check_carried(name, envelope, known)
                    return floe, known
        key = await self._ring.open(self.store, name, envelope.generation, envelope.wrapped)
        floe = stream_of(name, key)
        if not hmac.compare_digest(floe.header, envelope.header):
            raise self._damaged(FloeError("its header does not belong to its key"), name)
        return floe, key

    async def _check_carried(self, name: str, envelope: Envelope, known: BlobKey) -> None:
        """See that the blob could be read without the ring: that the key which it carries is its own.

        One that was wrapped by a generation which is gone cannot be told.
        """
        try:
            carried = await self._ring.open(self.store, name, envelope.generation, envelope.wrapped)
        except (LockedError, ShreddedError):
            if 0 < envelope.generation <= known.generation:
                return
            raise FloeError("it carries the key of a generation that never was") from None
        if not hmac.compare_digest(carried.secret, known.secret):
            raise FloeError("the key that it carries is not its own")

    async def _carried(self, name: str) -> BlobKey:
        """Return the key that the blob carries."""
        if Capability.RANGE in self.inner.capabilities:
            opened = self.inner.get(name, range=ByteRange(0, ENVELOPE - 1))
        else:
            opened = self.inner.get(name)
        try:
            async with opened as reader:
                head = await _Source(reader.chunks).take(ENVELOPE)
        except InvalidRangeError:
            head = b""
        return (await self._fitting(name, head, None))[1]

    @asynccontextmanager
    async def _reached(self, name: str, wish: ByteRange) -> AsyncIterator[Reader]:
        """Open the segments that hold `wish`."""
        opened = self.inner.get(name, range=_below(wish))
        try:
            reader = await opened.__aenter__()
        except InvalidRangeError:
            info = await self.inner.head(name)
            wish.resolve(self._size(info.size, "get", name))  # says it in the numbers of the caller
            raise
        try:
            yield reader
        except BaseException as error:
            await opened.__aexit__(type(error), error, error.__traceback__)
            raise
        await opened.__aexit__(None, None, None)

    def _shown(
        self, info: BlobInfo, name: str, size: int, key: BlobKey | None, *, operation: str = "get"
    ) -> BlobInfo:
        sealed = info.metadata.get(METADATA)
        metadata: Mapping[str, str] = {}
        if sealed is not None and key is not None:
            with self._translated(name, operation):
                try:
                    metadata = open_metadata(name, key, base64.b64decode(sealed, validate=True))
                except (binascii.Error, UnicodeDecodeError):
                    raise FloeError("its metadata is not what was sealed") from None
        return info._replace(size=size, metadata=metadata)

    def _size(self, size: int, operation: str, name: str) -> int:
        try:
            return SHAPE.opened(size - ENVELOPE)
        except FloeError as error:
            raise self._damaged(error, name, operation) from None

    @contextmanager
    def _translated(self, name: str, operation: str = "get") -> Iterator[None]:
        try:
            yield
        except FloeError as error:
            raise self._damaged(error, name, operation) from None

    def _damaged(self, error: FloeError, name: str, operation: str = "get") -> CorruptedError:
        return CorruptedError(
            f"the encrypted blob is damaged: {error}", operation=operation, store=self.store, name=name
        )


def opened_size(size: int) -> int:
    """Return how many bytes of content a blob of `size` bytes holds; -1 when no encrypted blob has that many."""
    try:
        return SHAPE.opened(size - ENVELOPE)
    except FloeError:
        return -1


class _Source:
    """A stream from whose beginning some bytes are taken first."""

    __slots__ = ("_chunks", "_held")

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks, self._held = chunks, b""

    async def take(self, size: int) -> bytes:
        """Return the next `size` bytes, fewer at the end."""
        parts, have = [self._held], len(self._held)
        while have < size:
            chunk = await anext(self._chunks, b"")
            if not chunk:
                break
            parts.append(chunk)
            have += len(chunk)
        joined = parts[0] if len(parts) == 1 else b"".join(parts)
        self._held = joined[size:]
        return joined[:size]

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._held:
            held, self._held = self._held, b""
            yield held
        async for chunk in self._chunks:
            yield chunk


def _below(wish: ByteRange) -> ByteRange:
    """Return the part of the blob that holds all of `wish`, whole segments."""
    if wish.start is None:
        return ByteRange(None, (-(-(wish.end or 0) // SHAPE.content) + 1) * SHAPE.segment)
    start = ENVELOPE + max(0, wish.start) // SHAPE.content * SHAPE.segment
    if wish.end is None:
        return ByteRange(start)
    return ByteRange(
        start, ENVELOPE + (max(wish.end, wish.start, 0) // SHAPE.content + 1) * SHAPE.segment - 1
    )


def _most(largest: int) -> int:
    """Return how many bytes of content fit in a blob of `largest` bytes."""
    count, rest = divmod(max(0, largest - ENVELOPE), SHAPE.segment)
    return count * SHAPE.content + max(0, rest - OVERHEAD)


async def _after(data: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield data
    async for chunk in rest:
        yield chunk


async def _all(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])
