"""Bytes may be deleted when nobody needs them, and not a moment before."""

from __future__ import annotations

import pytest

from holdfast.core.types import ReplicaState
from tests.engine.catalog.support import GRACE, MINUTE, desk_at, run

pytestmark = pytest.mark.engine


def test_replaced_bytes_wait_for_the_grace_to_pass(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            desk.stores = ("one", "two")
            first = await desk.put("k")
            copies = {copy.id: copy for copy in (await desk.catalog.resolve(desk.ref("k"))).replicas}
            await desk.put("k", grace=GRACE)
            assert await desk.catalog.doomed() == []
            desk.advance(GRACE / 1e6 - 1)
            assert await desk.catalog.doomed() == []
            desk.advance(1)
            due = await desk.catalog.doomed()
            assert {(one.id, one.store, one.blob) for one in due} == {
                (copy.id, copy.store, copy.blob) for copy in copies.values()
            }
            assert all(copy.version_id == first.id for copy in copies.values())
            assert len(await desk.catalog.doomed(limit=1)) == 1
            await desk.catalog.forget([due[0].id])
            assert [one.id for one in await desk.catalog.doomed()] == [due[1].id]
            await desk.catalog.forget([one.id for one in due])
            assert len(await desk.states()) == 2
            await desk.catalog.forget(list(await desk.states()))
            assert set((await desk.states()).values()) == {"live"}, "what is not doomed is not forgotten"

    run(story())


def test_a_lease_that_ended_dooms_what_was_begun(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            copies = await desk.intend(desk.ref("k"), stores=("one", "two", "three"))
            desk.advance(59)
            assert await desk.catalog.expire() == 0
            desk.advance(1)
            assert await desk.catalog.expire(limit=2) == 2
            assert await desk.catalog.expire(limit=2) == 1
            assert {one.id for one in await desk.catalog.doomed()} == {copy.id for copy in copies}

    run(story())


def test_given_up_bytes_are_due_at_once(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            copies = await desk.intend(desk.ref("k"))
            await desk.catalog.abandon([copies[0].id])
            await desk.catalog.abandon([copies[0].id, "unknown"])
            assert [one.id for one in await desk.catalog.doomed()] == [copies[0].id]

    run(story())


def test_bytes_that_could_not_be_deleted_are_handed_out_later(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            copies = await desk.intend(desk.ref("k"), stores=("one", "two"))
            ids = [copy.id for copy in copies]
            await desk.catalog.abandon(ids[:1])
            await desk.put("live")
            until = await desk.catalog.now() + MINUTE
            await desk.catalog.postpone([*ids, *(await desk.states())], until=until)
            assert await desk.catalog.doomed() == []
            desk.advance(60)
            assert [one.id for one in await desk.catalog.doomed()] == ids[:1], (
                "and nothing else was doomed by it"
            )

    run(story())


def test_the_last_copy_of_a_version_is_never_handed_out(catalog_url: str) -> None:
    """Nothing dooms the only copy of a version that is there; if it happened, the bytes would still be kept."""

    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            ref = desk.ref("k")
            spare, used = await desk.intend(ref, stores=("one", "two"))
            new = desk.content(ref, [spare, used])
            await desk.catalog.abandon([spare.id])
            await desk.catalog.commit_put(new, [used.id], grace=GRACE)
            assert [one.id for one in await desk.catalog.doomed()] == [spare.id], "it has another copy"
            late = desk.replica(new.id, new.id, "three")
            await desk.catalog.begin(ref, [late], lease_until=await desk.catalog.now() + MINUTE)
            await desk.catalog.abandon([late.id])
            await _doom(desk, used.id)
            assert await desk.catalog.doomed() == [], "now no copy may go"
            await desk.delete("k")
            assert {one.id for one in await desk.catalog.doomed()} == {spare.id, late.id, used.id}

    run(story())


async def _doom(desk: object, replica_id: str) -> None:
    """Doom a live copy as no code does."""
    from sqlalchemy import update

    from holdfast.catalog.schema import replicas
    from holdfast.catalog.statements import Statement, constant, text_param
    from holdfast.catalog.transaction import Attempt, Steps

    wrong = Statement(
        update(replicas)
        .where(replicas.c.id == text_param("of_replica"))
        .values(state=constant("doomed"), not_before=constant(0))
    )

    def steps(attempt: Attempt) -> Steps[None]:
        yield wrong(of_replica=replica_id)

    await desk.catalog._runner.write(steps)  # type: ignore[attr-defined]


def test_a_suspect_copy_is_still_read(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            desk.stores = ("one", "two")
            await desk.put("k")
            first = (await desk.catalog.resolve(desk.ref("k"))).replicas[0]
            await desk.catalog.suspect(first.id)
            found = {copy.id: copy.state for copy in (await desk.catalog.resolve(desk.ref("k"))).replicas}
            assert found[first.id] is ReplicaState.SUSPECT
            assert sorted(found.values()) == ["live", "suspect"]
            pending = await desk.intend(desk.ref("k"))
            await desk.catalog.suspect(pending[0].id)
            assert (await desk.states())[pending[0].id] == "pending"
            await desk.put("k")
            assert (await desk.states())[first.id] == "doomed"

    run(story())


def test_all_copies_can_be_paged_through(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            desk.stores = ("one", "two")
            for number in range(5):
                await desk.put(f"k{number}")
            everything = await desk.catalog.replicas()
            assert len(everything) == 10
            assert [copy.id for copy in everything] == sorted(copy.id for copy in everything)
            seen, after = [], ""
            while page := await desk.catalog.replicas(after=after, limit=3):
                seen += page
                after = page[-1].id
            assert seen == list(everything)
            assert {copy.store for copy in await desk.catalog.replicas(store="two")} == {"two"}

    run(story())
