"""One object fetched into one file: compared with its digest, gone on with where an earlier try ended."""

from __future__ import annotations

import asyncio
import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from holdfast.core.errors import CorruptedError, HoldfastError, QuotaExceededError
from holdfast.library.files import local_errors
from holdfast.library.syncing.etags import EtagHash, is_md5
from holdfast.library.syncing.ground import Ground
from holdfast.library.syncing.pace import Pace
from holdfast.library.syncing.place import Incoming, Place
from holdfast.library.syncing.report import Report
from holdfast.policy.syncing import Item

SMALL: Final = 4 << 20  #: objects up to this size are held in memory; larger ones can be gone on with
_READ: Final = 1 << 20
_TRIES: Final = 3


@dataclass(slots=True)
class Check:
    """Digests what arrives, and says in the end whether it is the object."""

    size: int
    sha256: hashlib._Hash = field(default_factory=hashlib.sha256)
    etag: EtagHash | None = None
    seen: int = 0

    @classmethod
    def of(cls, item: Item, etag: str) -> Check:
        """Return the check for an object with that ETag ("" when it proves nothing)."""
        return cls(item.size, etag=EtagHash(etag, item.size) if is_md5(etag) else None)

    def update(self, data: bytes) -> None:
        """Take the next bytes."""
        self.seen += len(data)
        (self.etag or self.sha256).update(data)

    def prove(self, wanted: Incoming) -> None:
        """Return when all has come.

        Raises:
            CorruptedError: other bytes than the object has.
        """
        key = wanted.item.key
        if self.seen != self.size:
            raise CorruptedError(f"{self.seen} of {self.size} bytes arrived", name=key)
        if self.etag is not None:
            right = self.etag.matches() is not False
        else:
            right = wanted.sha256 is None or self.sha256.digest() == wanted.sha256
        if not right:
            raise CorruptedError("what arrived is not what the object holds", name=key)


class Fetcher:
    """Fetches objects of `place` into `ground`."""

    def __init__(self, place: Place, ground: Ground, report: Report, pace: Pace) -> None:
        self._place, self._ground, self._report, self._pace = place, ground, report, pace

    async def small(self, item: Item, before: Item | None) -> str:
        """Fetch a small object into memory and then into its file; return the file's stamp."""
        async with self._place.get(item) as incoming:
            check, held = Check.of(item, incoming.etag), []
            async for chunk in incoming.chunks:
                await self._arrived(len(chunk))
                check.update(chunk)
                held.append(chunk)
            check.prove(incoming)
            found = incoming
        assert found.item.mtime is not None
        return await asyncio.to_thread(
            self._ground.put, item.key, b"".join(held), found.item.mtime, found.mode, before
        )

    async def large(self, item: Item, before: Item | None) -> str:
        """Fetch a large object beside its file, from where an earlier try ended, then put it in place."""
        tag = self._tag(item)
        fd = await asyncio.to_thread(self._ground.open_part, item.key, tag)
        try:
            incoming = await self._whole(item, fd)
            mtime = incoming.item.mtime
            assert mtime is not None
            return await asyncio.to_thread(
                self._ground.land_part, item.key, tag, fd, mtime, incoming.mode, before
            )
        except QuotaExceededError:  # on a full disk, what cannot be ended takes no room from others
            await asyncio.to_thread(self._ground.drop_part, item.key, tag)
            raise
        finally:
            os.close(fd)

    async def _whole(self, item: Item, fd: int) -> Incoming:
        """Return when the part holds all of the object; what broke off is gone on with, what is wrong begun anew."""
        for left in reversed(range(_TRIES)):
            try:
                return await self._further(item, fd)
            except CorruptedError:
                os.ftruncate(fd, 0)
                if not left:
                    raise
            except HoldfastError as error:
                if not (left and error.retryable):
                    raise
        raise AssertionError("the last try returns or raises")

    async def _further(self, item: Item, fd: int) -> Incoming:
        # the last byte is fetched in any case: with it comes what the object says of the file that it was
        offset = min(os.fstat(fd).st_size, item.size - 1)
        check: Check | None = None
        async with self._place.get(item, offset) as incoming:
            check = Check.of(item, incoming.etag)
            path = self._ground.path(item.key)
            await asyncio.to_thread(_reread, fd, offset, check, path)
            async for chunk in incoming.chunks:
                await self._arrived(len(chunk))
                await asyncio.to_thread(_append, fd, chunk, check, path)
            check.prove(incoming)
            return incoming

    async def _arrived(self, count: int) -> None:
        if self._report.progress is not None:
            self._report.progress(count)
        await self._pace.pay(count)

    def _tag(self, item: Item) -> str:
        """Return what tells a part of this content from parts of others; a new one each time when nothing does."""
        if not item.stamp:
            return os.urandom(8).hex()
        said = f"{self._place.identity}\0{item.key}\0{item.stamp}\0{item.size}"
        return hashlib.sha256(said.encode()).hexdigest()[:16]


def _reread(fd: int, offset: int, check: Check, path: Path) -> None:
    with local_errors(path, "read"):
        os.ftruncate(fd, offset)
        os.lseek(fd, 0, os.SEEK_SET)
        left = offset
        while left and (chunk := os.read(fd, min(_READ, left))):
            check.update(chunk)
            left -= len(chunk)


def _append(fd: int, chunk: bytes, check: Check, path: Path) -> None:
    view = memoryview(chunk)
    with local_errors(path, "write"):
        while view:
            view = view[os.write(fd, view) :]
    check.update(chunk)
