"""`adopt`: what lies in a bucket or a folder already gets rows, and stays where it is.

The store is listed in byte order and read ahead while rows are written, a thousand objects in a transaction. The cursor is
the last key that has been dealt with. A second run adds what is new, takes what changed as a new version, and tells what
is gone. Whatever it did is not done twice, so a step may be.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final

from holdfast.catalog.contract import Actor
from holdfast.core.adopted import Found, Outcome, Taken, Taking, Upstream, is_foreign, key_of, parse_foreign
from holdfast.core.backend import Store
from holdfast.core.errors import InvalidRequestError, NotFoundError
from holdfast.core.findings import Provable
from holdfast.core.jobs import Counts, ItemFailure, Part
from holdfast.core.names import check_bucket, check_tenant
from holdfast.core.types import NO_DIGESTS, BlobInfo, ObjectRef
from holdfast.engine import adopting, proving, rules
from holdfast.engine.engine import Engine
from holdfast.jobs import looking, spec
from holdfast.jobs.kinds import Finish, Forecast, Range, Step, Work
from holdfast.policy.following import mapped

LAST: Final = "\U0010ffff" * 2  #: behind every key
BATCH: Final = 1000  #: objects in a transaction
_STEP: Final = 20_000  #: objects after which a step ends: a folder is read anew by each
_AHEAD: Final = 4  #: batches that are listed before they are written down
_MOST_TOLD: Final = 200_000  #: objects that a forecast counts


class Adopt:
    """Gives rows to what others wrote."""

    name = "adopt"
    verb = "operate"  #: a store may hold what belongs to other tenants

    def check(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """See `Kind.check`."""
        members = ("store", "prefix", "tenant", "bucket", "strip", "add", "heads", "keep", "digests")
        spec.known(given, *members)
        prefix = spec.text(given, "prefix")
        strip = spec.text(given, "strip", prefix)
        told = {
            "store": spec.text(given, "store", None),
            "prefix": prefix,
            "tenant": tenant(given),
            "bucket": check_bucket(spec.text(given, "bucket", None)),
            "strip": strip,
            "add": spec.text(given, "add"),
            "heads": spec.flag(given, "heads"),
            "keep": spec.flag(given, "keep", default=True),
            "digests": spec.text(given, "digests", "none"),
        }
        if told["digests"] not in ("none", "read"):
            raise InvalidRequestError("digests is none, or read: each object is read to take them")
        if not prefix.startswith(strip):
            raise InvalidRequestError(
                "strip is what is left out of the names: the prefix, or a beginning of it"
            )
        return told

    async def look(self, engine: Engine, said: Mapping[str, Any]) -> None:
        """See `Kind`."""
        await looking.stores(engine, said["store"])
        await looking.bucket_of(engine, said)
        await looking.usable(engine, said["store"])

    async def forecast(self, work: Work) -> Forecast:
        """See `Kind.forecast`."""
        store = await _ready(work)
        objects = size = refused = 0
        notes = ["no byte is copied"]
        settings = await work.engine.context.rules.bucket(tenant_of(work), work.spec["bucket"])
        async with aclosing(adopting.listed(store.backend, work.spec["prefix"])) as listing:
            async for info in listing:
                found = _found(work.spec, info)
                if adopting.refusal(work.engine.context, settings, found):
                    refused += 1
                    continue
                objects, size = objects + 1, size + info.size
                if objects >= _MOST_TOLD:
                    notes.append(f"the listing goes on behind {objects} objects")
                    break
        if refused:
            notes.append(f"{refused} names or types cannot be taken over; a run names each")
        calls = {"list": -(-objects // BATCH), "head": objects * work.spec["heads"]}
        calls["get"] = objects if work.spec["digests"] == "read" else 0
        return Forecast(
            objects, size, {store.name: {verb: count for verb, count in calls.items() if count}}, notes=notes
        )

    async def split(self, work: Work) -> Sequence[Range]:
        """See `Kind.split`. One part: a listing is one walk, and rows are written while it goes on."""
        await _ready(work)
        return [Range()]

    async def step(self, work: Work, part: Part) -> Step:
        """See `Kind.step`."""
        store = await _ready(work)
        counts, failures, cursor, seen = Counts(), list[ItemFailure](), part.cursor, 0
        async with aclosing(pages(store, work.spec["prefix"], after=cursor)) as listing:
            async for page in listing:
                if not await work.room(len(page)):
                    return Step(cursor, counts=counts, failures=failures)
                last = key_of(page[-1].name)
                for done in (
                    await _page(work, store, page),
                    await _vanished(work, store, page, above=cursor, upto=last),
                ):
                    counts, failures = counts + done[0], failures + done[1]
                cursor, seen = last, seen + len(page)
                await work.beat()
                if seen >= _STEP or work.stopping():
                    return Step(cursor, counts=counts, failures=failures)
        more, gone = await _vanished(work, store, (), above=cursor, upto="")
        return Step(cursor, done=True, counts=counts + more, failures=failures + gone)

    async def finish(self, work: Work) -> Finish:
        """See `Kind.finish`."""
        return Finish()


def tenant(given: Mapping[str, Any]) -> str:
    """Return the tenant that a spec names."""
    return check_tenant(spec.text(given, "tenant", None))


def tenant_of(work: Work) -> str:
    """Return whose bucket a job is about."""
    return str(work.spec["tenant"])


async def _ready(work: Work) -> Store:
    """Return the store, once it and the bucket are found fit."""
    context, told = work.engine.context, work.spec
    await context.stores.refresh()
    store = adopting.foreign_store(context, told["store"])
    bucket = await context.rules.bucket(tenant_of(work), told["bucket"])
    rules.check_encryption(bucket, context.stores, [store.name])
    return store


async def pages(
    store: Store, prefix: str, *, after: str = "", size: int = BATCH
) -> AsyncGenerator[list[BlobInfo], None]:
    """Yield what a store lists, in lists of `size`; some are listed ahead while one is dealt with."""
    queue: asyncio.Queue[list[BlobInfo] | BaseException | None] = asyncio.Queue(_AHEAD)

    async def fill() -> None:
        page: list[BlobInfo] = []
        try:
            async with aclosing(adopting.listed(store.backend, prefix, after=after)) as listing:
                async for info in listing:
                    page.append(info)
                    if len(page) == size:
                        await queue.put(page)
                        page = []
            if page:
                await queue.put(page)
            await queue.put(None)
        except Exception as error:
            await queue.put(error)

    filling = asyncio.ensure_future(fill())
    try:
        while (page := await queue.get()) is not None:
            if isinstance(page, BaseException):
                raise page
            yield page
    finally:
        filling.cancel()
        await asyncio.gather(filling, return_exceptions=True)


def _found(told: Mapping[str, Any], info: BlobInfo) -> Found:
    return adopting.found_in(info, _key(told, key_of(info.name)))


def _key(told: Mapping[str, Any], name: str) -> str:
    key = mapped(name, strip=told["strip"], add=told["add"])
    assert key is not None  # strip is a beginning of the prefix
    return key


async def _page(work: Work, store: Store, page: Sequence[BlobInfo]) -> tuple[Counts, list[ItemFailure]]:
    """Take one page over; return what to add to the counters, and what failed."""
    told, context = work.spec, work.engine.context
    found = [_found(told, info) for info in page]
    taking = Taking(store.name, keep=told["keep"])
    actor = Actor(work.job.principal or "adopt")
    taken = await adopting.take(
        context, tenant_of(work), told["bucket"], taking, found, heads=told["heads"], actor=actor
    )
    if told["digests"] == "read":
        await _read(work, taken)
    return counted(taken), failed(taken, tenant_of(work), told["bucket"])


async def _vanished(
    work: Work, store: Store, page: Sequence[BlobInfo], *, above: str, upto: str
) -> tuple[Counts, list[ItemFailure]]:
    """Tell what was adopted from a stretch of the listing, is nowhere else, and is not there any more."""
    told, catalog = work.spec, work.engine.catalog
    bucket = await catalog.bucket(tenant_of(work), told["bucket"])
    place = Upstream(bucket.tenant, bucket.name, store.name, bucket_id=bucket.id)
    shown = {_found(told, info).key for info in page}
    above = _key(told, above) if above else ""
    end = _key(told, upto) if upto else told["add"] + LAST
    failures: list[ItemFailure] = []
    while known := await catalog.pinned_keys(place, above=above, upto=end):
        for one in known:
            ref = ObjectRef(bucket.tenant, bucket.name, one.key)
            if one.key in shown or not one.key.startswith(told["add"]):
                continue
            if await _only_in(work, store, ref, one.version_id):
                why = f"it was adopted from store {store.name!r}, which has it no more; delete it here too"
                failures.append(
                    ItemFailure(bucket.name, one.key, one.version_id, "vanished", why, tenant=bucket.tenant)
                )
        above = known[-1].key
    return Counts(failed=len(failures), notes={"vanished": len(failures)} if failures else {}), failures


async def _only_in(work: Work, store: Store, ref: ObjectRef, version_id: str) -> bool:
    """Tell whether all copies of a version are in `store` as they were adopted, and it has none of them any more."""
    try:
        located = await work.engine.catalog.resolve(ref, version_id=version_id)
    except NotFoundError:
        return False
    copies = located.replicas
    if not copies or any(copy.store != store.name or not is_foreign(copy.blob) for copy in copies):
        return False
    name = parse_foreign(copies[0].blob).key
    if not name.startswith(work.spec["prefix"]):
        return False
    return await adopting.look(store.backend, name, ref.key) is None


async def _read(work: Work, taken: Sequence[Taken]) -> None:
    """Read what was taken over, and keep its digests."""
    catalog, told = work.engine.catalog, work.spec
    for one in taken:
        if one.outcome not in (Outcome.TAKEN, Outcome.CHANGED) or work.stopping():
            continue
        ref = ObjectRef(tenant_of(work), told["bucket"], one.key)
        try:
            located = await catalog.resolve(ref, version_id=one.version_id)
        except NotFoundError:
            continue
        if not await work.room(0, located.version.size):
            continue
        for replica in located.replicas:
            copy = Provable(replica, ref, NO_DIGESTS, None)
            proof = await proving.prove(work.engine.context, copy)
            if proof.verdict is proving.Verdict.SOUND:
                await proving.learn(work.engine.context, copy, proof)
        await work.beat()


def counted(taken: Sequence[Taken]) -> Counts:
    """Return what became of objects as counters."""
    notes: dict[str, int] = {}
    for one in taken:
        notes[one.outcome.value] = notes.get(one.outcome.value, 0) + 1
    done = notes.get("taken", 0) + notes.get("changed", 0)
    bad = notes.get("refused", 0)
    return Counts(len(taken), done, len(taken) - done - bad, bad, notes=notes)


def failed(taken: Sequence[Taken], tenant: str, bucket: str) -> list[ItemFailure]:
    """Return what could not be taken over, and why."""
    return [
        ItemFailure(
            bucket,
            one.key.encode("utf-8", "replace").decode()[:1024],
            code="refused",
            message=one.reason,
            tenant=tenant,
        )
        for one in taken
        if one.outcome is Outcome.REFUSED
    ]
