"""Moves of stores looked after: begun, measured, and taken from phase to phase when nothing is left to be copied."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final

from holdfast.catalog.contract import Actor
from holdfast.core.errors import ConflictError, InvalidRequestError, NotFoundError
from holdfast.core.names import INLINE
from holdfast.core.records import HeldVersion, KeptMove, StoreHolds
from holdfast.engine.context import Context
from holdfast.engine.facts import facts_held
from holdfast.engine.replicas import sealed_in
from holdfast.policy import moving
from holdfast.policy.moving import Move, Phase
from holdfast.policy.placement import Placement, Plan

_PAGE: Final = 1000
_SAMPLES: Final = 5


@dataclass(frozen=True, slots=True)
class Away:
    """A version that is not where a move wants it, for people."""

    name: str
    version_id: str
    held: tuple[str, ...]  #: stores with a whole and sound copy
    wanted: tuple[str, ...]


@dataclass(slots=True)
class Difference:
    """What a move has left to do: versions whose wanted copies are not all there and sound.

    `unreadable` ones have no sound copy anywhere. What was written while it was looked at is not counted: it is written
    to where the move wants it, or owed there.
    """

    concerned: int = 0  #: versions that the move is about
    versions: int = 0
    bytes: int = 0
    unreadable: int = 0
    samples: list[Away] = field(default_factory=list)

    @property
    def told(self) -> str:
        """What is left, in words."""
        some = ", ".join(
            f"{away.name} (in {', '.join(away.held) or 'no store whole'})" for away in self.samples
        )
        lost = f", {self.unreadable} of them without a sound copy" if self.unreadable else ""
        return f"{self.versions} versions ({self.bytes} bytes{lost}) are not where they belong: {some}"


class LeftBehindError(ConflictError):
    """A move cannot go on: versions are not where it wants them; `difference` says which."""

    def __init__(self, move: KeptMove, left: Difference) -> None:
        told = f"{left.told}. Copy them first: holdfast migrate {move.source} {move.target}"
        super().__init__(told, store=move.source)
        self.difference = left


@dataclass(frozen=True, slots=True)
class MoveStatus:
    """A move, and what its two stores hold."""

    move: KeptMove
    source: StoreHolds
    target: StoreHolds


async def status(context: Context) -> Sequence[MoveStatus]:
    """Return every move, the oldest first."""
    moves = await context.placing.look_at_moves()
    holds = context.catalog.store_holds
    return [MoveStatus(move, await holds(move.source), await holds(move.target)) for move in moves]


async def find(context: Context, source: str) -> KeptMove:
    """Return the move of a store, or raise `NotFoundError`."""
    for move in await context.placing.look_at_moves():
        if move.source == source:
            return move
    raise NotFoundError("there is no move of this store; see `holdfast move status`", store=source)


async def begin(
    context: Context, source: str, target: str, *, phase: Phase = Phase.COPYING, actor: Actor
) -> KeptMove:
    """Begin a move, or return the one that there is; a move that was taken back begins anew.

    Raises:
        NotFoundError: a store is not there. ConflictError: it cannot be followed beside the others, or the rules
        would want more copies acknowledged than there are stores left.
    """
    await context.stores.refresh(at_once=True)
    placement = await context.placing.fresh()
    check_there(context, source, target)
    if context.stores[target].refusal:
        raise ConflictError(
            f"store {target!r} {context.stores[target].refusal}; it takes nothing", store=target
        )
    check_rules(placement, Move(source, target, Phase.DONE))

    def change(held: tuple[KeptMove, ...]) -> Sequence[KeptMove]:
        others = [move for move in held if move.source != source]
        mine = next((move for move in held if move.source == source), None)
        if mine is not None and mine.phase != Phase.BACK:
            if mine.target != target:
                raise ConflictError(
                    f"the store is moved to {mine.target!r} already; take that back or forget it first",
                    store=source,
                )
            if phase is not Phase.DONE or mine.phase == Phase.DONE:
                return held
            if mine.phase == Phase.CUTOVER:
                raise ConflictError(
                    f"the store was cut over to {target!r} and is kept so that this can be taken back;"
                    f" `holdfast move finish {source}` ends that",
                    store=source,
                )
        made = KeptMove(source, target, phase.value)
        wanted = [*others, made]
        moving.check([Move(move.source, move.target, Phase(move.phase)) for move in wanted])
        return wanted

    return await _change(context, source, change, actor)


def check_there(context: Context, *names: str) -> None:
    """Raise `NotFoundError`, naming the first of these stores that is not there."""
    for name in names:
        if name not in context.stores and name not in context.stores.waiting():
            raise NotFoundError(f"there is no store {name!r}", store=name)


def check_rules(placement: Placement, move: Move) -> None:
    """Raise `ConflictError` when a rule would be left with fewer stores than it wants copies acknowledged."""
    others = [one for one in placement.moves if one.source != move.source]
    for rule in (placement.default, *placement.rules):
        left = moving.apply(rule.stores, (*others, move))
        if len(left) < (needed := rule.needed(len(rule.stores))):
            raise ConflictError(
                f"rule {rule.name!r} wants {needed} copies acknowledged and would be left with"
                f" {', '.join(left)}; give it another store first",
                store=move.source,
            )


async def difference(
    context: Context,
    move: KeptMove,
    *,
    phase: Phase | None = None,
    since: int | None = None,
    missing: list[tuple[HeldVersion, Plan]] | None = None,
    most: int = 0,
) -> Difference:
    """Return what is missing for `move` to be in the phase `phase` (its own, if none is said). Reads every version.

    Args:
        since: versions made later are not counted; now, if it is not said.
        missing: takes the versions that are, with their plans, up to `most`.

    Raises:
        UnavailableError: the catalog does not answer.
    """
    since = context.environment.clock.now() if since is None else since
    placement = as_if(await context.placing.fresh(), move, phase or Phase(move.phase))
    found = Difference()
    async for versions in _pages(context):
        for version in versions:
            plan = placement.plan(facts_held(version))
            if not concerns(move, version, plan) or born(version.version_id) > since:
                continue
            found.concerned += 1
            if not covered(context, version, plan):
                _count(found, version, plan)
                if missing is not None and len(missing) < most:
                    missing.append((version, plan))
    return found


def as_if(placement: Placement, move: KeptMove, phase: Phase) -> Placement:
    """Return `placement` as if `move` were in another phase."""
    others = tuple(one for one in placement.moves if one.source != move.source)
    return replace(placement, moves=(*others, Move(move.source, move.target, phase)))


def concerns(move: KeptMove, version: HeldVersion, plan: Plan) -> bool:
    """Tell whether a move is about a version: the source has something of it, or its plan wants the target."""
    return move.target in plan.stores or holds_some(version, move.source)


def holds_some(version: HeldVersion, store: str) -> bool:
    """Tell whether a store has something of a version that can be read."""
    return store in version.stores or any(some.store == store for some in version.broken)


def covered(context: Context, version: HeldVersion, plan: Plan) -> bool:
    """Tell whether every store of the plan has a whole and sound copy, encrypted where it has to be."""
    twice = {some.store for some in version.broken if some.sound >= version.parts}  # two made it at once
    if not all(name in version.stores or name in twice for name in plan.stores):
        return False
    return set(sealed_in(context, plan)) <= {*version.sealed, *twice}


def born(version_id: str) -> int:
    """Return when an id was made, by the clock of its maker: microseconds, rounded down to a millisecond."""
    try:
        return int(version_id[:8] + version_id[9:13], 16) * 1000
    except ValueError:
        return 0


def _count(found: Difference, version: HeldVersion, plan: Plan) -> None:
    found.versions += 1
    found.bytes += version.size
    found.unreadable += not version.stores
    if len(found.samples) < _SAMPLES:
        found.samples.append(Away(str(version.ref), version.version_id, version.stores, plan.stores))


async def _pages(context: Context) -> AsyncIterator[Sequence[HeldVersion]]:
    after = (-1, "", 0)
    while True:
        page = await context.catalog.held_versions(after=after, limit=_PAGE)
        yield page.versions
        if page.after is None:
            return
        after = page.after


async def cutover(
    context: Context, source: str, *, keep: float | None = None, since: int | None = None, actor: Actor
) -> KeptMove:
    """Have the target take the source's place. `keep`: seconds after which the source may be let go of.

    Versions made after `since` (now, if it is not said) may be on their way: they are written to both, or owed.

    Raises:
        LeftBehindError: versions are not there yet; how many, and some of them.
        ConflictError: it is not copying.
    """
    move = await find(context, source)
    if move.phase == Phase.CUTOVER:
        return move
    if move.phase != Phase.COPYING:
        raise ConflictError(f"the move is {move.phase}; only one that is copying is cut over", store=source)
    await _check_empty(context, move, Phase.CUTOVER, since)
    until = None if keep is None else await context.catalog.now() + int(keep * 1_000_000)
    return await _turn(context, move, Phase.CUTOVER, actor, finish_at=until)


async def finish(context: Context, source: str, *, since: int | None = None, actor: Actor) -> KeptMove:
    """Have the target alone from now on; what the source has is let go of by `reconcile`. `since` as for `cutover`.

    Raises:
        LeftBehindError: versions are not there yet. ConflictError: it was not cut over.
    """
    move = await find(context, source)
    if move.phase == Phase.DONE:
        return move
    if move.phase != Phase.CUTOVER:
        raise ConflictError(f"the move is {move.phase}; cut it over first", store=source)
    await _check_empty(context, move, Phase.DONE, since)
    return await _turn(context, move, Phase.DONE, actor)


async def back(context: Context, source: str, *, actor: Actor) -> KeptMove:
    """Undo a move: plans are again what the rules say. What only the target has is copied back by `reconcile`."""
    move = await find(context, source)
    if move.phase != Phase.BACK:
        move = await _turn(context, move, Phase.BACK, actor)
    await unschedule(context, source, actor=actor)
    return move


def schedule_of(source: str) -> str:
    """Return the name of the schedule that finishes the move of a store."""
    return f"finish-{source}"


async def unschedule(context: Context, source: str, *, actor: Actor) -> None:
    """Have nobody finish the move of a store any more."""
    with suppress(NotFoundError):
        await context.catalog.delete_schedule("", schedule_of(source), actor=actor)


async def forget(context: Context, source: str, *, actor: Actor) -> None:
    """Drop a move that has nothing left to say: nothing names its source any more, or it was taken back.

    Raises:
        ConflictError: a rule or a tier still names the source.
    """
    move = await find(context, source)
    placement = await context.placing.fresh()
    if move.phase in (Phase.COPYING, Phase.CUTOVER):
        raise ConflictError(f"the move is {move.phase}; finish it, or take it back", store=source)
    if move.phase == Phase.DONE:
        rules = [
            rule.name
            for rule in (placement.default, *placement.rules)
            if source in (*rule.stores, *rule.fallback)
        ]
        if rules:
            raise ConflictError(
                f"rule {rules[0]!r} still names the store; write {move.target!r} there first", store=source
            )
        if await context.catalog.tiered(source):
            raise ConflictError(
                f"versions say that they belong in the store; `holdfast migrate {source} {move.target}` corrects it",
                store=source,
            )

    def change(held: tuple[KeptMove, ...]) -> Sequence[KeptMove]:
        if move not in held:
            raise ConflictError("the move has changed meanwhile; look again", store=source)
        return [one for one in held if one != move]

    generation, moves = await context.catalog.change_moves(change, actor=actor)
    await context.placing.learn_moves(generation, moves)


async def _check_empty(context: Context, move: KeptMove, phase: Phase, since: int | None) -> None:
    left = await difference(context, move, phase=phase, since=since)
    if left.versions:
        raise LeftBehindError(move, left)


async def _turn(
    context: Context, move: KeptMove, phase: Phase, actor: Actor, *, finish_at: int | None = None
) -> KeptMove:
    def change(held: tuple[KeptMove, ...]) -> Sequence[KeptMove]:
        mine = next((one for one in held if one.source == move.source), None)
        if mine is None or (mine.target, mine.phase) != (move.target, move.phase):
            if mine is not None and (mine.target, mine.phase) == (move.target, phase):
                return held  # somebody else did it
            raise ConflictError("the move has changed meanwhile; look again", store=move.source)
        turned = replace(mine, phase=phase.value, finish_at=finish_at)
        wanted = [turned if one.source == move.source else one for one in held]
        moving.check([Move(one.source, one.target, Phase(one.phase)) for one in wanted])
        return wanted

    return await _change(context, move.source, change, actor)


async def _change(
    context: Context,
    source: str,
    change: Callable[[tuple[KeptMove, ...]], Sequence[KeptMove]],
    actor: Actor,
) -> KeptMove:
    generation, moves = await context.catalog.change_moves(change, actor=actor)
    await context.placing.learn_moves(generation, moves)
    return next(move for move in moves if move.source == source)


def check_stores(source: str, target: str) -> None:
    """Raise `InvalidRequestError` unless these are two stores that can be moved."""
    if not source or not target or source == target or INLINE in (source, target):
        raise InvalidRequestError("name two different stores, neither of them the catalog")
