"""`rebuild`: tenants, buckets, versions and copies made anew from what blobs say of themselves.

The first round gathers, a part for each store; the second makes versions, key by key. What was made by a step that died
is found, and made no second time; what the catalog knows already stays as it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from holdfast.core.backend import StoreState
from holdfast.core.errors import HoldfastError, InvalidRequestError, NotFoundError, UnavailableError
from holdfast.core.failpoints import failpoint
from holdfast.core.findings import Told
from holdfast.core.jobs import Counts, ItemFailure, Part
from holdfast.core.names import INLINE
from holdfast.engine import rebuilding
from holdfast.engine.engine import Engine
from holdfast.jobs import looking, spec
from holdfast.jobs.kinds import Finish, Forecast, Range, Step, Work
from holdfast.layers.base import closed_after
from holdfast.layers.origins import everything
from holdfast.policy.proving import tenant_of

_MAKE: Final = "make"
_ROWS: Final = 400


class Rebuild:
    """Makes a catalog from its stores."""

    name: Final = "rebuild"
    verb: Final = "operate"

    def check(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """See `Kind.check`. `digests`: read blobs that do not say theirs; `uploads`: make what may be an open upload."""
        spec.known(given, "stores", "digests", "uploads")
        stores = given.get("stores", [])
        if not isinstance(stores, list) or not all(isinstance(name, str) and name for name in stores):
            raise InvalidRequestError("stores is a list of names of stores")
        return {
            "stores": sorted(set(stores)),
            "digests": spec.flag(given, "digests", True),
            "uploads": spec.flag(given, "uploads"),
        }

    async def look(self, engine: Engine, said: Mapping[str, Any]) -> None:
        """See `Kind`."""
        await looking.stores(engine, *said["stores"])

    async def forecast(self, work: Work) -> Forecast:
        """See `Kind.forecast`. The stores are listed; no blob is asked what it is."""
        objects, size, foreign = 0, 0, 0
        calls: dict[str, dict[str, int]] = {}
        for name in await _stores(work):
            mine = 0
            async with closed_after(everything(work.engine.context.store(name).backend)) as items:
                async for info in items:
                    if tenant_of(info.name) is None:
                        foreign += 1
                    else:
                        mine, size = mine + 1, size + info.size
            objects += mine
            calls[name] = {"list": -(-mine // 1000), "head": 2 * mine}
        notes = [f"{foreign} names are none of ours and are left alone"] if foreign else []
        if work.spec["digests"]:
            notes.append("blobs that do not say their digests, and those above 64 KiB, are read once")
        return Forecast(objects, size, calls, notes=notes)

    async def split(self, work: Work) -> Sequence[Range]:
        """See `Kind.split`."""
        return [Range(json.dumps({"store": name})) for name in await _stores(work)]

    async def step(self, work: Work, part: Part) -> Step:
        """See `Kind.step`."""
        return await (_make(work, part) if part.start == _MAKE else _gather(work, part))

    async def finish(self, work: Work) -> Finish:
        """See `Kind.finish`."""
        if work.job.round < 2:
            return Finish(again=[Range(_MAKE)])
        while await work.engine.catalog.clear_told(work.job.id):
            failpoint("rebuild.after_clear")
        unknown = [
            "contents that lay in the catalog itself, and objects that were adopted in place",
            "delete markers, and which objects had been deleted or overwritten while their bytes were still there",
            "settings, quotas, keys, rules and schedules; every bucket that was made keeps versions",
            "tags and metadata that were changed after the object was written, or did not fit beside it",
        ]
        return Finish({**work.job.counts.notes, "not_known": unknown})


async def _stores(work: Work) -> list[str]:
    stores = work.engine.context.stores
    await stores.refresh(at_once=True)
    names: list[str] = list(work.spec["stores"])
    for name in names:
        if name not in stores or name == INLINE:
            raise NotFoundError(f"there is no store {name!r}; see: holdfast store list", store=name)
    if names:
        return names
    found = [name for name, store in stores.items() if name != INLINE and store.state is not StoreState.DOWN]
    if not found:
        raise InvalidRequestError("there is no store to rebuild from; describe one first")
    return found


async def _gather(work: Work, part: Part) -> Step:
    store = work.engine.context.store(json.loads(part.start)["store"])
    found = await rebuilding.gather(store, part.cursor)
    await work.gauge.objects(max(1, len(found.told)))
    await work.engine.catalog.gather_told(work.job.id, found.told)
    failpoint("rebuild.after_gather")
    failures = [
        ItemFailure("", name, "", "corrupted", f"{store.name}: {why}") for name, why in found.troubles
    ]
    counts = Counts(
        examined=len(found.told) + sum(found.notes.values()),
        failed=len(failures),
        notes={"told": len(found.told), **found.notes} if found.told else dict(found.notes),
    )
    return Step(found.end or part.cursor, found.end is None, counts, failures)


async def _make(work: Work, part: Part) -> Step:
    place = json.loads(part.cursor) if part.cursor else ["", "", "", ""]
    groups, done = await _groups(work, place)
    counts, failures = Counts(), []
    for group in groups:
        if work.stopping() or not await work.room():
            done = False
            break
        made, failure = await _one(work, group)
        counts += made
        failures += [] if failure is None else [failure]
        first = group[0]
        place = [first.tenant, first.bucket, first.key, first.version_id]
        await work.beat()
    return Step(json.dumps(place), done, counts, failures)


async def _groups(work: Work, place: Sequence[str]) -> tuple[list[list[Told]], bool]:
    """Return the blobs of the next versions, all of each, and whether these are the last."""
    limit = _ROWS
    after = (place[0], place[1], place[2], place[3])
    while True:
        page = await work.engine.catalog.told_blobs(work.job.id, after=after, limit=limit)
        groups: list[list[Told]] = []
        for one in page:
            if not groups or _of(groups[-1][0]) != _of(one):
                groups.append([])
            groups[-1].append(one)
        if len(page) < limit:
            return groups, True
        if len(groups) > 1:
            return groups[:-1], False
        limit *= 4  # a version in very many parts


def _of(one: Told) -> tuple[str, str, str, str]:
    return one.tenant, one.bucket, one.key, one.version_id


async def _one(work: Work, group: Sequence[Told]) -> tuple[Counts, ItemFailure | None]:
    told = work.spec
    try:
        made = await rebuilding.make(
            work.engine.context, group, digests=told["digests"], unsure=told["uploads"]
        )
    except UnavailableError:
        raise
    except HoldfastError as error:
        first = group[0]
        failure = ItemFailure(
            first.bucket, first.key, first.version_id, error.code, error.message, tenant=first.tenant
        )
        return Counts(failed=1), failure
    notes = {made.outcome: 1}
    if made.outcome == "made":
        notes |= {"cut": 1} if made.cut else {}
        notes |= {"undigested": 1} if made.undigested else {}
    if made.copies:
        notes["copies"] = made.copies
    if not made.why:
        done = made.outcome == "made"
        return Counts(done=int(done), skipped=int(not done), bytes=made.read, notes=notes), None
    ref = made.ref
    failure = ItemFailure(ref.bucket, ref.key, made.version_id, "conflict", made.why, tenant=ref.tenant)
    return Counts(failed=1, bytes=made.read, notes=notes), failure
