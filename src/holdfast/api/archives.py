"""Archives made while they are sent: nothing is kept but the chunk at hand and the list of names.

A member that cannot be opened is left out and named in `_errors.json`, the last member. One that breaks off in the
middle breaks the archive off too: half a file must not look like a whole one.
"""

from __future__ import annotations

import asyncio
import io
import re
import tarfile
import unicodedata
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from holdfast.api.file_models import FileOutcome, failed_outcome
from holdfast.core.errors import HoldfastError
from holdfast.core.types import Version
from holdfast.engine.batches import Item, Progress
from holdfast.engine.item_log import Tell
from holdfast.engine.session import Session

ERRORS: Final = "_errors.json"
TYPES: Final = {"zip": b"application/zip", "tar": b"application/x-tar", "tar.gz": b"application/gzip"}
_BLOCK: Final = 512
_UNSEEN: Final = ("Cc", "Cf", "Cs", "Zl", "Zp")  #: categories of characters that are not to be seen
_DEVICE: Final = re.compile(
    r"(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$|clock\$)\s*(?:\..*)?", re.IGNORECASE
)
_THREAD: Final = 64 << 10  #: from this size on a chunk is compressed beside the event loop


class Archive(ABC):
    """Makes the bytes of an archive; each method returns those that can be sent."""

    @abstractmethod
    def begin(self, name: str, size: int, modified: int) -> bytes:
        """Begin a member of `size` bytes, last changed at `modified` microseconds."""

    @abstractmethod
    async def data(self, chunk: bytes) -> bytes:
        """Take data of the member."""

    @abstractmethod
    def end(self) -> bytes:
        """End the member."""

    @abstractmethod
    def finish(self) -> bytes:
        """End the archive."""

    def abandon(self) -> None:
        """Let go of it wherever it stands; after `finish` there is nothing to do."""
        return


class _Sink(io.RawIOBase):
    """A file that can only be written on, and is emptied again and again."""

    def __init__(self) -> None:
        self._held = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object, /) -> int:
        view = memoryview(data)  # type: ignore[arg-type]
        self._held += view
        return view.nbytes

    def taken(self) -> bytes:
        """Return what was written since the last time."""
        held, self._held = bytes(self._held), bytearray()
        return held


class ZipArchive(Archive):
    """Members as they are, not compressed; of any size (zip64 where needed)."""

    def __init__(self) -> None:
        self._sink = _Sink()
        self._zip = zipfile.ZipFile(self._sink, "w", zipfile.ZIP_STORED)
        self._member: Any = None

    def begin(self, name: str, size: int, modified: int) -> bytes:
        """See `Archive`."""
        moment = datetime.fromtimestamp(max(modified // 1_000_000, 315_532_800), UTC)
        info = zipfile.ZipInfo(name, moment.timetuple()[:6])
        info.file_size = size
        info.external_attr = 0o644 << 16
        self._member = self._zip.open(info, "w", force_zip64=size >= 1 << 31)
        return self._sink.taken()

    async def data(self, chunk: bytes) -> bytes:
        """See `Archive`."""
        self._member.write(chunk)
        return self._sink.taken()

    def end(self) -> bytes:
        """See `Archive`."""
        self._member.close()
        return self._sink.taken()

    def finish(self) -> bytes:
        """See `Archive`."""
        self._zip.close()
        return self._sink.taken()

    def abandon(self) -> None:
        """See `Archive`."""
        with suppress(Exception):
            self._member.close()
        self._zip.close()


class TarArchive(Archive):
    """Members one behind the other, with names of any length (pax)."""

    def __init__(self) -> None:
        self._size = 0

    def begin(self, name: str, size: int, modified: int) -> bytes:
        """See `Archive`."""
        info = tarfile.TarInfo(name)
        info.size, info.mtime, info.mode = size, modified // 1_000_000, 0o644
        self._size = size
        return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")

    async def data(self, chunk: bytes) -> bytes:
        """See `Archive`."""
        return chunk

    def end(self) -> bytes:
        """See `Archive`."""
        return b"\0" * (-self._size % _BLOCK)

    def finish(self) -> bytes:
        """See `Archive`."""
        return b"\0" * (2 * _BLOCK)


class GzipArchive(TarArchive):
    """A tar, compressed."""

    def __init__(self) -> None:
        super().__init__()
        self._press = zlib.compressobj(6, zlib.DEFLATED, 31)

    def begin(self, name: str, size: int, modified: int) -> bytes:
        """See `Archive`."""
        return self._press.compress(super().begin(name, size, modified))

    async def data(self, chunk: bytes) -> bytes:
        """See `Archive`."""
        if len(chunk) < _THREAD:
            return self._press.compress(chunk)
        return await asyncio.to_thread(self._press.compress, chunk)

    def end(self) -> bytes:
        """See `Archive`."""
        return self._press.compress(super().end())

    def finish(self) -> bytes:
        """See `Archive`."""
        return self._press.compress(super().finish()) + self._press.flush()


def archive_of(format: str) -> Archive:
    """Return an empty archive of that format."""
    kinds: dict[str, type[ZipArchive] | type[TarArchive]] = {"zip": ZipArchive, "tar": TarArchive}
    return (kinds.get(format) or GzipArchive)()


async def chunks_of(
    archive: Archive, session: Session, items: Sequence[Item], progress: Progress, tell: Tell
) -> AsyncGenerator[bytes]:
    """Yield the archive of `items`; `tell` is told of each.

    Raises:
        HoldfastError: none of them can be read (before anything was yielded), or one broke off.
    """
    try:
        async with aclosing(_members(archive, session, items, progress, tell)) as chunks:
            async for chunk in chunks:
                yield chunk
    finally:
        archive.abandon()


async def _members(
    archive: Archive, session: Session, items: Sequence[Item], progress: Progress, tell: Tell
) -> AsyncGenerator[bytes]:
    errors: list[tuple[FileOutcome, HoldfastError]] = []
    sent = 0
    for item, name in zip(items, names_of(items), strict=True):
        try:
            opening = session.get(item.bucket, item.key, version_id=item.version_id)
            reader = await opening.__aenter__()
        except HoldfastError as error:
            outcome = failed_outcome(item.bucket, item.key, error, file_id=item.version_id or "")
            errors.append((outcome, error))
            progress.failed(item.bucket, item.key, error, item.version_id or "")
            tell(item, 0, error)
            continue
        try:
            async for chunk in _member(archive, name, reader.version, aiter(reader)):
                yield chunk
        finally:
            await opening.__aexit__(None, None, None)
        sent += 1
        progress.went_well(reader.version.size)
        tell(Item(item.bucket, item.key, reader.version.id), reader.version.size, None)
    if errors and not sent:
        raise errors[0][1]
    if errors:
        told = msgspec.json.format(msgspec.json.encode([outcome for outcome, _ in errors]), indent=2)
        yield (
            archive.begin(ERRORS, len(told), progress.batch.created)
            + await archive.data(told)
            + archive.end()
        )
    yield archive.finish()


async def _member(
    archive: Archive, name: str, version: Version, chunks: AsyncIterator[bytes]
) -> AsyncIterator[bytes]:
    first = await anext(chunks, b"")  # had before the member begins: what cannot be read is not half there
    if head := archive.begin(name, version.size, version.created) + await archive.data(first):
        yield head
    async for chunk in chunks:
        if made := await archive.data(chunk):
            yield made
    if tail := archive.end():
        yield tail


def names_of(items: Sequence[Item]) -> list[str]:
    """Return a name for each object that can be unpacked safely anywhere: no way up or out, none twice.

    Objects of several buckets get their bucket in front. A name that is taken, also in other letters of the same, or is
    a folder of another one, gets a number before its ending. What does not show (controls, marks of direction, spaces at
    the ends) and what means something to Windows (device names, some signs, a dot at the end) is replaced.
    """
    several = len({item.bucket for item in items if item.bucket}) > 1
    cleaned = [_clean(f"{item.bucket}/{item.key}" if several else item.key) for item in items]
    folders = {_alike(name[:place]) for name in cleaned for place in _slashes(name)}
    taken = {ERRORS, *folders}
    numbers: dict[str, int] = {}
    names = []
    for name in cleaned:
        chosen, alike = name, _alike(name)
        while _alike(chosen) in taken:
            numbers[alike] = numbers.get(alike, 1) + 1
            chosen = _numbered(name, numbers[alike])
        taken.add(_alike(chosen))
        names.append(chosen)
    return names


def _alike(name: str) -> str:
    """Return what two names share that are one on some machine: where case or composition does not count."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())


def _slashes(name: str) -> list[int]:
    return [place for place, char in enumerate(name) if char == "/"]


def _clean(key: str) -> str:
    pieces = [piece for piece in key.replace("\\", "/").split("/") if piece not in ("", ".", "..")]
    return "/".join(_safe(piece) for piece in pieces) or "file"


def _safe(piece: str) -> str:
    shown = "".join(
        "_" if char in '<>:"|?*' or unicodedata.category(char) in _UNSEEN else char for char in piece
    )
    trimmed = shown.strip().rstrip(". \xa0") or "_"
    return f"_{trimmed}" if _DEVICE.fullmatch(trimmed) else trimmed


def _numbered(name: str, number: int) -> str:
    folder, slash, last = name.rpartition("/")
    stem, dot, ending = last.rpartition(".")
    if not stem:
        stem, dot, ending = last, "", ""
    return f"{folder}{slash}{stem} ({number}){dot}{ending}"
