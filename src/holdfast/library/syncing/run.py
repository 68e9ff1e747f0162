"""What sending and fetching have in common: two streams joined by key, what differs moved, then what is gone removed."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from contextlib import aclosing, closing
from pathlib import Path
from typing import Any, Final

from holdfast.core.clock import Environment
from holdfast.core.errors import HoldfastError
from holdfast.library.syncing import contents, known, removal
from holdfast.library.syncing.pace import Pace
from holdfast.library.syncing.pairs import Crew, in_thread, pairs
from holdfast.library.syncing.place import Place
from holdfast.library.syncing.report import Report, Wish
from holdfast.library.syncing.tree import ChangedError, Tree
from holdfast.policy.syncing import Item, Verdict, judge

_LARGE_AT_ONCE: Final = 4

Work = Coroutine[Any, Any, None]


class Run(ABC):
    """One sync of the directory `root` and a place, in either direction."""

    _memory: known.Memory
    _doomed: removal.Doomed

    def __init__(
        self, root: Path, place: Place, wish: Wish, report: Report, environment: Environment
    ) -> None:
        self._told: list[tuple[str, str, bool]] = []
        self._tree = Tree(
            root, tell=lambda *said: self._told.append(said), selection=wish.selection, follow=wish.follow
        )
        self._place, self._wish, self._report = place, wish, report
        self._crew = Crew(wish.jobs)
        self._large = asyncio.Semaphore(_LARGE_AT_ONCE)
        self._pace = Pace(wish.bandwidth, environment.clock)
        self._there = 0  #: of what is on the side that is made equal

    async def run(self) -> None:
        """Do it."""
        kept = self._wish.remember and not self._place.lists_times
        where = known.place(self._tree.root, self._place.identity) if kept else None
        with (
            closing(known.Memory(where, write=not self._wish.dry_run)) as self._memory,
            closing(removal.Doomed()) as self._doomed,
        ):
            try:
                await self._all()
            finally:
                await self._crew.stop()

    async def _all(self) -> None:
        joined = pairs(in_thread(self._tree.files()), self._place.list(self._memory))
        async with aclosing(joined) as batches:
            async for batch in batches:
                for file, stored in batch:
                    if (work := self._wanted(file, stored)) is not None:
                        await self._crew.do(work)
                self._complain()
                await self._settle()
        await self._crew.rest()
        self._complain()
        if removal.allowed(self._doomed, self._there, self._wish, self._report):
            await self._remove()
        await self._end()
        self._memory.keep()

    @abstractmethod
    def _file_alone(self, file: Item) -> Work | None:
        """Return what is to be done about a file without an object."""

    @abstractmethod
    def _object_alone(self, stored: Item) -> Work | None:
        """Return what is to be done about an object without a file."""

    @abstractmethod
    async def _move(self, file: Item | None, stored: Item | None, slot: known.Slot) -> None:
        """Make one like the other; `slot` is for what is known then."""

    @abstractmethod
    async def _remove(self) -> None:
        """Remove what is doomed."""

    async def _settle(self) -> None:  # noqa: B027  # for those who have something to settle
        """Follow the moves of a batch."""

    async def _end(self) -> None:  # noqa: B027
        """Follow all of them."""

    def _wanted(self, file: Item | None, stored: Item | None) -> Work | None:
        """Return what is to be done about a file and an object of the same key; None: nothing now."""
        if file is None:
            assert stored is not None
            return self._object_alone(stored)
        if stored is None:
            return self._file_alone(file)
        self._there += 1
        verdict = judge(file, stored, self._memory.find(file.key), digests=self._wish.digests)
        if verdict is Verdict.SAME:
            self._report.same += 1
            self._memory.note(file.key, file.stamp, stored.stamp)
            return None
        slot = self._memory.later()
        if verdict is Verdict.DIFFERENT:
            return self._move(file, stored, slot)
        return self._ask(file, stored, slot)

    async def _ask(self, file: Item, stored: Item, slot: known.Slot) -> None:
        try:
            found = await contents.same(self._place, file, stored, digests=self._wish.digests)
        except ChangedError:
            found = None
        except HoldfastError as error:
            self._failed(file.key, error, slot)
            return
        if found is None:
            await self._move(file, stored, slot)
            return
        self._report.same += 1
        self._memory.fill(slot, file.key, file.stamp, found.stamp)

    def _failed(self, key: str, error: HoldfastError, slot: known.Slot) -> None:
        self._memory.forget(slot)
        self._report.failure(key, error)

    def _complain(self) -> None:
        """Hand on what the walk, in its thread, had to tell."""
        while self._told:
            self._report.problem(*self._told.pop(0))
