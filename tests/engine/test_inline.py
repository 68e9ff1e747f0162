"""Small contents in the catalog: what is put there, what comes back, and that nothing of it is left behind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import LargeBinary, bindparam, update

from holdfast.catalog.schema import contents
from holdfast.catalog.statements import Statement
from holdfast.catalog.transaction import Attempt, Steps
from holdfast.core.backend import Store
from holdfast.core.body import Body
from holdfast.core.clock import Environment, ManualClock
from holdfast.core.conditions import Preconditions
from holdfast.core.errors import (
    ConfigError,
    ConflictError,
    CorruptedError,
    DigestMismatchError,
    NotFoundError,
    PreconditionFailedError,
    QuotaExceededError,
    TooLargeError,
)
from holdfast.core.names import INLINE
from holdfast.core.types import ByteRange, Digests, ObjectRef, Quota, ReplicaState
from holdfast.engine.engine import Engine
from holdfast.engine.inline import InlineBackend
from holdfast.engine.session import Session
from holdfast.engine.write import ObjectInput
from holdfast.policy.placement import MAX_INLINE, Placement
from tests.helpers import content, engine_on, local_store, memory_store, noise, run, store_of

pytestmark = pytest.mark.engine

SMALL = 4096
ABOUT = ObjectInput("text/plain", {"kind": "note"}, {"colour": "red"})
DAMAGE = Statement(update(contents).values(data=bindparam("worse", type_=LargeBinary())))


@asynccontextmanager
async def small(
    url: str, *, inline: int = SMALL, world: Environment | None = None, store: Store | None = None
) -> AsyncIterator[tuple[Engine, Session]]:
    """Give an engine that keeps contents below `inline` bytes in the catalog, and others in memory."""
    world = world or Environment.seeded(3)
    store = store or memory_store("mem", world)
    async with engine_on(url, store, environment=world, inline=inline) as given:
        yield given


async def held(engine: Engine, store: str = INLINE) -> list[int]:
    """Return the sizes of what lies in a store."""
    return [info.size async for info in engine.stores[store].backend.list()]


async def stores_of(engine: Engine, key: str, bucket: str = "plain") -> list[str]:
    located = await engine.catalog.resolve(ObjectRef("default", bucket, key))
    return [replica.store for replica in located.replicas]


def test_the_threshold_decides_and_nobody_notices(catalog_url: str) -> None:
    async def story() -> None:
        async with small(catalog_url) as (engine, session):
            for size in (0, 1, SMALL - 1, SMALL, SMALL + 1):
                key, data = f"key-{size}", noise(size)
                made = await session.put("plain", key, Body.of_bytes(data))
                assert await stores_of(engine, key) == [INLINE if size < SMALL else "mem"]
                assert await content(session, "plain", key) == data
                assert made.etag == (await session.head("plain", key))[0].etag
                if size:
                    for wish in (ByteRange(0, 0), ByteRange(size // 2), ByteRange(None, 3)):
                        span = wish.resolve(size)
                        assert (
                            await content(session, "plain", key, range=wish) == data[span.offset : span.end]
                        )
            assert sorted(await held(engine)) == [0, 1, SMALL - 1]
            assert await session.usage("plain") == await engine.catalog.recount("default", "plain")

    run(story())


def test_streams_are_looked_into(sqlite_url: str) -> None:
    async def pieces(data: bytes) -> AsyncIterator[bytes]:
        for start in range(0, len(data), 70_000):
            yield data[start : start + 70_000]

    async def story() -> None:
        async with small(sqlite_url, inline=300_000) as (engine, session):
            for size, store in ((299_999, INLINE), (300_000, "mem")):
                data = noise(size)
                await session.put("plain", "unknown", Body.of_stream(pieces(data)))
                assert await stores_of(engine, "unknown") == [store]
                await session.put("plain", "announced", Body.of_stream(pieces(data), size=size))
                assert await stores_of(engine, "announced") == [store]
                for key in ("unknown", "announced"):
                    assert await content(session, "plain", key) == data
                    assert (
                        await content(session, "plain", key, range=ByteRange(65_530, 65_540))
                        == data[65_530:65_541]
                    )

    run(story())


def test_what_is_not_as_announced_is_refused(sqlite_url: str) -> None:
    async def story() -> None:
        async with small(sqlite_url) as (engine, session):
            wrong = replace(ABOUT, digests=Digests(sha256=b"x" * 32))
            with pytest.raises(DigestMismatchError):
                await session.put("plain", "k", Body.of_bytes(b"data"), wrong)
            with pytest.raises(DigestMismatchError):
                await session.put("plain", "k", Body.of_stream([b"data"], size=5))
            with pytest.raises(NotFoundError):
                await session.put("nowhere", "k", Body.of_bytes(b"data"))
            assert await held(engine) == []

    run(story())


def test_conditions_and_requests_hold_in_the_same_transaction(catalog_url: str) -> None:
    async def story() -> None:
        async with small(catalog_url) as (engine, session):
            new = Preconditions(if_none_match=("*",))
            first = await session.put("plain", "k", Body.of_bytes(b"one"), conditions=new)
            with pytest.raises(PreconditionFailedError):
                await session.put("plain", "k", Body.of_bytes(b"two"), conditions=new)
            same = Preconditions(if_match=(first.etag,))
            await session.put("plain", "k", Body.of_bytes(b"two"), conditions=same)
            with pytest.raises(PreconditionFailedError):
                await session.put("plain", "k", Body.of_bytes(b"three"), conditions=same)

            once = await session.put("kept", "k", Body.of_bytes(b"one"), idempotency_key="a")
            assert await session.put("kept", "k", Body.of_bytes(b"one"), idempotency_key="a") == once
            with pytest.raises(ConflictError):
                await session.put("kept", "k", Body.of_bytes(b"two"), idempotency_key="a")
            with pytest.raises(ConflictError):
                await session.put("kept", "other", Body.of_bytes(b"one"), idempotency_key="a")
            assert len((await session.versions("kept")).items) == 1
            assert sorted(await held(engine)) == [3, 3, 3]  # a replaced one waits for the sweep
            assert [entry.action for entry in await engine.catalog.audit("default")].count("put") == 3

    run(story())


def test_a_quota_is_exact_and_nothing_is_reserved(catalog_url: str) -> None:
    async def story() -> None:
        async with small(catalog_url) as (engine, session):
            await engine.catalog.set_quota("default", "plain", Quota(max_bytes=1000, max_objects=3))
            await session.put("plain", "a", Body.of_bytes(noise(600)))
            with pytest.raises(QuotaExceededError):
                await session.put("plain", "b", Body.of_bytes(noise(401)))
            await session.put("plain", "a", Body.of_bytes(noise(1000)))  # takes the place of the other
            await session.put("plain", "a", Body.of_bytes(noise(998)))
            await session.put("plain", "b", Body.of_bytes(b"1"))
            await session.put("plain", "c", Body.of_bytes(b"1"))
            with pytest.raises(QuotaExceededError):
                await session.put("plain", "d", Body.of_bytes(b""))
            use = await session.quota("plain")
            assert (use.bytes, use.objects, use.reserved_bytes, use.reserved_objects) == (1000, 3, 0, 0)
            catalog: Any = engine.catalog
            row, must = await catalog.ledger("default", "plain")
            assert row == must

    run(story())


def test_a_sweep_leaves_nothing(catalog_url: str) -> None:
    async def story() -> None:
        async with small(catalog_url) as (engine, session):
            clock = engine.context.environment.clock
            assert isinstance(clock, ManualClock)
            for number in range(3):
                await session.put("plain", "replaced", Body.of_bytes(noise(10, number)))
                await session.put("kept", "removed", Body.of_bytes(noise(20, number)))
            await session.delete("plain", "replaced")
            for version in (await session.versions("kept")).items:
                await session.delete("kept", "removed", version_id=version.id)
            await session.put("plain", "stays", Body.of_bytes(noise(30)))
            assert len(await held(engine)) == 7
            assert (await engine.sweep()).deleted == 0  # a commit that is asked for again must be recognised
            clock.advance(901)
            report = await engine.sweep()
            assert (report.deleted, report.failed) == (6, {})
            assert await held(engine) == [30]
            assert [copy.state for copy in await engine.catalog.replicas()] == [ReplicaState.LIVE]
            await session.delete_bucket("kept")
            await session.delete_bucket("plain", force=True)
            clock.advance(901)
            await engine.sweep()
            assert await held(engine) == []
            assert await engine.catalog.replicas() == []

    run(story())


def test_copies_go_either_way(catalog_url: str) -> None:
    async def story() -> None:
        world = Environment.seeded(3)
        store = memory_store("mem", world)
        async with small(catalog_url, world=world, store=store) as (engine, session):
            first = await session.put("plain", "small", Body.of_bytes(b"small"), ABOUT)
            again = await session.copy(("plain", "small"), ("plain", "copy"))
            assert (again.etag, again.metadata, again.tags) == (first.etag, ABOUT.metadata, ABOUT.tags)
            assert await stores_of(engine, "copy") == [INLINE]
        async with small(catalog_url, inline=0, world=world, store=store) as (engine, session):
            assert await content(session, "plain", "small") == b"small"  # another threshold breaks no read
            await session.copy(("plain", "small"), ("plain", "outside"))
            await session.put("plain", "far", Body.of_bytes(b"far"))
            assert await stores_of(engine, "outside") == await stores_of(engine, "far") == ["mem"]
        async with small(catalog_url, world=world, store=store) as (engine, session):
            await session.copy(("plain", "far"), ("plain", "near"), idempotency_key="near")
            await session.copy(("plain", "far"), ("plain", "near"), idempotency_key="near")
            assert await stores_of(engine, "near") == [INLINE]
            for key, data in (("copy", b"small"), ("outside", b"small"), ("near", b"far")):
                assert await content(session, "plain", key) == data

    run(story())


def test_pieces_of_uploads_stay_in_stores(catalog_url: str) -> None:
    async def story() -> None:
        async with small(catalog_url) as (engine, session):
            upload = await session.create_upload("plain", "parts")
            part = await session.put_part("plain", "parts", upload.id, 1, Body.of_bytes(b"a part"))
            await session.complete_upload("plain", "parts", upload.id, [(1, part.etag)])
            grown = await session.create_resumable("plain", "grown", length=4)
            await session.append(grown.id, 0, _once(b"tail"))
            for key, data in (("parts", b"a part"), ("grown", b"tail")):
                assert await stores_of(engine, key) == ["mem"]
                assert await content(session, "plain", key) == data
            made = await session.copy(("plain", "parts"), ("plain", "whole"))
            assert (made.etag, made.parts) == ((await session.head("plain", "parts"))[0].etag, 1)
            assert await stores_of(engine, "whole") == ["mem"]

    run(story())


def test_a_bucket_that_wants_encryption_stays_out_of_the_catalog(sqlite_url: str, tmp_path: Path) -> None:
    async def story() -> None:
        world = Environment.seeded(3)
        safe = local_store("safe", tmp_path / "safe", world)
        safe.labels = frozenset({"encrypted"})
        async with engine_on(sqlite_url, safe, environment=world, inline=SMALL) as (engine, session):
            await session.update_bucket("plain", change=lambda now: replace(now, encryption="store"))
            await session.put("plain", "k", Body.of_bytes(b"secret"))
            assert await stores_of(engine, "k") == ["safe"]

    run(story())


def test_damage_is_noticed(catalog_url: str) -> None:
    async def story() -> None:
        async with small(catalog_url) as (engine, session):
            await session.put("plain", "k", Body.of_bytes(b"as it was"))
            catalog: Any = engine.catalog
            await catalog._runner.write(_damage)
            for _ in range(2):
                with pytest.raises(CorruptedError):
                    await content(session, "plain", "k")
            assert {copy.state for copy in await engine.catalog.replicas()} == {ReplicaState.SUSPECT}

    run(story())


def test_the_catalog_takes_no_large_contents(sqlite_url: str) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(1 << 20)

    async def story() -> None:
        async with small(sqlite_url, inline=1 << 40) as (engine, session):
            for size, store in ((MAX_INLINE - 1, INLINE), (MAX_INLINE, "mem")):
                await session.put("plain", "k", Body.of_bytes(bytes(size)))
                assert await stores_of(engine, "k") == [store]
            backend = engine.stores[INLINE].backend
            assert isinstance(backend, InlineBackend)
            for body in (Body.of_bytes(bytes(MAX_INLINE + 1)), Body.of_stream(endless())):
                with pytest.raises(TooLargeError) as told:
                    await backend.put("name", body)
                assert (told.value.operation, told.value.store, told.value.name) == ("put", INLINE, "name")
            with pytest.raises(NotFoundError):
                await backend.head("name")

    run(story())


def test_no_other_store_has_its_name(sqlite_url: str) -> None:
    async def story() -> None:
        async with small(sqlite_url) as (engine, _):
            taken = store_of(INLINE, engine.stores["mem"].backend)
            with pytest.raises(ConfigError, match="catalog"):
                Engine(engine.catalog, {INLINE: taken}, Placement.everything([INLINE]))

    run(story())


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


def _damage(attempt: Attempt) -> Steps[None]:
    yield DAMAGE(worse=b"as it isn")
