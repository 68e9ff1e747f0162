"""Copies in two stores: acknowledged as the rule says, read from whichever works, and made good when a store is back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from holdfast.core.body import Body
from holdfast.core.circuit import CircuitState
from holdfast.core.clock import Environment
from holdfast.core.errors import ConflictError, UnavailableError
from holdfast.core.types import ReplicaState
from holdfast.engine.lagging import lagging
from holdfast.engine.moves import check_rules
from holdfast.jobs.reconcile import pay
from holdfast.jobs.returning import Watch
from holdfast.policy.lag import Lag
from holdfast.policy.moving import Move, Phase
from holdfast.policy.placement import Placement, Rule, WhenDown
from tests.engine.mirrors import BOTH, Mirrors, mirrors
from tests.helpers import content, noise, run

pytestmark = pytest.mark.engine
ONE = Rule("default", BOTH)
ALL = Rule("default", BOTH, acknowledge="all")
SPARED = Rule("default", BOTH, acknowledge="all", when_down=WhenDown.FALLBACK, fallback=("spare",))


async def live(at: Mirrors) -> list[str]:
    rows = await at.engine.catalog.replicas()
    return sorted(row.store for row in rows if row.state is ReplicaState.LIVE)


def test_all_means_all_and_never_fewer(catalog_url: str) -> None:
    async def story() -> None:
        async with mirrors(catalog_url, ALL) as at:
            assert (await at.session.put("plain", "k", Body.of_bytes(b"x"))).owed == ""
            assert await live(at) == ["one", "two"]
            at.moody["two"].mood = "down"
            for _ in range(2):
                with pytest.raises(UnavailableError):
                    await at.session.put("plain", "k", Body.of_bytes(b"new"))
            assert await content(at.session, "plain", "k") == b"x"
            assert not await at.engine.catalog.debts()

    run(story())


def test_all_falls_back_where_the_rule_says_so(catalog_url: str) -> None:
    async def story() -> None:
        async with mirrors(catalog_url, SPARED, stores=(*BOTH, "spare")) as at:
            at.moody["two"].mood = "down"
            assert (await at.session.put("plain", "k", Body.of_bytes(b"x"))).owed == "down"
            assert await live(at) == ["one", "spare"]
            assert (await lagging(at.engine.context))["two"].copies == 1
            at.moody["two"].mood = ""
            assert (await pay(at.engine, hurry=True)).moved == 1
            assert await live(at) == ["one", "two"]

    run(story())


def test_all_means_as_many_copies_as_the_rule_names_stores_whatever_a_move_adds() -> None:
    for phase, wanted in ((Phase.COPYING, 3), (Phase.CUTOVER, 3), (Phase.DONE, 2), (Phase.BACK, 2)):
        moved = Placement(ALL, moves=(Move("two", "new", phase),))
        assert (len(moved._plan_of(ALL).stores), moved._plan_of(ALL).acknowledge) == (wanted, 2)
    with pytest.raises(ConflictError, match="wants 2 copies"):
        check_rules(Placement(ALL), Move("one", "two", Phase.DONE))


@pytest.mark.parametrize("size", [10, 300_000])
def test_a_store_that_takes_nothing_is_left_for_the_other(catalog_url: str, size: int) -> None:
    async def story() -> None:
        async with mirrors(catalog_url, ONE) as at:
            at.moody["one"].mood = "hang"
            began = time.monotonic()
            made = await at.session.put("plain", "k", Body.of_bytes(noise(size)))
            assert time.monotonic() - began < 5
            assert (made.owed, await live(at)) == ("copies", ["two"])
            await at.session.put("plain", "other", Body.of_bytes(b"x"))  # it is not waited for again
            assert at.moody["one"].calls == 1
            assert (await lagging(at.engine.context))["one"].bytes == size + 1
            (debt,) = [debt for debt in await at.engine.catalog.debts() if debt.ref.key == "k"]
            found = await lagging(at.engine.context)
            assert found["one"] == Lag(2, size + 1, debt.since)
            assert found["two"] == Lag()

    run(story())


@pytest.mark.parametrize("mood", ["down", "hang", "drip", "flip"])
def test_readers_go_on_with_the_other_copy(sqlite_url: str, mood: str) -> None:
    async def story() -> None:
        data = noise(600_000)
        async with mirrors(sqlite_url, ALL) as at:
            await at.session.put("plain", "k", Body.of_bytes(data))
            at.moody["one"].mood = mood
            began = time.monotonic()
            for _ in range(3):
                assert await content(at.session, "plain", "k") == data
            assert time.monotonic() - began < 10
            bad = [
                row.store for row in await at.engine.catalog.replicas() if row.state is ReplicaState.SUSPECT
            ]
            assert bad == (["one"] if mood == "flip" else [])
            at.moody["one"].mood = ""
            await pay(at.engine)
            assert await live(at) == ["one", "two"]

    run(story())


def close_circuits(at: Mirrors) -> None:
    """What whoever watches does when stores are back."""
    for store in at.engine.stores.open_ones().values():
        if store.circuit is not None:
            store.circuit.passed()


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("times", [1, 3])
def test_a_store_that_was_gone_at_once_is_asked_again_when_no_other_is_left(
    sqlite_url: str, streamed: bool, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for room in ("run", "storing"):
        monkeypatch.setattr(f"holdfast.engine.{room}.AGAIN", (0.0, 0.01, 0.02))
    restarted = "restarted" * times

    async def flow() -> AsyncIterator[bytes]:
        yield b"new"

    async def story() -> None:
        async with mirrors(sqlite_url, ONE) as at:
            await at.session.put("plain", "k", Body.of_bytes(b"old"))
            await pay(at.engine)
            assert await live(at) == ["one", "two"]
            for broken, down in (("one", "two"), ("two", "one")):
                at.moody[broken].mood, at.moody[down].mood = restarted, "down"
                assert await content(at.session, "plain", "k") == b"old"
                close_circuits(at)
            at.moody["one"].mood, at.moody["two"].mood = restarted, "down"
            made = await at.session.put(
                "plain", "other", Body.of_stream(flow()) if streamed else Body.of_bytes(b"new")
            )
            assert made.owed == "copies"
            assert await content(at.session, "plain", "other") == b"new"
            at.moody["one"].mood = "down"
            with pytest.raises(UnavailableError):
                await content(at.session, "plain", "other")
            with pytest.raises(UnavailableError):
                await at.session.put("plain", "k", Body.of_bytes(b"no"))

    run(story())


def test_a_copy_that_was_made_while_the_only_other_one_was_read_is_read_on(sqlite_url: str) -> None:
    async def story() -> None:
        data = noise(600_000)
        async with mirrors(sqlite_url, ONE) as at:
            at.moody["two"].mood = "down"
            await at.session.put("plain", "k", Body.of_bytes(data))
            at.moody["one"].mood, at.moody["two"].mood = "cut", ""
            close_circuits(at)
            async with at.session.get("plain", "k") as reader:
                at.moody["one"].mood = ""
                await pay(at.engine, hurry=True)
                assert await live(at) == ["one", "two"]
                at.moody["one"].mood = "cut"
                assert await reader.read() == data

    run(story())


def test_when_all_are_slow_slow_has_to_do(sqlite_url: str) -> None:
    async def story() -> None:
        data = noise(600_000)
        async with mirrors(sqlite_url, ALL) as at:
            await at.session.put("plain", "k", Body.of_bytes(data))
            for mood in (
                "late",
                "hang",
            ):  # the second answers, after more than the patience; then the first does
                at.moody["one"].mood, at.moody["two"].mood = mood, "late"
                assert await content(at.session, "plain", "k") == data
            at.moody["one"].mood, at.moody["two"].mood = "late", "down"
            assert await content(at.session, "plain", "k") == data
            at.moody["two"].mood = "late"
            assert (await at.session.put("plain", "k", Body.of_bytes(b"x"))).owed == ""

    run(story())


def test_a_store_that_is_back_is_used_at_once_and_made_good(catalog_url: str) -> None:
    async def story() -> None:
        async with mirrors(catalog_url, ONE, environment=Environment.seeded(4)) as at:
            watch = Watch(at.engine)
            clock = at.engine.context.environment.clock
            circuit = at.engine.stores["one"].circuit
            assert circuit is not None
            watch.look()
            at.moody["one"].mood = "down"
            for number in range(4):
                await at.session.put("plain", f"k{number}", Body.of_bytes(b"x"))
            for _ in range(5):  # who pays debts asks the store itself, and opens the breaker
                await pay(at.engine, hurry=True)
            assert circuit.state is CircuitState.OPEN
            assert (await lagging(at.engine.context))["one"].copies == 4
            assert (await pay(at.engine)).examined == 0  # put off
            for _ in range(8):
                clock.advance(1.3)  # type: ignore[attr-defined]
                watch.look()
                await asyncio.sleep(0.01)
            assert circuit.state is not CircuitState.CLOSED
            at.moody["one"].mood = ""
            for _ in range(400):
                clock.advance(0.25)  # type: ignore[attr-defined]
                watch.look()
                await asyncio.sleep(0.005)
                if not await at.engine.catalog.debts():
                    break
            assert circuit.state is CircuitState.CLOSED
            assert not at.engine.avoids("one")
            assert (await lagging(at.engine.context))["one"] == Lag()
            assert await live(at) == ["one"] * 4 + ["two"] * 4
            await watch.close()

    run(story())


def test_a_store_that_lost_everything_is_filled_again_as_it_is_read(catalog_url: str) -> None:
    async def story() -> None:
        async with mirrors(catalog_url, ALL) as at:
            for number in range(3):
                await at.session.put("plain", f"k{number}", Body.of_bytes(noise(100_000, number)))
            await at.moody["one"].wipe()
            for number in range(3):
                assert await content(at.session, "plain", f"k{number}") == noise(100_000, number)
            assert [debt.reason for debt in await at.engine.catalog.debts()] == ["damaged"] * 3
            assert (await lagging(at.engine.context))["one"].copies == 3
            assert (await pay(at.engine)).moved == 3
            assert len([info async for info in at.moody["one"].disk.list()]) == 3
            at.moody["two"].mood = "down"
            for number in range(3):
                assert await content(at.session, "plain", f"k{number}") == noise(100_000, number)

    run(story())


def test_a_slow_store_takes_what_no_other_does(sqlite_url: str) -> None:
    async def story() -> None:
        async with mirrors(sqlite_url, ONE) as at:
            at.moody["one"].mood, at.moody["two"].mood = "late", "down"
            assert (await at.session.put("plain", "k", Body.of_bytes(b"x"))).owed == "copies"
            assert await live(at) == ["one"]
            assert at.moody["one"].calls == 2

    run(story())
