"""Uploads that grow at their end: exact offsets, exact quotas, nothing copied, nothing left."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.catalog.contract import Catalog
from holdfast.core.body import Body
from holdfast.core.clock import Environment
from holdfast.core.errors import (
    ConflictError,
    DigestMismatchError,
    HoldfastError,
    InvalidRequestError,
    NotFoundError,
    QuotaExceededError,
    TooLargeError,
)
from holdfast.core.types import BucketSettings, ByteRange, ObjectRef, Principal, Quota, Scope, Upload
from holdfast.engine import pieces
from holdfast.engine.engine import Engine
from holdfast.engine.pieces import BrokenOffError, Check
from holdfast.engine.session import Session
from holdfast.engine.settings import EngineSettings
from tests.helpers import blobs_on_disk, content, crc64, engine_on, local_store, noise, run

pytestmark = pytest.mark.engine
MIB = 1 << 20


async def flow(data: bytes, *, step: int = 100_000, breaks: bool = False) -> AsyncIterator[bytes]:
    for start in range(0, len(data), step):
        yield data[start : start + step]
        await asyncio.sleep(0)
    if breaks:
        raise BrokenOffError("gone")


async def check_books(catalog: Catalog, *buckets: str) -> None:
    """Counters are what a scan finds, and quotas are what counters and reservations say."""
    for bucket in buckets or ("plain", "kept"):
        assert await catalog.usage("default", bucket) == await catalog.recount("default", bucket)
        row, must = await catalog.ledger("default", bucket)  # type: ignore[attr-defined]
        assert row is None or row == must


def test_pieces_become_one_object(catalog_url: str, tmp_path: Path) -> None:
    whole = noise(20 * MIB + 3, 1)

    async def story() -> None:
        async with engine_on(catalog_url, local_store("local", tmp_path / "o", Environment())) as (
            engine,
            session,
        ):
            made = await session.create_resumable("plain", "k", length=len(whole))
            half = await session.append(made.id, 0, flow(whole[: 9 * MIB]))
            assert (half.offset, half.version, half.broken) == (9 * MIB, None, False)
            parts = await engine.catalog.list_parts(made.id)
            assert [part.size for part in parts] == [8 * MIB, MIB]
            assert (await session.usage("plain")).upload_bytes == 9 * MIB
            done = await session.append(made.id, 9 * MIB, flow(whole[9 * MIB :]))
            assert done.version is not None
            assert (done.version.size, done.version.parts) == (len(whole), 4)
            assert done.version.digests.crc64nvme == crc64(whole)
            assert await content(session, "plain", "k") == whole
            assert (
                await content(session, "plain", "k", range=ByteRange(8 * MIB - 5, 9 * MIB + 5))
                == (whole[8 * MIB - 5 : 9 * MIB + 6])
            )
            assert await session.upload_progress(made.id) == done
            assert (await session.usage("plain")).upload_bytes == 0
            await check_books(engine.catalog)

    run(story())


def test_what_arrived_is_kept_unless_it_had_a_checksum(catalog_url: str, tmp_path: Path) -> None:
    whole = noise(MIB, 2)

    async def story() -> None:
        async with engine_on(catalog_url, local_store("local", tmp_path / "o", Environment())) as (
            engine,
            session,
        ):
            made = await session.create_resumable("plain", "k", length=len(whole))
            broken = await session.append(made.id, 0, flow(whole[:300_000], breaks=True))
            assert (broken.offset, broken.broken) == (300_000, True)
            check = Check("sha1", hashlib.sha1(whole[300_000:]).digest())
            with pytest.raises(BrokenOffError):
                await session.append(made.id, 300_000, flow(whole[300_000:500_000], breaks=True), check=check)
            check = Check("sha1", hashlib.sha1(whole).digest())
            with pytest.raises(DigestMismatchError):
                await session.append(made.id, 300_000, flow(whole[300_000:]), check=check)
            assert (await session.upload_progress(made.id)).offset == 300_000
            check = Check("sha1", hashlib.sha1(whole[300_000:]).digest())
            await session.append(made.id, 300_000, flow(whole[300_000:]), check=check)
            assert await content(session, "plain", "k") == whole
            await check_books(engine.catalog)

    run(story())


def test_of_many_writers_at_one_offset_one_goes_on(catalog_url: str, tmp_path: Path) -> None:
    whole = noise(1000, 3)

    async def story() -> None:
        store = local_store("local", tmp_path / "o", Environment())
        async with (
            engine_on(catalog_url, store, settings=EngineSettings(grace=0)) as (engine, session),
            engine_on(catalog_url, local_store("local", tmp_path / "o", Environment())) as (_, other),
        ):
            made = await session.create_resumable("plain", "k", length=len(whole))
            at = 0
            for step in (10, 190, 300, 500):
                tries = [
                    (session if index % 2 else other).append(made.id, at, flow(whole[at : at + step], step=7))
                    for index in range(6)
                ]
                ended = await asyncio.gather(*tries, return_exceptions=True)
                failed = [one for one in ended if isinstance(one, BaseException)]
                at += step
                assert all(isinstance(one, ConflictError) for one in failed), failed
                kept = [one for one in ended if not isinstance(one, BaseException)]
                assert all(one.offset == at for one in kept)
                assert len(kept) == 1 or at == len(whole)  # at its end, an upload is complete for everybody
            assert await content(session, "plain", "k") == whole
            await engine.sweep()
            assert len(blobs_on_disk(tmp_path / "o")) == 4, "what the losers wrote is gone"
            await check_books(engine.catalog)

    run(story())


def test_many_tiny_pieces_are_put_together(
    catalog_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "_FEW", 5)
    whole = noise(700, 4)

    async def story() -> None:
        store = local_store("local", tmp_path / "o", Environment())
        async with engine_on(catalog_url, store, settings=EngineSettings(grace=0)) as (engine, session):
            made = await session.create_resumable("plain", "k")
            for at in range(0, 700, 10):
                assert (await session.append(made.id, at, flow(whole[at : at + 10]))).offset == at + 10
            assert len(await engine.catalog.list_parts(made.id)) == 5
            await session.append(made.id, 700, flow(b""), length=700)
            assert await content(session, "plain", "k") == whole
            await engine.sweep()
            assert len(blobs_on_disk(tmp_path / "o")) == 5
            await check_books(engine.catalog)

    run(story())


def test_pieces_without_end_are_refused(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "MAX_PARTS", 3)

    async def story() -> None:
        async with engine_on(sqlite_url, local_store("local", tmp_path / "o", Environment())) as (
            engine,
            session,
        ):
            made = await session.create_resumable("plain", "k")
            for at in range(3):
                await session.append(made.id, at, flow(b"x"))
            with pytest.raises(InvalidRequestError, match="larger"):
                await session.append(made.id, 3, flow(b"x"))
            assert (await session.upload_progress(made.id)).offset == 3
            await check_books(engine.catalog)

    run(story())


def test_pieces_of_a_vast_upload_are_large_and_few() -> None:
    def size(length: int | None, received: int = 0) -> int:
        return pieces._size(
            Upload("i", ObjectRef("t", "b", "k"), "v", 0, 0, length=length, received=received)
        )

    assert size(100) == size(32 << 30) == size(None) == 8 * MIB
    assert (5 << 40) / size(5 << 40) <= 5001
    count = received = 0
    while received < 5 << 40:
        received, count = received + size(None, received), count + 1
    assert count < 10_000


def test_more_than_announced_or_allowed_is_refused(catalog_url: str, tmp_path: Path) -> None:
    async def story() -> None:
        store = local_store("local", tmp_path / "o", Environment())
        settings = EngineSettings(max_object_size=1000)
        async with engine_on(catalog_url, store, settings=settings) as (engine, session):
            with pytest.raises(TooLargeError):
                await session.create_resumable("plain", "k", length=1001)
            made = await session.create_resumable("plain", "k", length=10)
            with pytest.raises(TooLargeError):
                await session.append(made.id, 0, flow(b"x" * 11))
            with pytest.raises(TooLargeError):
                await session.append(made.id, 0, flow(b""), announced=11)
            assert (await session.upload_progress(made.id)).offset == 0
            late = await session.create_resumable("plain", "late")
            with pytest.raises(TooLargeError):
                await session.append(late.id, 0, flow(b"x" * 1001))
            with pytest.raises(TooLargeError):
                await session.upload_progress(late.id, length=1001)
            await session.append(late.id, 0, flow(b"x" * 1000), length=1000)
            assert await content(session, "plain", "late") == b"x" * 1000
            await check_books(engine.catalog)

    run(story())


def test_the_rules_of_a_bucket_hold(sqlite_url: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with engine_on(sqlite_url, local_store("local", tmp_path / "o", Environment())) as (_, session):
            only = BucketSettings(allowed_types=("image/png",), max_object_size=5000)
            await session.create_bucket("pictures", settings=only)
            with pytest.raises(InvalidRequestError):
                await session.create_resumable("pictures", "a.txt", length=3)
            with pytest.raises(TooLargeError):
                await session.create_resumable("pictures", "a.png", length=5001)
            page = b"<!DOCTYPE html><html><script>alert(1)</script></html>" * 10
            made = await session.create_resumable("pictures", "a.png", length=len(page))
            with pytest.raises(InvalidRequestError):
                await session.append(made.id, 0, flow(page))
            part = await session.create_resumable("pictures", "part", length=len(page), partial=True)
            await session.append(part.id, 0, flow(page))
            with pytest.raises(InvalidRequestError):
                await session.concatenate("pictures", "a.png", [part.id])
            upload = await session.create_upload("pictures", "b.png")
            one = await session.put_part("pictures", "b.png", upload.id, 7, Body.of_bytes(page))
            with pytest.raises(InvalidRequestError):
                await session.complete_upload("pictures", "b.png", upload.id, [(7, one.etag)])
            good = b"\x89PNG\r\n\x1a\n" + bytes(100)
            made = await session.create_resumable("pictures", "a.png", length=len(good))
            assert (await session.append(made.id, 0, flow(good))).version is not None

    run(story())


async def metered(engine: Engine, session: Session, limit: int, objects: int | None = None) -> None:
    await engine.catalog.set_quota("default", "plain", Quota(limit, objects))  # type: ignore[attr-defined]


async def use(engine: Engine) -> tuple[int, int, int, int]:
    found = await engine.catalog.quota("default", "plain")  # type: ignore[attr-defined]
    return found.bytes, found.objects, found.reserved_bytes, found.reserved_objects


def test_an_announced_length_is_reserved_and_settled_exactly(catalog_url: str, tmp_path: Path) -> None:
    async def story() -> None:
        store = local_store("local", tmp_path / "o", Environment())
        async with engine_on(catalog_url, store, settings=EngineSettings(grace=0)) as (engine, session):
            await metered(engine, session, 1000, 2)
            made = await session.create_resumable("plain", "k", length=600)
            assert await use(engine) == (0, 0, 600, 1)
            for again in (
                session.create_resumable("plain", "j", length=401),
                session.create_upload("plain", "j", size=401),
                session.put("plain", "j", Body.of_bytes(bytes(401))),
            ):
                with pytest.raises(QuotaExceededError):
                    await again
            await session.append(made.id, 0, flow(bytes(250)))
            assert await use(engine) == (250, 0, 350, 1)
            await session.append(made.id, 250, flow(bytes(350)))
            assert await use(engine) == (600, 1, 0, 0)
            replaced = await session.create_resumable("plain", "k", length=400)
            assert await use(engine) == (600, 1, 400, 1)
            await session.append(replaced.id, 0, flow(bytes(400)))
            assert await use(engine) == (400, 1, 0, 0)
            gone = await session.create_resumable("plain", "g", length=500)
            await session.append(gone.id, 0, flow(bytes(100)))
            await session.abort_resumable(gone.id)
            assert await use(engine) == (400, 1, 0, 0)
            parts = await session.create_upload("plain", "m", size=300)
            await session.put_part("plain", "m", parts.id, 1, Body.of_bytes(bytes(300)))
            assert await use(engine) == (700, 1, 0, 1)
            again_smaller = await session.put_part("plain", "m", parts.id, 1, Body.of_bytes(bytes(100)))
            assert await use(engine) == (500, 1, 200, 1)
            with pytest.raises(InvalidRequestError, match="announced"):
                await session.complete_upload("plain", "m", parts.id, [(1, again_smaller.etag)])
            two = await session.put_part("plain", "m", parts.id, 2, Body.of_bytes(bytes(200)))
            await session.complete_upload("plain", "m", parts.id, [(1, again_smaller.etag), (2, two.etag)])
            assert await use(engine) == (700, 2, 0, 0)
            await check_books(engine.catalog)

    run(story())


def test_a_length_that_comes_late_is_reserved_then(catalog_url: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with engine_on(catalog_url, local_store("local", tmp_path / "o", Environment())) as (
            engine,
            session,
        ):
            await metered(engine, session, 1000)
            made = await session.create_resumable("plain", "k")
            assert await use(engine) == (0, 0, 0, 1)
            await session.append(made.id, 0, flow(bytes(600)))
            assert await use(engine) == (600, 0, 0, 1)
            with pytest.raises(QuotaExceededError):
                await session.append(made.id, 600, flow(bytes(401)))
            assert await use(engine) == (600, 0, 0, 1)
            with pytest.raises(QuotaExceededError):
                await session.upload_progress(made.id, length=1001)
            with pytest.raises(ConflictError):
                await session.upload_progress(made.id, length=599)
            assert (await session.upload_progress(made.id, length=1000)).length == 1000
            assert await use(engine) == (600, 0, 400, 1)
            await session.append(made.id, 600, flow(bytes(400)))
            assert await use(engine) == (1000, 1, 0, 0)
            await check_books(engine.catalog)

    run(story())


def test_abandoned_uploads_give_back_what_they_had(catalog_url: str, tmp_path: Path) -> None:
    environment = Environment.seeded(1)

    async def story() -> None:
        store = local_store("local", tmp_path / "o", environment)
        settings = EngineSettings(upload_lifetime=3600, grace=10)
        async with engine_on(catalog_url, store, environment=environment, settings=settings) as (
            engine,
            session,
        ):
            await metered(engine, session, 10_000)
            for key, partial in (("a", False), ("b", True)):
                made = await session.create_resumable("plain", key, length=1000, partial=partial)
                await session.append(made.id, 0, flow(bytes(400)))
            upload = await session.create_upload("plain", "c", size=500, expires_in=7200)
            assert upload.expires - upload.created == 3600 * 1_000_000, "no longer than the settings allow"
            short = await session.create_upload("plain", "c", expires_in=60)
            assert short.expires - short.created == 60 * 1_000_000
            assert await use(engine) == (800, 0, 600 * 2 + 500, 3)
            environment.clock.advance(3700)  # type: ignore[attr-defined]
            with pytest.raises(NotFoundError):
                await session.upload_progress(made.id)
            with pytest.raises(NotFoundError):
                await session.append(made.id, 400, flow(b"x"))
            await engine.sweep()
            assert await use(engine) == (0, 0, 0, 0)
            environment.clock.advance(3600)  # type: ignore[attr-defined]
            await engine.sweep()
            assert blobs_on_disk(tmp_path / "o") == []
            await check_books(engine.catalog)
            await session.delete_bucket("plain")

    run(story())


def test_partial_uploads_are_taken_over_without_a_copy(catalog_url: str, tmp_path: Path) -> None:
    bodies = [noise(size, size) for size in (700, 9 * MIB, 1, 300)]

    async def story() -> None:
        store = local_store("local", tmp_path / "o", Environment())
        async with engine_on(catalog_url, store, settings=EngineSettings(grace=0)) as (engine, session):
            await metered(engine, session, 20 * MIB, 5)
            made = [
                await session.create_resumable("plain", f"p{index}", length=len(body), partial=True)
                for index, body in enumerate(bodies)
            ]
            await asyncio.gather(
                *(session.append(one.id, 0, flow(body)) for one, body in zip(made, bodies, strict=True))
            )
            before = {path.name for path in blobs_on_disk(tmp_path / "o")}
            ids = [one.id for one in made]
            size = sum(map(len, bodies))
            assert await use(engine) == (size, 0, 0, 0)
            ended = await asyncio.gather(
                *(session.concatenate("plain", "whole", ids) for _ in range(4)), return_exceptions=True
            )
            versions = {one.id for one in ended if not isinstance(one, BaseException)}
            assert len(versions) == 1, ended
            assert all(isinstance(one, HoldfastError) for one in ended if isinstance(one, BaseException))
            assert (await session.concatenate("plain", "whole", ids)).id in versions
            assert await content(session, "plain", "whole") == b"".join(bodies)
            await engine.sweep()
            assert {path.name for path in blobs_on_disk(tmp_path / "o")} == before
            assert await use(engine) == (size, 1, 0, 0)
            assert (await session.list_uploads("plain"))[0] == []
            with pytest.raises(NotFoundError):
                await session.concatenate("plain", "elsewhere", ids)
            await session.delete("plain", "whole")
            await engine.sweep()
            assert await use(engine) == (0, 0, 0, 0)
            assert blobs_on_disk(tmp_path / "o") == []
            await check_books(engine.catalog)

    run(story())


def test_what_cannot_be_put_together_is_refused(sqlite_url: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with engine_on(sqlite_url, local_store("local", tmp_path / "o", Environment())) as (
            engine,
            session,
        ):
            whole = await session.create_resumable("plain", "w", length=3)
            part = await session.create_resumable("plain", "p", length=3, partial=True)
            far = await session.create_resumable("kept", "p", length=3, partial=True)
            empty = await session.create_resumable("plain", "e", length=0, partial=True)
            await session.append(whole.id, 0, flow(b"a"))
            await session.append(part.id, 0, flow(b"ab"))
            await session.append(far.id, 0, flow(b"abc"))
            for ids, error in (
                ([], InvalidRequestError),
                ([part.id], ConflictError),
                ([whole.id], ConflictError),
                ([far.id], InvalidRequestError),
                ([empty.id], InvalidRequestError),
                (["nothing"], NotFoundError),
            ):
                with pytest.raises(error):
                    await session.concatenate("plain", "k", ids)
            await session.append(part.id, 2, flow(b"c"))
            with pytest.raises(InvalidRequestError):
                await session.concatenate("plain", "k", [part.id, part.id])
            await session.concatenate("plain", "k", [empty.id, part.id])
            assert await content(session, "plain", "k") == b"abc"
            await check_books(engine.catalog)

    run(story())


def test_an_upload_belongs_to_its_tenant_and_scope(sqlite_url: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with engine_on(sqlite_url, local_store("local", tmp_path / "o", Environment())) as (
            engine,
            session,
        ):
            await engine.catalog.create_tenant("other")
            made = await session.create_resumable("plain", "a/k", length=3)
            part = await session.create_resumable("plain", "a/p", length=1, partial=True)
            await session.append(part.id, 0, flow(b"x"))
            stranger = engine.session(Principal("s", "other", "admin"))
            narrow = engine.session(Principal("n", "default", "writer", scopes=(Scope("plain", "b/"),)))
            reader = engine.session(Principal("r", "default", "reader"))
            for who in (stranger, narrow):
                for work in (
                    who.upload_progress(made.id),
                    who.append(made.id, 0, flow(b"abc")),
                    who.abort_resumable(made.id),
                    who.concatenate("plain", "b/k", [part.id]),
                ):
                    with pytest.raises(NotFoundError):
                        await work
            with pytest.raises(HoldfastError, match="reader"):
                await reader.upload_progress(made.id)
            inside = engine.session(Principal("i", "default", "writer", scopes=(Scope("plain", "a/"),)))
            assert (await inside.append(made.id, 0, flow(b"abc"))).version is not None
            with pytest.raises(ConflictError):
                await session.put_part("plain", "a/p", part.id, 1, Body.of_bytes(b"x"))

    run(story())


def test_completing_again_with_other_parts_is_refused(catalog_url: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with engine_on(catalog_url, local_store("local", tmp_path / "o", Environment())) as (
            _,
            session,
        ):
            upload = await session.create_upload("plain", "k")
            parts = [
                await session.put_part("plain", "k", upload.id, number, Body.of_bytes(bytes([number])))
                for number in (1, 2)
            ]
            named = [(part.number, part.etag) for part in parts]
            version = await session.complete_upload("plain", "k", upload.id, named)
            assert await session.complete_upload("plain", "k", upload.id, named) == version
            for other in (named[:1], [*reversed(named)], [(1, "no hex"), (2, "x")], []):
                with pytest.raises(ConflictError):
                    await session.complete_upload("plain", "k", upload.id, other)

    run(story())
