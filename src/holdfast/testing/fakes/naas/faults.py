"""How the fake misbehaves: one fault for each request, in the order of the script, until it is empty."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Fault:
    """Nothing is wrong with this request."""


@dataclass(frozen=True, slots=True)
class Status(Fault):
    """The request is refused with this status before anything is done; `code` is the S3 error code at the gate."""

    status: int = 503
    code: str = ""
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Lost(Fault):
    """All is done, and the connection closed without an answer."""


@dataclass(frozen=True, slots=True)
class Half(Fault):
    """The answer ends in the middle of its body."""


@dataclass(frozen=True, slots=True)
class Garbage(Fault):
    """The answer has status 200 and is not what it should be."""

    body: bytes = b"<html>please sign in</html>"


@dataclass(frozen=True, slots=True)
class Changed(Fault):
    """The answer has these members in `credentials.s3` instead of the right ones."""

    members: tuple[tuple[str, Any], ...]


class Script:
    """Faults to come, and what came of them."""

    def __init__(self) -> None:
        self._faults: deque[Fault] = deque()
        self.seen: Counter[str] = Counter()

    def script(self, *faults: Fault, times: int = 1) -> None:
        """Add faults for the next requests."""
        self._faults.extend(faults * times)

    def next(self) -> Fault:
        """Return the fault for a request."""
        fault = self._faults.popleft() if self._faults else Fault()
        self.seen[type(fault).__name__] += 1
        return fault

    @property
    def pending(self) -> int:
        """How many faults are still to come."""
        return len(self._faults)

    def clear(self) -> None:
        """Forget the faults to come."""
        self._faults.clear()
