"""What may be done one single time is done one single time, and only a commit uses it up."""

from __future__ import annotations

import asyncio

import pytest

from holdfast.catalog.contract import Idempotency
from holdfast.core.clock import Environment
from holdfast.core.errors import ConflictError
from holdfast.core.types import Part
from tests.engine.catalog.support import GRACE, MINUTE, Desk, desk_at, run

pytestmark = pytest.mark.engine


async def nonce(desk: Desk, name: str = "n") -> Idempotency:
    return Idempotency(name, name.encode(), await desk.catalog.now() + MINUTE, once=True)


def test_the_second_put_is_refused_before_and_at_its_commit(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            once = await nonce(desk)
            late = await desk.intend(desk.ref("late"))
            first = await desk.put("first", idempotency=once)
            with pytest.raises(ConflictError, match="once"):
                await desk.catalog.commit_put(
                    desk.content(desk.ref("late"), late),
                    [copy.id for copy in late],
                    idempotency=once,
                    grace=GRACE,
                )
            with pytest.raises(ConflictError, match="once"):
                await desk.catalog.begin(
                    desk.ref("third"),
                    [desk.replica("v", "v")],
                    lease_until=await desk.catalog.now() + MINUTE,
                    idempotency=once,
                )
            listed = await desk.catalog.list_objects("t", "plain")
            assert [item.id for item in listed.items] == [first.id]
            assert (await desk.states())[late[0].id] == "pending"
            await desk.check_counters()

    run(story())


def test_a_write_that_was_given_up_uses_nothing(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            once = await nonce(desk)
            copies = [desk.replica("v", "v")]
            until = await desk.catalog.now() + MINUTE
            assert (
                await desk.catalog.begin(desk.ref("k"), copies, lease_until=until, idempotency=once) is None
            )
            await desk.catalog.abandon([copy.id for copy in copies])
            assert (await desk.put("k", idempotency=once)).current

    run(story())


def test_of_many_at_once_one_is_kept(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url, Environment()) as desk:
            once = await nonce(desk)
            done = await asyncio.gather(
                *[desk.put(f"k{number}", idempotency=once) for number in range(12)], return_exceptions=True
            )
            refused = [one for one in done if isinstance(one, ConflictError)]
            assert len(refused) == 11
            assert len((await desk.catalog.list_objects("t", "plain")).items) == 1

    run(story())


def test_it_is_remembered_until_it_expires(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            once = await nonce(desk)
            await desk.put("k", idempotency=once)
            desk.advance(59)
            await desk.catalog.expire()
            with pytest.raises(ConflictError):
                await desk.put("k", idempotency=once)
            desk.advance(2)
            await desk.catalog.expire()
            await desk.put("k", idempotency=once)

    run(story())


def test_uploads_are_completed_once_and_the_same_answer_comes_again(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            once = await nonce(desk)
            one, two = await desk.upload("k"), await desk.upload("k")
            parts: list[Part] = []
            for upload in (one, two):
                part, _ = await desk.part(upload, 1)
                parts.append(part)
            made = desk.assembled(one, parts[:1])
            first = await desk.catalog.complete_upload(one.id, made, idempotency=once, grace=GRACE)
            again = await desk.catalog.complete_upload(one.id, made, idempotency=once, grace=GRACE)
            assert again.id == first.id == one.version_id
            with pytest.raises(ConflictError, match="once"):
                await desk.catalog.complete_upload(
                    two.id, desk.assembled(two, parts[1:]), idempotency=once, grace=GRACE
                )
            assert (await desk.catalog.resolve(desk.ref("k"))).version.id == first.id
            assert (await desk.catalog.upload(desk.ref("k"), two.id)).id == two.id
            await desk.check_counters()

    run(story())
