"""What a simulation says is what `reconcile` then does; and what it costs, or that this is not known."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest

from holdfast.catalog import open_catalog
from holdfast.core.body import Body
from holdfast.core.clock import Environment
from holdfast.core.records import Fragment, HeldVersion
from holdfast.core.types import EMPTY, ObjectRef, Principal, Replica
from holdfast.engine.engine import Engine
from holdfast.engine.replicas import reconcile
from holdfast.engine.ruling import Wanted
from holdfast.engine.session import Session
from holdfast.engine.settings import EngineSettings
from holdfast.engine.simulating import Simulation, Tally, priced
from holdfast.engine.write import ObjectInput
from holdfast.policy.placement import Match, Placement, Rule
from holdfast.policy.prices import parse
from tests.helpers import memory_store, noise, run

pytestmark = pytest.mark.engine

OPERATOR = Principal("boss", "default", "operator")
BOOK = parse(
    {
        "near": {"storage": "0.02", "write": "0.005", "read": "0.0004", "egress": "0.09"},
        "far": {"storage": "0.01", "write": "0.01", "read": "0.001", "egress": 0},
    }
)


@asynccontextmanager
async def service(url: str) -> AsyncIterator[tuple[Engine, Session]]:
    """Give an engine with two priced stores and one without a price, and things in all of them."""
    world = Environment()
    stores = {name: memory_store(name, world) for name in ("one", "two", "three")}
    stores["one"].price, stores["two"].price = "near", "far"
    catalog = await open_catalog(url, environment=world, upgrade=True)
    placement = Placement(Rule("default", ("one",)), (), inline=20)
    engine = Engine(catalog, stores, placement, environment=world, settings=EngineSettings(prices=BOOK))
    session = engine.session(OPERATOR)
    try:
        await catalog.create_tenant("default")
        await session.create_bucket("plain")
        await session.create_bucket("kept", versioning=True)
        yield engine, session
    finally:
        await engine.close()


async def fill(engine: Engine, session: Session, seed: int) -> None:
    """Put things of all kinds where all kinds of rules wanted them."""
    dice = random.Random(seed)
    for round in range(3):
        wanted = tuple(dice.sample(("one", "two", "three"), dice.randint(1, 3)))
        rules = [Rule(f"r{round}", wanted, Match(keys=("a*",)), acknowledge=len(wanted))] if round else []
        await session.admin.change_rules(lambda held, rules=rules: rules)
        for number in range(6):
            bucket, key = dice.choice(("plain", "kept")), f"{dice.choice('ab')}{number}"
            about = ObjectInput(
                tags={"t": dice.choice("xy")}, storage_class=dice.choice(("", "COLD")), content_type="a/b"
            )
            await session.put(bucket, key, Body.of_bytes(noise(dice.choice((5, 19, 20, 900)))), about)
    upload = await session.create_upload("plain", "a-parts")
    parts = [
        await session.put_part("plain", "a-parts", upload.id, n, Body.of_bytes(noise(8))) for n in (1, 2)
    ]
    await session.complete_upload("plain", "a-parts", upload.id, [(part.number, part.etag) for part in parts])
    await session.delete("kept", "a1")
    await session.put("plain", "b-empty", Body.of_bytes(b""))
    copies = [copy for copy in await copies_of(engine) if copy.store != "catalog" and copy.state == "live"]
    await engine.catalog.suspect(dice.choice(copies).id)


async def copies_of(engine: Engine) -> Sequence[Replica]:
    return await engine.catalog.replicas()


async def bring_home(engine: Engine) -> dict[str, int]:
    """Reconcile every version; return what that did."""
    done = {"copied": 0, "bytes": 0, "doomed": 0, "moved": 0}
    after: Any = (-1, "", 0)
    while after is not None:
        page = await engine.catalog.held_versions(after=after, limit=7)
        for version in page.versions:
            report = await reconcile(engine.context, version.ref, version.version_id)
            assert report.settled, (version, report.trouble)
            done["copied"] += report.copied
            done["bytes"] += report.bytes
            done["doomed"] += report.doomed
            done["moved"] += bool(report.copied or report.doomed)
        after = page.after
    return done


@pytest.mark.parametrize("seed", range(6))
def test_its_answer_is_what_reconcile_then_does(sqlite_url: str, seed: int) -> None:
    async def story() -> None:
        async with service(sqlite_url) as (engine, session):
            await fill(engine, session, seed)
            dice = random.Random(seed + 100)
            rules = (
                Rule("tagged", ("two", "three"), Match(tags={"t": "x"}), acknowledge=2),
                Rule("cold", ("three",), Match(storage_classes=("COLD",)), inline=0),
                Rule(
                    "kept",
                    (dice.choice(("one", "two")),),
                    Match(buckets=("kept",)),
                    inline=dice.choice((0, 950)),
                ),
            )
            told, _ = await session.admin.simulate(Wanted(rules=rules))
            assert told.moving.objects > 0
            assert told.lost.objects == 0
            await session.admin.change_rules(lambda held: rules)
            assert await bring_home(engine) == {
                "copied": sum(load.writes for load in told.stores.values()),
                "bytes": sum(load.written for load in told.stores.values()),
                "doomed": sum(load.deletes for load in told.stores.values()),
                "moved": told.moving.objects,
            }
            again, _ = await session.admin.simulate(Wanted())
            assert (again.moving.objects, again.moves, again.flows) == (0, {}, {})
            assert again.every == told.every
            assert {name: load.before for name, load in again.stores.items() if load.before.objects} == {
                name: load.after for name, load in told.stores.items() if load.after.objects
            }
            counted = sum(count.objects for count in told.rules.values())
            assert counted == told.every.objects
            assert sum(count.objects for count in told.moves.values()) == told.moving.objects

    run(story())


def held(
    key: str, size: int, stores: tuple[str, ...], parts: int = 1, broken: tuple[Fragment, ...] = ()
) -> HeldVersion:
    ref = ObjectRef("t", "b", key)
    return HeldVersion(ref, key, size, "a/b", "", EMPTY, None, False, parts, stores, broken)


def simulated(placement: Placement, *versions: HeldVersion) -> Simulation:
    tally = Tally(placement, {"catalog": 0, "near": 1, "far": 2})
    tally.take(versions)
    return tally.made


def test_calls_are_counted_by_class_and_the_nearest_copy_is_read() -> None:
    placement = Placement(Rule("default", ("new", "far")))
    made = simulated(
        placement,
        held("a", 10, ("far", "near"), parts=3),  # read near, write new, remove near
        held("b", 5, ("far", "new")),  # at home
        held("c", 7, ()),  # lost
        held("d", 2, ("far",), broken=(Fragment("near", 1, 2, 0, 0),)),
        held("e", 30, ("far",), parts=3, broken=(Fragment("new", 2, 20, 1, 10),)),  # one of three is sound
    )
    assert (made.every.objects, made.moving.objects, made.lost.objects) == (5, 3, 1)
    near, new, far = made.stores["near"], made.stores["new"], made.stores["far"]
    assert (near.reads, near.read, near.deletes, near.writes) == (3, 10, 4, 0)
    assert (new.writes, new.written, new.after.objects, new.before.objects) == (6, 32, 4, 2)
    assert (new.deletes, new.before.bytes) == (1, 25)
    assert (far.reads, far.read, far.deletes) == (3, 22, 0)
    assert {flow: count.blobs for flow, count in made.flows.items()} == {
        ("near", "new"): 3,
        ("far", "new"): 3,
    }
    assert made.moves[("far", "near"), ("far", "new")].bytes == 10


def test_money_is_known_or_said_to_be_unknown() -> None:
    gigabyte = 10**9
    placement = Placement(Rule("default", ("far",)))
    made = simulated(placement, *(held(f"k{n}", gigabyte, ("near",)) for n in range(1000)))
    made.stores["near"].price, made.stores["far"].price = "near", "far"
    told = priced(made, BOOK)
    # 1,000 reads at 0.0004, 1,000 GB out at 0.09, 1,000 writes at 0.01, each a thousand at a time
    assert told.once.total == Decimal("0.0004") + Decimal("90.00") + Decimal("0.01")
    assert (told.before.total, told.after.total) == (Decimal(20), Decimal(10))
    made.stores["far"].price = "no-such-key"
    told = priced(made, BOOK)
    assert (told.once.total, told.after.total) == (None, None)
    assert told.before.total == Decimal(20)
    assert any("not known" in note for note in told.after.notes)


def test_a_store_that_is_only_supposed_has_its_price(sqlite_url: str) -> None:
    async def story() -> None:
        async with service(sqlite_url) as (_, session):
            await session.put("plain", "k", Body.of_bytes(noise(1000)))
            wanted = Wanted(rules=(Rule("new", ("later",)),), stores={"later": "far"}, inline=0)
            told, money = await session.admin.simulate(wanted)
            assert told.stores["later"].price == "far"
            assert told.stores["later"].after.bytes == 1000
            assert money.after.total == Decimal("0.01") * 1000 / 10**9
            default = Wanted(default=Rule("default", ("three",)))
            told, money = await session.admin.simulate(default)
            assert list(told.moves) == [(("one",), ("three",))]
            assert money.after.total is None  # `three` has no price

    run(story())
