"""No more bytes in a second than was asked for, over all that is on its way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import TYPE_CHECKING

from holdfast.core.clock import Clock

if TYPE_CHECKING:
    from holdfast.core.body import Body

_BURST = 0.25  #: seconds' worth that may go at once


class Pace:
    """Lets `rate` bytes pass in a second; None: all that come."""

    def __init__(self, rate: int | None, clock: Clock) -> None:
        self._rate, self._clock = rate, clock
        self._free = clock.monotonic()

    async def pay(self, count: int) -> None:
        """Return when `count` bytes may go."""
        if self._rate is None:
            return
        now = self._clock.monotonic()
        self._free = max(self._free, now - _BURST) + count / self._rate
        if self._free > now:
            await self._clock.sleep(self._free - now)

    def body(self, body: Body) -> Body:
        """Return the same bytes at this pace."""
        if self._rate is None:
            return body

        async def chunks() -> AsyncIterator[bytes]:
            async for chunk in body.chunks():
                await self.pay(len(chunk))
                yield chunk

        return replace(body, opener=chunks, data=None)
