"""Sorting what does not fit into memory: runs in a file without a name, merged on the way out."""

from __future__ import annotations

import asyncio
import heapq
import tempfile
from collections.abc import Iterator
from types import TracebackType
from typing import IO, Final, Self

import msgspec

HELD: Final = 20_000  #: files that are held in memory at once


class Seen(msgspec.Struct, frozen=True, order=True, array_like=True):
    """A file that a listing showed, in the order in which files of one name count: the first is the one."""

    name: str
    older: int  #: the generation, turned round: the newest comes first
    created: int
    id: str
    size: int
    md5: str
    modified: int
    metadata: str  #: as JSON, so that it can be compared too


class Spool:
    """Takes files in any order and gives them sorted; use as `with`."""

    def __init__(self, held: int = HELD) -> None:
        self._most = held
        self._held: list[Seen] = []
        self._runs: list[IO[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for run in self._runs:
            run.close()

    async def add(self, seen: Seen) -> None:
        """Take one."""
        self._held.append(seen)
        if len(self._held) >= self._most:
            held, self._held = self._held, []
            self._runs.append(await asyncio.to_thread(_written, held))

    def sorted(self) -> Iterator[Seen]:
        """Yield all."""
        self._held.sort()
        return heapq.merge(self._held, *(_read(run) for run in self._runs))


def _written(held: list[Seen]) -> IO[bytes]:
    """Return a file that holds them, sorted, one in each line; the system removes it when it is closed."""
    file = tempfile.TemporaryFile()  # noqa: SIM115
    try:
        held.sort()
        for seen in held:
            file.write(msgspec.json.encode(seen) + b"\n")
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


def _read(run: IO[bytes]) -> Iterator[Seen]:
    for line in run:
        yield msgspec.json.decode(line, type=Seen)
