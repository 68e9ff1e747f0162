"""Transactions of schedules: jobs that are started again and again, each time by whoever sees first that it is time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import select, true, update

from holdfast.catalog.common import audited
from holdfast.catalog.contract import Actor
from holdfast.catalog.job_rows import SCHEDULE, job_of, schedule_of, schedule_row
from holdfast.catalog.jobs import ONE as JOB_ONE
from holdfast.catalog.jobs import begin, clock
from holdfast.catalog.schema import schedules
from holdfast.catalog.statements import (
    Statement,
    catalog_now,
    int_param,
    text_param,
    upsert_into,
)
from holdfast.catalog.transaction import Attempt, Lock, Steps, Transaction, request_lock
from holdfast.core.errors import NotFoundError
from holdfast.core.jobs import ENDED, Job, Schedule

PUT = upsert_into(schedules, *[column.name for column in SCHEDULE], unique=("tenant", "name"))
_this = (schedules.c.tenant == text_param("of_tenant"), schedules.c.name == text_param("of_name"))
ONE = Statement(select(*SCHEDULE).where(*_this))
ALL = Statement(select(*SCHEDULE).order_by(schedules.c.tenant, schedules.c.name))
OF_TENANT = Statement(
    select(*SCHEDULE).where(schedules.c.tenant == text_param("of_tenant")).order_by(schedules.c.name)
)
DUE = Statement(
    select(*SCHEDULE)
    .where(schedules.c.next_at <= catalog_now(), schedules.c.enabled.is_(true()))
    .order_by(schedules.c.next_at)
    .limit(int_param("rows"))
)
#: Written while the clock was ahead, so that their next time may be years away.
AHEAD = Statement(
    select(*SCHEDULE)
    .where(schedules.c.updated > catalog_now(), schedules.c.enabled.is_(true()))
    .order_by(schedules.c.next_at)
    .limit(int_param("rows"))
)
MOVE = Statement(
    update(schedules)
    .where(*_this)
    .values(next_at=int_param("n_next"), last_job=text_param("n_last"), updated=int_param("at"))
)
REMOVE = Statement(schedules.delete().where(*_this))


def schedule_lock(tenant: str, name: str) -> Lock:
    """Held by whatever changes a schedule."""
    return request_lock(tenant, f"schedule {name}")


def no_schedule(name: str) -> NotFoundError:
    """Return the error for a schedule that is not there."""
    return NotFoundError("there is no such schedule", name=name)


def put(schedule: Schedule, *, actor: Actor, now: int | None) -> Transaction[Schedule]:
    """A schedule, in the place of the one of its name."""

    def steps(attempt: Attempt) -> Steps[Schedule]:
        at = yield from clock(now)
        rows = yield ONE(of_tenant=schedule.tenant, of_name=schedule.name)
        before = schedule_of(rows[0]) if rows else None
        made = replace(
            schedule,
            created=before.created if before else at,
            last_job=before.last_job if before else "",
            updated=at,
        )
        yield PUT(**schedule_row(made))
        detail = {"schedule": made.name, "kind": made.kind, "cron": made.cron}
        if not made.enabled:
            detail["enabled"] = "false"
        yield audited(at, made.tenant, "put-schedule", actor, detail=detail)
        return made

    return steps


def one(tenant: str, name: str) -> Transaction[Schedule]:
    """One schedule."""

    def steps(attempt: Attempt) -> Steps[Schedule]:
        rows = yield ONE(of_tenant=tenant, of_name=name)
        if not rows:
            raise no_schedule(name)
        return schedule_of(rows[0])

    return steps


def page(tenant: str | None) -> Transaction[Sequence[Schedule]]:
    """The schedules of a tenant, or (None) all."""

    def steps(attempt: Attempt) -> Steps[Sequence[Schedule]]:
        rows = yield ALL() if tenant is None else OF_TENANT(of_tenant=tenant)
        return [schedule_of(row) for row in rows]

    return steps


def remove(tenant: str, name: str, *, actor: Actor, now: int | None) -> Transaction[None]:
    """A schedule, no more; the jobs that it started go on."""

    def steps(attempt: Attempt) -> Steps[None]:
        rows = yield ONE(of_tenant=tenant, of_name=name)
        if not rows:
            if attempt.again:
                return
            raise no_schedule(name)
        at = yield from clock(now)
        yield REMOVE(of_tenant=tenant, of_name=name)
        yield audited(at, tenant, "delete-schedule", actor, detail={"schedule": name})

    return steps


def due(limit: int, now: int | None) -> Transaction[Sequence[Schedule]]:
    """Schedules whose time has come, and those that were written while the clock was ahead."""

    def steps(attempt: Attempt) -> Steps[Sequence[Schedule]]:
        rows = [*(yield DUE(rows=limit, now=now)), *(yield AHEAD(rows=limit, now=now))]
        return list({(one.tenant, one.name): one for one in map(schedule_of, rows)}.values())

    return steps


def start(schedule: Schedule, job: Job | None, next_at: int, *, now: int | None) -> Transaction[Job | None]:
    """The job of a schedule begun and its next time set, all at once.

    None: somebody else did so, or no job is given, or the last one still goes on; then only the time is set.
    """

    def steps(attempt: Attempt) -> Steps[Job | None]:
        rows = yield ONE(of_tenant=schedule.tenant, of_name=schedule.name)
        held = schedule_of(rows[0]) if rows else None
        if attempt.again and job is not None and held is not None and held.last_job == job.id:
            return job_of((yield JOB_ONE(of_job=job.id))[0]).job
        if held is None or not held.enabled or held.next_at != schedule.next_at:
            return None
        at = yield from clock(now)
        last = yield JOB_ONE(of_job=held.last_job)
        runs = bool(last) and job_of(last[0]).job.state not in ENDED
        place = {"of_tenant": schedule.tenant, "of_name": schedule.name}
        starts = None if runs else job
        yield MOVE(**place, n_next=next_at, n_last=held.last_job if starts is None else starts.id, at=at)
        if starts is None:
            return None
        return (yield from begin(starts, Actor(starts.principal), now))

    return steps
