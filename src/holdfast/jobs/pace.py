"""The pace of a job at work: one limit of objects and one of bytes per second, kept by all its processes together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from holdfast.core.clock import Clock
from holdfast.core.jobs import Pace
from holdfast.engine.limiter import Limiter
from holdfast.policy.rate import Limit

_BURST: Final = 0.1  #: seconds' worth of a limit that may come at once
_SLICE: Final = (
    0.2  #: seconds after which whoever waits looks whether to stop, and whether the pace is another one
)


class StoppedError(asyncio.CancelledError):
    """The job is to stop; raised where a step waits for room."""


class JobGauge:
    """Keeps the pace that a job has at the moment, as `jobs.kinds.Gauge` says; a pace that changes holds at once.

    `stopped` tells that somebody was sent away.
    """

    def __init__(
        self,
        limiter: Limiter,
        job_id: str,
        clock: Clock,
        *,
        pace: Callable[[], Pace],
        stopping: Callable[[], bool],
    ) -> None:
        self._limiter = limiter
        self._job_id = job_id
        self._clock = clock
        self._pace = pace
        self._stopping = stopping
        self.stopped = False

    async def objects(self, count: int = 1) -> None:
        """Wait for the room to do `count` more objects."""
        await self._room("objects", lambda: self._pace().objects, count)

    async def bytes(self, count: int) -> None:
        """Wait for the room to move `count` more bytes."""
        await self._room("bytes", lambda: self._pace().bytes, count)

    async def _room(self, name: str, rate: Callable[[], float | None], count: int) -> None:
        self._check()
        while (allowed := rate()) is not None and count > 0:
            limit = Limit(allowed, max(1.0, allowed * _BURST))
            # what was promised at another pace is no debt at this one
            gauge = self._limiter.gauge(f"job/{self._job_id}/{name}/{allowed:g}", limit)
            wait = await gauge.charge(count)
            while wait > 0 and rate() == allowed:
                await self._clock.sleep(min(wait, _SLICE))
                wait -= _SLICE
                if self._stopping():
                    await gauge.give_back(count)
                    self._check()
            if wait <= 0:
                return
            await gauge.give_back(count)

    def _check(self) -> None:
        if self._stopping():
            self.stopped = True
            raise StoppedError
