"""What stores were asked, written down beside the engine; advice from what the catalog knows; and who may ask."""

from __future__ import annotations

from decimal import Decimal

import pytest

from holdfast.catalog.ledger import DAY
from holdfast.core.backend import Store
from holdfast.core.body import Body
from holdfast.core.clock import Environment, ManualClock
from holdfast.core.errors import InvalidRequestError, PermissionDeniedError, UnavailableError
from holdfast.core.ledger import Entry, Ledger
from holdfast.core.names import INLINE
from holdfast.core.types import Principal
from holdfast.engine.ledger import write_ledger
from holdfast.engine.measuring import measure
from holdfast.engine.settings import EngineSettings
from holdfast.layers.billing import Billing
from holdfast.policy.prices import parse
from tests.helpers import engine_on, memory_store, noise, run

pytestmark = pytest.mark.engine

BOOK = parse(
    {
        "p.hot": {"storage": 1000, "write": 1, "read": 1, "egress": 0},
        "p.cold": {"storage": 10, "write": 1, "read": 1, "egress": 0, "retrieval": 100},
    }
)
OPERATOR = Principal("op", "default", "operator")


def counted(world: Environment, ledger: Ledger) -> Store:
    store = memory_store("hot", world)
    store.backend = Billing(store.backend, ledger)
    store.price = "p.hot"
    return store


def test_what_was_asked_is_told_at_once_and_kept_when_the_catalog_is_away(sqlite_url: str) -> None:
    async def story() -> None:
        world = Environment.seeded(3)
        settings = EngineSettings(prices=BOOK)
        async with engine_on(
            sqlite_url, counted(world, made := Ledger()), environment=world, settings=settings
        ) as (
            engine,
            session,
        ):
            object.__setattr__(engine.context, "ledger", made)
            await session.put("plain", "a", Body.of_bytes(noise(5000)))
            async with session.get("plain", "a") as reader:
                await reader.read()
            spending = engine.session(OPERATOR).admin.spending
            (line,) = (await spending.ledger()).lines
            assert (line.store, line.key, line.calls) == ("hot", "p.hot", {"write": 1, "read": 1})
            assert (line.sent, line.use.egress, line.amount) == (5000, 5000, Decimal("0.002"))
            made.add("hot", "delete")
            adding = engine.catalog.add_to_ledger

            async def away(entries: object) -> None:
                raise UnavailableError("the catalog is away")

            engine.catalog.add_to_ledger = away  # type: ignore[method-assign]
            with pytest.raises(UnavailableError):
                await write_ledger(engine.context)
            engine.catalog.add_to_ledger = adding  # type: ignore[method-assign]
            await engine.count_reads()
            (line,) = (await spending.ledger(store="hot")).lines
            assert line.calls == {"write": 1, "read": 1, "delete": 1}
            assert (await spending.ledger(store="other")).lines == ()

    run(story())


def test_what_if_scales_what_was_measured(sqlite_url: str) -> None:
    async def story() -> None:
        world = Environment.seeded(3)
        async with engine_on(
            sqlite_url, counted(world, Ledger()), environment=world, settings=EngineSettings(prices=BOOK)
        ) as (engine, session):
            await session.put("plain", "a", Body.of_bytes(noise(10**6)))
            spending = engine.session(OPERATOR).admin.spending
            await engine.catalog.add_to_ledger([Entry("hot", "read", 30, 0, 0, 300)])
            clock = world.clock
            assert isinstance(clock, ManualClock)
            clock.advance(2 * 86_400)
            await measure(engine.context)
            found = await spending.what_if({"hot": "p.cold"})
            use = found.uses["hot"]
            assert found.days == 3
            assert (use.bytes, use.objects, use.reads, use.egress) == (10**6, 1, 300, 3000)
            assert found.before.total == Decimal("1.3")
            assert found.after.total is not None
            assert found.after.total < Decimal("0.4")
            assert (await spending.savings("p.cold")).months[-1].days == 1
            for wrong in ({"none": "p.hot"}, {"hot": "gold"}):
                with pytest.raises(InvalidRequestError):
                    await spending.what_if(wrong)

    run(story())


def test_advice_looks_at_every_version(catalog_url: str) -> None:
    async def story() -> None:
        world = Environment.seeded(3)
        async with engine_on(
            catalog_url, counted(world, Ledger()), environment=world, settings=EngineSettings(prices=BOOK)
        ) as (engine, session):
            for number in range(3):
                await session.put("kept", f"k{number}", Body.of_bytes(noise(1000)))
            await session.delete("kept", "k0")
            spending = engine.session(OPERATOR).admin.spending
            supposed = {"cold": "p.cold"}
            assert (await spending.advice(supposed=supposed)).busy == 3
            ageing = engine.catalog.now
            later = await ageing() + 100 * DAY

            async def now() -> int:
                return later

            engine.catalog.now = now  # type: ignore[method-assign]
            found = await spending.advice(supposed=supposed)
            (one,) = found.advice
            assert (one.bucket, one.store, one.target, one.idle, one.objects) == (
                "default/kept",
                "hot",
                "cold",
                90,
                3,
            )
            assert (found.objects, found.busy) == (3, 0)
            assert "do not count reads" in found.notes[0]
            assert "`idle_days`" in found.notes[0]  # the member that rules have
            assert not (await spending.advice(supposed=supposed, tenant="nobody")).advice
            for wrong in ({"cold": "gold"}, {"hot": "p.cold"}, {INLINE: "p.cold"}):
                with pytest.raises(InvalidRequestError):
                    await spending.advice(supposed=wrong)
            with pytest.raises(InvalidRequestError, match="horizon"):
                await spending.advice(horizon=3)

    run(story())


def test_these_reports_are_for_operators(sqlite_url: str) -> None:
    async def story() -> None:
        world = Environment.seeded(3)
        async with engine_on(sqlite_url, counted(world, Ledger()), environment=world) as (engine, _):
            for role in ("admin", "writer", "reader"):
                spending = engine.session(Principal("p", "default", role)).admin.spending
                for asked in (
                    spending.ledger(),
                    spending.what_if({}),
                    spending.savings("p.hot"),
                    spending.advice(),
                ):
                    with pytest.raises(PermissionDeniedError):
                        await asked

    run(story())
