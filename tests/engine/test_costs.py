"""The month's cost of what is stored: by store, tenant, bucket and class, and who may see what of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from decimal import Decimal
from itertools import pairwise

import pytest

from holdfast.core.backend import Store
from holdfast.core.body import Body
from holdfast.core.clock import Environment, ManualClock
from holdfast.core.errors import NotFoundError, PermissionDeniedError
from holdfast.core.types import Principal
from holdfast.engine.administration import Administration
from holdfast.engine.costs import LEAVING, By, price_key
from holdfast.engine.engine import Engine
from holdfast.engine.measuring import measure
from holdfast.engine.settings import EngineSettings
from holdfast.jobs.measuring import keep_measuring
from holdfast.policy.comparing import Portion
from holdfast.policy.cost import Billing, Use
from holdfast.policy.prices import PriceBook, parse
from tests.helpers import engine_on, memory_store, noise, run

pytestmark = pytest.mark.engine

KB = 1000
#: Dollars for a byte, so that small contents cost whole numbers.
BOOK = parse(
    {
        "dear": {"storage": 10**9, "as_of": "2026-11-01", "source": "a test", "unsure": True},
        "cheap": {"storage": 10**8, "free_gb": "0.000001", "note": "the first KB is free"},
        "nothing": {"storage": "unknown"},
        "free": {"storage": 0},
    }
)


@asynccontextmanager
async def office(url: str, *stores: Store, book: PriceBook = BOOK) -> AsyncIterator[Engine]:
    environment = Environment.seeded(3)
    settings = EngineSettings(prices=book)
    async with engine_on(url, *stores, environment=environment, settings=settings) as (engine, _):
        yield engine


def store(name: str, price: str, *labels: str) -> Store:
    made = memory_store(name, Environment.seeded(1))
    made.price, made.labels = price, frozenset(labels)
    return made


def who(engine: Engine, role: str = "operator", tenant: str = "default") -> Administration:
    return engine.session(Principal(f"a-{role}", tenant, role)).admin


async def put(engine: Engine, tenant: str, bucket: str, key: str, size: int) -> None:
    session = engine.session(Principal("w", tenant, "admin"))
    await session.put(bucket, key, Body.of_bytes(noise(size)))


async def two_tenants(engine: Engine) -> None:
    await engine.catalog.create_tenant("acme")
    await engine.catalog.create_bucket("acme", "films")
    await put(engine, "default", "plain", "a", 1 * KB)
    await put(engine, "default", "kept", "b", 2 * KB)
    await put(engine, "acme", "films", "c", 5 * KB)


def lines(report: object) -> dict[str, tuple[int, Decimal | None]]:
    return {line.name: (line.bytes, line.amount) for line in report.lines}  # type: ignore[attr-defined]


def test_the_same_sums_however_the_report_is_cut(catalog_url: str) -> None:
    async def story() -> None:
        stores = (store("near", "cheap", "internal", "hot"), store("far", "dear", "external", "cold"))
        async with office(catalog_url, *stores) as engine:
            await two_tenants(engine)
            boss = who(engine)
            by_store = await boss.costs(By.STORE)
            # 8 KB at each: 7 of them are paid for at the cheap one
            assert lines(by_store) == {"far": (8 * KB, Decimal(8000)), "near": (8 * KB, Decimal(700))}
            assert {line.name: line.keys for line in by_store.lines} == {"far": ("dear",), "near": ("cheap",)}
            assert {
                source.key: (source.as_of, source.source, source.unsure) for source in by_store.provenance
            } == {
                "dear": ("2026-11-01", "a test", True),
                "cheap": ("", "", False),
            }
            assert by_store.notes == ("the first KB is free",)
            by_class = await boss.costs(By.CLASS)
            assert lines(by_class) == {"cold": (8 * KB, Decimal(8000)), "hot": (8 * KB, Decimal(700))}
            by_tenant = await boss.costs(By.TENANT)
            assert lines(by_tenant) == {
                "acme": (10 * KB, Decimal("5437.5")),
                "default": (6 * KB, Decimal("3262.5")),
            }
            by_bucket = await boss.costs(By.BUCKET)
            assert lines(by_bucket)["acme/films"] == (10 * KB, Decimal("5437.5"))
            assert {one.total for one in (by_store, by_class, by_tenant, by_bucket)} == {Decimal(8700)}
            for line in by_bucket.lines:  # two copies of what the exact counters say
                tenant, _, bucket = line.name.partition("/")
                usage = await engine.catalog.usage(tenant, bucket)
                assert line.logical == usage.bytes
                assert line.bytes == 2 * usage.bytes

    run(story())


def test_an_older_measurement_is_told_apart_from_the_counters(sqlite_url: str) -> None:
    async def story() -> None:
        async with office(sqlite_url, store("near", "dear")) as engine:
            await put(engine, "default", "plain", "a", KB)
            boss, clock = who(engine), engine.context.environment.clock
            assert isinstance(clock, ManualClock)
            first = await boss.costs(By.TENANT)  # nothing was measured before: done now
            clock.advance(500)
            await put(engine, "default", "plain", "b", 2 * KB)
            later = await boss.costs(By.TENANT)
            assert later.measured == first.measured
            assert [(line.bytes, line.logical) for line in later.lines] == [(KB, 3 * KB)]
            fresh = await boss.costs(By.TENANT, fresh=True)
            assert (fresh.measured or 0) - (first.measured or 0) == 500_000_000
            assert [(line.bytes, line.logical, line.amount) for line in fresh.lines] == [
                (3 * KB, 3 * KB, 3000)
            ]
            await engine.session(Principal("w", "default", "admin")).delete("plain", "a")
            leaving = await boss.costs(By.BUCKET, fresh=True)
            assert lines(leaving)[LEAVING] == (KB, Decimal(1000))
            assert lines(leaving)["default/plain"] == (2 * KB, Decimal(2000))

    run(story())


def test_what_has_no_price_is_unknown_and_so_is_the_sum(sqlite_url: str) -> None:
    async def story() -> None:
        stores = (store("near", ""), store("nothing", ""), store("free", ""), store("said", "free"))
        async with office(sqlite_url, *stores) as engine:
            await put(engine, "default", "plain", "a", KB)
            report = await who(engine).costs(By.STORE)
            assert lines(report) == {
                "near": (KB, None),
                "nothing": (KB, None),  # priced by its own name, of which the price is not known
                "free": (KB, None),  # a name says nothing about money
                "said": (KB, Decimal(0)),
            }
            assert report.total is None
            assert report.known == 0
            assert any("give the store a price key" in note for note in report.notes)
            keys = {name: price_key(engine.context, name) for name in ("near", "nothing", "free", "said")}
            assert keys == {"near": "", "nothing": "nothing", "free": "", "said": "free"}

    run(story())


def test_who_sees_what(sqlite_url: str) -> None:
    async def story() -> None:
        async with office(sqlite_url, store("near", "dear")) as engine:
            await two_tenants(engine)
            own = await who(engine, "admin", "acme").costs(By.BUCKET)
            assert lines(own) == {"acme/films": (5 * KB, Decimal(5000))}
            assert own.total == 5000
            assert lines(await who(engine).costs(By.TENANT, tenant="acme")) == {
                "acme": (5 * KB, Decimal(5000))
            }
            for refused in (
                who(engine, "admin", "acme").costs(By.STORE, tenant="default"),
                who(engine, "admin", "acme").costs(By.STORE, fresh=True),
                who(engine, "admin", "acme").compare_costs("dear", None),
                who(engine, "writer").costs(By.STORE),
                who(engine, "reader").compare_costs("dear", []),
            ):
                with pytest.raises(PermissionDeniedError):
                    await refused
            with pytest.raises(NotFoundError):
                await who(engine).costs(By.STORE, tenant="nobody")
            assert who(engine, "admin").prices() is BOOK

    run(story())


def test_what_is_stored_is_compared_with_one_price_for_all(sqlite_url: str) -> None:
    async def story() -> None:
        stores = (store("near", "free"), store("far", "dear"))
        async with office(sqlite_url, *stores) as engine:
            await two_tenants(engine)
            found = await who(engine).compare_costs("dear", None)
            assert {row.portion.name: (row.single, row.split) for row in found.portions} == {
                "acme/films in far": (5000, 5000),
                "default/kept in far": (2000, 2000),
                "default/plain in far": (1000, 1000),
                "acme/films in near": (5000, 0),
                "default/kept in near": (2000, 0),
                "default/plain in near": (1000, 0),
            }
            assert (found.single.total, found.split.total, found.percent) == (16_000, 8_000, 50)
            one = await who(engine, "admin").compare_costs(
                "cheap", [Portion("x", Use(bytes=3 * KB), "free")], billing=Billing.BILLED
            )
            assert one.saving == 200

    run(story())


def test_the_job_measures_again_and_again_and_processes_take_turns(sqlite_url: str) -> None:
    async def story() -> None:
        async with office(sqlite_url, store("near", "dear")) as engine:
            clock = engine.context.environment.clock
            assert isinstance(clock, ManualClock)
            await put(engine, "default", "plain", "a", KB)
            job = asyncio.ensure_future(keep_measuring(engine, 3600))
            seen: set[int | None] = set()
            while len(seen) < 3:  # the job's sleep lets the clock go on by itself
                await asyncio.sleep(0.001)
                measured, _ = await engine.catalog.store_uses()
                seen |= {measured} - {None}
            job.cancel()
            with suppress(asyncio.CancelledError):
                await job
            times = sorted(time for time in seen if time is not None)
            assert all(b - a >= 0.75 * 3600e6 for a, b in pairwise(times))
            assert await measure(engine.context)
            assert not await measure(engine.context, younger=1800)
            clock.advance(1801)
            assert await measure(engine.context, younger=1800)
            await keep_measuring(engine, 0)  # turned off: ends at once

    run(story())


def test_contents_of_unannounced_size_are_measured_too(catalog_url: str) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield noise(KB)

    async def story() -> None:
        async with office(catalog_url, store("near", "dear")) as engine:
            session = engine.session(Principal("w", "default", "admin"))
            await session.put("plain", "whole", Body.of_stream(chunks()))
            upload = await session.create_upload("plain", "parts")
            part = await session.put_part("plain", "parts", upload.id, 1, Body.of_stream(chunks()))
            report = await who(engine).costs(By.BUCKET)
            assert lines(report)["default/plain"] == (6 * KB, Decimal(6000))
            await session.complete_upload("plain", "parts", upload.id, [(1, part.etag)])
            again = await who(engine).costs(By.BUCKET, fresh=True)
            assert lines(again)["default/plain"] == (6 * KB, Decimal(6000))

    run(story())
