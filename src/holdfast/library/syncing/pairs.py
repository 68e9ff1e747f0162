"""Two streams that are read ahead of each other, joined by key; and work done many at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Coroutine, Iterator
from contextlib import suppress
from itertools import islice
from typing import Any, Final

from holdfast.policy.syncing import Item, Pairing

_AHEAD: Final = 6  #: batches of a stream that wait to be taken
_BATCH: Final = 500


async def pairs(
    left: AsyncIterable[list[Item]], right: AsyncIterable[list[Item]]
) -> AsyncGenerator[list[tuple[Item | None, Item | None]], None]:
    """Yield the pairs of two streams, in order and in batches; an error of either ends both."""
    join = Pairing()
    one, other = _Ahead(left), _Ahead(right)
    try:
        while True:
            if join.wants_left:
                join.feed_left(await one.next())
            if join.wants_right:
                join.feed_right(await other.next())
            if found := list(join.pairs()):
                yield found
            elif one.ended and other.ended:
                return
    finally:
        await one.close()
        await other.close()


async def in_thread(items: Iterator[Item]) -> AsyncIterator[list[Item]]:
    """Yield batches of an iterator that is run beside the event loop."""
    while batch := await asyncio.to_thread(lambda: list(islice(items, _BATCH))):
        yield batch


class _Ahead:
    """A stream that is read a few batches ahead."""

    def __init__(self, source: AsyncIterable[list[Item]]) -> None:
        self.ended = False
        self._queue: asyncio.Queue[list[Item] | Exception | None] = asyncio.Queue(_AHEAD)
        self._task = asyncio.ensure_future(self._read(source))

    async def next(self) -> list[Item] | None:
        """Return the next batch; None at the end."""
        found = await self._queue.get()
        if isinstance(found, Exception):
            raise found
        self.ended = found is None
        return found

    async def close(self) -> None:
        """Stop reading."""
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _read(self, source: AsyncIterable[list[Item]]) -> None:
        try:
            async for batch in source:
                await self._queue.put(batch)
        except Exception as error:
            await self._queue.put(error)
        else:
            await self._queue.put(None)


class Crew:
    """Does work `jobs` at a time; the first error that is no outcome of a single file ends all."""

    def __init__(self, jobs: int) -> None:
        self._gate = asyncio.Semaphore(jobs)
        self._tasks: set[asyncio.Task[None]] = set()
        self._error: BaseException | None = None

    async def do(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin `work` as soon as there is a hand free."""
        try:
            await self._gate.acquire()
        except BaseException:
            work.close()
            raise
        if self._error is not None:
            self._gate.release()
            work.close()
            raise self._error
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def rest(self) -> None:
        """Return when all is done."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        if self._error is not None:
            raise self._error

    async def stop(self) -> None:
        """Give up what is on its way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._gate.release()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._error = self._error or error
