"""Moves as one principal may look after them: `Administration.moves` gives it; costs nothing to make."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.catalog.contract import Actor
from holdfast.core.errors import InvalidRequestError
from holdfast.core.records import KeptMove
from holdfast.engine import moves
from holdfast.engine.context import Context
from holdfast.engine.moves import Difference, MoveStatus
from holdfast.engine.permits import Permit

LONGEST_KEEP = 3660 * 86400.0


class Moves:
    """Verbs on moves. What is said there is told by `engine.moves`, function by function."""

    def __init__(self, context: Context, permit: Permit, actor: Actor) -> None:
        self._context, self._permit, self._actor = context, permit, actor

    async def all(self) -> Sequence[MoveStatus]:
        """Return every move with what its stores hold."""
        self._permit.allow("placement")
        return await moves.status(self._context)

    async def begin(self, source: str, target: str) -> KeptMove:
        """Begin a move, or return the one that there is."""
        self._permit.allow("set_rules")
        moves.check_stores(source, target)
        return await moves.begin(self._context, source, target, actor=self._actor)

    async def verify(self, source: str) -> Difference:
        """Return what the move of `source` has left to do. Every version is looked at."""
        self._permit.allow("placement")
        return await moves.difference(self._context, await moves.find(self._context, source))

    async def cutover(self, source: str, *, keep: float | None = None) -> KeptMove:
        """Have the target take the source's place, when nothing is left to be copied."""
        self._permit.allow("set_rules")
        if keep is not None and not 0 <= keep <= LONGEST_KEEP:
            raise InvalidRequestError("the source is kept for a time of 0 seconds to 10 years")
        return await moves.cutover(self._context, source, keep=keep, actor=self._actor)

    async def finish(self, source: str) -> KeptMove:
        """Have the target alone, when nothing is left to be copied."""
        self._permit.allow("set_rules")
        return await moves.finish(self._context, source, actor=self._actor)

    async def back(self, source: str) -> KeptMove:
        """Take a move back, whatever its phase."""
        self._permit.allow("set_rules")
        return await moves.back(self._context, source, actor=self._actor)

    async def forget(self, source: str) -> None:
        """Drop a move that has nothing left to say."""
        self._permit.allow("set_rules")
        await moves.forget(self._context, source, actor=self._actor)
