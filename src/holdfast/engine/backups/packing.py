"""A file of a backup being written: framed, compressed, sealed, and put into its store once it is whole.

It grows in a nameless file of the machine, which vanishes with the process, so that its size and digest are known
before it is sent, and it can be sent again.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from io import BufferedReader
from typing import Any, BinaryIO, Final, TypeVar, cast

from holdfast.core.backend import Backend
from holdfast.core.body import CHUNK, Body
from holdfast.engine.backups import ages, frames
from holdfast.engine.backups.scratch import scratch, temporary

T = TypeVar("T")
_BUFFER: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Piece:
    """A file of a set, as its manifest lists it. `last` is the id of the last version that it tells of."""

    name: str
    size: int
    sha256: str
    last: str = ""


def body_of(file: BinaryIO, size: int, executor: Executor | None) -> Body:
    """Return a body of an open file, which can be read again and again."""

    async def chunks() -> AsyncIterator[bytes]:
        loop, offset = asyncio.get_running_loop(), 0
        while chunk := await loop.run_in_executor(executor, os.pread, file.fileno(), CHUNK, offset):
            yield chunk
            offset += len(chunk)

    return Body(chunks, size, True)


class Packing:
    """One file that grows. `size` is about what it takes so far; `empty` until there is a frame in it."""

    def __init__(self, compression: str, executor: Executor | None = None) -> None:
        self._executor = executor
        self._file: BinaryIO = temporary()  # closed by close
        self._packer = frames.packer(compression)
        self._waiting = [frames.MARK]
        self._held = 0
        self._frames = 0
        self.size = 0

    @property
    def empty(self) -> bool:
        """Whether nothing is in it."""
        return self._frames == 0

    async def add(self, header: Mapping[str, Any], payload: bytes) -> None:
        """Add a frame."""
        self._frames += 1
        if len(payload) > _BUFFER:
            self._waiting.append(await self._aside(lambda: frames.frame(header, payload)))
        else:
            self._waiting.append(frames.frame(header, payload))
        self._held += len(payload)
        if self._held >= _BUFFER:
            await self._aside(self._pack)

    async def put(self, backend: Backend, name: str, *, recipients: Sequence[str] = ()) -> Piece:
        """Put it into a store, whole, sealed to `recipients` if there are any; durable when this returns.

        Raises:
            HoldfastError: the store did not take it.
        """
        self._waiting.append(frames.end(self._frames))
        size, sha256 = await self._aside(lambda: self._seal(recipients))
        await backend.put(name, body_of(self._file, size, self._executor))
        return Piece(name.rpartition("/")[2], size, sha256)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    async def _aside(self, work: Callable[[], T]) -> T:
        with scratch():
            return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    def _pack(self) -> None:
        self.size += self._file.write(self._packer.compress(b"".join(self._waiting)))
        self._waiting, self._held = [], 0

    def _seal(self, recipients: Sequence[str]) -> tuple[int, str]:
        self._pack()
        self._file.write(self._packer.flush())
        if recipients:
            sealed: BinaryIO = temporary()
            self._file.seek(0)
            ages.seal(self._file, sealed, recipients)
            self._file.close()
            self._file = sealed
        self._file.flush()
        return self._file.tell(), digest_of(self._file)


def digest_of(file: BinaryIO) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    file.seek(0)
    return hashlib.file_digest(cast("BufferedReader", file), "sha256").hexdigest()
