"""Stores moved while they serve: every phase, refused and taken back, with deletes, overwrites and failures meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from holdfast.catalog.contract import Actor
from holdfast.core.backend import StoreState
from holdfast.core.body import Body
from holdfast.core.clock import iso
from holdfast.core.errors import ConflictError, InvalidRequestError, NotFoundError, PermissionDeniedError
from holdfast.core.types import Principal, ReplicaState
from holdfast.engine import moves
from holdfast.engine.engine import Engine
from holdfast.engine.session import Session
from holdfast.engine.write import ObjectInput
from holdfast.jobs.kinds import Kind
from holdfast.jobs.moving import Drain, FinishMove, Migrate, Mirror
from holdfast.jobs.reconcile import pay
from holdfast.policy.moving import Phase
from holdfast.policy.placement import Match, Rule
from tests.engine.alone import Ran, run_alone, work_of
from tests.engine.outage import Ground, Switched, whereabouts
from tests.helpers import ADMIN, content, noise, run

pytestmark = pytest.mark.engine
BOSS = Actor("boss")
BOTH = {"source": "home", "target": "spare"}


async def filled(session: Session, count: int = 5) -> dict[str, bytes]:
    """Put objects into both buckets: small, large, in parts, and older versions."""
    made = {f"k{number}": noise(3000 + number, number) for number in range(count)}
    made["large"] = noise(700_000, 99)
    for key, data in made.items():
        about = ObjectInput(metadata={"m": key}, tags={"t": "1"})
        await session.put("plain", key, Body.of_bytes(data), about)
    await session.put("kept", "v", Body.of_bytes(b"old" * 1000))
    await session.put("kept", "v", Body.of_bytes(b"new" * 1000))
    upload = await session.create_upload("plain", "parts")
    pieces = [noise(5 << 20, 7), noise(1000, 8)]
    parts = [
        await session.put_part("plain", "parts", upload.id, number, Body.of_bytes(piece))
        for number, piece in enumerate(pieces, 1)
    ]
    await session.complete_upload("plain", "parts", upload.id, [(part.number, part.etag) for part in parts])
    return made | {"parts": b"".join(pieces)}


async def check(session: Session, made: dict[str, bytes]) -> None:
    for key, data in made.items():
        assert await content(session, "plain", key) == data
    assert await content(session, "kept", "v") == b"new" * 1000
    page = await session.versions("kept")
    old = next(version for version in page.items if not version.current)
    assert await content(session, "kept", "v", version_id=old.id) == b"old" * 1000


async def stores_of_all(engine: Engine) -> set[str]:
    return {row.store for row in await engine.catalog.replicas() if row.state is ReplicaState.LIVE}


async def migrated(engine: Engine, **more: object) -> Ran:
    return await run_alone(engine, Migrate(), {**BOTH, **more}, most_rounds=15)


def test_a_store_is_left_and_nothing_else_changes(sqlite_url: str) -> None:
    async def story() -> None:
        ground = Ground(sqlite_url)
        async with ground.opened() as (engine, session):
            made = await filled(session)
            before = [await session.head("plain", key) for key in made]
            ran = await migrated(engine, keep=0)
            assert ran.result["phase"] == "done"
            assert not ran.failures
            assert "wait for the sweep" in ran.result["told"]
            assert await stores_of_all(engine) == {"spare"}
            assert [await session.head("plain", key) for key in made] == before
            await check(session, made)
            ground.advance(101)
            assert not (await engine.sweep()).failed
            assert [info async for info in ground.home.list()] == []
            await check(session, made)
            await session.put("plain", "later", Body.of_bytes(b"x"))
            assert await whereabouts(engine, session, "plain", "later") == ["spare"]
            again = await migrated(engine, keep=0)
            assert (again.counts.done, again.counts.bytes) == (0, 0)
            assert again.result["told"] == "store home is empty: it may be removed"

    run(story())


def test_a_dry_run_says_what_then_happens(sqlite_url: str) -> None:
    async def story() -> None:
        ground = Ground(sqlite_url)
        async with ground.opened(Rule("r", ("third",), Match(keys=("k1",)))) as (engine, session):
            await filled(session)
            kind = Migrate()
            told = await kind.forecast(work_of(engine, kind, BOTH))
            puts = ground.spare.puts
            assert not (await engine.catalog.moves())[1]
            ran = await migrated(engine, keep=0)
            assert told.bytes == ran.counts.bytes
            assert told.calls["spare"]["put"] == ground.spare.puts - puts == ran.counts.notes["copied"]
            assert told.calls["home"]["delete"] == ran.counts.notes["doomed"]
            assert told.moves == {("home", "spare"): told.objects}
            assert told.objects == 8  # four of five small ones, the large one, the parts, two versions
            assert "third" not in told.calls

    run(story())


def test_every_step_may_be_done_twice_and_by_two_at_once(catalog_url: str) -> None:
    async def story() -> None:
        ground = Ground(catalog_url)
        async with ground.opened() as (engine, session), ground.opened() as (other, _):
            made = await filled(session, 20)
            one, two = await asyncio.gather(migrated(engine, keep=0), migrated(other, keep=0))
            assert not one.failures
            assert not two.failures
            again = await run_alone(engine, Migrate(), {**BOTH, "keep": 0}, twice=True, most_rounds=15)
            assert again.counts.bytes == 0
            await check(session, made)
            ground.advance(101)
            await engine.sweep()
            rows = await engine.catalog.replicas()
            assert {(row.store, row.state) for row in rows} == {("spare", ReplicaState.LIVE)}
            assert len(rows) == len([info async for info in ground.spare.list()])
            assert [info async for info in ground.home.list()] == []

    run(story())


def test_what_is_written_and_deleted_in_each_phase(catalog_url: str) -> None:
    async def story() -> None:
        ground = Ground(catalog_url)
        async with ground.opened() as (engine, session):
            await session.put("plain", "gone", Body.of_bytes(b"gone"))
            await session.put("plain", "stays", Body.of_bytes(b"first"))
            await moves.begin(engine.context, "home", "spare", actor=BOSS)
            await session.put("plain", "new", Body.of_bytes(b"copying"))
            assert await whereabouts(engine, session, "plain", "new") == ["home"]
            assert (await session.head("plain", "new"))[0].owed == "copies"
            ran = await migrated(engine, cutover=False)
            assert ran.result == {"phase": "copying", "versions": 3, "missing": 0, "missing_bytes": 0}
            assert await whereabouts(engine, session, "plain", "new") == ["home", "spare"]
            await session.delete("plain", "gone")
            await session.put("plain", "stays", Body.of_bytes(b"second"))
            ground.advance(1)
            with pytest.raises(ConflictError, match=r"1 versions .*plain/stays \(in home\)"):
                await moves.cutover(engine.context, "home", actor=BOSS)
            ran = await migrated(engine)
            assert ran.result["phase"] == "cutover"
            (due,) = await engine.catalog.schedules()
            assert (due.kind, due.spec) == ("finish-move", {"source": "home"})
            assert due.next_at > await engine.catalog.now() + 6 * 86_400_000_000
            assert ran.result["finish_at"] == iso(due.next_at)
            await session.put("plain", "stays", Body.of_bytes(b"third"))
            assert await whereabouts(engine, session, "plain", "stays") == ["spare"]
            ground.home.down = True  # readers are sent to the target
            assert await content(session, "plain", "new") == b"copying"
            ground.home.down = False
            ground.spare.down = True
            await session.put("plain", "late", Body.of_bytes(b"in the source only"))
            ground.spare.down = False
            ground.advance(40)
            with pytest.raises(ConflictError, match=r"1 versions .*plain/late \(in home\)"):
                await moves.finish(engine.context, "home", actor=BOSS)
            ran = await run_alone(engine, FinishMove(), {"source": "home"})
            assert ran.result["phase"] == "done"
            assert await stores_of_all(engine) == {"spare"}
            assert not await engine.catalog.schedules()
            assert await content(session, "plain", "stays") == b"third"
            assert await content(session, "plain", "late") == b"in the source only"
            with pytest.raises(NotFoundError):
                await session.head("plain", "gone")
            assert not (await pay(engine, hurry=True)).failed
            assert not await engine.catalog.debts()

    run(story())


def test_taken_back_in_every_phase_nothing_is_lost(sqlite_url: str) -> None:
    async def story(phase: Phase, url: str) -> None:
        ground = Ground(url)
        async with ground.opened() as (engine, session):
            made = await filled(session, 2)
            if phase is Phase.COPYING:
                await moves.begin(engine.context, "home", "spare", actor=BOSS)
            else:
                await migrated(engine, keep=0 if phase is Phase.DONE else None)
            assert (await moves.find(engine.context, "home")).phase == phase
            await session.put("plain", "meanwhile", Body.of_bytes(b"meanwhile"))
            assert (await moves.back(engine.context, "home", actor=BOSS)).phase == "back"
            await session.put("plain", "after", Body.of_bytes(b"after"))
            assert await whereabouts(engine, session, "plain", "after") == ["home"]
            await run_alone(engine, Mirror(), {})
            assert await stores_of_all(engine) == {"home"}
            await check(session, made | {"meanwhile": b"meanwhile", "after": b"after"})
            ground.advance(101)
            await engine.sweep()
            assert [info async for info in ground.spare.list()] == []
            await check(session, made)
            await moves.forget(engine.context, "home", actor=BOSS)
            assert not await moves.status(engine.context)

    for number, phase in enumerate((Phase.COPYING, Phase.CUTOVER, Phase.DONE)):
        run(story(phase, sqlite_url if number == 0 else f"{sqlite_url}{number}"))


def test_a_target_that_is_down_and_a_source_that_goes_down_in_the_middle(sqlite_url: str) -> None:
    async def story() -> None:
        ground = Ground(sqlite_url)
        async with ground.opened() as (engine, session):
            made = await filled(session, 3)
            await moves.begin(engine.context, "home", "spare", actor=BOSS)
            ground.spare.down = True
            await session.put("plain", "written", Body.of_bytes(b"while the target is down"))
            kind = Migrate()
            work = work_of(engine, kind, BOTH)
            ranges = await kind.split(work)
            assert len(ranges) == 1
            ran = await run_alone(engine, Mirror(), {}, most_rounds=1)
            assert ran.counts.failed == len(ran.failures) > 3
            assert {failure.message for failure in ran.failures} == {"store 'spare': it does not answer"}
            with pytest.raises(ConflictError, match="not where they belong"):
                await moves.cutover(engine.context, "home", actor=BOSS)
            ground.spare.down = False
            ground.advance(40)
            ground.home.down = True
            ran = await run_alone(engine, Mirror(), {}, most_rounds=1)
            assert all("cannot be read from 'home'" in failure.message for failure in ran.failures)
            ground.home.down = False
            ground.advance(40)
            ran = await migrated(engine, keep=0)
            assert ran.result["phase"] == "done"
            await check(session, made)
            assert not await engine.catalog.debts()

    run(story())


def test_what_was_under_way_when_a_move_began_is_owed_to_the_target(sqlite_url: str) -> None:
    async def story() -> None:
        ground = Ground(sqlite_url)
        async with ground.opened() as (engine, session):
            upload = await session.create_upload("plain", "parts")
            part = await session.put_part("plain", "parts", upload.id, 1, Body.of_bytes(b"piece"))

            async def slowly() -> AsyncIterator[bytes]:
                yield b"first"
                await moves.begin(engine.context, "home", "spare", actor=BOSS)
                yield b"second"

            await session.put("plain", "slow", Body.of_stream(slowly(), size=11))
            await session.complete_upload("plain", "parts", upload.id, [(1, part.etag)])
            owed = {debt.ref.key: debt.reason for debt in await engine.catalog.debts()}
            assert owed == {"slow": "copies", "parts": "copies"}
            assert (await pay(engine)).moved == 2
            for key in owed:
                assert await whereabouts(engine, session, "plain", key) == ["home", "spare"]

    run(story())


def test_another_process_follows_within_seconds_whatever_its_own_rules(sqlite_url: str) -> None:
    async def story() -> None:
        ground = Ground(sqlite_url)
        own = Rule("own", ("home",), Match(keys=("own*",)))
        async with ground.opened() as (engine, _), ground.opened(own) as (other, session):
            await session.put("plain", "own1", Body.of_bytes(b"1"))
            await moves.begin(engine.context, "home", "spare", phase=Phase.DONE, actor=BOSS)
            ground.advance(2.1)
            for key in ("own2", "other"):
                await session.put("plain", key, Body.of_bytes(b"2"))
                assert await whereabouts(other, session, "plain", key) == ["spare"]
            found = await session.head("plain", "own1")
            assert (
                await moves.difference(other.context, await moves.find(other.context, "home"))
            ).versions == 1
            assert found[0].owed == ""

    run(story())


def test_draining_to_where_the_rules_say_and_to_another(sqlite_url: str) -> None:
    async def story() -> None:
        ground = Ground(sqlite_url)
        async with ground.opened(default=("home",)) as (engine, session):
            made = await filled(session, 2)
            with pytest.raises(ConflictError, match="rule 'default' names the store"):
                await run_alone(engine, Drain(), {"store": "home"})
            kind = Drain()
            told = await kind.forecast(work_of(engine, kind, {"store": "home", "to": "third"}))
            ran = await run_alone(engine, Drain(), {"store": "home", "to": "third"})
            assert (told.objects, told.bytes) == (ran.counts.done, ran.counts.bytes)
            assert ran.result["live"] == 0
            assert "wait for the sweep" in ran.result["told"]
            await check(session, made)
            ground.advance(101)
            await engine.sweep()
            ran = await run_alone(engine, Drain(), {"store": "home", "to": "third"})
            assert ran.result["told"] == "store home is empty: it may be removed"
        async with ground.opened(default=("spare",)) as (engine, session):
            ran = await run_alone(engine, Drain(), {"store": "third"})
            assert await stores_of_all(engine) == {"spare"}
            await check(session, made)

    run(story())


def test_a_mirror_is_a_move_that_stays(sqlite_url: str) -> None:
    async def story() -> None:
        ground = Ground(sqlite_url)
        async with ground.opened() as (engine, session):
            made = await filled(session, 2)
            kind = Mirror()
            told = await kind.forecast(work_of(engine, kind, BOTH))
            ran = await run_alone(engine, kind, BOTH)
            assert (told.objects, told.bytes) == (ran.counts.done, ran.counts.bytes)
            assert ran.result == {"versions": 6, "missing": 0, "missing_bytes": 0}
            assert await whereabouts(engine, session, "plain", "k0") == ["home", "spare"]
            ground.home.down = True
            await check(session, made)

    run(story())


def test_what_cannot_be_followed_is_refused(sqlite_url: str) -> None:
    async def story() -> None:
        ground = Ground(sqlite_url)
        two = Rule("two", ("home", "spare"), Match(keys=("two*",)), acknowledge=2)
        ground.stores["fourth"] = Switched("fourth", ground.environment)
        async with ground.opened(two) as (engine, _):
            context = engine.context
            with pytest.raises(ConflictError, match="'two' wants 2 copies acknowledged"):
                await moves.begin(context, "home", "spare", actor=BOSS)
            with pytest.raises(NotFoundError):
                await moves.begin(context, "home", "nowhere", actor=BOSS)
            await moves.begin(context, "home", "third", actor=BOSS)
            with pytest.raises(ConflictError, match="moved to 'third' already"):
                await moves.begin(context, "home", "fourth", actor=BOSS)
            with pytest.raises(ConflictError, match="a chain"):
                await moves.begin(context, "third", "spare", actor=BOSS)
            with pytest.raises(ConflictError, match="cut it over first"):
                await moves.finish(context, "home", actor=BOSS)
            with pytest.raises(ConflictError, match="take it back"):
                await moves.forget(context, "home", actor=BOSS)
            await moves.cutover(context, "home", actor=BOSS)
            await moves.finish(context, "home", actor=BOSS)
            with pytest.raises(ConflictError, match="still names the store"):
                await moves.forget(context, "home", actor=BOSS)
            engine.stores.own["spare"].state = StoreState.READ_ONLY
            with pytest.raises(ConflictError, match="takes nothing"):
                await moves.begin(context, "spare", "spare", actor=BOSS)

    run(story())


@pytest.mark.parametrize("kind", [Migrate(), FinishMove(), Drain(), Mirror()])
def test_a_spec_is_checked(kind: Kind) -> None:
    with pytest.raises(InvalidRequestError, match="no member"):
        kind.check({"nonsense": 1})
    with pytest.raises(InvalidRequestError):
        kind.check({"source": "a", "target": "a", "store": "a"})
    assert kind.verb == "operate"


def test_only_operators_look_after_moves(sqlite_url: str) -> None:
    async def story() -> None:
        ground = Ground(sqlite_url)
        async with ground.opened() as (engine, session):
            desk = session.admin.moves
            for verb in (desk.verify, desk.cutover, desk.finish, desk.back, desk.forget):
                with pytest.raises(PermissionDeniedError):
                    await verb("home")
            with pytest.raises(PermissionDeniedError):
                await desk.begin("home", "spare")
            with pytest.raises(PermissionDeniedError):
                await desk.all()
            boss = engine.session(Principal("boss", "default", "operator")).admin.moves
            await boss.begin("home", "spare")
            assert [status.move.phase for status in await boss.all()] == ["copying"]
            assert (await boss.verify("home")).versions == 0
            assert (await boss.cutover("home", keep=60)).finish_at is not None
            await boss.finish("home")
            await boss.back("home")
            await boss.forget("home")
            told = [entry.detail for entry in await engine.catalog.audit("") if entry.action == "set-moves"]
            assert told[0] == {"home": "to spare: copying"}
            assert told[-1] == {"home": "forgotten"}
            assert ADMIN.role == "admin"

    run(story())
