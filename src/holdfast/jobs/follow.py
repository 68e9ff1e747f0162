"""`follow`: a bucket kept in step with its upstream, pass after pass, while clients write to both.

A pass has three parts: *list* goes over the upstream's listing, takes over what is new or changed, and removes here what
two listings in a row did not show; *bytes* brings home what was taken over; *out* writes out what was changed here, where
that is wanted. Between passes it rests. It ends after so many passes, or when the bucket follows nothing any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final

from holdfast.catalog.contract import Actor
from holdfast.core.adopted import Divergence, Pinned, Upstream, key_of
from holdfast.core.errors import HoldfastError, InvalidRequestError, NotFoundError
from holdfast.core.jobs import Counts, ItemFailure, Part
from holdfast.core.names import check_bucket
from holdfast.core.records import Debt
from holdfast.core.types import BlobInfo, ObjectRef
from holdfast.engine import adopting, following
from holdfast.engine.engine import Engine
from holdfast.engine.replicas import reconcile
from holdfast.jobs import looking, spec
from holdfast.jobs.adopt import LAST, counted, failed, pages, tenant, tenant_of
from holdfast.jobs.kinds import Finish, Forecast, Range, Step, Work
from holdfast.policy.following import shrank

LIST, BYTES, OUT = "list", "bytes", "out"
BATCH: Final = 500
_STEP: Final = 10_000  #: objects of a listing after which a step ends
_AT_ONCE: Final = 4  #: contents on their way at the same time
_PAGE: Final = 100  #: debts, or changes, in a step
_FIRST: Final = 5.0  #: seconds until a change is written out again, then twice that, and so on
_LONGEST: Final = 600.0
_PAUSE: Final = 60.0
_SHARE: Final = 0.1


class Follow:
    """Keeps a bucket in step with its upstream."""

    name = "follow"
    verb = "operate"

    def check(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """See `Kind.check`. `passes` 0 goes on until the bucket is detached; `share`: of the objects, may vanish at once."""
        spec.known(given, "tenant", "bucket", "passes", "pause", "share")
        passes, share = given.get("passes", 0), given.get("share", _SHARE)
        if isinstance(passes, bool) or not isinstance(passes, int) or passes < 0:
            raise InvalidRequestError("passes is a whole number; 0: without end")
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
            raise InvalidRequestError("share is a number from 0 to 1")
        return {
            "tenant": tenant(given),
            "bucket": check_bucket(spec.text(given, "bucket", None)),
            "passes": passes,
            "pause": spec.seconds(given, "pause", _PAUSE),
            "share": float(share),
        }

    async def look(self, engine: Engine, said: Mapping[str, Any]) -> None:
        """See `Kind`."""
        await looking.upstream(engine, said)

    async def forecast(self, work: Work) -> Forecast:
        """See `Kind.forecast`."""
        upstream = await upstream_of(work)
        if upstream is None:
            raise NotFoundError("the bucket follows no store; attach one first", name=work.spec["bucket"])
        store = adopting.foreign_store(work.engine.context, upstream.store)
        objects = size = 0
        async with aclosing(adopting.listed(store.backend, upstream.prefix)) as listing:
            async for info in listing:
                objects, size = objects + 1, size + info.size
        notes = ["what is here already is not moved again", "passes go on until the bucket is detached"]
        calls = {store.name: {"list": -(-objects // 1000), "get": objects}}
        return Forecast(objects, size, calls, notes=notes[: 1 + (not work.spec["passes"])])

    async def split(self, work: Work) -> Sequence[Range]:
        """See `Kind.split`."""
        if await upstream_of(work) is None:
            raise NotFoundError("the bucket follows no store; attach one first", name=work.spec["bucket"])
        return _parts()

    async def step(self, work: Work, part: Part) -> Step:
        """See `Kind.step`."""
        upstream = await upstream_of(work)
        if upstream is None:
            return Step(part.cursor, done=True)
        await work.engine.context.stores.refresh()
        if part.start == LIST:
            return await _list(work, upstream, part) if upstream.reads else Step(part.cursor, done=True)
        if part.start == BYTES:
            return await _bytes(work, upstream, part)
        return await _out(work, upstream) if upstream.writes else Step("", done=True)

    async def finish(self, work: Work) -> Finish:
        """See `Kind.finish`."""
        told, catalog = work.spec, work.engine.catalog
        upstream = await upstream_of(work)
        if upstream is None:
            return Finish({"ended": "the bucket follows nothing any more"})
        if upstream.reads:
            upstream = await catalog.change_upstream(tenant_of(work), told["bucket"], passed=True)
        owing = await catalog.owing_out(upstream)
        result = {"passes": upstream.passes, "owed": owing.count, "phase": upstream.phase.value}
        if told["passes"] and work.job.round >= told["passes"]:
            return Finish(result)
        return Finish(result, again=_parts(), after=told["pause"])


def _parts() -> list[Range]:
    return [Range(LIST), Range(BYTES), Range(OUT)]


async def upstream_of(work: Work) -> Upstream | None:
    """Return what the bucket of a job follows now."""
    return await work.engine.catalog.upstream(tenant_of(work), work.spec["bucket"])


# -- the listing ------------------------------------------------------------------------------------------------------
async def _list(work: Work, upstream: Upstream, part: Part) -> Step:
    store = adopting.foreign_store(work.engine.context, upstream.store)
    counts, failures, cursor, seen = Counts(), list[ItemFailure](), part.cursor, 0
    number = upstream.passes + 1
    async with aclosing(pages(store, upstream.prefix, after=cursor, size=BATCH)) as listing:
        async for page in listing:
            if not await work.room(len(page)):
                return Step(cursor, counts=counts, failures=failures)
            last = key_of(page[-1].name)
            for done in (
                await _page(work, upstream, page),
                await _missing(work, upstream, page, above=cursor, upto=last, number=number),
            ):
                counts, failures = counts + done[0], failures + done[1]
            cursor, seen = last, seen + len(page)
            await work.beat()
            if seen >= _STEP or work.stopping():
                return Step(cursor, counts=counts, failures=failures)
    empty = not cursor and not seen
    more, failing = await _missing(work, upstream, (), above=cursor, upto="", number=number, empty=empty)
    return Step(cursor, done=True, counts=counts + more, failures=failures + failing)


Done = tuple[Counts, list[ItemFailure]]


async def _page(work: Work, upstream: Upstream, page: Sequence[BlobInfo]) -> Done:
    """Take over what a page shows."""
    found = [adopting.found_in(info, upstream.key(key_of(info.name))) for info in page]
    taken = await adopting.take(
        work.engine.context,
        upstream.tenant,
        upstream.bucket,
        following.taking_of(upstream),
        found,
        heads=True,
        actor=following.ACTOR,
    )
    return counted(taken), failed(taken, upstream.tenant, upstream.bucket)


async def _missing(
    work: Work,
    upstream: Upstream,
    page: Sequence[BlobInfo],
    *,
    above: str,
    upto: str,
    number: int,
    empty: bool = False,
) -> Done:
    """Remember what a stretch of the listing did not show, and remove what was not shown the time before either.

    `above` and `upto` are names of the upstream; "" is the beginning, or the end. `empty`: it listed nothing at all.
    """
    catalog = work.engine.catalog
    shown = {upstream.key(key_of(info.name)) for info in page}
    place = upstream.key(above) if above else ""
    end = upstream.key(upto) if upto else LAST
    counts, failures = Counts(), list[ItemFailure]()
    while True:
        known = await catalog.pinned_keys(upstream, above=place, upto=end, limit=BATCH)
        stop = known[-1].key if len(known) == BATCH else end
        missing = [one for one in known if one.key not in shown]
        twice = await catalog.miss_keys(upstream, missing, above=place, upto=stop, number=number)
        if twice:
            more, failing = await _vanished(work, upstream, [one.key for one in twice], known, empty=empty)
            counts, failures = counts + more, failures + failing
        if stop == end:
            return counts, failures
        place = stop


async def _vanished(
    work: Work, upstream: Upstream, keys: Sequence[str], known: Sequence[Pinned], *, empty: bool
) -> Done:
    """Remove what the upstream has no more, each asked for once more, unless far too much is missing."""
    context, catalog = work.engine.context, work.engine.catalog
    objects = (await catalog.usage(upstream.tenant, upstream.bucket)).objects
    missing = await catalog.count_misses(upstream)
    if shrank(missing, objects, share=work.spec["share"], empty=empty):
        why = (
            f"the upstream's listing misses {missing} of {objects} objects; nothing is removed here."
            " If they were deleted there, allow a larger share"
        )
        failure = ItemFailure(upstream.bucket, keys[0], code="shrank", message=why, tenant=upstream.tenant)
        return Counts(failed=1), [failure]
    store = adopting.foreign_store(context, upstream.store)
    versions = {one.key: one.version_id for one in known}
    removed = 0
    failures = []
    for key in keys:
        if key not in versions or await adopting.look(store.backend, upstream.name(key), key) is not None:
            continue
        ref = ObjectRef(upstream.tenant, upstream.bucket, key)
        try:
            removed += await catalog.vanish(
                ref,
                versions[key],
                marker_id=context.environment.new_id(),
                grace=context.grace,
                actor=following.ACTOR,
            )
        except HoldfastError as error:
            failures.append(_failure(upstream, key, error))
    return Counts(done=removed, failed=len(failures), notes={"vanished": removed}), failures


# -- contents ---------------------------------------------------------------------------------------------------------
async def _bytes(work: Work, upstream: Upstream, part: Part) -> Step:
    """Bring home some of what was taken over. Whoever pays debts elsewhere may do the same: then it is done already.

    The part is over once the listing is, so that a pass leaves nothing behind of what it listed itself.
    """
    catalog = work.engine.catalog
    listed = all(one.done for one in await catalog.job_parts(work.job.id) if one.start == LIST)
    now = await catalog.now()
    debts = await catalog.debts(
        tenant=upstream.tenant, bucket=upstream.bucket, after=part.cursor, limit=_PAGE
    )
    if not debts:
        return Step(part.cursor, done=listed)
    results = await _together([_home(work, debt) for debt in debts if debt.not_before <= now], work)
    counts = Counts()
    for result in results:
        counts += result
    return Step(part.cursor if work.stopping() else debts[-1].version_id, counts=counts)


def _home(work: Work, debt: Debt) -> Callable[[], Awaitable[Counts]]:
    async def bring() -> Counts:
        done = await reconcile(work.engine.context, debt.ref, debt.version_id, actor=Actor("upstream"))
        await work.room(0, done.bytes)
        if not done.settled and not done.gone:
            await _later(work, debt, done.trouble)
            return Counts(notes={"waiting": 1})
        return Counts(bytes=done.bytes, notes={"home": int(done.settled)})

    return bring


async def _later(work: Work, debt: Debt, trouble: str) -> None:
    catalog = work.engine.catalog
    until = await catalog.now() + _pause(work, debt.tries)
    await catalog.postpone_debt(debt.version_id, until=until, trouble=trouble[:1000])


async def _together(jobs: Sequence[Callable[[], Awaitable[Counts]]], work: Work) -> list[Counts]:
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(job: Callable[[], Awaitable[Counts]]) -> Counts:
        async with gate:
            if work.stopping():
                return Counts()
            await work.beat()
            return await job()

    tasks = [asyncio.ensure_future(one(job)) for job in jobs]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


# -- changes made here ------------------------------------------------------------------------------------------------
async def _out(work: Work, upstream: Upstream) -> Step:
    """Write out some changes, those of a key one after the other."""
    catalog = work.engine.catalog
    taken = await catalog.take_out(upstream, limit=_PAGE, lease=following.LEASE)
    failures: list[ItemFailure] = []
    results = await _together([_written(work, upstream, owed, failures) for owed in taken], work)
    counts = Counts()
    for result in results:
        counts += result
    over = len(taken) < _PAGE and not work.stopping()
    return Step("", done=over, counts=counts, failures=failures)


def _written(
    work: Work, upstream: Upstream, owed: Divergence, failures: list[ItemFailure]
) -> Callable[[], Awaitable[Counts]]:
    async def write() -> Counts:
        try:
            size = await following.write_out(work.engine.context, upstream, owed)
        except HoldfastError as error:
            until = await work.engine.catalog.now() + _pause(work, owed.tries)
            await work.engine.catalog.postpone_out(upstream, owed, until=until, trouble=error.message[:1000])
            failures.append(_failure(upstream, owed.key, error))
            return Counts(examined=1, failed=1)
        await work.room(0, size)
        return Counts(1, 1, bytes=size, notes={"written out": 1})

    return write


def _pause(work: Work, tries: int) -> int:
    pause = min(_FIRST * 2.0 ** min(tries, 20), _LONGEST)
    return int(pause * work.engine.context.environment.random.uniform(0.75, 1.25) * 1_000_000)


def _failure(upstream: Upstream, key: str, error: HoldfastError) -> ItemFailure:
    return ItemFailure(upstream.bucket, key, code=error.code, message=error.message, tenant=upstream.tenant)
