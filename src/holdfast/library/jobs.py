"""The verbs on jobs, as every client has them: start, watch, pause, resume, cancel, and schedules."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from holdfast.core.jobs import ItemFailure, Job, JobState, Pace, Schedule
from holdfast.core.types import EMPTY

if TYPE_CHECKING:
    from holdfast.jobs.kinds import Forecast

FREE: Final = Pace()

#: Told of a job whenever it changes.
Seen: TypeAlias = Callable[[Job], None]


@dataclass(frozen=True, slots=True)
class KindOfJob:
    """A kind of job: the permission that it needs, and what it is for."""

    name: str
    verb: str
    about: str = ""


class JobVerbs(ABC):
    """Jobs as one principal sees them: those of its tenant; an operator sees all."""

    @abstractmethod
    async def start_job(self, kind: str, spec: Mapping[str, Any] = EMPTY, *, pace: Pace = FREE) -> Job:
        """Start a job of `kind` and return it at once.

        A server does it in the background. Without one it waits, as a row in the catalog, for a server over the same
        catalog, or for `run_job`.

        Raises:
            InvalidRequestError: there is no such kind, or its spec is wrong; it names the member.
            NotFoundError: a bucket, store, snapshot or upstream that the spec names is not there.
            PermissionDeniedError: the kind needs a permission that is not there.
        """

    @abstractmethod
    async def forecast_job(
        self, kind: str, spec: Mapping[str, Any] = EMPTY, *, pace: Pace = FREE
    ) -> Forecast:
        """Return what such a job would do; raises what `start_job` does. Nothing is done."""

    @abstractmethod
    async def job_kinds(self) -> Sequence[KindOfJob]:
        """Return the kinds of job that there are, by name."""

    @abstractmethod
    async def job(self, job_id: str) -> Job:
        """Return a job; `NotFoundError` when there is none, or it is of somebody else."""

    @abstractmethod
    async def jobs(self, *, state: JobState | None = None, kind: str = "", limit: int = 100) -> Sequence[Job]:
        """Return the newest jobs, at most `limit`."""

    @abstractmethod
    async def job_failures(self, job_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[ItemFailure]:
        """Return items that a job could not do, in their order, from the one behind number `after`."""

    @abstractmethod
    async def pause_job(self, job_id: str) -> Job:
        """Have a job stop where it stands, and return it; `ConflictError` when it has ended."""

    @abstractmethod
    async def resume_job(self, job_id: str) -> Job:
        """Have a job that is paused go on, and return it; `ConflictError` when it has ended."""

    @abstractmethod
    async def cancel_job(self, job_id: str) -> Job:
        """End a job; what it did stays done. Return it; one that has ended stays as it is."""

    @abstractmethod
    async def set_job_pace(self, job_id: str, pace: Pace) -> Job:
        """Limit what a job may do in a second, from now on, and return it."""

    @abstractmethod
    def watch_job(self, job_id: str) -> AsyncIterator[Job]:
        """Yield a job as it is, and again whenever it has changed; the last one has ended.

        Nothing is done by watching: without a server, somebody must `run_job` it.
        """

    @abstractmethod
    async def run_job(self, job_id: str, seen: Seen | None = None) -> Job:
        """Return a job once it has ended or is paused; without a server this process works at it until then.

        Any number of processes may run the same job, and one that dies costs nothing but what it did last.
        """

    @abstractmethod
    async def schedules(self, *, tenant: str | None = None) -> Sequence[Schedule]:
        """Return schedules by name: of one tenant ("": of the service), or all that may be seen."""

    @abstractmethod
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
        """Make or replace a schedule: a job of `kind` whenever `cron` (five fields, in UTC; or `@every N` seconds) says.

        Raises:
            InvalidRequestError: the name, the kind, its spec or the times make no sense.
        """

    @abstractmethod
    async def delete_schedule(self, name: str, *, tenant: str | None = None) -> None:
        """Remove a schedule of a tenant ("": of the service); without one, one's own or the service's.

        The jobs that it started go on.

        Raises:
            NotFoundError: there is none.
            ConflictError: no tenant is given, and both have one of that name.
        """
