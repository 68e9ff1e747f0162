"""Jobs over REST: started or foretold, looked at, watched, paused, resumed, cancelled; and schedules."""

from __future__ import annotations

from typing import Final

from holdfast.api.body import MAX_JSON, small_body
from holdfast.api.exchange import Exchange
from holdfast.api.job_events import Watchers
from holdfast.api.job_models import (
    FailureList,
    JobList,
    JobWish,
    PaceForm,
    ScheduleList,
    ScheduleWish,
    failure_form,
    forecast_answer,
    job_info,
    kind_forms,
    schedule_form,
)
from holdfast.api.listing import number
from holdfast.api.models import decode, encode
from holdfast.core.errors import InvalidRequestError
from holdfast.core.jobs import Job, JobState
from holdfast.engine.engine import Engine
from holdfast.jobs.desk import JobDesk
from holdfast.jobs.kinds import Kinds

ROOT: Final = "/api/v1/background-jobs"
_LARGE: Final = 16 << 20  #: bytes: the spec of a batch names up to 10,000 long keys


class JobDoor:
    """Jobs of the whole service, each seen by those who may: their tenant, and operators."""

    def __init__(self, engine: Engine, kinds: Kinds, watchers: Watchers) -> None:
        self._engine = engine
        self._kinds = kinds
        self._watchers = watchers

    # -- jobs -------------------------------------------------------------------------------------------------------
    async def start(self, exchange: Exchange) -> None:
        """Start a job and answer 202 with it; with `dry_run` answer 200 with what it would do, and do nothing.

        What `spec` holds, and which permission is needed, depends on the kind.
        """
        wish = decode(JobWish, await small_body(exchange, _LARGE))
        desk, pace = self._desk(exchange), wish.pace.pace()
        if wish.dry_run:
            found = await desk.forecast(wish.kind, wish.spec, pace=pace)
            await exchange.answer_json(200, encode(forecast_answer(wish.kind, found)))
            return
        job = await desk.start(wish.kind, wish.spec, pace=pace)
        place = ((b"location", f"{ROOT}/{job.id}".encode()),)
        await exchange.answer_json(202, encode(job_info(job)), place)

    async def list(self, exchange: Exchange) -> None:
        """Answer with one page of jobs, the newest first."""
        limit = number(exchange, "limit", 100, least=1, most=1000)
        query = exchange.query
        found = await self._desk(exchange).jobs(
            state=_state(query.get("state", "")),
            kind=query.get("kind", ""),
            after=query.get("after", ""),
            limit=limit,
        )
        after = found[-1].id if len(found) == limit else ""
        await exchange.answer_json(
            200, encode(JobList(jobs=[job_info(job) for job in found], next_after=after))
        )

    async def show(self, exchange: Exchange, job: str) -> None:
        """Answer with a job and how far it is."""
        await _answer(exchange, await self._desk(exchange).job(job))

    async def failures(self, exchange: Exchange, job: str) -> None:
        """Answer with one page of the items that a job could not do, in their order; it keeps the first 10,000."""
        limit = number(exchange, "limit", 100, least=1, most=1000)
        after = number(exchange, "after", 0)
        found = await self._desk(exchange).failures(job, after=after, limit=limit)
        told = FailureList(
            failures=[failure_form(one) for one in found],
            next_after=found[-1].number if len(found) == limit else 0,
        )
        await exchange.answer_json(200, encode(told))

    async def pause(self, exchange: Exchange, job: str) -> None:
        """Have a job stop where it stands, within seconds."""
        await _answer(exchange, await self._desk(exchange).pause(job))

    async def resume(self, exchange: Exchange, job: str) -> None:
        """Have a job that is paused go on."""
        await _answer(exchange, await self._desk(exchange).resume(job))

    async def cancel(self, exchange: Exchange, job: str) -> None:
        """End a job within seconds; what it did stays done."""
        await _answer(exchange, await self._desk(exchange).cancel(job))

    async def set_pace(self, exchange: Exchange, job: str) -> None:
        """Limit what a job may do in a second, from now on; what is not given is not limited."""
        wish = decode(PaceForm, await small_body(exchange, MAX_JSON))
        await _answer(exchange, await self._desk(exchange).set_pace(job, wish.pace()))

    async def events(self, exchange: Exchange, job: str) -> None:
        """Send a job whenever it changes, as server-sent events: `progress`, and `end` for the last.

        A comment every 15 seconds shows that the service is still there. One answer lasts five minutes at most, and
        ends when the service is stopped; who asks again with `Last-Event-ID` is told what has changed since.
        """
        await self._watchers.watch(exchange, self._desk(exchange), job)

    async def kinds(self, exchange: Exchange) -> None:
        """Answer with the kinds of job that there are, the permission that each needs, and what it is for."""
        await exchange.answer_json(200, encode(kind_forms(self._desk(exchange).kinds())))

    # -- schedules --------------------------------------------------------------------------------------------------
    async def schedules(self, exchange: Exchange) -> None:
        """Answer with the schedules by name: those of one tenant, or all that may be seen."""
        found = await self._desk(exchange).schedules(exchange.query.get("tenant"))
        told = ScheduleList(schedules=[schedule_form(schedule) for schedule in found])
        await exchange.answer_json(200, encode(told))

    async def schedule(self, exchange: Exchange, schedule: str) -> None:
        """Answer with a schedule. Without a tenant it is one's own or the service's; 409 when both have it."""
        found = await self._desk(exchange).schedule(schedule, exchange.query.get("tenant"))
        await exchange.answer_json(200, encode(schedule_form(found)))

    async def put_schedule(self, exchange: Exchange, schedule: str) -> None:
        """Make or replace a schedule, in the tenant that its `spec` names. Its jobs run as whoever made it."""
        wish = decode(ScheduleWish, await small_body(exchange, MAX_JSON))
        made = await self._desk(exchange).put_schedule(
            schedule, wish.kind, wish.cron, wish.spec, pace=wish.pace.pace(), enabled=wish.enabled
        )
        await exchange.answer_json(200, encode(schedule_form(made)))

    async def delete_schedule(self, exchange: Exchange, schedule: str) -> None:
        """Remove a schedule; the jobs that it started go on. Without a tenant: one's own or the service's, or 409."""
        await self._desk(exchange).delete_schedule(schedule, exchange.query.get("tenant"))
        await exchange.answer(204, ())

    def _desk(self, exchange: Exchange) -> JobDesk:
        session = exchange.session
        return JobDesk(self._engine, self._kinds, session.principal, papers=session.papers)


async def _answer(exchange: Exchange, job: Job) -> None:
    await exchange.answer_json(200, encode(job_info(job)))


def _state(text: str) -> JobState | None:
    if not text:
        return None
    try:
        return JobState(text)
    except ValueError:
        raise InvalidRequestError(f"state is one of {', '.join(JobState)}") from None
