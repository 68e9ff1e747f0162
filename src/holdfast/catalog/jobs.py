"""Transactions of jobs: begun, told about, paused, resumed, cancelled, paced, ended, forgotten.

Whoever changes a job holds its lock (`job_lock`). What processes do in its parts is in `job_parts`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import ColumnElement, Float, bindparam, func, select, update

from holdfast.catalog.common import NOW, audited
from holdfast.catalog.contract import Actor
from holdfast.catalog.job_rows import (
    FAILURE,
    JOB,
    NEVER,
    HeldJob,
    counts_text,
    failure_of,
    job_of,
    job_row,
    json_of,
)
from holdfast.catalog.schema import job_failures, job_parts, jobs
from holdfast.catalog.statements import Statement, constant, insert_into, int_param, text_param
from holdfast.catalog.transaction import Attempt, Lock, Steps, Transaction, request_lock
from holdfast.core.errors import AlreadyExistsError, ConflictError, NotFoundError
from holdfast.core.jobs import ENDED, ItemFailure, Job, JobState, Pace

#: How long a job that is over is remembered, microseconds.
KEPT: Final = 30 * 86_400_000_000

ADD = insert_into(jobs, *[column.name for column in JOB])
_one = select(*JOB).where(jobs.c.id == text_param("of_job"))
ONE = Statement(_one)
HELD = Statement(_one, postgres=_one.with_for_update())


def float_param(name: str) -> ColumnElement[float]:
    """Return a parameter that is a number with a fraction."""
    return bindparam(name, type_=Float())


SET = Statement(
    update(jobs)
    .where(jobs.c.id == text_param("of_job"))
    .values(
        **{name: text_param(f"n_{name}") for name in ("state", "counts", "recent", "trouble", "result")},
        **{name: int_param(f"n_{name}") for name in ("started", "ended", "updated", "total", "total_bytes")},
        **{name: int_param(f"n_{name}") for name in ("pace_bytes", "parts", "parts_done", "round")},
        **{name: int_param(f"n_{name}") for name in ("expires", "failures", "ready", "tries")},
        pace_objects=float_param("n_pace_objects"),
    )
)


def _page(*where: ColumnElement[bool]) -> Statement:
    return Statement(
        select(*JOB)
        .where(
            jobs.c.id < text_param("before"),
            *where,
            (text_param("in_state") == constant("")) | (jobs.c.state == text_param("in_state")),
            (text_param("of_kind") == constant("")) | (jobs.c.kind == text_param("of_kind")),
        )
        .order_by(jobs.c.id.desc())
        .limit(int_param("rows"))
    )


PAGE = _page()
PAGE_OF_TENANT = _page(jobs.c.tenant == text_param("of_tenant"))
STATES = Statement(select(jobs.c.kind, jobs.c.state, func.count()).group_by(jobs.c.kind, jobs.c.state))
FAILURES = Statement(
    select(*FAILURE)
    .where(job_failures.c.job_id == text_param("of_job"), job_failures.c.number > int_param("after"))
    .order_by(job_failures.c.number)
    .limit(int_param("rows"))
)
EXPIRED = Statement(select(jobs.c.id).where(jobs.c.expires <= int_param("at")).limit(int_param("rows")))
FORGET = Statement(jobs.delete().where(jobs.c.id == text_param("of_job")))
FORGET_PARTS = Statement(job_parts.delete().where(job_parts.c.job_id == text_param("of_job")))
FORGET_FAILURES = Statement(job_failures.delete().where(job_failures.c.job_id == text_param("of_job")))


def job_lock(job_id: str) -> Lock:
    """Held by whatever changes a job."""
    return request_lock("job", job_id)


def no_job(job_id: str) -> NotFoundError:
    """Return the error for a job that is not there."""
    return NotFoundError("there is no such job; they are forgotten 30 days after they end", name=job_id)


def held(job_id: str) -> Steps[HeldJob]:
    """Return the job, to be changed."""
    rows = yield HELD(of_job=job_id)
    if not rows:
        raise no_job(job_id)
    return job_of(rows[0])


def put(job: Job, *, failures: int, ready: int, tries: int = 0) -> Any:
    """Return the call that writes a job that was `held`."""
    names = ("started", "ended", "updated", "total", "total_bytes", "parts", "parts_done", "round")
    return SET(
        of_job=job.id,
        **{f"n_{name}": getattr(job, name) for name in (*names, "trouble", "expires")},
        n_state=job.state.value,
        n_counts=counts_text(job.counts),
        n_recent=json_of(job.recent),
        n_result=json_of(job.result),
        n_pace_objects=job.pace.objects,
        n_pace_bytes=job.pace.bytes,
        n_failures=failures,
        n_ready=ready,
        n_tries=tries,
    )


def clock(now: int | None) -> Steps[int]:
    """Return the catalog's time."""
    return int((yield NOW(now=now))[0][0])


def create(job: Job, *, actor: Actor, now: int | None) -> Transaction[Job]:
    """A job that waits to be split."""

    def steps(attempt: Attempt) -> Steps[Job]:
        rows = yield ONE(of_job=job.id)
        if rows:
            if attempt.again:
                return job_of(rows[0]).job
            raise AlreadyExistsError("there is a job of that id; choose another", name=job.id)
        return (yield from begin(job, actor, now))

    return steps


def begin(job: Job, actor: Actor, now: int | None) -> Steps[Job]:
    """Write a new job and its line of the audit."""
    at = yield from clock(now)
    made = replace(job, state=JobState.QUEUED, created=at, updated=at)
    yield ADD(**job_row(made, ready=at))
    yield from _noted(made, "start-job", actor, at)
    return made


def _noted(job: Job, action: str, actor: Actor, at: int, **more: str) -> Steps[None]:
    detail = {"job": job.id, "kind": job.kind, **more}
    if job.schedule:
        detail["schedule"] = job.schedule
    yield audited(
        at, job.tenant, action, actor, detail={name: value for name, value in detail.items() if value}
    )


def one(job_id: str) -> Transaction[Job]:
    """One job."""

    def steps(attempt: Attempt) -> Steps[Job]:
        rows = yield ONE(of_job=job_id)
        if not rows:
            raise no_job(job_id)
        return job_of(rows[0]).job

    return steps


def page(tenant: str | None, state: str, kind: str, before: str, limit: int) -> Transaction[Sequence[Job]]:
    """Jobs, the newest first; of one tenant, or (None) of all."""

    def steps(attempt: Attempt) -> Steps[Sequence[Job]]:
        asked = {"in_state": state, "of_kind": kind, "before": before or "~", "rows": limit}
        rows = yield PAGE(**asked) if tenant is None else PAGE_OF_TENANT(**asked, of_tenant=tenant)
        return [job_of(row).job for row in rows]

    return steps


def failures(job_id: str, after: int, limit: int) -> Transaction[Sequence[ItemFailure]]:
    """Items that a job could not do, in their order."""

    def steps(attempt: Attempt) -> Steps[Sequence[ItemFailure]]:
        return [failure_of(row) for row in (yield FAILURES(of_job=job_id, after=after, rows=limit))]

    return steps


def states() -> Transaction[Mapping[tuple[str, str], int]]:
    """How many jobs there are of each kind and state."""

    def steps(attempt: Attempt) -> Steps[Mapping[tuple[str, str], int]]:
        return {(row[0], row[1]): int(row[2]) for row in (yield STATES())}

    return steps


# -- told to ----------------------------------------------------------------------------------------------------------
def pause(job_id: str, *, actor: Actor, now: int | None) -> Transaction[Job]:
    """A job that stands still; one that does already stays so."""

    def steps(attempt: Attempt) -> Steps[Job]:
        found = yield from held(job_id)
        if found.job.state is JobState.PAUSED:
            return found.job
        _refuse_ended(found.job, "paused")
        at = yield from clock(now)
        job = replace(found.job, state=JobState.PAUSED, updated=at)
        yield put(job, failures=found.failures, ready=NEVER)
        yield from _noted(job, "pause-job", actor, at)
        return job

    return steps


def resume(job_id: str, *, actor: Actor, now: int | None) -> Transaction[Job]:
    """A job that goes on where it stands: one that was paused, or that failed as a whole."""

    def steps(attempt: Attempt) -> Steps[Job]:
        found = yield from held(job_id)
        if found.job.state in (JobState.QUEUED, JobState.RUNNING):
            return found.job
        if found.job.state is not JobState.FAILED:
            _refuse_ended(found.job, "resumed")
        at = yield from clock(now)
        split = found.job.round > 0
        state = JobState.RUNNING if split else JobState.QUEUED
        job = replace(found.job, state=state, updated=at, trouble="", ended=None, expires=None, recent=())
        waits = not split or job.parts_done >= job.parts
        yield put(job, failures=found.failures, ready=at if waits else NEVER)
        yield REFRESH(of_job=job_id, at=at)
        yield from _noted(job, "resume-job", actor, at)
        return job

    return steps


#: Parts that nobody works on may be taken at once, however often they failed before.
REFRESH = Statement(
    update(job_parts)
    .where(
        job_parts.c.job_id == text_param("of_job"),
        job_parts.c.worker == constant(""),
        job_parts.c.ready != constant(NEVER),
    )
    .values(ready=int_param("at"), tries=constant(0))
)


def cancel(job_id: str, *, actor: Actor, now: int | None) -> Transaction[Job]:
    """A job that is over before its end; what was done stays done."""

    def steps(attempt: Attempt) -> Steps[Job]:
        found = yield from held(job_id)
        if found.job.state is JobState.CANCELLED:
            return found.job
        _refuse_ended(found.job, "cancelled")
        at = yield from clock(now)
        job = replace(found.job, state=JobState.CANCELLED, updated=at, ended=at, expires=at + KEPT)
        yield put(job, failures=found.failures, ready=NEVER)
        yield from _noted(job, "cancel-job", actor, at)
        return job

    return steps


def set_pace(job_id: str, pace: Pace, *, actor: Actor, now: int | None) -> Transaction[Job]:
    """Another pace, kept from the next moment on."""

    def steps(attempt: Attempt) -> Steps[Job]:
        found = yield from held(job_id)
        _refuse_ended(found.job, "given another pace")
        at = yield from clock(now)
        job = replace(found.job, pace=pace, updated=at)
        yield put(job, failures=found.failures, ready=found.ready, tries=found.tries)
        told = {
            "objects": "" if pace.objects is None else f"{pace.objects:g}",
            "bytes": str(pace.bytes or ""),
        }
        yield from _noted(job, "pace-job", actor, at, **told)
        return job

    return steps


def _refuse_ended(job: Job, what: str) -> None:
    if job.state in ENDED:
        raise ConflictError(f"the job is {job.state.value}, so it cannot be {what}", name=job.id)


def end(
    found: HeldJob, state: JobState, at: int, *, trouble: str = "", result: Mapping[str, Any] | None = None
) -> Steps[Job]:
    """Write that a job that was `held` is over."""
    job = replace(
        found.job,
        state=state,
        updated=at,
        ended=at,
        expires=at + KEPT,
        trouble=trouble,
        result=found.job.result if result is None else result,
    )
    yield put(job, failures=found.failures, ready=NEVER, tries=found.tries)
    counts = job.counts
    told = {"state": state.value, "done": str(counts.done), "failed": str(counts.failed), "trouble": trouble}
    yield from _noted(job, "end-job", Actor(job.principal), at, **told)
    return job


# -- forgetting -------------------------------------------------------------------------------------------------------
def forget(limit: int, at: int) -> Transaction[int]:
    """Jobs that were over long ago, with all that belongs to them; how many."""

    def steps(attempt: Attempt) -> Steps[int]:
        gone = [row[0] for row in (yield EXPIRED(at=at, rows=limit))]
        for job_id in gone:
            yield FORGET_FAILURES(of_job=job_id)
            yield FORGET_PARTS(of_job=job_id)
            yield FORGET(of_job=job_id)
        return len(gone)

    return steps
