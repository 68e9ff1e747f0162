"""What can be made of blobs that say what they are: versions with their pieces in order, or why not. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.core.types import More, Origin

_NOTHING = More()


@dataclass(frozen=True, slots=True)
class Piece:
    """A blob, and what it says it is."""

    store: str
    blob: str
    size: int
    modified: int
    origin: Origin


@dataclass(frozen=True, slots=True)
class Stretch:
    """One segment, and the blobs that hold it."""

    segment: str
    size: int
    sha256: str
    crc64nvme: str
    copies: Sequence[Piece]


@dataclass(frozen=True, slots=True)
class Assembly:
    """A version as its blobs tell it. `refused` says why it cannot be made; `unsure` that it may not be all."""

    stretches: Sequence[Stretch] = ()
    more: More = _NOTHING
    created: int = 0
    parts: int = 0
    refused: str = ""
    unsure: bool = False


def assemble(pieces: Sequence[Piece]) -> Assembly:
    """Return what these blobs, all of one version, make.

    A version in parts is sure to be whole only when one of its pieces says how many there are. Of two pieces for the same
    place the one that was sent last counts; of copies of a piece that differ in size, those that the most agree on.
    """
    more = _most(pieces)
    created = max(piece.origin.created for piece in pieces)
    whole = [piece for piece in pieces if piece.origin.part is None]
    if whole:
        return Assembly([_stretch(_latest(whole))], more, created)
    by_part: dict[int, list[Piece]] = {}
    for piece in pieces:
        by_part.setdefault(piece.origin.part or 0, []).append(piece)
    chosen = {number: _latest(found) for number, found in sorted(by_part.items())}
    stretches = [_stretch(found) for found in chosen.values()]
    count = more.count
    if count is not None and count != len(stretches):
        told = f"it has {count} parts, and {len(stretches)} were found"
        return Assembly(stretches, more, created, len(stretches), told)
    if count is None and list(chosen) != list(range(1, len(chosen) + 1)):
        numbers = ", ".join(str(number) for number in list(chosen)[:20])
        return Assembly(stretches, more, created, len(stretches), f"only the parts {numbers} were found")
    return Assembly(stretches, more, created, len(stretches), unsure=count is None)


def _latest(pieces: Sequence[Piece]) -> Sequence[Piece]:
    """Return the copies of one segment: of that which was sent last."""
    last = max(pieces, key=lambda piece: (piece.origin.created, piece.origin.segment))
    return [piece for piece in pieces if piece.origin.segment == last.origin.segment]


def _stretch(pieces: Sequence[Piece]) -> Stretch:
    sizes = [piece.size for piece in pieces]
    size = max(sizes, key=lambda one: (sizes.count(one), one))
    copies = [piece for piece in pieces if piece.size == size]
    sha256 = next((piece.origin.sha256 for piece in copies if piece.origin.sha256), "")
    crc = next((more.crc64nvme for piece in copies if (more := piece.origin.more) and more.crc64nvme), "")
    return Stretch(copies[0].origin.segment, size, sha256, crc, copies)


def _most(pieces: Sequence[Piece]) -> More:
    """Return what the blob that knew most says: one that knew the count, then one that was told last."""
    known = [piece for piece in pieces if piece.origin.more is not None]
    if not known:
        return _NOTHING

    def worth(piece: Piece) -> tuple[bool, bool, bool, int]:
        more = piece.origin.more or _NOTHING
        return (more.count is not None, bool(more.etag), not more.cut, piece.origin.created)

    return max(known, key=worth).origin.more or _NOTHING
