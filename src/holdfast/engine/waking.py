"""Copies that sleep in an archive class of their store, woken: asked for by `reconcile`, which comes again later.

Nobody is told when they are awake, so who wants them looks; the debt of their version is tried again, later and later, and
at least once an hour. A reader never wakes anything: it takes hours, and costs money.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from holdfast.core.backend import Waker
from holdfast.core.types import Replica
from holdfast.engine.blame import at_stores
from holdfast.engine.context import Context

_AT_ONCE: Final = 8


async def wake(context: Context, copies: Sequence[Replica]) -> None:
    """Have the stores of `copies` wake them, those that have not been asked yet.

    Raises:
        HoldfastError: one of them refused, or was not reached; perhaps others were asked.
    """
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(copy: Replica) -> None:
        face = context.store(copy.store).for_blob(copy.blob)
        async with gate:
            if isinstance(face, Waker):
                with at_stores():
                    await face.wake(copy.blob)

    for failed in await asyncio.gather(*map(one, copies), return_exceptions=True):
        if failed is not None:
            raise failed
