"""Sweeping: grace, leases, stores that cannot delete, and doing it twice at once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from holdfast.backends.memory import MemoryBackend, MemorySettings, open_memory
from holdfast.core.backend import Store
from holdfast.core.body import Body
from holdfast.core.clock import Environment
from holdfast.core.errors import UnavailableError
from holdfast.core.types import ReplicaState
from holdfast.engine.engine import Engine
from holdfast.engine.settings import EngineSettings
from holdfast.engine.targets import Target, pending
from tests.helpers import blobs_on_disk, content, engine_on, local_store, run

pytestmark = pytest.mark.engine


class Stubborn:
    """A backend that refuses to delete while `stuck`."""

    def __init__(self, inner: MemoryBackend) -> None:
        self._inner = inner
        self.stuck = True

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    async def delete(self, name: str) -> None:
        if self.stuck:
            raise UnavailableError("not now", operation="delete")
        await self._inner.delete(name)


def test_replaced_bytes_stay_for_the_grace_and_readers_keep_theirs(catalog_url: str, tmp_path: Path) -> None:
    environment = Environment.seeded(7)

    async def story() -> None:
        store = local_store("local", tmp_path / "o", environment)
        settings = EngineSettings(grace=100)
        async with engine_on(catalog_url, store, environment=environment, settings=settings) as (
            engine,
            session,
        ):
            await session.put("plain", "k", Body.of_bytes(b"old" * 50_000))
            async with session.get("plain", "k") as reader:
                await session.put("plain", "k", Body.of_bytes(b"new"))
                environment.clock.advance(99)  # type: ignore[attr-defined]
                assert (await engine.sweep()).deleted == 0
                environment.clock.advance(2)  # type: ignore[attr-defined]
                assert (await engine.sweep(dry_run=True)).deleted == 1
                assert (await engine.sweep()).deleted == 1
                assert await reader.read() == b"old" * 50_000  # the file is open
            assert await content(session, "plain", "k") == b"new"
            assert len(blobs_on_disk(tmp_path / "o")) == 1

    run(story())


def test_a_store_that_cannot_delete_does_not_hold_up_the_others(sqlite_url: str) -> None:
    environment = Environment.seeded(8)

    async def story() -> None:
        stuck = Stubborn(open_memory("stuck", MemorySettings(), environment=environment))
        fine = open_memory("fine", MemorySettings(), environment=environment)
        stores = (Store("stuck", stuck), Store("fine", fine))  # type: ignore[arg-type]
        async with engine_on(
            sqlite_url, *stores, environment=environment, settings=EngineSettings(grace=0)
        ) as (engine, session):
            for number in range(5):
                await session.put("plain", f"k{number}", Body.of_bytes(b"x"))
                await session.delete("plain", f"k{number}")
            report = await engine.sweep()
            assert (report.deleted, report.failed["stuck"]) == (5, 5)
            assert report.reasons == {"stuck": "not now"}
            assert (await engine.sweep()).failed == {}  # postponed, not hammered
            stuck.stuck = False
            environment.clock.advance(601)  # type: ignore[attr-defined]
            assert (await engine.sweep()).deleted == 5
            assert await engine.catalog.replicas() == []

    run(story())


def test_a_write_whose_lease_ends_is_collected_and_may_not_commit(catalog_url: str, tmp_path: Path) -> None:
    environment = Environment.seeded(9)

    async def story() -> None:
        store = local_store("local", tmp_path / "o", environment)
        settings = EngineSettings(lease=60, grace=0)
        async with engine_on(catalog_url, store, environment=environment, settings=settings) as (
            engine,
            session,
        ):
            for state in await _interrupted(engine):
                assert state is ReplicaState.PENDING
            assert (await engine.sweep()).expired == 0
            environment.clock.advance(61)  # type: ignore[attr-defined]
            assert (await engine.sweep()).expired == 1
            assert await engine.catalog.replicas() == []
            assert blobs_on_disk(tmp_path / "o") == []
            await session.put("plain", "k", Body.of_bytes(b"x"))

    async def _interrupted(engine: Engine) -> list[ReplicaState]:
        """Leave a write between its bytes and its commit, as a death would."""
        from holdfast.core.types import ObjectRef

        context = engine.context
        ref = ObjectRef("default", "plain", "lost")
        replicas = pending(context, ref, Target(("local",)), "v1", "v1", 3)
        await context.catalog.begin(ref, replicas, lease_until=await context.lease_until())
        await context.store("local").backend.put(replicas[0].blob, Body.of_bytes(b"abc"))
        return [replica.state for replica in await context.catalog.replicas()]

    run(story())


def test_many_sweepers_at_once_are_as_good_as_one(catalog_url: str, tmp_path: Path) -> None:
    async def story() -> None:
        store = local_store("local", tmp_path / "o", Environment())
        async with engine_on(catalog_url, store, settings=EngineSettings(grace=0)) as (engine, session):
            for number in range(60):
                await session.put("plain", f"k{number % 30}", Body.of_bytes(b"%d" % number))
            await asyncio.gather(*(engine.sweep() for _ in range(4)))
            assert len(blobs_on_disk(tmp_path / "o")) == 30
            for number in range(30):
                assert await content(session, "plain", f"k{number}") == b"%d" % (number + 30)

    run(story())
