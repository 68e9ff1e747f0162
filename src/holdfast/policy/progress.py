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
