"""Moves of stores over HTTP. For operators. Jobs do the copying (`POST /api/v1/background-jobs`, kind `migrate`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Literal

from msgspec import Meta, Struct

from holdfast.api.body import MAX_JSON, small_body
from holdfast.api.describe import iso
from holdfast.api.exchange import Exchange
from holdfast.api.models import Name, decode, encode
from holdfast.core.records import KeptMove, StoreHolds
from holdfast.engine.move_desk import LONGEST_KEEP
from holdfast.engine.moves import Difference, MoveStatus

Phase = Literal["copying", "cutover", "done", "back"]


class MoveWish(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A store, and the one that is to take its place."""

    source: Name
    target: Name


class CutoverWish(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`keep`: seconds after which the source may be let go of; null: when somebody says so."""

    keep: Annotated[float, Meta(ge=0, le=LONGEST_KEEP)] | None = None


class HoldsForm(Struct, frozen=True, kw_only=True):
    """What a store holds; each count stops at 100,000. `until`: when the last of what is doomed may be deleted."""

    live: int
    bytes: int
    pending: int
    doomed: int
    until: str | None


class MoveAnswer(Struct, frozen=True, kw_only=True):
    """A move: `source` is replaced by `target` in every plan, as far as `phase` says."""

    source: str
    target: str
    phase: Phase
    created: str
    updated: str
    finish_at: str | None


class MoveForm(MoveAnswer, frozen=True, kw_only=True):
    """A move, with what its stores hold."""

    source_holds: HoldsForm
    target_holds: HoldsForm


class MovesAnswer(Struct, frozen=True, kw_only=True):
    """Every move, the oldest first."""

    moves: list[MoveForm]


class AwayForm(Struct, frozen=True, kw_only=True):
    """A version that is not where it belongs."""

    name: str
    version_id: str
    stores: list[str]
    wanted: list[str]


class DifferenceAnswer(Struct, frozen=True, kw_only=True):
    """What a move has left to do: `versions` of the `concerned` ones; `unreadable` have no sound copy anywhere."""

    concerned: int
    versions: int
    bytes: int
    unreadable: int
    samples: list[AwayForm]


async def show_moves(exchange: Exchange) -> None:
    """Answer with every move, and what its stores hold."""
    found = await exchange.session.admin.moves.all()
    await exchange.answer_json(200, encode(MovesAnswer(moves=[form_of(status) for status in found])))


async def begin_move(exchange: Exchange) -> None:
    """Begin a move, or answer with the one that there is."""
    wish = decode(MoveWish, await small_body(exchange, MAX_JSON))
    await _answer(exchange, await exchange.session.admin.moves.begin(wish.source, wish.target))


async def verify_move(exchange: Exchange, source: str) -> None:
    """Answer with what a move has left to do; every version is looked at."""
    found = await exchange.session.admin.moves.verify(source)
    await exchange.answer_json(200, encode(difference_answer(found)))


async def cut_over(exchange: Exchange, source: str) -> None:
    """Have the target take the source's place; 409 says what is not there yet."""
    data = await small_body(exchange, MAX_JSON)
    wish = decode(CutoverWish, data) if data else CutoverWish()
    await _answer(exchange, await exchange.session.admin.moves.cutover(source, keep=wish.keep))


async def finish_move(exchange: Exchange, source: str) -> None:
    """Have the target alone; 409 says what is not there yet."""
    await _turn(exchange, exchange.session.admin.moves.finish, source)


async def take_back(exchange: Exchange, source: str) -> None:
    """Take a move back, whatever its phase."""
    await _turn(exchange, exchange.session.admin.moves.back, source)


async def forget_move(exchange: Exchange, source: str) -> None:
    """Drop a move that has nothing left to say."""
    await exchange.session.admin.moves.forget(source)
    await exchange.answer(204, ())


async def _turn(exchange: Exchange, verb: Callable[[str], Awaitable[KeptMove]], source: str) -> None:
    await _answer(exchange, await verb(source))


async def _answer(exchange: Exchange, move: KeptMove) -> None:
    await exchange.answer_json(200, encode(move_answer(move)))


# -- out --------------------------------------------------------------------------------------------------------------
def move_answer(move: KeptMove) -> MoveAnswer:
    """Return a move as it travels."""
    return MoveAnswer(
        source=move.source,
        target=move.target,
        phase=move.phase,  # type: ignore[arg-type]
        created=iso(move.created),
        updated=iso(move.updated),
        finish_at=None if move.finish_at is None else iso(move.finish_at),
    )


def form_of(status: MoveStatus) -> MoveForm:
    """Return a move with its stores as it travels."""
    move = move_answer(status.move)
    return MoveForm(
        source=move.source,
        target=move.target,
        phase=move.phase,
        created=move.created,
        updated=move.updated,
        finish_at=move.finish_at,
        source_holds=_holds(status.source),
        target_holds=_holds(status.target),
    )


def difference_answer(found: Difference) -> DifferenceAnswer:
    """Return what is left to do as it travels."""
    return DifferenceAnswer(
        concerned=found.concerned,
        versions=found.versions,
        bytes=found.bytes,
        unreadable=found.unreadable,
        samples=[
            AwayForm(
                name=away.name, version_id=away.version_id, stores=list(away.held), wanted=list(away.wanted)
            )
            for away in found.samples
        ],
    )


def _holds(found: StoreHolds) -> HoldsForm:
    return HoldsForm(
        live=found.live,
        bytes=found.bytes,
        pending=found.pending,
        doomed=found.doomed,
        until=None if found.until is None else iso(found.until),
    )
