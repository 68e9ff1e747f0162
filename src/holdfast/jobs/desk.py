"""The desk where one principal starts jobs, looks after them and schedules them: each asked of the access policy first.

A job belongs to the tenant of whoever started it, and works there alone. What only operators may do belongs to the service,
or to the tenant that the spec names. Who could start a job may see and steer it; so may operators, and whoever started it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from holdfast.catalog.contract import Actor
from holdfast.core.errors import ConflictError, InvalidRequestError, NotFoundError
from holdfast.core.jobs import ENDED, ItemFailure, Job, JobState, Pace, Part, Schedule
from holdfast.core.names import check_schedule
from holdfast.core.types import Principal
from holdfast.engine.engine import Engine
from holdfast.engine.limiter import Limiter
from holdfast.engine.permits import Permit
from holdfast.jobs.kinds import Ask, Forecast, Kind, Kinds, Work
from holdfast.jobs.pace import JobGauge
from holdfast.jobs.schedules import check_cron, next_time
from holdfast.policy.access import OPERATE
from holdfast.policy.progress import seconds_as

LEAST_PACE: Final = 0.001  #: objects per second: one in a quarter of an hour
_FREE: Final = Pace()
_LOOK: Final = 0.5  #: seconds between two looks of a watcher
_PAGE: Final = 200
_SERVICE: Final = "operate"


class JobDesk:
    """Jobs as `principal` sees them. Costs nothing to make. `papers` are those of a session that it serves."""

    def __init__(
        self,
        engine: Engine,
        kinds: Kinds,
        principal: Principal,
        *,
        request_id: str = "",
        address: str = "",
        papers: tuple[Permit, Actor] | None = None,
    ) -> None:
        self._engine = engine
        self._catalog = engine.catalog
        self._kinds = kinds
        self._principal = principal
        own = Permit(engine.context, principal, address), Actor(principal.id, request_id, address)
        self.permit, self._actor = papers or own

    # -- starting -----------------------------------------------------------------------------------------------------
    async def start(self, kind: str, spec: Mapping[str, Any], *, pace: Pace = _FREE, job_id: str = "") -> Job:
        """Start a job and return it as it is now: waiting for a process that works on it.

        Raises:
            InvalidRequestError: there is no such kind, or a member of `spec` or `pace` is wrong; the message names it.
            NotFoundError: a bucket, store, snapshot or upstream that `spec` names is not there.
            PermissionDeniedError: the kind needs a permission that `principal` does not have there.
        """
        job = await self._sound(self._kinds.find(kind), spec, pace, job_id)
        made = await self._catalog.create_job(job, actor=self._actor)
        self._engine.news.tell(made.id)
        return made

    async def forecast(self, kind: str, spec: Mapping[str, Any], *, pace: Pace = _FREE) -> Forecast:
        """Return what such a job would do; nothing of it is done. Raises as `start` does."""
        found = self._kinds.find(kind)
        job = await self._sound(found, spec, pace, "")
        clock = self._engine.context.environment.clock
        gauge = JobGauge(Limiter(clock), job.id, clock, pace=lambda: _FREE, stopping=_no)
        made = await found.forecast(Work(self._engine, job, gauge, _no, _nothing))
        lately = await self._catalog.jobs(job.tenant, state=JobState.DONE, kind=kind, limit=1)
        times = [made.seconds, *(seconds_as(one, made.objects, made.bytes) for one in lately)]
        return replace(made, seconds=max((one for one in times if one is not None), default=None))

    def kinds(self) -> Sequence[tuple[str, str, str]]:
        """Return (name, verb, what it is for) of every kind, by name."""
        found = [self._kinds.find(name) for name in self._kinds.names]
        return [(kind.name, kind.verb, _about(kind)) for kind in found]

    async def _sound(self, kind: Kind, spec: Mapping[str, Any], pace: Pace, job_id: str) -> Job:
        """Return a job that is allowed, and that names nothing which is not there; nothing is written yet."""
        job = self._job(kind, spec, pace, job_id)
        if (look := getattr(kind, "look", None)) is not None:
            await look(self._engine, job.spec)
        return job

    def _job(self, kind: Kind, spec: Mapping[str, Any], pace: Pace, job_id: str) -> Job:
        self.permit.allow_role(kind.verb)
        said = dict(kind.check(self._at_home(kind, spec)))
        tenant = self._allowed(kind, said)
        _check_pace(pace)
        return Job(
            id=job_id or self._engine.context.environment.new_id(),
            tenant=tenant,
            kind=kind.name,
            spec=said,
            principal=self._principal.id,
            pace=pace,
        )

    def _at_home(self, kind: Kind, spec: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return `spec` without a tenant that is the principal's own anyway, where kinds need not know of it."""
        if kind.verb not in OPERATE and spec.get("tenant") == self._principal.tenant:
            return {name: value for name, value in spec.items() if name != "tenant"}
        return spec

    def _allowed(self, kind: Kind, spec: dict[str, Any]) -> str:
        """Ask for permission and return whose the job is; a kind of tenants is bound to its own in `spec`."""
        named = str(spec.get("tenant") or "")
        if kind.verb in OPERATE:
            self.permit.allow(kind.verb)
            return named
        if named and named != self._principal.tenant:
            self.permit.allow(_SERVICE)
        spec["tenant"] = named or self._principal.tenant
        for ask in _asks(kind, spec):
            self.permit.allow(ask.verb, ask.bucket, ask.key, ask.prefix)
        return str(spec["tenant"])

    # -- looking after ------------------------------------------------------------------------------------------------
    async def job(self, job_id: str) -> Job:
        """Return a job; `NotFoundError` when there is none that `principal` may see."""
        job = await self._catalog.job(job_id)
        if not self._may(job.tenant, job.kind, job.spec, job.principal):
            raise NotFoundError(
                "there is no such job; they are forgotten 30 days after they end", name=job_id
            )
        return job

    async def jobs(
        self, *, state: JobState | None = None, kind: str = "", after: str = "", limit: int = 100
    ) -> Sequence[Job]:
        """Return jobs that `principal` may see, the newest first, from the one behind the id `after` on."""
        tenant = None if self._may_operate() else self._principal.tenant
        asked = "" if state is None else state.value
        found: list[Job] = []
        while len(found) < limit:
            page = await self._catalog.jobs(tenant, state=asked, kind=kind, before=after, limit=_PAGE)
            found += [job for job in page if self._may(job.tenant, job.kind, job.spec, job.principal)]
            if len(page) < _PAGE:
                break
            after = page[-1].id
        return found[:limit]

    async def parts(self, job_id: str) -> Sequence[Part]:
        """Return the parts of a job's present round."""
        return await self._catalog.job_parts((await self.job(job_id)).id)

    async def failures(self, job_id: str, *, after: int = 0, limit: int = 100) -> Sequence[ItemFailure]:
        """Return items that a job could not do, from the one behind number `after` on; the first 10,000 are kept."""
        return await self._catalog.job_failures((await self.job(job_id)).id, after=after, limit=limit)

    async def watch(self, job_id: str) -> AsyncIterator[Job]:
        """Yield a job as it is, and again whenever it has changed; the last one has ended."""
        clock, seen = self._engine.context.environment.clock, None
        while True:
            job = await self.job(job_id)
            if job != seen:
                seen = job
                yield job
            if job.state in ENDED:
                return
            await clock.sleep(_LOOK)

    async def pause(self, job_id: str) -> Job:
        """Let a job stand still; `ConflictError` when it has ended."""
        await self._steered(job_id)
        return await self._catalog.pause_job(job_id, actor=self._actor)

    async def resume(self, job_id: str) -> Job:
        """Let a job go on that is paused, or that has failed; `ConflictError` when it is done or cancelled."""
        await self._steered(job_id)
        job = await self._catalog.resume_job(job_id, actor=self._actor)
        self._engine.news.tell(job.id)
        return job

    async def cancel(self, job_id: str) -> Job:
        """End a job; what was done stays done. One that has ended stays as it is."""
        job = await self._steered(job_id)
        if job.state in ENDED:
            return job
        return await self._catalog.cancel_job(job_id, actor=self._actor)

    async def set_pace(self, job_id: str, pace: Pace) -> Job:
        """Give a job another pace, which holds within a second; `ConflictError` when it has ended."""
        await self._steered(job_id)
        _check_pace(pace)
        return await self._catalog.set_job_pace(job_id, pace, actor=self._actor)

    async def _steered(self, job_id: str) -> Job:
        """Return a job that `principal` may steer: it started it, operates, or might start such a one."""
        return await self.job(job_id)

    def _may_operate(self) -> bool:
        return self.permit.may(_SERVICE)

    def _may(self, tenant: str, kind: str, spec: Mapping[str, Any], principal: str) -> bool:
        if self._may_operate():
            return True
        if tenant != self._principal.tenant:
            return False
        if principal == self._principal.id:
            return True
        with suppress(InvalidRequestError):  # a kind that this process does not know
            asks = _asks(self._kinds.find(kind), spec)
            return all(self.permit.may(ask.verb, ask.bucket, ask.key, ask.prefix) for ask in asks)
        return False

    # -- schedules ----------------------------------------------------------------------------------------------------
    async def schedules(self, tenant: str | None = None) -> Sequence[Schedule]:
        """Return the schedules that `principal` may see, by name: of one tenant ("": of the service), or all."""
        asked = tenant if self._may_operate() else self._principal.tenant
        found = await self._catalog.schedules(asked)
        return [
            one
            for one in found
            if tenant in (None, one.tenant) and self._may(one.tenant, one.kind, one.spec, one.principal)
        ]

    async def schedule(self, name: str, tenant: str | None = None) -> Schedule:
        """Return one schedule, of a tenant ("": of the service); without one, the principal's own or the service's.

        Raises:
            NotFoundError: there is none that `principal` may see.
            ConflictError: no tenant is given, and both have one of that name.
        """
        places = {"", self._principal.tenant} if tenant is None else {tenant}
        found = [one for place in places for one in await self.schedules(place) if one.name == name]
        if not found:
            raise NotFoundError("there is no such schedule", name=name)
        if len(found) > 1:
            raise ConflictError(
                f"the service has a schedule of that name, and so has tenant {self._principal.tenant}: say which, "
                "with `tenant` (empty for the service)",
                name=name,
            )
        return found[0]

    async def put_schedule(
        self,
        name: str,
        kind: str,
        cron: str,
        spec: Mapping[str, Any],
        *,
        pace: Pace = _FREE,
        enabled: bool = True,
    ) -> Schedule:
        """Start a job of `kind` whenever `cron` says so, in the place of what `name` did; its jobs are those of `principal`.

        Raises:
            InvalidRequestError, NotFoundError, PermissionDeniedError: as `start`; or `cron` names no time.
        """
        check_schedule(name)
        job = await self._sound(self._kinds.find(kind), spec, pace, "")
        cron, now = check_cron(cron), await self._catalog.now()
        with suppress(
            NotFoundError
        ):  # one of that name that somebody else may not be shown is not replaced either
            await self._steered_schedule(job.tenant, name)
        schedule = Schedule(
            name=name,
            tenant=job.tenant,
            kind=job.kind,
            spec=job.spec,
            cron=cron,
            pace=pace,
            enabled=enabled,
            next_at=next_time(cron, after=now, since=now),
            principal=self._principal.id,
        )
        return await self._catalog.put_schedule(schedule, actor=self._actor)

    async def delete_schedule(self, name: str, tenant: str | None = None) -> None:
        """Remove a schedule; the jobs that it started go on. It is named, and refused, as for `schedule`."""
        found = await self.schedule(name, tenant)
        await self._catalog.delete_schedule(found.tenant, name, actor=self._actor)

    async def _steered_schedule(self, tenant: str, name: str) -> None:
        held = await self._catalog.schedule(tenant, name)
        for ask in _asks(self._kinds.find(held.kind), held.spec):
            self.permit.allow(ask.verb, ask.bucket, ask.key, ask.prefix)


def _asks(kind: Kind, spec: Mapping[str, Any]) -> Sequence[Ask]:
    """Return what must be allowed for such a job: what the kind says, else its verb on the bucket that the spec names."""
    if (said := getattr(kind, "asks", None)) is not None:
        asks: Sequence[Ask] = said(spec)
        return asks
    bucket, prefix = spec.get("bucket") or "", spec.get("prefix") or ""
    return [Ask(kind.verb, str(bucket), prefix=str(prefix) if bucket else "")]


def _about(kind: Kind) -> str:
    return (type(kind).__doc__ or "").strip().partition("\n")[0].rstrip(".")


def _check_pace(pace: Pace) -> None:
    if pace.objects is not None and not LEAST_PACE <= pace.objects < 1e9:
        raise InvalidRequestError(f"the pace in objects per second is a number from {LEAST_PACE} on")
    if pace.bytes is not None and not 1 <= pace.bytes < 1 << 60:
        raise InvalidRequestError("the pace in bytes per second is a number from 1 on")


def _no() -> bool:
    return False


async def _nothing() -> None:
    return
