"""Who works when. Rows decide what may be taken and by whom; a dispatch only sees to it that somebody looks at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

#: Does some work, on a part (job, number), on a job (job, -1) or on any ("", -1); tells whether there was some.
Turn = Callable[[str, int], Awaitable[bool]]


class Dispatch(Protocol):
    """Gives turns. A lost announcement costs seconds, a double one nothing."""

    def announce(self, job_id: str, numbers: Sequence[int] = (-1,)) -> None:
        """Say that these parts of a job, or (-1) the job itself, may be worked on. Returns at once and never fails."""
        ...

    async def run(self, turn: Turn, at_once: int) -> None:
        """Take turns, so many at once, until cancelled."""
        ...
