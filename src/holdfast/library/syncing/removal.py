"""What is to be removed waits, on disk, until both sides are known to their ends; then it is counted, and maybe refused."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from holdfast.core.clock import Environment
from holdfast.core.errors import ConflictError, InvalidRequestError
from holdfast.library.syncing.report import Report, Wish
from holdfast.policy.syncing import TRASH, Item, too_many

_BATCH: Final = 500
_IN_MEMORY: Final = 1 << 20


class Doomed:
    """A list of any length of things to be removed."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(_IN_MEMORY, "w+", encoding="utf-8")  # noqa: SIM115
        self.count = 0

    def add(self, key: str, size: int, stamp: str) -> None:
        """Add one."""
        self._file.write(json.dumps((key, size, stamp)) + "\n")
        self.count += 1

    def batches(self) -> Iterator[list[Item]]:
        """Yield them, in the order in which they came."""
        self._file.seek(0)
        batch: list[Item] = []
        for line in self._file:
            key, size, stamp = json.loads(line)
            batch.append(Item(key, size, None, stamp))
            if len(batch) == _BATCH:
                yield batch
                batch = []
        if batch:
            yield batch

    def close(self) -> None:
        """Forget them."""
        self._file.close()


def own_folder(environment: Environment) -> str:
    """Return the folder of a trash that is this run's alone: nothing in it can be in the way of what it removes."""
    now = datetime.fromtimestamp(environment.clock.now() / 1e6, UTC)
    return f"{now:%Y%m%dT%H%M%SZ}-{environment.random.getrandbits(32):08x}/"


def check_apart(trash: str, own: str, place: str) -> None:
    """Return when the trash named `trash` is apart from `place`; `own` is what this run has of it. All end with a slash.

    Raises:
        InvalidRequestError: the next run would take what lies in it for files, or a thing would be moved onto another.
    """
    if place.startswith(own) or (trash.startswith(place) and not trash.startswith(f"{place}{TRASH}")):
        raise InvalidRequestError(
            f"the trash {trash!r} lies in what is synced; name one outside of it, or none: the usual one is never synced"
        )


def allowed(doomed: Doomed, there: int, wish: Wish, report: Report) -> bool:
    """Return whether they may be removed now; with a dry run whether they would be.

    Raises:
        ConflictError: they are a larger share of what is there than was allowed; nothing has been removed.
    """
    if not doomed.count:
        return False
    if report.failed:
        report.kept = (
            f"{doomed.count} were not removed, since something failed; run it again when that is mended"
        )
        return False
    if not too_many(doomed.count, there, wish.max_delete):
        return True
    text = (
        f"{doomed.count} of {there} would be removed, more than {wish.max_delete * 100:g} %; nothing was removed. If it is"
        " meant: --max-delete 100"
    )
    if not wish.dry_run:
        raise ConflictError(text)
    report.kept = text.replace("nothing was removed", "a run would refuse that")
    return True
