"""Files of a backup before they are compressed and sealed: a mark, frames, an end.

A frame is the length of its header (4 bytes, big-endian), the header (JSON), and as many bytes as its `n` says, whose
SHA-256 is in the header. The last frame has the header `{"end": frames}` and no bytes, so that one that was cut off
is noticed.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, Final, Protocol, cast

import zstandard

from holdfast.core.errors import CorruptedError

MARK: Final = b"holdfast backup 1\n"
PAYLOAD: Final = 4 << 20  #: bytes of a frame, at most, as we write them
_MOST: Final = 64 << 20  #: bytes of a frame that are believed
_HEADER: Final = 64 << 10
_LENGTH: Final = struct.Struct(">I")
_LEVEL: Final = 3
_DAMAGE: Final = (
    *(zstandard.ZstdError, zlib.error, EOFError, ValueError, KeyError, TypeError, struct.error),
    RecursionError,
)


class Packer(Protocol):
    """Compresses a flow."""

    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


class _Plain:
    def compress(self, data: bytes, /) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""


def packer(compression: str) -> Packer:
    """Return what compresses a flow: `zst`, `gz` or `none`. What does not get smaller is stored by each as it is."""
    if compression == "zst":
        return cast("Packer", zstandard.ZstdCompressor(level=_LEVEL).compressobj())
    return cast("Packer", zlib.compressobj(6, wbits=31)) if compression == "gz" else _Plain()


def unpacked(file: BinaryIO, compression: str) -> BinaryIO:
    """Return a file of what is compressed in `file`."""
    if compression == "zst":
        return cast("BinaryIO", zstandard.ZstdDecompressor().stream_reader(file, closefd=False))
    return cast("BinaryIO", gzip.GzipFile(fileobj=file, mode="rb")) if compression == "gz" else file


def frame(header: Mapping[str, Any], payload: bytes) -> bytes:
    """Return one frame; `n` and `sha256` are added to its header."""
    told = json.dumps({**header, "n": len(payload), "sha256": hashlib.sha256(payload).hexdigest()})
    text = told.encode()
    return _LENGTH.pack(len(text)) + text + payload


def end(frames: int) -> bytes:
    """Return the last frame."""
    text = json.dumps({"end": frames}).encode()
    return _LENGTH.pack(len(text)) + text


def frames(file: BinaryIO, name: str) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Yield header and bytes of each frame, proved.

    Raises:
        CorruptedError: the file, which is called `name`, is not what was written.
    """
    try:
        if file.read(len(MARK)) != MARK:
            raise ValueError("it does not begin as one")
        seen = 0
        while True:
            (length,) = _LENGTH.unpack(_exactly(file, _LENGTH.size))
            if length > _HEADER:
                raise ValueError("a header is too long")
            header = json.loads(_exactly(file, length))
            if "end" in header:
                if header["end"] != seen:
                    raise ValueError(f"{header['end']} frames were written, {seen} are there")
                return
            if not 0 <= header["n"] <= _MOST:
                raise ValueError("a frame is too long")
            payload = _exactly(file, header["n"])
            if hashlib.sha256(payload).hexdigest() != header["sha256"]:
                raise ValueError("the bytes of a frame are not those that were written")
            seen += 1
            yield header, payload
    except _DAMAGE as error:
        raise CorruptedError(f"{name} is damaged: {error}") from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise CorruptedError(f"{name} is damaged: {error}") from None


def _exactly(file: BinaryIO, size: int) -> bytes:
    parts, left = [], size
    while left:
        part = file.read(left)
        if not part:
            raise ValueError("it ends too early")
        parts.append(part)
        left -= len(part)
    return b"".join(parts) if len(parts) != 1 else parts[0]
