"""Dispatch over the queue of a PostgreSQL catalog: each process is told at once of work that any of them announced.

Beside it every process looks at the rows every few seconds, as on SQLite, so that what the queue lost is found again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from holdfast.catalog.dispatching import Handler, PartQueue
from holdfast.core.clock import Environment
from holdfast.core.errors import HoldfastError
from holdfast.jobs.dispatch import Turn
from holdfast.jobs.dispatch_local import LocalDispatch

_log = structlog.get_logger("holdfast.jobs")
_WAITING: Final = 1000  #: announcements that wait to be sent; more are found by looking
_TOGETHER: Final = 100
_AGAIN: Final = 5.0  #: seconds until a lost queue is looked for again


class QueueDispatch:
    """For any number of processes over one PostgreSQL catalog."""

    def __init__(self, queue: PartQueue, environment: Environment, *, look: float, redeliver: float) -> None:
        self._queue = queue
        self._environment = environment
        self._redeliver = redeliver
        self._local = LocalDispatch(environment, look)
        self._unsent: asyncio.Queue[tuple[str, int]] = asyncio.Queue(_WAITING)

    def announce(self, job_id: str, numbers: Sequence[int] = (-1,)) -> None:
        """See `Dispatch`."""
        self._local.announce(job_id, numbers)
        for number in numbers:
            if not self._unsent.full():
                self._unsent.put_nowait((job_id, number))

    async def run(self, turn: Turn, at_once: int) -> None:
        """See `Dispatch`."""
        gate = asyncio.Semaphore(at_once)

        async def gated(job_id: str, number: int) -> bool:
            async with gate:
                return await turn(job_id, number)

        async def handle(job_id: str, number: int) -> None:
            await gated(job_id, number)

        async def serve() -> None:
            while True:
                await self._serve(handle, at_once)
                pause = _AGAIN * self._environment.random.uniform(0.75, 1.25)
                await self._environment.clock.sleep(pause)

        async with asyncio.TaskGroup() as group:
            group.create_task(self._local.run(gated, at_once))
            group.create_task(serve())
            group.create_task(self._send())

    async def _serve(self, handle: Handler, at_once: int) -> None:
        try:
            await self._queue.run(handle, at_once=at_once, redeliver=self._redeliver)
        except HoldfastError as error:
            _log.info("the queue of jobs is away; rows are looked at meanwhile", error=error.message)
        except Exception:
            _log.exception("the queue of jobs failed; rows are looked at meanwhile")

    async def _send(self) -> None:
        while True:
            entries = [await self._unsent.get()]
            while len(entries) < _TOGETHER and not self._unsent.empty():
                entries.append(self._unsent.get_nowait())
            try:
                await self._queue.announce(list(dict.fromkeys(entries)))
            except HoldfastError as error:
                _log.info("work was not announced; it is found by looking", error=error.message)
            except Exception:
                _log.exception("work was not announced; it is found by looking")
