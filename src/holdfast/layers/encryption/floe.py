"""FLOE-256: a stream in segments, each sealed by AES-256-GCM and bound to its place, so that parts can be read alone.

Written from the published specification (C2SP FLOE; Fábrega, Len, Ristenpart, Rubin, "Random-Access AEAD for Fast
Lightweight Online Encryption", 2025): AEAD AES-GCM-256, KDF HKDF-Expand-SHA-384, a random number of 32 bytes, segments of
`SEGMENT` bytes with `OVERHEAD` bytes each that are not content. The header commits to the key: it fits one key only.
No I/O, no clock, no randomness of its own.

    header    parameters 10 | number 32 | tag 32
    segment   length 4 (ff ff ff ff but in the last) | nonce 12 | content | tag 16
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SEGMENT: Final = 64 << 10  #: bytes of a sealed segment
NUMBER: Final = 32  #: bytes of the random number in a header
HEADER: Final = 10 + NUMBER + 32
NONCE: Final = 12
OVERHEAD: Final = 4 + NONCE + 16
ROTATION: Final = 20  #: 2 ** this segments are sealed with one derived key
MOST: Final = 1 << 40  #: segments
_INNER: Final = b"\xff\xff\xff\xff"


class FloeError(ValueError):
    """The bytes are not what was sealed, or were sealed with another key."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How long things are. The standard shape is `SHAPE`; others are for known answers."""

    segment: int = SEGMENT
    rotation: int = ROTATION

    @property
    def content(self) -> int:
        """Bytes of content in a full segment."""
        return self.segment - OVERHEAD

    @property
    def parameters(self) -> bytes:
        """The beginning of the header: AES-GCM-256, HKDF-Expand-SHA-384, and two lengths."""
        return b"\0\0" + self.segment.to_bytes(4, "big") + NUMBER.to_bytes(4, "big")

    def last(self, size: int) -> int:
        """Return the place of the last segment of a sealed body of `size` bytes."""
        return max(0, (size - 1) // self.segment)

    def sealed(self, size: int) -> int:
        """Return how many bytes a body has that seals `size` bytes."""
        return size + OVERHEAD * max(1, -(-size // self.content))

    def opened(self, size: int) -> int:
        """Return how many bytes a sealed body of `size` bytes holds.

        Raises:
            FloeError: no body has that many bytes.
        """
        count = self.last(size) + 1
        rest = size - (count - 1) * self.segment
        if rest < OVERHEAD or count > MOST or (rest == OVERHEAD and count > 1):
            raise FloeError(f"no sealed body has {size} bytes: it was cut, or something was added")
        return size - count * OVERHEAD


SHAPE: Final = Shape()


class Floe:
    """One stream: seals and opens its segments, in any order. `key` has 32 bytes, `number` is random and used once."""

    __slots__ = ("_aad", "_cipher", "_message_key", "_number", "_turn", "header", "shape")

    def __init__(self, key: bytes, number: bytes, aad: bytes, shape: Shape = SHAPE) -> None:
        if len(key) != 32 or len(number) != NUMBER:
            raise ValueError("a FLOE key has 32 bytes, and so has its number")
        self.shape = shape
        self._number, self._aad = number, aad
        self._message_key = self._derive(key, b"MESSAGE_KEY:", 48)
        self._turn = -1
        #: What stands before the segments: it tells the key without showing it.
        self.header = shape.parameters + number + self._derive(key, b"HEADER_TAG:", 32)

    @classmethod
    def of_header(cls, key: bytes, header: bytes, aad: bytes, shape: Shape = SHAPE) -> Floe:
        """Return the stream that begins with `header`; `FloeError` when it was not made with this key and `aad`."""
        number = header[10 : 10 + NUMBER]
        if len(header) != HEADER or header[:10] != shape.parameters:
            raise FloeError("the header is none of this format")
        found = cls(key, number, aad, shape)
        if not hmac.compare_digest(found.header, header):
            raise FloeError("the header belongs to another key or another blob, or was altered")
        return found

    def seal(
        self, place: int, content: bytes | memoryview, nonce: bytes, *, last: bool
    ) -> tuple[bytes, bytes]:
        """Return a segment in two pieces: what stands before the sealed content, and that with its tag."""
        size = len(content)
        if size > self.shape.content or (size < self.shape.content and not last) or place >= MOST:
            raise ValueError("a segment is full, but for the last one")
        length = (size + OVERHEAD).to_bytes(4, "big") if last else _INNER
        return length + nonce, self._key(place).encrypt(nonce, content, _bound(place, last))

    def open(self, place: int, segment: bytes | memoryview, *, last: bool) -> bytes:
        """Return the content of the segment in this place; `FloeError` when it is not the one that was sealed there."""
        size = len(segment)
        length = bytes(segment[:4])
        if size < OVERHEAD or size > self.shape.segment or (size < self.shape.segment and not last):
            raise FloeError(f"segment {place} has a wrong length")
        if length != (size.to_bytes(4, "big") if last else _INNER):
            raise FloeError(f"segment {place} is {'not ' if last else ''}the last one that was sealed")
        try:
            return self._key(place).decrypt(bytes(segment[4:16]), segment[16:], _bound(place, last))
        except InvalidTag:
            raise FloeError(f"segment {place} is not what was sealed there") from None

    def _key(self, place: int) -> AESGCM:
        turn = place >> self.shape.rotation << self.shape.rotation
        if turn != self._turn:
            self._cipher = AESGCM(self._derive(self._message_key, b"DEK:" + turn.to_bytes(8, "big"), 32))
            self._turn = turn
        return self._cipher

    def _derive(self, key: bytes, purpose: bytes, size: int) -> bytes:
        """HKDF-Expand with SHA-384, of which one block is enough for all that is needed here."""
        info = self.shape.parameters + self._number + purpose + self._aad
        return hmac.digest(key, info + b"\x01", "sha384")[:size]


@lru_cache(4096)
def _bound(place: int, last: bool) -> bytes:
    return place.to_bytes(8, "big") + (b"\x01" if last else b"\0")


class Sealing:
    """Seals a stream from its beginning to its end. `nonce` gives 12 random bytes each time."""

    __slots__ = ("_floe", "_held", "_nonce", "_place")

    def __init__(self, floe: Floe, nonce: Callable[[], bytes]) -> None:
        self._floe, self._nonce = floe, nonce
        self._held = b""
        self._place = 0

    def update(self, data: bytes) -> bytes:
        """Return the segments that are full and not the last, now that `data` has come."""
        full = self._floe.shape.content
        if len(self._held) + len(data) <= full:
            self._held += data
            return b""
        made: list[bytes] = []
        start = 0
        if self._held:
            start = full - len(self._held)
            made += self._next(self._held + data[:start])
        given = memoryview(data)
        while len(given) - start > full:
            made += self._next(given[start : start + full])
            start += full
        self._held = bytes(given[start:])
        return b"".join(made)

    def _next(self, content: bytes | memoryview) -> tuple[bytes, bytes]:
        sealed = self._floe.seal(self._place, content, self._nonce(), last=False)
        self._place += 1
        return sealed

    def finish(self) -> bytes:
        """Return the last segment."""
        return b"".join(self._floe.seal(self._place, self._held, self._nonce(), last=True))


class Opening:
    """Opens segments one after the other, from `place` on, of a sealed body of `size` bytes."""

    __slots__ = ("_floe", "_held", "_last", "_last_size", "place")

    def __init__(self, floe: Floe, size: int, place: int = 0) -> None:
        self._floe = floe
        self._last = floe.shape.last(size)
        self._last_size = size - self._last * floe.shape.segment
        self._held = b""
        self.place = place

    def update(self, data: bytes) -> bytes:
        """Return the content of the segments that are whole now.

        Raises:
            FloeError: one is not what was sealed in its place, or there is more than the body has.
        """
        made: list[bytes] = []
        start = 0
        given = memoryview(data)
        while self.place <= self._last:
            size = self._last_size if self.place == self._last else self._floe.shape.segment
            if len(self._held) + len(given) - start < size:
                break
            piece: bytes | memoryview
            if self._held:
                start = size - len(self._held)
                piece, self._held = self._held + data[:start], b""
            else:
                piece = given[start : start + size]
                start += size
            made.append(self._floe.open(self.place, piece, last=self.place == self._last))
            self.place += 1
        self._held += bytes(given[start:])
        if self._held and self.place > self._last:
            raise FloeError("something stands behind the last segment")
        return made[0] if len(made) == 1 else b"".join(made)

    @property
    def between(self) -> bool:
        """Whether it is at the end of a segment."""
        return not self._held
