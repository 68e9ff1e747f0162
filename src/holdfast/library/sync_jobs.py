"""The verbs on jobs for callers without an event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from holdfast.core.jobs import ItemFailure, Job, JobState, Pace, Schedule
from holdfast.core.types import EMPTY
from holdfast.library.jobs import FREE, KindOfJob, Seen
from holdfast.library.portal import Portal

if TYPE_CHECKING:
    from holdfast.jobs.kinds import Forecast
    from holdfast.library.client import AsyncClient


class SyncJobs:
    """The verbs of `JobVerbs` without `await`. What has it sets the portal and the client underneath."""

    _portal: Portal
    _aio: AsyncClient

    def start_job(self, kind: str, spec: Mapping[str, Any] = EMPTY, *, pace: Pace = FREE) -> Job:
        """Start a job of `kind` and return it at once; see `AsyncClient.start_job`."""
        return self._portal.call(self._aio.start_job(kind, spec, pace=pace))

    def forecast_job(self, kind: str, spec: Mapping[str, Any] = EMPTY, *, pace: Pace = FREE) -> Forecast:
        """Return what such a job would do; nothing is done."""
        return self._portal.call(self._aio.forecast_job(kind, spec, pace=pace))

    def job_kinds(self) -> Sequence[KindOfJob]:
        """Return the kinds of job that there are, by name.

        >>> "batch" in [kind.name for kind in client.job_kinds()]
        True
        """
        return self._portal.call(self._aio.job_kinds())

    def job(self, job_id: str) -> Job:
        """Return a job; `NotFoundError` when there is none."""
        return self._portal.call(self._aio.job(job_id))

    def jobs(self, *, state: JobState | None = None, kind: str = "", limit: int = 100) -> Sequence[Job]:
        """Return the newest jobs, at most `limit`.

        >>> client.jobs()
        []
        """
        return self._portal.call(self._aio.jobs(state=state, kind=kind, limit=limit))

    def job_failures(self, job_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[ItemFailure]:
        """Return items that a job could not do, in their order."""
        return self._portal.call(self._aio.job_failures(job_id, after=after, limit=limit))

    def pause_job(self, job_id: str) -> Job:
        """Have a job stop where it stands, and return it."""
        return self._portal.call(self._aio.pause_job(job_id))

    def resume_job(self, job_id: str) -> Job:
        """Have a job that is paused go on, and return it."""
        return self._portal.call(self._aio.resume_job(job_id))

    def cancel_job(self, job_id: str) -> Job:
        """End a job and return it; what it did stays done."""
        return self._portal.call(self._aio.cancel_job(job_id))

    def set_job_pace(self, job_id: str, pace: Pace) -> Job:
        """Limit what a job may do in a second, from now on."""
        return self._portal.call(self._aio.set_job_pace(job_id, pace))

    def watch_job(self, job_id: str) -> Iterator[Job]:
        """Yield a job as it is, and again whenever it has changed; the last one has ended."""
        found = self._aio.watch_job(job_id)
        try:
            while (job := self._portal.call(_next(found))) is not None:
                yield job
        finally:
            self._portal.call(_close(found))

    def run_job(self, job_id: str, seen: Seen | None = None) -> Job:
        """Return a job once it has ended or is paused; without a server this process works at it until then.

        `seen` is called in another thread.
        """
        return self._portal.call(self._aio.run_job(job_id, seen))

    def schedules(self, *, tenant: str | None = None) -> Sequence[Schedule]:
        """Return schedules by name: of one tenant ("": of the service), or all that may be seen."""
        return self._portal.call(self._aio.schedules(tenant=tenant))

    def put_schedule(
        self,
        name: str,
        kind: str,
        cron: str,
        spec: Mapping[str, Any] = EMPTY,
        *,
        pace: Pace = FREE,
        enabled: bool = True,
    ) -> Schedule:
        """Make or replace a schedule; see `AsyncClient.put_schedule`."""
        return self._portal.call(self._aio.put_schedule(name, kind, cron, spec, pace=pace, enabled=enabled))

    def delete_schedule(self, name: str, *, tenant: str | None = None) -> None:
        """Remove a schedule; the jobs that it started go on. See `AsyncClient.delete_schedule`."""
        self._portal.call(self._aio.delete_schedule(name, tenant=tenant))


async def _next(found: AsyncIterator[Job]) -> Job | None:
    return await anext(found, None)


async def _close(found: AsyncIterator[Job]) -> None:
    close = getattr(found, "aclose", None)
    if close is not None:
        await close()
