"""What a place holds, fetched where it is not yet: new and changed objects come, what is gone there may go here."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import aclosing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from holdfast.core.clock import Environment
from holdfast.core.errors import HoldfastError
from holdfast.library.files import local_errors
from holdfast.library.syncing import contents, known, removal
from holdfast.library.syncing.fetch import SMALL, Fetcher
from holdfast.library.syncing.ground import Ground, tidy
from holdfast.library.syncing.pace import Pace
from holdfast.library.syncing.pairs import Crew, in_thread, pairs
from holdfast.library.syncing.place import Place
from holdfast.library.syncing.report import Report, Wish
from holdfast.library.syncing.tree import ChangedError, Tree
from holdfast.policy.syncing import TRASH, Item, Verdict, judge, path_problem

_LARGE_AT_ONCE: Final = 4


async def pull(
    source: Place, root: Path, wish: Wish, report: Report, *, environment: Environment | None = None
) -> None:
    """Make the directory `root`, which is made if need be, hold what `source` does; what failed is in the report.

    Raises:
        ConflictError: more would be removed than `wish` allows; everything else is done.
        HoldfastError: the directory or the place cannot be listed; nothing was removed.
    """
    if wish.dry_run and not root.exists():
        with TemporaryDirectory(prefix="holdfast-") as nothing:
            await _Pull(source, Path(nothing), wish, report, environment or Environment()).run()
        return
    with local_errors(root, "make"):
        if not wish.dry_run:
            root.mkdir(parents=True, exist_ok=True)
    await _Pull(source, root, wish, report, environment or Environment()).run()


class _Pull:
    def __init__(
        self, place: Place, root: Path, wish: Wish, report: Report, environment: Environment
    ) -> None:
        self._told: list[tuple[str, str, bool]] = []
        self._tree = Tree(
            root, tell=lambda *said: self._told.append(said), selection=wish.selection, follow=wish.follow
        )
        self._place, self._wish, self._report = place, wish, report
        self._ground = Ground(self._tree.root)
        self._trash = _trash(wish, self._ground, environment)
        self._crew, self._doomed = Crew(wish.jobs), removal.Doomed()
        self._large = asyncio.Semaphore(_LARGE_AT_ONCE)
        self._fetcher = Fetcher(place, self._ground, report, Pace(wish.bandwidth, environment.clock))
        self._there = 0
        kept = wish.remember and not place.lists_times
        where = known.place(self._tree.root, place.identity) if kept else None
        self._memory = known.Memory(where, write=not wish.dry_run)

    async def run(self) -> None:
        """Do it."""
        try:
            joined = pairs(in_thread(self._tree.files()), self._place.list(self._memory.every))
            async with aclosing(joined) as batches:
                async for batch in batches:
                    for file, stored in batch:
                        if (work := self._wanted(file, stored)) is not None:
                            await self._crew.do(work)
                    self._complain()
                    await asyncio.to_thread(self._ground.settle, every=False)
            await self._crew.rest()
            self._complain()
            await self._remove()
            await asyncio.to_thread(self._ground.settle)
            if not self._wish.dry_run:
                await asyncio.to_thread(tidy, self._tree.parts)
            self._memory.keep()
        finally:
            await self._crew.stop()
            self._memory.close()
            self._doomed.close()

    def _wanted(self, file: Item | None, stored: Item | None) -> Coroutine[Any, Any, None] | None:
        """Return what is to be done about a file and an object of the same key; None: nothing now."""
        if stored is None:
            assert file is not None
            self._there += 1
            if self._wish.delete:
                self._doomed.add(file.key, file.size, file.stamp)
            return None
        if file is None:
            if not self._wish.selection.takes(stored.key):
                return None
            if problem := path_problem(stored.key):
                if not (stored.key.endswith("/") and not stored.size):  # what marks a folder is no file
                    self._report.problem(stored.key, f"cannot be a file here: {problem}", True)
                return None
            return self._fetch(stored, None, self._memory.later())
        self._there += 1
        verdict = judge(file, stored, self._memory.find(file.key), digests=self._wish.digests)
        if verdict is Verdict.SAME:
            self._report.same += 1
            self._memory.note(file.key, file.stamp, stored.stamp)
            return None
        slot = self._memory.later()
        return (
            self._fetch(stored, file, slot) if verdict is Verdict.DIFFERENT else self._ask(file, stored, slot)
        )

    async def _ask(self, file: Item, stored: Item, slot: known.Slot) -> None:
        try:
            found = await contents.same(self._place, file, stored, digests=self._wish.digests)
        except ChangedError:
            found = None
        except HoldfastError as error:
            self._memory.forget(slot)
            self._report.failure(stored.key, error)
            return
        if found is None:
            await self._fetch(stored, file, slot)
            return
        self._report.same += 1
        self._memory.fill(slot, file.key, file.stamp, found.stamp)

    async def _fetch(self, stored: Item, before: Item | None, slot: known.Slot) -> None:
        if self._wish.dry_run:
            self._memory.forget(slot)
            self._report.done("fetch", stored.key, stored.size)
            return
        try:
            if stored.size <= SMALL:
                stamp = await self._fetcher.small(stored, before)
            else:
                async with self._large:
                    stamp = await self._fetcher.large(stored, before)
        except HoldfastError as error:
            self._memory.forget(slot)
            self._report.failure(stored.key, error)
            return
        self._report.done("fetch", stored.key, stored.size)
        self._memory.fill(slot, stored.key, stamp, stored.stamp)

    async def _remove(self) -> None:
        wish, report = self._wish, self._report
        if not removal.allowed(self._doomed, self._there, wish, report):
            return
        trash, below = self._trash
        report.trash = f"{trash.root}/{below}" if trash is not None else ""
        what = "delete" if trash is None else "trash"
        for batch in self._doomed.batches():
            for item in batch:
                if not wish.dry_run:
                    try:
                        await asyncio.to_thread(
                            self._ground.move, item.key, item.size, item.stamp, trash, below
                        )
                    except HoldfastError as error:
                        report.failure(item.key, error)
                        continue
                report.gone(what, item.key, item.size)

    def _complain(self) -> None:
        """Hand on what the walk, in its thread, had to tell."""
        while self._told:
            self._report.problem(*self._told.pop(0))


def _trash(wish: Wish, ground: Ground, environment: Environment) -> tuple[Ground | None, str]:
    """Return where what is removed goes, and the folder in there."""
    if wish.trash is None or not wish.delete:
        return None, ""
    if not wish.trash:
        return ground, TRASH + removal.own_folder(environment)
    folder, below = Path(wish.trash).resolve(), removal.own_folder(environment)
    named = str(folder).rstrip("/") + "/"
    removal.check_apart(named, named + below, ground.root.rstrip("/") + "/")
    if not wish.dry_run:
        with local_errors(folder, "make"):
            folder.mkdir(parents=True, exist_ok=True)
    return Ground(str(folder)), below
