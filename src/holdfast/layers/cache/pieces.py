"""One piece of a blob as a file: what the blob is, checksums of the piece's blocks, and its bytes.

Layout: magic, length of the head, CRC-32 of the head; the head as JSON; the bytes. A read of a few bytes reads and
proves only the blocks that they lie in.
"""

from __future__ import annotations

import json
import os
import struct
from dataclasses import dataclass
from typing import Final
from zlib import crc32

from holdfast.core.types import BlobInfo

PIECE: Final = 1 << 20  #: bytes of a piece; only the last one of a blob has fewer
BLOCK: Final = 64 << 10  #: bytes that one checksum covers
_MAGIC: Final = b"HfC1"
_START: Final = struct.Struct(">4sII")
_GUESS: Final = 4096  #: bytes that hold almost every head
_MOST: Final = 64 << 10


class Damaged(Exception):
    """The file is not what was written."""


@dataclass(frozen=True, slots=True)
class Found:
    """Some bytes of a piece, proved, and the blob that they belong to."""

    info: BlobInfo
    data: bytes


def pack(store: str, info: BlobInfo, index: int, data: bytes) -> bytes:
    """Return the file of the piece `index`."""
    head = json.dumps(
        {
            "store": store,
            "name": info.name,
            "size": info.size,
            "modified": info.modified,
            "etag": info.etag,
            "metadata": dict(info.metadata),
            "piece": index,
            "length": len(data),
            "crcs": [crc32(data[at : at + BLOCK]) for at in range(0, len(data), BLOCK)],
        },
        separators=(",", ":"),
    ).encode()
    return b"".join((_START.pack(_MAGIC, len(head), crc32(head)), head, data))


def unpack(fd: int, store: str, name: str, index: int, start: int, end: int | None) -> Found:
    """Return the bytes `start` to `end` (None: all) of the piece, cut where the piece ends.

    Raises:
        Damaged: a checksum does not hold, or the file is of another piece.
    """
    first = os.pread(fd, _GUESS, 0)
    if len(first) < _START.size:
        raise Damaged
    magic, length, crc = _START.unpack_from(first)
    if magic != _MAGIC or length > _MOST:
        raise Damaged
    offset = _START.size + length
    head = first[_START.size : offset]
    if len(head) < length:
        head += os.pread(fd, length - len(head), _START.size + len(head))
    if len(head) != length or crc32(head) != crc:
        raise Damaged
    said = json.loads(head)
    if (said["store"], said["name"], said["piece"]) != (store, name, index):
        raise Damaged
    info = BlobInfo(name, said["size"], said["modified"], said["etag"], said["metadata"])
    whole = said["length"]
    if whole != max(0, min(PIECE, info.size - index * PIECE)):
        raise Damaged
    return Found(info, _blocks(fd, offset, whole, said["crcs"], start, whole if end is None else end))


def _blocks(fd: int, offset: int, length: int, crcs: list[int], start: int, end: int) -> bytes:
    end = min(end, length)
    if start >= end:
        return b""
    first, last = start // BLOCK, (end - 1) // BLOCK
    data = os.pread(fd, min((last + 1) * BLOCK, length) - first * BLOCK, offset + first * BLOCK)
    for number in range(first, last + 1):
        at = (number - first) * BLOCK
        block = data[at : at + BLOCK]
        if len(block) != min(BLOCK, length - number * BLOCK) or crc32(block) != crcs[number]:
            raise Damaged
    return data[start - first * BLOCK : end - first * BLOCK]
