"""Jobs as the catalog keeps them: durable, resumable loops in parts, with progress. Times are microseconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final


class JobState(StrEnum):
    """The life of a job: `queued → running → done | failed | cancelled`; `paused` from either of the first two."""

    QUEUED = "queued"  #: not split into parts yet
    RUNNING = "running"
    PAUSED = "paused"  #: parts stay where they stand
    DONE = "done"  #: every part went to its end; items may have failed all the same
    FAILED = "failed"  #: it could not go on; `trouble` says why
    CANCELLED = "cancelled"


ENDED: Final = frozenset({JobState.DONE, JobState.FAILED, JobState.CANCELLED})


@dataclass(frozen=True, slots=True)
class Counts:
    """What was done so far. `notes` are counters that a kind has besides, by its own names (`healed`, `copied`)."""

    examined: int = 0
    done: int = 0
    skipped: int = 0  #: nothing was to be done
    failed: int = 0
    bytes: int = 0  #: moved, read or written, as the kind says
    notes: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: Counts) -> Counts:
        """Return the sums."""
        notes = dict(self.notes)
        for name, count in other.notes.items():
            notes[name] = notes.get(name, 0) + count
        return Counts(
            self.examined + other.examined,
            self.done + other.done,
            self.skipped + other.skipped,
            self.failed + other.failed,
            self.bytes + other.bytes,
            notes,
        )


@dataclass(frozen=True, slots=True)
class Pace:
    """The most that a job may do per second, all its processes together; None: no limit."""

    objects: float | None = None
    bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One durable loop. `tenant` is whose it is, "" for the service; `spec` is what its kind was told, checked."""

    id: str
    tenant: str
    kind: str
    spec: Mapping[str, Any]
    state: JobState = JobState.QUEUED
    principal: str = ""
    created: int = 0
    started: int | None = None
    ended: int | None = None
    updated: int = 0
    total: int | None = None  #: items that are expected; None: nobody knows
    total_bytes: int | None = None
    counts: Counts = Counts()
    pace: Pace = Pace()
    parts: int = 0
    parts_done: int = 0
    round: int = 0  #: how often it was split: some kinds go over their range again
    schedule: str = ""  #: the name of the schedule that started it
    trouble: str = ""
    result: Mapping[str, Any] = field(default_factory=dict)  #: what its kind said in the end
    expires: int | None = None  #: when the row is forgotten, once ended
    recent: tuple[tuple[int, int, int], ...] = ()  #: (time, items examined, bytes) over the last minute


@dataclass(frozen=True, slots=True)
class Claim:
    """What a process has taken for a while: a part, or (`part` is None) the job itself, to split it or to end it."""

    job: Job
    part: Part | None
    fence: int


@dataclass(frozen=True, slots=True)
class Part:
    """A range of a job. `start` and `end` are spelled by the kind; `cursor` is where to go on ("": at `start`)."""

    job_id: str
    number: int
    start: str = ""
    end: str = ""  #: excluded; "": to the end
    cursor: str = ""
    done: bool = False
    fence: int = 0  #: grows with each taker; a checkpoint under an older one is refused
    worker: str = ""
    lease_until: int = 0
    counts: Counts = Counts()
    tries: int = 0  #: steps in a row that failed as a whole
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class ItemFailure:
    """One item that could not be done, and why. `number` orders those of a job."""

    bucket: str
    key: str
    version_id: str = ""
    code: str = ""
    message: str = ""
    at: int = 0
    tenant: str = ""
    number: int = 0


@dataclass(frozen=True, slots=True)
class Schedule:
    """A job that is started again and again. `cron` is five fields, in UTC; or `@every N` seconds."""

    name: str
    tenant: str
    kind: str
    spec: Mapping[str, Any]
    cron: str
    pace: Pace = Pace()
    enabled: bool = True
    next_at: int = 0
    last_job: str = ""
    principal: str = ""
    created: int = 0
    updated: int = 0
