"""`bucket/key`: how objects are named on the command line. Local files are plain paths; the verb says which is which."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from holdfast.core.errors import InvalidRequestError

_STORES: Final = ("store:", "s3://")  #: beginnings of places without a catalog


class Address(NamedTuple):
    """A bucket, and a key or folder in it; `key` is empty for the bucket itself."""

    bucket: str
    key: str = ""

    def __str__(self) -> str:
        return f"{self.bucket}/{self.key}"

    @property
    def folder(self) -> str:
        """The prefix of what lies inside: the key with exactly one slash behind it, or "" for the whole bucket."""
        return self.key if not self.key or self.key.endswith("/") else self.key + "/"

    @property
    def name(self) -> str:
        """The last segment of the key."""
        return PurePosixPath(self.key).name if self.key.strip("/") else ""

    @property
    def is_folder(self) -> bool:
        """Whether it is written as a place to put things into: a bucket, or with a slash at its end."""
        return not self.key or self.key.endswith("/")

    def under(self, name: str) -> Address:
        """Return the address of `name` inside this folder."""
        return self._replace(key=self.folder + name)


def parse(text: str) -> Address:
    """Return the address that `text` means; everything after the first slash is the key, unchanged.

    Raises:
        InvalidRequestError: there is no bucket in front.
    """
    if text.startswith(_STORES):
        raise InvalidRequestError(f"{text!r}: only push and pull reach into a store; others take bucket/key")
    bucket, _, key = text.partition("/")
    if not bucket:
        raise InvalidRequestError(f"{text!r} names no bucket; write bucket/key")
    return Address(bucket, key)


def parse_object(text: str) -> Address:
    """Return the address of one object.

    Raises:
        InvalidRequestError: only a bucket is named.
    """
    address = parse(text)
    if not address.key:
        raise InvalidRequestError(f"{text!r} names a bucket, not an object; write {address.bucket}/key")
    return address


def local_path(root: Path, relative: str) -> Path:
    """Return where under `root` an object called `relative` is written.

    Raises:
        InvalidRequestError: it cannot be a path below `root`: an absolute name, an empty, `.` or `..` segment, a
            segment of more than 255 bytes. Such an object can still be fetched by itself, to a file that is named.
    """
    parts = relative.split("/")
    for part in parts:
        if part in ("", ".", "..") or len(part.encode(errors="surrogateescape")) > 255 or "\0" in part:
            raise InvalidRequestError(
                f"{relative!r} cannot be a path below {root}; get it by itself: holdfast get KEY FILE"
            )
    return root.joinpath(*parts)
