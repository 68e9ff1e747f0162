"""Making one tree equal to another: which files belong together, what is to be done, and how much may vanish. No I/O.

Both trees come as streams in byte order of their keys, in batches of any size; so trees of any size need the memory of
two batches.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Final, NamedTuple

from holdfast.core.errors import InvalidRequestError, UnsupportedError
from holdfast.core.names import check_key

TRASH: Final = ".holdfast-trash/"  #: what a sync took away lies below it; never synced itself
PART: Final = ".holdfast-part"  #: ends the name of a file that is being fetched; see `is_part`
NANOS: Final = 1_000_000_000
_CLOSE: Final = (
    1_000  #: nanoseconds: what other programs lose of a time when they write it as a decimal fraction
)
#: Keys as most are, of short segments that begin with no dot: nothing that is told below can be said of them.
_ORDINARY: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
_IS_PART: Final = re.compile(rf"\..*\.[0-9a-f]{{16}}{re.escape(PART)}", re.DOTALL)


class Item(NamedTuple):  # made for every file and object: a tuple is made in a third of the time
    """A file or an object. `stamp` changes whenever its content may have changed; "" tells nothing."""

    key: str
    size: int
    mtime: int | None  #: nanoseconds; None: not known without asking
    stamp: str = ""
    detail: object = None  #: what its own side wants to remember of it


class Known(NamedTuple):
    """What an earlier sync left equal: a file with this stamp and an object with that one."""

    key: str
    file: str
    stored: str


class Verdict(Enum):
    """Whether a file and an object of the same key are the same."""

    SAME = "same"
    DIFFERENT = "different"
    ASK = "ask"  #: the listing does not tell: its time, or the digests of both, must be asked for


def judge(file: Item, stored: Item, known: Known | None = None, *, digests: bool = False) -> Verdict:
    """Return whether they are the same, by size and time; with `digests` by size and content."""
    if file.size != stored.size:
        return Verdict.DIFFERENT
    if digests:
        return Verdict.ASK
    if known is not None and file.stamp and known.file == file.stamp and known.stored == stored.stamp:
        return Verdict.SAME
    if stored.mtime is None or file.mtime is None:
        return Verdict.ASK
    return Verdict.SAME if same_time(file.mtime, stored.mtime) else Verdict.DIFFERENT


def same_time(one: int, other: int) -> bool:
    """Return whether two times in nanoseconds mean the same moment."""
    return abs(one - other) < _CLOSE


def mtime_text(mtime: int) -> str:
    """Return a time as metadata hold it: seconds since the epoch, as rclone writes them."""
    seconds, rest = divmod(mtime, NANOS)
    return f"{seconds}.{rest:09d}" if seconds >= 0 else f"{mtime / NANOS:.9f}"


def mtime_of(text: str | None) -> int | None:
    """Return the nanoseconds that `mtime_text` wrote; None for what is no time."""
    whole, dot, part = (text or "").strip().partition(".")
    digits = whole.removeprefix("-")
    if not digits.isdecimal() or not digits.isascii() or len(digits) > 11:
        return None
    if dot and not (part.isdecimal() and part.isascii()):
        return None
    nanos = int(digits) * NANOS + int(part[:9].ljust(9, "0") if part else 0)
    return -nanos if whole.startswith("-") else nanos


def path_problem(key: str) -> str:
    """Return why no file below a folder can be called `key`; "" when one can."""
    if len(key) <= 63 and _ORDINARY.fullmatch(key):
        return ""
    try:
        check_key(key)
    except InvalidRequestError as error:
        return error.message
    parts = key.split("/")
    if not all(parts):
        return "it has an empty segment"
    if len(key) > 63 and any(len(part.encode()) > 255 for part in parts):
        return "a segment has more than 255 bytes"
    if PART in key and any(map(is_part, parts)):
        return f"files that are being fetched are called so (.NAME.TAG{PART})"
    return ""


def is_part(name: str) -> bool:
    """Return whether a file of that name is one that is being fetched; what merely ends like one is somebody's."""
    return name.endswith(PART) and _IS_PART.fullmatch(name) is not None


def too_many(gone: int, there: int, share: float) -> bool:
    """Return whether removing `gone` of `there` things is more than `share` (0 to 1) of them."""
    return gone > 0 and gone > share * there


class Pairing:
    """Joins two streams by key: feed batches of either side, take the pairs that are certain by then.

    A key that only one side has is paired with None, once the other side has come past it or has ended.
    """

    def __init__(self) -> None:
        self._left = _Side("the first side")
        self._right = _Side("the second side")

    def feed_left(self, batch: Iterable[Item] | None) -> None:
        """Take the next batch of the left side; None: it has ended."""
        self._left.feed(batch)

    def feed_right(self, batch: Iterable[Item] | None) -> None:
        """Take the next batch of the right side; None: it has ended."""
        self._right.feed(batch)

    @property
    def wants_left(self) -> bool:
        """Whether nothing more can be told without the next batch of the left side."""
        return self._left.wanting

    @property
    def wants_right(self) -> bool:
        """Whether nothing more can be told without the next batch of the right side."""
        return self._right.wanting

    def pairs(self) -> Iterator[tuple[Item | None, Item | None]]:
        """Yield the pairs that are certain, in order."""
        left, right = self._left.items, self._right.items
        while not (self._left.wanting or self._right.wanting) and (left or right):
            if not right or (left and left[0].key < right[0].key):
                yield left.popleft(), None
            elif not left or right[0].key < left[0].key:
                yield None, right.popleft()
            else:
                yield left.popleft(), right.popleft()


class _Side:
    """What has come of one side and is not yet paired."""

    def __init__(self, name: str) -> None:
        self.items: deque[Item] = deque()
        self.ended = False
        self._name = name
        self._last: str | None = None

    @property
    def wanting(self) -> bool:
        return not self.items and not self.ended

    def feed(self, batch: Iterable[Item] | None) -> None:
        if batch is None:
            self.ended = True
            return
        for item in batch:
            # out of order, what is there would look gone, and be removed
            if self._last is not None and item.key <= self._last:
                raise UnsupportedError(
                    f"{self._name} is not listed in byte order at {item.key[:80]!r}; nothing is safe"
                )
            self._last = item.key
            self.items.append(item)
