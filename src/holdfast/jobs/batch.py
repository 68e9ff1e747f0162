"""Long requests over many objects: begun with one answer, done by whichever process, as whoever asked.

What is to be done is not in the spec but beside the batch, where nobody but the service writes it: the items, and the
principal in whose name each is done. So a batch begins at its own door (`begin`) and nowhere else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from holdfast.catalog.contract import Actor, Batch, BatchFailure
from holdfast.core.errors import HoldfastError, InvalidRequestError, PermissionDeniedError
from holdfast.core.jobs import Counts, ItemFailure, Job, Part
from holdfast.core.types import Principal
from holdfast.engine.acting import VERBS, Doing, act_again, act_of
from holdfast.engine.batches import Act, Item, Result, new_batch, told
from holdfast.engine.engine import Engine
from holdfast.engine.item_log import ItemLog, Origin
from holdfast.jobs.kinds import Ask, Finish, Forecast, Range, Step, Work

NAME: Final = "batch"
_ROW: Final = 100  #: items in a row of the catalog
_PART: Final = 1000  #: items in a part: so many processes as there are parts may work at a batch
_AT_ONCE: Final = 8
_BEAT: Final = 5.0  #: seconds
_STEP: Final = 0.5  #: seconds after which a step tells how far it is
_LEASE: Final = 60_000_000  #: microseconds


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """How a batch was begun: what is to be done, by whom, and from where."""

    doing: Doing
    principal: Principal
    request_id: str = ""
    address: str = ""
    agent: str = ""


_of_begun: Final = msgspec.json.Decoder(Begun).decode
_of_items: Final = msgspec.json.Decoder(list[Item]).decode


async def begin(engine: Engine, begun: Begun, items: Sequence[Item], *, id: str | None) -> Batch:
    """Write down a batch and the job that does it, and return the batch.

    Raises:
        AlreadyExistsError: the tenant has a batch of that id.
    """
    who = begun.principal
    batch = await new_batch(engine.context, who.tenant, who.id, begun.doing.deed.value, len(items), id)
    job = Job(
        engine.context.environment.new_id(),
        who.tenant,
        NAME,
        {"batch": batch.id, "verb": begun.doing.deed.value, "items": len(items)},
        principal=who.id,
        total=len(items),
    )
    rows = [msgspec.json.encode(items[at : at + _ROW]).decode() for at in range(0, len(items), _ROW)]
    actor = Actor(who.id, begun.request_id, begun.address)
    text = msgspec.json.encode(begun).decode()
    made = await engine.catalog.begin_batch(batch, job, begun=text, items=rows, lease=_LEASE, actor=actor)
    engine.news.tell(made.job_id)
    return made


class BatchKind:
    """Delete, tag or copy many objects: a long request to /api/v1/batch, where it is begun.

    Each item is done as whoever began it may; whether that still holds is asked again and again.
    """

    name = NAME
    verb = "operate"

    def asks(self, spec: Mapping[str, Any]) -> Sequence[Ask]:
        """See `Kind`. Besides whoever began it, those who look after the whole tenant may see it."""
        return [Ask("update_bucket")]

    def check(self, spec: Mapping[str, Any]) -> Mapping[str, Any]:
        """See `Kind`. What begins elsewhere has no items."""
        raise InvalidRequestError("a batch is begun with POST /api/v1/batch/delete, /copy or /tag")

    async def forecast(self, work: Work) -> Forecast:
        """See `Kind`."""
        return Forecast(objects=int(work.spec["items"]))

    async def split(self, work: Work) -> Sequence[Range]:
        """See `Kind`. A part is a range of numbers of items."""
        count = int(work.spec["items"])
        starts = range(0, count, _PART)
        return [
            Range(str(start), str(min(start + _PART, count)), items=min(_PART, count - start))
            for start in starts
        ]

    async def step(self, work: Work, part: Part) -> Step:
        """See `Kind`. Ends after half a second, so that progress is told."""
        engine, catalog = work.engine, work.engine.catalog
        begun = _of_begun(await catalog.batch_begun(work.job.tenant, str(work.spec["batch"])))
        try:
            await engine.directory.check_still(begun.principal)
        except PermissionDeniedError as error:
            await self._give_up(work, error)
            return Step(part.cursor)
        first, end = int(part.cursor or part.start), int(part.end)
        row = await catalog.batch_items(work.job.tenant, work.job.id, first // _ROW)
        items = _of_items(row)[first % _ROW :][: end - first]
        results = await _some(work, items, self._act(work, part, begun))
        place = first + len(results)
        return Step(str(place), place >= end, _counted(results), _failed(work.job.tenant, results))

    async def finish(self, work: Work) -> Finish:
        """See `Kind`."""
        await work.engine.catalog.drop_batch_items(work.job.tenant, work.job.id)
        return Finish({"batch": work.spec["batch"]})

    def _act(self, work: Work, part: Part, begun: Begun) -> Act:
        """Return what does an item; where somebody had the part before, what they may have done is left alone."""
        session = work.engine.session(begun.principal, request_id=begun.request_id, address=begun.address)
        log = ItemLog(work.engine.audit.recorder, work.engine.context.environment.clock)
        if part.fence > 1:
            act = act_again(session, begun.doing, since=work.job.created)
        else:
            act = act_of(session, begun.doing, since=work.job.created)
        origin = Origin(begun.principal, begun.request_id, begun.address, begun.agent)
        return log.watched(origin, VERBS[begun.doing.deed], act)

    async def _give_up(self, work: Work, error: PermissionDeniedError) -> None:
        why = BatchFailure("", "", "", error.code, told(error))
        actor = Actor(work.job.principal)
        await work.engine.catalog.cancel_batch(work.job.tenant, str(work.spec["batch"]), why=why, actor=actor)


async def _some(work: Work, items: Sequence[Item], act: Act) -> Sequence[Result]:
    """Do items from the first on, a few at a time, for a while, and return how it went with those that were begun."""
    clock = work.engine.context.environment.clock
    until = clock.monotonic() + _STEP
    results: list[Result] = []
    places = iter(range(len(items)))

    async def worker() -> None:
        while not results or clock.monotonic() < until:
            if work.stopping() or not await work.room() or (place := next(places, None)) is None:
                return
            results.append(Result(items[place]))  # with no wait in between: those that are begun are in a row
            try:
                results[place] = await act(items[place])
            except HoldfastError as error:
                results[place] = Result(items[place], error=error)

    workers = [asyncio.ensure_future(worker()) for _ in range(min(_AT_ONCE, len(items)))]
    try:
        pending: set[asyncio.Future[None]] = set(workers)
        while pending:
            _, pending = await asyncio.wait(pending, timeout=_BEAT)
            await work.beat()
        for one in workers:
            one.result()
    finally:
        for one in workers:
            one.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return results


def _counted(results: Sequence[Result]) -> Counts:
    failed = sum(result.error is not None for result in results)
    size = sum(result.size for result in results if result.error is None)
    return Counts(len(results), len(results) - failed, 0, failed, size)


def _failed(tenant: str, results: Sequence[Result]) -> list[ItemFailure]:
    return [
        ItemFailure(
            one.item.bucket,
            one.item.key,
            one.item.version_id or "",
            one.error.code,
            told(one.error)[:500],
            tenant=tenant,
        )
        for one in results
        if one.error is not None
    ]
