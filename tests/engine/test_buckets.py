"""What a bucket asks of its objects, as a session meets it; removal by force; retention as the engine does it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from holdfast.core.backend import Store
from holdfast.core.body import Body
from holdfast.core.clock import Environment
from holdfast.core.errors import (
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    QuotaExceededError,
    TooLargeError,
    UnsupportedError,
)
from holdfast.core.types import BucketSettings, Quota, QuotaUse
from holdfast.engine.session import Session
from holdfast.engine.settings import EngineSettings
from holdfast.engine.write import ObjectInput
from holdfast.jobs.expire import keep_expiring
from holdfast.policy.buckets import changed
from tests.helpers import blobs_on_disk, content, engine_on, local_store, memory_store, noise, run

pytestmark = pytest.mark.engine


def streamed(data: bytes, step: int = 50_000) -> Body:
    """A body whose size is not known beforehand."""

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(data), step):
            yield data[start : start + step]

    return Body.of_stream(chunks())


def sized(data: bytes) -> Body:
    return Body.of_bytes(data)


async def setting(session: Session, bucket: str, **members: Any) -> None:
    await session.update_bucket(bucket, change=partial(changed, changes=members))


async def put(session: Session, key: str, body: Body, bucket: str = "plain", **about: Any) -> str:
    return (await session.put(bucket, key, body, ObjectInput(**about))).id


async def settled(session: Session, bucket: str = "plain") -> None:
    """Nothing is reserved, and what is used is what is counted."""
    use, usage = await session.quota(bucket), await session.usage(bucket)
    assert (use.reserved_bytes, use.reserved_objects) == (0, 0)
    assert (use.bytes, use.objects) == (usage.bytes + usage.upload_bytes, usage.versions)


def test_types_and_sizes_are_refused_before_bytes_move(sqlite_url: str, tmp_path: Path) -> None:
    async def story() -> None:
        world = Environment()
        async with engine_on(sqlite_url, local_store("one", tmp_path / "one", world)) as (engine, session):
            await setting(session, "plain", allowed_types=["image/*", ".csv"], max_object_size=200_000)
            for key, body, error in (
                ("a.txt", sized(b"x"), InvalidRequestError),
                ("a.png", sized(b"<!doctype html><script>"), InvalidRequestError),
                ("a.png", sized(noise(200_001)), TooLargeError),
                ("a.csv", streamed(noise(400_000)), TooLargeError),
            ):
                with pytest.raises(error):
                    await put(session, key, body)
            await put(session, "a.csv", streamed(noise(200_000)))
            await put(session, "b", sized(b"\x89PNG\r\n\x1a\n"), content_type="image/png")
            with pytest.raises(InvalidRequestError):
                await session.copy(("plain", "b"), ("plain", "b.txt"), about=ObjectInput("text/plain"))
            await put(session, "big.txt", sized(noise(300_000)), "kept")
            with pytest.raises(InvalidRequestError):
                await session.copy(("kept", "big.txt"), ("plain", "c.txt"))
            with pytest.raises(TooLargeError):
                await session.copy(("kept", "big.txt"), ("plain", "c.csv"), about=ObjectInput("text/csv"))
            assert (await session.usage("plain")).objects == 2
            await engine.sweep()
            assert len(blobs_on_disk(tmp_path / "one")) == 3

    run(story())


def test_a_quota_stops_bodies_of_known_and_unknown_size(catalog_url: str) -> None:
    async def story() -> None:
        world = Environment()
        async with engine_on(catalog_url, memory_store("one", world)) as (_engine, session):
            await session.create_bucket("small", settings=BucketSettings(quota=Quota(500_000, 3)))
            await put(session, "a", sized(noise(300_000)), "small")
            with pytest.raises(QuotaExceededError):
                await put(session, "b", sized(noise(200_001)), "small")
            with pytest.raises(QuotaExceededError, match="200000 bytes that are left"):
                await put(session, "b", streamed(noise(200_001)), "small")
            await settled(session, "small")
            await put(session, "b", streamed(noise(200_000)), "small")
            with pytest.raises(QuotaExceededError):
                await session.copy(("small", "a"), ("small", "c"))
            await put(session, "a", streamed(noise(300_000, 1)), "small")  # in place of as much
            await put(session, "a", sized(b""), "small")
            await session.copy(("small", "b"), ("small", "c"))
            assert await session.quota("small") == QuotaUse(Quota(500_000, 3), 400_000, 3)
            with pytest.raises(QuotaExceededError):
                await put(session, "d", sized(b""), "small")
            await settled(session, "small")
            assert (await session.quota()).bytes == 400_000

    run(story())


def test_a_broken_body_gives_back_what_it_reserved(catalog_url: str) -> None:
    async def story() -> None:
        world = Environment()
        async with engine_on(catalog_url, memory_store("one", world)) as (_engine, session):
            await setting(session, "plain", max_bytes=1_000_000)

            async def breaks() -> AsyncIterator[bytes]:
                yield noise(100_000)
                use = await session.quota("plain")
                assert (use.reserved_bytes, use.reserved_objects) == (500_000, 1)
                raise OSError("gone")

            with pytest.raises(InvalidRequestError, match="gone"):
                await put(session, "k", Body.of_stream(breaks(), size=500_000))
            await settled(session)

    run(story())


def test_many_writers_fill_a_quota_to_the_last_byte(catalog_url: str) -> None:
    async def story() -> None:
        world = Environment()
        async with engine_on(catalog_url, memory_store("one", world)) as (_engine, session):
            await setting(session, "plain", max_bytes=1_000_000)

            async def writer(number: int) -> bool:
                data = noise(100_000, number)
                try:
                    await put(session, f"k{number}", streamed(data) if number % 2 else sized(data))
                except QuotaExceededError:
                    return False
                return True

            done = await asyncio.gather(*(writer(number) for number in range(32)))
            held = sum(done)
            assert 1 <= held <= 10
            while held < 10 and await writer(100 + held):
                held += 1
            assert held == 10
            assert not await writer(200)
            await settled(session)

    run(story())


def test_encryption_is_asked_of_stores(sqlite_url: str) -> None:
    async def story() -> None:
        world = Environment()
        bare = memory_store("bare", world)
        async with engine_on(sqlite_url, bare) as (_, session):
            with pytest.raises(UnsupportedError, match="bare has no label"):
                await session.create_bucket("vault", settings=BucketSettings(encryption="store"))
            with pytest.raises(UnsupportedError):
                await setting(session, "plain", encryption="store")
        safe = Store("bare", bare.backend, labels=frozenset({"encrypted"}))
        async with engine_on(sqlite_url, safe) as (_, session):
            await session.create_bucket("vault", settings=BucketSettings(encryption="store"))
            await put(session, "k", sized(b"secret"), "vault")
        async with engine_on(sqlite_url, bare) as (_, session):
            with pytest.raises(UnsupportedError):
                await put(session, "k", sized(b"secret"), "vault")

    run(story())


def test_settings_are_checked_wherever_they_come_from(sqlite_url: str) -> None:
    async def story() -> None:
        world = Environment()
        async with engine_on(sqlite_url, memory_store("one", world)) as (_, session):
            with pytest.raises(InvalidRequestError):
                await session.create_bucket("wrong", settings=BucketSettings(allowed_types=("nonsense",)))
            with pytest.raises(InvalidRequestError):
                await session.update_bucket("plain", change=lambda held: replace(held, retention_days=0))
            with pytest.raises(NotFoundError):
                await session.bucket("wrong")
            assert (await session.bucket("plain")).settings == BucketSettings()

    run(story())


def test_force_removes_a_bucket_with_all_that_is_in_it(catalog_url: str) -> None:
    async def story() -> None:
        world = Environment()
        settings = EngineSettings(grace=0)
        store = memory_store("one", world)
        async with engine_on(catalog_url, store, settings=settings) as (engine, session):
            await setting(session, "kept", max_bytes=1_000_000)
            for number in range(30):
                await put(session, f"k{number % 7}", sized(noise(100, number)), "kept")
            await session.delete("kept", "k1")
            upload = await session.create_upload("kept", "u")
            await session.put_part("kept", "u", upload.id, 1, sized(noise(1000)))
            with pytest.raises(ConflictError, match="6 objects and 24 older versions and open uploads"):
                await session.delete_bucket("kept")
            await session.delete_bucket("kept", force=True)
            with pytest.raises(NotFoundError):
                await session.bucket("kept")
            assert await session.quota() == QuotaUse(Quota())
            await engine.sweep()
            assert [blob async for blob in store.backend.list("")] == []
            with pytest.raises(NotFoundError):
                await session.delete_bucket("kept", force=True)

    run(story())


def test_force_while_others_write(sqlite_url: str) -> None:
    async def story() -> None:
        world = Environment()
        async with engine_on(sqlite_url, memory_store("one", world)) as (_engine, session):
            for number in range(50):
                await put(session, f"k{number}", sized(b"x"))

            gone = asyncio.Event()

            async def writer() -> None:
                number = 0
                while not gone.is_set():
                    number += 1
                    await put(session, f"n{number}", sized(b"y"))

            writing = asyncio.ensure_future(writer())
            removal = asyncio.gather(session.delete_bucket("plain", force=True), return_exceptions=True)
            (refused,) = await removal
            if refused is not None:  # the writer was always quicker
                assert isinstance(refused, ConflictError)
                assert "others go on adding" in refused.message
                gone.set()
                await writing
                await session.delete_bucket("plain", force=True)
            else:
                with pytest.raises(NotFoundError):
                    await writing
            with pytest.raises(NotFoundError):
                await session.bucket("plain")

    run(story())


def test_old_versions_are_removed_by_themselves(catalog_url: str) -> None:
    async def story() -> None:
        world = Environment.seeded(3)
        store = memory_store("one", world)
        settings = EngineSettings(grace=0, default_retention_days=2)
        async with engine_on(catalog_url, store, environment=world, settings=settings) as (engine, session):
            assert (await session.bucket("plain")).settings.retention_days == 2
            await session.create_bucket("forever", settings=BucketSettings())
            for bucket in ("plain", "kept", "forever"):
                await put(session, "old", sized(b"old"), bucket)
            await put(session, "old", sized(b"newer"), "kept")
            world.clock.advance(3600)  # type: ignore[attr-defined]
            await put(session, "young", sized(b"young"))
            await setting(session, "plain", max_bytes=100)
            world.clock.advance(2 * 86400 - 1800)  # type: ignore[attr-defined]
            assert await engine.expire() == 3
            assert await engine.expire() == 0
            assert await content(session, "plain", "young") == b"young"
            assert await content(session, "forever", "old") == b"old"
            with pytest.raises(NotFoundError):
                await content(session, "plain", "old")
            await settled(session)
            await engine.sweep()
            assert len([blob async for blob in store.backend.list("")]) == 2

    run(story())


def test_the_job_goes_on_after_a_failure(sqlite_url: str) -> None:
    async def story() -> None:
        world = Environment()
        async with engine_on(sqlite_url, memory_store("one", world)) as (engine, _session):
            calls: list[str] = []
            enough = asyncio.Event()
            whole = engine.expire

            async def expire() -> int:
                calls.append("called")
                if len(calls) == 1:
                    raise ConflictError("not now")
                if len(calls) == 3:
                    enough.set()
                return await whole()

            engine.expire = expire  # type: ignore[method-assign]
            assert await keep_expiring(engine, 0) is None
            job = asyncio.ensure_future(keep_expiring(engine, 0.01))
            await enough.wait()
            job.cancel()
            with pytest.raises(asyncio.CancelledError):
                await job

    run(story())
