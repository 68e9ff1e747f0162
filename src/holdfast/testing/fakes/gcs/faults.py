"""Misbehaviour on demand: what is to go wrong, with which request, how often."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["status", "reset", "lost", "half", "lie", "short"]


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    status: the request is refused and has no effect; reset: the connection breaks before it had one; lost: it had
    one, but the answer does not come; half: the answer breaks off in the middle of its body; lie: a write is
    answered with the digests of other bytes; short: a session keeps only part of what it was sent.
    """

    kind: Kind
    status: int = 503
    code: str = "ServiceUnavailable"
    retry_after: int | None = None
    method: str = ""  #: only requests of this method, if it is said
    holds: str = ""  #: only those whose path and query hold this


class Faults:
    """A list that is used up, and a function that may decide for each request."""

    def __init__(self) -> None:
        self._due: list[Fault] = []
        self.chance: Callable[[str, str], Fault | None] | None = None
        self.met: list[Fault] = []  #: those that happened

    def add(self, fault: Fault, *, times: int = 1) -> None:
        """Let the next `times` requests that it fits meet `fault`."""
        self._due += [fault] * times

    def clear(self) -> None:
        """Let everything go well."""
        self._due, self.chance = [], None

    def next(self, method: str, target: str) -> Fault | None:
        """Return what this request meets."""
        found = next((one for one in self._due if _fits(one, method, target)), None)
        if found is not None:
            self._due.remove(found)
        elif self.chance is not None:
            found = self.chance(method, target)
        if found is not None:
            self.met.append(found)
        return found


def _fits(fault: Fault, method: str, target: str) -> bool:
    return fault.method in ("", method) and fault.holds in target
