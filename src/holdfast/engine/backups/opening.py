"""Files of a backup being read: fetched whole, compared with their manifest, opened, and given out frame by frame."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, BinaryIO, Final

from holdfast.core.backend import Backend
from holdfast.core.directly import directly
from holdfast.core.errors import CorruptedError, NotFoundError
from holdfast.engine.backups import ages, frames
from holdfast.engine.backups.packing import Piece
from holdfast.engine.backups.scratch import scratch, temporary

Frame = tuple[dict[str, Any], bytes]
_AT_ONCE: Final = 64  #: small frames that are read in one go
_GATHERED: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Opener:
    """How files of a set are opened: from which store and prefix, how they were compressed, and what opens them."""

    backend: Backend
    prefix: str
    compression: str
    sealed: bool
    identities: ages.Identities = ()
    executor: Executor | None = None

    def told(self, piece: Piece) -> str:
        """Return what a file is called in errors."""
        return f"{piece.name} of {self.prefix.rstrip('/').rpartition('/')[2]}"

    @asynccontextmanager
    async def open(self, piece: Piece) -> AsyncIterator[AsyncIterator[Frame]]:
        """Give the frames of a file.

        Raises:
            NotFoundError: it is missing. CorruptedError: it is damaged. InvalidRequestError: no identity opens it.
        """
        loop = asyncio.get_running_loop()
        with temporary() as fetched:
            await self.fetch(piece, fetched)
            with temporary() as plain:
                source: BinaryIO = fetched
                if self.sealed:
                    told = self.told(piece)
                    with scratch():
                        await loop.run_in_executor(
                            self.executor, ages.unseal, fetched, plain, self.identities, told
                        )
                        plain.flush()
                    source = plain
                source.seek(0)
                with frames.unpacked(source, self.compression) as file:
                    yield self._frames(frames.frames(file, self.told(piece)))

    async def fetch(self, piece: Piece, file: BinaryIO | None = None) -> None:
        """Read a file whole, compare it with what the manifest says of it, and write it into `file`, at its start.

        Raises:
            NotFoundError, CorruptedError: naming the file.
        """
        digest, size = hashlib.sha256(), 0
        try:
            with directly():  # what lies in the store is meant, and not what a cache holds of it
                async with self.backend.get(self.prefix + piece.name) as reader:
                    async for chunk in reader:
                        size += len(chunk)
                        if size > piece.size:
                            break
                        digest.update(chunk)
                        if file is not None:
                            with scratch():
                                file.write(chunk)
        except NotFoundError:
            raise NotFoundError(f"{self.told(piece)} is missing") from None
        if size != piece.size or digest.hexdigest() != piece.sha256:
            more = "more than " if size > piece.size else ""
            told = f"it has {more}{min(size, piece.size)} bytes" + (
                "" if more else f" instead of {piece.size}"
            )
            wrong = told if size != piece.size else "its digest differs"
            raise CorruptedError(f"{self.told(piece)} is damaged: {wrong}")
        if file is not None:
            with scratch():  # what was held back is written now
                file.seek(0)

    async def _frames(self, found: Iterator[Frame]) -> AsyncIterator[Frame]:
        loop = asyncio.get_running_loop()
        while some := await loop.run_in_executor(self.executor, _some, found):
            for one in some:
                yield one


def _some(found: Iterator[Frame]) -> list[Frame]:
    """Return the next frames: a few small ones, or a large one."""
    gathered, size = [], 0
    for one in islice(found, _AT_ONCE):
        gathered.append(one)
        size += len(one[1])
        if size >= _GATHERED:
            break
    return gathered
