"""Large uploads: parts in any order, replaced, completed once, given up, or forgotten by their owner."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from holdfast.core.conditions import Preconditions
from holdfast.core.errors import ConflictError, NotFoundError, PreconditionFailedError
from holdfast.core.types import ReplicaState, Usage
from tests.engine.catalog.support import GRACE, desk_at, run

pytestmark = pytest.mark.engine


def test_parts_become_one_version(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            before = await desk.put("big", size=3)
            upload = await desk.upload("big")
            assert await desk.catalog.upload(upload.ref, upload.id) == upload
            with pytest.raises(NotFoundError):
                await desk.catalog.upload(desk.ref("other"), upload.id)
            parts = {number: (await desk.part(upload, number, size=number * 10))[0] for number in (3, 1, 2)}
            listed = await desk.catalog.list_parts(upload.id)
            assert list(listed) == [parts[1], parts[2], parts[3]]
            assert [part.number for part in await desk.catalog.list_parts(upload.id, after=1, limit=1)] == [2]
            assert await desk.catalog.usage("t", "plain") == Usage(1, 1, 3, 60)
            await desk.check_counters()
            assert (await desk.catalog.resolve(upload.ref)).version == before

            new = desk.assembled(upload, [parts[1], parts[3]])
            made = await desk.catalog.complete_upload(upload.id, new, grace=GRACE)
            found = await desk.catalog.resolve(upload.ref)
            assert found.version == made
            assert [segment.id for segment in found.segments] == [parts[1].segment_id, parts[3].segment_id]
            assert list(found.segments) == list(new.segments)
            assert {copy.segment_id for copy in found.replicas} == {parts[1].segment_id, parts[3].segment_id}
            assert (made.parts, made.size, made.content_type, made.metadata) == (
                2,
                40,
                "text/plain",
                {"a": "b"},
            )
            assert await desk.catalog.usage("t", "plain") == Usage(1, 1, 40, 0)
            with pytest.raises(NotFoundError):
                await desk.catalog.upload(upload.ref, upload.id)
            states = {copy.segment_id: copy.state.value for copy in await desk.catalog.replicas()}
            assert states[parts[2].segment_id] == "doomed", "a part that was left over"
            assert states[before.id] == "doomed", "what was replaced"
            assert await desk.catalog.complete_upload(upload.id, new, grace=GRACE) == made
            await desk.check_counters()

    run(story())


def test_a_part_sent_again_replaces_the_first(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            upload = await desk.upload("big", "kept")
            first, old = await desk.part(upload, 1, size=10)
            second, _ = await desk.part(upload, 1, size=25)
            assert list(await desk.catalog.list_parts(upload.id)) == [second]
            assert (await desk.states())[old.id] == "doomed"
            assert await desk.catalog.usage("t", "kept") == Usage(0, 0, 0, 25)
            with pytest.raises(ConflictError):
                await desk.catalog.complete_upload(upload.id, desk.assembled(upload, [first]), grace=GRACE)
            await desk.catalog.complete_upload(upload.id, desk.assembled(upload, [second]), grace=GRACE)
            await desk.check_counters()

    run(story())


def test_the_same_part_may_be_acknowledged_twice(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            upload = await desk.upload("big")
            part, copy = await desk.part(upload, 1)
            assert await desk.catalog.commit_part(upload, part, [copy.id]) == part
            assert (await desk.states())[copy.id] == "pending"
            await desk.check_counters()

    run(story())


def test_a_part_whose_copy_is_lost_is_not_acknowledged(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            upload = await desk.upload("big")
            part, _ = await desk.part(upload, 1)
            other = desk.replica(upload.version_id, "another")
            await desk.catalog.begin(upload.ref, [other], lease_until=upload.expires)
            await desk.catalog.abandon([other.id])
            again = type(part)(1, "another", 5, "e", part.digests, part.created)
            with pytest.raises(ConflictError):
                await desk.catalog.commit_part(upload, again, [other.id])
            assert list(await desk.catalog.list_parts(upload.id)) == [part]
            with pytest.raises(ConflictError):
                await desk.catalog.commit_part(upload, again, [])
            await desk.check_counters()

    run(story())


def test_only_acknowledged_copies_go_live(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            upload = await desk.upload("big")
            part, copy = await desk.part(upload, 1)
            late = desk.replica(upload.version_id, part.segment_id, "two", 10)
            await desk.catalog.begin(upload.ref, [late], lease_until=upload.expires)
            await desk.catalog.complete_upload(upload.id, desk.assembled(upload, [part]), grace=GRACE)
            found = await desk.catalog.resolve(upload.ref)
            assert [(one.id, one.state) for one in found.replicas] == [(copy.id, ReplicaState.LIVE)]
            assert (await desk.states())[late.id] == "pending"

    run(story())


def test_conditions_hold_at_completion(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            upload = await desk.upload("big")
            part, _ = await desk.part(upload, 1)
            new = desk.assembled(upload, [part])
            await desk.put("big")
            with pytest.raises(PreconditionFailedError):
                only_new = Preconditions(if_none_match=("*",))
                await desk.catalog.complete_upload(upload.id, new, conditions=only_new, grace=GRACE)
            assert await desk.catalog.upload(upload.ref, upload.id) == replace(upload, received=10)
            await desk.catalog.complete_upload(upload.id, new, grace=GRACE)
            await desk.check_counters()

    run(story())


def test_giving_up_dooms_the_parts(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            upload = await desk.upload("big")
            part, copy = await desk.part(upload, 1)
            with pytest.raises(NotFoundError):
                await desk.catalog.abort_upload(desk.ref("other"), upload.id)
            await desk.catalog.abort_upload(upload.ref, upload.id)
            assert (await desk.states())[copy.id] == "doomed"
            assert await desk.catalog.usage("t", "plain") == Usage()
            assert list(await desk.catalog.list_parts(upload.id)) == []
            for attempt in (
                desk.catalog.abort_upload(upload.ref, upload.id),
                desk.catalog.commit_part(upload, part, [copy.id]),
                desk.catalog.complete_upload(upload.id, desk.assembled(upload, [part]), grace=GRACE),
            ):
                with pytest.raises(NotFoundError):
                    await attempt

    run(story())


def test_an_upload_protects_its_parts_until_it_expires(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            upload = await desk.upload("big", seconds=3600)
            part, copy = await desk.part(upload, 1)
            desk.advance(3000)
            assert await desk.catalog.expire() == 0
            assert (await desk.states())[copy.id] == "pending"
            desk.advance(601)
            with pytest.raises(NotFoundError):
                await desk.catalog.commit_part(upload, part, [copy.id])
            assert (await desk.catalog.list_uploads("t", "plain"))[0] == []
            assert await desk.catalog.expire() == 1
            assert (await desk.states())[copy.id] == "doomed"
            assert await desk.catalog.usage("t", "plain") == Usage()
            assert await desk.catalog.expire() == 0

    run(story())


def test_open_uploads_are_listed_by_key_then_id(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            made = [await desk.upload(key) for key in ("b/2", "a", "b/1", "b/1", "é")]
            expected = sorted(made, key=lambda upload: (upload.ref.key.encode(), upload.id))
            assert (await desk.catalog.list_uploads("t", "plain")) == (expected, False)
            assert (await desk.catalog.list_uploads("t", "plain", prefix="b/"))[0] == expected[1:4]
            assert (await desk.catalog.list_uploads("t", "plain", limit=0)) == ([], False)
            seen, key, id_ = [], "", ""
            while True:
                page, more = await desk.catalog.list_uploads(
                    "t", "plain", key_marker=key, id_marker=id_, limit=1
                )
                seen += page
                if not more:
                    break
                key, id_ = page[-1].ref.key, page[-1].id
            assert seen == expected
            after_key, _ = await desk.catalog.list_uploads("t", "plain", key_marker="b/1")
            assert after_key == expected[3:]
            with pytest.raises(NotFoundError):
                await desk.catalog.list_uploads("t", "nowhere")
            with pytest.raises(NotFoundError):
                await desk.upload("k", "nowhere")

    run(story())


def test_parts_in_parallel_and_two_completions(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            upload = await desk.upload("big")
            sent = await asyncio.gather(*[desk.part(upload, number) for number in list(range(1, 21)) * 2])
            assert len(sent) == 40
            parts = await desk.catalog.list_parts(upload.id)
            assert [part.number for part in parts] == list(range(1, 21))
            await desk.check_counters()
            new = desk.assembled(upload, parts)
            one, two = await asyncio.gather(
                *[desk.catalog.complete_upload(upload.id, new, grace=GRACE) for _ in range(2)]
            )
            assert one == two
            states = [copy.state.value for copy in await desk.catalog.replicas()]
            assert (states.count("live"), states.count("doomed")) == (20, 20)
            await desk.check_counters()

    run(story())
