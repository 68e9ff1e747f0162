"""Dispatch by looking at the rows: every few seconds, and at once when work was announced in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from holdfast.core.clock import Environment
from holdfast.jobs.dispatch import Turn


class LocalDispatch:
    """For one process, or several on one machine over SQLite: there each finds what others left within `look` seconds."""

    def __init__(self, environment: Environment, look: float) -> None:
        self._environment = environment
        self._look = look
        self._news = asyncio.Event()

    def announce(self, job_id: str, numbers: Sequence[int] = (-1,)) -> None:
        """See `Dispatch`."""
        self._news.set()

    async def run(self, turn: Turn, at_once: int) -> None:
        """See `Dispatch`."""
        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(self._turns(turn))

    async def _turns(self, turn: Turn) -> None:
        while True:
            self._news.clear()
            if not await turn("", -1):
                await self._pause()

    async def _pause(self) -> None:
        """Return when there is news, or it is time to look (jittered, so that processes spread out)."""
        clock, random = self._environment.clock, self._environment.random
        look = asyncio.ensure_future(clock.sleep(self._look * random.uniform(0.75, 1.25)))
        news = asyncio.ensure_future(self._news.wait())
        try:
            await asyncio.wait((look, news), return_when=asyncio.FIRST_COMPLETED)
        finally:
            look.cancel()
            news.cancel()
            await asyncio.gather(look, news, return_exceptions=True)
