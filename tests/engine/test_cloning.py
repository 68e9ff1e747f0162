"""Clones of buckets share blobs: bytes stay while any row needs them, a bad copy is bad for all, and each goes its own way."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from holdfast.core.body import Body
from holdfast.core.clock import Environment
from holdfast.core.errors import ConflictError, InvalidRequestError, NotFoundError, QuotaExceededError
from holdfast.core.failpoints import armed
from holdfast.core.types import ObjectRef, Principal, ReplicaState, Version
from holdfast.engine.cloning import clone
from holdfast.engine.engine import Engine
from holdfast.engine.session import Session
from holdfast.engine.settings import EngineSettings
from holdfast.engine.write import ObjectInput
from holdfast.jobs.clone import CloneBucket
from holdfast.jobs.fsck import Fsck
from holdfast.jobs.reconcile import pay
from holdfast.policy.buckets import changed
from holdfast.policy.moments import text_of
from holdfast.policy.placement import Match, Rule
from tests.engine.alone import Ran, run_alone, work_of
from tests.engine.encrypted import Place
from tests.engine.proving import advance, copies, flip, raw, scrub, world
from tests.helpers import content, engine_on, memory_store, noise, run

pytestmark = pytest.mark.engine

AT_ONCE = EngineSettings(grace=0.0)


async def fork(engine: Engine, *, twice: bool = False, **spec: Any) -> Ran:
    return await run_alone(engine, CloneBucket(), spec, tenant="default", twice=twice)


async def put(session: Session, key: str, data: bytes, bucket: str = "plain", **about: Any) -> Version:
    return await session.put(bucket, key, Body.of_bytes(data), ObjectInput(**about))


async def blobs(engine: Engine) -> set[tuple[str, str]]:
    return {(name, info.name) for name, store in engine.stores.items() async for info in store.backend.list()}


async def swept(engine: Engine) -> set[tuple[str, str]]:
    """Sweep until nothing is left to do; return the blobs that are there, each of which has a row."""
    for _ in range(3):
        await engine.sweep()
    rows = await engine.catalog.replicas()
    assert all(row.state in (ReplicaState.LIVE, ReplicaState.SUSPECT) for row in rows)
    there = await blobs(engine)
    assert there == {(row.store, row.blob) for row in rows}
    return there


@pytest.mark.parametrize("inline", [0, 1 << 20])
def test_a_clone_copies_no_bytes_and_outlives_its_source(catalog_url: str, inline: int) -> None:
    async def story() -> None:
        environment = Environment()
        store = memory_store("main", environment)
        async with engine_on(
            catalog_url, store, environment=environment, settings=AT_ONCE, inline=inline
        ) as (engine, session):
            for number in range(5):
                await put(session, f"k{number}", noise(200, number), tags={"n": str(number)})
            before = await blobs(engine)
            ran = await fork(engine, bucket="plain", target="twin", twice=True)
            assert (ran.failures, ran.counts.examined) == ([], 5)
            assert await blobs(engine) == before
            twin = (await session.list("twin")).items
            assert [(item.ref.key, dict(item.tags)) for item in twin] == [
                (f"k{number}", {"n": str(number)}) for number in range(5)
            ]
            assert await session.usage("twin") == await session.usage("plain")
            assert await engine.catalog.debts() == []
            await session.delete_bucket("plain", force=True)
            assert await swept(engine) == before
            for number in range(5):
                assert await content(session, "twin", f"k{number}") == noise(200, number)
            again = await fork(engine, bucket="twin", target="third")
            assert again.counts.done == 5
            await session.delete_bucket("twin", force=True)
            await swept(engine)
            assert await content(session, "third", "k3") == noise(200, 3)
            await session.delete_bucket("third", force=True)
            assert await swept(engine) == set()

    run(story())


def test_a_clone_of_a_moment_has_large_objects_too(catalog_url: str) -> None:
    async def story() -> None:
        environment = Environment()
        store = memory_store("main", environment)
        async with engine_on(catalog_url, store, environment=environment, settings=AT_ONCE) as (
            engine,
            session,
        ):
            upload = await session.create_upload("kept", "large")
            parts = []
            for number in (1, 2):
                body = Body.of_bytes(noise(5 << 20, number))
                parts.append(await session.put_part("kept", "large", upload.id, number, body))
            wanted = [(part.number, part.etag) for part in parts]
            made = await session.complete_upload("kept", "large", upload.id, wanted)
            await put(session, "small", b"one", "kept")
            snapshot = await session.moments.create("kept", "s")
            await put(session, "small", b"two", "kept")
            await session.delete("kept", "large")
            await put(session, "later", b"three", "kept")
            assert (await fork(engine, bucket="kept", target="twin", snapshot="s")).failures == []
            items = {item.ref.key: item for item in (await session.list("twin")).items}
            assert sorted(items) == ["large", "small"]
            assert (items["large"].etag, items["large"].parts) == (made.etag, 2)
            assert (await session.bucket("twin")).versioning
            await fork(engine, bucket="kept", target="other", at=text_of(snapshot.at), prefix="s")
            assert [item.ref.key for item in (await session.list("other")).items] == ["small"]
            await session.moments.delete("kept", "s")
            await session.delete_bucket("kept", force=True)
            await swept(engine)
            assert await content(session, "twin", "large") == noise(5 << 20, 1) + noise(5 << 20, 2)
            assert await content(session, "other", "small") == b"one"

    run(story())


def test_what_cannot_be_cloned_is_refused(sqlite_url: str) -> None:
    async def story() -> None:
        environment = Environment()
        async with engine_on(sqlite_url, memory_store("main", environment), environment=environment) as (
            engine,
            session,
        ):
            made = await put(session, "k", b"1234")
            with pytest.raises(ConflictError, match="holds objects"):
                await fork(engine, bucket="kept", target="plain")
            with pytest.raises(InvalidRequestError, match="another bucket"):
                CloneBucket().check({"bucket": "plain", "target": "plain"})
            with pytest.raises(ConflictError, match="keeps no versions"):
                await fork(engine, bucket="plain", target="twin", at="2020-01-01")
            await engine.catalog.create_tenant("other")
            await engine.catalog.create_bucket("other", "b")
            with pytest.raises(InvalidRequestError, match="one tenant"):
                await clone(engine.context, made, ObjectRef("other", "b", "k"), actor=session.papers[1])
            await session.create_bucket("tight")
            await session.update_bucket("tight", change=lambda held: changed(held, {"max_bytes": 3}))
            with pytest.raises(QuotaExceededError):
                await clone(engine.context, made, ObjectRef("default", "tight", "k"), actor=session.papers[1])
            work = work_of(engine, CloneBucket(), {"bucket": "plain", "target": "twin"}, tenant="default")
            told = await CloneBucket().forecast(work)
            assert (told.objects, "4 bytes count" in told.notes[0]) == (1, True)

    run(story())


def test_a_bad_copy_is_bad_for_every_version_that_has_it(catalog_url: str) -> None:
    async def story() -> None:
        async with world(catalog_url) as here:
            await _in(here, "a", noise(3000))
            await fork(here.engine, bucket="plain", target="twin")
            first, second = await copies(here, "main")
            assert first.blob == second.blob
            await here.engine.catalog.suspect(second.id)
            assert {row.state for row in await copies(here, "main")} == {ReplicaState.SUSPECT}
            assert {row.state for row in await copies(here, "other")} == {ReplicaState.LIVE}
            await flip(here.disks["main"], first.blob)
            assert await content(here.session, "twin", "a") == noise(3000)  # from the other store
            await scrub(here)
            assert {debt.ref.bucket for debt in await here.engine.catalog.debts()} == {"plain", "twin"}
            await pay(here.engine)
            assert await here.engine.catalog.debts() == []
            advance(here, 86_400 * 3)
            await swept(here.engine)
            for row in await copies(here):
                assert row.state is ReplicaState.LIVE
                assert await raw(here.disks[row.store], row.blob) == noise(3000)

    run(story())


def test_one_reading_proves_all_rows_and_a_blob_may_tell_of_its_first_version(catalog_url: str) -> None:
    async def story() -> None:
        async with world(catalog_url, rule=Rule("default", ("main",))) as here:
            await _in(here, "a", noise(3000))
            await fork(here.engine, bucket="plain", target="twin")
            await here.session.delete_bucket("plain", force=True)
            await fork(here.engine, bucket="twin", target="third")
            advance(here, 86_400 * 3)
            await swept(here.engine)
            one, other = await copies(here)
            assert one.blob == other.blob
            await here.engine.catalog.suspect(one.id)
            await here.engine.catalog.mark_proved([other.id], at=await here.engine.catalog.now())
            assert {row.state for row in await copies(here)} == {ReplicaState.LIVE}
            assert [told.never for told in await here.engine.catalog.proven(since=0)] == [0]
            assert (await scrub(here, max_age=0)).failures == []
            looked = await run_alone(here.engine, Fsck(), {"store": "main"})
            assert looked.failures == []
            assert await here.engine.catalog.findings() == []

    run(story())


def test_a_clone_moves_by_itself(sqlite_url: str) -> None:
    """Where its bucket's rule wants it elsewhere, it owes that, and the bytes of the other one stay."""

    async def story() -> None:
        async with world(sqlite_url, rule=Rule("default", ("main",))) as here:
            await _in(here, "a", noise(3000))
            boss = here.engine.session(Principal("boss", "default", "operator"))
            await boss.admin.change_rules(lambda _: [Rule("twins", ("other",), Match(buckets=("twin",)))])
            await fork(here.engine, bucket="plain", target="twin")
            assert [debt.reason for debt in await here.engine.catalog.debts()] == ["cloned"]
            await pay(here.engine)
            advance(here, 86_400 * 3)
            assert {name for name, _ in await swept(here.engine)} == {"main", "other"}
            await here.session.delete("plain", "a")
            advance(here, 86_400 * 3)
            assert {name for name, _ in await swept(here.engine)} == {"other"}
            assert await content(here.session, "twin", "a") == noise(3000)

    run(story())


def test_clones_deletes_and_sweeps_at_once_lose_nothing(catalog_url: str) -> None:
    """With no grace at all: whoever got a clone can read it, and in the end there is a blob for each row."""

    async def story() -> None:
        environment = Environment()
        store = memory_store("main", environment)
        async with engine_on(catalog_url, store, environment=environment, settings=AT_ONCE) as (
            engine,
            session,
        ):
            actor = session.papers[1]
            kept = 0
            for turn in range(12):
                made = await put(session, "k", noise(300, turn))
                target = ObjectRef("default", "kept", f"c{turn}")

                async def share(made: Version = made, target: ObjectRef = target) -> bool:
                    try:
                        await clone(engine.context, made, target, actor=actor)
                    except (ConflictError, NotFoundError):
                        return False
                    return True

                async def remove() -> None:
                    await session.delete("plain", "k")
                    await engine.sweep()

                ends = await asyncio.gather(share(), remove(), engine.sweep(), share())
                if ends[0] or ends[3]:
                    kept += 1
                    assert await content(session, "kept", f"c{turn}") == noise(300, turn)
            there = await swept(engine)
            assert len(there) == kept
            page = await session.versions("kept")
            for version in page.items:
                assert await content(session, "kept", version.ref.key, version_id=version.id)

    run(story())


def test_a_sweep_that_dies_takes_no_bytes_that_a_clone_has(catalog_url: str) -> None:
    class Died(BaseException):
        pass

    async def story() -> None:
        environment = Environment()
        store = memory_store("main", environment)
        async with engine_on(catalog_url, store, environment=environment, settings=AT_ONCE) as (
            engine,
            session,
        ):
            for point in ("sweep.after_claim", "sweep.after_delete", "sweep.after_forget"):
                made = await put(session, "k", noise(300))
                await clone(
                    engine.context, made, ObjectRef("default", "kept", point), actor=session.papers[1]
                )
                await session.delete("plain", "k")

                def die(name: str, at: str = point) -> None:
                    if name == at:
                        raise Died

                with armed(die):
                    try:
                        await engine.sweep()
                    except Died:
                        pass
                await swept(engine)
                assert await content(session, "kept", point) == noise(300)

    run(story())


async def _in(here: Place, key: str, data: bytes) -> Version:
    return await here.session.put("plain", key, Body.of_bytes(data))
