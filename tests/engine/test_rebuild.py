"""A catalog made anew from the stores alone: all that blobs say of themselves is there again, and nothing newer is lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from holdfast.backends.memory import MemoryBackend
from holdfast.core.backend import Backend, Capability
from holdfast.core.body import Body
from holdfast.core.clock import Environment
from holdfast.core.errors import InvalidRequestError, NotFoundError
from holdfast.core.names import Layout
from holdfast.core.types import Version
from holdfast.engine.engine import Engine
from holdfast.engine.session import Session
from holdfast.engine.write import ObjectInput
from holdfast.jobs.fsck import Fsck
from holdfast.jobs.rebuild import Rebuild
from holdfast.jobs.reconcile import walk
from holdfast.policy.placement import Rule
from tests.engine.alone import Ran, run_alone, work_of
from tests.engine.test_origins import Bare, service, write_all
from tests.helpers import content, noise, run

pytestmark = pytest.mark.engine

RULE = Rule("default", ("main", "other"), acknowledge=2)


def disks(*, bare: bool = False) -> dict[str, Backend]:
    made: dict[str, Backend] = {
        name: MemoryBackend(name, environment=Environment()) for name in ("main", "other")
    }
    if bare:
        made["other"] = Bare(made["other"])
    return made


async def rebuild(engine: Engine, **spec: Any) -> Ran:
    return await run_alone(engine, Rebuild(), spec)


async def versions(session: Session, bucket: str = "plain") -> list[Version]:
    found = await session.versions(bucket)
    return [one for one in found.items if not one.delete_marker]


def known(version: Version) -> tuple[object, ...]:
    """What blobs say of a version that was sent in one piece of at most 64 KiB, or copied by us."""
    return (
        version.id,
        version.ref,
        version.size,
        version.etag,
        version.content_type,
        dict(version.metadata),
        dict(version.tags),
        version.digests.sha256,
        version.digests.crc64nvme,
        version.checksum_type,
        version.parts,
        version.storage_class,
    )


@asynccontextmanager
async def anew(
    tmp_path: Path, places: dict[str, Backend], rule: Rule = RULE
) -> AsyncIterator[tuple[Engine, Session]]:
    """Give a service over the same stores whose catalog knows nothing."""
    number = len(list(tmp_path.glob("new*")))
    url = f"sqlite:///{tmp_path / f'new{number}.db'}"
    async with service(url, places, rule, Layout.IMMUTABLE) as (engine, session):
        await session.delete_bucket("plain")
        yield engine, session


@pytest.mark.parametrize("bare", [False, True])
def test_everything_that_was_written_is_there_again(tmp_path: Path, bare: bool) -> None:
    async def story() -> None:
        places = disks(bare=bare)
        about = ObjectInput(
            "text/plain; charset=utf-8", {"who": "ü"}, {"colour": "red"}, storage_class="GLACIER"
        )
        url = f"sqlite:///{tmp_path / 'old.db'}"
        async with service(url, places, RULE, Layout.IMMUTABLE) as (engine, session):
            await session.update_bucket("plain", versioning=True)
            await write_all(session)
            await session.put("plain", "said", Body.of_bytes(b"said"), about)
            await session.put(
                "plain", "said much", Body.of_bytes(b"x"), ObjectInput(metadata={"m": "y" * 1900})
            )
            before = await versions(session)
            bytes_before = {
                one.id: await content(session, "plain", one.ref.key, version_id=one.id) for one in before
            }
            copies = {
                (row.id, row.version_id, row.segment_id, row.store, row.blob, row.size)
                for row in await engine.catalog.replicas()
            }
        async with anew(tmp_path, places) as (engine, session):
            ran = await rebuild(engine)
            assert not ran.failures, ran
            assert ran.counts.notes["made"] == len(before)
            after = {one.id: one for one in await versions(session)}
            assert set(after) == {one.id for one in before}
            for one in before:
                again = after[one.id]
                told, was = known(again), known(one)
                if one.ref.key == "said much" and told != was:
                    assert dict(again.metadata) == {}
                    assert ran.counts.notes["cut"] == 1
                else:
                    assert told == was
                assert await content(session, "plain", one.ref.key, version_id=one.id) == bytes_before[one.id]
            order = [(one.ref.key, one.id) for one in before]
            assert [(one.ref.key, one.id) for one in await versions(session)] == order
            rows = {
                (row.id, row.version_id, row.segment_id, row.store, row.blob, row.size)
                for row in await engine.catalog.replicas()
            }
            assert rows == copies
            usage = await engine.catalog.usage("default", "plain")
            assert usage == await engine.catalog.recount("default", "plain")
            again_ran = await rebuild(engine)
            assert again_ran.counts.notes.get("made", 0) == 0
            assert again_ran.counts.notes["there"] == len(before)
            checked = await run_alone(engine, Fsck(), {"deep": True, "metadata": True, "young": 0})
            assert (checked.counts.failed, checked.counts.notes) == (0, {})
            assert (await walk(engine)).failed == 0

    run(story())


def test_a_catalog_that_is_older_gets_what_is_missing(tmp_path: Path) -> None:
    async def story() -> None:
        import shutil

        places = disks()
        old, kept = tmp_path / "old.db", tmp_path / "kept.db"
        async with service(f"sqlite:///{old}", places, RULE, Layout.IMMUTABLE) as (_, session):
            await session.create_bucket("many", versioning=True)
            await session.put("many", "k", Body.of_bytes(b"1"))
            await session.put("plain", "over", Body.of_bytes(b"old"))
            gone = await session.put("plain", "gone", Body.of_bytes(b"gone"))
        shutil.copy(old, kept)
        async with service(f"sqlite:///{old}", places, RULE, Layout.IMMUTABLE) as (engine, session):
            for text in (b"2", b"3"):
                await session.put("many", "k", Body.of_bytes(text))
            newer = await session.put("plain", "over", Body.of_bytes(b"new"))
            await session.delete("plain", "gone")
            await engine.sweep()
        async with service(f"sqlite:///{kept}", places, RULE, Layout.IMMUTABLE) as (engine, session):
            four = await session.put("many", "k", Body.of_bytes(b"4"))
            ran = await rebuild(engine)
            assert ran.counts.notes["made"] == 3
            found = await versions(session, "many")
            assert [await content(session, "many", "k", version_id=one.id) for one in found] == [
                b"4",
                b"3",
                b"2",
                b"1",
            ]
            assert (await session.head("many", "k"))[0].id == four.id
            assert (await session.head("plain", "over"))[0].id == newer.id
            assert await content(session, "plain", "over") == b"new"
            assert (await session.head("plain", "gone"))[
                0
            ].id == gone.id  # its row is there, its bytes are not
            for bucket in ("plain", "many"):
                assert await engine.catalog.usage("default", bucket) == await engine.catalog.recount(
                    "default", bucket
                )

    run(story())


def test_what_is_going_and_what_is_in_flight_stays_so(tmp_path: Path) -> None:
    async def story() -> None:
        places = disks()
        url = f"sqlite:///{tmp_path / 'old.db'}"
        async with service(url, places, RULE, Layout.IMMUTABLE) as (engine, session):
            await session.put("plain", "k", Body.of_bytes(b"1"))
            await session.put("plain", "k", Body.of_bytes(b"2"))
            await session.put("plain", "deleted", Body.of_bytes(b"3"))
            await session.delete("plain", "deleted")
            upload = await session.create_upload("plain", "open")
            await session.put_part("plain", "open", upload.id, 1, Body.of_bytes(b"part"))
            before = await engine.catalog.replicas()
            ran = await rebuild(engine)
            assert (ran.counts.failed, ran.counts.notes.get("made", 0)) == (0, 0)
            assert await engine.catalog.replicas() == before
            with pytest.raises(NotFoundError):
                await session.head("plain", "deleted")

    run(story())


def test_parts_of_an_upload_that_never_ended_make_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        places = disks()
        url = f"sqlite:///{tmp_path / 'old.db'}"
        async with service(url, places, RULE, Layout.IMMUTABLE) as (_, session):
            upload = await session.create_upload("plain", "open")
            for number in (1, 2):
                await session.put_part("plain", "open", upload.id, number, Body.of_bytes(noise(10, number)))
        async with anew(tmp_path, places) as (engine, session):
            ran = await rebuild(engine)
            assert ran.counts.notes["unsure"] == 1
            assert "how many" in ran.failures[0].message
            assert (await rebuild(engine, uploads=True)).counts.notes["made"] == 1
            assert await content(session, "plain", "open") == noise(10, 1) + noise(10, 2)

    run(story())


def test_a_part_that_is_missing_is_told(tmp_path: Path) -> None:
    async def story() -> None:
        places = disks()
        url = f"sqlite:///{tmp_path / 'old.db'}"
        async with service(url, places, RULE, Layout.IMMUTABLE) as (engine, session):
            await write_all(session)
            version = (await session.head("plain", "parts"))[0]
            row = [one for one in await engine.catalog.replicas() if one.version_id == version.id]
            last = max(row, key=lambda one: one.id).segment_id
            for one in row:
                if one.segment_id == last:
                    await places[one.store].delete(one.blob)
        async with anew(tmp_path, places) as (engine, session):
            ran = await rebuild(engine)
            assert [one.message for one in ran.failures] == ["it has 3 parts, and 2 were found"]
            with pytest.raises(NotFoundError):
                await session.head("plain", "parts")

    run(story())


def test_encrypted_blobs_need_the_keys_of_their_tenants(tmp_path: Path) -> None:
    async def story() -> None:
        places = disks()
        rule = Rule("default", ("main", "other"), acknowledge=2, encrypt=True)
        url = f"sqlite:///{tmp_path / 'old.db'}"
        async with service(url, places, rule, Layout.IMMUTABLE) as (engine, session):
            await write_all(session)
            count = len(await versions(session))
            keys = await engine.catalog.tenant_keys()
        async with anew(tmp_path, places, rule) as (engine, session):
            ran = await rebuild(engine)
            assert ran.counts.notes["locked"] > 0
            assert "made" not in ran.counts.notes
            await engine.catalog.restore_tenant_keys(keys)
        async with anew(tmp_path, places, rule) as (engine, session):
            await engine.catalog.restore_tenant_keys(keys)
            ran = await rebuild(engine)
            assert (ran.counts.failed, ran.counts.notes["made"]) == (
                0,
                count + 1,
            )  # what was overwritten, too
            assert await content(session, "plain", "empty") == b""
            assert len(await content(session, "plain", "streamed")) == 3 << 20

    run(story())


def test_blobs_that_lie_are_left_out(tmp_path: Path) -> None:
    async def story() -> None:
        from holdfast.core.backend import PutOptions

        places = disks()
        world = Environment()
        lies = (
            "v=1&t=other&b=plain&k=k&i=0190&c=1",
            "v=1&t=default&b=../..&k=k&i=0190&c=1",
            "v=1&t=default&b=plain&k=..%2Fetc&i=0190&c=1",
            "v=1&t=default&b=plain&k=k&i=" + "0" * 99 + "&c=1",
            "v=9&t=default&b=plain&k=k&i=0190&c=1",
        )
        for lie in lies:
            options = PutOptions(metadata={"holdfast": lie})
            await places["main"].put(
                f"default/2026010100/{world.new_id()}", Body.of_bytes(b"x"), options=options
            )
        async with anew(tmp_path, places) as (engine, _):
            ran = await rebuild(engine)
            assert (ran.counts.notes["senseless"], ran.counts.notes["silent"]) == (4, 1)
            assert len(ran.failures) == 4
            assert await engine.catalog.replicas() == []

    run(story())


def test_a_random_world_is_told_whole(tmp_path: Path) -> None:
    """What blobs say of themselves is what the catalog said: after any history of puts, versions and losses of a copy."""

    async def story() -> None:
        chance = random.Random(11)
        places = disks()
        url = f"sqlite:///{tmp_path / 'old.db'}"
        async with service(url, places, RULE, Layout.IMMUTABLE) as (engine, session):
            await session.update_bucket("plain", versioning=True)

            async def one(number: int) -> None:
                key = f"k{chance.randrange(25)}"
                about = ObjectInput(metadata={"n": str(number)}, tags={"t": chance.choice("abc")})
                await session.put("plain", key, Body.of_bytes(noise(chance.randrange(3000), number)), about)

            for start in range(0, 80, 4):
                await asyncio.gather(*(one(number) for number in range(start, start + 4)))
            before = await versions(session)
            heads = {one.ref.key: one.id for one in before if one.current}
            for row in await engine.catalog.replicas():
                if row.store == "main" and chance.random() < 0.3:
                    await places["main"].delete(row.blob)
        async with anew(tmp_path, places) as (engine, session):
            ran = await run_alone(engine, Rebuild(), {}, twice=True)
            assert not ran.failures
            after = {one.id: one for one in await versions(session)}
            assert {one.id: known(one) for one in before} == {name: known(one) for name, one in after.items()}
            told = {one.ref.key: one.id for one in after.values() if one.current}
            newest = {key: after[name].created - after[heads[key]].created for key, name in told.items()}
            assert all(
                0 <= gap < 5_000_000 for gap in newest.values()
            )  # puts that overlapped may have changed places
            assert (await walk(engine)).failed == 0

    run(story())


def test_what_it_would_do_and_what_makes_no_sense(tmp_path: Path) -> None:
    async def story() -> None:
        places = disks()
        async with service(f"sqlite:///{tmp_path / 'old.db'}", places, RULE, Layout.IMMUTABLE) as (
            engine,
            session,
        ):
            await session.put("plain", "k", Body.of_bytes(b"12345"))
            await places["main"].put("somebody/else", Body.of_bytes(b"x"))
            kind = Rebuild()
            told = await kind.forecast(work_of(engine, kind, {}))
            assert (told.objects, told.bytes, told.calls["main"]) == (2, 10, {"list": 1, "head": 2})
            assert "1 names are none of ours" in told.notes[0]
            with pytest.raises(NotFoundError):
                await kind.split(work_of(engine, kind, {"stores": ["nowhere"]}))
            with pytest.raises(InvalidRequestError):
                kind.check({"stores": "main"})
            assert Capability.METADATA in places["main"].capabilities

    run(story())
