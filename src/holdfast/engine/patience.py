"""How long one store is waited for while another could do the same.

A store that is down refuses; one that hangs, or drips, says nothing, and its driver's time-outs are made for days on which
there is no other choice. Where there is one, a store that gives or takes nothing for `after` seconds, or less than `rate`
bytes a second, is left for the other. Only time that the store itself takes counts: not that of a slow reader or sender.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from holdfast.core.backend import PutOptions, Store
from holdfast.core.body import CHUNK, Body
from holdfast.core.errors import DeadlineError
from holdfast.core.types import BlobInfo

AT_ONCE: Final = 1.5  #: seconds: a store that fails sooner is asked again when no other is left
#: Seconds before each further time that it is asked: all its old connections end with it, and what watches it needs a moment.
AGAIN: Final = (0.1, 0.4, 1.2)
_UNDER_WAY: Final = 64 << 20  #: bytes that a driver may have taken and not yet delivered


class SlowError(DeadlineError):
    """A store was left for another one, for being slow: should no other do, it may still."""


@dataclass(frozen=True, slots=True)
class Patience:
    """`after` in seconds, 0: without end; `rate` in bytes per second, 0: any is enough."""

    after: float
    rate: int

    def __bool__(self) -> bool:
        return self.after > 0

    def of(self, size: int) -> float:
        """Return the seconds that moving `size` bytes may take without a sign of life."""
        return self.after + (size / self.rate if self.rate else 0.0)


async def put_within(
    store: Store, name: str, body: Body, options: PutOptions, patience: Patience | None
) -> BlobInfo:
    """Put `body`, unless the store takes nothing for longer than `patience` has.

    Raises:
        DeadlineError: it took nothing; what it has of the blob is left to `sweep`.
    """
    backend = store.for_blob(name)
    if not patience:
        return await backend.put(name, body, options=options)
    limit = asyncio.timeout(None)
    try:
        async with limit:
            return await backend.put(name, _paced(body, limit, patience), options=options)
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise gave_up(store, name, "put", "took", patience) from error


def gave_up(store: Store, name: str, operation: str, did: str, patience: Patience) -> SlowError:
    """Return the error of a store that was left for another, once its breaker knows."""
    error = SlowError(
        f"the store {did} nothing, or less than {patience.rate} bytes a second, for {patience.after:g} seconds",
        operation=operation,
        store=store.name,
        name=name,
    )
    if store.circuit is not None:
        store.circuit.failed(error, False, patience.after, hung=True)
    return error


def _paced(body: Body, limit: asyncio.Timeout, patience: Patience) -> Body:
    """Return the same bytes; `limit` runs while the store has them, and not while it waits for them."""
    loop = asyncio.get_running_loop()

    def run(size: int) -> None:
        with suppress(RuntimeError):  # it is over, and somebody still pulls
            limit.reschedule(loop.time() + patience.of(min(size, _UNDER_WAY)))

    run(0 if body.data is None else len(body.data))
    if body.data is not None:
        return body

    async def chunks() -> AsyncIterator[bytes]:
        seen = 0
        _stop(limit)
        async for chunk in body.chunks():
            seen += len(chunk)
            run(seen)
            yield chunk
            _stop(limit)
        run(seen)

    return replace(body, opener=chunks)


def _stop(limit: asyncio.Timeout) -> None:
    with suppress(RuntimeError):
        limit.reschedule(None)


async def flow_within(source: AsyncIterator[bytes], size: int, patience: Patience) -> AsyncIterator[bytes]:
    """Yield `source`, of `size` bytes, unless it gives nothing for longer, or less, than `patience` has.

    Raises:
        TimeoutError: it is too slow.
    """
    loop = asyncio.get_running_loop()
    spent, got = 0.0, 0
    while True:
        began = loop.time()
        async with asyncio.timeout(patience.of(min(size, CHUNK))):
            piece = await anext(source, None)
        if piece is None:
            return
        spent, got = spent + loop.time() - began, got + len(piece)
        if spent >= patience.after:
            if got < patience.rate * spent:
                raise TimeoutError
            spent, got = 0.0, 0
        yield piece
