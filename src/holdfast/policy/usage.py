"""What a ledger says, as prices count it: requests of two kinds, bytes that leave, bytes that are read. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from holdfast.core.ledger import Entry, Holding
from holdfast.policy.cost import Use

#: A list costs what a write costs at nearly every provider, and so does a copy.
_WRITES: Final = ("write", "list", "copy")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def used(entries: Iterable[Entry]) -> Use:
    """Return what calls add up to. All that came from a store counts as having left it, and as having been retrieved."""
    writes = reads = received = 0
    for entry in entries:
        if entry.verb in _WRITES:
            writes += entry.calls
        elif entry.verb == "read":
            reads += entry.calls
        received += entry.received
    return Use(writes=writes, reads=reads, egress=received, retrieved=received)


def scaled(use: Use, days: int, of: int) -> Use:
    """Return a use of `of` days as one of `days` days, rounded up."""
    return Use(*(-(-getattr(use, name) * days // of) for name in Use.__slots__))


def average(held: Sequence[Holding]) -> Use:
    """Return what a store held on the average of its measured days."""
    if not held:
        return Use()
    return Use(
        bytes=sum(row.bytes for row in held) // len(held), objects=sum(row.blobs for row in held) // len(held)
    )


def month_of(day: int) -> str:
    """Return the month of a day since the epoch, as `2026-11`."""
    return f"{date_of(day):%Y-%m}"


def date_of(day: int) -> datetime:
    """Return the beginning of a day since the epoch."""
    return _EPOCH + timedelta(days=day)
