"""Keys in byte order, and how a delimiter folds them. Pure; Python compares text by code point, which is byte order."""

from __future__ import annotations

from functools import cached_property

_LAST = "\U0010ffff"
#: Greater than every key: a key has at most 1,024 bytes, and this character has four.
BEYOND = _LAST * 257
#: The smallest character that a key can hold.
FIRST_CHAR = "\x01"


def after(key: str) -> str:
    """Return the smallest text greater than `key` that could be a key."""
    return key + FIRST_CHAR


def successor(prefix: str) -> str:
    """Return the smallest text greater than everything that starts with `prefix`; `BEYOND` when nothing is.

    The last character is replaced by the next one there is: U+D7FF is followed by U+E000, since surrogates are not
    characters; nothing follows U+10FFFF, so it is dropped and the one before it is raised.
    """
    stem = prefix.rstrip(_LAST)
    if not stem:
        return BEYOND
    code = ord(stem[-1]) + 1
    return stem[:-1] + chr(0xE000 if code == 0xD800 else code)


class Fold:
    """A prefix and a delimiter ("" for none) as one listing uses them."""

    def __init__(self, prefix: str, delimiter: str) -> None:
        self.prefix = prefix
        self.delimiter = delimiter
        self.upper = successor(prefix) if prefix else BEYOND
        self._skip = len(prefix)

    def prefix_of(self, key: str) -> str | None:
        """Return the common prefix that stands for `key`, or None when the key stands for itself."""
        if not self.delimiter:
            return None
        place = key.find(self.delimiter, self._skip)
        return None if place < 0 else key[: place + len(self.delimiter)]

    def cut(self, key: str, place: int) -> str:
        """Return the common prefix of `key`, whose delimiter is the `place`-th character after our prefix."""
        return key[: self._skip + place - 1 + len(self.delimiter)]

    def past(self, folded: str) -> str:
        """Return the least text past all keys that `folded` stands for."""
        return successor(folded)

    def start(self, marker: str) -> str:
        """Return the least text that a listing strictly after `marker` may begin with."""
        if not marker or marker < self.prefix:
            return self.prefix
        folded = self.prefix_of(marker) if marker.startswith(self.prefix) else None
        return after(marker) if folded is None else self.past(folded)

    @property
    def can_hop(self) -> bool:
        """Whether the text past a common prefix can be had by replacing its delimiter."""
        return bool(self.delimiter) and self.delimiter[-1] != _LAST

    @cached_property
    def hop_params(self) -> dict[str, str | int]:
        """The parameters of the hopping statement that do not change from batch to batch."""
        return {
            "upper": self.upper,
            "prefix_length": self._skip,
            "delimiter": self.delimiter,
            "after_delimiter": successor(self.delimiter),
            "first_char": FIRST_CHAR,
        }
