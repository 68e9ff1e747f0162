"""From blob names to the keys of the bucket and back, in an order that stays the same."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.core.errors import InvalidRequestError
from holdfast.core.names import MAX_BLOB_NAME_BYTES, check_blob_name, check_key

#: Sorts before every character of a blob name, so that listings keep their order.
_END = " "


@dataclass(frozen=True, slots=True)
class Names:
    """Keys are `prefix + name`; with `terminated` a space follows, which keeps blobs and folders apart.

    Servers that keep folders on a disk cannot hold `a` beside `a/b`: one refuses the second, another takes it and
    never lists it. With the space no key is ever the folder of another.
    """

    prefix: str
    terminated: bool = False

    @property
    def max_bytes(self) -> int:
        """The longest name whose key has at most 1,024 bytes."""
        return MAX_BLOB_NAME_BYTES - len(self.prefix) - len(_END) * self.terminated

    def key(self, name: str) -> str:
        """Return the key of `name`; `InvalidRequestError` when no blob can be called that."""
        return f"{self.prefix}{check_blob_name(name)}{_END if self.terminated else ''}"

    def name(self, key: str) -> str:
        """Return the name of `key`, which begins with our prefix; a foreign key is its own name."""
        name = key[len(self.prefix) :]
        return name.removesuffix(_END) if self.terminated else name

    def possible(self, prefix: str) -> bool:
        """Return whether a key may begin with `prefix`; servers refuse to list what is no path to them."""
        folders = prefix.split("/")
        return not any(folder in (".", "..") for folder in folders[:-1]) and folders[-1] != ".."


class OwnKeys(Names):
    """Names are the keys behind the prefix themselves, as others wrote them and will read them."""

    __slots__ = ()

    def key(self, name: str) -> str:
        """Return the key of `name`.

        Raises:
            InvalidRequestError: no file can be called that, and the object-store library would call it otherwise: a
                slash at either end, two in a row, a dot segment, a control character.
        """
        if not all(check_key(name).split("/")):
            raise InvalidRequestError(f"{name[:80]!r} has an empty segment, which no file can have")
        key = self.prefix + name
        if len(key.encode()) > MAX_BLOB_NAME_BYTES:
            raise InvalidRequestError(f"{name[:80]!r} makes a key of more than {MAX_BLOB_NAME_BYTES} bytes")
        return key
