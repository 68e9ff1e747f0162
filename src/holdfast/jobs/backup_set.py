"""Which set a job is about: the one that was found when it was split, whatever is made meanwhile."""

from __future__ import annotations

from holdfast.core.backend import Store
from holdfast.core.errors import CorruptedError, HoldfastError
from holdfast.engine.backups import sets
from holdfast.jobs.kinds import Work


async def set_of(work: Work, store: Store) -> sets.Manifest:
    """Return the set that the parts of a job begin with; before it has any, the one that its spec names now."""
    for part in await work.engine.catalog.job_parts(work.job.id):
        if part.start:
            return await sets.load(store, part.start)
    return await sets.find(store, work.spec["set"])


def passes(error: HoldfastError) -> bool:
    """Tell whether it is worth to try the step again: a store did not answer. What is damaged stays so."""
    return error.retryable and not isinstance(error, CorruptedError)
