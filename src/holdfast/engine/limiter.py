"""Rate limits at work: each limit is a `Gauge` that is asked before something is done, or told what flowed.

Alone, a gauge is one number in memory. Where processes share a catalog on PostgreSQL, gauges lease units from it in
batches, so that it is asked about once per tenth of a second and limit, and all processes together keep the limit.
When it does not answer, gauges go on alone for a while: a limit must never hang the service.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from holdfast.catalog.rates import RateAsk, RateGrant
from holdfast.core.clock import Clock
from holdfast.core.errors import HoldfastError
from holdfast.policy import rate
from holdfast.policy.rate import SECOND, Limit

Lease = Callable[[str, RateAsk], Awaitable[RateGrant]]
_REMEMBERED: Final = 16_384  #: gauges in memory
_PATIENCE: Final = 0.5  #: seconds that the catalog may take
_ALONE: Final = 5.0  #: seconds without asking again after it failed
_LEASED: Final = 1.0  #: seconds for which leased units may be used


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether to go on; how many units are left now; if not, the seconds after which it would be so."""

    allowed: bool
    left: int
    wait: float = 0.0


class Gauge:
    """One limit of one principal, tenant or address, in this process."""

    __slots__ = ("_arrival", "_clock", "limit")

    def __init__(self, limit: Limit, clock: Clock) -> None:
        self.limit = limit
        self._clock = clock
        self._arrival = 0

    def _now(self) -> int:
        return int(self._clock.monotonic() * SECOND) + 1

    async def take(self) -> Verdict:
        """Take one unit, if there is one."""
        now = self._now()
        taken = rate.take(self.limit, self._arrival, now)
        self._arrival = taken.arrival
        return Verdict(bool(taken.units), rate.room(self.limit, self._arrival, now), taken.wait / SECOND)

    async def charge(self, units: int) -> float:
        """Take `units` that have flowed, and return the seconds to pause so that the limit is kept."""
        taken = rate.charge(self.limit, self._arrival, self._now(), units)
        self._arrival = taken.arrival
        return taken.wait / SECOND

    async def give_back(self, units: int) -> None:
        """Undo a `charge` whose units did not flow in the end."""
        self._arrival -= self.limit.cost(units)

    def behind(self) -> float:
        """Return how many seconds a new flow would have to pause before its first byte."""
        return max(0, self._arrival - self._now() - self.limit.tolerance) / SECOND


class SharedGauge(Gauge):
    """The same, for all processes over one catalog."""

    __slots__ = ("_alone_until", "_key", "_lease", "_leased", "_leased_until", "_lock", "_ready", "_size")

    def __init__(self, limit: Limit, clock: Clock, key: str, lease: Lease) -> None:
        super().__init__(limit, clock)
        self._key = key
        self._lease = lease
        self._lock = asyncio.Lock()
        self._leased = 0
        self._leased_until = 0
        self._ready = 0  # until then the catalog would say no, or the pace asks for a pause
        self._alone_until = 0
        self._size = limit.batch  # how much is leased at a time: less where others want it too

    async def take(self) -> Verdict:
        """See `Gauge`."""
        verdict = self._at_hand()
        if verdict is None:
            async with self._lock:
                verdict = self._at_hand() or await self._ask()
        return verdict or await super().take()

    async def charge(self, units: int) -> float:
        """See `Gauge`."""
        now = self._now()
        if self._leased >= units and now < self._leased_until:
            self._leased -= units
            return 0.0
        async with self._lock:
            if self._alone_until <= self._now() and (grant := await self._leasing(units, forced=True)):
                self._keep(grant.units - units)
                ahead = grant.arrival - grant.now - self.limit.tolerance
                self._ready = self._now() + ahead
                return max(0, ahead) / SECOND
        return await super().charge(units)

    async def give_back(self, units: int) -> None:
        """See `Gauge`. When the catalog does not answer the limit holds all the more."""
        async with self._lock:
            if self._alone_until > self._now():
                await super().give_back(units)
                return
            cost = -self.limit.cost(units)
            ask = RateAsk(0, cost, 0, cost, self.limit.tolerance, True)
            with suppress(HoldfastError, TimeoutError):
                async with asyncio.timeout(_PATIENCE):
                    grant = await self._lease(self._key, ask)
                self._ready = self._now() + grant.arrival - grant.now - self.limit.tolerance

    def behind(self) -> float:
        """See `Gauge`."""
        if self._alone_until > self._now():
            return super().behind()
        return max(0, self._ready - self._now()) / SECOND

    def _at_hand(self) -> Verdict | None:
        """Answer from what is leased, or from a refusal that still holds; None when the catalog must be asked."""
        now = self._now()
        if self._leased and now < self._leased_until:
            self._leased -= 1
            return Verdict(True, self._leased)
        if self._alone_until <= now < self._ready:
            return Verdict(False, 0, (self._ready - now) / SECOND)
        return None

    async def _ask(self) -> Verdict | None:
        if self._alone_until > self._now():
            return None
        grant = await self._leasing(1, forced=False)
        if grant is None:
            return None
        if grant.units:
            self._keep(grant.units - 1)
            return Verdict(True, rate.room(self.limit, grant.arrival, grant.now) + self._leased)
        wait = max(1, grant.arrival + self.limit.cost(1) - grant.now - self.limit.tolerance)
        if self._size > 1:  # until there is more to be had than one, so that the next question is worth it
            wait = max(wait, self.limit.cost(self._size))
        self._ready = self._now() + wait
        return Verdict(False, 0, wait / SECOND)

    def _keep(self, units: int) -> None:
        self._leased = max(0, units)
        self._leased_until = self._now() + int(_LEASED * SECOND)

    async def _leasing(self, least: int, *, forced: bool) -> RateGrant | None:
        """Return what the catalog grants; None when it does not answer in time."""
        most = max(least, self._size + (least if forced else 0))
        ask = RateAsk(
            most, self.limit.cost(most), least, self.limit.cost(least), self.limit.tolerance, forced
        )
        try:
            async with asyncio.timeout(_PATIENCE):
                grant = await self._lease(self._key, ask)
        except (HoldfastError, TimeoutError):
            self._alone_until = self._now() + int(_ALONE * SECOND)
            return None
        whole = self.limit.batch
        self._size = min(whole, self._size * 2) if grant.units >= most else max(1, whole // 2)
        return grant


class Limiter:
    """The gauges of this process: made when first asked for, the longest unused forgotten.

    Args:
        lease: asks the shared catalog; None: this process keeps its limits alone.
        share: how many processes split each limit evenly because they share nothing.
    """

    def __init__(self, clock: Clock, *, lease: Lease | None = None, share: int = 1) -> None:
        self._clock = clock
        self._lease = lease
        self._share = share
        self._gauges: OrderedDict[str, Gauge] = OrderedDict()

    def gauge(self, key: str, limit: Limit) -> Gauge:
        """Return the gauge of `key`, which keeps what it has counted when its limit changes."""
        found = self._gauges.get(key)
        if found is None:
            found = self._gauges[key] = self._made(key, limit)
            if len(self._gauges) > _REMEMBERED:
                self._gauges.popitem(last=False)
            return found
        self._gauges.move_to_end(key)
        part = self._part(limit)
        if found.limit != part:
            found.limit = part
        return found

    def _made(self, key: str, limit: Limit) -> Gauge:
        if self._lease is not None:
            return SharedGauge(limit, self._clock, key, self._lease)
        return Gauge(self._part(limit), self._clock)

    def _part(self, limit: Limit) -> Limit:
        if self._share == 1 or self._lease is not None:
            return limit
        return Limit(limit.rate / self._share, max(1.0, limit.burst / self._share))
