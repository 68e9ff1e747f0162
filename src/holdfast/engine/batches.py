"""Requests over many objects: a few at a time, each failure named, none hiding the others.

How far a batch is stands in the catalog, so any replica of the service can tell. Items are done by the verbs of a
session, so what holds for one object holds for each of many. Those done here end with the request that began them; long
ones are jobs (`jobs.batch`). Doing an item twice is doing it once: whoever finds a batch interrupted sends it again.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Final

from holdfast.catalog.contract import Actor, Batch, BatchFailure, BatchState
from holdfast.core.errors import (
    ConflictError,
    HoldfastError,
    InvalidRequestError,
    PermissionDeniedError,
    UnavailableError,
)
from holdfast.engine.context import Context, finish

MAX_ITEMS: Final = 10_000
DIRECT: Final = 200  #: items up to which a batch is answered when it is done
TOLD: Final = 100  #: failures that are kept by name
_AT_ONCE: Final = 8
_SECOND: Final = 1_000_000
_LEASE: Final = 60 * _SECOND  #: after so long without a sign of life a batch was interrupted
_EVERY: Final = 0.5  #: seconds between two notes of progress, unless
_OFTEN: Final = 25  #: so many items were done sooner
_LIFETIME: Final = 24 * 3600 * _SECOND
_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True, slots=True)
class Item:
    """One object of a batch, and where it is to go if it is copied."""

    bucket: str
    key: str
    version_id: str | None = None
    target: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """How it went with one item."""

    item: Item
    version_id: str | None = None  #: made, changed or removed; None when nothing was there
    size: int = 0
    error: HoldfastError | None = None


#: Raises `PermissionDeniedError` when whoever began a batch may go on no longer.
Still = Callable[[], Awaitable[None]]
#: Does one item; raises a `HoldfastError` when that fails.
Act = Callable[[Item], Awaitable[Result]]


@dataclass(slots=True)
class Progress:
    """How far a batch is, as its process counts it."""

    batch: Batch
    noted: Batch | None = None  #: what the catalog knows
    failures: list[BatchFailure] = field(default_factory=list)
    still: Still | None = None
    ended: HoldfastError | None = None  #: why it may not go on
    due: asyncio.Event = field(default_factory=asyncio.Event)  #: to tell the catalog

    def went_well(self, size: int = 0) -> None:
        """Count an item."""
        self.batch = replace(self.batch, done=self.batch.done + 1, bytes=self.batch.bytes + size)
        self._count()

    def failed(self, bucket: str, key: str, error: HoldfastError, version_id: str = "") -> None:
        """Count an item that failed, and name it if there is room."""
        if len(self.failures) < TOLD:
            failure = BatchFailure(bucket, key, version_id, error.code, told(error)[:500])
            self.failures = [*self.failures, failure]
        self.batch = replace(self.batch, failed=self.batch.failed + 1, failures=self.failures)
        self._count()

    def expect(self, total: int) -> None:
        """Say how many items there are, when that turns out later."""
        self.batch = replace(self.batch, total=total)

    async def go_on(self) -> None:
        """Return when the batch may go on; else note why not, and raise that."""
        if self.ended is None and self.still is not None:
            try:
                await self.still()
            except PermissionDeniedError as error:
                self.ended = error
                failure = BatchFailure("", "", "", error.code, told(error))
                self.failures = [failure, *self.failures]
                self.batch = replace(self.batch, failures=self.failures)
            except UnavailableError:
                return  # what is not known now is asked again soon
        if self.ended is not None:
            raise self.ended

    def known(self, noted: Batch) -> None:
        """The catalog has been told so much."""
        self.noted = noted
        self.due.clear()
        self._count()

    def _count(self) -> None:
        known = 0 if self.noted is None else self.noted.done + self.noted.failed
        if self.batch.done + self.batch.failed - known >= _OFTEN:
            self.due.set()


def told(error: HoldfastError) -> str:
    """Return the message of an error as a client may read it."""
    hidden = error.code in ("internal", "config")
    return "something went wrong here" if hidden else error.message


class Batches:
    """The batches of one process. `tenant` and `principal` come from the session, never from the request."""

    def __init__(self, context: Context) -> None:
        self._context = context

    # -- looking ------------------------------------------------------------------------------------------------
    async def get(self, tenant: str, batch_id: str) -> Batch:
        """Return a batch of the tenant or raise `NotFoundError`."""
        return await self._context.catalog.batch(tenant, check_id(batch_id))

    async def list(self, tenant: str, *, before: int | None, limit: int) -> Sequence[Batch]:
        """Return batches of the tenant that began before a time, the newest first."""
        at = await self._context.catalog.now() + 1 if before is None else before
        return await self._context.catalog.batches(tenant, before=at, limit=min(limit, 1000))

    async def cancel(self, tenant: str, batch_id: str, *, actor: Actor = Actor()) -> None:
        """Stop a batch, wherever it runs, at its next sign of life; what was done stays done."""
        await self._context.catalog.cancel_batch(tenant, check_id(batch_id), actor=actor)

    # -- doing --------------------------------------------------------------------------------------------------
    async def run(
        self,
        tenant: str,
        principal: str,
        kind: str,
        items: Sequence[Item],
        act: Act,
        *,
        id: str | None,
        still: Still | None = None,
    ) -> tuple[Batch, Sequence[Result]]:
        """Do all items and return how it went with each, in their order. Recorded only under an `id` of the client."""
        if id is None:
            progress = Progress(_begun("", tenant, principal, kind, len(items), 0), still=still)
            results = await _each(items, act, progress)
            return replace(progress.batch, state=BatchState.DONE), results
        async with self.track(tenant, principal, kind, len(items), id=id, still=still) as progress:
            results = await _each(items, act, progress)
        return replace(progress.batch, state=BatchState.DONE), results

    @asynccontextmanager
    async def track(
        self,
        tenant: str,
        principal: str,
        kind: str,
        total: int,
        *,
        id: str | None,
        still: Still | None = None,
    ) -> AsyncIterator[Progress]:
        """Give the progress of a batch that the block does itself, recorded while it runs.

        Raises:
            AlreadyExistsError: there is a batch of that id.
            ConflictError: out of the block, when somebody cancels the batch.
            PermissionDeniedError: out of the block, when `still` raises it.
        """
        async with self._tracked(await self._create(tenant, principal, kind, total, id), still) as progress:
            yield progress

    async def _create(self, tenant: str, principal: str, kind: str, total: int, id: str | None) -> Batch:
        batch = await new_batch(self._context, tenant, principal, kind, total, id)
        return await self._context.catalog.create_batch(batch, lease=_LEASE)

    @asynccontextmanager
    async def _tracked(self, batch: Batch, still: Still | None) -> AsyncIterator[Progress]:
        progress, task, cancelled = Progress(batch, noted=batch, still=still), asyncio.current_task(), False

        async def keep() -> None:
            nonlocal cancelled
            clock, since = self._context.environment.clock, 0.0
            while True:
                await _either(clock.sleep(_EVERY), progress.due.wait())
                since += _EVERY
                try:
                    await progress.go_on()
                except HoldfastError:
                    cancelled = True
                    if task is not None:
                        task.cancel()
                    return
                if progress.batch is progress.noted and since * _SECOND < _LEASE / 4:
                    continue
                since, noted = 0.0, progress.batch
                try:
                    if await self._context.catalog.progress_batch(noted, lease=_LEASE):
                        progress.known(noted)
                        continue
                except UnavailableError:
                    await clock.sleep(_EVERY)
                    continue
                cancelled = True
                if task is not None:
                    task.cancel()
                return

        keeper = asyncio.ensure_future(keep())
        state = BatchState.INTERRUPTED
        try:
            yield progress
            state = BatchState.DONE
        except asyncio.CancelledError:
            if not cancelled:
                raise
            if task is not None:
                task.uncancel()
            if progress.ended is not None:
                raise progress.ended from None
            raise ConflictError("the batch was cancelled", name=batch.id) from None
        finally:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
            if cancelled or progress.ended is not None:
                state = BatchState.CANCELLED
            await finish(self._finish(replace(progress.batch, state=state)))

    async def _finish(self, batch: Batch) -> None:
        try:
            await self._context.catalog.finish_batch(batch)
        except UnavailableError:
            return  # its lease ends, which says the same


async def new_batch(
    context: Context, tenant: str, principal: str, kind: str, total: int, id: str | None
) -> Batch:
    """Return a batch that begins now; `InvalidRequestError` for an `id` that none may have."""
    batch_id = context.environment.new_id() if id is None else check_id(id)
    return _begun(batch_id, tenant, principal, kind, total, await context.catalog.now())


def check_id(batch_id: str) -> str:
    """Return an id that a batch may have, or raise `InvalidRequestError`."""
    if not _ID.fullmatch(batch_id):
        raise InvalidRequestError("a batch id is 1 to 64 of A-Z a-z 0-9 . _ -")
    return batch_id


def check_count(count: int) -> None:
    """Refuse a batch without items, or with too many."""
    if count == 0:
        raise InvalidRequestError("the batch names no objects")
    if count > MAX_ITEMS:
        raise InvalidRequestError(
            f"a batch takes at most {MAX_ITEMS:,} objects; send several, or narrow the prefix"
        )


def _begun(id: str, tenant: str, principal: str, kind: str, total: int, now: int) -> Batch:
    return Batch(
        id=id,
        tenant=tenant,
        kind=kind,
        principal=principal,
        total=total,
        created=now,
        updated=now,
        expires=now + _LIFETIME,
    )


async def _either(*waits: Coroutine[object, object, object]) -> None:
    """Return when the first of them does; the others are given up."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


async def _each(items: Sequence[Item], act: Act, progress: Progress) -> Sequence[Result]:
    """Do every item, a few at a time; one that fails is a result like any other."""
    results: list[Result] = [Result(item) for item in items]
    places = iter(range(len(items)))

    async def worker() -> None:
        for place in places:
            item = items[place]
            await progress.go_on()
            try:
                results[place] = result = await act(item)
                progress.went_well(result.size)
            except HoldfastError as error:
                results[place] = Result(item, error=error)
                progress.failed(item.bucket, item.key, error, item.version_id or "")

    workers = [asyncio.ensure_future(worker()) for _ in range(min(_AT_ONCE, len(items)))]
    try:
        await asyncio.gather(*workers)
    finally:
        for one in workers:
            one.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return results
