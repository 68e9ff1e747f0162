"""What goes wrong, and when: faults by script, one after the other, or a storm from a seed."""

from __future__ import annotations

import random
from collections import Counter, deque
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """What a fault does to one request."""

    STATUS = "status"  #: answers `status`, and does nothing
    PAGE = "page"  #: answers `status` with an HTML page, and does nothing
    REFUSED = "refused"  #: breaks the connection, and does nothing
    LOST = "lost"  #: does it, and breaks the connection
    HALF = "half"  #: takes or sends half of the bytes, and breaks the connection
    SILENT = "silent"  #: does nothing and says nothing until the client leaves
    STRAY = "stray"  #: 401 although the token is good
    EXPIRED = "expired"  #: ends the token, for good
    STALE = "stale"  #: ends the link before its time
    LATE = "late"  #: 202, and done only after `polls` questions
    FAILED = "failed"  #: 202, and then it fails
    INVISIBLE = "invisible"  #: what was uploaded shows only after `polls` looks, as 404 or 500 (`status`)
    DAMAGED = "damaged"  #: one byte is another one
    REPEATED = "repeated"  #: a page of a listing shows its first item twice


@dataclass(frozen=True, slots=True)
class Fault:
    """`kind` happens to the next `times` requests on `on`, such as `GET /resources/upload`, after letting `after` pass.

    The bytes travel on `PUT /upload-target` and `GET /download-source`, tokens on `POST /token`; "*" is any request.
    """

    kind: Kind
    on: str = "*"
    times: int = 1
    after: int = 0
    status: int = 503
    code: str = ""
    retry_after: float | None = None
    polls: int = 2

    def meets(self, request: str) -> bool:
        """Return whether it happens to a request."""
        return self.on in ("*", request)


_CHANGES: Final = ("PUT /resources", "DELETE /resources", "POST /resources/copy", "POST /resources/move")
_LOOKS: Final = (
    "GET /resources",
    "GET /resources/upload",
    "GET /resources/download",
    "GET /operations",
    "GET /",
)
_UP: Final = "PUT /upload-target"
_DOWN: Final = "GET /download-source"
_EVERYWHERE: Final = (
    Fault(Kind.STATUS, status=429, retry_after=1.0),
    Fault(Kind.STATUS, status=429),
    Fault(Kind.STATUS, status=500),
    Fault(Kind.STATUS, status=503),
    Fault(Kind.PAGE, status=502),
    Fault(Kind.REFUSED),
    Fault(Kind.LOST),
)
_SIGNED: Final = (Fault(Kind.STRAY), Fault(Kind.EXPIRED), Fault(Kind.HALF))
_SLOWLY: Final = (Fault(Kind.LATE), Fault(Kind.LATE, polls=4), Fault(Kind.FAILED))
#: What may happen to which request in a storm.
POSSIBLE: Final[dict[str, tuple[Fault, ...]]] = {
    **dict.fromkeys(_LOOKS, (*_EVERYWHERE, *_SIGNED)),
    **{one: (*_EVERYWHERE, *_SIGNED, Fault(Kind.STATUS, status=423)) for one in _CHANGES},
    "GET /resources": (*_EVERYWHERE, *_SIGNED, Fault(Kind.REPEATED)),
    "DELETE /resources": (*_EVERYWHERE, *_SIGNED, *_SLOWLY),
    "POST /resources/move": (*_EVERYWHERE, *_SIGNED, *_SLOWLY),
    "POST /resources/copy": (*_EVERYWHERE, *_SIGNED, *_SLOWLY),
    _UP: (
        *_EVERYWHERE,
        *_SLOWLY,
        Fault(Kind.HALF),
        Fault(Kind.STALE),
        Fault(Kind.INVISIBLE, status=404),
        Fault(Kind.INVISIBLE, status=500),
        Fault(Kind.DAMAGED),
    ),
    _DOWN: (
        *_EVERYWHERE,
        Fault(Kind.HALF),
        Fault(Kind.STALE),
        Fault(Kind.STALE, status=500),
        Fault(Kind.DAMAGED),
    ),
    # A lost answer here would end the refresh token for good, which no client can mend.
    "POST /token": (Fault(Kind.STATUS, status=503), Fault(Kind.REFUSED)),
}


class Faults:
    """The faults to come, and how many of each kind there were."""

    def __init__(self) -> None:
        self.happened: Counter[Kind] = Counter()
        self._script: deque[Fault] = deque()
        self._chance: random.Random | None = None
        self._rate = 0.0
        self._left = 0

    @property
    def total(self) -> int:
        """How many there were."""
        return sum(self.happened.values())

    def add(self, *faults: Fault) -> None:
        """Let these happen, each when a request comes that it is for."""
        self._script.extend(faults)

    def storm(self, seed: int, *, rate: float, most: int) -> None:
        """Let any fault that is possible happen to one request in 1/`rate`, until there were `most`; 0 ends a storm."""
        self._chance, self._rate, self._left = random.Random(seed), rate, most  # noqa: S311

    def clear(self) -> None:
        """Let nothing more happen."""
        self._script.clear()
        self._left = 0

    def take(self, request: str) -> Fault | None:
        """Return what happens to a request."""
        fault = self._scripted(request) or self._stormy(request)
        if fault is not None:
            self.happened[fault.kind] += 1
        return fault

    def _scripted(self, request: str) -> Fault | None:
        for place, fault in enumerate(self._script):
            if not fault.meets(request):
                continue
            if fault.after:
                self._script[place] = replace(fault, after=fault.after - 1)
                continue
            if fault.times > 1:
                self._script[place] = replace(fault, times=fault.times - 1)
            else:
                del self._script[place]
            return fault
        return None

    def _stormy(self, request: str) -> Fault | None:
        if self._chance is None or self._left <= 0 or self._chance.random() >= self._rate:
            return None
        possible = POSSIBLE.get(request)
        if not possible:
            return None
        self._left -= 1
        return self._chance.choice(possible)
