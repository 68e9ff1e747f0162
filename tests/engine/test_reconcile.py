"""Versions brought where they belong: debts paid, rules changed, copies repaired, and nothing lost on the way."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from holdfast.core.backend import StoreState
from holdfast.core.body import Body
from holdfast.core.errors import (
    CorruptedError,
    HoldfastError,
    InvalidRequestError,
    NotFoundError,
    UnavailableError,
)
from holdfast.core.keyring import ShreddedError
from holdfast.core.names import INLINE
from holdfast.core.types import ReplicaState
from holdfast.engine.engine import Engine
from holdfast.engine.replicas import reconcile
from holdfast.engine.session import Session
from holdfast.engine.simulating import simulate
from holdfast.jobs.reconcile import keep_paying, owed, pay, walk
from holdfast.layers.retry import Retry
from holdfast.policy.placement import Match, Rule
from tests.engine.outage import FALLBACK, Ground, Switched, whereabouts
from tests.helpers import content, noise, run

pytestmark = pytest.mark.engine


async def settled(engine: Engine) -> None:
    """Check that nothing is owed, and that after a sweep only live copies are left, each with its blob."""
    assert not await engine.catalog.debts()
    report = await engine.sweep()
    assert not report.failed
    rows = await engine.catalog.replicas()
    assert {row.state for row in rows} <= {ReplicaState.LIVE}
    blobs = {
        (name, info.name) for name, store in engine.stores.items() async for info in store.backend.list()
    }
    assert blobs == {(row.store, row.blob) for row in rows}


async def put_away(ground: Ground, session: Session, key: str, data: bytes) -> Any:
    ground.home.down = True
    made = await session.put("plain", key, Body.of_bytes(data))
    ground.home.down = False
    return made


def test_down_and_back_and_home(catalog_url: str) -> None:
    async def story() -> None:
        ground = Ground(catalog_url)
        data = noise(700_000)
        async with ground.opened(FALLBACK) as (engine, session):
            made = await put_away(ground, session, "k", data)
            dry = await owed(engine)
            assert (dry.moved, dry.bytes, dict(dry.moves)) == (1, 700_000, {("spare", "home"): 1})
            report = await pay(engine)
            assert (report.moved, report.copied, report.bytes, report.doomed) == (1, 1, 700_000, 1)
            assert await whereabouts(engine, session, "plain", "k") == ["home"]
            assert (await session.head("plain", "k"))[0].owed == ""
            assert (await session.file_facts(made)).owed == ""
            assert await content(session, "plain", "k") == data
            assert [info async for info in ground.spare.list()] != []  # the grace is for readers
            ground.advance(101)
            await settled(engine)
            assert await content(session, "plain", "k") == data
            told = [
                entry
                for entry in await engine.catalog.audit("default")
                if entry.action in ("put", "reconcile")
            ]
            assert told[0].detail == {"owed": "down", "rule": "media"}
            assert (told[1].principal, told[1].detail) == ("reconcile", {"to": "home", "from": "spare"})

    run(story())


def test_while_home_is_down_a_debt_is_put_off_longer_and_longer(catalog_url: str) -> None:
    async def story() -> None:
        ground = Ground(catalog_url)
        async with ground.opened(FALLBACK) as (engine, session):
            ground.home.down = True
            await session.put("plain", "k", Body.of_bytes(b"x"))
            waits = []
            for tries in range(1, 4):
                report = await pay(engine)
                assert (report.failed, report.moved) == (1, 0)
                (debt,) = await engine.catalog.debts()
                assert (debt.tries, debt.trouble) == (tries, "store 'home': it does not answer")
                assert (await pay(engine)).examined == 0  # not due
                waits.append(debt.not_before - await engine.catalog.now())
                ground.advance(waits[-1] / 1e6 + 1)
            assert waits[0] < waits[1] < waits[2]
            await pay(engine)
            ground.home.down = False
            assert (await pay(engine)).examined == 0
            assert (await pay(engine, hurry=True)).moved == 1
            ground.advance(101)
            await settled(engine)

    run(story())


def test_two_processes_do_not_do_it_twice(catalog_url: str) -> None:
    async def story() -> None:
        ground = Ground(catalog_url)
        async with ground.opened(FALLBACK) as (engine, session), ground.opened(FALLBACK) as (other, _):
            for number in range(12):
                await put_away(ground, session, f"k{number}", noise(2000, number))
            first, second = await asyncio.gather(pay(engine), pay(other))
            assert first.copied + second.copied == 12
            ground.advance(101)
            await settled(engine)

    run(story())


def test_two_reconciles_of_one_version_at_once_leave_one_copy(catalog_url: str) -> None:
    async def story() -> None:
        ground = Ground(catalog_url)
        async with ground.opened(FALLBACK) as (engine, session):
            made = await put_away(ground, session, "k", noise(200_000))
            done = await asyncio.gather(*(reconcile(engine.context, made.ref, made.id) for _ in range(4)))
            assert all(one.settled for one in done)
            assert await whereabouts(engine, session, "plain", "k") == ["home"]
            ground.advance(101)
            await settled(engine)
            assert await content(session, "plain", "k") == noise(200_000)

    run(story())


def test_a_version_that_went_meanwhile_is_left_alone(catalog_url: str) -> None:
    class Late(Switched):
        """Removes the object while its copy is on its way."""

        session: Session

        async def put(self, name: str, body: Body, **how: Any) -> Any:
            info = await super().put(name, body, **how)
            await self.session.delete("plain", "k")
            return info

    async def story() -> None:
        ground = Ground(catalog_url)
        async with ground.opened(FALLBACK) as (engine, session):
            made = await put_away(ground, session, "k", b"x" * 1000)
            late = Late("home", ground.environment)
            late.session = session
            engine.stores["home"].backend = late  # type: ignore[assignment]
            done = await reconcile(engine.context, made.ref, made.id)
            assert (done.gone, done.copied) == (True, 0)
            assert (await reconcile(engine.context, made.ref, made.id)).gone
            assert (await engine.catalog.debt_counts()) == {}
            await pay(engine, hurry=True)
            ground.advance(101)
            await settled(engine)
            assert not await engine.catalog.replicas()
            with pytest.raises(NotFoundError):
                await session.head("plain", "k")

    run(story())


def test_readers_find_a_live_copy_all_the_time(sqlite_url: str) -> None:
    async def story() -> None:
        ground = Ground(sqlite_url)
        data = noise(900_000)
        async with ground.opened(FALLBACK) as (engine, session):
            made = await put_away(ground, session, "k", data)
            async with session.get("plain", "k") as reader:
                await reconcile(engine.context, made.ref, made.id)
                assert await reader.read() == data
            ground.spare.down = True
            assert await content(session, "plain", "k") == data
            ground.spare.down = False
            ground.home.down = True
            assert (
                await content(session, "plain", "k") == data
            )  # what was given up is there until it is swept
            ground.advance(101)
            with pytest.raises(UnavailableError):
                await content(session, "plain", "k")

    run(story())


def test_pieces_move_one_by_one_and_the_old_ones_go_last(catalog_url: str) -> None:
    async def story() -> None:
        ground = Ground(catalog_url)
        async with ground.opened(FALLBACK) as (engine, session):
            engine.stores["home"].state = StoreState.DOWN
            upload = await session.create_upload("plain", "k")
            parts = [
                await session.put_part("plain", "k", upload.id, number, Body.of_bytes(noise(5000, number)))
                for number in (1, 2, 3)
            ]
            wanted = [(part.number, part.etag) for part in parts]
            made = await session.complete_upload("plain", "k", upload.id, wanted)
            whole = b"".join(noise(5000, number) for number in (1, 2, 3))
            engine.stores["home"].state = StoreState.ACTIVE
            puts = ground.home.puts
            ground.home._inner.put, real = _failing_after(ground.home._inner.put, 1), ground.home._inner.put  # type: ignore[method-assign]
            done = await reconcile(engine.context, made.ref, made.id)
            assert (done.copied, done.doomed, done.settled) == (1, 0, False)
            assert await whereabouts(engine, session, "plain", "k") == ["home", "spare", "spare", "spare"]
            ground.home._inner.put = real  # type: ignore[method-assign]
            done = await reconcile(engine.context, made.ref, made.id)
            assert (done.copied, done.doomed, done.settled) == (2, 3, True)
            assert await whereabouts(engine, session, "plain", "k") == ["home", "home", "home"]
            assert ground.home.puts - puts == 4  # three that went well and one that did not
            assert await content(session, "plain", "k") == whole
            ground.advance(101)
            await settled(engine)

    run(story())


def _failing_after(put: Any, count: int) -> Any:
    left = [count]

    async def counted(*args: Any, **how: Any) -> Any:
        if left[0] == 0:
            raise UnavailableError("enough", operation="put", store="home")
        left[0] -= 1
        return await put(*args, **how)

    return counted


def test_a_rule_change_moves_what_is_there_and_a_second_walk_finds_nothing(catalog_url: str) -> None:
    async def story() -> None:
        ground = Ground(catalog_url)
        rule = Rule("videos", ("home",), Match(keys=("*.mp4",)))
        async with ground.opened(rule) as (_, session):
            for number in range(5):
                await session.put("plain", f"{number}.mp4", Body.of_bytes(noise(1000, number)))
            await session.put("kept", "v.mp4", Body.of_bytes(b"one"))
            await session.put("kept", "v.mp4", Body.of_bytes(b"two"))
            await session.put("plain", "doc", Body.of_bytes(b"stays"))
        moved = Rule("videos", ("spare", "third"), Match(keys=("*.mp4",)))
        async with ground.opened(moved) as (engine, session):
            dry = await walk(engine, dry_run=True)
            assert (dry.examined, dry.moved, dry.copied, dry.bytes) == (8, 7, 14, 10_012)
            assert dict(dry.moves) == {("home", "spare, third"): 7}
            assert await whereabouts(engine, session, "plain", "0.mp4") == ["home"]
            part = await walk(engine, tenant="default", bucket="kept")
            assert (part.examined, part.moved, part.after) == (2, 2, "")
            done = await walk(engine)
            assert (done.examined, done.moved, done.copied, done.doomed) == (8, 5, 10, 5)
            assert await whereabouts(engine, session, "plain", "0.mp4") == ["spare", "third"]
            assert await whereabouts(engine, session, "plain", "doc") == ["home"]
            assert (await walk(engine)).moved == 0
            ground.advance(101)
            await settled(engine)
            assert await content(session, "kept", "v.mp4") == b"two"

    run(story())


def test_a_walk_goes_on_where_it_stopped(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.jobs.reconcile._PAGE", 3)

    async def story() -> None:
        ground = Ground(sqlite_url)
        async with ground.opened(Rule("all", ("home",))) as (_, session):
            for number in range(8):
                await session.put("plain", f"a.{number}.b", Body.of_bytes(b"x"))
        async with ground.opened(Rule("all", ("spare",))) as (engine, _):
            seen, after = 0, ""
            while True:
                done = await walk(engine, after=after, limit=3)
                seen, after = seen + done.moved, done.after
                if not after:
                    break
            assert seen == 8
            assert (await walk(engine, dry_run=True)).moved == 0

    run(story())


def test_promotion_and_spill(catalog_url: str) -> None:
    async def story() -> None:
        ground = Ground(catalog_url)
        async with ground.opened(inline=1000) as (engine, session):
            await session.put("plain", "small", Body.of_bytes(b"s" * 500))
            await session.put("plain", "large", Body.of_bytes(b"l" * 5000))
            assert await whereabouts(engine, session, "plain", "small") == [INLINE]
        async with ground.opened(inline=0) as (engine, session):
            done = await walk(engine)
            assert (done.moved, done.copied) == (1, 1)
            assert await whereabouts(engine, session, "plain", "small") == ["home"]
            assert await content(session, "plain", "small") == b"s" * 500
        async with ground.opened(inline=10_000) as (engine, session):
            done = await walk(engine)
            assert (done.moved, done.copied) == (2, 2)
            assert await whereabouts(engine, session, "plain", "large") == [INLINE]
            ground.advance(1000)
            await settled(engine)
            assert await content(session, "plain", "large") == b"l" * 5000
            assert await content(session, "plain", "small") == b"s" * 500

    run(story())


def test_a_copy_that_is_suspect_is_made_anew(catalog_url: str) -> None:
    async def story() -> None:
        ground = Ground(catalog_url)
        async with ground.opened(Rule("two", ("home", "spare"), acknowledge=2)) as (engine, session):
            made = await session.put("plain", "k", Body.of_bytes(noise(5000)))
            located = await engine.catalog.resolve(made.ref)
            bad = next(copy for copy in located.replicas if copy.store == "home")
            await ground.home._inner.put(bad.blob, Body.of_bytes(b"damaged" * 700))
            await engine.catalog.suspect(bad.id)
            done = await reconcile(engine.context, made.ref, made.id)
            assert (done.copied, done.doomed, done.settled) == (1, 1, True)
            assert await whereabouts(engine, session, "plain", "k") == ["home", "spare"]
            ground.advance(101)
            await settled(engine)

    run(story())


def test_damage_is_never_copied_and_the_last_copy_never_doomed(sqlite_url: str) -> None:
    async def story() -> None:
        ground = Ground(sqlite_url)
        async with ground.opened(FALLBACK) as (engine, session):
            made = await put_away(ground, session, "k", noise(5000))
            (copy,) = (await engine.catalog.resolve(made.ref)).replicas
            good = noise(5000)
            await ground.spare._inner.put(copy.blob, Body.of_bytes(good[:-1] + b"!"))
            done = await reconcile(engine.context, made.ref, made.id)
            assert (done.copied, done.settled) == (0, False)
            assert done.trouble.startswith("store 'home':")
            with pytest.raises((CorruptedError, UnavailableError)):
                await content(session, "plain", "k")
            await ground.spare._inner.put(copy.blob, Body.of_bytes(good))
            assert (await reconcile(engine.context, made.ref, made.id)).settled
            assert await content(session, "plain", "k") == good

    run(story())


def _damaging(put: Any, harm: str) -> Any:
    async def harmed(name: str, body: Body, **how: Any) -> Any:
        data = bytearray(b"".join([chunk async for chunk in body.chunks()]))
        data[len(data) // 2] ^= 1 if harm == "flip" else 0
        data += b"!" if harm == "longer" else b""
        told = await put(name, Body.of_bytes(bytes(data)), **how)
        if harm == "loss":
            await put.__self__.delete(name)
        return told

    return harmed


@pytest.mark.parametrize(
    ("harm", "size"), [("flip", 10), ("flip", 300_000), ("flip", 3_000_001), ("longer", 10), ("loss", 10)]
)
def test_a_new_copy_that_a_store_damaged_is_given_up_and_the_old_one_stays(
    sqlite_url: str, harm: str, size: int
) -> None:
    async def story() -> None:
        ground = Ground(sqlite_url)
        data = noise(size)
        async with ground.opened(FALLBACK) as (engine, session):
            await put_away(ground, session, "k", data)
            real = ground.home._inner.put
            ground.home._inner.put = _damaging(real, harm)  # type: ignore[method-assign]
            report = await pay(engine)
            assert (report.failed, report.moved, report.copied, report.doomed) == (1, 0, 0, 0)
            (debt,) = await engine.catalog.debts()
            assert debt.tries == 1
            assert debt.trouble.startswith("store 'home':")
            ground.advance(5000)
            await engine.sweep()
            assert await whereabouts(engine, session, "plain", "k") == ["spare"]
            assert [info async for info in ground.home.list()] == []
            assert await content(session, "plain", "k") == data
            ground.home._inner.put = real  # type: ignore[method-assign]
            assert (await pay(engine, hurry=True)).moved == 1
            ground.advance(5000)
            await settled(engine)
            assert await content(session, "plain", "k") == data

    run(story())


def _breaking_once(put: Any, told: list[Body]) -> Any:
    """Return a put whose first try breaks off in the middle; `told` is given every body."""

    async def broken(name: str, body: Body, **options: Any) -> Any:
        told.append(body)
        if len(told) > 1:
            return await put(name, body, **options)
        await anext(body.chunks())
        raise UnavailableError("it broke off", operation="put", store="home")

    return broken


def test_a_copy_that_breaks_off_on_its_way_is_read_and_sent_again(sqlite_url: str) -> None:
    async def story() -> None:
        ground, told = Ground(sqlite_url), list[Body]()
        home, data = ground.home, noise(3_000_001)
        ground.stores["home"] = Retry(home, environment=ground.environment)  # type: ignore[arg-type,assignment]
        async with ground.opened(FALLBACK) as (engine, session):
            home.down = True
            await session.put("plain", "k", Body.of_bytes(data))
            home.down = False
            home._inner.put = _breaking_once(home._inner.put, told)  # type: ignore[method-assign]
            report = await pay(engine, hurry=True)
            assert (report.moved, report.copied, report.failed) == (1, 1, 0)
            assert [body.known.sha256 for body in told] == [hashlib.sha256(data).digest()] * 2
            assert await whereabouts(engine, session, "plain", "k") == ["home"]
            assert await content(session, "plain", "k") == data
            ground.advance(5000)
            await settled(engine)

    run(story())


def test_damage_in_one_mirror_dooms_nothing_of_the_other(sqlite_url: str) -> None:
    async def story() -> None:
        ground = Ground(sqlite_url)
        async with ground.opened(Rule("one", ("spare",))) as (_, session):
            await session.put("plain", "k", Body.of_bytes(noise(5000)))
        async with ground.opened(Rule("two", ("home", "third"))) as (engine, session):
            real = ground.home._inner.put
            ground.home._inner.put = _damaging(real, "flip")  # type: ignore[method-assign]
            done = await walk(engine)
            assert (done.copied, done.doomed, done.failed) == (1, 0, 1)
            assert await whereabouts(engine, session, "plain", "k") == ["spare", "third"]

    run(story())


def test_whoever_dies_while_paying_leaves_only_what_it_worked_on_and_not_for_long(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        ground = Ground(sqlite_url)
        async with ground.opened(FALLBACK) as (engine, session):
            for number in range(12):
                await put_away(ground, session, f"k{number}", b"x")
            started: list[str] = []
            all_at_work = asyncio.Event()

            async def hangs(_context: Any, _ref: Any, version_id: str) -> Any:
                started.append(version_id)
                if len(started) == 4:
                    all_at_work.set()
                await asyncio.Event().wait()

            with monkeypatch.context() as patched:
                patched.setattr("holdfast.jobs.reconcile.reconcile", hangs)
                dying = asyncio.ensure_future(pay(engine))
                await all_at_work.wait()
                dying.cancel()
                await asyncio.gather(dying, return_exceptions=True)
            now = await engine.catalog.now()
            waits = [debt.not_before - now for debt in await engine.catalog.debts()]
            assert len([wait for wait in waits if wait > 0]) == 4
            assert max(waits) <= 61_000_000
            ground.advance(62)
            await pay(engine)
            assert not await engine.catalog.debts()

    run(story())


def test_versions_that_are_gone_hold_up_no_debt(catalog_url: str) -> None:
    async def story() -> None:
        ground = Ground(catalog_url)
        async with ground.opened(FALLBACK) as (engine, session):
            for number in range(6):
                await put_away(ground, session, f"k{number}", b"x")
                ground.advance(1)
            for number in range(5):
                await session.delete("plain", f"k{number}")
            assert (await pay(engine)).moved == 1

    run(story())


def test_copies_that_were_not_waited_for_are_made_in_the_background(sqlite_url: str) -> None:
    async def story() -> None:
        ground = Ground(sqlite_url)
        async with ground.opened(Rule("mirrored", ("home", "spare"))) as (engine, session):
            await session.put("plain", "k", Body.of_bytes(b"x"))
            payer = asyncio.ensure_future(keep_paying(engine, 10))
            for _ in range(2000):
                if not await engine.catalog.debts():
                    break
                await asyncio.sleep(0.01)
            payer.cancel()
            await asyncio.gather(payer, return_exceptions=True)
            assert await whereabouts(engine, session, "plain", "k") == ["home", "spare"]

    run(story())


@pytest.mark.parametrize("seed", range(6))
def test_whatever_happens_what_was_acknowledged_can_be_read_and_ends_at_home(
    sqlite_url: str, seed: int
) -> None:
    chance = random.Random(seed)

    async def story() -> None:
        ground = Ground(sqlite_url)
        known: dict[str, bytes] = {}
        rule = Rule(
            "two", ("home", "third"), acknowledge=2, when_down=FALLBACK.when_down, fallback=("spare",)
        )
        async with ground.opened(rule) as (engine, session):

            async def step() -> None:
                key = f"k{chance.randrange(6)}"
                match chance.randrange(6):
                    case 0 | 1:
                        data = noise(chance.randrange(5000), chance.randrange(1000))
                        try:
                            await session.put("plain", key, Body.of_bytes(data))
                            known[key] = data
                        except UnavailableError:
                            pass
                    case 2:
                        await session.delete("plain", key)
                        known.pop(key, None)
                    case 3:
                        await pay(engine, hurry=True)
                    case 4:
                        for backend in ground.stores.values():
                            backend.down = chance.random() < 0.3
                        ground.advance(chance.choice([1, 40, 200]))
                    case 5:
                        await engine.sweep()

            for _ in range(120):
                await step()
            for backend in ground.stores.values():
                backend.down = False
            ground.advance(5000)
            await pay(engine, hurry=True)
            ground.advance(5000)
            await settled(engine)
            for key, data in known.items():
                assert await content(session, "plain", key) == data
                assert await whereabouts(engine, session, "plain", key) == ["home", "third"]

    run(story())


def test_what_is_simulated_is_what_is_then_moved(sqlite_url: str) -> None:
    async def story() -> None:
        ground = Ground(sqlite_url)
        before = Rule("all", ("home",))
        after = (
            Rule("docs", ("spare", "third"), Match(keys=("doc*",))),
            Rule("tiny", ("home",), inline=100),
            Rule("rest", ("third",)),
        )
        async with ground.opened(before) as (_, session):
            for number in range(30):
                key = f"{('doc', 'pic')[number % 2]}{number}"
                await session.put("plain", key, Body.of_bytes(noise(number * 20, number)))
        async with ground.opened(*after) as (engine, session):
            told = await simulate(engine.context, engine.context.placement, supposed={})
            dry = await walk(engine, dry_run=True)
            done = await walk(engine)
            assert (told.every.objects, told.moving.objects) == (dry.examined, dry.moved)
            assert (done.examined, done.moved, done.failed) == (dry.examined, dry.moved, 0)
            assert sum(load.writes for load in told.stores.values()) == dry.copied == done.copied
            assert sum(load.written for load in told.stores.values()) == dry.bytes == done.bytes
            assert sum(load.deletes for load in told.stores.values()) == done.doomed
            ground.advance(5000)
            await settled(engine)
            held: dict[str, int] = {}
            for row in await engine.catalog.replicas():
                held[row.store] = held.get(row.store, 0) + 1
            assert held == {name: load.after.blobs for name, load in told.stores.items() if load.after.blobs}
            assert (await simulate(engine.context, engine.context.placement, supposed={})).moving.objects == 0

    run(story())


def test_a_defect_met_with_one_version_holds_up_no_other(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        ground = Ground(sqlite_url)
        async with ground.opened(FALLBACK) as (engine, session):
            bad = await put_away(ground, session, "bad", b"x")
            await put_away(ground, session, "good", b"y")

            async def broken(context: Any, ref: Any, version_id: str) -> Any:
                if version_id == bad.id:
                    raise ZeroDivisionError
                return await reconcile(context, ref, version_id)

            monkeypatch.setattr("holdfast.jobs.reconcile.reconcile", broken)
            report = await pay(engine)
            assert (report.moved, report.failed) == (1, 1)
            (debt,) = await engine.catalog.debts()
            assert (debt.version_id, debt.trouble) == (bad.id, "a defect (ZeroDivisionError); see the log")

    run(story())


class Naming(Switched):
    """A store that says of every failure of a put that it met it, as drivers do."""

    async def put(self, name: str, body: Body, **how: Any) -> Any:
        try:
            return await super().put(name, body, **how)
        except HoldfastError as error:
            error.operation, error.store = error.operation or "put", error.store or self.store
            raise


def test_an_unreadable_source_is_not_blamed_on_the_store_it_goes_to(catalog_url: str) -> None:
    async def story() -> None:
        ground = Ground(catalog_url)
        ground.stores["home"] = Naming("home", ground.environment)
        async with ground.opened(FALLBACK) as (engine, session):
            made = [await put_away(ground, session, f"k{number}", noise(300_000)) for number in range(2)]
            engine.context.outages.well("home")
            for name in [info.name async for info in ground.spare.list()]:
                await ground.spare.delete(name)
            for version in made:
                done = await reconcile(engine.context, version.ref, version.id)
                assert (done.copied, done.settled) == (0, False)
                assert done.trouble.startswith(
                    "store 'home': what is to go there cannot be read from 'spare': "
                )
            assert not engine.context.outages.failing("home", ground.environment.clock.monotonic())
            assert (await session.put("plain", "new", Body.of_bytes(b"x" * 300_000))).owed == ""
            assert await whereabouts(engine, session, "plain", "new") == ["home"]

    run(story())


@pytest.mark.parametrize("error", [UnavailableError("gone"), ShreddedError("gone"), OSError(5, "gone")])
def test_what_a_body_fails_with_is_told_as_its_own(sqlite_url: str, error: Exception) -> None:
    async def flow() -> AsyncIterator[bytes]:
        yield b"x" * 300_000
        raise error

    async def story() -> None:
        ground = Ground(sqlite_url)
        ground.stores["home"] = Naming("home", ground.environment)
        for default in ("home",), ("home", "spare"):  # the one that reads, and the one that splits, a body
            async with ground.opened(default=default) as (engine, session):
                upload = await session.create_upload("plain", "k")
                kind = type(error) if isinstance(error, HoldfastError) else InvalidRequestError
                with pytest.raises(kind) as told:
                    await session.put_part("plain", "k", upload.id, 1, Body.of_stream(flow()))
                assert told.value.store == ""  # type: ignore[attr-defined]
                assert not engine.context.outages.failing("home", ground.environment.clock.monotonic())

    run(story())


def test_a_copy_inside_a_store_does_not_blame_it_for_a_lost_source(sqlite_url: str) -> None:
    async def story() -> None:
        ground = Ground(sqlite_url)
        ground.stores["home"] = Switched("home", ground.environment, copies=True)
        async with ground.opened(FALLBACK) as (engine, session):
            await session.put("plain", "k", Body.of_bytes(noise(300_000)))
            for name in [info.name async for info in ground.home.list()]:
                await ground.home.delete(name)
            with pytest.raises((UnavailableError, CorruptedError), match="no copy of"):
                await session.copy(("plain", "k"), ("plain", "c"))
            assert not engine.context.outages.failing("home", ground.environment.clock.monotonic())

    run(story())


def test_a_source_that_breaks_strangely_ends_all_copies_of_a_piece(sqlite_url: str) -> None:
    async def flow() -> AsyncIterator[bytes]:
        yield b"x" * 300_000
        raise OSError(5, "gone")

    async def story() -> None:
        ground = Ground(sqlite_url)
        async with ground.opened(default=("home", "spare")) as (_, session):
            upload = await session.create_resumable("plain", "k", length=1_000_000)
            with pytest.raises(OSError, match="gone"):
                await session.append(upload.id, 0, flow())

    run(story())
