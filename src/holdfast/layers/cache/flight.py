"""One request to the store whose pieces all go to whoever wants them, and into the folder."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Final

from holdfast.core.body import Reader
from holdfast.core.errors import UnavailableError
from holdfast.core.types import BlobInfo
from holdfast.layers.cache.pieces import PIECE

AHEAD: Final = 1  #: pieces that are fetched before anybody wants them
_EVERYTHING: Final = 1 << 60

_CLOSED: Final = UnavailableError("the read was given up: the store was closed")

#: Keeps a piece: blob, number, bytes.
Keep = Callable[[BlobInfo, int, bytes], Awaitable[None]]


class Flight:
    """The pieces from `first` on, before `last` if that is known, one after the other at the pace of who wants most.

    Its task is nobody's: who waits may leave without taking anything from the others. When all have left it ends,
    unless it has hardly anything left to fetch. Two pieces are held in memory; the others are in the folder.
    """

    def __init__(self, first: int, last: int | None) -> None:
        self.position = first  #: the piece that comes next
        self.last = last
        self.stale = False  #: the name has another content now
        self.readers = 0
        self._wanted = first
        self._ready: dict[int, bytes] = {}
        self._info: BlobInfo | None = None
        self._error: BaseException | None = None
        self._done = False
        self._given_up = False  #: it was told to end, and may not have heard it yet
        self._bell = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def covers(self, index: int) -> bool:
        """Tell whether the piece can still be had from here."""
        if self._done or self._given_up or self.stale:
            return False
        return index in self._ready or (self.position <= index and (self.last is None or index < self.last))

    def start(
        self, opening: AbstractAsyncContextManager[Reader], keep: Keep, ended: Callable[[], None]
    ) -> asyncio.Task[None]:
        """Begin; `ended` is called in the end, however it comes."""
        task = self._task = asyncio.ensure_future(self._run(opening, keep))

        def done(task: asyncio.Task[None]) -> None:
            self._done = True
            self._error = _CLOSED if task.cancelled() else task.exception()
            ended()
            self._ring()

        task.add_done_callback(done)
        return task

    async def info(self) -> BlobInfo:
        """Return what the store says of the blob; raise what it raised."""
        while self._info is None:
            await self._news()
        return self._info

    async def piece(self, index: int) -> bytes | None:
        """Return a piece; None when it cannot be had from here any more. Raises what the store raised."""
        self._wanted = max(self._wanted, index)
        self._ring()
        while (data := self._ready.get(index)) is None:
            if self._done or index < self.position or (self.last is not None and index >= self.last):
                if self._error is not None:
                    raise self._error
                return None
            await self._news()
        return data

    def join(self) -> None:
        """Somebody reads along."""
        self.readers += 1

    def leave(self) -> None:
        """Somebody reads no longer."""
        self.readers -= 1
        if self.readers or self._task is None:
            return
        if self.last is None or self.last - self.position > 1 + AHEAD:
            self._given_up = True
            self._task.cancel()
        self._wanted = _EVERYTHING
        self._ring()

    async def _run(self, opening: AbstractAsyncContextManager[Reader], keep: Keep) -> None:
        async with opening as reader:
            self._info = reader.info
            self.last = -(-reader.span.end // PIECE) if reader.span.length else self.position + 1
            self._ring()
            await self._pieces(reader, keep)

    async def _pieces(self, reader: Reader, keep: Keep) -> None:
        held = bytearray()
        async for chunk in reader.chunks:
            held += chunk
            while len(held) >= PIECE:
                await self._land(bytes(held[:PIECE]), reader.info, keep)
                del held[:PIECE]
        if held or not reader.span.length:
            await self._land(bytes(held), reader.info, keep)

    async def _land(self, data: bytes, info: BlobInfo, keep: Keep) -> None:
        index = self.position
        self._ready[index] = data
        self._ready.pop(index - 1 - AHEAD, None)
        self.position += 1
        self._ring()
        if not self.stale:
            await keep(info, index, data)
        while self.last is not None and self._wanted + AHEAD < self.position < self.last:
            await self._bell.wait()

    async def _news(self) -> None:
        if self._done:
            raise self._error or _CLOSED
        await self._bell.wait()

    def _ring(self) -> None:
        bell, self._bell = self._bell, asyncio.Event()
        bell.set()
