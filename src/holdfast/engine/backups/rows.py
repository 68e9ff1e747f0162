"""Rows in files of a set, and the index that says where contents lie.

A frame of rows has the name of its table and lines of JSON; bytes are `{"b64": …}`. Versions come after all else, in the
order of their ids, each with its bucket, its segments and whether it was current. The index has a line for each stretch
of a segment, in the order of versions: version, number of the segment, offset, length, set (`.`: this one), file; a file
`-` says that the segment could not be read.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from holdfast.catalog.checking import check_row
from holdfast.catalog.rows import digests_of
from holdfast.core.errors import CorruptedError
from holdfast.core.types import ObjectRef, Segment
from holdfast.engine.backups.opening import Opener
from holdfast.engine.backups.packing import Piece

VERSIONS: Final = "versions"
OWN: Final = "."
NOWHERE: Final = "-"

Row = dict[str, Any]
#: Gives the bytes of a segment, by its number.
Source = Callable[[int], AsyncIterator[bytes]]


def encode(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Return rows as lines."""
    return b"".join(msgspec.json.encode(_told(row), order="deterministic") + b"\n" for row in rows)


def _told(value: Any) -> Any:
    if isinstance(value, bytes | memoryview):
        return {"b64": base64.b64encode(value).decode()}
    if isinstance(value, Mapping):
        return {name: _told(one) for name, one in value.items()}
    return [_told(one) for one in value] if isinstance(value, list) else value


def decode(payload: bytes, name: str, table: str) -> list[Row]:
    """Return the rows of lines, of that table; `CorruptedError` naming the file, and what, when they are none."""
    try:
        found = [_meant(msgspec.json.decode(line)) for line in payload.splitlines()]
        for row in found:
            check_row(table, row)
        return found
    except (msgspec.DecodeError, ValueError, TypeError, RecursionError) as error:
        raise CorruptedError(f"{name} is damaged: {error}") from None


def _meant(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"b64"}:
            return base64.b64decode(value["b64"], validate=True)
        return {name: _meant(one) for name, one in value.items()}
    return [_meant(one) for one in value] if isinstance(value, list) else value


def ref_of(row: Mapping[str, Any]) -> ObjectRef:
    """Return which object a version is of."""
    return ObjectRef(row["tenant"], row["bucket"], row["key"])


def segments_of(row: Mapping[str, Any]) -> list[Segment]:
    """Return the segments of a version in their order; none of a delete marker."""
    if row["delete_marker"]:
        return []
    each = row["segments"] or [row]
    return [
        Segment(
            one["id"],
            one["size"],
            digests_of(one["sha256"], one["md5"], one["crc64nvme"]),
            one["chunk_size"],
            one["chunk_crcs"],
        )
        for one in each
    ]


async def rows_in(
    opener: Opener, pieces: Sequence[Piece], tables: Iterable[str], *, after: str = ""
) -> AsyncGenerator[tuple[str, Row], None]:
    """Yield rows of `tables`, with the names of these; of versions only those behind the id `after`.

    Raises:
        NotFoundError, CorruptedError: a file is missing or damaged; it is named.
    """
    wanted = set(tables)
    for piece in pieces:
        if wanted == {VERSIONS} and piece.last and piece.last <= after:
            continue
        async with opener.open(piece) as found:
            async for header, payload in found:
                name = header.get("table")
                if name == VERSIONS and name not in wanted:
                    return  # they come last
                if name not in wanted:
                    continue
                for row in decode(payload, opener.told(piece), str(name)):
                    if name != VERSIONS or row["id"] > after:
                        yield name, row


@dataclass(frozen=True, slots=True)
class Stretch:
    """A line of the index: `length` bytes of a segment from `offset` are in a file of a set."""

    version: str
    position: int
    offset: int
    length: int
    set_id: str
    piece: str

    @property
    def line(self) -> str:
        """The line."""
        return f"{self.version} {self.position} {self.offset} {self.length} {self.set_id} {self.piece}\n"


def stretches(payload: bytes, name: str, own: str) -> list[Stretch]:
    """Return the lines of an index; `own` is the id of its set."""
    try:
        found = []
        for line in payload.decode().splitlines():
            version, position, offset, length, set_id, piece = line.split(" ")
            where = own if set_id == OWN else set_id
            place = int(position), int(offset), int(length)
            if min(place) < 0:
                raise ValueError("a line of the index has a number below 0")
            found.append(Stretch(version, *place, where, piece))
        return found
    except ValueError as error:
        raise CorruptedError(f"{name} is damaged: {error}") from None


class Index:
    """The index of a set, read from its beginning to its end: ask for versions in the order of their ids."""

    def __init__(self, opener: Opener, set_id: str, pieces: Sequence[Piece]) -> None:
        self._opener, self._set_id = replace(opener, sealed=False), set_id
        self._pieces = list(pieces)
        self._lines: list[Stretch] = []
        self._place = 0

    async def of(self, version_id: str) -> list[Stretch]:
        """Return where the contents of a version lie, in their order."""
        found: list[Stretch] = []
        while True:
            while self._place < len(self._lines):
                line = self._lines[self._place]
                if line.version > version_id:
                    return found
                self._place += 1
                if line.version == version_id:
                    found.append(line)
            if not await self._more(version_id):
                return found

    async def _more(self, version_id: str) -> bool:
        while self._pieces and self._pieces[0].last < version_id:
            self._pieces.pop(0)
        if not self._pieces:
            return False
        piece = self._pieces.pop(0)
        self._lines, self._place = [], 0
        async with self._opener.open(piece) as found:
            async for header, payload in found:
                if header.get("index"):
                    self._lines += stretches(payload, self._opener.told(piece), self._set_id)
        return True


def covers(found: Sequence[Stretch], segments: Sequence[Segment]) -> bool:
    """Tell whether these stretches hold all of the segments."""
    held = [0] * len(segments)
    for one in found:
        if one.piece == NOWHERE or one.position >= len(held) or one.offset != held[one.position]:
            return False
        held[one.position] += one.length
    return held == [segment.size for segment in segments]
