"""Under which id Drive knows a name: one note for each name, changed by compare-and-swap.

What a note tells: the live file, if any; files that are being written (their ids are noted before they are made);
files that are to go; and twins, which carry the same name and are not the one that counts.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final

import msgspec

from holdfast.backends.google_drive.errors import Where, failure
from holdfast.backends.google_drive.files import File
from holdfast.core.errors import ConflictError, CorruptedError, UnavailableError
from holdfast.core.notes import Notes
from holdfast.core.types import EMPTY, BlobInfo

_BLOB: Final = "blob/"
_TRIES: Final = 200
_MOST: Final = 300  #: ids in one note
_HOUR: Final = 3_600_000_000
LATE: Final = 24 * _HOUR  #: how long a file may still appear whose request broke off
ABANDONED: Final = 8 * 24 * _HOUR  #: when nobody writes any more: sessions end after a week


class Live(msgspec.Struct, frozen=True):
    """The file that counts. Its content never changes."""

    id: str
    size: int
    md5: str
    modified: int
    metadata: Mapping[str, str] = EMPTY

    def info(self, name: str) -> BlobInfo:
        """Return it as a blob."""
        return BlobInfo(name, self.size, self.modified, self.md5 or None, dict(self.metadata))


class Loose(msgspec.Struct, frozen=True):
    """A file that is being written, or that is to go. `unsure`: it may yet appear."""

    id: str
    at: int
    unsure: bool = False


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is noted of a name."""

    generation: int = 0
    live: Live | None = None
    pending: tuple[Loose, ...] = ()
    dead: tuple[Loose, ...] = ()
    twins: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether there is nothing left to remember."""
        return not (self.live or self.pending or self.dead or self.twins)

    @property
    def known(self) -> frozenset[str]:
        """All ids in it."""
        loose = (one.id for one in (*self.pending, *self.dead))
        live = (self.live.id,) if self.live else ()
        return frozenset((*loose, *live, *self.twins))


NOTHING: Final = Record()
Edit = Callable[[Record], Record]


class Index:
    """The notes of a store, as records by blob name."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes

    async def read(self, where: Where, name: str) -> Record:
        """Return what is noted of a name."""
        return _decode(where, await self._notes.read(_BLOB + name))

    async def change(self, where: Where, name: str, edit: Edit) -> Record:
        """Replace what is noted by what `edit` makes of it, and return that; `edit` may be asked again, or raise."""
        for _ in range(_TRIES):
            old = await self._notes.read(_BLOB + name)
            before = _decode(where, old)
            after = edit(before)
            if after == before:
                return after
            if len(after.known) > _MOST and len(after.known) > len(before.known):
                raise failure(ConflictError, "too many writers have the same name", where)
            new = None if after.empty else msgspec.json.encode(after)
            if await self._notes.swap(_BLOB + name, old, new):
                return after
        raise failure(UnavailableError, "too many writers change the same name", where)

    async def items(self, where: Where, prefix: str, after: str) -> AsyncIterator[tuple[str, Record]]:
        """Yield names and records in byte order."""
        start = _BLOB + after if after else ""
        async for name, value in self._notes.list(_BLOB + prefix, after=start):
            yield name.removeprefix(_BLOB), _decode(where, value)

    async def fact(self, name: str) -> str:
        """Return a fact about the store as a whole, "" when there is none."""
        return (await self._notes.read(name) or b"").decode()

    async def set_fact(self, name: str, old: str, new: str) -> bool:
        """Change a fact, if it is `old`."""
        return await self._notes.swap(name, old.encode() or None, new.encode() or None)


def live_of(file: File, metadata: Mapping[str, str]) -> Live:
    """Return what is noted of a file that counts."""
    return Live(file.id, file.bytes, file.md5_checksum, file.modified, dict(metadata))


def _decode(where: Where, value: bytes | None) -> Record:
    if value is None:
        return NOTHING
    try:
        return msgspec.json.decode(value, type=Record)
    except msgspec.DecodeError:
        raise failure(CorruptedError, "the note of this name cannot be read", where) from None
