"""What is said of bytes: a part of them, their digests, what a store knows of them, what they were made of.

Apart from `core.types`, which has them too, for what handles bytes alone and is quick to start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from holdfast.core.blob_info import EMPTY, BlobInfo, Seen
from holdfast.core.errors import InvalidRangeError

__all__ = [
    "EMPTY",
    "NO_DIGESTS",
    "BlobInfo",
    "ByteRange",
    "Digests",
    "More",
    "Origin",
    "Seen",
    "Span",
]


@dataclass(frozen=True, slots=True)
class More:
    """What was known of a version when one of its blobs was sent, besides what the blob is; "" or None: not known.

    `crc64nvme` (hexadecimal) is of the blob's bytes, `etag` and `count` (of segments) are the version's. `cut`: more was
    said of the version than the blob can tell.
    """

    content_type: str = ""
    metadata: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    tags: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    storage_class: str = ""
    etag: str = ""
    crc64nvme: str = ""
    count: int | None = None
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Origin:
    """What a blob is, so that it can be told without the catalog: the segment of a version of an object.

    `part` is the number of the part that it was sent as, None for a whole object. `sha256` (hexadecimal) is of this
    blob's bytes, None where it was not known before they were sent.
    """

    tenant: str
    bucket: str
    key: str
    version: str
    segment: str
    part: int | None
    created: int
    sha256: str | None = None
    more: More | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class ByteRange:
    """A wish: `start..end` inclusive as in RFC 9110 §14; `end=None` to the end; `start=None` the last `end` bytes."""

    start: int | None
    end: int | None = None

    def resolve(self, size: int) -> Span:
        """Return the part of `size` bytes that is meant; an end past the end is cut.

        Raises:
            InvalidRangeError: when no byte of the object is in it (so always for an empty object).
        """
        if self.start is None:
            length = min(self.end or 0, size)
            if length <= 0:
                raise InvalidRangeError(f"no last {self.end or 0} bytes in an object of {size} bytes")
            return Span(size - length, length)
        if self.start < 0 or self.start >= size or (self.end is not None and self.end < self.start):
            raise InvalidRangeError(
                f"range {self.start}-{'' if self.end is None else self.end} lies outside {size} bytes"
            )
        last = size - 1 if self.end is None else min(self.end, size - 1)
        return Span(self.start, last - self.start + 1)


@dataclass(frozen=True, slots=True)
class Span:
    """`length` bytes from `offset`."""

    offset: int
    length: int

    @property
    def end(self) -> int:
        """The offset just past the last byte."""
        return self.offset + self.length


@dataclass(frozen=True, slots=True)
class Digests:
    """What is known of some bytes: raw digests, not text. `None` means not computed."""

    sha256: bytes | None = None
    md5: bytes | None = None
    crc64nvme: bytes | None = None  #: 8 bytes, big-endian
    extras: tuple[
        tuple[str, bytes], ...
    ] = ()  #: (algorithm, digest) of what a sender announced and is not kept

    def mismatch(self, other: Digests) -> str | None:
        """Return the name of the first algorithm both know and disagree on, or None."""
        for name in ("sha256", "crc64nvme", "md5"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine is not None and theirs is not None and mine != theirs:
                return name
        if self.extras:
            known = dict(other.extras)
            return next((name for name, value in self.extras if known.get(name, value) != value), None)
        return None


NO_DIGESTS: Final = Digests()
