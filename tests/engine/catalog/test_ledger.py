"""The ledger of stores: processes add up, days stay apart, and a measurement is kept for its day."""

from __future__ import annotations

import asyncio

import pytest

from holdfast.catalog import open_catalog
from holdfast.catalog.ledger import DAY
from holdfast.core.ledger import Daily, Entry, Holding
from tests.engine.catalog.support import desk_at, run

pytestmark = pytest.mark.engine


def test_two_processes_add_up(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            other = await open_catalog(catalog_url, environment=desk.world)
            try:
                entries = [Entry("a", "read", 1, 0, 0, 10), Entry("b", "write", 2, 1, 7, 0)]
                adding = [
                    catalog.add_to_ledger(entries[::way])
                    for catalog in (desk.catalog, other)
                    for way in (1, -1)
                ]
                await asyncio.gather(*adding * 1)
                today = await desk.catalog.now() // DAY
                found, held = await other.store_days(today - 1, today + 2)
                by_verb = {daily.entry.verb: daily for daily in found}
                assert by_verb["read"].entry == Entry("a", "read", 4, 0, 0, 40)
                assert by_verb["write"].entry == Entry("b", "write", 8, 4, 28, 0)
                assert not held
            finally:
                await other.close()

    run(story())


def test_a_range_of_days_holds_its_first_and_not_its_end(sqlite_url: str) -> None:
    async def story() -> None:
        async with desk_at(sqlite_url) as desk:
            first = await desk.catalog.now() // DAY
            for _ in range(3):
                await desk.catalog.add_to_ledger([Entry("a", "read", 1, 0, 0, 0)])
                desk.advance(86_400)
            found, _ = await desk.catalog.store_days(first, first + 2)
            assert found == [Daily(first + day, Entry("a", "read", 1, 0, 0, 0)) for day in (0, 1)]

    run(story())


def test_the_last_measurement_of_a_day_is_kept(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            now = await desk.catalog.now()
            await desk.catalog.keep_store_uses(
                [("a", 1, 5, 50), ("a", 2, 1, 7), ("b", 1, 1, 1)], measured=now
            )
            await desk.catalog.keep_store_uses([("a", 1, 6, 60)], measured=now + 1)
            await desk.catalog.keep_store_uses([("a", 1, 1, 1)], measured=now + 2 * DAY)
            day = now // DAY
            _, held = await desk.catalog.store_days(day, day + 3)
            assert held == [Holding("a", day, 60, 6), Holding("b", day, 1, 1), Holding("a", day + 2, 1, 1)]

    run(story())
