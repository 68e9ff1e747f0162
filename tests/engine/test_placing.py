"""The placement in force: rules of the file and of the catalog, facts as they are gathered, what is explained."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from holdfast.catalog import open_catalog
from holdfast.core.body import Body
from holdfast.core.clock import Environment, ManualClock
from holdfast.core.errors import (
    AlreadyExistsError,
    ConflictError,
    InvalidRequestError,
    PermissionDeniedError,
)
from holdfast.core.types import ObjectRef, Principal, Threshold
from holdfast.engine.engine import Engine
from holdfast.engine.ruling import Wanted
from holdfast.engine.session import Session
from holdfast.engine.write import ObjectInput
from holdfast.policy.placement import Facts, Match, Placement, Plan, Rule
from tests.helpers import content, memory_store, run

pytestmark = pytest.mark.engine

OPERATOR = Principal("boss", "default", "operator")
NAMES = ("one", "two", "three")
SMALL = ("small", ("two",))


@asynccontextmanager
async def engines(
    url: str, *, count: int = 1, rules: Sequence[Rule] = (), inline: int = 0, world: Environment | None = None
) -> AsyncIterator[list[Engine]]:
    """Give engines over one catalog and the same stores, as processes of one service are."""
    world = world or Environment()
    stores = {name: memory_store(name, world) for name in NAMES}
    placement = Placement(Rule("default", ("one",)), tuple(rules), inline)
    made = []
    for _ in range(count):
        catalog = await open_catalog(url, environment=world, upgrade=True)
        made.append(Engine(catalog, stores, placement, environment=world))
    if not await made[0].catalog.tenants():
        await made[0].catalog.create_tenant("default")
        await made[0].session(OPERATOR).create_bucket("plain")
    try:
        yield made
    finally:
        for engine in made:
            await engine.close()


async def stores_of(session: Session, key: str, bucket: str = "plain") -> set[str]:
    located = await session._catalog.resolve(ObjectRef("default", bucket, key))
    return {replica.store for replica in located.replicas}


async def put(session: Session, key: str, data: bytes = b"content", **about: Any) -> set[str]:
    await session.put("plain", key, Body.of_bytes(data), ObjectInput(**about))
    return await stores_of(session, key)


def stream(*chunks: bytes) -> Body:
    async def given() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    return Body.of_stream(given())


def test_other_rules_are_for_what_comes_and_break_no_read(catalog_url: str) -> None:
    async def story() -> None:
        async with engines(catalog_url) as (engine,):
            session = engine.session(OPERATOR)
            assert await put(session, "before.zip") == {"one"}
            made = await session.admin.change_rules(
                lambda held: (*held, Rule("zips", ("two", "three"), Match(keys=("*.zip",)), acknowledge=2))
            )
            assert (made.generation, [rule.name for rule in made.rules]) == (1, ["zips"])
            assert await put(session, "after.zip") == {"two", "three"}
            assert await put(session, "other") == {"one"}
            await session.admin.change_rules(
                lambda held: [replace(held[0], stores=("three",), acknowledge=1)]
            )
            for key in ("before.zip", "after.zip", "other"):
                assert await content(session, "plain", key) == b"content"
            assert await stores_of(session, "after.zip") == {"two", "three"}
            assert await put(session, "after.zip", b"anew") == {"three"}

    run(story())


def test_every_process_goes_by_other_rules_within_seconds(sqlite_url: str) -> None:
    async def story() -> None:
        clock = ManualClock()
        async with engines(sqlite_url, count=2, world=Environment(clock=clock)) as (here, there):
            ours, theirs = here.session(OPERATOR), there.session(OPERATOR)
            assert await put(theirs, "k") == {"one"}
            await ours.admin.change_rules(lambda held: [Rule("all", ("two",))])
            assert await put(ours, "k") == {"two"}
            assert await put(theirs, "k") == {"one"}  # it has looked a moment ago
            clock.advance(2.1)
            assert await put(theirs, "k") == {"two"}
            assert there.context.placement.rules[0].name == "all"

    run(story())


def test_rules_that_have_not_changed_are_not_made_again(sqlite_url: str) -> None:
    async def story() -> None:
        clock = ManualClock()
        async with engines(sqlite_url, world=Environment(clock=clock)) as (engine,):
            session, placing = engine.session(OPERATOR), engine.context.placing
            await session.admin.change_rules(lambda _: [Rule("zip", ("two",), Match(keys=("*.zip",)))])
            made = placing.current
            await session.admin.rules()
            clock.advance(10)
            assert await placing.fresh() is made
            kept = await placing.look()
            await placing.learn(replace(kept, generation=kept.generation - 1, rules=()))
            assert placing.current is made

    run(story())


def test_objects_go_by_the_old_rules_while_many_new_ones_are_made_ready(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = [
        Rule(
            f"r{number}", ("two",), Match(keys=tuple(f"{number}*?{other}-{'x' * 20}" for other in range(200)))
        )
        for number in range(10)
    ]
    begun, go = threading.Event(), threading.Event()
    prepare = Placement.prepare

    def slowly(self: Placement) -> None:
        begun.set()
        assert go.wait(60)
        prepare(self)

    async def story() -> None:
        clock = ManualClock()
        async with engines(sqlite_url, world=Environment(clock=clock)) as (engine,):
            session = engine.session(OPERATOR)
            assert await put(session, "before") == {"one"}
            monkeypatch.setattr(Placement, "prepare", slowly)
            changing = asyncio.ensure_future(session.admin.change_rules(lambda _: many))
            try:
                assert await asyncio.to_thread(begun.wait, 60)
                clock.advance(10)
                assert await put(session, "3ab7-" + "x" * 20) == {"one"}
            finally:
                go.set()
            await changing
            assert await put(session, "3ab7-" + "x" * 20) == {"two"}

    run(story())


def test_rules_of_the_file_take_the_place_of_those_of_the_catalog(sqlite_url: str) -> None:
    async def story() -> None:
        async with engines(sqlite_url) as (engine,):
            await engine.session(OPERATOR).admin.change_rules(lambda held: [Rule("kept", ("two",))])
        async with engines(sqlite_url, rules=[Rule("own", ("three",))]) as (engine,):
            session = engine.session(OPERATOR)
            assert await put(session, "k") == {"three"}
            found = await session.admin.rules()
            assert found.of_file
            assert ([rule.name for rule in found.rules], [rule.name for rule in found.kept]) == (
                ["own"],
                ["kept"],
            )
            with pytest.raises(ConflictError, match="in its file"):
                await session.admin.change_rules(lambda held: [])
            assert (await session.admin.rules()).generation == 1

    run(story())


def test_rules_that_cannot_be_followed_change_nothing(sqlite_url: str) -> None:
    async def story() -> None:
        async with engines(sqlite_url) as (engine,):
            admin = engine.session(OPERATOR).admin
            for wrong in (Rule("r", ("four",)), Rule("r", ("catalog",)), Rule("r", ())):
                with pytest.raises(InvalidRequestError, match="rule 'r'"):
                    await admin.change_rules(lambda held, wrong=wrong: [wrong])
            await admin.change_rules(lambda held: [Rule("r", ("one",))])
            with pytest.raises(ConflictError, match="generation 1"):
                await admin.change_rules(lambda held: [], expected=0)
            assert [rule.name for rule in (await admin.rules()).rules] == ["r"]
            below = engine.session(Principal("p", "default", "admin")).admin
            with pytest.raises(PermissionDeniedError):
                await below.rules()

    run(story())


RULES = (
    Rule("tagged", ("two",), Match(tags={"keep": "long"})),
    Rule("cold", ("three",), Match(storage_classes=("GLACIER",))),
    Rule("small", ("two",), Match(max_size=200_000, keys=("sized/*",))),
    Rule("large", ("three",), Match(min_size=200_000, keys=("sized/*",))),
)


def test_all_facts_are_gathered(sqlite_url: str) -> None:
    async def story() -> None:
        async with engines(sqlite_url, rules=RULES) as (engine,):
            session = engine.session(OPERATOR)
            assert await put(session, "a", tags={"keep": "long"}) == {"two"}
            assert await put(session, "a", tags={"keep": "short"}) == {"one"}
            assert await put(session, "a", storage_class="GLACIER") == {"three"}
            version = (await session.head("plain", "a"))[0]
            assert version.storage_class == "GLACIER"
            await session.copy(("plain", "a"), ("plain", "b"))
            assert await stores_of(session, "b") == {"three"}
            assert (await session.head("plain", "b"))[0].storage_class == "GLACIER"
            with pytest.raises(InvalidRequestError, match="storage class"):
                await put(session, "a", storage_class="no such")

    run(story())


@pytest.mark.parametrize(("size", "store"), [(199_999, "two"), (200_000, "three"), (300_001, "three")])
def test_a_body_of_unknown_size_is_looked_into(sqlite_url: str, size: int, store: str) -> None:
    async def story() -> None:
        async with engines(sqlite_url, rules=RULES) as (engine,):
            session = engine.session(OPERATOR)
            data = bytes(size)
            pieces = [data[start : start + 7000] for start in range(0, size, 7000)]
            await session.put("plain", "sized/x", stream(*pieces))
            assert await stores_of(session, "sized/x") == {store}
            await session.put("plain", "sized/y", Body.of_bytes(data))
            assert await stores_of(session, "sized/y") == {store}
            assert await content(session, "plain", "sized/x") == data

    run(story())


def test_uploads_in_parts_follow_what_was_said_when_they_were_opened(sqlite_url: str) -> None:
    async def story() -> None:
        async with engines(sqlite_url, rules=RULES, inline=1000) as (engine,):
            session = engine.session(OPERATOR)
            about = ObjectInput(storage_class="GLACIER")
            for key, given, length, store in (
                ("k", about, None, "three"),
                ("sized/s", ObjectInput(), 5, "two"),
                ("sized/l", ObjectInput(), None, "three"),  # unknown: larger than all that rules ask about
                ("k", ObjectInput(tags={"keep": "long"}), 5, "two"),
                ("k", ObjectInput(), 5, "one"),  # never into the catalog
            ):
                upload = await session.create_upload("plain", key, given, size=length)
                part = await session.put_part("plain", key, upload.id, 1, Body.of_bytes(b"piece"))
                made = await session.complete_upload("plain", key, upload.id, [(1, part.etag)])
                assert await stores_of(session, key) == {store}, (key, given)
                assert made.storage_class == given.storage_class

    run(story())


def test_the_threshold_is_that_of_rule_then_bucket_then_tenant_then_service(sqlite_url: str) -> None:
    async def story() -> None:
        clock = ManualClock()
        rules = [Rule("never", ("two",), Match(keys=("*.raw",)), inline=0)]
        async with engines(sqlite_url, rules=rules, inline=100, world=Environment(clock=clock)) as (engine,):
            session = engine.session(OPERATOR)

            async def where(size: int, key: str = "k") -> set[str]:
                clock.advance(2)  # settings are remembered for a second
                return await put(session, key, bytes(size))

            assert (await where(99), await where(100)) == ({"catalog"}, {"one"})
            assert await where(1, "k.raw") == {"two"}
            await session.admin.update_tenant("default", inline=Threshold(50))
            assert (await where(49), await where(50)) == ({"catalog"}, {"one"})
            await session.update_bucket("plain", change=lambda held: replace(held, inline=10))
            assert (await where(9), await where(10)) == ({"catalog"}, {"one"})
            await session.put("plain", "k", stream(b"1234", b"56789"))
            assert await stores_of(session, "k") == {"catalog"}
            await session.update_bucket("plain", change=lambda held: replace(held, inline=None))
            await session.admin.update_tenant("default", inline=Threshold(None))
            assert await where(99) == {"catalog"}
            with pytest.raises(InvalidRequestError, match="inline"):
                await session.admin.update_tenant("default", inline=Threshold(1 << 30))

    run(story())


def test_an_object_is_explained_with_where_it_is(sqlite_url: str) -> None:
    async def story() -> None:
        async with engines(sqlite_url) as (engine,):
            session = engine.session(OPERATOR)
            ref = ObjectRef("default", "plain", "a.zip")
            await put(session, "a.zip")
            found = await session.admin.explain_object(ref)
            assert (found.home, found.explanation.plan) == (True, Plan(("one",), 1, "default"))
            await session.admin.change_rules(
                lambda held: [
                    Rule("not", ("two",), Match(tenants=("acme",))),
                    Rule("zips", ("one", "two"), Match(keys=("*.zip",))),
                ]
            )
            found = await session.admin.explain_object(ref)
            assert (found.home, found.explanation.plan.stores) == (False, ("one", "two"))
            assert [(copy.store, copy.whole) for copy in found.copies] == [("one", True)]
            assert [(one.rule, one.matched) for one in found.explanation.asked] == [
                ("not", False),
                ("zips", True),
            ]
            assert "default is not one of acme" in found.explanation.asked[0].reason
            supposed = await session.admin.explain(Facts(replace(ref, key="b"), 3, "text/plain"))
            assert (supposed.home, supposed.version, supposed.explanation.plan.rule) == (
                None,
                None,
                "default",
            )
            await session.update_bucket("plain", change=lambda held: replace(held, inline=10))
            supposed = await session.admin.explain(Facts(replace(ref, key="b"), 3, "text/plain"))
            assert supposed.explanation.plan.inline
            assert "the threshold of the bucket or tenant" in supposed.explanation.why_inline

    run(story())


def test_a_name_is_given_once(sqlite_url: str) -> None:
    async def story() -> None:
        async with engines(sqlite_url) as (engine,):
            admin = engine.session(OPERATOR).admin
            with pytest.raises(InvalidRequestError, match="two of that name"):
                await admin.change_rules(lambda held: [Rule("r", ("one",)), Rule("r", ("two",))])

            def refuse(held: tuple[Rule, ...]) -> Sequence[Rule]:
                raise AlreadyExistsError("there is one")

            with pytest.raises(AlreadyExistsError):
                await admin.change_rules(refuse)
            assert (await admin.rules()).generation == 0

    run(story())


def test_a_wish_that_cannot_be_is_refused_before_anything_is_read(sqlite_url: str) -> None:
    async def story() -> None:
        async with engines(sqlite_url) as (engine,):
            admin = engine.session(OPERATOR).admin
            for wanted, said in (
                (Wanted(rules=(Rule("r", ("four",)),)), "no store 'four'"),
                (Wanted(inline=1 << 40), "inline is from 0"),
                (Wanted(default=Rule("default", ("four",))), "no store 'four'"),
            ):
                with pytest.raises(InvalidRequestError, match=said):
                    await admin.simulate(wanted)

    run(story())
