"""The runner: takes parts of jobs, does steps, writes down each at once with what it did.

A process may die after any line of this: the lease of what it held ends, somebody else takes it under a higher fence, and
begins at the last checkpoint. What it had done since is done twice, and counted once.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

import structlog

from holdfast.catalog.job_parts import Done, NewPart
from holdfast.core.errors import HoldfastError, NotFoundError
from holdfast.core.jobs import ENDED, Claim, Counts, Job, JobState, Part
from holdfast.engine.context import finish
from holdfast.engine.engine import Engine
from holdfast.engine.limiter import Limiter
from holdfast.jobs.dispatch import Dispatch
from holdfast.jobs.dispatch_local import LocalDispatch
from holdfast.jobs.holding import Habits, Holding, LostError
from holdfast.jobs.kinds import Kind, Kinds, Range, Step, Work
from holdfast.jobs.pace import JobGauge

_log = structlog.get_logger("holdfast.jobs")
_HABITS: Final = Habits()
_IDLE: Final = 0.2  #: seconds between two steps when one did nothing


class Runner:
    """Works on jobs in this process, `at_once` parts at a time; any number of processes may do so."""

    def __init__(
        self,
        engine: Engine,
        kinds: Kinds,
        *,
        at_once: int = 2,
        habits: Habits = _HABITS,
        dispatch: Dispatch | None = None,
    ) -> None:
        self._engine = engine
        self._kinds = kinds
        self._at_once = at_once
        self._habits = habits
        self._environment = engine.context.environment
        self._dispatch = dispatch or dispatch_of(engine, habits)
        self._limiter = Limiter(self._environment.clock, lease=engine.catalog.lease_rate)
        self._ending = False
        self._busy = 0
        self.worker = f"{os.getpid()}-{self._environment.new_id()}"

    # -- for as long as the process lives -----------------------------------------------------------------------------
    async def run(self) -> None:
        """Take turns until cancelled; then let steps come to an end, write down what they did, and return."""
        deaf = self._engine.news.hear(self._dispatch.announce)
        turns = asyncio.ensure_future(self._dispatch.run(self._turn_safely, self._at_once))
        try:
            await asyncio.shield(turns)
        except asyncio.CancelledError:
            self._ending = True
            await self._settle()
            raise
        finally:
            deaf()
            turns.cancel()
            await asyncio.gather(turns, return_exceptions=True)

    async def _settle(self) -> None:
        """Wait until nothing is under way, but not for ever."""
        clock = self._environment.clock
        until = clock.monotonic() + self._habits.grace
        while self._busy and clock.monotonic() < until:
            await clock.sleep(0.02)

    async def _turn_safely(self, job_id: str, number: int) -> bool:
        """As `turn`; what goes wrong with it is no reason to stop taking turns."""
        if self._ending:
            await asyncio.sleep(_IDLE)
            return False
        self._busy += 1
        try:
            return await self.turn(job_id, number)
        except HoldfastError as error:
            _log.warning("jobs could not be worked on", code=error.code, error=error.message)
        except Exception:
            _log.exception("jobs could not be worked on")
        finally:
            self._busy -= 1
        return False

    # -- one job ------------------------------------------------------------------------------------------------------
    async def run_job(self, job_id: str) -> Job:
        """Work on one job until it has ended or is paused, and return it; others may work on it too.

        Cancelled, it lets go of what it holds: the job stays where it stands.
        """
        tasks = [asyncio.ensure_future(self._turns_of(job_id)) for _ in range(max(1, self._at_once))]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return await self._engine.catalog.job(job_id)

    async def _turns_of(self, job_id: str) -> None:
        pause = 0.05
        while True:
            job = await self._engine.catalog.job(job_id)
            if job.state in ENDED or job.state is JobState.PAUSED:
                return
            if await self.turn(job_id):
                pause = 0.05
                continue
            await self._environment.clock.sleep(min(pause, self._habits.look))
            pause = min(pause * 2, 0.5)

    # -- a turn -------------------------------------------------------------------------------------------------------
    async def turn(self, job_id: str = "", number: int = -1) -> bool:
        """Take something and work on it for a while; return whether there was something.

        Raises:
            UnavailableError: the catalog does not answer.
        """
        claim = await self._take(job_id, number)
        if claim is None:
            return False
        kind = self._kinds.find(claim.job.kind)
        try:
            async with Holding(self._engine, claim, self._habits, lambda: self._ending) as holding:
                if claim.part is None:
                    await self._lead(kind, holding)
                else:
                    await self._walk(kind, holding, claim.part)
        except LostError:
            _log.info("somebody else works on it", job=claim.job.id)
        except asyncio.CancelledError:
            await finish(self._let_go(claim))
            raise
        except NotFoundError as error:
            _log.info("the job is gone", job=claim.job.id, error=error.message)
        return True

    async def _take(self, job_id: str, number: int) -> Claim | None:
        """Take something; who is cancelled meanwhile lets go of what was taken all the same."""
        taking = asyncio.ensure_future(
            self._engine.catalog.take_job_work(
                self.worker, self._kinds.names, lease=self._habits.lease_micros, job_id=job_id, number=number
            )
        )
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            await finish(self._give_back(taking))
            raise

    async def _give_back(self, taking: asyncio.Future[Claim | None]) -> None:
        try:
            claim = await taking
        except HoldfastError:
            return
        if claim is not None:
            await self._let_go(claim)

    async def _walk(self, kind: Kind, holding: Holding, part: Part) -> None:
        """Do steps of a part until its end, or until it is time for others."""
        clock = self._environment.clock
        until = clock.monotonic() + self._habits.slice
        while True:
            before = part.cursor
            step = await self._step(kind, holding, part)
            if step is None:
                return
            goes_on = not (step.done or holding.stopping() or clock.monotonic() > until)
            answer = await self._write(holding, part, step, goes_on)
            holding.job, part = answer
            if part.done and holding.job.parts_done >= holding.job.parts:
                self._dispatch.announce(part.job_id)
            if not goes_on:
                if not part.done and holding.job.state is JobState.RUNNING and not self._ending:
                    self._dispatch.announce(part.job_id, (part.number,))
                return
            if holding.job.state is not JobState.RUNNING:
                await self._let_go(holding.claim)
                return
            if part.cursor == before and not step.counts.examined:
                await clock.sleep(_IDLE)

    async def _step(self, kind: Kind, holding: Holding, part: Part) -> Step | None:
        """Do one step; None when it came to nothing, and what that means is written down."""
        gauge = self._gauge(holding)
        try:
            step = await holding.run(kind.step(self._work(holding, gauge), part))
        except LostError:
            raise
        except (Exception, asyncio.CancelledError) as error:
            await self._broken_off(holding, gauge, error)
            return None
        return step

    async def _write(self, holding: Holding, part: Part, step: Step, goes_on: bool) -> tuple[Job, Part]:
        done = Done(
            part,
            step.cursor,
            step.done,
            step.counts,
            step.failures,
            self._environment.new_id(),
            self._habits.lease_micros if goes_on else 0,
        )
        answer = await self._engine.catalog.checkpoint_job(done)
        if answer is None:
            raise LostError
        self._count(holding.job.kind, step.counts)
        return answer

    # -- splitting and ending -----------------------------------------------------------------------------------------
    async def _lead(self, kind: Kind, holding: Holding) -> None:
        """Split a job that waits for it, or end one whose parts are all over."""
        claim, gauge = holding.claim, self._gauge(holding)
        work = self._work(holding, gauge)
        try:
            if claim.job.round == 0:
                await self._plan(claim, await holding.run(kind.split(work)))
                return
            end = await holding.run(kind.finish(work))
            if end.again:
                await self._plan(claim, end.again, after=end.after, result=end.result)
            else:
                await self._engine.catalog.finish_job(claim, end.result)
        except LostError:
            raise
        except (Exception, asyncio.CancelledError) as error:
            await self._broken_off(holding, gauge, error)

    async def _broken_off(self, holding: Holding, gauge: JobGauge, error: BaseException) -> None:
        """Write down what it means that a step did not come to its end."""
        claim = holding.claim
        if isinstance(error, asyncio.CancelledError):
            if _is_cancelled():
                raise error
            if gauge.stopped or holding.stopping():
                await self._let_go(claim)
                return
        await self._trip(claim, error)

    async def _plan(
        self,
        claim: Claim,
        ranges: Sequence[Range],
        *,
        after: float = 0.0,
        result: Mapping[str, Any] | None = None,
    ) -> None:
        parts = [NewPart(one.start, one.end, one.items, one.bytes) for one in ranges]
        micros = int(after * 1_000_000)
        job = await self._engine.catalog.plan_job(claim, parts, after=micros, result=result)
        if job is not None and job.state is JobState.RUNNING and not after:
            self._dispatch.announce(job.id, range(len(parts)) if parts else (-1,))

    # -- what all of them need ----------------------------------------------------------------------------------------
    def _gauge(self, holding: Holding) -> JobGauge:
        return JobGauge(
            self._limiter,
            holding.job.id,
            self._environment.clock,
            pace=lambda: holding.job.pace,
            stopping=holding.stopping,
        )

    def _work(self, holding: Holding, gauge: JobGauge) -> Work:
        return Work(self._engine, holding.job, gauge, holding.stopping, holding.beat)

    async def _let_go(self, claim: Claim) -> None:
        """Let others have it; if the catalog cannot be told, they have it when the lease ends."""
        try:
            await self._engine.catalog.release_job_work(claim)
        except HoldfastError as error:
            _log.info("a lease is left to end by itself", job=claim.job.id, error=error.message)

    async def _trip(self, claim: Claim, error: BaseException) -> None:
        """Write down that a step failed as a whole, so that it is tried again later, or the job has failed."""
        if isinstance(error, HoldfastError):
            about = f" [{error.name}]" if error.name and error.name not in error.message else ""
            trouble = f"{error.code}: {error.message}{about}"
            _log.warning("a step of a job failed", job=claim.job.id, kind=claim.job.kind, reason=trouble)
        else:
            trouble = f"a defect ({type(error).__name__}); see the log"
            _log.error("a step of a job failed", job=claim.job.id, kind=claim.job.kind, exc_info=error)
        # refused before it began, or in the end: trying again unchanged cannot help
        refused = claim.part is None and isinstance(error, HoldfastError) and not error.retryable
        pause = self._habits.pause * self._environment.random.uniform(0.75, 1.25)
        await self._engine.catalog.trip_job_work(
            claim,
            trouble[:1000],
            pause=int(pause * 1_000_000),
            longest=int(self._habits.longest * 1_000_000),
            most=1 if refused else self._habits.tries,
        )

    def _count(self, kind: str, counts: Counts) -> None:
        for outcome in ("done", "skipped", "failed"):
            if number := getattr(counts, outcome):
                self._engine.context.activity.job_items[kind, outcome] += number


def dispatch_of(engine: Engine, habits: Habits) -> Dispatch:
    """Return what wakes those who work on jobs: the queue of the catalog where it has one."""
    environment, queue = engine.context.environment, engine.catalog.part_queue
    if queue is None:
        return LocalDispatch(environment, habits.look)
    from holdfast.jobs.dispatch_postgres import QueueDispatch

    return QueueDispatch(queue, environment, look=habits.look, redeliver=habits.lease)


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
