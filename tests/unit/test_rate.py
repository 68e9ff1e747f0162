"""GCRA as arithmetic, and gauges that keep it: alone, or leasing from a catalog that others ask too."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.catalog.rates import RateAsk, RateGrant
from holdfast.core.clock import ManualClock
from holdfast.core.errors import UnavailableError
from holdfast.engine.limiter import Gauge, Limiter, SharedGauge
from holdfast.policy.rate import SECOND, Limit, charge, limit_of, room, take

pytestmark = pytest.mark.unit


class Desk:
    """A catalog's answer, in memory: the same arithmetic as its statement."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.arrivals: dict[str, int] = {}
        self.calls = 0
        self.down = False

    async def lease(self, key: str, ask: RateAsk) -> RateGrant:
        self.calls += 1
        if self.down:
            raise UnavailableError("gone")
        now = self.clock.now()
        base, edge = max(self.arrivals.get(key, 0), now), now + ask.tolerance
        if base + ask.most_cost <= edge:
            units, cost = ask.most, ask.most_cost
        elif base + ask.least_cost <= edge or ask.forced:
            units, cost = ask.least, ask.least_cost
        else:
            units, cost = 0, 0
        self.arrivals[key] = base + cost
        return RateGrant(units, base + cost, now)


@settings(max_examples=300, deadline=None)
@given(
    rate=st.floats(0.2, 5000),
    burst=st.floats(1, 500),
    steps=st.lists(st.tuples(st.integers(0, 300_000), st.integers(1, 8)), max_size=60),
)
def test_no_stretch_of_time_takes_more_than_burst_and_rate(
    rate: float, burst: float, steps: list[tuple[int, int]]
) -> None:
    limit, arrival, now = Limit(rate, burst), 0, 1
    took: list[tuple[int, int]] = []
    for pause, most in steps:
        now += pause
        taken = take(limit, arrival, now, most=most)
        assert taken.units in (0, 1, most)
        arrival = taken.arrival
        took.append((now, taken.units))
    for index, (start, _) in enumerate(took):
        total = 0
        for at, units in took[index:]:
            total += units
            allowed = max(burst, 1) + rate * (at - start) / SECOND
            assert total <= allowed * (1 + 2e-3) + 1


def test_a_limit_of_100_with_10_at_once_admits_310_in_three_seconds() -> None:
    limit, arrival, admitted = Limit(100, 10), 0, 0
    for now in range(1, 3 * SECOND + 1, 500):
        taken = take(limit, arrival, now)
        arrival, admitted = taken.arrival, admitted + taken.units
    assert admitted == 309 or admitted == 310


@pytest.mark.parametrize("rate", [0.1, 1, 3, 7, 1 / 3, 1000])
def test_the_burst_comes_at_once_and_the_next_one_waits(rate: float) -> None:
    limit = limit_of(rate, 5.0)
    assert limit is not None
    arrival, whole = 0, int(limit.burst)
    for _ in range(whole):
        taken = take(limit, arrival, 1000)
        assert taken.units == 1
        arrival = taken.arrival
    refused = take(limit, arrival, 1000)
    assert refused.units == 0
    assert take(limit, arrival, 1000 + refused.wait - 1).units == 0
    assert take(limit, arrival, 1000 + refused.wait).units == 1


def test_what_flowed_is_charged_even_when_it_does_not_fit() -> None:
    limit = Limit(1000, 1000)
    first = charge(limit, 0, 1, 1000)
    assert first.wait == 0
    second = charge(limit, first.arrival, 1, 500)
    assert second.wait == SECOND // 2
    assert room(limit, second.arrival, 1) == 0


def test_no_setting_is_no_limit() -> None:
    assert limit_of(None, 1.0) is None


def test_a_gauge_delays_a_flow_to_its_rate() -> None:
    async def story() -> None:
        clock = ManualClock()
        gauge = Gauge(Limit(1000, 1000), clock)
        sent = 0
        for _ in range(40):
            await clock.sleep(await gauge.charge(250))
            sent += 250
        assert sent == 10_000
        assert clock.monotonic() == pytest.approx(9.0, abs=0.01)

    asyncio.run(story())


def test_three_processes_keep_one_limit() -> None:
    async def story() -> None:
        clock = ManualClock()
        desk = Desk(clock)
        limit = Limit(100, 10)
        gauges = [SharedGauge(limit, clock, "k", desk.lease) for _ in range(3)]
        admitted = asked = 0
        while clock.monotonic() < 3:
            for gauge in gauges:
                asked += 1
                admitted += (await gauge.take()).allowed
            clock.advance(0.001)
        assert 300 <= admitted <= 310
        assert desk.calls < asked / 5

    asyncio.run(story())


def test_a_quiet_limit_is_asked_for_once_per_batch() -> None:
    async def story() -> None:
        clock = ManualClock()
        desk = Desk(clock)
        gauge = SharedGauge(Limit(1000, 1000), clock, "k", desk.lease)
        for _ in range(500):
            clock.advance(0.005)
            assert (await gauge.take()).allowed
        assert desk.calls == 5

    asyncio.run(story())


def test_many_at_once_ask_once() -> None:
    async def story() -> None:
        clock = ManualClock()
        desk = Desk(clock)
        gauge = SharedGauge(Limit(1000, 1000), clock, "k", desk.lease)
        verdicts = await asyncio.gather(*[gauge.take() for _ in range(100)])
        assert all(verdict.allowed for verdict in verdicts)
        assert desk.calls == 1

    asyncio.run(story())


def test_without_the_catalog_each_process_keeps_the_limit_alone() -> None:
    async def story() -> None:
        clock = ManualClock()
        desk = Desk(clock)
        desk.down = True
        gauge = SharedGauge(Limit(100, 10), clock, "k", desk.lease)
        admitted = 0
        for _ in range(1000):
            admitted += (await gauge.take()).allowed
            clock.advance(0.001)
        assert 100 <= admitted <= 110
        assert desk.calls == 1
        desk.down = False
        clock.advance(5)
        assert (await gauge.take()).allowed
        assert desk.calls == 2

    asyncio.run(story())


def test_a_catalog_that_hangs_delays_once_and_no_more() -> None:
    async def story() -> None:
        clock = ManualClock()
        calls = 0

        async def hang(key: str, ask: RateAsk) -> RateGrant:
            nonlocal calls
            calls += 1
            await asyncio.Event().wait()
            raise AssertionError

        gauge = SharedGauge(Limit(100, 10), clock, "k", hang)
        async with asyncio.timeout(5):
            assert (await gauge.take()).allowed
            assert await gauge.charge(3) == 0.0
        assert calls == 1

    asyncio.run(story())


def test_shared_flows_add_up_to_one_rate() -> None:
    async def story() -> None:
        clock = ManualClock()
        desk = Desk(clock)
        gauges = [SharedGauge(Limit(1000, 1000), clock, "k", desk.lease) for _ in range(3)]
        ready, sent = [0.0] * 3, 0
        while clock.monotonic() < 5:
            for index, gauge in enumerate(gauges):
                if ready[index] <= clock.monotonic():
                    sent += 100
                    ready[index] = clock.monotonic() + await gauge.charge(100)
            clock.advance(0.01)
        assert 5000 <= sent <= 1000 + 5 * 1000 + 3 * 100
        assert all(gauge.behind() >= 0 for gauge in gauges)

    asyncio.run(story())


def test_memory_is_bounded_and_changes_of_a_limit_take_effect() -> None:
    async def story() -> None:
        clock = ManualClock()
        limiter = Limiter(clock)
        for number in range(20_000):
            limiter.gauge(f"a:{number}", Limit(1, 1))
        assert len(limiter._gauges) == 16_384
        gauge = limiter.gauge("p:x", Limit(1, 1))
        assert (await gauge.take()).allowed
        assert not (await gauge.take()).allowed
        assert limiter.gauge("p:x", Limit(1000, 1000)) is gauge
        clock.advance(0.01)
        assert (await gauge.take()).allowed

    asyncio.run(story())


def test_processes_that_share_nothing_split_a_limit() -> None:
    gauge = Limiter(ManualClock(), share=4).gauge("p:x", Limit(100, 40))
    assert gauge.limit == Limit(25, 10)
