"""What was asked of stores: calls and bytes, counted in memory as their providers count them, until they are written down.

Every process has one ledger and adds it to the catalog's from time to time, so replicas add up. A process that is killed
loses what it counted since the last time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

#: Verbs as providers bill them. `write`: PUT, POST, parts of uploads, copies; `read`: GET and HEAD; deleting is free nearly everywhere.
VERBS: Final = ("write", "read", "list", "delete", "copy")


class Entry(NamedTuple):
    """Calls of one verb to one store. `sent` bytes went to the store, `received` bytes came from it: its egress."""

    store: str
    verb: str
    calls: int
    failed: int  #: of those calls, the ones that were answered with an error, or not at all
    sent: int
    received: int


class Daily(NamedTuple):
    """An entry of one day (UTC, days since the epoch)."""

    day: int
    entry: Entry


class Holding(NamedTuple):
    """What a store held when it was measured last on a day."""

    store: str
    day: int
    bytes: int
    blobs: int


class Ledger:
    """The calls of this process that were not written down yet."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], list[int]] = {}

    def add(
        self, store: str, verb: str, calls: int = 1, failed: int = 0, sent: int = 0, received: int = 0
    ) -> None:
        """Count calls, and the bytes that went with them."""
        held = self._open.get((store, verb))
        if held is None:
            held = self._open[store, verb] = [0, 0, 0, 0]
        held[0] += calls
        held[1] += failed
        held[2] += sent
        held[3] += received

    def take(self) -> Sequence[Entry]:
        """Return what is open, and begin anew."""
        taken, self._open = self._open, {}
        return [Entry(store, verb, *numbers) for (store, verb), numbers in sorted(taken.items())]

    def give_back(self, entries: Iterable[Entry]) -> None:
        """Count again what could not be written down."""
        for entry in entries:
            self.add(*entry)
