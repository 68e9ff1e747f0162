"""Reads answered from a folder near by, and the store asked once for what is not there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Final, Protocol, TypeVar

from holdfast.core.adopted import is_foreign
from holdfast.core.backend import NO_OPTIONS, Backend, Capability, PutOptions
from holdfast.core.body import CHUNK, Body, Reader
from holdfast.core.directly import reads_directly
from holdfast.core.errors import UnavailableError
from holdfast.core.names import check_blob_name
from holdfast.core.types import BlobInfo, ByteRange, Span
from holdfast.layers.base import ALL, Layer
from holdfast.layers.cache.flight import Flight
from holdfast.layers.cache.folder import Folder
from holdfast.layers.cache.pieces import PIECE, Found

T = TypeVar("T")

AT_ONCE: Final = 64  #: pieces that one request for a part fetches at most
_HIT, _SHARED, _MISS = "hit", "shared", "miss"


class Tally(Protocol):
    """Is told of each piece that was served, how it was had, and of how many bytes."""

    def __call__(self, outcome: str, size: int, /) -> None: ...


class Cache(Layer):
    """Keeps what is read in `folder`, and reads from there what it has.

    Only reads are answered, and those of a blob in whole or in part; `head` and listings are the store's. A blob that is
    larger than half of the cache is not kept when it is read whole. Open files are not offered: a piece is proved before
    it is given out.
    """

    preserves = ALL & ~Capability.FILE

    def __init__(self, inner: Backend, folder: Folder, *, tally: Tally | None = None) -> None:
        super().__init__(inner)
        self._folder = folder
        self._tally = tally or _unseen
        self._flights: dict[str, list[Flight]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended = 0  #: flights that have ended: what they brought is in the folder
        self._readers = ThreadPoolExecutor(4, f"cache-read-{inner.store}")
        self._writer = ThreadPoolExecutor(2, f"cache-write-{inner.store}")
        self._closed = False

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        """Put; nothing is kept of it before it is read."""
        if is_foreign(name):
            return await super().put(name, body, options=options, if_absent=if_absent)
        check_blob_name(name)
        try:
            return await super().put(name, body, options=options, if_absent=if_absent)
        finally:
            await self.forget(name)

    async def copy(self, source: str, target: str) -> BlobInfo:
        """Copy."""
        check_blob_name(target)
        try:
            return await super().copy(source, target)
        finally:
            await self.forget(target)

    async def copy_from(self, other: Backend, source: str, target: str) -> BlobInfo:
        """Copy from another store."""
        check_blob_name(target)
        try:
            return await super().copy_from(other, source, target)
        finally:
            await self.forget(target)

    async def delete(self, name: str) -> None:
        """Delete, here too."""
        if is_foreign(name):
            return await super().delete(name)
        check_blob_name(name)
        try:
            await super().delete(name)
        finally:
            await self.forget(name)

    async def discard(self, name: str) -> None:
        """Discard, here too."""
        if is_foreign(name):
            return await super().discard(name)
        check_blob_name(name)
        try:
            await super().discard(name)
        finally:
            await self.forget(name)

    def get(self, name: str, *, range: ByteRange | None = None) -> AbstractAsyncContextManager[Reader]:
        """Open; a read under way ends with `UnavailableError` when the name gets another content meanwhile.

        What others wrote is not kept: it is not ours to say that it does not change.
        """
        if not is_foreign(name):
            check_blob_name(name)
        if range is not None:
            self.need(Capability.RANGE, "get", name)
        if self._closed or is_foreign(name) or reads_directly():
            return super().get(name, range=range)
        return self._get(name, range)

    @asynccontextmanager
    async def _get(self, name: str, wish: ByteRange | None) -> AsyncIterator[Reader]:
        reading = _Reading(self, name, wish)
        try:
            info, span, data = await reading.open()
            async with aclosing(reading.chunks()) as chunks:
                yield Reader(info, span, chunks, None, data)
        finally:
            reading.close()

    async def forget(self, name: str) -> None:
        """Keep nothing of the blob: the next read of it asks the store."""
        if is_foreign(name):
            return
        for flight in self._flights.pop(name, ()):
            flight.stale = True
        await self._run(self._writer, lambda: self._folder.drop(name), None)

    async def settled(self) -> None:
        """Return when nothing is being fetched or kept."""
        while self._tasks:
            await asyncio.wait(list(self._tasks))

    async def close(self) -> None:
        """End what is under way, and close the inner backend."""
        if not self._closed:
            self._closed = True
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            for pool in (self._readers, self._writer):
                pool.shutdown(wait=False, cancel_futures=True)
            self._folder.close()
        await super().close()

    # -- for the reads of this file ---------------------------------------------------------------------------------
    def tell(self, outcome: str, size: int) -> None:
        """Count a piece that was served."""
        self._tally(outcome, size)

    async def look(self, name: str, index: int, start: int, end: int | None) -> Found | None:
        """Return bytes of a piece from the folder; None when they are not there."""
        return await self._run(self._readers, lambda: self._folder.read(name, index, start, end), None)

    def under_way(self, name: str, index: int) -> Flight | None:
        """Return the flight that brings the piece."""
        return next((one for one in self._flights.get(name, ()) if one.covers(index)), None)

    @property
    def ended(self) -> int:
        """How many flights have ended. When it is the same after looking into the folder, nothing was missed."""
        return self._ended

    async def gap(self, name: str, index: int, most: int) -> int:
        """Return how many pieces from `index` on are to be fetched."""
        if most <= 1:
            return most
        return await self._run(self._readers, lambda: self._folder.absent(name, index, most), 1)

    def launch(self, name: str, first: int, last: int | None) -> Flight:
        """Begin to fetch pieces from `first` on, and before `last`; all of the blob when that is None."""
        flight = Flight(first, last)
        wish = None if last is None else ByteRange(first * PIECE, last * PIECE - 1)

        async def keep(info: BlobInfo, index: int, data: bytes) -> None:
            if wish is None and info.size > self._folder.most // 2:
                return
            await self._run(
                self._writer, lambda: self._folder.write(info, index, data, lambda: flight.stale), False
            )

        def ended() -> None:
            self._ended += 1
            self._leave(name, flight)

        self._flights.setdefault(name, []).append(flight)
        task = flight.start(self.inner.get(name, range=wish), keep, ended)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return flight

    def _leave(self, name: str, flight: Flight) -> None:
        flights = self._flights.get(name, [])
        if flight in flights:
            flights.remove(flight)
        if not flights:
            self._flights.pop(name, None)

    async def _run(self, pool: ThreadPoolExecutor, work: Callable[[], T], otherwise: T) -> T:
        if self._closed:
            return otherwise
        return await asyncio.get_running_loop().run_in_executor(pool, work)


class _Reading:
    """One read: pieces from the folder, from flights, and the flight that it reads along with."""

    def __init__(self, layer: Cache, name: str, wish: ByteRange | None) -> None:
        self._layer, self._name, self._wish = layer, name, wish
        self._ranged = Capability.RANGE in layer.capabilities
        self._flight: Flight | None = None
        self._info: BlobInfo | None = None
        self._span = Span(0, 0)
        self._how = _HIT
        self._first = b""  #: the bytes of the first piece that are wanted, when they are here already
        self._here = False

    async def open(self) -> tuple[BlobInfo, Span, bytes | None]:
        """Return the blob, the part of it that is read, and the bytes of that when they are few."""
        wish = self._wish
        if wish is not None and wish.start is None:
            span = wish.resolve((await self._head()).size)
            wish = self._wish = ByteRange(span.offset, span.end - 1)
        start = 0 if wish is None or wish.start is None else max(0, wish.start)
        index = start // PIECE
        found = await self._find(index, start % PIECE, self._end_in(index))
        if isinstance(found, Found):
            self._info = found.info
        else:
            self._info = await found.info()
        size = self._info.size
        self._span = span = Span(0, size) if wish is None else wish.resolve(size)
        if isinstance(found, Found):
            self._first, self._here = found.data, True
            self._layer.tell(_HIT, len(found.data))
        elif span.end - index * PIECE <= PIECE:
            data = await self._taken(found, index)
            self._first, self._here = await self._piece(index) if data is None else data, True
        small = self._here and len(self._first) == span.length <= CHUNK
        return self._info, span, self._first if small else None

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the bytes of the span."""
        offset = self._span.offset
        while offset < self._span.end:
            data = self._first if self._here else await self._piece(offset // PIECE)
            self._first, self._here = b"", False
            offset += len(data)
            for at in range(0, len(data), CHUNK):
                yield data[at : at + CHUNK] if len(data) > CHUNK else data

    def close(self) -> None:
        """Read along no longer."""
        if self._flight is not None:
            self._flight.leave()
            self._flight = None

    async def _head(self) -> BlobInfo:
        found = await self._layer.look(self._name, 0, 0, 0)
        return await self._layer.head(self._name) if found is None else found.info

    async def _piece(self, index: int) -> bytes:
        """Return the wanted bytes of a piece."""
        while True:
            found = await self._find(index, self._start_in(index), self._end_in(index))
            if isinstance(found, Found):
                self._check(found.info)
                self._layer.tell(_HIT, len(found.data))
                return found.data
            self._check(await found.info())
            data = await self._taken(found, index)
            if data is not None:
                return data
            # others have driven the flight past it: it is in the folder, or fetched anew

    async def _taken(self, flight: Flight, index: int) -> bytes | None:
        data = await flight.piece(index)
        if data is None:
            return None
        data = data[self._start_in(index) : self._end_in(index)]
        self._layer.tell(self._how, len(data))
        return data

    async def _find(self, index: int, start: int, end: int | None) -> Found | Flight:
        """Return bytes of a piece, or the flight that brings it."""
        if self._flight is not None and self._flight.covers(index):
            return self._flight
        layer, name = self._layer, self._name
        while True:
            flight = layer.under_way(name, index)
            if flight is not None:
                return self._along(flight, _SHARED)
            mark = layer.ended
            found = await layer.look(name, index, start, end)
            if found is not None:
                return found
            most = await layer.gap(name, index, self._most(index))
            if layer.under_way(name, index) is None and layer.ended == mark:
                return self._along(self._fetch(index, most), _MISS)

    def _fetch(self, index: int, most: int) -> Flight:
        if not self._ranged:
            return self._layer.launch(self._name, 0, None)
        if self._wish is None and index == 0 and self._info is None:
            return self._layer.launch(self._name, 0, None)
        return self._layer.launch(self._name, index, index + most)

    def _most(self, index: int) -> int:
        """Return how many pieces from `index` on this read may want."""
        if self._info is not None:
            last = -(-self._span.end // PIECE)
        elif self._wish is None:
            return 1  # all of it is asked for
        else:
            last = AT_ONCE + index if self._wish.end is None else self._wish.end // PIECE + 1
        return max(1, min(AT_ONCE, last - index))

    def _start_in(self, index: int) -> int:
        return max(0, self._span.offset - index * PIECE)

    def _end_in(self, index: int) -> int | None:
        if self._info is not None:
            return max(0, min(PIECE, self._span.end - index * PIECE))
        if self._wish is None or self._wish.end is None:
            return None
        return max(0, min(PIECE, self._wish.end + 1 - index * PIECE))

    def _along(self, flight: Flight, how: str) -> Flight:
        if flight is not self._flight:
            self.close()
            flight.join()
            self._flight, self._how = flight, how
        return flight

    def _check(self, info: BlobInfo) -> None:
        known = self._info
        if known is not None and (known.size, known.etag) != (info.size, info.etag):
            raise UnavailableError(
                "the blob was replaced while it was read",
                operation="get",
                store=self._layer.store,
                name=self._name,
            )


def _unseen(outcome: str, size: int) -> None:
    """Nobody counts."""
