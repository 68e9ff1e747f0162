"""Counting the bytes of a reader as they are read."""

from __future__ import annotations

from collections.abc import AsyncIterator

from holdfast.core.body import Reader


class Tally:
    """A reader (`reader`) whose bytes are counted. What a door sends straight from its file counts when it ends well."""

    __slots__ = ("_direct", "_size", "_touched", "reader")

    def __init__(self, reader: Reader) -> None:
        self._size = 0
        self._touched = False
        self._direct = reader.span.length if reader.file is not None or reader.data is not None else 0
        self.reader = reader.through(self._count, unchanged=True)

    def counted(self, *, whole: bool) -> int:
        """Return the bytes that were read; `whole` when the read ended well, so that a file was sent to its end."""
        return self._direct if whole and not self._touched else self._size

    async def _count(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        self._touched = True
        async for chunk in chunks:
            self._size += len(chunk)
            yield chunk
