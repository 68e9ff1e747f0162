"""Moves and tiers: what takes the place of the stores that a rule names. Pure.

A *move* replaces a store by another in every plan, phase by phase:

* copying: both are wanted, copies are acknowledged as before, readers are sent to the source;
* cutover: the target takes the source's place and the source comes last, readers are sent to the target;
* done: the target alone;
* back: as if there were no move.

A *tier* is what one version says instead of its rule: the name of a store, or `*,NAME`, the stores of its rule and that
store besides. Moves hold for tiers as they hold for rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from holdfast.core.errors import ConflictError, InvalidRequestError
from holdfast.core.names import AS_RULED, INLINE

_BESIDES: Final = f"{AS_RULED},"


class Phase(StrEnum):
    """How far a move is."""

    COPYING = "copying"
    CUTOVER = "cutover"
    DONE = "done"
    BACK = "back"


@dataclass(frozen=True, slots=True)
class Move:
    """`source` is replaced by `target` in every plan, as far as `phase` says."""

    source: str
    target: str
    phase: Phase = Phase.COPYING


def apply(stores: Sequence[str], moves: Iterable[Move]) -> tuple[str, ...]:
    """Return the stores that are wanted when a plan wants `stores`, in its order; each once."""
    found, last = list(stores), list[str]()
    for move in moves:
        if move.source not in found or move.phase is Phase.BACK:
            continue
        if move.phase is Phase.COPYING:
            last.append(move.target)
            continue
        found[found.index(move.source)] = move.target
        if move.phase is Phase.CUTOVER:
            last.append(move.source)
    return tuple(dict.fromkeys((*found, *last)))


def behind(moves: Iterable[Move]) -> frozenset[str]:
    """Return the stores that readers are sent to only after others: those that are filled or left."""
    left = {Phase.COPYING: "target", Phase.CUTOVER: "source"}
    return frozenset(getattr(move, left[move.phase]) for move in moves if move.phase in left)


def check(moves: Sequence[Move]) -> None:
    """Return when these moves can be followed together.

    Raises:
        ConflictError: a store is the source of one and the target of another, so that they make a chain or a circle.
        InvalidRequestError: a store is moved to itself, or is the catalog.
    """
    sources = {move.source: move for move in moves if move.phase is not Phase.BACK}
    for move in sources.values():
        if move.source == move.target:
            raise InvalidRequestError(f"store {move.source!r} cannot be moved to itself")
        if INLINE in (move.source, move.target):
            raise InvalidRequestError(
                "contents in the catalog are not moved; their thresholds say who is there"
            )
        then = sources.get(move.target)
        if then is not None:
            what = "a circle" if then.target == move.source else "a chain"
            raise ConflictError(
                f"moving {move.source!r} to {move.target!r} and {then.source!r} to {then.target!r} makes {what};"
                f" end the other move first: write {then.target!r} into the rules and `holdfast move forget"
                f" {then.source}`, or take it back"
            )


# -- tiers ------------------------------------------------------------------------------------------------------------
def tier_stores(tier: str, ruled: Sequence[str]) -> tuple[str, ...]:
    """Return the stores that a version with this tier belongs in when its rule says `ruled`; "": these."""
    if not tier or tier == AS_RULED:
        return tuple(ruled)
    if tier.startswith(_BESIDES):
        return tuple(dict.fromkeys((*ruled, tier.removeprefix(_BESIDES))))
    return (tier,)


def besides(tier: str) -> str:
    """Return the tier that keeps what `tier` says and adds the stores of the rule."""
    return tier if not tier or tier.startswith(_BESIDES) else _BESIDES + tier


def store_of(tier: str) -> str:
    """Return the store that a tier names; "": none."""
    return tier.removeprefix(_BESIDES)


def renamed(tier: str, moves: Iterable[Move]) -> str:
    """Return a tier that says of itself what the moves that are done make of it."""
    name = store_of(tier)
    for move in moves:
        if move.source == name and move.phase is Phase.DONE:
            return tier.removesuffix(name) + move.target
    return tier
