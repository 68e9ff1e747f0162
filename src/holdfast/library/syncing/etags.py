"""What an ETag of S3 proves: the MD5 of the bytes, or of the MD5s of parts whose size has to be found out."""

from __future__ import annotations

import hashlib
import re
from typing import Final

_MD5: Final = re.compile(r"([0-9a-f]{32})(?:-(\d{1,5}))?")
MIB: Final = 1 << 20
#: Sizes of parts that programs use, the likeliest first.
_USUAL: Final = (8, 5, 16, 50, 64, 10, 15, 25, 32, 100, 128, 256, 512, 1024)


def is_md5(etag: str) -> bool:
    """Return whether an ETag looks like an MD5, or one of parts."""
    return _MD5.fullmatch(etag) is not None


def part_size(etag: str, size: int) -> int | None:
    """Return the likeliest size of the parts that made `etag`, None for an ETag of the whole; 0 when it is no guess."""
    found = _MD5.fullmatch(etag)
    if found is None:
        return 0
    if found[2] is None:
        return None
    parts = int(found[2])
    for size_mib in _USUAL:
        if -(-size // (size_mib * MIB)) == parts:
            return size_mib * MIB
    wanted = -(-size // parts) if parts else 0
    return -(-wanted // MIB) * MIB


class EtagHash:
    """Digests bytes as the ETag `etag` of `size` bytes was made, if the size of its parts is guessed right."""

    def __init__(self, etag: str, size: int) -> None:
        self._etag, self._part = etag, part_size(etag, size)
        self._whole = self._part is None
        self._left = self._part or 0
        self._current = _md5()
        self._parts: list[bytes] = []

    def update(self, data: bytes | memoryview) -> None:
        """Take the next bytes."""
        view = memoryview(data)
        if self._whole:
            self._current.update(view)
            return
        while view and self._part:
            taken = view[: self._left]
            self._current.update(taken)
            self._left -= len(taken)
            view = view[len(taken) :]
            if not self._left:
                self._end_part()

    def matches(self) -> bool | None:
        """Return whether the bytes made the ETag; None when that cannot be told, for parts of another size."""
        if self._whole:
            return self._current.hexdigest() == self._etag
        if not self._part:
            return None
        if self._left < self._part or not self._parts:
            self._end_part()
        found = hashlib.md5(b"".join(self._parts), usedforsecurity=False).hexdigest()
        return True if f"{found}-{len(self._parts)}" == self._etag else None

    def _end_part(self) -> None:
        self._parts.append(self._current.digest())
        self._current, self._left = _md5(), self._part or 0


def _md5() -> hashlib._Hash:
    return hashlib.md5(usedforsecurity=False)
