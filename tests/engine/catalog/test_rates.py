"""Limits that processes share through the catalog: together they take no more than one would."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from holdfast.api.exchange import Exchange
from holdfast.api.rating import RatePrincipal, Rating
from holdfast.catalog.rates import RateAsk
from holdfast.config.settings import RateSettings
from holdfast.core.clock import Environment, ManualClock
from holdfast.core.errors import RateLimitedError
from holdfast.core.types import Principal, Rate
from holdfast.engine.limiter import Limiter, SharedGauge
from holdfast.policy.rate import Limit
from tests.engine.catalog.support import desk_at, run
from tests.servers_postgres import fresh_database

pytestmark = pytest.mark.engine

LIMIT = Limit(100, 10)


def ask(most: int = 1, least: int = 1, *, forced: bool = False, limit: Limit = LIMIT) -> RateAsk:
    return RateAsk(most, limit.cost(most), least, limit.cost(least), limit.tolerance, forced)


def test_most_then_least_then_nothing(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            lease = desk.catalog.lease_rate
            start = await desk.catalog.now()
            first = await lease("k", ask(8))
            assert (first.units, first.arrival, first.now) == (8, start + 80_000, start)
            second = await lease("k", ask(8))
            assert (second.units, second.arrival) == (1, start + 90_000)
            assert (await lease("k", ask(8))).units == 1
            third = await lease("k", ask(8))
            assert (third.units, third.arrival) == (0, start + 100_000)
            assert (await lease("other", ask(10))).units == 10
            forced = await lease("k", ask(50, 5, forced=True))
            assert (forced.units, forced.arrival) == (5, start + 150_000)
            desk.advance(0.150)
            fresh = await lease("k", ask(10))
            assert (fresh.units, fresh.arrival) == (10, start + 250_000)

    run(story())


def test_many_at_once_take_no_more_than_there_is(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            grants = await asyncio.gather(*[desk.catalog.lease_rate("k", ask(3)) for _ in range(40)])
            assert sum(grant.units for grant in grants) == 10
            assert max(grant.arrival for grant in grants) == grants[0].now + 100_000

    run(story())


def test_old_limits_are_dropped_and_others_stay(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            await desk.catalog.lease_rate("old", ask())
            desk.advance(30)
            await desk.catalog.lease_rate("new", ask(10))
            desk.advance(31)
            assert await desk.catalog.forget_rates() == 1
            desk.advance(60)
            await desk.catalog.lease_rate("newer", ask())
            await desk.catalog.expire()
            assert await desk.catalog.forget_rates() == 0

    run(story())


def test_three_services_on_one_postgresql_keep_one_limit() -> None:
    async def story() -> None:
        world = Environment.seeded(1)
        clock = world.clock
        assert isinstance(clock, ManualClock)
        url = fresh_database()
        async with desk_at(url, world) as one, desk_at(url, world, fresh=False) as two:
            async with desk_at(url, world, fresh=False) as three:
                calls = 0
                gauges = []
                for desk in (one, two, three):

                    async def counted(key: str, asked: RateAsk, lease=desk.catalog.lease_rate):  # type: ignore[no-untyped-def]
                        nonlocal calls
                        calls += 1
                        return await lease(key, asked)

                    gauges.append(SharedGauge(LIMIT, clock, "principal", counted))
                admitted = asked = 0
                while clock.monotonic() < 3:
                    verdicts = await asyncio.gather(*[gauge.take() for gauge in gauges for _ in range(2)])
                    admitted += sum(verdict.allowed for verdict in verdicts)
                    asked += len(verdicts)
                    clock.advance(0.005)
                assert asked == 3600
                assert 300 <= admitted <= 310
                assert calls < asked / 6

    run(story())


def test_the_door_keeps_limits_of_any_name_in_the_catalog(catalog_url: str) -> None:
    async def nothing(*given: Any) -> Any:
        return {"type": "http.request", "body": b""}

    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            limiter = Limiter(desk.world.clock, lease=desk.catalog.lease_rate)
            layer = RatePrincipal(Rating(limiter, RateSettings(burst=10.0), desk.world.clock), RateSettings())
            told = []
            for name in ("plain", "nul\0 and \ud800", "plain", "plain", "nul\0 and \ud800"):
                exchange = Exchange({"method": "GET", "path": "/", "headers": []}, nothing, nothing)
                exchange.principal = Principal(name, "t", rate=Rate(requests=0.2, bytes_in=1024))
                try:
                    await layer(exchange, nothing)
                    told.append(dict(exchange.added)[b"ratelimit"])
                except RateLimitedError as error:
                    told.append(b"refused" if error.retry_after == 5.0 else b"?")
            left = b'"principal";r=%d;t=%d'
            assert told == [left % (1, 5), left % (1, 5), left % (0, 10), b"refused", left % (0, 10)]

    run(story())


def test_the_same_on_the_clock_of_the_server() -> None:
    async def story() -> None:
        url = fresh_database()
        async with desk_at(url, Environment()) as one, desk_at(url, Environment(), fresh=False) as two:
            gauges = [
                SharedGauge(LIMIT, desk.world.clock, "k", desk.catalog.lease_rate) for desk in (one, two)
            ]
            started = await one.catalog.now()
            admitted = 0
            for _ in range(150):
                verdicts = await asyncio.gather(*[gauge.take() for gauge in gauges])
                admitted += sum(verdict.allowed for verdict in verdicts)
                await asyncio.sleep(0.002)
            row = await one.catalog.lease_rate("k", ask())
            seconds = (row.now - started) / 1_000_000
            assert 10 <= admitted <= 10 + 100 * seconds + 1

    run(story())
