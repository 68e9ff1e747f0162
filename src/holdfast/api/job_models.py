"""The JSON of jobs: what bodies hold, coming in and going out. Times are RFC 3339, amounts of money decimal text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from holdfast.api.describe import iso
from holdfast.core.jobs import ItemFailure, Job, JobState, Pace, Schedule
from holdfast.policy.cost import Estimate, money
from holdfast.policy.progress import rates, seconds_left

if TYPE_CHECKING:
    from holdfast.jobs.kinds import Forecast

Word = Annotated[str, Meta(min_length=1, max_length=100)]
_MOST: Final = 2**50


# -- in ---------------------------------------------------------------------------------------------------------------
class PaceForm(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The most that a job may do in a second, all processes together; null: no limit."""

    objects_per_second: Annotated[float, Meta(gt=0, le=10**9)] | None = None
    bytes_per_second: Annotated[int, Meta(ge=1, le=_MOST)] | None = None

    def pace(self) -> Pace:
        """Return it as the engine takes it."""
        return Pace(self.objects_per_second, self.bytes_per_second)


class JobWish(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A job to be started. `spec` is what its kind takes; with `dry_run` it is only told what it would do."""

    kind: Word
    spec: dict[str, Any] = {}
    pace: PaceForm = PaceForm()
    dry_run: bool = False


class ScheduleWish(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When which job is to be started. `cron` is five fields in UTC, or `@every N` with seconds."""

    kind: Word
    cron: Annotated[str, Meta(min_length=1, max_length=200)]
    spec: dict[str, Any] = {}
    pace: PaceForm = PaceForm()
    enabled: bool = True


# -- out --------------------------------------------------------------------------------------------------------------
class JobInfo(Struct, frozen=True, kw_only=True):
    """A job and how far it is.

    `percent`, `seconds_left` and the rates, which are per second and of the last minute, are null while nobody can tell.
    """

    id: str
    kind: str
    state: str
    tenant: str
    spec: dict[str, Any]
    principal: str
    created: str
    started: str | None
    ended: str | None
    updated: str
    total: int | None
    total_bytes: int | None
    examined: int
    done: int
    skipped: int
    failed: int
    bytes: int
    notes: dict[str, int]
    percent: float | None
    objects_rate: float | None
    bytes_rate: float | None
    seconds_left: float | None
    pace: PaceForm
    parts: int
    parts_done: int
    round: int
    schedule: str
    trouble: str
    result: dict[str, Any]
    expires: str | None


class JobList(Struct, frozen=True, kw_only=True):
    """One page of jobs, the newest first; `next_after` is the `after` of the next, "" when there is none."""

    jobs: list[JobInfo]
    next_after: str


class FailureForm(Struct, frozen=True, kw_only=True):
    """One item that could not be done."""

    number: int
    tenant: str
    bucket: str
    key: str
    version_id: str
    code: str
    message: str
    at: str


class FailureList(Struct, frozen=True, kw_only=True):
    """One page of failures in their order; `next_after` is the `after` of the next, 0 when there is none."""

    failures: list[FailureForm]
    next_after: int


class Amount(Struct, frozen=True, kw_only=True):
    """Dollars. `total` null: something is not known; `known` leaves that out."""

    total: str | None
    known: str
    notes: list[str]


class MovedForm(Struct, frozen=True, kw_only=True):
    """How many versions would go from these stores to those."""

    now: str
    wanted: str
    versions: int


class ForecastAnswer(Struct, frozen=True, kw_only=True):
    """What a job would do: nothing of it is done. `calls` are requests by store and verb; what is not known is null."""

    kind: str
    objects: int
    bytes: int
    calls: dict[str, dict[str, int]]
    once: Amount
    month_before: Amount
    month_after: Amount
    currency: str
    seconds: float | None
    moves: list[MovedForm]
    notes: list[str]


class KindForm(Struct, frozen=True, kw_only=True):
    """A kind of job: the permission that it needs, and what it is for."""

    name: str
    verb: str
    about: str


class KindList(Struct, frozen=True, kw_only=True):
    """The kinds of job that there are, by name."""

    kinds: list[KindForm]


class ScheduleForm(Struct, frozen=True, kw_only=True):
    """A schedule, when it is due next, and the job that it started last."""

    name: str
    tenant: str
    kind: str
    spec: dict[str, Any]
    cron: str
    pace: PaceForm
    enabled: bool
    next_at: str | None
    last_job: str
    principal: str
    created: str
    updated: str


class ScheduleList(Struct, frozen=True, kw_only=True):
    """All schedules by name."""

    schedules: list[ScheduleForm]


# -- from the engine --------------------------------------------------------------------------------------------------
def job_info(job: Job) -> JobInfo:
    """Return a job as answers show it."""
    counts = job.counts
    pace, left = rates(job), seconds_left(job)
    return JobInfo(
        id=job.id,
        kind=job.kind,
        state=job.state.value,
        tenant=job.tenant,
        spec=dict(job.spec),
        principal=job.principal,
        created=iso(job.created),
        started=_time(job.started),
        ended=_time(job.ended),
        updated=iso(job.updated),
        total=job.total,
        total_bytes=job.total_bytes,
        examined=counts.examined,
        done=counts.done,
        skipped=counts.skipped,
        failed=counts.failed,
        bytes=counts.bytes,
        notes=dict(counts.notes),
        percent=percent(job),
        objects_rate=None if pace is None else round(pace[0], 3),
        bytes_rate=None if pace is None else round(pace[1], 3),
        seconds_left=None if left is None else round(left, 1),
        pace=_pace(job.pace),
        parts=job.parts,
        parts_done=job.parts_done,
        round=job.round,
        schedule=job.schedule,
        trouble=job.trouble,
        result=dict(job.result),
        expires=_time(job.expires),
    )


def percent(job: Job) -> float | None:
    """Return how much of a job is behind it; None when nobody can tell. Only one that is done is at 100."""
    if job.state is JobState.DONE:
        return 100.0
    if job.total:
        return min(round(100 * job.counts.examined / job.total, 1), 99.9)
    if job.parts:
        return min(round(100 * job.parts_done / job.parts, 1), 99.9)
    return None


def failure_form(failure: ItemFailure) -> FailureForm:
    """Return a failure as answers show it."""
    return FailureForm(
        number=failure.number,
        tenant=failure.tenant,
        bucket=failure.bucket,
        key=failure.key,
        version_id=failure.version_id,
        code=failure.code,
        message=failure.message,
        at=iso(failure.at),
    )


def forecast_answer(kind: str, found: Forecast) -> ForecastAnswer:
    """Return a forecast as answers show it: the moves of most versions first."""
    moves = sorted(found.moves.items(), key=lambda move: (-move[1], move[0]))
    return ForecastAnswer(
        kind=kind,
        objects=found.objects,
        bytes=found.bytes,
        calls={store: dict(verbs) for store, verbs in sorted(found.calls.items())},
        once=_amount(found.once),
        month_before=_amount(found.before),
        month_after=_amount(found.after),
        currency="USD",
        seconds=None if found.seconds is None else round(found.seconds, 1),
        moves=[MovedForm(now=now, wanted=wanted, versions=count) for (now, wanted), count in moves],
        notes=list(found.notes),
    )


def schedule_form(schedule: Schedule) -> ScheduleForm:
    """Return a schedule as answers show it."""
    return ScheduleForm(
        name=schedule.name,
        tenant=schedule.tenant,
        kind=schedule.kind,
        spec=dict(schedule.spec),
        cron=schedule.cron,
        pace=_pace(schedule.pace),
        enabled=schedule.enabled,
        next_at=_time(schedule.next_at or None),
        last_job=schedule.last_job,
        principal=schedule.principal,
        created=iso(schedule.created),
        updated=iso(schedule.updated),
    )


def kind_forms(kinds: Sequence[tuple[str, str, str]]) -> KindList:
    """Return kinds (name, verb, what it is for) as answers show them."""
    return KindList(kinds=[KindForm(name=name, verb=verb, about=about) for name, verb, about in kinds])


def plain(form: Struct) -> Mapping[str, Any]:
    """Return the members of an answer as plain values, as JSON would hold them."""
    found: dict[str, Any] = msgspec.to_builtins(form)
    return found


def _pace(pace: Pace) -> PaceForm:
    return PaceForm(objects_per_second=pace.objects, bytes_per_second=pace.bytes)


def _amount(estimate: Estimate) -> Amount:
    return Amount(total=money(estimate.total), known=money(estimate.known) or "0", notes=list(estimate.notes))


def _time(micros: int | None) -> str | None:
    return None if micros is None else iso(micros)
