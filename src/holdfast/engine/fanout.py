"""One body into several stores at once, read only once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from holdfast.core.backend import PutOptions, Store
from holdfast.core.body import Body
from holdfast.core.types import BlobInfo
from holdfast.engine.patience import Patience, put_within

_DEPTH = 2  #: chunks that a slow store may lag behind
Chunk = bytes | BaseException | None


async def put_all(
    targets: Sequence[tuple[Store, str]], body: Body, options: PutOptions, patience: Patience | None = None
) -> list[BlobInfo]:
    """Put `body` into every (store, blob name) and return what each stored, in order.

    With `patience` a store that takes nothing for so long has failed.

    Raises:
        The first failure, when any copy fails; the others are ended first, so no task outlives the call.
    """
    if len(targets) == 1:
        store, name = targets[0]
        return [await put_within(store, name, body, options, patience)]
    tee = _Tee(body, len(targets))
    puts = [
        asyncio.ensure_future(put_within(store, name, branch, options, patience))
        for (store, name), branch in zip(targets, tee.branches, strict=True)
    ]
    feeder = asyncio.ensure_future(tee.feed())
    try:
        return list(await asyncio.gather(*puts))
    finally:
        for task in (feeder, *puts):
            task.cancel()
        await asyncio.gather(feeder, *puts, return_exceptions=True)


class _Tee:
    """Splits a body into branches that flow at the pace of the slowest."""

    def __init__(self, body: Body, count: int) -> None:
        self._body = body
        self._queues: list[asyncio.Queue[Chunk]] = [asyncio.Queue(_DEPTH) for _ in range(count)]
        self.branches = [Body.of_stream(self._drain(queue), size=body.size) for queue in self._queues]

    async def feed(self) -> None:
        """Pass every chunk, then the end or the failure of the source, to every branch."""
        end: Chunk = None
        try:
            async for chunk in self._body.chunks():
                await asyncio.gather(*(queue.put(chunk) for queue in self._queues))
        except Exception as error:  # whatever it is: the branches wait
            end = error
        await asyncio.gather(*(queue.put(end) for queue in self._queues))

    @staticmethod
    async def _drain(queue: asyncio.Queue[Chunk]) -> AsyncIterator[bytes]:
        while (chunk := await queue.get()) is not None:
            if isinstance(chunk, BaseException):
                raise chunk
            yield chunk
