"""How the fake misbehaves: a script of faults, each for one request that it fits."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "refuse",  # answer `status` with `reason`, and do nothing
    "drop",  # end the connection before anything is done
    "lose",  # do it, and end the connection before the answer
    "half",  # of a download: half of the body, then the end of the connection
    "take_half",  # of an upload: read half of the body, keep what a session may keep, end the connection
    "keep_fewer",  # of a session: keep all but the last 256 KiB of what was sent
    "forget",  # of a session: forget it, so that it answers 404
    "expire",  # take back the access token of the request
    "garble",  # do it, and answer what is no JSON
]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a fault may choose by. `what` is the name of the call: `media`, `multipart`, `session`, `list`, `token`…"""

    method: str
    path: str
    what: str


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong. `what` limits it to calls of that name ("": any)."""

    kind: Kind
    what: str = ""
    status: int = 503
    reason: str = "backendError"
    retry_after: int | None = None

    def fits(self, asked: Asked) -> bool:
        """Whether it is meant for this request."""
        return self.what in ("", asked.what)


class Faults:
    """The script: the first fault that fits is used up. `storm`, if there is one, is asked when none fits."""

    def __init__(self) -> None:
        self._script: deque[Fault] = deque()
        self.storm: Callable[[Asked], Fault | None] | None = None
        self.done: Counter[str] = Counter()

    def script(self, fault: Fault, times: int = 1) -> None:
        """Add a fault, for so many requests."""
        self._script.extend([fault] * times)

    def take(self, asked: Asked) -> Fault | None:
        """Return what goes wrong with this request."""
        for fault in self._script:
            if fault.fits(asked):
                self._script.remove(fault)
                break
        else:
            found = self.storm(asked) if self.storm else None
            if found is None:
                return None
            fault = found
        self.done[fault.kind] += 1
        return fault

    @property
    def left(self) -> int:
        """Faults of the script that were not met yet."""
        return len(self._script)
