"""A store is down: refused or accepted elsewhere, visibly, as the rule says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from holdfast.core.backend import StoreState
from holdfast.core.body import Body
from holdfast.core.errors import UnavailableError
from holdfast.core.types import Quota
from holdfast.engine.holding import BOUND
from holdfast.engine.write import ObjectInput
from holdfast.policy.placement import Match, Rule, WhenDown
from tests.engine.outage import FALLBACK, Ground, whereabouts
from tests.helpers import content, noise, run

pytestmark = pytest.mark.engine

REFUSE = Rule("strict", ("home",), Match(buckets=("plain",)))
TWO = Rule("two", ("home", "third"), acknowledge=2, when_down=WhenDown.FALLBACK, fallback=("spare",))


async def flow(data: bytes, step: int = 1 << 20) -> AsyncIterator[bytes]:
    for start in range(0, len(data), step):
        yield data[start : start + step]


def test_what_home_does_not_take_goes_to_the_fallback_and_says_so(catalog_url: str) -> None:
    async def story() -> None:
        ground = Ground(catalog_url)
        async with ground.opened(FALLBACK) as (engine, session):
            fine = await session.put("plain", "fine", Body.of_bytes(b"x"))
            ground.home.down = True
            made = await session.put("plain", "k", Body.of_bytes(b"hello"), idempotency_key="one")
            assert (fine.owed, made.owed) == ("", "down")
            assert (await session.head("plain", "k"))[0].owed == "down"
            assert (await session.file_facts(made)).owed == "down"
            assert await whereabouts(engine, session, "plain", "k") == ["spare"]
            assert await content(session, "plain", "k") == b"hello"
            (debt,) = await engine.catalog.debts()
            assert (debt.version_id, debt.ref, debt.rule, debt.reason) == (made.id, made.ref, "media", "down")
            assert {
                reason: found.count for reason, found in (await engine.catalog.debt_counts()).items()
            } == {"down": 1}
            assert engine.context.outages.fallbacks == {("home", "spare"): 1}
            again = await session.put("plain", "k", Body.of_bytes(b"hello"), idempotency_key="one")
            assert again == made

    run(story())


def test_a_store_that_failed_is_not_asked_again_for_a_while(sqlite_url: str) -> None:
    async def story() -> None:
        ground = Ground(sqlite_url)
        async with ground.opened(FALLBACK) as (_, session):
            ground.home.down = True
            for number in range(3):
                await session.put("plain", f"k{number}", Body.of_bytes(b"x"))
            assert ground.home.puts == 1
            ground.home.down = False
            ground.advance(31)
            assert (await session.put("plain", "k", Body.of_bytes(b"x"))).owed == ""
            assert ground.home.puts == 2

    run(story())


@pytest.mark.parametrize("state", [StoreState.READ_ONLY, StoreState.DRAINING, StoreState.DOWN])
def test_a_store_that_an_operator_closed_is_passed_over(sqlite_url: str, state: StoreState) -> None:
    async def story() -> None:
        ground = Ground(sqlite_url)
        async with ground.opened(FALLBACK) as (engine, session):
            engine.stores["home"].state = state
            made = await session.put("plain", "k", Body.of_bytes(b"x"))
            assert (made.owed, ground.home.puts) == ("down", 0)

    run(story())


def test_without_a_fallback_the_writer_is_told_the_store_the_rule_and_what_to_do(catalog_url: str) -> None:
    async def story() -> None:
        ground = Ground(catalog_url)
        async with ground.opened(REFUSE) as (engine, session):
            engine.stores["home"].state = StoreState.READ_ONLY
            with pytest.raises(
                UnavailableError, match=r"'strict' needs 1 copy.*'home' is read-only.*no fallback"
            ):
                await session.put("plain", "k", Body.of_bytes(b"x"))
            engine.stores["home"].state = StoreState.ACTIVE
            ground.home.down = True
            with pytest.raises(UnavailableError):
                await session.put("plain", "k", Body.of_bytes(b"x"))
            assert not await engine.catalog.debts()
            ground.home.down = False
            assert (await session.put("plain", "k", Body.of_bytes(b"x"))).owed == ""  # at once, no penalty

    run(story())


def test_both_down_is_refused_and_leaves_nothing(catalog_url: str) -> None:
    async def story() -> None:
        ground = Ground(catalog_url)
        async with ground.opened(FALLBACK) as (engine, session):
            await engine.catalog.set_quota("default", "plain", Quota(max_bytes=10_000))
            ground.home.down = ground.spare.down = True
            with pytest.raises(UnavailableError, match=r"'media'.*'home' failed just now.*fallback"):
                await session.put("plain", "k", Body.of_bytes(b"x" * 6000))
            use = await session.quota("plain")
            assert (use.bytes, use.reserved_bytes) == (0, 0)
            ground.home.down = ground.spare.down = False
            await engine.sweep()
            for store in engine.stores.values():
                assert [info async for info in store.backend.list()] == []
            ground.home.down = True
            await session.put("plain", "k", Body.of_bytes(b"x" * 6000))  # reserved once, not twice
            assert (await session.quota("plain")).bytes == 6000

    run(story())


def test_a_stream_that_broke_half_way_is_sent_once_more_as_far_as_it_was_held(sqlite_url: str) -> None:
    async def story() -> None:
        ground = Ground(sqlite_url)
        async with ground.opened(FALLBACK) as (_, session):
            ground.home.breaks = 1 << 20
            small, large = noise(3 << 20, 1), noise(BOUND + (3 << 20), 2)
            made = await session.put("plain", "small", Body.of_stream(flow(small)))
            assert (made.owed, await content(session, "plain", "small")) == ("down", small)
            ground.advance(31)
            ground.home.breaks = BOUND + (1 << 20)
            with pytest.raises(UnavailableError, match="the connection broke"):
                await session.put("plain", "large", Body.of_stream(flow(large)))
            # but the next one goes to the fallback at once
            await session.put("plain", "large", Body.of_stream(flow(large)))
            assert await content(session, "plain", "large") == large

    run(story())


def test_a_source_that_fails_is_no_failure_of_a_store(sqlite_url: str) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield noise(1 << 20)
        raise UnavailableError("the source went away")

    async def story() -> None:
        ground = Ground(sqlite_url)
        async with ground.opened(FALLBACK) as (engine, session):
            with pytest.raises(UnavailableError, match="the source went away"):
                await session.put("plain", "k", Body.of_stream(broken()))
            assert ground.spare.puts == 0
            await session.put("plain", "k", Body.of_bytes(b"x"))
            assert await whereabouts(engine, session, "plain", "k") == ["home"]

    run(story())


def test_as_many_copies_are_acknowledged_on_the_fallback(catalog_url: str) -> None:
    async def story() -> None:
        ground = Ground(catalog_url)
        async with ground.opened(TWO) as (engine, session):
            ground.home.down = True
            data = noise(300_000)
            made = await session.put("plain", "k", Body.of_stream(flow(data, 50_000)))
            assert made.owed == "down"
            assert await whereabouts(engine, session, "plain", "k") == ["spare", "third"]
            ground.spare.down = True
            with pytest.raises(UnavailableError, match="needs 2 copies, 1 can be made"):
                await session.put("plain", "k2", Body.of_bytes(b"x"))

    run(story())


def test_of_several_stores_those_that_answer_will_do_and_the_rest_is_owed(sqlite_url: str) -> None:
    rule = Rule("mirrored", ("home", "third"), acknowledge=1)

    async def story() -> None:
        ground = Ground(sqlite_url)
        async with ground.opened(rule) as (engine, session):
            made = await session.put("plain", "k", Body.of_bytes(b"x"))
            assert (made.owed, await whereabouts(engine, session, "plain", "k")) == ("copies", ["home"])
            ground.home.down = True
            made = await session.put("plain", "k", Body.of_bytes(b"y"))
            assert (made.owed, await whereabouts(engine, session, "plain", "k")) == ("copies", ["third"])
            assert engine.context.outages.fallbacks == {}

    run(story())


def test_a_bucket_that_wants_encryption_falls_back_to_no_plain_store(sqlite_url: str) -> None:
    async def story() -> None:
        ground = Ground(sqlite_url)
        async with ground.opened(FALLBACK) as (engine, session):
            for name in ("home", "spare"):
                engine.stores[name].labels = frozenset({"encrypted"})
            await session.update_bucket("plain", change=lambda held: replace(held, encryption="store"))
            engine.stores["spare"].labels = frozenset()
            ground.home.down = True
            with pytest.raises(UnavailableError):
                await session.put("plain", "k", Body.of_bytes(b"x"))
            engine.stores["spare"].labels = frozenset({"encrypted"})
            assert (await session.put("plain", "k", Body.of_bytes(b"x"))).owed == "down"

    run(story())


def test_pieces_of_an_upload_never_mix_stores(catalog_url: str) -> None:
    async def story() -> None:
        ground = Ground(catalog_url)
        async with ground.opened(FALLBACK) as (engine, session):
            at_home = await session.create_upload("plain", "at-home")
            first = await session.put_part("plain", "at-home", at_home.id, 1, Body.of_bytes(b"a" * 1000))
            ground.home.down = True
            with pytest.raises(UnavailableError):
                await session.put_part("plain", "at-home", at_home.id, 2, Body.of_bytes(b"b" * 1000))
            away = await session.create_upload("plain", "away")
            one = await session.put_part("plain", "away", away.id, 1, Body.of_bytes(b"a" * 1000))
            ground.home.down = False
            ground.advance(31)
            two = await session.put_part("plain", "away", away.id, 2, Body.of_bytes(b"b" * 1000))
            second = await session.put_part("plain", "at-home", at_home.id, 2, Body.of_bytes(b"b" * 1000))
            made = await session.complete_upload("plain", "away", away.id, [(1, one.etag), (2, two.etag)])
            fine = await session.complete_upload(
                "plain", "at-home", at_home.id, [(1, first.etag), (2, second.etag)]
            )
            assert (made.owed, fine.owed) == ("down", "")
            assert await whereabouts(engine, session, "plain", "away") == ["spare", "spare"]
            assert await whereabouts(engine, session, "plain", "at-home") == ["home", "home"]
            assert [debt.version_id for debt in await engine.catalog.debts()] == [made.id]

    run(story())


def test_partial_uploads_do_not_fall_back(sqlite_url: str) -> None:
    async def story() -> None:
        ground = Ground(sqlite_url)
        async with ground.opened(FALLBACK) as (engine, session):
            engine.stores["home"].state = StoreState.DOWN
            with pytest.raises(UnavailableError, match="put together later do not fall back"):
                await session.create_resumable("plain", "k", length=10, partial=True)
            grown = await session.create_resumable("plain", "k", length=4)
            done = await session.append(grown.id, 0, flow(b"four"))
            assert done.version is not None
            assert done.version.owed == "down"

    run(story())


def test_a_copy_goes_where_a_put_would(sqlite_url: str) -> None:
    async def story() -> None:
        ground = Ground(sqlite_url)
        async with ground.opened(FALLBACK) as (engine, session):
            await session.put("plain", "k", Body.of_bytes(b"data"), ObjectInput("text/plain"))
            engine.stores["home"].state = StoreState.READ_ONLY
            made = await session.copy(("plain", "k"), ("plain", "k2"))
            assert (made.owed, made.content_type) == ("down", "text/plain")
            assert await whereabouts(engine, session, "plain", "k2") == ["spare"]

    run(story())
