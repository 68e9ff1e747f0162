"""Schedules: when a job is due next, and its start by whichever process sees first that it is.

Times are UTC. Whatever was missed while nobody was there is started once; and a job whose last run still goes on is not
started beside it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

import structlog
from croniter import CroniterError, croniter

from holdfast.core.errors import InvalidRequestError, NotFoundError, PermissionDeniedError
from holdfast.core.jobs import Job, Schedule
from holdfast.engine.engine import Engine
from holdfast.engine.principals import check_tenant
from holdfast.jobs.kinds import Kinds
from holdfast.jobs.repeat import repeat

_log = structlog.get_logger("holdfast.schedules")
_SECOND: Final = 1_000_000
_EVERY: Final = re.compile(r"@every ([1-9][0-9]{0,8})")
LOOK: Final = 2.0  #: seconds between two looks for what is due
_LONGEST: Final = 200  #: characters
_FORGET: Final = 600.0  #: seconds between two looks for jobs that ended long ago


def check_cron(cron: str) -> str:
    """Return `cron` in its usual spelling.

    Raises:
        InvalidRequestError: it is neither five fields nor `@every N`, or too long, or there is no such time.
    """
    if len(cron) > _LONGEST:
        raise InvalidRequestError(f"the times of a schedule are at most {_LONGEST} characters")
    text = " ".join(cron.split())
    next_time(text, after=0)
    return text


def next_time(cron: str, *, after: int, since: int = 0) -> int:
    """Return the first time after `after` that `cron` names, microseconds; `@every N` counts from `since`.

    Raises:
        InvalidRequestError: `cron` names no time.
    """
    if every := _EVERY.fullmatch(cron):
        step = int(every[1]) * _SECOND
        return since + ((after - since) // step + 1) * step
    if cron.startswith("@") or len(cron.split()) != 5:
        raise InvalidRequestError(
            "a schedule is five fields, minute hour day month weekday, as in `30 2 * * *`; or `@every N` seconds"
        )
    try:
        start = datetime.fromtimestamp(after // _SECOND, UTC)
        found: datetime = croniter(cron, start).get_next(datetime)
    except (CroniterError, ValueError, OverflowError) as error:
        raise InvalidRequestError(f"the schedule {cron!r:.80} names no time: {error}") from None
    return int(found.timestamp()) * _SECOND


async def start_due(engine: Engine, kinds: Kinds) -> list[Job]:
    """Start what is due, each by one process only, and return the jobs."""
    started = []
    for schedule in await engine.catalog.due_schedules():
        if schedule.kind not in kinds.names:
            continue  # a newer process may know it
        if (job := await _start(engine, schedule)) is not None:
            _log.info("started", schedule=schedule.name, kind=schedule.kind, job=job.id)
            engine.news.tell(job.id)
            started.append(job)
    return started


async def _start(engine: Engine, schedule: Schedule) -> Job | None:
    now = await engine.catalog.now()
    next_at = next_time(schedule.cron, after=now, since=schedule.next_at)
    if schedule.next_at > now:  # the clock was ahead when that was written
        _log.warning("the clock was ahead; due earlier", schedule=schedule.name)
        return await engine.catalog.start_schedule(schedule, None, next_at=next_at)
    if why := await _refused(engine, schedule):
        _log.warning("not started", schedule=schedule.name, tenant=schedule.tenant, reason=why)
        return await engine.catalog.start_schedule(schedule, None, next_at=next_at)
    job = Job(
        id=engine.context.environment.new_id(),
        tenant=tenant_of(schedule),
        kind=schedule.kind,
        spec=schedule.spec,
        principal=schedule.principal,
        pace=schedule.pace,
        schedule=schedule.name,
    )
    return await engine.catalog.start_schedule(schedule, job, next_at=next_at)


async def _refused(engine: Engine, schedule: Schedule) -> str:
    """Return why a schedule starts nothing: its tenant is not served, or the key that it was made with is revoked."""
    for name in {schedule.tenant, tenant_of(schedule)} - {""}:
        try:
            check_tenant(await engine.catalog.tenant(name))
        except PermissionDeniedError as error:
            return error.message
        except NotFoundError:
            if await engine.catalog.tenant_was_removed(name):
                return f"tenant {name} was removed"
    if await engine.directory.given_up(schedule.principal):
        return "the key that it was made with was revoked; whoever may start such jobs can set it anew"
    return ""


def tenant_of(schedule: Schedule) -> str:
    """Return whose the jobs of a schedule are."""
    return str(schedule.spec.get("tenant") or schedule.tenant)


async def keep_starting(engine: Engine, kinds: Kinds, *, look: float = LOOK) -> None:
    """Start what is due, for as long as the process lives."""

    async def start() -> None:
        await start_due(engine, kinds)

    await repeat("starting what is scheduled", start, look, engine.context.environment)


async def keep_forgetting(engine: Engine, interval: float = _FORGET) -> None:
    """Forget jobs that ended long ago, for as long as the process lives."""

    async def forget() -> None:
        while await engine.catalog.forget_jobs():
            pass

    await repeat("forgetting jobs", forget, interval, engine.context.environment)
