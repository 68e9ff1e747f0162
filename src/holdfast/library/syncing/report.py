"""What a sync is asked for, and what became of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from holdfast.core.errors import HoldfastError
from holdfast.policy.globs import EVERYTHING, Selection

SHARE: Final = 0.5  #: of what is there, the most that a run removes unless told otherwise


class Wish(NamedTuple):
    """How a tree is to be synced."""

    delete: bool = False  #: remove what the source has not
    trash: str | None = ""  #: where what is removed is kept: "" the usual place, None nowhere
    max_delete: float = SHARE  #: the largest share (0 to 1) of what is there that may be removed
    dry_run: bool = False
    digests: bool = False  #: compare contents, not times
    selection: Selection = EVERYTHING
    follow: bool = True  #: links inside the tree
    jobs: int = 16  #: files at a time
    bandwidth: int | None = None  #: bytes per second
    remember: bool = True  #: note what is equal, so that the next run need not ask


#: Told of each thing done: what (`send`, `fetch`, `delete`, `trash`), the key and the bytes.
Told = Callable[[str, str, int], None]
#: Told of each thing that is left out or failed: its name, why, and the error if it is one.
Complaint = Callable[[str, str, HoldfastError | None], None]


def _nothing(*_: object) -> None:
    return None


@dataclass(slots=True)
class Report:
    """Counts of a run. With `dry_run` of what it would have done."""

    told: Told = _nothing
    complain: Complaint = _nothing
    progress: Callable[[int], None] | None = None
    same: int = 0
    moved: int = 0  #: files sent or fetched
    bytes: int = 0  #: of them
    removed: int = 0
    left_out: int = 0  #: links, pipes and the like, told of
    failed: int = 0
    unnamed: int = 0  #: complaints that whoever is told of them did not pass on
    kept: str = ""  #: why nothing was removed although it was asked for
    trash: str = field(default="")  #: where what was removed lies now

    @property
    def met(self) -> int:
        """How many files or objects the run came across."""
        return self.same + self.moved + self.left_out + self.failed

    def done(self, what: str, key: str, size: int) -> None:
        """Count a file that was sent or fetched."""
        self.moved += 1
        self.bytes += size
        self.told(what, key, size)

    def gone(self, what: str, key: str, size: int) -> None:
        """Count one that was removed."""
        self.removed += 1
        self.told(what, key, size)

    def failure(self, name: str, error: HoldfastError) -> None:
        """Count one that failed, and tell why."""
        self.failed += 1
        self.complain(name, str(error), error)

    def problem(self, name: str, why: str, missing: bool) -> None:
        """Tell of something that is left out; with `missing` it counts as failed."""
        if missing:
            self.failed += 1
        else:
            self.left_out += 1
        self.complain(name, why, None)
