"""Transactions of those who work on jobs: take a part, write down what was done, let go, split, end.

Whoever takes something gets a fence, one higher than the last; what is written under an older one is refused. So a
process that was thought dead, and is not, changes nothing. A lease says until when nobody else takes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import func, select, tuple_, update

from holdfast.catalog.job_rows import (
    NEVER,
    PART,
    HeldPart,
    counts_text,
    failure_rows,
    job_of,
    part_of,
    part_row,
    sampled,
)
from holdfast.catalog.jobs import ONE, clock, end, held, put
from holdfast.catalog.schema import job_failures, job_parts, jobs
from holdfast.catalog.statements import (
    Many,
    Statement,
    catalog_now,
    constant,
    insert_into,
    int_param,
    one_of,
    text_param,
)
from holdfast.catalog.transaction import Attempt, Steps, Transaction
from holdfast.core.jobs import Claim, Counts, ItemFailure, Job, JobState, Part

#: Failed items of one job that are kept by name; the count goes on.
NAMED: Final = 10_000


@dataclass(frozen=True, slots=True)
class Done:
    """What a step did to a part: where it goes on, what to add, what failed. `lease` 0: the part is let go."""

    part: Part
    cursor: str
    over: bool
    counts: Counts
    failures: Sequence[ItemFailure]
    mark: str  #: a new id, by which a checkpoint is known again whose answer was lost
    lease: int


@dataclass(frozen=True, slots=True)
class NewPart:
    """A range of the next round."""

    start: str = ""
    end: str = ""
    items: int | None = None
    bytes: int | None = None


# -- taking -----------------------------------------------------------------------------------------------------------
_others = job_parts.alias("others")
#: How many parts of each job are under way, so that each job gets its turn however many parts another has.
_under_way = (
    select(_others.c.job_id, func.count().label("held"))
    .where(
        _others.c.ready > catalog_now(), _others.c.ready < constant(NEVER), _others.c.worker != constant("")
    )
    .group_by(_others.c.job_id)
    .subquery("under_way")
)
_free = (
    select(job_parts.c.job_id, job_parts.c.number)
    .select_from(
        job_parts.join(jobs, jobs.c.id == job_parts.c.job_id).outerjoin(
            _under_way, _under_way.c.job_id == job_parts.c.job_id
        )
    )
    .where(
        job_parts.c.ready <= catalog_now(),
        jobs.c.state == constant("running"),
        one_of(jobs.c.kind, "kinds"),
        (text_param("of_job") == constant("")) | (job_parts.c.job_id == text_param("of_job")),
        (int_param("of_number") < constant(0)) | (job_parts.c.number == int_param("of_number")),
    )
    .order_by(func.coalesce(_under_way.c.held, constant(0)), jobs.c.updated, job_parts.c.ready)
    .limit(constant(1))
)


def _taken(free: Any) -> Any:
    return (
        update(job_parts)
        .where(tuple_(job_parts.c.job_id, job_parts.c.number).in_(free), job_parts.c.ready <= catalog_now())
        .values(
            worker=text_param("by"),
            fence=job_parts.c.fence + constant(1),
            ready=catalog_now() + int_param("lease"),
        )
        .returning(*PART)
    )


TAKE = Statement(_taken(_free), postgres=_taken(_free.with_for_update(of=job_parts, skip_locked=True)))
_waiting = (
    select(jobs.c.id)
    .where(
        jobs.c.ready <= catalog_now(),
        one_of(jobs.c.kind, "kinds"),
        (text_param("of_job") == constant("")) | (jobs.c.id == text_param("of_job")),
    )
    .order_by(jobs.c.ready)
    .limit(constant(1))
)


def _taken_job(waiting: Any) -> Any:
    return (
        update(jobs)
        .where(jobs.c.id.in_(waiting), jobs.c.ready <= catalog_now())
        .values(
            worker=text_param("by"),
            fence=jobs.c.fence + constant(1),
            ready=catalog_now() + int_param("lease"),
        )
        .returning(jobs.c.id)
    )


TAKE_JOB = Statement(_taken_job(_waiting), postgres=_taken_job(_waiting.with_for_update(skip_locked=True)))


def take(
    worker: str, kinds: Sequence[str], lease: int, *, job_id: str, number: int, now: int | None
) -> Transaction[Claim | None]:
    """Something to work on: a job that is to be split or ended, or a part of the job that was served the least lately.

    A part that is named comes first.
    """
    asked = {"by": worker, "kinds": list(kinds), "of_job": job_id, "lease": lease, "now": now}

    def whole() -> Steps[Claim | None]:
        taken = yield TAKE_JOB(**asked)
        if not taken:
            return None
        found = job_of((yield ONE(of_job=taken[0][0]))[0])
        return Claim(found.job, None, found.fence)

    def some() -> Steps[Claim | None]:
        rows = yield TAKE(**asked, of_number=number)
        if not rows:
            return None
        part = part_of(rows[0]).part
        its = yield ONE(of_job=part.job_id)
        return Claim(job_of(its[0]).job, part, part.fence) if its else None

    def steps(attempt: Attempt) -> Steps[Claim | None]:
        for look in (whole, some) if number < 0 else (some, whole):
            if (claim := (yield from look())) is not None:
                return claim
        return None

    return steps


RENEW = Statement(
    update(job_parts)
    .where(
        job_parts.c.job_id == text_param("of_job"),
        job_parts.c.number == int_param("of_number"),
        job_parts.c.fence == int_param("of_fence"),
        job_parts.c.ready != constant(NEVER),
    )
    .values(ready=catalog_now() + int_param("lease"))
    .returning(job_parts.c.number)
)
RENEW_JOB = Statement(
    update(jobs)
    .where(
        jobs.c.id == text_param("of_job"),
        jobs.c.fence == int_param("of_fence"),
        jobs.c.ready != constant(NEVER),
    )
    .values(ready=catalog_now() + int_param("lease"))
    .returning(jobs.c.id)
)


def renew(claim: Claim, lease: int, now: int | None) -> Transaction[bool]:
    """The lease of what was taken, longer; False when it is somebody else's by now."""

    def steps(attempt: Attempt) -> Steps[bool]:
        asked = {"of_job": claim.job.id, "of_fence": claim.fence, "lease": lease, "now": now}
        if claim.part is None:
            return bool((yield RENEW_JOB(**asked)))
        return bool((yield RENEW(**asked, of_number=claim.part.number)))

    return steps


# -- working on a part ------------------------------------------------------------------------------------------------
_this = (job_parts.c.job_id == text_param("of_job"), job_parts.c.number == int_param("of_number"))
_one_part = select(*PART).where(*_this)
ONE_PART = Statement(_one_part, postgres=_one_part.with_for_update())
PARTS = Statement(
    select(*PART).where(job_parts.c.job_id == text_param("of_job")).order_by(job_parts.c.number)
)
SET_PART = Statement(
    update(job_parts)
    .where(*_this)
    .values(
        place=text_param("n_place"),
        over=int_param("n_over") == constant(1),
        worker=text_param("n_worker"),
        ready=int_param("n_ready"),
        counts=text_param("n_counts"),
        tries=int_param("n_tries"),
        trouble=text_param("n_trouble"),
        mark=text_param("n_mark"),
    )
)
ADD_PART = insert_into(job_parts, *[column.name for column in PART])
ADD_FAILURE = insert_into(job_failures, *[column.name for column in job_failures.c])


def parts(job_id: str) -> Transaction[Sequence[Part]]:
    """The parts of a job's present round."""

    def steps(attempt: Attempt) -> Steps[Sequence[Part]]:
        return [part_of(row).part for row in (yield PARTS(of_job=job_id))]

    return steps


def _part(part: Part) -> Steps[HeldPart | None]:
    """Return the part as it is, to be changed, if it is still that of whoever holds `part`."""
    rows = yield ONE_PART(of_job=part.job_id, of_number=part.number)
    found = part_of(rows[0]) if rows else None
    return found if found is not None and found.part.fence == part.fence else None


def _put(part: Part, *, ready: int, mark: str) -> Any:
    return SET_PART(
        of_job=part.job_id,
        of_number=part.number,
        n_place=part.cursor,
        n_over=int(part.done),
        n_worker=part.worker,
        n_ready=ready,
        n_counts=counts_text(part.counts),
        n_tries=part.tries,
        n_trouble=part.trouble,
        n_mark=mark,
    )


def checkpoint(done: Done, now: int | None) -> Transaction[tuple[Job, Part] | None]:
    """What a step did, written down all at once; the job and the part as they are then. None: somebody else has the part."""

    def steps(attempt: Attempt) -> Steps[tuple[Job, Part] | None]:
        found = yield from held(done.part.job_id)
        there = yield from _part(done.part)
        if there is None:
            return None
        if there.mark == done.mark:  # an earlier attempt, whose answer was lost
            return found.job, there.part
        if there.part.done:
            return None
        at = yield from clock(now)
        kept = list(done.failures)[: max(0, NAMED - found.failures)]
        if kept:
            yield Many(ADD_FAILURE, failure_rows(found.job.id, found.failures + 1, kept, at))
        part = _stepped(there.part, done, at)
        yield _put(part, ready=NEVER if part.done else at + done.lease, mark=done.mark)
        counts = found.job.counts + done.counts
        job = replace(
            found.job,
            counts=counts,
            recent=sampled(found.job.recent, at, counts),
            parts_done=found.job.parts_done + int(part.done),
            updated=at,
            trouble="" if found.job.state is JobState.RUNNING else found.job.trouble,
        )
        ends = part.done and job.parts_done >= job.parts and job.state is JobState.RUNNING
        yield put(job, failures=found.failures + len(kept), ready=at if ends else found.ready)
        return job, part

    return steps


def _stepped(part: Part, done: Done, at: int) -> Part:
    goes_on = bool(done.lease) and not done.over
    return replace(
        part,
        cursor=done.cursor,
        done=done.over,
        worker=part.worker if goes_on else "",
        lease_until=at + done.lease if goes_on else 0,
        counts=part.counts + done.counts,
        tries=0,
        trouble="",
    )


def let_go(claim: Claim, now: int | None) -> Transaction[None]:
    """What was taken, for whoever comes next; nothing was done."""

    def steps(attempt: Attempt) -> Steps[None]:
        found = yield from held(claim.job.id)
        at = yield from clock(now)
        if claim.part is None:
            if found.fence == claim.fence and found.ready != NEVER:
                yield put(found.job, failures=found.failures, ready=at, tries=found.tries)
            return
        there = yield from _part(claim.part)
        if there is not None and not there.part.done:
            yield _put(replace(there.part, worker=""), ready=at, mark=there.mark)

    return steps


def trip(
    claim: Claim, trouble: str, *, pause: int, longest: int, most: int, now: int | None
) -> Transaction[Job | None]:
    """A step that failed as a whole: to be tried again after a pause, twice as long each time but never above `longest`.

    After `most` in a row the job has failed.
    """

    def later(tries: int) -> int:
        return min(pause << min(tries - 1, 30), longest)

    def steps(attempt: Attempt) -> Steps[Job | None]:
        found = yield from held(claim.job.id)
        at = yield from clock(now)
        ends = found.job.state in (JobState.QUEUED, JobState.RUNNING)
        if claim.part is None:
            if found.fence != claim.fence or found.ready == NEVER:
                return None
            tries = found.tries + 1
            if tries >= most and ends:
                return (yield from end(found, JobState.FAILED, at, trouble=trouble))
            job = replace(found.job, trouble=trouble, updated=at)
            yield put(job, failures=found.failures, ready=at + later(tries), tries=tries)
            return job
        there = yield from _part(claim.part)
        if there is None or there.part.done:
            return None
        tries = there.part.tries + 1
        part = replace(there.part, worker="", tries=tries, trouble=trouble)
        yield _put(part, ready=at + later(tries), mark=there.mark)
        if tries >= most and ends:
            return (yield from end(found, JobState.FAILED, at, trouble=trouble))
        job = replace(found.job, trouble=trouble, updated=at)
        yield put(job, failures=found.failures, ready=found.ready, tries=found.tries)
        return job

    return steps


# -- working on the job itself ----------------------------------------------------------------------------------------
#: Parts of a round that is over. Those of the next have a higher fence, so that who comes late does not write into them.
END_PARTS = Statement(
    job_parts.delete().where(job_parts.c.job_id == text_param("of_job")).returning(job_parts.c.fence)
)


def plan(
    claim: Claim,
    ranges: Sequence[NewPart],
    *,
    after: int = 0,
    result: Mapping[str, Any] | None = None,
    now: int | None,
) -> Transaction[Job | None]:
    """A job cut into the parts of its next round, which may be taken `after` a while. None: somebody else has it."""

    def steps(attempt: Attempt) -> Steps[Job | None]:
        found = yield from held(claim.job.id)
        if attempt.again and found.job.round == claim.job.round + 1 and found.fence == claim.fence:
            return found.job
        if found.fence != claim.fence or found.job.round != claim.job.round:
            return None
        at = yield from clock(now)
        if found.job.state not in (JobState.QUEUED, JobState.RUNNING, JobState.PAUSED):
            return found.job
        before = yield END_PARTS(of_job=found.job.id)
        fence = max((int(row[0]) for row in before), default=-1) + 1
        rows = [
            part_row(found.job.id, number, new.start, new.end, at + after, fence)
            for number, new in enumerate(ranges)
        ]
        if rows:
            yield Many(ADD_PART, rows)
        job = _planned(found.job, ranges, at, result)
        waits = not ranges and job.state is JobState.RUNNING
        yield put(job, failures=found.failures, ready=at if waits else NEVER)
        return job

    return steps


def _planned(job: Job, ranges: Sequence[NewPart], at: int, result: Mapping[str, Any] | None) -> Job:
    items = _sum([new.items for new in ranges])
    size = _sum([new.bytes for new in ranges])
    return replace(
        job,
        state=JobState.PAUSED if job.state is JobState.PAUSED else JobState.RUNNING,
        started=at if job.started is None else job.started,
        updated=at,
        parts=len(ranges),
        parts_done=0,
        round=job.round + 1,
        total=None if items is None else job.counts.examined + items,
        total_bytes=None if size is None else size if not job.round else job.total_bytes,
        trouble="",
        result=job.result if result is None else result,
    )


def _sum(numbers: Sequence[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if known and len(known) == len(numbers) else None


def finish(claim: Claim, result: Mapping[str, Any], now: int | None) -> Transaction[Job | None]:
    """A job that is done. None: somebody else has it."""

    def steps(attempt: Attempt) -> Steps[Job | None]:
        found = yield from held(claim.job.id)
        if found.fence != claim.fence or found.job.state is not JobState.RUNNING:
            return found.job if found.job.state is not JobState.RUNNING else None
        at = yield from clock(now)
        return (yield from end(found, JobState.DONE, at, result=result))

    return steps
