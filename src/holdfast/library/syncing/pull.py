"""What a place holds, fetched where it is not yet: new and changed objects come, what is gone there may go here."""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

from holdfast.core.clock import Environment
from holdfast.core.errors import HoldfastError
from holdfast.library.files import local_errors
from holdfast.library.syncing import known, removal
from holdfast.library.syncing.fetch import SMALL, Fetcher
from holdfast.library.syncing.ground import Ground, tidy
from holdfast.library.syncing.place import Place
from holdfast.library.syncing.report import Report, Wish
from holdfast.library.syncing.run import Run, Work
from holdfast.policy.syncing import TRASH, Item, path_problem


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
            await _Pull(Path(nothing), source, wish, report, environment or Environment()).run()
        return
    with local_errors(root, "make"):
        if not wish.dry_run:
            root.mkdir(parents=True, exist_ok=True)
    await _Pull(root, source, wish, report, environment or Environment()).run()


class _Pull(Run):
    def __init__(
        self, root: Path, place: Place, wish: Wish, report: Report, environment: Environment
    ) -> None:
        super().__init__(root, place, wish, report, environment)
        self._ground = Ground(self._tree.root)
        self._trash = _trash(wish, self._ground, environment)
        self._fetcher = Fetcher(place, self._ground, report, self._pace)

    def _file_alone(self, file: Item) -> None:
        self._there += 1
        if self._wish.delete:
            self._doomed.add(file.key, file.size, file.stamp)

    def _object_alone(self, stored: Item) -> Work | None:
        if not self._wish.selection.takes(stored.key):
            return None
        if problem := path_problem(stored.key):
            if not (stored.key.endswith("/") and not stored.size):  # what marks a folder is no file
                self._report.problem(stored.key, f"cannot be a file here: {problem}", True)
            return None
        return self._move(None, stored, self._memory.later())

    async def _settle(self) -> None:
        await asyncio.to_thread(self._ground.settle, every=False)

    async def _end(self) -> None:
        await asyncio.to_thread(self._ground.settle)
        if not self._wish.dry_run:
            await asyncio.to_thread(tidy, self._tree.parts)

    async def _move(self, file: Item | None, stored: Item | None, slot: known.Slot) -> None:
        assert stored is not None
        if self._wish.dry_run:
            self._memory.forget(slot)
            self._report.done("fetch", stored.key, stored.size)
            return
        try:
            if stored.size <= SMALL:
                stamp = await self._fetcher.small(stored, file)
            else:
                async with self._large:
                    stamp = await self._fetcher.large(stored, file)
        except HoldfastError as error:
            self._failed(stored.key, error, slot)
            return
        self._report.done("fetch", stored.key, stored.size)
        self._memory.fill(slot, stored.key, stamp, stored.stamp)

    async def _remove(self) -> None:
        wish, report = self._wish, self._report
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
