"""Transactions of batches that are done by jobs: the batch, its items and its job begin together, and are told as one.

Items are kept in rows of some, so that a job reads no more of them than it does next. What such a batch tells are the
counters of its job, which is remembered longer than the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from sqlalchemy import select, update

from holdfast.catalog import jobs
from holdfast.catalog.contract import Actor, Batch, BatchFailure, BatchState
from holdfast.catalog.job_rows import failure_of, job_of
from holdfast.catalog.schema import batch_items, batches
from holdfast.catalog.statements import Many, Statement, insert_into, int_param, text_param
from holdfast.catalog.transaction import Attempt, Steps, Transaction
from holdfast.core.errors import NotFoundError
from holdfast.core.jobs import Job, JobState

TOLD: Final = 100  #: failures that a batch names
_KEPT: Final = 30 * 86_400_000_000  #: microseconds after which items are dropped, should their job never end

_STATES: Final = {
    JobState.DONE: BatchState.DONE,
    JobState.CANCELLED: BatchState.CANCELLED,
    JobState.FAILED: BatchState.INTERRUPTED,
}

LINK = Statement(
    update(batches)
    .where(batches.c.tenant == text_param("of_tenant"), batches.c.id == text_param("of_id"))
    .values(job_id=text_param("n_job"), begun=text_param("n_begun"))
)
BEGUN = Statement(
    select(batches.c.begun).where(
        batches.c.tenant == text_param("of_tenant"), batches.c.id == text_param("of_id")
    )
)
ITEMS_ADD = insert_into(batch_items, "tenant", "job_id", "number", "items", "expires")
ITEMS = Statement(
    select(batch_items.c["items"]).where(
        batch_items.c.tenant == text_param("of_tenant"),
        batch_items.c.job_id == text_param("of_job"),
        batch_items.c.number == int_param("of_number"),
    )
)
ITEMS_DROP = Statement(
    batch_items.delete().where(
        batch_items.c.tenant == text_param("of_tenant"), batch_items.c.job_id == text_param("of_job")
    )
)
ITEMS_EXPIRED = Statement(batch_items.delete().where(batch_items.c.expires <= int_param("at")))


def begin(
    create: Transaction[Batch],
    job: Job,
    begun: str,
    items: Sequence[str],
    *,
    actor: Actor,
    now: int | None,
) -> Transaction[Batch]:
    """A batch with its items (rows of text) and the job that does them; `begun` is what the job is to know of it."""

    def steps(attempt: Attempt) -> Steps[Batch]:
        batch = yield from create(attempt)
        if batch.job_id:
            return batch  # an earlier attempt was committed
        yield LINK(of_tenant=batch.tenant, of_id=batch.id, n_job=job.id, n_begun=begun)
        rows = [
            {
                "tenant": batch.tenant,
                "job_id": job.id,
                "number": number,
                "items": text,
                "expires": batch.created + _KEPT,
            }
            for number, text in enumerate(items)
        ]
        yield Many(ITEMS_ADD, rows)
        yield from jobs.begin(job, actor, now)
        return replace(batch, job_id=job.id)

    return steps


def begun(tenant: str, batch_id: str) -> Transaction[str]:
    """What the job of a batch is to know of it."""

    def steps(attempt: Attempt) -> Steps[str]:
        rows = yield BEGUN(of_tenant=tenant, of_id=batch_id)
        if not rows or not rows[0][0]:
            raise NotFoundError("there is no such batch; batches are begun at /api/v1/batch", name=batch_id)
        return str(rows[0][0])

    return steps


def items(tenant: str, job_id: str, number: int) -> Transaction[str]:
    """Some of the items of a job."""

    def steps(attempt: Attempt) -> Steps[str]:
        rows = yield ITEMS(of_tenant=tenant, of_job=job_id, of_number=number)
        if not rows:
            raise NotFoundError("the items of this batch are not there any more", name=job_id)
        return str(rows[0][0])

    return steps


def told(batch: Batch) -> Steps[Batch]:
    """Return a batch as its job says that it is; what the batch itself says failed comes first."""
    if not batch.job_id:
        return batch
    rows = yield jobs.ONE(of_job=batch.job_id)
    if not rows:
        return batch
    job = job_of(rows[0]).job
    failed = [failure_of(row) for row in (yield jobs.FAILURES(of_job=job.id, after=0, rows=TOLD))]
    failures = [BatchFailure(one.bucket, one.key, one.version_id, one.code, one.message) for one in failed]
    if job.state is JobState.FAILED:
        failures = [BatchFailure("", "", "", "unavailable", job.trouble), *failures]
    return replace(
        batch,
        state=_STATES.get(job.state, BatchState.RUNNING),
        done=job.counts.done,
        failed=job.counts.failed,
        bytes=job.counts.bytes,
        updated=job.updated,
        failures=[*batch.failures, *failures][:TOLD],
    )


def drop_items(tenant: str, job_id: str) -> Transaction[None]:
    """The items of a job that is over."""

    def steps(attempt: Attempt) -> Steps[None]:
        yield ITEMS_DROP(of_tenant=tenant, of_job=job_id)

    return steps
