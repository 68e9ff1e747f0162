"""Decisions about backups: how they are cut, which are kept, and where a version of one is put back.

Pure functions: no clock, no store. Sizes in bytes, times in microseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from holdfast.core.errors import InvalidRequestError
from holdfast.core.records import Standing

COMPRESSIONS: Final = ("zst", "gz", "none")
_LARGEST: Final = 5 << 40  #: of one file, where nothing cuts it


@dataclass(frozen=True, slots=True)
class BackupSettings:
    """What holds for backups that say nothing else."""

    store: str = ""  #: where they go
    recipients: tuple[str, ...] = ()  #: age public keys that they are encrypted to
    compression: str = "zst"
    split: bool = True  #: a backup larger than `whole` is written in files of `chunk`
    whole: int = 500 << 20
    chunk: int = 100 << 20

    def file_size(self, total: int) -> int:
        """Return how large a file of contents may get, in a backup of `total` bytes."""
        if not self.split:
            return _LARGEST
        return self.whole if total <= self.whole else self.chunk


@dataclass(frozen=True, slots=True)
class Kept:
    """A whole backup, as keeping looks at it. `needs` are those whose files it rests on."""

    id: str
    moment: int
    needs: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Keep:
    """How many to keep: the last ones, and the last of so many days, weeks and months that have any."""

    last: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0

    @property
    def keeps(self) -> bool:
        """Whether anything is kept at all."""
        return any((self.last, self.daily, self.weekly, self.monthly))


def keeping(sets: Iterable[Kept], keep: Keep) -> set[str]:
    """Return the ids of the backups that stay: those that `keep` names, and all that these rest on.

    Raises:
        InvalidRequestError: nothing would be kept.
    """
    if not keep.keeps:
        raise InvalidRequestError("say how many to keep: the last, daily, weekly or monthly ones")
    newest = sorted(sets, key=lambda one: (one.moment, one.id), reverse=True)
    chosen = {one.id for one in newest[: keep.last]}
    for count, form in ((keep.daily, "%Y-%m-%d"), (keep.weekly, "%G-%V"), (keep.monthly, "%Y-%m")):
        chosen |= set(_firsts(newest, form, count))
    needs = {one.id: one.needs for one in newest}
    waiting = list(chosen)
    while waiting:
        for other in needs.get(waiting.pop(), ()):
            if other not in chosen:
                chosen.add(other)
                waiting.append(other)
    return chosen


def _firsts(newest: Sequence[Kept], form: str, count: int) -> list[str]:
    """Return the newest backup of each of the last `count` spans of time that have any."""
    found: dict[str, str] = {}
    for one in newest:
        span = datetime.fromtimestamp(one.moment / 1e6, UTC).strftime(form)
        if span not in found and len(found) < count:
            found[span] = one.id
    return list(found.values())


class Place(StrEnum):
    """Where a version of a backup is put back."""

    THERE = "there"  #: it is there
    KEPT = "kept"  #: nowhere: what is there is newer, and stays
    TAKEN = "taken"  #: nowhere: another version has its place in a history that is kept
    OWN = "own"  #: at its own place in the history of its key
    TOP = "top"  #: above what is there; in a bucket without versions, instead of it
    MENDED = "mended"  #: it was there, and its bytes were lost: they are there again
    AGAIN = "again"  #: it is there, below something newer: once more, above that, under another id


def place_of(
    found: Standing, *, version_id: str, seq: int, current: bool, moment: int, overwrite: bool
) -> Place:
    """Return where a version is put back that was made before `moment`; `current` says that readers found it then.

    What was made after the backup is newer and stays on top, unless `overwrite`: then what was current at that moment
    is so again. Older versions only ever go into the history.
    """
    newer = found.head_created > moment or (bool(found.head) and current and found.head_seq > seq)
    top = current and overwrite and newer
    if found.here:
        return Place.AGAIN if top and found.head != version_id else Place.THERE
    if not found.head:
        return Place.OWN
    if top or (found.taken and current and overwrite):
        return Place.TOP
    if found.taken and found.versioning:
        return Place.TAKEN
    if found.taken or (newer and not found.versioning):
        return Place.KEPT
    return Place.OWN
