"""A value that ends and is fetched anew: credentials, tokens, links."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Generic, Protocol, TypeVar

from holdfast.core.clock import Clock

AHEAD: Final = 300.0  #: seconds before its end at which a value is fetched again
SHARE: Final = 0.8  #: of its life after which it is fetched again, when that is sooner
_SECOND: Final = 1_000_000


class Ending(Protocol):
    """A value with an end: microseconds since the epoch, None for never."""

    @property
    def expires(self) -> int | None:
        """When it ends."""
        ...


T = TypeVar("T", bound=Ending)


class Renewing(Generic[T]):
    """Gives the value that holds now, fetched ahead of its end, once for all who wait, and never twice at a time.

    While the old value still holds, a fetch that fails is not noticed by callers; it is tried again at the next call
    after `pause` seconds. It is due for another `ahead` seconds before its end, or after `share` of its life, whichever
    comes first; a value that lives for less than twice `ahead` goes by its share alone.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[T]],
        *,
        clock: Clock,
        ahead: float = AHEAD,
        share: float = SHARE,
        pause: float = 5.0,
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._ahead = int(ahead * _SECOND)
        self._share = share
        self._pause = int(pause * _SECOND)
        self._held: T | None = None
        self._due: int | None = None
        self._not_before = 0
        self._running: asyncio.Task[T] | None = None

    async def current(self) -> T:
        """Return a value that holds; a failing fetch raises its own error once nothing holds any more."""
        now, held = self._clock.now(), self._held
        if held is not None and (self._due is None or now < self._due):
            return held
        if held is not None and held.expires is not None and now < held.expires:
            if self._running is None and now >= self._not_before:
                self._not_before = now + self._pause
                self._start().add_done_callback(_noticed)
            return held
        return await self._next()

    async def renew(self, stale: T) -> T:
        """Return a newer value than `stale`, which a server no longer takes; fetched once for all who bring the same."""
        held = self._held
        if held is not None and held is not stale and held != stale:
            return held
        if held is not None and self._running is None:
            self._held = None
        return await self._next()

    async def settled(self) -> None:
        """Return when no fetch is under way, however it ended."""
        while self._running is not None:
            await asyncio.wait({self._running})

    async def _next(self) -> T:
        # Shielded: one impatient caller must not take the value from the others.
        return await asyncio.shield(self._running or self._start())

    def _start(self) -> asyncio.Task[T]:
        self._running = asyncio.ensure_future(self._renew())
        return self._running

    async def _renew(self) -> T:
        try:
            began = self._clock.now()
            value = await self._fetch()
            self._held, self._due = value, self._due_of(value, began)
            return value
        finally:
            self._running = None

    def _due_of(self, value: T, began: int) -> int | None:
        if value.expires is None:
            return None
        life = value.expires - began
        by_share = began + int(life * self._share)
        return by_share if life < 2 * self._ahead else min(by_share, value.expires - self._ahead)


def _noticed(task: asyncio.Task[T]) -> None:
    """Take the outcome of a background renewal, so that asyncio does not report it as forgotten."""
    if not task.cancelled():
        task.exception()
