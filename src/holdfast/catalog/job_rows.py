"""Rows of jobs, their parts and schedules, as the types of `core.jobs`, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from holdfast.catalog.schema import job_failures, job_parts, jobs, schedules
from holdfast.catalog.statements import Row
from holdfast.core.jobs import Counts, ItemFailure, Job, JobState, Pace, Part, Schedule

NEVER: Final = 1 << 62  #: as a time
RECENT: Final = 60_000_000  #: microseconds over which the rate of a job is told
_SAMPLES: Final = 12

JOB: Final = tuple(jobs.c)
PART: Final = tuple(job_parts.c)
SCHEDULE: Final = tuple(schedules.c)
FAILURE: Final = tuple(job_failures.c)


class HeldJob(NamedTuple):
    """A job, and what of its row is nobody's business outside the catalog."""

    job: Job
    failures: int
    fence: int
    ready: int
    tries: int


class HeldPart(NamedTuple):
    """A part, and the mark of its last checkpoint."""

    part: Part
    mark: str


def json_of(value: Any) -> str:
    """Return plain values as JSON; "" for nothing."""
    return msgspec.json.encode(value).decode() if value else ""


def _mapping(text: str) -> Mapping[str, Any]:
    return msgspec.json.decode(text) if text else {}


def counts_text(counts: Counts) -> str:
    """Return counters as they are kept."""
    return msgspec.json.encode(counts).decode()


def _counts(text: str) -> Counts:
    return msgspec.json.decode(text, type=Counts) if text else Counts()


def job_of(row: Row) -> HeldJob:
    """Return the job of a row."""
    held = dict(zip((column.name for column in JOB), row, strict=True))
    job = Job(
        id=held["id"],
        tenant=held["tenant"],
        kind=held["kind"],
        spec=_mapping(held["spec"]),
        state=JobState(held["state"]),
        principal=held["principal"],
        created=held["created"],
        started=held["started"],
        ended=held["ended"],
        updated=held["updated"],
        total=held["total"],
        total_bytes=held["total_bytes"],
        counts=_counts(held["counts"]),
        pace=Pace(held["pace_objects"], held["pace_bytes"]),
        parts=held["parts"],
        parts_done=held["parts_done"],
        round=held["round"],
        schedule=held["schedule"],
        trouble=held["trouble"],
        result=_mapping(held["result"]),
        expires=held["expires"],
        recent=tuple(tuple(one) for one in msgspec.json.decode(held["recent"])) if held["recent"] else (),
    )
    return HeldJob(job, held["failures"], held["fence"], held["ready"], held["tries"])


def job_row(job: Job, *, ready: int) -> dict[str, Any]:
    """Return the values of a row for a job that nobody has taken yet."""
    return {
        **{name: getattr(job, name) for name in ("id", "tenant", "kind", "principal", "created", "started")},
        **{name: getattr(job, name) for name in ("ended", "updated", "total", "total_bytes", "parts")},
        **{name: getattr(job, name) for name in ("parts_done", "round", "schedule", "trouble", "expires")},
        "spec": json_of(job.spec),
        "state": job.state.value,
        "counts": counts_text(job.counts),
        "recent": json_of(job.recent),
        "pace_objects": job.pace.objects,
        "pace_bytes": job.pace.bytes,
        "result": json_of(job.result),
        "failures": 0,
        "worker": "",
        "fence": 0,
        "ready": ready,
        "tries": 0,
    }


def part_of(row: Row) -> HeldPart:
    """Return the part of a row."""
    job_id, number, start, end, place, over, fence, worker, ready, counts, tries, trouble, mark = row
    part = Part(
        job_id=job_id,
        number=number,
        start=start,
        end=end,
        cursor=place,
        done=bool(over),
        fence=fence,
        worker=worker,
        lease_until=0 if over else ready,
        counts=_counts(counts),
        tries=tries,
        trouble=trouble,
    )
    return HeldPart(part, mark)


def part_row(job_id: str, number: int, start: str, end: str, ready: int, fence: int) -> dict[str, Any]:
    """Return the values of a row for a part that nobody has taken yet."""
    return {
        "job_id": job_id,
        "number": number,
        "range_start": start,
        "range_end": end,
        "place": "",
        "over": False,
        "fence": fence,
        "worker": "",
        "ready": ready,
        "counts": "",
        "tries": 0,
        "trouble": "",
        "mark": "",
    }


def failure_of(row: Row) -> ItemFailure:
    """Return the failed item of a row."""
    _, number, tenant, bucket, key, version_id, code, message, at = row
    return ItemFailure(bucket, key, version_id, code, message, at, tenant, number)


def failure_rows(job_id: str, first: int, failures: Iterable[ItemFailure], at: int) -> list[dict[str, Any]]:
    """Return the values of the rows for failed items, numbered from `first` on."""
    return [
        {
            "job_id": job_id,
            "number": number,
            "tenant": one.tenant,
            "bucket": one.bucket,
            "key": one.key,
            "version_id": one.version_id,
            "code": one.code,
            "message": one.message[:1000],
            "at": one.at or at,
        }
        for number, one in enumerate(failures, first)
    ]


def schedule_of(row: Row) -> Schedule:
    """Return the schedule of a row."""
    tenant, name, kind, spec, cron, objects, size, enabled, next_at, last, principal, created, updated = row
    return Schedule(
        name=name,
        tenant=tenant,
        kind=kind,
        spec=_mapping(spec),
        cron=cron,
        pace=Pace(objects, size),
        enabled=bool(enabled),
        next_at=next_at,
        last_job=last,
        principal=principal,
        created=created,
        updated=updated,
    )


def schedule_row(schedule: Schedule) -> dict[str, Any]:
    """Return the values of the row for a schedule."""
    names = ("tenant", "name", "kind", "cron", "next_at", "last_job", "principal", "created", "updated")
    return {
        **{name: getattr(schedule, name) for name in names},
        "spec": json_of(schedule.spec),
        "pace_objects": schedule.pace.objects,
        "pace_bytes": schedule.pace.bytes,
        "enabled": schedule.enabled,
    }


def sampled(
    recent: Sequence[tuple[int, int, int]], at: int, counts: Counts
) -> tuple[tuple[int, int, int], ...]:
    """Return the samples of (time, examined, bytes) with the newest: those of the last minute, a dozen at most."""
    kept = [one for one in recent if at - RECENT <= one[0] <= at]
    if not kept and recent:
        kept = [recent[-1]]
    now = (at, counts.examined, counts.bytes)
    if len(kept) > 1 and at - kept[-2][0] < RECENT // _SAMPLES:
        kept[-1] = now
    else:
        kept.append(now)
    return tuple(kept[-_SAMPLES - 2 :])
