"""The ways in which a store fails: a proxy before a real server, and how it is told to be down, and up again."""
# ruff: noqa: S311 - choices that must repeat

from __future__ import annotations

import random
from typing import Final

from holdfast.testing.proxy import Answer, Cut, Fault, Flip, Head, Hole, Proxy, Refuse, Throttle, Truncate

MODES: Final = ("refused", "reset", "hole", "slow", "503", "wrong")
_NEVER: Final = 60.0  #: seconds: longer than anybody waits
_DRIP: Final = 2048  #: bytes per second


class Way(Proxy):
    """The way to one store. `down` in one of `MODES`, until `up`; `met` counts requests that found it so."""

    def __init__(self, host: str, port: int, seed: int) -> None:
        super().__init__(host, port)
        self._chance = random.Random(seed)
        self._mode = ""
        self._drips = False
        self.met = 0

    async def down(self, mode: str) -> None:
        """Fail from now on."""
        self.met = 0
        self._mode, self._drips = mode, self._chance.random() < 0.5
        if mode == "refused":
            await self.stop()
        elif mode == "reset":
            await self.drop()

    async def up(self) -> None:
        """Work again."""
        mode, self._mode = self._mode, ""
        if mode == "refused":
            await self.start()
        else:
            await self.drop()  # as a machine does that was started again
        self.seen.clear()

    def choose(self, head: Head) -> Fault:
        """Return what is done with a request: what the mode says."""
        fault = self._fault(head)
        self.met += type(fault) is not Fault
        return fault

    def _fault(self, head: Head) -> Fault:
        match self._mode:
            case "reset":
                return self._reset(head)
            case "hole":
                return Hole()
            case "slow":
                return (
                    Throttle(rate=_DRIP) if self._drips and head.method == "GET" else Throttle(latency=_NEVER)
                )
            case "503":
                code = self._chance.choice(("ServiceUnavailable", "SlowDown"))
                return Answer(503, code, self._chance.choice((None, 1)))
            case "wrong" if head.method == "GET" and "list-type" not in head.target:
                where = self._chance.randrange(1000)
                return Flip(offset=where) if self._chance.random() < 0.7 else Truncate(length=where)
        return Fault()

    def _reset(self, head: Head) -> Fault:
        if self._chance.random() < 0.5:
            return Refuse()
        after = self._chance.randrange(20_000)
        return Cut(after=after, upward=head.method == "PUT")
