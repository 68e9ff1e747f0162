"""The verbs on jobs over an engine in this process."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from holdfast.core.errors import UnsupportedError
from holdfast.core.jobs import ENDED, ItemFailure, Job, JobState, Pace, Schedule
from holdfast.core.types import EMPTY, Principal
from holdfast.library.jobs import FREE, JobVerbs, KindOfJob, Seen

if TYPE_CHECKING:
    from holdfast.engine.engine import Engine
    from holdfast.jobs.desk import JobDesk
    from holdfast.jobs.kinds import Forecast


class EmbeddedJobs(JobVerbs):
    """Jobs of the engine underneath. What has it says which engine, and who asks."""

    _engine: Engine | None

    @abstractmethod
    def _who(self) -> Principal:
        """Return who asks."""

    @property
    def _desk(self) -> JobDesk:
        from holdfast.jobs.desk import JobDesk
        from holdfast.jobs.installed import installed

        return JobDesk(self._open_engine(), installed(), self._who())

    def _open_engine(self) -> Engine:
        if self._engine is None:
            raise UnsupportedError("this client has objects alone; open one with holdfast.open for jobs")
        return self._engine

    async def start_job(self, kind: str, spec: Mapping[str, Any] = EMPTY, *, pace: Pace = FREE) -> Job:
        """See `JobVerbs`."""
        return await self._desk.start(kind, spec, pace=pace)

    async def forecast_job(
        self, kind: str, spec: Mapping[str, Any] = EMPTY, *, pace: Pace = FREE
    ) -> Forecast:
        """See `JobVerbs`."""
        return await self._desk.forecast(kind, spec, pace=pace)

    async def job_kinds(self) -> Sequence[KindOfJob]:
        """See `JobVerbs`."""
        return [KindOfJob(*about) for about in self._desk.kinds()]

    async def job(self, job_id: str) -> Job:
        """See `JobVerbs`."""
        return await self._desk.job(job_id)

    async def jobs(self, *, state: JobState | None = None, kind: str = "", limit: int = 100) -> Sequence[Job]:
        """See `JobVerbs`."""
        return await self._desk.jobs(state=state, kind=kind, limit=limit)

    async def job_failures(self, job_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[ItemFailure]:
        """See `JobVerbs`."""
        return await self._desk.failures(job_id, after=after, limit=limit)

    async def pause_job(self, job_id: str) -> Job:
        """See `JobVerbs`."""
        return await self._desk.pause(job_id)

    async def resume_job(self, job_id: str) -> Job:
        """See `JobVerbs`."""
        return await self._desk.resume(job_id)

    async def cancel_job(self, job_id: str) -> Job:
        """See `JobVerbs`."""
        return await self._desk.cancel(job_id)

    async def set_job_pace(self, job_id: str, pace: Pace) -> Job:
        """See `JobVerbs`."""
        return await self._desk.set_pace(job_id, pace)

    async def watch_job(self, job_id: str) -> AsyncIterator[Job]:
        """See `JobVerbs`."""
        async for job in self._desk.watch(job_id):
            yield job

    async def run_job(self, job_id: str, seen: Seen | None = None) -> Job:
        """See `JobVerbs`."""
        from holdfast.jobs.installed import installed
        from holdfast.jobs.runner import Runner

        job = await self._desk.job(job_id)
        if job.state in ENDED or job.state is JobState.PAUSED:
            return job
        runner = Runner(self._open_engine(), installed())
        telling = None if seen is None else asyncio.ensure_future(self._tell(job_id, seen))
        try:
            await runner.run_job(job_id)
        finally:
            if telling is not None:
                telling.cancel()
                await asyncio.gather(telling, return_exceptions=True)
        return await self._desk.job(job_id)

    async def _tell(self, job_id: str, seen: Seen) -> None:
        async for job in self._desk.watch(job_id):
            seen(job)

    async def schedules(self, *, tenant: str | None = None) -> Sequence[Schedule]:
        """See `JobVerbs`."""
        return await self._desk.schedules(tenant)

    async def put_schedule(
        self,
        name: str,
        kind: str,
        cron: str,
        spec: Mapping[str, Any] = EMPTY,
        *,
        pace: Pace = FREE,
        enabled: bool = True,
    ) -> Schedule:
        """See `JobVerbs`."""
        return await self._desk.put_schedule(name, kind, cron, spec, pace=pace, enabled=enabled)

    async def delete_schedule(self, name: str, *, tenant: str | None = None) -> None:
        """See `JobVerbs`."""
        await self._desk.delete_schedule(name, tenant)
