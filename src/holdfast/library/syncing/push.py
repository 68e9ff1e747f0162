"""A tree of files sent where it is not yet: new and changed files go, what is gone here may go there."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Coroutine
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final

from holdfast.core.body import Body
from holdfast.core.clock import Environment
from holdfast.core.errors import HoldfastError
from holdfast.library.syncing import contents, known, removal
from holdfast.library.syncing.pace import Pace
from holdfast.library.syncing.pairs import Crew, in_thread, pairs
from holdfast.library.syncing.place import Place, folder
from holdfast.library.syncing.report import Report, Wish
from holdfast.library.syncing.tree import ChangedError, Tree, again, is_same, open_same
from holdfast.policy.syncing import TRASH, Item, Verdict, judge, path_problem

_SMALL: Final = 1 << 20  #: files up to this size are read at once
_INLINE: Final = 128 << 10  #: and up to this without a hop to another thread
_CHUNK: Final = 1 << 20
_LARGE_AT_ONCE: Final = 4
_TRIES: Final = 3


async def push(
    root: Path, target: Place, wish: Wish, report: Report, *, environment: Environment | None = None
) -> None:
    """Make `target` hold the files below `root`; what failed is in the report.

    Raises:
        ConflictError: more would be removed than `wish` allows; everything else is done.
        HoldfastError: the directory or the place cannot be listed; nothing was removed.
    """
    await _Push(root, target, wish, report, environment or Environment()).run()


class _Push:
    def __init__(
        self, root: Path, place: Place, wish: Wish, report: Report, environment: Environment
    ) -> None:
        self._told: list[tuple[str, str, bool]] = []
        self._tree = Tree(
            root,
            tell=lambda *said: self._told.append(said),
            selection=wish.selection,
            follow=wish.follow,
        )
        self._place, self._wish, self._report = place, wish, report
        self._trash = _trash(place, wish, environment)
        self._crew, self._doomed = Crew(wish.jobs), removal.Doomed()
        self._large = asyncio.Semaphore(_LARGE_AT_ONCE)
        self._pace = Pace(wish.bandwidth, environment.clock)
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
            await self._crew.rest()
            self._complain()
            await self._remove()
            self._memory.keep()
        finally:
            await self._crew.stop()
            self._memory.close()
            self._doomed.close()

    def _wanted(self, file: Item | None, stored: Item | None) -> Coroutine[Any, Any, None] | None:
        """Return what is to be done about a file and an object of the same key; None: nothing now."""
        if file is None:
            assert stored is not None
            # what no file can be called was not put there by a push, and is not for one to remove
            if self._wish.selection.takes(stored.key) and not path_problem(stored.key):
                self._there += 1
                if self._wish.delete:
                    self._doomed.add(stored.key, stored.size, self._place.guard(stored))
            return None
        if stored is None:
            return self._send(file, self._memory.later())
        self._there += 1
        verdict = judge(file, stored, self._memory.find(file.key), digests=self._wish.digests)
        if verdict is Verdict.SAME:
            self._report.same += 1
            self._memory.note(file.key, file.stamp, stored.stamp)
            return None
        slot = self._memory.later()
        return self._send(file, slot) if verdict is Verdict.DIFFERENT else self._ask(file, stored, slot)

    async def _ask(self, file: Item, stored: Item, slot: known.Slot) -> None:
        try:
            found = await contents.same(self._place, file, stored, digests=self._wish.digests)
        except ChangedError:
            found = None
        except HoldfastError as error:
            self._failed(file, error, slot)
            return
        if found is None:
            await self._send(file, slot)
            return
        self._report.same += 1
        self._memory.fill(slot, file.key, file.stamp, found.stamp)

    async def _send(self, file: Item, slot: known.Slot) -> None:
        if self._wish.dry_run:
            self._memory.forget(slot)
            self._report.done("send", file.key, file.size)
            return
        for left in reversed(range(_TRIES)):
            try:
                stamp = await self._once(file)
            except ChangedError as error:
                newer = again(file)
                if newer is None:
                    self._report.problem(file.key, "went away before it was sent", False)
                    self._memory.forget(slot)
                    return
                file = newer
                if not left:
                    self._failed(file, error, slot)
            except HoldfastError as error:
                self._failed(file, error, slot)
                return
            else:
                self._report.done("send", file.key, file.size)
                self._memory.fill(slot, file.key, file.stamp, stamp)
                return

    async def _once(self, file: Item) -> str:
        if file.size > _SMALL:
            async with self._large:
                return await self._place.put(file, self._pace.body(self._body(file)), sha256=None)
        data = _read(file) if file.size <= _INLINE else await asyncio.to_thread(_read, file)
        await self._pace.pay(len(data))
        digest = hashlib.sha256(data).digest() if self._place.wants_sha256 else None
        stamp = await self._place.put(file, Body.of_bytes(data), sha256=digest)
        if self._report.progress is not None:
            self._report.progress(len(data))
        return stamp

    def _body(self, file: Item) -> Body:
        """Return the bytes of a large file; they end with an error, inside the put, when it changed meanwhile."""
        progress = self._report.progress

        async def chunks() -> AsyncIterator[bytes]:
            told = 0
            fd = await asyncio.to_thread(open_same, file)
            try:
                while chunk := await asyncio.to_thread(os.read, fd, _CHUNK):
                    told += len(chunk)
                    yield chunk
                    if progress is not None:
                        progress(len(chunk))
                if told != file.size or not is_same(fd, file):
                    raise ChangedError(f"{file.key} changed while it was sent")
            finally:
                os.close(fd)

        return Body(chunks, file.size, True)

    async def _remove(self) -> None:
        wish, report = self._wish, self._report
        if not removal.allowed(self._doomed, self._there, wish, report):
            return
        report.trash = self._trash
        what = "trash" if self._trash else "delete"
        for batch in self._doomed.batches():
            if wish.dry_run:
                for item in batch:
                    report.gone(what, item.key, item.size)
                continue
            async for item, error in self._place.remove(batch, self._trash):
                if isinstance(error, HoldfastError):
                    report.failure(item.key, error)
                else:
                    report.gone(what, item.key, item.size)

    def _failed(self, file: Item, error: HoldfastError, slot: known.Slot) -> None:
        self._memory.forget(slot)
        self._report.failure(file.key, error)

    def _complain(self) -> None:
        """Hand on what the walk, in its thread, had to tell."""
        while self._told:
            self._report.problem(*self._told.pop(0))


def _trash(place: Place, wish: Wish, environment: Environment) -> str:
    """Return the prefix of the bucket that takes what is removed; "" for none."""
    if wish.trash is None or not wish.delete:
        return ""
    trash = folder(wish.trash or place.prefix + TRASH)
    own = trash + removal.own_folder(environment)
    removal.check_apart(trash, own, place.prefix)
    return own


def _read(file: Item) -> bytes:
    fd = open_same(file)
    try:
        data = os.read(fd, file.size + 1)
        while len(data) < file.size and (more := os.read(fd, file.size - len(data) + 1)):
            data += more
        if len(data) != file.size or not is_same(fd, file):
            raise ChangedError(f"{file.key} changed while it was read")
        return data
    finally:
        os.close(fd)
