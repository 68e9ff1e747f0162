"""Jobs that give versions another place than their rule says: `tier`, `archive` and `recall`.

What a version says of its own place is a column of its row; a page of them is written with what is owed by it in one
transaction, and then brought home. Who dies in between leaves debts, which are paid by whoever pays debts. Metadata,
tags, ids and times are rows, which nobody touches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from holdfast.catalog.contract import Actor, TierChange
from holdfast.core.errors import ConflictError, InvalidRequestError, NotFoundError
from holdfast.core.jobs import Part
from holdfast.core.names import INLINE
from holdfast.core.records import HeldVersion
from holdfast.engine.context import Context
from holdfast.engine.engine import Engine
from holdfast.engine.facts import facts_held
from holdfast.jobs import carrying, looking, ranges, spec
from holdfast.jobs.kinds import Finish, Forecast, Range, Step, Work
from holdfast.policy.moving import besides, store_of
from holdfast.policy.placement import Plan

_FILTERS: Final = (
    "tenant",
    "bucket",
    "prefix",
    "key",
    "tags",
    "older_than",
    "min_size",
    "max_size",
    "stored_in",
)
ARCHIVES: Final = ("archive", "cold")  #: labels of stores that `archive` takes, the best first
_OWED_LATER: Final = 600_000_000  #: microseconds for which the job is left to pay what it owes


class Tier:
    """Versions that match given the tier `store`, and brought there. Filters that are not given match everything."""

    name = "tier"
    verb = "operate"
    members: tuple[str, ...] = ("store",)

    def check(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """See `Kind.check`."""
        spec.known(given, *self.members, *_FILTERS)
        store = spec.text(given, "store", None)
        if store == INLINE:
            raise InvalidRequestError("the catalog is no tier; thresholds say which contents live there")
        return {"store": store, **filters(given)}

    async def look(self, engine: Engine, said: Mapping[str, Any]) -> None:
        """See `Kind`."""
        await looking.stores(engine, said.get("store") or "", said["stored_in"])
        await looking.bucket_of(engine, said)

    async def store(self, work: Work) -> str:
        """Return the store that the versions go to.

        Raises:
            NotFoundError, ConflictError: they cannot go there.
        """
        store: str = work.spec["store"]
        await check_takes(work.engine.context, store)
        return store

    def changed(self, work: Work, version: HeldVersion, store: str) -> str | None:
        """Return the tier that a version is to have; None: it is left alone."""
        return None if version.tier == store else store

    def until(self, work: Work, now: int) -> int | None:
        """Return when it ends; None: never."""
        return None

    async def forecast(self, work: Work) -> Forecast:
        """See `Kind.forecast`."""
        store = await self.store(work)
        placement = await work.engine.context.placing.fresh()
        now = await work.engine.catalog.now()

        def seen(version: HeldVersion) -> HeldVersion | None:
            if not matches(work.spec, version, now):
                return None
            tier = self.changed(work, version, store)
            return version if tier is None else carrying.with_tier(version, tier)

        return await carrying.forecast(work, placement, seen)

    async def split(self, work: Work) -> Sequence[Range]:
        """See `Kind.split`."""
        await self.store(work)
        return await ranges.split(work.engine, tenant=work.spec["tenant"], bucket=work.spec["bucket"])

    async def step(self, work: Work, part: Part) -> Step:
        """See `Kind.step`."""
        engine, store = work.engine, await self.store(work)
        tenant, bucket = work.spec["tenant"], work.spec["bucket"]
        page = await ranges.page_of(engine, part, tenant=tenant, bucket=bucket, limit=carrying.PAGE)
        now = await engine.catalog.now()
        mine = [version for version in page.versions if matches(work.spec, version, now)]
        wanted = [(version, self.changed(work, version, store)) for version in mine]
        until = self.until(work, work.job.created or now)
        placement = await engine.context.placing.fresh()
        changes = [
            TierChange(
                version.ref,
                version.version_id,
                tier,
                until,
                store_of(version.tier) if until is not None else "",
                placement.plan(facts_held(version)).rule,
            )
            for version, tier in wanted
            if tier is not None
        ]
        if changes:
            await engine.catalog.set_tiers(changes, reason=self.name, later=_OWED_LATER, actor=_actor(work))
        then = [version if tier is None else carrying.with_tier(version, tier) for version, tier in wanted]
        owing = {
            change.version_id for change in changes
        }  # one that is home already is to be paid for all the same
        away = await carrying.away(engine, then, _every, also=owing)
        done = await carrying.carry(work, away, examined=len(page.versions))
        if done.stopped:
            return Step(part.cursor, counts=done.counts, failures=done.failures)
        return Step(page.cursor, page.done, done.counts, done.failures)

    async def finish(self, work: Work) -> Finish:
        """See `Kind.finish`."""
        return Finish()


class Archive(Tier):
    """As `tier`, to a store that is labelled `archive` or `cold`: the only one there is, if none is named."""

    name = "archive"

    def check(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """See `Kind.check`."""
        spec.known(given, *self.members, *_FILTERS)
        return {"store": spec.text(given, "store"), **filters(given)}

    async def store(self, work: Work) -> str:
        """See `Tier.store`."""
        context, named = work.engine.context, work.spec["store"]
        await context.stores.refresh()
        labelled = {
            label: [name for name, store in context.stores.items() if label in store.labels]
            for label in ARCHIVES
        }
        if named:
            await check_takes(context, named)
            if not any(named in names for names in labelled.values()):
                raise ConflictError(
                    "the store has no label 'archive' or 'cold'; give it one, or use a job of kind tier",
                    store=named,
                )
            return str(named)
        found = next((names for names in labelled.values() if names), [])
        if len(found) != 1:
            told = f"there are {', '.join(found)}" if found else "no store is labelled 'archive' or 'cold'"
            raise InvalidRequestError(f"name the store to archive to: {told}")
        await check_takes(context, found[0])
        return found[0]


class Recall(Tier):
    """Versions with a tier brought back to where their rule says: for good, or for `days` beside their tier's copy."""

    name = "recall"
    members = ("days",)

    def check(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """See `Kind.check`."""
        spec.known(given, *self.members, *_FILTERS)
        days = given.get("days")
        if days is not None and (
            isinstance(days, bool) or not isinstance(days, int | float) or not 0 < days <= 3660
        ):
            raise InvalidRequestError("days is a number above 0, at most 3660")
        return {"days": days, **filters(given)}

    async def store(self, work: Work) -> str:
        """See `Tier.store`."""
        return ""

    def changed(self, work: Work, version: HeldVersion, store: str) -> str | None:
        """See `Tier.changed`."""
        if not version.tier:
            return None
        return "" if work.spec["days"] is None else besides(version.tier)

    def until(self, work: Work, now: int) -> int | None:
        """See `Tier.until`: counted from the start of the job, so that a step done twice says the same."""
        days = work.spec["days"]
        return None if days is None else now + int(days * 86_400_000_000)


def _every(version: HeldVersion, plan: Plan) -> bool:
    return True


def filters(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members that say which versions are meant, checked.

    `prefix` or `key` and `bucket` need a tenant. `older_than` is in seconds since the version was committed.
    """
    found = {
        "tenant": spec.text(given, "tenant"),
        "bucket": spec.text(given, "bucket"),
        "prefix": spec.text(given, "prefix"),
        "key": spec.text(given, "key"),
        "tags": spec.texts(given, "tags"),
        "older_than": spec.seconds(given, "older_than"),
        "min_size": spec.size(given, "min_size"),
        "max_size": spec.size(given, "max_size"),
        "stored_in": spec.text(given, "stored_in"),
    }
    if found["bucket"] and not found["tenant"]:
        raise InvalidRequestError("a bucket is named together with its tenant")
    if (found["prefix"] or found["key"]) and not found["bucket"]:
        raise InvalidRequestError("a prefix or key is named together with its bucket")
    return found


def matches(said: Mapping[str, Any], version: HeldVersion, now: int) -> bool:
    """Tell whether the filters of a spec hold for a version. `now` is the catalog's clock."""
    ref = version.ref
    if (said["tenant"] and ref.tenant != said["tenant"]) or (said["bucket"] and ref.bucket != said["bucket"]):
        return False
    if (said["key"] and ref.key != said["key"]) or not ref.key.startswith(said["prefix"]):
        return False
    if said["older_than"] is not None and version.created > now - int(said["older_than"] * 1_000_000):
        return False
    if said["min_size"] is not None and version.size < said["min_size"]:
        return False
    if said["max_size"] is not None and version.size >= said["max_size"]:
        return False
    if said["stored_in"] and said["stored_in"] not in version.stores:
        return False
    return all(version.tags.get(name) == value for name, value in said["tags"].items())


async def check_takes(context: Context, store: str) -> None:
    """Raise unless new objects can go to a store."""
    await context.stores.refresh()
    if store not in context.stores:
        raise NotFoundError("there is no such store, or it is not active", store=store)
    if refusal := context.stores[store].refusal:
        raise ConflictError(f"the store {refusal}", store=store)


def _actor(work: Work) -> Actor:
    return Actor(work.job.principal or "job", work.job.id)
