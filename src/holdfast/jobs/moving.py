"""Jobs that move what stores hold: `migrate`, `finish-move`, `drain` and `mirror`.

All of them walk versions and bring them home; what makes the difference is the plan, which the row of a move changes
(`policy.moving`). So a step that is done twice finds its versions home, and a job that dies is gone on with.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from holdfast.catalog.contract import Actor, TierChange
from holdfast.core.backend import StoreState
from holdfast.core.clock import iso
from holdfast.core.errors import ConflictError, NotFoundError
from holdfast.core.jobs import Part, Schedule
from holdfast.core.records import Connection, HeldVersion, KeptMove
from holdfast.engine import moves
from holdfast.engine.context import Context
from holdfast.engine.engine import Engine
from holdfast.jobs import carrying, looking, ranges, spec
from holdfast.jobs.kinds import Finish, Forecast, Range, Step, Work
from holdfast.jobs.pace import StoppedError
from holdfast.policy.moving import Move, Phase, renamed
from holdfast.policy.placement import Plan

KEEP: Final = 7 * 86400.0  #: seconds for which a migration can be taken back, when nothing else is said
_SETTLE: Final = 3.0  #: seconds after which every process goes by a change of the moves
_ROUNDS: Final = 12  #: after so many a job says what is left instead of trying again
_AGAIN: Final = "@every 3600"  #: when a move that could not be finished is tried again
_CAUGHT: Final = (
    10_000  #: versions that are brought home between a walk and its gate; more are left to another walk
)
_LOOKS: Final = 5
_PAUSE: Final = 300.0  #: seconds between rounds at most


class _Walk(ABC):
    """Brings versions home that a subclass is concerned with."""

    verb = "operate"

    @abstractmethod
    def concerns(self, work: Work, version: HeldVersion, plan: Plan) -> bool:
        """Tell whether the job is about a version."""

    async def split(self, work: Work) -> Sequence[Range]:
        """See `Kind.split`."""
        return await ranges.split(work.engine)

    async def step(self, work: Work, part: Part) -> Step:
        """See `Kind.step`."""
        page = await ranges.page_of(work.engine, part, limit=carrying.PAGE)
        away = await carrying.away(
            work.engine, page.versions, lambda version, plan: self.concerns(work, version, plan)
        )
        done = await carrying.carry(work, away, examined=len(page.versions))
        await self.after(work, page.versions)
        if done.stopped:
            return Step(part.cursor, counts=done.counts, failures=done.failures)
        return Step(page.cursor, page.done, done.counts, done.failures)

    async def after(self, work: Work, versions: Sequence[HeldVersion]) -> None:
        """Do what else is to be done with a page: nothing, where a subclass does not say."""
        return


class Migrate(_Walk):
    """Everything that `source` holds brought to `target`, while both serve.

    Begins the move, copies, looks once more, cuts over when nothing is left, and lets go of the source `keep` seconds
    later (None: when somebody says so). `cutover` false: it ends when nothing is left.
    """

    name = "migrate"

    def check(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """See `Kind.check`."""
        spec.known(given, "source", "target", "keep", "cutover")
        source, target = spec.text(given, "source", None), spec.text(given, "target", None)
        moves.check_stores(source, target)
        return {
            "source": source,
            "target": target,
            "keep": spec.seconds(given, "keep", KEEP),
            "cutover": spec.flag(given, "cutover", True),
        }

    async def look(self, engine: Engine, said: Mapping[str, Any]) -> None:
        """See `Kind`."""
        await looking.stores(engine, said["source"], said["target"])

    async def forecast(self, work: Work) -> Forecast:
        """See `Kind.forecast`."""
        return await _forecast(work, work.spec["source"], work.spec["target"])

    async def split(self, work: Work) -> Sequence[Range]:
        """See `Kind.split`."""
        await moves.begin(work.engine.context, work.spec["source"], work.spec["target"], actor=_actor(work))
        return await super().split(work)

    def concerns(self, work: Work, version: HeldVersion, plan: Plan) -> bool:
        """See `_Walk.concerns`."""
        return moves.concerns(KeptMove(work.spec["source"], work.spec["target"], ""), version, plan)

    async def finish(self, work: Work) -> Finish:
        """See `Kind.finish`."""
        context, source = work.engine.context, work.spec["source"]
        move = await moves.find(context, source)
        if move.phase == Phase.BACK:
            return Finish({"phase": move.phase, "told": "the move was taken back"})
        if move.phase == Phase.COPYING:
            if work.job.round < 2:  # what was written by the plans of before is met by the second look
                return Finish(again=await ranges.split(work.engine), after=_SETTLE)
            if not work.spec["cutover"]:
                left = await moves.difference(context, move)
                done = Finish({"phase": move.phase, **_told(left)})
                return await _once_more(work, done.result, left.told) if left.versions else done
        try:
            if move.phase == Phase.COPYING:
                since = await _catch_up(work, move, Phase.CUTOVER)
                keep = work.spec["keep"]
                move = await moves.cutover(context, source, keep=keep, since=since, actor=_actor(work))
            if move.phase == Phase.CUTOVER and work.spec["keep"] != 0:
                return Finish(await _kept(work, move))
            if move.phase == Phase.CUTOVER:
                since = await _catch_up(work, move, Phase.DONE)
                await moves.finish(context, source, since=since, actor=_actor(work))
                return Finish(again=await ranges.split(work.engine), after=_SETTLE)
        except moves.LeftBehindError as error:
            return await _once_more(work, {"phase": move.phase, **_told(error.difference)}, error.message)
        return await _let_go(work, move)

    async def after(self, work: Work, versions: Sequence[HeldVersion]) -> None:
        """Have tiers name the target, once the move is done."""
        await _rename(work, versions)


class FinishMove(_Walk):
    """The source of a move that was cut over let go of. Refused while something is not in the target."""

    name = "finish-move"

    def check(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """See `Kind.check`."""
        spec.known(given, "source")
        return {"source": spec.text(given, "source", None)}

    async def look(self, engine: Engine, said: Mapping[str, Any]) -> None:
        """See `Kind`."""
        await moves.find(engine.context, said["source"])

    async def forecast(self, work: Work) -> Forecast:
        """See `Kind.forecast`."""
        move = await moves.find(work.engine.context, work.spec["source"])
        return await _forecast(work, move.source, move.target)

    async def split(self, work: Work) -> Sequence[Range]:
        """See `Kind.split`."""
        context, source = work.engine.context, work.spec["source"]
        since = await _catch_up(work, await moves.find(context, source), Phase.DONE)
        await moves.finish(context, source, since=since, actor=_actor(work))
        return await super().split(work)

    def concerns(self, work: Work, version: HeldVersion, plan: Plan) -> bool:
        """See `_Walk.concerns`."""
        return moves.holds_some(version, work.spec["source"])

    async def finish(self, work: Work) -> Finish:
        """See `Kind.finish`."""
        if work.job.round < 2:  # what was written by the plans of before is met by the second look
            return Finish(again=await ranges.split(work.engine), after=_SETTLE)
        return await _let_go(work, await moves.find(work.engine.context, work.spec["source"]))

    async def after(self, work: Work, versions: Sequence[HeldVersion]) -> None:
        """Have tiers name the target."""
        await _rename(work, versions)


class Drain(_Walk):
    """Everything out of `store`, which takes nothing new: to where the rules say, or to `to` where they name it."""

    name = "drain"

    def check(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """See `Kind.check`."""
        spec.known(given, "store", "to")
        store, to = spec.text(given, "store", None), spec.text(given, "to")
        moves.check_stores(store, to or f"not {store}")
        return {"store": store, "to": to}

    async def look(self, engine: Engine, said: Mapping[str, Any]) -> None:
        """See `Kind`."""
        await looking.stores(engine, said["store"], said["to"])

    async def forecast(self, work: Work) -> Forecast:
        """See `Kind.forecast`."""
        store, to = work.spec["store"], work.spec["to"]
        if to:
            return await _forecast(work, store, to)
        await _check_unnamed(work.engine.context, store)
        placement = await work.engine.context.placing.fresh()
        return await carrying.forecast(
            work, placement, lambda version: version if moves.holds_some(version, store) else None
        )

    async def split(self, work: Work) -> Sequence[Range]:
        """See `Kind.split`."""
        context, store, to = work.engine.context, work.spec["store"], work.spec["to"]
        if to:
            await moves.begin(context, store, to, phase=Phase.DONE, actor=_actor(work))
        await _check_unnamed(context, store)
        if store not in context.stores.own:
            await context.catalog.update_store(store, _draining, action="drain-store", actor=_actor(work))
            await context.stores.refresh(at_once=True)
        return await super().split(work)

    def concerns(self, work: Work, version: HeldVersion, plan: Plan) -> bool:
        """See `_Walk.concerns`."""
        return moves.holds_some(version, work.spec["store"])

    async def finish(self, work: Work) -> Finish:
        """See `Kind.finish`."""
        if work.job.round < 2:
            return Finish(again=await ranges.split(work.engine), after=_SETTLE)
        return await _emptied(work, work.spec["store"])

    async def after(self, work: Work, versions: Sequence[HeldVersion]) -> None:
        """Have tiers name the target."""
        await _rename(work, versions)


class Mirror(_Walk):
    """Every version given the copies that its plan wants: after a rule got another store, or a move began to copy.

    With `source` and `target` that move is begun first, and stays: new objects go to both.
    """

    name = "mirror"

    def check(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """See `Kind.check`."""
        spec.known(given, "source", "target")
        source, target = spec.text(given, "source"), spec.text(given, "target")
        if source or target:
            moves.check_stores(source, target)
        return {"source": source, "target": target}

    async def look(self, engine: Engine, said: Mapping[str, Any]) -> None:
        """See `Kind`."""
        await looking.stores(engine, said["source"], said["target"])

    async def forecast(self, work: Work) -> Forecast:
        """See `Kind.forecast`."""
        placement = await work.engine.context.placing.fresh()
        if source := work.spec["source"]:
            move = KeptMove(source, work.spec["target"], "")
            placement = moves.as_if(placement, move, Phase.COPYING)
        return await carrying.forecast(work, placement)

    async def split(self, work: Work) -> Sequence[Range]:
        """See `Kind.split`."""
        if work.spec["source"]:
            await moves.begin(
                work.engine.context, work.spec["source"], work.spec["target"], actor=_actor(work)
            )
        return await super().split(work)

    def concerns(self, work: Work, version: HeldVersion, plan: Plan) -> bool:
        """See `_Walk.concerns`."""
        return True

    async def finish(self, work: Work) -> Finish:
        """See `Kind.finish`."""
        if work.job.round < 2:
            return Finish(again=await ranges.split(work.engine), after=_SETTLE)
        if not work.spec["source"]:
            return Finish()
        context = work.engine.context
        left = await moves.difference(context, await moves.find(context, work.spec["source"]))
        if left.versions:
            return await _once_more(work, _told(left), left.told)
        return Finish(_told(left))


# -- steps that several of them share ---------------------------------------------------------------------------------
def _actor(work: Work) -> Actor:
    return Actor(work.job.principal or "job", work.job.id)


async def _catch_up(work: Work, move: KeptMove, phase: Phase) -> int:
    """Bring home what came while the job walked, and return up to when: what comes later is owed where it is missing.

    Under load there is always something on its way, so the gate asks about what was there at one moment.
    """
    since = work.engine.context.environment.clock.now()
    for _ in range(_LOOKS):  # a write that began before may end only now
        missing: list[tuple[HeldVersion, Plan]] = []
        await moves.difference(
            work.engine.context, move, phase=phase, since=since, missing=missing, most=_CAUGHT
        )
        if not missing:
            break
        if (await carrying.carry(work, missing, examined=len(missing))).stopped:
            raise StoppedError
    return since


async def _forecast(work: Work, source: str, target: str) -> Forecast:
    """Return what moving a store costs, up to the end of the move."""
    context = work.engine.context
    await context.stores.refresh(at_once=True)
    moves.check_there(context, source, target)
    placement = await context.placing.fresh()
    move = KeptMove(source, target, "")
    moves.check_rules(placement, Move(source, target, Phase.DONE))
    then = moves.as_if(placement, move, Phase.DONE)

    def seen(version: HeldVersion) -> HeldVersion | None:
        return version if moves.holds_some(version, source) else None

    notes = [
        f"rule {rule.name!r} is left with one copy less: it names both stores"
        for rule in (placement.default, *placement.rules)
        if source in rule.stores and target in rule.stores
    ]
    return await carrying.forecast(work, then, seen, notes=notes)


async def _once_more(work: Work, result: Mapping[str, Any], told: str) -> Finish:
    """Return another round, later and later; in the end say what is left.

    Raises:
        ConflictError: it was tried often enough.
    """
    if work.job.round < _ROUNDS:
        pause = min(_SETTLE * 2.0 ** (work.job.round - 2), _PAUSE)
        return Finish(result, await ranges.split(work.engine), pause)
    raise ConflictError(told)


def _told(left: moves.Difference) -> dict[str, Any]:
    return {"versions": left.concerned, "missing": left.versions, "missing_bytes": left.bytes}


async def _kept(work: Work, move: KeptMove) -> dict[str, Any]:
    """Return how a migration ends that can be taken back for a while; who lets go of the source is scheduled."""
    if move.finish_at is not None:
        await work.engine.catalog.put_schedule(
            Schedule(
                moves.schedule_of(move.source),
                "",
                FinishMove.name,
                {"source": move.source},
                _AGAIN,
                next_at=move.finish_at,
                principal=work.job.principal,
            ),
            actor=_actor(work),
        )
    return {"phase": move.phase, "finish_at": None if move.finish_at is None else iso(move.finish_at)}


async def _let_go(work: Work, move: KeptMove) -> Finish:
    """Return how a move ends that is done: perhaps with another round over what came late."""
    if move.phase != Phase.DONE:
        return Finish({"phase": move.phase, "told": "the move has changed meanwhile"})
    end = await _emptied(work, move.source)
    if not end.again:
        await moves.unschedule(work.engine.context, move.source, actor=_actor(work))
    return replace(end, result={"phase": move.phase, **end.result})


async def _emptied(work: Work, store: str) -> Finish:
    """Return whether a store has nothing left that counts, or another round."""
    held = await work.engine.catalog.store_holds(store)
    until = None if held.until is None else iso(held.until)
    result = {"live": held.live, "pending": held.pending, "doomed": held.doomed, "until": until}
    if held.live and work.job.round < _ROUNDS:
        return await _once_more(work, result, "")
    if held.live or held.pending:
        told = f"store {store} still holds {held.live} copies and {held.pending} that are being written"
    elif held.doomed:
        told = f"store {store} has {held.doomed} blobs that wait for the sweep until {until}; then it may be removed"
    else:
        told = f"store {store} is empty: it may be removed"
    return Finish({**result, "told": told})


async def _check_unnamed(context: Context, store: str) -> None:
    """Refuse to drain a store that new objects go to.

    Raises:
        ConflictError: saying which rule names it. NotFoundError: there is no such store.
    """
    await context.stores.refresh(at_once=True)
    if store not in context.stores and store not in context.stores.waiting():
        raise NotFoundError("there is no such store", store=store)
    placement = await context.placing.fresh()
    for rule in map(placement.moved, (placement.default, *placement.rules)):
        if store in (*rule.stores, *rule.fallback):
            raise ConflictError(
                f"rule {rule.name!r} names the store; say where its objects go instead (`to`), or change the rule",
                store=store,
            )


def _draining(held: Connection) -> Connection:
    return replace(held, state=StoreState.DRAINING)


async def _rename(work: Work, versions: Sequence[HeldVersion]) -> None:
    """Have versions whose tier names a store that was moved away name the one that took its place."""
    placement = await work.engine.context.placing.fresh()
    changes = [
        TierChange(version.ref, version.version_id, tier)
        for version in versions
        if version.tier and (tier := renamed(version.tier, placement.moves)) != version.tier
    ]
    if changes:
        await work.engine.catalog.set_tiers(changes, reason="moved", actor=_actor(work))
