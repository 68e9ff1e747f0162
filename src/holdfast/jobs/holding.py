"""What a process has taken, held while it works on it: the lease renewed, and looked whether the job is to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from holdfast.core.clock import Clock
from holdfast.core.errors import HoldfastError, NotFoundError
from holdfast.core.jobs import Claim, Job, JobState
from holdfast.engine.engine import Engine

T = TypeVar("T")
_WORKING: Final = (JobState.QUEUED, JobState.RUNNING)
_SECOND: Final = 1_000_000


class LostError(Exception):
    """What was held is somebody else's by now."""


@dataclass(frozen=True, slots=True)
class Habits:
    """How a process goes about jobs, in seconds."""

    lease: float = 30.0  #: how long the work of a process that died waits for another
    slice: float = 10.0  #: how long one part is worked on before others get their turn
    look: float = 3.0  #: how often rows are looked at for work that nobody announced
    glance: float = 0.5  #: how often a running job is looked at
    pause: float = 5.0  #: until a step that failed is tried again; then twice that, and so on
    longest: float = 300.0
    tries: int = 8  #: steps in a row that may fail before the job has
    grace: float = 10.0  #: that a step has to end when its process is to

    @property
    def lease_micros(self) -> int:
        """The lease as the catalog counts it."""
        return int(self.lease * _SECOND)


class Holding:
    """A claim under way. Use it as a context; `run` a step in it; `job` is the job as it was seen last."""

    def __init__(self, engine: Engine, claim: Claim, habits: Habits, ending: Callable[[], bool]) -> None:
        self._engine = engine
        self.claim = claim
        self.job: Job = claim.job
        self._habits = habits
        self._ending = ending
        self._clock: Clock = engine.context.environment.clock
        self._renewed = self._clock.monotonic()
        self._lost = False
        self._stopping = False
        self._work: asyncio.Future[Any] | None = None
        self._keeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Holding:
        self._keeper = asyncio.ensure_future(self._keep())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)

    def stopping(self) -> bool:
        """Return whether a step is to come to its end. Once it is, it stays so: a step may have left items out by then."""
        self._stopping = self._stopping or self._lost or self._ending() or self.job.state not in _WORKING
        return self._stopping

    async def beat(self) -> None:
        """Renew the lease if a third of it is over; a lost one ends the step that runs."""
        now = self._clock.monotonic()
        if now - self._renewed < self._habits.lease / 3:
            return
        if await self._engine.catalog.renew_job_work(self.claim, lease=self._habits.lease_micros):
            self._renewed = now
        else:
            self._lose()

    async def run(self, step: Coroutine[Any, Any, T]) -> T:
        """Return what `step` returns.

        Raises:
            LostError: what is held was lost meanwhile. CancelledError: from within the step, or to this task.
        """
        work = self._work = asyncio.ensure_future(step)
        try:
            value: T = await work
            return value
        except asyncio.CancelledError:
            if self._lost:
                raise LostError from None
            raise
        finally:
            self._work = None
            if not work.done():
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)

    async def _keep(self) -> None:
        while not self._lost:
            await self._clock.sleep(self._habits.glance)
            try:
                await self.beat()
                self.job = await self._engine.catalog.job(self.claim.job.id)
            except NotFoundError:
                self._lose()
            except HoldfastError:
                continue

    def _lose(self) -> None:
        self._lost = True
        if self._work is not None:
            self._work.cancel()
