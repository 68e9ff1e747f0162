"""Transactions of batches: how far a request over many objects is, for whoever asks, on any replica."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import msgspec
from sqlalchemy import select, update

from holdfast.catalog import batch_jobs, jobs
from holdfast.catalog.contract import Actor, Batch, BatchFailure, BatchState
from holdfast.catalog.schema import batches
from holdfast.catalog.statements import (
    Row,
    Statement,
    catalog_now,
    constant,
    insert_into,
    int_param,
    text_param,
)
from holdfast.catalog.transaction import Attempt, Steps, Transaction
from holdfast.core.errors import AlreadyExistsError, NotFoundError

_COLUMNS: Final = (
    *("id", "tenant", "kind", "principal", "state", "total", "done", "failed", "bytes"),
    *("created", "updated", "lease_until", "expires", "results", "job_id"),
)
_ONE = (batches.c.tenant == text_param("of_tenant"), batches.c.id == text_param("of_id"))

BATCH_ADD = insert_into(batches, *_COLUMNS[:-1])
BATCH = Statement(select(*[batches.c[name] for name in _COLUMNS], catalog_now().label("now")).where(*_ONE))
BATCHES = Statement(
    select(*[batches.c[name] for name in _COLUMNS], catalog_now().label("now"))
    .where(batches.c.tenant == text_param("of_tenant"), batches.c.created < int_param("before"))
    .order_by(batches.c.created.desc(), batches.c.id)
    .limit(int_param("rows"))
)
PROGRESS = Statement(
    update(batches)
    .where(*_ONE, batches.c.state == constant("running"))
    .values(
        total=int_param("n_total"),
        done=int_param("n_done"),
        failed=int_param("n_failed"),
        bytes=int_param("n_bytes"),
        results=text_param("n_results"),
        updated=catalog_now(),
        lease_until=catalog_now() + int_param("lease"),
    )
    .returning(batches.c.id)
)
#: One that was cancelled, or given up as interrupted, keeps that state and gets its last figures.
FINISH = Statement(
    update(batches)
    .where(*_ONE)
    .values(
        state=text_param("n_state"),
        total=int_param("n_total"),
        done=int_param("n_done"),
        failed=int_param("n_failed"),
        bytes=int_param("n_bytes"),
        results=text_param("n_results"),
        updated=catalog_now(),
        lease_until=constant(0),
    )
)
CANCEL = Statement(
    update(batches)
    .where(*_ONE, batches.c.state == constant("running"))
    .values(state=constant("cancelled"), updated=catalog_now(), lease_until=constant(0))
)
EXPIRED = Statement(batches.delete().where(batches.c.expires <= int_param("at")))


def no_batch(batch_id: str) -> NotFoundError:
    """Return the error for a batch that is not there."""
    return NotFoundError("there is no such batch; they are forgotten a day after they began", name=batch_id)


def create(batch: Batch, *, lease: int, now: int | None) -> Transaction[Batch]:
    """A batch that begins now."""

    def steps(attempt: Attempt) -> Steps[Batch]:
        rows = yield BATCH(of_tenant=batch.tenant, of_id=batch.id, now=now)
        if rows:
            found = _batch_of(rows[0])
            if attempt.again and found.principal == batch.principal and found.created == batch.created:
                return found
            raise AlreadyExistsError("there is a batch of that id; choose another", name=batch.id)
        yield BATCH_ADD(
            id=batch.id,
            tenant=batch.tenant,
            kind=batch.kind,
            principal=batch.principal,
            state="running",
            total=batch.total,
            done=batch.done,
            failed=batch.failed,
            bytes=batch.bytes,
            created=batch.created,
            updated=batch.updated,
            lease_until=batch.created + lease,
            expires=batch.expires,
            results=_text_of(batch.failures),
        )
        return batch

    return steps


def one(tenant: str, batch_id: str, now: int | None) -> Transaction[Batch]:
    """One batch."""

    def steps(attempt: Attempt) -> Steps[Batch]:
        rows = yield BATCH(of_tenant=tenant, of_id=batch_id, now=now)
        if not rows:
            raise no_batch(batch_id)
        return (yield from batch_jobs.told(_batch_of(rows[0])))

    return steps


def page(tenant: str, *, before: int, limit: int, now: int | None) -> Transaction[Sequence[Batch]]:
    """Batches of a tenant that began before a time, the newest first."""

    def steps(attempt: Attempt) -> Steps[Sequence[Batch]]:
        rows = yield BATCHES(of_tenant=tenant, before=before, rows=limit, now=now)
        found = []
        for row in rows:
            found.append((yield from batch_jobs.told(_batch_of(row))))
        return found

    return steps


def progress(batch: Batch, *, lease: int, now: int | None) -> Transaction[bool]:
    """The figures of a running batch; False when it runs no longer, because somebody cancelled it."""

    def steps(attempt: Attempt) -> Steps[bool]:
        rows = yield PROGRESS(**_figures(batch), lease=lease, now=now)
        return bool(rows)

    return steps


def finish(batch: Batch, now: int | None) -> Transaction[None]:
    """The last figures of a batch, and how it ended."""

    def steps(attempt: Attempt) -> Steps[None]:
        yield FINISH(**_figures(batch), n_state=batch.state.value, now=now)

    return steps


def cancel(
    tenant: str, batch_id: str, now: int | None, why: BatchFailure | None, actor: Actor
) -> Transaction[None]:
    """A running batch told to stop, and the job that does it with it; `why` becomes its first failure."""

    def steps(attempt: Attempt) -> Steps[None]:
        rows = yield BATCH(of_tenant=tenant, of_id=batch_id, now=now)
        if not rows or not (held := _batch_of(rows[0])).job_id:
            yield CANCEL(of_tenant=tenant, of_id=batch_id, now=now)
            return
        if (yield from batch_jobs.told(held)).state is not BatchState.RUNNING:
            return
        yield from jobs.cancel(held.job_id, actor=actor, now=now)(attempt)
        if why is not None:
            ended = replace(held, failures=[why])
            yield FINISH(**_figures(ended), n_state=BatchState.CANCELLED.value, now=now)

    return steps


def expire(at: int) -> Transaction[int]:
    """Old batches forgotten."""

    def steps(attempt: Attempt) -> Steps[int]:
        yield EXPIRED(at=at)
        yield batch_jobs.ITEMS_EXPIRED(at=at)
        return 0

    return steps


def _figures(batch: Batch) -> dict[str, Any]:
    return {
        "of_tenant": batch.tenant,
        "of_id": batch.id,
        "n_total": batch.total,
        "n_done": batch.done,
        "n_failed": batch.failed,
        "n_bytes": batch.bytes,
        "n_results": _text_of(batch.failures),
    }


def _text_of(failures: Sequence[BatchFailure]) -> str:
    return msgspec.json.encode(failures).decode() if failures else ""


def _batch_of(row: Row) -> Batch:
    """Return the batch of a row; one whose process stopped renewing it was interrupted."""
    id_, tenant, kind, principal, state, total, done, failed, size = row[:9]
    created, updated, lease_until, expires, results, job_id, now = row[9:]
    if state == "running" and lease_until < now:
        state = "interrupted"
    return Batch(
        id=id_,
        tenant=tenant,
        kind=kind,
        principal=principal,
        state=BatchState(state),
        total=total,
        done=done,
        failed=failed,
        bytes=size,
        created=created,
        updated=updated,
        expires=expires,
        failures=msgspec.json.decode(results, type=list[BatchFailure]) if results else (),
        job_id=job_id or "",
    )
