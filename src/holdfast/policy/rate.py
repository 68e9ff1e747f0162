"""How much may come how fast: the generic cell rate algorithm (GCRA) as pure functions.

All that is remembered of a limit is one number, the *arrival*: the time at which everything taken so far would have
come at an even pace. What comes may be ahead of that pace by the burst and no more. So in any time `t` at most
`burst + rate × t` is taken (to a millionth, since times are whole microseconds), and nothing is counted or reset.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SECOND: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Limit:
    """`rate` units per second, `burst` units at once (at least one)."""

    rate: float
    burst: float

    def cost(self, units: float) -> int:
        """Return the microseconds that `units` take at an even pace, at least one."""
        return max(1, int(units * SECOND / self.rate))

    @property
    def tolerance(self) -> int:
        """How far ahead of the even pace the arrival may be, microseconds."""
        return self.cost(max(self.burst, 1.0))

    @property
    def batch(self) -> int:
        """How many units may be taken ahead at once where limits are shared: a tenth of a second's worth."""
        return max(1, int(min(self.burst, self.rate / 10)))


@dataclass(frozen=True, slots=True)
class Taken:
    """`units` were granted; the limit's `arrival` afterwards; `wait` microseconds until what was asked would fit."""

    units: int
    arrival: int
    wait: int


def limit_of(rate: float | None, burst_seconds: float) -> Limit | None:
    """Return the limit of `rate` units per second with a burst of so many seconds' worth; None where there is none."""
    return None if rate is None else Limit(rate, max(1.0, rate * burst_seconds))


def take(limit: Limit, arrival: int, now: int, *, most: int = 1, least: int = 1) -> Taken:
    """Take `most` units if they fit, else `least` if those do, else nothing."""
    base, edge = max(arrival, now), now + limit.tolerance
    for units in (most, least):
        after = base + limit.cost(units)
        if after <= edge:
            return Taken(units, after, 0)
    return Taken(0, arrival, base + limit.cost(least) - edge)


def charge(limit: Limit, arrival: int, now: int, units: int) -> Taken:
    """Take `units` whether they fit or not; `wait` says how long to pause so that the pace is kept."""
    after = max(arrival, now) + limit.cost(units)
    return Taken(units, after, max(0, after - now - limit.tolerance))


def room(limit: Limit, arrival: int, now: int) -> int:
    """Return how many units would fit now."""
    free = now + limit.tolerance - max(arrival, now)
    return max(0, int(free * limit.rate / SECOND))
