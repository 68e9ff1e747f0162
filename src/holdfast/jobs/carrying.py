"""What every job that moves versions does: a page of them brought home, some at a time, within the pace; and a forecast.

A version that is home already costs nothing, so a page that is done again is passed over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from holdfast.core.jobs import Counts, ItemFailure
from holdfast.core.records import HeldVersion
from holdfast.engine.context import Context
from holdfast.engine.engine import Engine
from holdfast.engine.facts import facts_held
from holdfast.engine.replicas import sealed_in
from holdfast.engine.simulating import Seen, Simulation, priced, simulate
from holdfast.jobs.kinds import Forecast, Work
from holdfast.jobs.reconcile import all_of, bring_home
from holdfast.policy.placement import Placement, Plan

#: How many versions are on their way at the same time, by their size: what is large is held in memory by the part.
AT_ONCE: Final = ((1 << 20, 32), (16 << 20, 8), (1 << 62, 4))
PAGE: Final = 500


def home(context: Context, version: HeldVersion, plan: Plan) -> bool:
    """Tell whether exactly the stores of `plan` hold something of a version, each all of it, sound and as it should be."""
    if version.broken or set(version.stores) != set(plan.stores):
        return False
    return set(sealed_in(context, plan)) <= set(version.sealed)


async def away(
    engine: Engine,
    versions: Iterable[HeldVersion],
    concerns: Callable[[HeldVersion, Plan], bool],
    *,
    also: Collection[str] = (),
) -> list[tuple[HeldVersion, Plan]]:
    """Return those versions that are not home (or are among the ids `also`) and that `concerns` wants, with their plans."""
    context = engine.context
    placement = await context.placing.fresh()
    planned = [(version, placement.plan(facts_held(version))) for version in versions]
    return [
        (one, plan)
        for one, plan in planned
        if concerns(one, plan) and (one.version_id in also or not home(context, one, plan))
    ]


@dataclass(slots=True)
class Carried:
    """What became of a page; `stopped`: the job is to stop, and not all was done.

    Then the page is gone through again, so only what was brought home is told.
    """

    counts: Counts = field(default_factory=Counts)
    failures: list[ItemFailure] = field(default_factory=list)
    stopped: bool = False


async def carry(work: Work, versions: Sequence[tuple[HeldVersion, Plan]], *, examined: int) -> Carried:
    """Bring versions home, some at the same time.

    Raises:
        UnavailableError: the catalog does not answer.
    """
    done = Carried()
    notes: Counter[str] = Counter()
    tally = Counter[str]()

    async def worker(waiting: Iterator[tuple[HeldVersion, Plan]]) -> None:
        for version, plan in waiting:
            if done.stopped or work.stopping():
                done.stopped = True
                return
            missing = sum(1 for name in plan.stores if name not in version.stores)
            if not await work.room(size=missing * version.size):
                done.stopped = True
                return
            made = await bring_home(work.engine, version.ref, version.version_id)
            tally["bytes"] += made.bytes
            notes["copied"] += made.copied
            notes["doomed"] += made.doomed
            if made.gone:
                tally["skipped"] += 1
            elif made.settled:
                tally["done"] += 1
            elif made.comes:  # its debt brings it when it is awake
                tally["skipped"] += 1
                notes["waking"] += 1
            else:
                tally["failed"] += 1
                done.failures.append(_failure(version, made.trouble or "unknown"))

    above = -1
    for size, at_once in AT_ONCE:
        some = [one for one in versions if above < one[0].size <= size]
        waiting, above = iter(some), size
        await all_of([worker(waiting) for _ in range(min(at_once, len(some)))])
    if done.stopped:
        done.failures = []
        done.counts = Counts(done=tally["done"], bytes=tally["bytes"], notes=dict(+notes))
        return done
    done.counts = Counts(
        examined,
        tally["done"],
        tally["skipped"] + examined - len(versions),
        tally["failed"],
        tally["bytes"],
        dict(+notes),
    )
    return done


def _failure(version: HeldVersion, trouble: str) -> ItemFailure:
    ref = version.ref
    return ItemFailure(
        ref.bucket, ref.key, version.version_id, "unavailable", trouble[:1000], tenant=ref.tenant
    )


# -- before it is done ------------------------------------------------------------------------------------------------
async def forecast(
    work: Work, placement: Placement, seen: Seen | None = None, *, notes: Sequence[str] = ()
) -> Forecast:
    """Return what bringing every version home would do if `placement` were in force and versions were as `seen` says."""
    context = work.engine.context
    await context.stores.refresh()
    made = await simulate(context, placement, supposed={}, seen=seen)
    cost = priced(made, context.settings.prices)
    moving = sum(count.bytes for count in made.flows.values())
    told = list(notes)
    if made.lost.objects:
        told.append(f"{made.lost.objects} versions have no copy that can be read; they stay as they are")
    return Forecast(
        made.moving.objects,
        moving,
        calls(made),
        cost.once,
        cost.before,
        cost.after,
        _seconds(work, made.moving.objects, moving),
        {(", ".join(now), ", ".join(then)): count.objects for (now, then), count in made.moves.items()},
        told,
    )


def calls(made: Simulation) -> dict[str, dict[str, int]]:
    """Return requests by store and verb. Each copy is read back, and what is removed is deleted after the grace."""
    found = {}
    for name, load in made.stores.items():
        verbs = {"put": load.writes, "get": load.reads + load.writes, "delete": load.deletes}
        if any(verbs.values()):
            found[name] = {verb: count for verb, count in verbs.items() if count}
    return found


def _seconds(work: Work, objects: int, size: int) -> float | None:
    """Return how long it takes at the pace that was asked for; None: nobody knows."""
    pace = work.job.pace
    by = [size / pace.bytes if pace.bytes else None, objects / pace.objects if pace.objects else None]
    return max((one for one in by if one is not None), default=None)


def with_tier(version: HeldVersion, tier: str) -> HeldVersion:
    """Return a version as if it had another tier."""
    return replace(version, tier=tier)
