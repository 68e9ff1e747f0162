"""A body that can be sent once more when a store fails half-way: its first bytes are held aside, up to a bound."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Final

from holdfast.core.body import Body
from holdfast.core.errors import InvalidRequestError

BOUND: Final = 4 << 20  #: bytes of one body that are held


class Held:
    """Gives `body` to one store, and then, when that failed, once more to another.

    A body that is in memory or can be read anew is no trouble. Of any other the first `bound` bytes are held; once
    more has gone, `again` is False. `close` when it is over.
    """

    def __init__(self, body: Body, bound: int = BOUND) -> None:
        self._inner = body
        self._bound = bound
        self._kept: list[bytes] | None = []
        self._size = 0
        self._source: AsyncIterator[bytes] | None = None
        self._next: asyncio.Future[bytes | None] | None = None
        self.failed = False  #: the body itself, and no store
        self.body = body if body.data is not None else replace(body, opener=self._open)

    @property
    def again(self) -> bool:
        """Whether the body can be sent once more. Not if it was itself what failed."""
        return not self.failed and (self._inner.replayable or self._kept is not None)

    async def close(self) -> None:
        """End what still waits for the source."""
        if self._next is not None:
            waiting, self._next = self._next, None
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)

    async def _open(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._inner.chunks() if self._inner.replayable else self._held():
                yield chunk
        except Exception:
            self.failed = True
            raise

    async def _held(self) -> AsyncIterator[bytes]:
        if self._kept is None:
            raise InvalidRequestError("a one-shot body was read twice")
        if self._source is None:
            self._source = self._inner.chunks()
        for chunk in list(self._kept):
            yield chunk
        while (fresh := await self._more(self._source)) is not None:
            yield fresh

    async def _more(self, source: AsyncIterator[bytes]) -> bytes | None:
        """Return the next chunk of the source, None at its end.

        Whoever waits may be cancelled by a store that gives up; the source goes on, and its chunk waits for the next.
        """
        if self._next is None:
            self._next = asyncio.ensure_future(_pulled(source))
        chunk = await asyncio.shield(self._next)
        self._next = None
        if chunk is not None and self._kept is not None:
            self._size += len(chunk)
            self._kept.append(chunk)
            if self._size > self._bound:
                self._kept = None
        return chunk


async def _pulled(source: AsyncIterator[bytes]) -> bytes | None:
    return await anext(source, None)
