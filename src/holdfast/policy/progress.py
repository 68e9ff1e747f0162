"""How long a job will still take: from what it did in the last minute, not from all that it ever did."""

from __future__ import annotations

from typing import Final

from holdfast.core.jobs import Job, JobState

_SECOND: Final = 1_000_000


def rates(job: Job) -> tuple[float, float] | None:
    """Return the items and bytes per second of the last minute; None when too little is known."""
    if len(job.recent) < 2:
        return None
    (began, items, size), (last, items_now, size_now) = job.recent[0], job.recent[-1]
    if last <= began:
        return None
    seconds = (last - began) / _SECOND
    return (items_now - items) / seconds, (size_now - size) / seconds


def seconds_as(job: Job, objects: int, size: int) -> float | None:
    """Return how many seconds so much takes if it goes as it went in `job`; None when that cannot be told.

    Counts what `job` did in its last minute; all that it did, when it had no more than that. One that passed most items
    over, since they were as they should be, tells nothing.
    """
    if job.counts.done * 2 < job.counts.examined:
        return None
    found = rates(job)
    if found is None and job.started is not None and job.ended is not None and job.ended > job.started:
        seconds = (job.ended - job.started) / _SECOND
        found = job.counts.examined / seconds, job.counts.bytes / seconds
    if found is None:
        return None
    items, rate = found
    times = [objects / items if items > 0 else None, size / rate if rate > 0 else None]
    return max((one for one in times if one is not None), default=None)


def seconds_left(job: Job) -> float | None:
    """Return how many seconds a running job will still take; None when nobody can tell.

    Items and bytes are asked both, where both totals are known: the later of the two ends it.
    """
    found = rates(job)
    if job.state is not JobState.RUNNING or found is None or job.total is None:
        return None
    items, size = found
    left = max(0, job.total - job.counts.examined)
    if not left:
        return 0.0
    if items <= 0:
        return None
    by_items = left / items
    if job.total_bytes is None or size <= 0:
        return by_items
    return max(by_items, max(0, job.total_bytes - job.counts.bytes) / size)
