"""Transactions of moves, each of which counts in the generation `moves`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from sqlalchemy import func, literal_column, select

from holdfast.catalog import generations
from holdfast.catalog.common import NOW, audited
from holdfast.catalog.contract import Actor
from holdfast.catalog.schema import moves, replicas, versions
from holdfast.catalog.statements import Many, Row, Statement, constant, insert_into, text_param
from holdfast.catalog.transaction import Attempt, Steps, Transaction
from holdfast.core.names import AS_RULED
from holdfast.core.records import KeptMove, StoreHolds

NAME: Final = "moves"  #: of the generation that counts changes of moves
MOST: Final = 100_000  #: copies that are counted at most
Change = Callable[[tuple[KeptMove, ...]], Sequence[KeptMove]]

_COLUMNS: Final = tuple(
    moves.c[name] for name in ("source", "target", "phase", "created", "updated", "finish_at")
)
ALL = Statement(select(*_COLUMNS).order_by(moves.c.created, moves.c.source))
CLEAR = Statement(moves.delete())
ADD = insert_into(moves, *[column.name for column in _COLUMNS])
#: What a store holds, by the state of its copies.
_counted = (
    select(replicas.c.state, replicas.c.size, replicas.c.not_before)
    .where(replicas.c.store == text_param("of_store"))
    .limit(literal_column(str(MOST)))
    .subquery()
)
HOLDS = Statement(
    select(
        _counted.c.state, func.count(), func.sum(_counted.c.size), func.max(_counted.c.not_before)
    ).group_by(_counted.c.state)
)
TIERED = Statement(
    select(versions.c.id)
    .where(versions.c.tier.in_((text_param("of_store"), text_param("besides"))))
    .limit(constant(1))
)


def all_moves() -> Transaction[tuple[int, Sequence[KeptMove]]]:
    """The count of their changes, and the moves, the oldest first."""

    def steps(attempt: Attempt) -> Steps[tuple[int, Sequence[KeptMove]]]:
        return (yield from _read())

    return steps


def _read() -> Steps[tuple[int, Sequence[KeptMove]]]:
    generation = yield from generations.read(NAME)  # first: what is read is then never older
    rows = yield ALL()
    return generation, [_move(row) for row in rows]


def change_moves(
    change: Change, *, actor: Actor, now: int | None
) -> Transaction[tuple[int, Sequence[KeptMove]]]:
    """Other moves, made by `change` of those that there are; nothing is written where they are so already."""

    def steps(attempt: Attempt) -> Steps[tuple[int, Sequence[KeptMove]]]:
        generation, held = yield from _read()
        wanted = tuple(change(tuple(held)))
        if wanted == tuple(held):
            return generation, held
        at: int = (yield NOW(now=now))[0][0]
        known = {move.source: move for move in held}
        made = [_stamped(move, known.get(move.source), at) for move in wanted]
        yield CLEAR()
        if made:
            yield Many(
                ADD, [{column.name: getattr(move, column.name) for column in _COLUMNS} for move in made]
            )
        yield generations.bumped(NAME)
        yield audited(at, "", "set-moves", actor, detail=_told(held, made))
        return generation + 1, made

    return steps


def holds(store: str) -> Transaction[StoreHolds]:
    """How many copies a store has by their state; `MOST` are counted."""

    def steps(attempt: Attempt) -> Steps[StoreHolds]:
        found = {row[0]: row for row in (yield HOLDS(of_store=store))}
        counts = {state: int(row[1]) for state, row in found.items()}
        live = [row for state, row in found.items() if state in ("live", "suspect")]
        doomed = found.get("doomed")
        return StoreHolds(
            sum(int(row[1]) for row in live),
            sum(int(row[2]) for row in live),
            counts.get("pending", 0),
            counts.get("doomed", 0),
            doomed[3] if doomed else None,
        )

    return steps


def tiered(store: str) -> Transaction[bool]:
    """Whether some version says that it belongs in a store."""

    def steps(attempt: Attempt) -> Steps[bool]:
        return bool((yield TIERED(of_store=store, besides=f"{AS_RULED},{store}")))

    return steps


def naming(store: str) -> Steps[str]:
    """Return why moves and tiers keep a store from being removed, inside another transaction; "" when they do not."""
    for row in (yield ALL()):
        move = _move(row)
        if store == move.target and move.phase != "back":
            return f"the move of {move.source} brings what it holds here; take it back or forget it first"
        if store == move.source and move.phase in ("copying", "cutover"):
            return f"it is being moved to {move.target}; finish that first, or take it back"
    if (yield TIERED(of_store=store, besides=f"{AS_RULED},{store}")):
        return "versions say that they belong in the store; give them another tier first"
    return ""


def _stamped(move: KeptMove, held: KeptMove | None, at: int) -> KeptMove:
    if held == move:
        return move
    return replace(move, created=at if held is None else held.created, updated=at)


def _told(held: Sequence[KeptMove], made: Sequence[KeptMove]) -> dict[str, str]:
    """Return what changed, for the audit."""
    before, after = ({move.source: move for move in some} for some in (held, made))
    told = {
        name: f"to {move.target}: {move.phase}" for name, move in after.items() if before.get(name) != move
    }
    return told | {name: "forgotten" for name in before if name not in after}


def _move(row: Row) -> KeptMove:
    return KeptMove(*row)
