"""Blocking calls off the loop, and what becomes of them when the one who waits is cancelled."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from holdfast.core.errors import UnavailableError

T = TypeVar("T")
P = ParamSpec("P")


class Threads:
    """A bounded set of worker threads of one store."""

    def __init__(self, store: str, count: int) -> None:
        self._store = store
        self.pool = ThreadPoolExecutor(count, thread_name_prefix=f"local-{store}")
        self.closed = False

    def check(self) -> None:
        """Raise `UnavailableError` when the store is closed: its descriptors may mean other files by now."""
        if self.closed:
            raise UnavailableError("the store is closed", store=self._store)

    async def run(
        self,
        work: Callable[..., T],
        *args: Any,
        when_cancelled: Callable[[], None] | None = None,
        unwanted: Callable[[T], None] | None = None,
    ) -> T:
        """Return what `work(*args)` returns.

        A thread cannot be stopped, so a cancelled call first calls `when_cancelled`, then waits until the work is
        done and hands its result to `unwanted`: what the work holds open is never closed under it.
        """
        self.check()
        future = asyncio.wrap_future(self.pool.submit(work, *args))
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            if when_cancelled is not None:
                when_cancelled()
            await _end_of(future)
            if unwanted is not None and future.exception() is None:
                unwanted(future.result())
            raise

    async def surely(self, work: Callable[..., object], *args: Any) -> None:
        """Return when `work(*args)` is done, cancelled or not; its error is dropped. For cleaning up."""
        if self.closed:  # meanwhile: no thread takes work any more
            with contextlib.suppress(OSError):
                work(*args)
            return
        await _end_of(asyncio.wrap_future(self.pool.submit(work, *args)))

    async def close(self) -> None:
        """Return when all work is done; none is taken after that."""
        self.closed = True
        await asyncio.to_thread(self.pool.shutdown)


async def _end_of(future: asyncio.Future[T]) -> None:
    while not future.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([future])
    future.exception()  # looked at, so that nobody logs it as forgotten
