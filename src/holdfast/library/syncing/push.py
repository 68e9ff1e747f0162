"""A tree of files sent where it is not yet: new and changed files go, what is gone here may go there."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from holdfast.core.clock import Environment
from holdfast.core.errors import HoldfastError
from holdfast.library.syncing import known, removal
from holdfast.library.syncing.place import Place, folder
from holdfast.library.syncing.report import Report, Wish
from holdfast.library.syncing.run import Run, Work
from holdfast.library.syncing.tree import ChangedError, again, is_same, open_same
from holdfast.policy.syncing import TRASH, Item, path_problem

if TYPE_CHECKING:
    from holdfast.core.body import Body

_SMALL: Final = 1 << 20  #: files up to this size are read at once
_INLINE: Final = 128 << 10  #: and up to this without a hop to another thread
_CHUNK: Final = 1 << 20
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


class _Push(Run):
    def __init__(
        self, root: Path, place: Place, wish: Wish, report: Report, environment: Environment
    ) -> None:
        super().__init__(root, place, wish, report, environment)
        self._trash = _trash(place, wish, environment)

    def _file_alone(self, file: Item) -> Work:
        return self._move(file, None, self._memory.later())

    def _object_alone(self, stored: Item) -> None:
        # what no file can be called was not put there by a push, and is not for one to remove
        if self._wish.selection.takes(stored.key) and not path_problem(stored.key):
            self._there += 1
            if self._wish.delete:
                self._doomed.add(stored.key, stored.size, self._place.guard(stored))

    async def _move(self, file: Item | None, stored: Item | None, slot: known.Slot) -> None:
        assert file is not None
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
                    self._failed(file.key, error, slot)
            except HoldfastError as error:
                self._failed(file.key, error, slot)
                return
            else:
                self._report.done("send", file.key, file.size)
                self._memory.fill(slot, file.key, file.stamp, stamp)
                return

    async def _once(self, file: Item) -> str:
        from holdfast.core.body import Body

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
        from holdfast.core.body import Body

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
