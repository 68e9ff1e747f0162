"""Versions in another place than their rule says: tiered, archived, recalled for good or for a while."""

from __future__ import annotations

import pytest

from holdfast.catalog.contract import TierChange
from holdfast.core.body import Body
from holdfast.core.errors import ConflictError, InvalidRequestError, NotFoundError
from holdfast.core.names import INLINE
from holdfast.engine import moves
from holdfast.engine.engine import Engine
from holdfast.engine.session import Session
from holdfast.engine.write import ObjectInput
from holdfast.jobs.kinds import Kind
from holdfast.jobs.moving import Migrate
from holdfast.jobs.reconcile import pay, walk
from holdfast.jobs.tiering import Archive, Recall, Tier
from tests.engine.alone import run_alone, work_of
from tests.engine.outage import Ground, whereabouts
from tests.engine.test_moving import BOSS
from tests.helpers import content, noise, run

pytestmark = pytest.mark.engine


async def filled(session: Session) -> None:
    for number in range(4):
        about = ObjectInput(tags={"n": str(number)}, metadata={"who": "me"})
        await session.put("plain", f"a/{number}", Body.of_bytes(noise(1000 * (number + 1), number)), about)
    await session.put("plain", "b", Body.of_bytes(b"b"))
    await session.put("kept", "b", Body.of_bytes(b"b"))


async def tier_of(session: Session, key: str) -> str:
    return (await session.head("plain", key))[0].tier


def test_only_what_matches_goes_and_its_rows_stay_as_they_are(catalog_url: str) -> None:
    async def story() -> None:
        ground = Ground(catalog_url)
        async with ground.opened(inline=10) as (engine, session):
            await filled(session)
            before = (await session.head("plain", "a/2"))[0]
            spec = {
                "store": "spare",
                "tenant": "default",
                "bucket": "plain",
                "prefix": "a/",
                "min_size": 2000,
            }
            told = await Tier().forecast(work_of(engine, Tier(), spec))
            ran = await run_alone(engine, Tier(), spec, twice=True)
            assert (told.objects, told.bytes) == (3, 9000)
            assert told.calls == {"home": {"get": 3, "delete": 3}, "spare": {"put": 3, "get": 3}}
            assert not ran.failures
            assert not await engine.catalog.debts()
            assert [await whereabouts(engine, session, "plain", f"a/{n}") for n in range(4)] == [
                ["home"],
                ["spare"],
                ["spare"],
                ["spare"],
            ]
            after = (await session.head("plain", "a/2"))[0]
            assert after.tier == "spare"
            assert before.tier == ""
            assert (after.id, after.created, after.tags, after.metadata, after.etag) == (
                *(before.id, before.created, before.tags, before.metadata, before.etag),
            )
            assert (await walk(engine, dry_run=True)).moved == 0  # nobody brings it back
            assert (await run_alone(engine, Tier(), spec)).counts.done == 0
            await session.put(
                "plain", "a/2", Body.of_bytes(noise(5000))
            )  # a new version is placed by its rule
            assert await whereabouts(engine, session, "plain", "a/2") == ["home"]
            small = {"store": "spare", "tenant": "default", "bucket": "plain", "key": "b"}
            assert await whereabouts(engine, session, "plain", "b") == [INLINE]
            await run_alone(engine, Tier(), small)
            assert await whereabouts(engine, session, "plain", "b") == ["spare"]
            assert await content(session, "plain", "b") == b"b"
            await run_alone(engine, Recall(), {})
            assert await whereabouts(engine, session, "plain", "b") == [INLINE]
            assert await whereabouts(engine, session, "plain", "a/3") == ["home"]
            assert await tier_of(session, "a/3") == ""

    run(story())


def test_by_tag_and_age_and_store(sqlite_url: str) -> None:
    async def story() -> None:
        ground = Ground(sqlite_url)
        async with ground.opened() as (engine, session):
            await filled(session)
            ground.advance(100)
            await session.put("plain", "young", Body.of_bytes(b"y"))
            ran = await run_alone(engine, Tier(), {"store": "spare", "tags": {"n": "1"}})
            assert ran.counts.done == 1
            ran = await run_alone(engine, Tier(), {"store": "third", "older_than": 50, "stored_in": "home"})
            assert ran.counts.done == 5
            assert await whereabouts(engine, session, "plain", "young") == ["home"]
            assert await whereabouts(engine, session, "plain", "a/1") == ["spare"]
            assert await whereabouts(engine, session, "kept", "b") == ["third"]

    run(story())


def test_recalled_for_some_days_it_is_in_both_and_then_in_the_archive_alone(catalog_url: str) -> None:
    async def story() -> None:
        ground = Ground(catalog_url)
        async with ground.opened() as (engine, session):
            await filled(session)
            engine.stores.own["spare"].labels = frozenset({"archive"})
            await run_alone(engine, Archive(), {"tenant": "default", "bucket": "plain", "prefix": "a/"})
            spec = {"days": 2, "tenant": "default", "bucket": "plain", "key": "a/1"}
            ran = await run_alone(engine, Recall(), spec, twice=True)
            assert ran.counts.notes == {}
            assert not ran.failures
            assert await whereabouts(engine, session, "plain", "a/1") == ["home", "spare"]
            assert await tier_of(session, "a/1") == "*,spare"
            again = await run_alone(engine, Recall(), {**spec, "days": 4})
            assert again.counts.bytes == 0
            ground.advance(3 * 86400)
            assert await engine.catalog.end_recalls() == 0  # the later end counts
            ground.advance(2 * 86400)
            await session.delete("plain", "a/2")
            assert await engine.catalog.end_recalls() == 1
            assert await tier_of(session, "a/1") == "spare"
            assert (await pay(engine)).moved == 1
            assert await whereabouts(engine, session, "plain", "a/1") == ["spare"]
            assert await content(session, "plain", "a/1") == noise(2000, 1)
            assert await engine.catalog.end_recalls() == 0
            await run_alone(engine, Recall(), spec)
            await run_alone(engine, Recall(), {})  # for good: nothing takes it back later
            ground.advance(9 * 86400)
            assert await engine.catalog.end_recalls() == 0
            assert await tier_of(session, "a/1") == ""

    run(story())


def test_who_dies_in_between_leaves_a_debt(sqlite_url: str) -> None:
    async def story() -> None:
        ground = Ground(sqlite_url)
        async with ground.opened() as (engine, session):
            await filled(session)
            version = (await session.head("plain", "a/1"))[0]
            change = TierChange(version.ref, version.id, "spare", rule="default")
            gone = TierChange(version.ref, "018bcfe5-6800-7a60-bfc1-000000000000", "spare")
            assert await engine.catalog.set_tiers([change, gone], actor=BOSS) == [version.id]
            assert await engine.catalog.set_tiers([change], actor=BOSS) == []
            (debt,) = await engine.catalog.debts()
            assert (debt.reason, debt.rule, debt.version_id) == ("tier", "default", version.id)
            assert await whereabouts(engine, session, "plain", "a/1") == ["home"]
            assert (await session.head("plain", "a/1"))[0].owed == "tier"
            assert (await pay(engine)).moved == 1
            assert await whereabouts(engine, session, "plain", "a/1") == ["spare"]

    run(story())


def test_a_tier_that_is_gone_is_told_and_nothing_is_lost(sqlite_url: str) -> None:
    async def story() -> None:
        ground = Ground(sqlite_url)
        async with ground.opened() as (engine, session):
            await filled(session)
            version = (await session.head("plain", "a/1"))[0]
            await engine.catalog.set_tiers([TierChange(version.ref, version.id, "gone")], actor=BOSS)
            report = await pay(engine)
            assert dict(report.troubles) == {"store 'gone' is not configured": 1}
            assert await content(session, "plain", "a/1") == noise(2000, 1)
            told = await boss(engine).explain_object(version.ref)
            assert told.explanation.plan.stores == ("gone",)
            assert not told.home
            assert told.explanation.why_elsewhere == "the tier of the version is gone"
            await run_alone(engine, Recall(), {})
            assert not await engine.catalog.debts()

    run(story())


def boss(engine: Engine):  # type: ignore[no-untyped-def]
    from holdfast.core.types import Principal

    return engine.session(Principal("boss", "default", "operator")).admin


def test_a_store_that_is_a_tier_is_moved_like_any_other(sqlite_url: str) -> None:
    async def story() -> None:
        ground = Ground(sqlite_url)
        async with ground.opened() as (engine, session):
            await filled(session)
            await run_alone(engine, Tier(), {"store": "spare", "tags": {"n": "1"}})
            assert await engine.catalog.tiered("spare")
            move = {"source": "spare", "target": "third", "keep": 0}
            ran = await run_alone(engine, Migrate(), move, most_rounds=15)
            assert ran.result["phase"] == "done"
            assert await whereabouts(engine, session, "plain", "a/1") == ["third"]
            assert await tier_of(session, "a/1") == "third"
            assert not await engine.catalog.tiered("spare")
            await moves.forget(engine.context, "spare", actor=BOSS)
            assert await whereabouts(engine, session, "plain", "a/1") == ["third"]
            assert (await walk(engine, dry_run=True)).moved == 0

    run(story())


def test_where_nothing_can_go_is_refused(sqlite_url: str) -> None:
    async def story() -> None:
        ground = Ground(sqlite_url)
        async with ground.opened() as (engine, _):
            with pytest.raises(NotFoundError):
                await run_alone(engine, Tier(), {"store": "nowhere"})
            with pytest.raises(InvalidRequestError, match="no store is labelled"):
                await run_alone(engine, Archive(), {})
            with pytest.raises(ConflictError, match="no label"):
                await run_alone(engine, Archive(), {"store": "spare"})
            for name in ("spare", "third"):
                engine.stores.own[name].labels = frozenset({"cold"})
            with pytest.raises(InvalidRequestError, match="there are spare, third"):
                await run_alone(engine, Archive(), {})
            await run_alone(engine, Archive(), {"store": "spare"})

    run(story())


@pytest.mark.parametrize("kind", [Tier(), Archive(), Recall()])
@pytest.mark.parametrize(
    "wrong",
    [
        {"nonsense": 1},
        {"bucket": "b"},
        {"tenant": "t", "key": "k"},
        {"older_than": -1},
        {"min_size": "huge"},
        {"tags": {"a": 1}},
        {"store": INLINE, "days": 0},
    ],
)
def test_a_spec_is_checked(kind: Kind, wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidRequestError):
        kind.check({"store": "x", **wrong} if kind.name == "tier" else wrong)
