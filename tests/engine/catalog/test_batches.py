"""Batches in the catalog: who runs one, who finds out that it is to stop, and what is left of one that died."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from holdfast.catalog.contract import Batch, BatchFailure, BatchState
from holdfast.core.errors import AlreadyExistsError, NotFoundError
from tests.engine.catalog.support import MINUTE, Desk, desk_at, run

pytestmark = pytest.mark.engine


async def begin(desk: Desk, id: str = "b", *, lease: int = MINUTE, tenant: str = "t", days: int = 1) -> Batch:
    now = await desk.catalog.now()
    expires = now + days * 24 * 60 * MINUTE
    batch = Batch(id, tenant, "delete", "key-1", total=10, created=now, updated=now, expires=expires)
    return await desk.catalog.create_batch(batch, lease=lease)


def test_progress_is_what_everybody_sees(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            made = await begin(desk)
            assert await desk.catalog.batch("t", "b") == made
            desk.advance(1)
            failures = [BatchFailure("plain", "k/ü", "", "not_found", "there is no such object")]
            further = replace(made, done=3, failed=1, bytes=1 << 40, failures=failures)
            assert await desk.catalog.progress_batch(further, lease=MINUTE)
            seen = await desk.catalog.batch("t", "b")
            assert seen == replace(further, updated=seen.updated)
            assert seen.updated > made.updated
            await desk.catalog.finish_batch(replace(further, done=9, state=BatchState.DONE))
            assert (await desk.catalog.batch("t", "b")).state is BatchState.DONE
            assert not await desk.catalog.progress_batch(further, lease=MINUTE)
            assert (await desk.catalog.batch("t", "b")).done == 9

    run(story())


def test_ids_belong_to_a_tenant_and_are_used_once(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            await begin(desk)
            desk.advance(1)
            with pytest.raises(AlreadyExistsError):
                await begin(desk)
            other = await begin(desk, tenant="u")
            assert await desk.catalog.batch("u", "b") == other
            with pytest.raises(NotFoundError):
                await desk.catalog.batch("v", "b")
            ends = await asyncio.gather(*[begin(desk, "race") for _ in range(6)], return_exceptions=True)
            assert sum(isinstance(end, Batch) for end in ends) == 1

    run(story())


def test_a_cancelled_one_is_told_to_stop_and_keeps_its_figures(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            made = await begin(desk)
            await desk.catalog.cancel_batch("t", "b")
            assert (await desk.catalog.batch("t", "b")).state is BatchState.CANCELLED
            assert not await desk.catalog.progress_batch(replace(made, done=1), lease=MINUTE)
            await desk.catalog.finish_batch(replace(made, done=4, state=BatchState.CANCELLED))
            await desk.catalog.cancel_batch("t", "b")
            seen = await desk.catalog.batch("t", "b")
            assert (seen.state, seen.done) == (BatchState.CANCELLED, 4)

    run(story())


def test_one_whose_process_died_was_interrupted(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            made = await begin(desk, lease=MINUTE)
            await desk.catalog.progress_batch(replace(made, done=5), lease=MINUTE)
            desk.advance(59)
            assert (await desk.catalog.batch("t", "b")).state is BatchState.RUNNING
            desk.advance(2)
            seen = await desk.catalog.batch("t", "b")
            assert (seen.state, seen.done) == (BatchState.INTERRUPTED, 5)
            assert await desk.catalog.progress_batch(replace(made, done=6), lease=MINUTE)  # it was only slow
            assert (await desk.catalog.batch("t", "b")).state is BatchState.RUNNING

    run(story())


def test_pages_and_forgetting(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            for number in range(5):
                await begin(desk, f"b{number}", days=1 + number)
                desk.advance(1)
            now = await desk.catalog.now()
            first = await desk.catalog.batches("t", before=now, limit=2)
            assert [batch.id for batch in first] == ["b4", "b3"]
            rest = await desk.catalog.batches("t", before=first[-1].created, limit=10)
            assert [batch.id for batch in rest] == ["b2", "b1", "b0"]
            desk.advance(2 * 24 * 3600)
            await desk.catalog.expire()
            left = await desk.catalog.batches("t", before=await desk.catalog.now(), limit=10)
            assert [batch.id for batch in left] == ["b4", "b3", "b2"]

    run(story())
