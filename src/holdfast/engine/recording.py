"""What the doors saw, kept in memory until it is sealed, within a second. Bounded: what does not fit is counted."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

from holdfast.catalog.chain import Line

_MOST: Final = 100_000  #: records that wait; a flood or a lost catalog must not take the memory
_AT_ONCE: Final = 64  #: records read before others may run: a fraction of a millisecond

Raw = tuple[Any, ...]
Read = Callable[[Raw], tuple[str, Line]]
Waiting = tuple[Read, Raw]


class Recorder:
    """A door appends what it saw as a plain tuple, which costs a request next to nothing; `read` makes sense of it later.

    Attributes:
        dropped: records that found no room, since the start of the process.
    """

    def __init__(self, most: int = _MOST) -> None:
        self.dropped = 0
        self._most = most
        self._waiting: deque[Waiting] = deque()
        self._kept: dict[str, list[Line]] = {}  # read once, not yet sealed
        self._kept_count = 0

    def __len__(self) -> int:
        return len(self._waiting) + self._kept_count

    @property
    def fresh(self) -> int:
        """How many came since the last sealing, successful or not."""
        return len(self._waiting)

    def add(self, read: Read, raw: Raw) -> None:
        """Keep a record, if there is room."""
        if len(self._waiting) + self._kept_count >= self._most:
            self.dropped += 1
            return
        self._waiting.append((read, raw))

    def take(self) -> tuple[Iterable[Waiting], dict[str, list[Line]]]:
        """Return what waits and what was kept, and forget both. For `by_tenant`."""
        waiting, self._waiting = self._waiting, deque()
        kept, self._kept, self._kept_count = self._kept, {}, 0
        return waiting, kept

    def keep(self, tenant: str, lines: Iterable[Line]) -> None:
        """Take back what could not be sealed now, as far as there is room."""
        lines = list(lines)
        room = max(self._most - len(self), 0)
        self.dropped += max(len(lines) - room, 0)
        self._kept.setdefault(tenant, []).extend(lines[:room])
        self._kept_count += len(lines[:room])


async def by_tenant(waiting: Iterable[Waiting], kept: dict[str, list[Line]]) -> dict[str, list[Line]]:
    """Return what waits, by tenant, behind what was kept. Not to be broken off.

    In steps beside the requests of the loop: a thread would take the interpreter from them for longer.
    """
    for number, (read, raw) in enumerate(waiting, 1):
        tenant, line = read(raw)
        lines = kept.get(tenant)
        if lines is None:
            lines = kept[tenant] = []
        lines.append(line)
        if number % _AT_ONCE == 0:
            await asyncio.sleep(0)
    return kept
