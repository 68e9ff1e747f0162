"""Copies that sleep in an archive class of their store, woken: asked for by `reconcile`, which comes again later.

Nobody is told when they are awake, so who wants them looks: the version owes, and its debt is tried again, later and later.
A reader never wakes anything: it takes hours, and costs money.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from holdfast.core.asleep import AsleepError
from holdfast.core.backend import Backend, Waker
from holdfast.core.errors import HoldfastError
from holdfast.core.types import Replica
from holdfast.engine.blame import at_stores
from holdfast.engine.context import Context

ASLEEP: Final = "asleep"  #: why a version owes that is being woken
FIRST: Final = 300_000_000  #: microseconds until the first look: the quickest that a store promises
_AT_ONCE: Final = 8


class SleepingError(AsleepError):
    """What is to be copied sleeps in all of these `copies`, and nothing else of it can be read."""

    def __init__(self, copies: Sequence[Replica]) -> None:
        super().__init__("it sleeps", operation="get")
        self.copies = copies


def sleeps(backend: Backend) -> bool:
    """Tell whether what is put there sleeps at once."""
    return bool(getattr(backend, "sleeps", False))


async def wake(context: Context, copies: Sequence[Replica]) -> str:
    """Have one store wake all that it has of `copies`, those that it has not been asked for yet; return its name.

    Raises:
        HoldfastError: none of their stores does; what the first of them says.
    """
    refusals: list[HoldfastError] = []
    for store in dict.fromkeys(copy.store for copy in copies):
        found = await asyncio.gather(
            *_each(context, [copy for copy in copies if copy.store == store]), return_exceptions=True
        )
        failures = [one for one in found if one is not None]
        if not failures:
            return store
        for failure in failures:
            if not isinstance(failure, HoldfastError):
                raise failure
            refusals.append(failure)
    raise refusals[0]


def _each(context: Context, copies: Sequence[Replica]) -> list[asyncio.Future[None]]:
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(copy: Replica) -> None:
        async with gate:
            with at_stores():
                face = context.store(copy.store).for_blob(copy.blob)
                if isinstance(face, Waker):
                    await face.wake(copy.blob)

    return [asyncio.ensure_future(one(copy)) for copy in copies]
