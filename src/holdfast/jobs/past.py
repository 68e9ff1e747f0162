"""What jobs over a bucket as it was share: which moment is meant, the keys of a part, and how a page is done."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from holdfast.catalog.contract import Actor
from holdfast.core.errors import ConflictError, HoldfastError, InvalidRequestError, NotFoundError
from holdfast.core.jobs import Counts, ItemFailure, Part
from holdfast.core.names import check_bucket, check_prefix
from holdfast.core.types import ObjectRef
from holdfast.engine.moments import check_name, check_past
from holdfast.jobs import ranges, spec
from holdfast.jobs.kinds import Work
from holdfast.policy.moments import time_of

PAGE: Final = 300
_AT_ONCE: Final = 16

T = TypeVar("T")


def said(given: Mapping[str, Any], *, needed: bool) -> dict[str, Any]:
    """Return the members that name a bucket, a prefix and a moment: `at`, or the name of a `snapshot`.

    Raises:
        InvalidRequestError: naming what is wrong; with `needed`, also that no moment is named.
    """
    at, snapshot = spec.text(given, "at"), spec.text(given, "snapshot")
    if at and snapshot:
        raise InvalidRequestError("name a moment, or a snapshot, not both: at or snapshot")
    if needed and not (at or snapshot):
        raise InvalidRequestError("name the moment: at, or snapshot")
    if at:
        time_of(at)
    if snapshot:
        check_name(snapshot)
    return {
        "tenant": spec.text(given, "tenant"),
        "bucket": check_bucket(spec.text(given, "bucket", None)),
        "prefix": check_prefix(spec.text(given, "prefix")),
        "at": at,
        "snapshot": snapshot,
    }


def place_of(work: Work) -> tuple[str, str]:
    """Return tenant and bucket that are meant."""
    return str(work.spec["tenant"]) or work.job.tenant, str(work.spec["bucket"])


async def moment_of(work: Work) -> int | None:
    """Return the moment that is meant, None when the spec names none.

    Raises:
        NotFoundError: there is no such snapshot, or bucket.
        ConflictError: the bucket has no past. InvalidRequestError: the moment is in the future.
    """
    tenant, bucket = place_of(work)
    if work.spec["snapshot"]:
        return (await work.engine.catalog.snapshot(tenant, bucket, work.spec["snapshot"])).at
    if not work.spec["at"]:
        return None
    at = time_of(work.spec["at"])
    await check_past(work.engine.context, tenant, bucket, at)
    return at


async def begun(work: Work) -> int | None:
    """Return the time after which a version counts as made after the job; None for a job that has no rows."""
    if not work.job.created:
        return None
    return await work.engine.catalog.time_reached(*place_of(work), work.job.created)


def keys_of(part: Part) -> tuple[str, str]:
    """Return the key behind which a part goes on, and its last one ("": to the end)."""
    start = ranges.place_of(part.start)[1]
    end = ranges.place_of(part.end, empty=ranges.LAST)[1]
    return part.cursor or start, end


def actor_of(work: Work) -> Actor:
    """Return who it is, in the audit."""
    return Actor(work.job.principal or "job", work.job.id)


@dataclass
class Tally:
    """What became of a page."""

    notes: Counter[str] = field(default_factory=Counter)
    failures: list[ItemFailure] = field(default_factory=list)
    done: int = 0
    skipped: int = 0
    bytes: int = 0
    why: Counter[str] = field(default_factory=Counter)  #: of `notes`, those that were left as they are

    def counts(self, examined: int) -> Counts:
        """Return what to add to the job's counters."""
        return Counts(examined, self.done, self.skipped, len(self.failures), self.bytes, dict(self.notes))

    def broken_off(self) -> Counts:
        """Return what to add when the page is to be gone through again: what was done, and nothing else."""
        return Counts(done=self.done, bytes=self.bytes, notes=dict(self.notes - self.why))

    def passed(self, why: str = "") -> None:
        """Count one that is left as it is."""
        self.skipped += 1
        if why:
            self.notes[why] += 1
            self.why[why] += 1


async def each(
    work: Work,
    tally: Tally,
    items: Sequence[tuple[ObjectRef, T]],
    deed: Callable[[ObjectRef, T], Awaitable[None]],
) -> bool:
    """Do `deed` for items, some at once; False when the job is to stop and not all were done.

    What changed meanwhile is passed over, what went wrong with one item is told.

    Raises:
        HoldfastError: it may go well when the step is done again.
    """
    gate = asyncio.Semaphore(_AT_ONCE)
    stopped = False

    async def one(ref: ObjectRef, item: T) -> None:
        nonlocal stopped
        async with gate:
            if stopped or work.stopping() or not await work.room():
                stopped = True
                return
            try:
                await deed(ref, item)
            except ConflictError:
                tally.passed("changed_meanwhile")
            except NotFoundError:
                tally.passed("gone_meanwhile")
            except HoldfastError as error:
                if error.retryable:
                    raise
                failure = ItemFailure(ref.bucket, ref.key, code=error.code, message=error.message)
                tally.failures.append(failure)

    ends = await asyncio.gather(*(one(ref, item) for ref, item in items), return_exceptions=True)
    for error in ends:  # none goes on behind our back when the step is tried again
        if error is not None:
            raise error
    return not stopped
