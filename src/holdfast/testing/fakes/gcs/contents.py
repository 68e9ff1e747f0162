"""Bytes that the fake holds: small ones in memory, large ones in files without a name, which go with whoever used them last."""

from __future__ import annotations

import base64
import os
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from functools import cached_property
from hashlib import md5
from typing import Final

from awscrt.checksums import crc32c

IN_MEMORY: Final = 1 << 20
_READ: Final = 256 << 10


class _File:
    """Bytes in a file that goes when nobody holds this any more, however the process ends."""

    def __init__(self, data: bytes) -> None:
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - it lives as long as this
        weakref.finalize(self, self._file.close)
        done = 0
        while done < len(data):
            done += self._file.write(memoryview(data)[done:])

    def read(self, size: int, at: int) -> bytes:
        """Return at most `size` bytes from there on."""
        return os.pread(self._file.fileno(), size, at)


_Piece = tuple[bytes | _File, int]


class Content:
    """Bytes that do not change. What is made of several others shares their files."""

    def __init__(self, pieces: Iterable[_Piece]) -> None:
        self._pieces = tuple(pieces)
        self.size = sum(size for _, size in self._pieces)

    @classmethod
    def of(cls, data: bytes) -> Content:
        """Return `data`, kept."""
        if len(data) <= IN_MEMORY:
            return cls([(data, len(data))])
        return cls([(_File(data), len(data))])

    @classmethod
    def joined(cls, contents: Iterable[Content]) -> Content:
        """Return several, one after the other."""
        return cls(piece for content in contents for piece in content._pieces)

    def read(self, first: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield the bytes from `first` up to `end`, some at a time."""
        end, start = self.size if end is None else end, 0
        for held, size in self._pieces:
            low, high = max(first - start, 0), min(end - start, size)
            start += size
            if low < high:
                yield from _part(held, low, high)

    @property
    def data(self) -> bytes:
        """All of it, in memory."""
        return b"".join(self.read())

    @cached_property
    def crc32c(self) -> str:
        """The checksum as the service writes it: base64 of four bytes, the highest first."""
        found = 0
        for chunk in self.read():
            found = crc32c(chunk, found)
        return base64.b64encode(int(found).to_bytes(4, "big")).decode()

    @cached_property
    def md5(self) -> bytes:
        """The digest."""
        found = md5(usedforsecurity=False)
        for chunk in self.read():
            found.update(chunk)
        return found.digest()


def _part(held: bytes | _File, low: int, high: int) -> Iterator[bytes]:
    if isinstance(held, bytes):
        yield held[low:high]
        return
    while low < high and (chunk := held.read(min(_READ, high - low), low)):
        low += len(chunk)
        yield chunk
