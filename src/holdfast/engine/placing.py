"""The placement in force: the rules of this process's file, else those of the catalog, and moves, kept up to date.

What a file says holds for its process and cannot be changed from outside. Rules of the catalog hold for every process
without its own; each looks every few seconds whether they have changed, and the one that changes them does at once.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from holdfast.core.clock import Clock
from holdfast.core.errors import ConflictError
from holdfast.core.records import KeptMove, KeptRules
from holdfast.policy.moving import Move, Phase
from holdfast.policy.placement import Placement, Rule
from holdfast.policy.rule_form import rule_members, rule_of

if TYPE_CHECKING:
    from holdfast.catalog.contract import Catalog

_FRESH: Final = 2.0  #: seconds for which rules are taken as they were
_LARGE: Final = 50_000  #: characters of rules from which they are made ready in a thread


class Placing:
    """The placement that this process goes by. `own` is what its file says."""

    def __init__(self, own: Placement, catalog: Catalog, clock: Clock) -> None:
        self.own = own
        self._catalog = catalog
        self._clock = clock
        self._kept: KeptRules | None = None
        self._moves: tuple[int, tuple[Move, ...]] = (-1, ())
        self._current = own
        self._due = 0.0
        self._learning = asyncio.Lock()

    @property
    def current(self) -> Placement:
        """The placement as it was when it was looked up last."""
        return self._current

    @property
    def of_file(self) -> bool:
        """Whether the rules are those of the file, so that nobody can change them from outside."""
        return bool(self.own.rules)

    async def fresh(self) -> Placement:
        """Return the placement as it was a few seconds ago at most, or while a large one is being made ready."""
        now = self._clock.monotonic()
        known = self._moves[0] >= 0 and (self._kept is not None or self.of_file)
        if known and (now < self._due or self._learning.locked()):
            return self._current
        due, self._due = self._due, now + _FRESH  # others go by what is known while one of them looks
        try:
            if self._moves[0] != await self._catalog.generation("moves"):
                await self.learn_moves(*await self._catalog.moves())
            if self.of_file:
                return self._current
            if self._kept is None or await self._catalog.generation("rules") != self._kept.generation:
                await self._learn(await self._catalog.rules())
        except BaseException:
            self._due = due
            raise
        return self._current

    async def learn_moves(self, generation: int, moves: Sequence[KeptMove]) -> None:
        """Go by these moves of the catalog from now on: they hold whoever wrote the rules."""
        async with self._learning:
            if generation <= self._moves[0]:
                return  # somebody who looked later was answered first
            known = tuple(Move(move.source, move.target, Phase(move.phase)) for move in moves)
            made = replace(self._current, moves=known)
            if known != self._current.moves:
                await asyncio.to_thread(made.prepare)
                self._current = made
            self._moves = (generation, known)

    async def look_at_moves(self) -> Sequence[KeptMove]:
        """Return the moves of the catalog as they are now, and go by them."""
        generation, moves = await self._catalog.moves()
        await self.learn_moves(generation, moves)
        return moves

    async def look(self) -> KeptRules:
        """Return the rules of the catalog as they are now, and go by them unless the file has its own."""
        kept = await self._catalog.rules()
        await self.learn(kept)
        return kept

    async def learn(self, kept: KeptRules) -> None:
        """Go by these rules of the catalog from now on, unless the file has its own."""
        if not self.of_file:
            await self._learn(kept)
            self._due = self._clock.monotonic() + _FRESH

    def of(self, rules: Sequence[Rule]) -> Placement:
        """Return the placement as it would be with other rules."""
        return replace(self.own, rules=tuple(rules), moves=self._moves[1])

    def check_ours(self) -> None:
        """Raise `ConflictError` when rules of the catalog would have no effect here."""
        if self.of_file:
            raise ConflictError(
                "this process has placement rules in its file, which take the place of those in the catalog;"
                " change them there, or remove [[placement.rules]] from it"
            )

    async def _learn(self, kept: KeptRules) -> None:
        if not self._news(kept):
            return
        async with self._learning:  # whoever waited finds it done
            if not self._news(kept):
                return
            if sum(len(text) for _, text in kept.rules) < _LARGE:
                made = self._made(kept)
            else:
                made = await asyncio.to_thread(self._made, kept)
            self._kept, self._current = kept, made

    def _news(self, kept: KeptRules) -> bool:
        return self._kept is None or kept.generation > self._kept.generation

    def _made(self, kept: KeptRules) -> Placement:
        made = self.of(rules_kept(kept))
        made.prepare()
        return made


def rules_kept(kept: KeptRules) -> tuple[Rule, ...]:
    """Return the rules that the catalog holds, in their order."""
    return tuple(rule_of(json.loads(text)) for _, text in kept.rules)


def kept_form(rules: Sequence[Rule]) -> tuple[tuple[str, str], ...]:
    """Return rules as the catalog holds them: names, and JSON in which equal rules are equal texts."""
    return tuple((rule.name, json.dumps(rule_members(rule), sort_keys=True)) for rule in rules)
