"""The digests of every version: SHA-256 always, CRC-64/NVME always (it is nearly free), MD5 where its ETag needs it.

Others (`EXTRAS`) are computed only of a body whose sender announced them, to compare, and are not kept.

While a body flows, the CRC of each chunk is kept too, so that a part of a blob can be proved without reading all of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from awscrt.checksums import combine_crc64nvme, crc32, crc32c, crc64nvme

from holdfast.core.body import Hasher, Meter
from holdfast.core.errors import CorruptedError, InvalidRequestError
from holdfast.core.types import Digests, Segment

CHUNK_SIZE: Final = 64 << 10
MAX_CHUNKS: Final = 4096  #: so a version's list stays below 32 KiB; past it chunks double in size
_SLICE: Final = 4096  #: bytes for which the library keeps the interpreter's lock


class ChunkedCrc64:
    """CRC-64/NVME of a flow, and of each chunk of it."""

    def __init__(self, chunk_size: int = CHUNK_SIZE, max_chunks: int = MAX_CHUNKS) -> None:
        self.chunk_size = chunk_size
        self._max_chunks = max_chunks
        self._crcs: list[int] = []
        self._current = 0
        self._filled = 0

    def update(self, data: bytes, /) -> None:
        """Take the next bytes."""
        if self._filled + len(data) <= self.chunk_size:
            self._take(data, len(data))
            return
        view = memoryview(data)
        while len(view):
            step = min(self.chunk_size - self._filled, len(view))
            self._take(view[:step], step)
            view = view[step:]

    def digest(self) -> bytes:
        """Return the CRC of everything, 8 bytes big-endian."""
        total = 0
        for crc in self._crcs:
            total = combine_crc64nvme(total, crc, self.chunk_size)
        return int(combine_crc64nvme(total, self._current, self._filled)).to_bytes(8, "big")

    def chunks(self) -> tuple[int, bytes]:
        """Return the chunk size and the CRC of each chunk, 8 bytes big-endian each; `(0, b"")` for a single chunk."""
        crcs = [*self._crcs, self._current] if self._filled else self._crcs
        if len(crcs) <= 1:
            return 0, b""
        return self.chunk_size, b"".join(crc.to_bytes(8, "big") for crc in crcs)

    def _take(self, data: bytes | memoryview, size: int) -> None:
        self._current = _crc64(data, self._current)
        self._filled += size
        if self._filled == self.chunk_size:
            self._crcs.append(self._current)
            self._current, self._filled = 0, 0
            if len(self._crcs) == self._max_chunks:
                self._double()

    def _double(self) -> None:
        pairs = zip(self._crcs[::2], self._crcs[1::2], strict=True)
        self._crcs = [combine_crc64nvme(first, second, self.chunk_size) for first, second in pairs]
        self.chunk_size *= 2


def _crc64(data: bytes | memoryview, crc: int) -> int:
    """Return `crc` with `data` behind it. In slices: a thread that gave the lock away waits a hundred times as long for it."""
    view = memoryview(data)
    for start in range(0, len(data), _SLICE):
        crc = crc64nvme(view[start : start + _SLICE], crc)
    return crc


class Proof:
    """Compares a flow of a segment's bytes with its chunk checksums; the flow begins at a chunk's start.

    `done` is the offset in the segment up to which everything is proved.
    """

    def __init__(self, segment: Segment, offset: int) -> None:
        self._step = segment.chunk_size or max(segment.size, 1)
        self._crcs = segment.chunk_crcs if segment.chunk_size else segment.digests.crc64nvme or b""
        self._size = segment.size
        self._at = self.done = offset
        self._crc = 0

    def update(self, data: bytes) -> None:
        """Take the next bytes.

        Raises:
            CorruptedError: a chunk that they complete is not what was written, or there are too many.
        """
        view = memoryview(data)
        while len(view):
            edge = min(self.done + self._step, self._size)
            if edge <= self._at:
                raise CorruptedError("the copy is longer than what was written", operation="get")
            part = view[: edge - self._at]
            self._crc = _crc64(part, self._crc)
            self._at += len(part)
            view = view[len(part) :]
            if self._at == edge:
                self._close()

    def _close(self) -> None:
        index = self.done // self._step * 8
        if self._crc.to_bytes(8, "big") != self._crcs[index : index + 8]:
            raise CorruptedError(f"bytes {self.done} to {self._at} of the copy are damaged", operation="get")
        self.done, self._crc = self._at, 0


class BoundedMd5:
    """MD5 that gives up past `limit` bytes, because from there on it would be the slowest step of a put."""

    def __init__(self, limit: int) -> None:
        self._left = limit
        self._md5: Hasher | None = hashlib.md5(usedforsecurity=False)

    def update(self, data: bytes, /) -> None:
        """Take the next bytes."""
        self._left -= len(data)
        if self._left < 0:
            self._md5 = None
        if self._md5 is not None:
            self._md5.update(data)

    def digest(self) -> bytes:
        """Return the MD5, or nothing when it was given up."""
        return b"" if self._md5 is None else self._md5.digest()


def _sha256() -> Hasher:
    return hashlib.sha256()


def _md5() -> Hasher:
    return hashlib.md5(usedforsecurity=False)


def _sha1() -> Hasher:
    return hashlib.sha1(usedforsecurity=False)


def _sha512() -> Hasher:
    return hashlib.sha512()


class Crc:
    """A 32-bit CRC of a flow; its digest has 4 bytes, big-endian."""

    def __init__(self, function: Callable[[bytes, int], int]) -> None:
        self._function = function
        self._crc = 0

    def update(self, data: bytes, /) -> None:
        """Take the next bytes."""
        self._crc = self._function(data, self._crc)

    def digest(self) -> bytes:
        """Return the CRC of everything so far."""
        return self._crc.to_bytes(4, "big")


#: What a sender may announce beside the digests that are kept.
EXTRAS: Final[dict[str, Callable[[], Hasher]]] = {
    "crc32": lambda: Crc(crc32),
    "crc32c": lambda: Crc(crc32c),
    "sha1": _sha1,
    "sha512": _sha512,
}
#: How many bytes a digest of each algorithm has.
SIZES: Final = {"sha256": 32, "md5": 16, "crc64nvme": 8, "crc32": 4, "crc32c": 4, "sha1": 20, "sha512": 64}


def announce(found: Mapping[str, bytes]) -> Digests:
    """Return digests, named as in `SIZES`, as a sender announces them."""
    extras = tuple((name, value) for name, value in found.items() if name in EXTRAS)
    return Digests(found.get("sha256"), found.get("md5"), found.get("crc64nvme"), extras)


def factories(size: int | None, announced: Digests, *, md5_limit: int) -> dict[str, Callable[[], Hasher]]:
    """Return the hashers for a body of `size` bytes (None: unknown), MD5 among them where it is wanted.

    MD5 is taken of bodies up to `md5_limit` bytes, and of any body whose sender announced one.
    """
    made: dict[str, Callable[[], Hasher]] = {"sha256": _sha256, "crc64nvme": ChunkedCrc64}
    if announced.md5 is not None:
        made["md5"] = _md5
    elif size is None:
        made["md5"] = lambda: BoundedMd5(md5_limit)
    elif size <= md5_limit:
        made["md5"] = _md5
    for name, _ in announced.extras:
        if name not in EXTRAS:
            raise InvalidRequestError(
                f"{name[:40]!r} is not a digest that is compared here; {', '.join(SIZES)} are"
            )
        made[name] = EXTRAS[name]
    return made


def proving(digests: Digests) -> dict[str, Callable[[], Hasher]]:
    """Return what is enough to tell whether bytes have `digests`: the strongest of them that is known."""
    return {"crc64nvme": ChunkedCrc64} if digests.sha256 is None else {"sha256": _sha256}


def settled(meter: Meter) -> Digests:
    """Return the digests of a finished pass, an MD5 that was given up as None."""
    found = meter.digests
    return Digests(sha256=found.sha256, md5=found.md5 or None, crc64nvme=found.crc64nvme)


def chunk_list(meter: Meter) -> tuple[int, bytes]:
    """Return the chunk size and chunk CRCs of a finished pass."""
    hasher = meter.hasher("crc64nvme")
    return hasher.chunks() if isinstance(hasher, ChunkedCrc64) else (0, b"")


def etag_of(digests: Digests) -> str:
    """Return the ETag of bytes written in one piece.

    It is the MD5 in hex where that was taken. Else it is half of the SHA-256 with `-1` behind it: S3 clients know
    that an ETag with a dash is not an MD5, and leave it alone.
    """
    if digests.md5:
        return digests.md5.hex()
    return f"{(digests.sha256 or b'').hex()[:32]}-1"


def joined(parts: list[tuple[Digests, int, str]]) -> tuple[Digests, str]:
    """Return digests and ETag of a version made of `parts`: (digests, size, etag) in order.

    SHA-256 is of the parts' SHA-256s (S3's COMPOSITE), CRC-64/NVME is of all bytes. The ETag is S3's: the MD5 of the
    parts' MD5s, a dash, and how many. With one part, its own digests are those of all bytes.
    """
    crc = 0
    for digests, size, _ in parts:
        crc = combine_crc64nvme(crc, int.from_bytes(digests.crc64nvme or b"", "big"), size)
    joint = joint_etag([etag for _, _, etag in parts])
    assert joint is not None, "parts have ETags of this module"
    sha256 = parts[0][0].sha256
    if len(parts) > 1:
        sha256 = hashlib.sha256(b"".join(digests.sha256 or b"" for digests, _, _ in parts)).digest()
    return Digests(sha256=sha256, crc64nvme=int(crc).to_bytes(8, "big")), joint


def joint_etag(etags: Sequence[str]) -> str | None:
    """Return the ETag of what parts with these ETags make; None when one of them is no ETag of a part."""
    try:
        joint = b"".join(bytes.fromhex(etag.partition("-")[0]) for etag in etags)
    except ValueError:
        return None
    return f"{hashlib.md5(joint, usedforsecurity=False).hexdigest()}-{len(etags)}"
