"""The other side of a sync: where the objects are. Two kinds have one shape."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from holdfast.core.blob_info import Seen
from holdfast.core.errors import InvalidRequestError
from holdfast.core.names import check_key
from holdfast.policy.syncing import Item, mtime_of, mtime_text

if TYPE_CHECKING:
    from holdfast.core.body import Body

BATCH: Final = 500  #: items of a listing that are handed on together
MTIME: Final = "mtime"  #: the metadata that holds the time of a file, as rclone calls and writes it
MODE: Final = "mode"  #: the metadata that holds its permissions, octal
BEHIND: Final = "\U0010ffff"


class Incoming(NamedTuple):
    """An object on its way to us: what it is, from `offset` on, and what proves that it came whole."""

    item: Item
    mode: int | None
    chunks: AsyncIterator[bytes]
    sha256: bytes | None = None
    etag: str = ""  #: an MD5 or one of parts, where the store has such


class Place(Protocol):
    """Part of a bucket. Keys are relative to it."""

    @property
    def prefix(self) -> str:
        """The folder of the bucket that it is: "", or with a slash at its end."""
        ...

    @property
    def identity(self) -> str:
        """What tells it from every other place; no secret is in it."""
        ...

    @property
    def lists_times(self) -> bool:
        """Whether listings tell the times of files; else what is equal must be remembered, or asked for."""
        ...

    @property
    def wants_sha256(self) -> bool:
        """Whether it compares what arrives with a SHA-256 that is given."""
        ...

    def list(self, seen: Seen | None = None) -> AsyncIterator[list[Item]]:
        """Yield batches of all objects, in byte order, but those in the trash.

        `seen` is what an earlier run saw, and may make the listing quicker.
        """
        ...

    async def put(self, item: Item, body: Body, *, sha256: bytes | None) -> str:
        """Store a file and return the stamp of the object; what arrives is compared with what was sent."""
        ...

    async def timed(self, item: Item) -> Item:
        """Return an object with its time, asked for; without one when nobody noted it."""
        ...

    def get(self, item: Item, offset: int = 0) -> AbstractAsyncContextManager[Incoming]:
        """Open an object for reading from `offset` on; `CorruptedError` when it is another than the one listed."""
        ...

    def digest_of(self, item: Item) -> tuple[str, str]:
        """Return (algorithm, digest) of an object as far as the listing tells; ("", "") when it does not."""
        ...

    def guard(self, item: Item) -> str:
        """Return what `remove` wants as the stamp of an object, to remove this content and no other; "" for any."""
        ...

    def remove(self, items: Sequence[Item], trash: str) -> AsyncIterator[tuple[Item, Exception | None]]:
        """Remove objects, each first copied below `trash` unless that is ""; yield how it went with each."""
        ...

    async def close(self) -> None:
        """Let go of what was opened."""
        ...


def folder(prefix: str) -> str:
    """Return a prefix as a folder: "", or with one slash at its end and none at its beginning.

    Raises:
        InvalidRequestError: it can be no folder.
    """
    wanted = prefix.strip("/")
    if not wanted:
        return ""
    if not all(check_key(wanted).split("/")):
        raise InvalidRequestError(f"{prefix[:80]!r} is no folder: two slashes follow each other")
    return f"{wanted}/"


def metadata_of(item: Item, mode: int) -> dict[str, str]:
    """Return what an object says of the file that it was."""
    assert item.mtime is not None
    return {MTIME: mtime_text(item.mtime), MODE: f"{mode & 0o777:o}"}


def noted(metadata: Mapping[str, str]) -> tuple[int | None, int | None]:
    """Return time and permissions of a file as metadata tell them."""
    mode = metadata.get(MODE, "")
    return mtime_of(metadata.get(MTIME)), int(mode, 8) & 0o777 if _is_octal(mode) else None


def _is_octal(text: str) -> bool:
    return 0 < len(text) <= 7 and set(text) <= set("01234567")
