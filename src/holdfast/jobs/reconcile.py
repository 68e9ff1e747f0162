"""Versions that are not where they belong, brought there: debts as they fall due, or all versions, page by page.

Any number of processes may do this at once. A debt is taken when work on it begins and put off meanwhile, so nobody else
takes it, and who dies leaves few behind and not for long; what two do at once all the same is only done twice.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from holdfast.core.errors import HoldfastError, NotFoundError
from holdfast.core.records import Debt, HeldVersion
from holdfast.core.types import ObjectRef, ReplicaState
from holdfast.engine.engine import Engine
from holdfast.engine.facts import asking, facts_held
from holdfast.engine.replicas import Reconciled, reconcile, sealed_in
from holdfast.jobs.ranges import place_of, told
from holdfast.jobs.repeat import repeat

_log = structlog.get_logger("holdfast.reconcile")
_AT_ONCE: Final = 4  #: versions on their way at the same time
_PAGE: Final = 1000
_LEASE: Final = (
    60_000_000  #: microseconds for which a debt is nobody else's; the catalog adds some for its size
)
_FIRST: Final = 30.0  #: seconds until a debt is tried again, then twice that, and so on
_LONGEST: Final = 3600.0


@dataclass(slots=True)
class ReconcileReport:
    """What was done, or in a dry run would be. `moves` counts versions by (stores now, stores wanted).

    `after` is where the next page begins; "" when this was the last.
    """

    examined: int = 0
    moved: int = 0  #: versions brought home
    copied: int = 0  #: blobs
    bytes: int = 0  #: of those blobs
    doomed: int = 0  #: copies that are no longer wanted
    failed: int = 0  #: versions that are not home yet
    gone: int = 0  #: versions that were removed meanwhile
    moves: Counter[tuple[str, str]] = field(default_factory=Counter)
    troubles: Counter[str] = field(default_factory=Counter)
    after: str = ""
    dry_run: bool = False

    def add(self, done: Reconciled) -> None:
        """Take in what was done for one version."""
        self.copied += done.copied
        self.bytes += done.bytes
        self.doomed += done.doomed
        if done.gone:
            self.gone += 1
        elif done.settled:
            self.moved += 1
        else:
            self.failed += 1
            self.troubles[done.trouble or "unknown"] += 1

    def would(self, now: Sequence[str], wanted: Sequence[str], size: int) -> None:
        """Take in a version that would be moved."""
        missing = sum(1 for name in wanted if name not in now)
        self.moved += 1
        self.copied += missing
        self.bytes += missing * size
        self.moves[", ".join(now) or "nowhere", ", ".join(wanted)] += 1


# -- debts ------------------------------------------------------------------------------------------------------------
async def pay(engine: Engine, *, hurry: bool = False) -> ReconcileReport:
    """Pay the debts that are due, or with `hurry` all there are; each is tried once.

    Raises:
        UnavailableError: the catalog does not answer.
    """
    report = ReconcileReport()
    catalog = engine.catalog
    if hurry:
        await catalog.hurry_debts()
    tried: set[str] = set()

    async def payer() -> None:
        while debts := await catalog.take_debts(limit=1, lease=_LEASE):
            for debt in debts:
                if debt.version_id not in tried:
                    tried.add(debt.version_id)
                    await _settle(engine, debt, report)

    await all_of([payer() for _ in range(_AT_ONCE)])
    while await catalog.forget_debts(limit=_PAGE) >= _PAGE:
        pass
    return report


async def _settle(engine: Engine, debt: Debt, report: ReconcileReport) -> None:
    report.examined += 1
    outages = engine.context.outages
    returns = outages.returns
    done = await bring_home(engine, debt.ref, debt.version_id)
    report.add(done)
    if not done.settled and not done.gone:
        await _put_off(engine, debt, done.trouble, soon=outages.returns != returns)


async def _together(
    versions: Sequence[tuple[ObjectRef, str]], engine: Engine, report: ReconcileReport
) -> None:
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(ref: ObjectRef, version_id: str) -> None:
        async with gate:
            done = await bring_home(engine, ref, version_id)
        report.add(done)

    await all_of([one(*version) for version in versions])


async def all_of(work: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Run all of `work` to its end; one that fails ends the others."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def bring_home(engine: Engine, ref: ObjectRef, version_id: str) -> Reconciled:
    """Bring one version home. A defect that it meets is logged, and holds up no other version."""
    try:
        return await reconcile(engine.context, ref, version_id)
    except HoldfastError:
        raise
    except Exception as error:
        _log.exception("reconcile failed", version=version_id)
        return Reconciled(troubles=[f"a defect ({type(error).__name__}); see the log"])


async def _put_off(engine: Engine, debt: Debt, trouble: str, *, soon: bool = False) -> None:
    """Have the debt tried again later; `soon` when a store came back meanwhile, which perhaps was the trouble."""
    environment = engine.context.environment
    pause = (
        0.0
        if soon
        else min(_FIRST * 2.0 ** min(debt.tries, 20), _LONGEST) * environment.random.uniform(0.75, 1.25)
    )
    until = await engine.catalog.now() + int(pause * 1_000_000)
    await engine.catalog.postpone_debt(debt.version_id, until=until, trouble=trouble[:1000])


async def owed(engine: Engine, *, tenant: str = "", bucket: str = "") -> ReconcileReport:
    """Return what paying all debts would do, and change nothing."""
    report = ReconcileReport(dry_run=True)
    context, after = engine.context, ""
    while page := await engine.catalog.debts(tenant=tenant, bucket=bucket, after=after, limit=_PAGE):
        for debt in page:
            report.examined += 1
            try:
                located = await engine.catalog.resolve(debt.ref, version_id=debt.version_id)
                asked = await asking(context, await context.rules.bucket(debt.ref.tenant, debt.ref.bucket))
            except NotFoundError:
                report.gone += 1
                continue
            plan = asked.of_version(located.version, parts=len(located.segments))
            held = [copy.store for copy in located.replicas if copy.state is ReplicaState.LIVE]
            whole = [name for name in dict.fromkeys(held) if held.count(name) == len(located.segments)]
            report.would(sorted(whole), plan.stores, located.version.size)
        after = page[-1].version_id
    return report


async def keep_paying(engine: Engine, interval: float) -> None:
    """Pay debts every `interval` seconds until cancelled; 0: never."""

    async def work() -> None:
        await engine.context.placing.fresh()  # whoever only reads goes by the moves too
        while await engine.catalog.end_recalls():
            pass
        report = await pay(engine)
        if report.moved:
            _log.info("brought home", versions=report.moved, blobs=report.copied, bytes=report.bytes)
        for trouble, count in report.troubles.most_common(5):
            _log.warning("versions are not where they belong", versions=count, reason=trouble)

    await repeat("reconcile", work, interval, engine.context.environment)


# -- all versions -----------------------------------------------------------------------------------------------------
async def walk(
    engine: Engine,
    *,
    tenant: str = "",
    bucket: str = "",
    after: str = "",
    limit: int | None = None,
    dry_run: bool = False,
) -> ReconcileReport:
    """Bring versions home whose copies are not those that the placement in force wants, and return what was done.

    Args:
        tenant, bucket: only those of this bucket; "" for all.
        after: where to go on; the `after` of the last report.
        limit: versions to look at, about; None: all.
        dry_run: only count.

    Raises:
        NotFoundError: there is no such bucket. UnavailableError: the catalog does not answer.
    """
    report = ReconcileReport(dry_run=dry_run)
    async for page, place in _pages(engine, tenant, bucket, after):
        report.examined += len(page)
        away = [(version, wanted) for version in page if (wanted := await _wanted(engine, version))]
        if dry_run:
            for version, wanted in away:
                held = (*version.stores, *(some.store for some in version.broken))
                report.would(held, wanted, version.size)
        else:
            moving = [(version.ref, version.version_id) for version, _ in away]
            await _together(moving, engine, report)
        report.after = place
        if limit is not None and report.examined >= limit:
            break
    return report


async def _pages(
    engine: Engine, tenant: str, bucket: str, after: str
) -> AsyncIterator[tuple[Sequence[HeldVersion], str]]:
    """Yield pages of versions, and where the next one begins ("": nowhere)."""
    place = place_of(after)
    only = None
    if bucket:
        only = (await engine.catalog.bucket(tenant, bucket)).id
        place = max(place, (only, "", 0))
    while True:
        found = await engine.catalog.held_versions(after=place, limit=_PAGE)
        mine = [version for version in found.versions if not bucket or _is_in(version.ref, tenant, bucket)]
        past = found.after is None or (only is not None and found.after[0] != only)
        yield mine, "" if past or found.after is None else told(found.after)
        if past or found.after is None:
            return
        place = found.after


def _is_in(ref: ObjectRef, tenant: str, bucket: str) -> bool:
    return (ref.tenant, ref.bucket) == (tenant, bucket)


async def _wanted(engine: Engine, version: HeldVersion) -> tuple[str, ...]:
    """Return the stores that should hold a version; none when these are the ones that do."""
    plan = (await engine.context.placing.fresh()).plan(facts_held(version))
    home = not version.broken and set(version.stores) == set(plan.stores)
    plain = set(sealed_in(engine.context, plan)).difference(version.sealed)
    return () if home and not plain else plan.stores
