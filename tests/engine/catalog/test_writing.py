"""Two transactions make an object: the intent, and the commit that everyone sees at once."""

from __future__ import annotations

import asyncio

import pytest

from holdfast.catalog.contract import Actor, Idempotency, NewVersion
from holdfast.core.conditions import Preconditions
from holdfast.core.errors import ConflictError, NotFoundError, PreconditionFailedError
from holdfast.core.types import Digests, Located, ReplicaState, Segment, Usage
from tests.engine.catalog.support import GRACE, MINUTE, desk_at, run

pytestmark = pytest.mark.engine


def test_a_commit_makes_all_of_a_version_visible(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            ref = desk.ref("a/é.txt")
            copies = await desk.intend(ref, size=7, stores=("one", "two"))
            with pytest.raises(NotFoundError):
                await desk.catalog.resolve(ref)
            new = desk.content(ref, copies, metadata={"who": "é"}, tags={"x": "1"}, content_type="text/plain")
            made = await desk.catalog.commit_put(new, [copy.id for copy in copies], grace=GRACE)
            found = await desk.catalog.resolve(ref)
            assert isinstance(found, Located)
            assert found.version == made
            assert (made.seq, made.current, made.size, made.etag) == (1, True, 7, new.etag)
            assert (made.metadata, made.tags, made.content_type) == ({"who": "é"}, {"x": "1"}, "text/plain")
            assert made.digests == Digests(b"s" * 32, b"m" * 16)
            assert list(found.segments) == [Segment(made.id, 7, made.digests, 1024, b"crc")]
            assert {copy.store for copy in found.replicas} == {"one", "two"}
            assert {copy.state for copy in found.replicas} == {ReplicaState.LIVE}
            assert await desk.catalog.version_by_id("t", made.id) == made
            assert await desk.catalog.resolve(ref, version_id=made.id) == found
            assert await desk.catalog.usage("t", "plain") == Usage(1, 1, 7, 0)

    run(story())


def test_an_overwrite_replaces_or_keeps_as_the_bucket_says(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            for bucket in ("plain", "kept"):
                first = await desk.put("k", bucket, size=5)
                second = await desk.put("k", bucket, size=9)
                assert second.seq == 2
                assert (await desk.catalog.resolve(desk.ref("k", bucket))).version == second
                states = {copy.version_id: copy.state.value for copy in await desk.catalog.replicas()}
                if bucket == "plain":
                    assert states[first.id] == "doomed"
                    with pytest.raises(NotFoundError):
                        await desk.catalog.version(desk.ref("k"), first.id)
                else:
                    assert states[first.id] == "live"
                    older = await desk.catalog.version(desk.ref("k", bucket), first.id)
                    assert (older.current, older.seq) == (False, 1)
            assert await desk.catalog.usage("t", "plain") == Usage(1, 1, 9, 0)
            assert await desk.catalog.usage("t", "kept") == Usage(1, 2, 14, 0)
            assert await desk.catalog.usage("t") == Usage(2, 3, 23, 0)
            await desk.check_counters()

    run(story())


def test_a_commit_asked_for_again_answers_the_same(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            ref = desk.ref("k")
            copies = await desk.intend(ref)
            new, ids = desk.content(ref, copies), [copy.id for copy in copies]
            made = await desk.catalog.commit_put(new, ids, grace=GRACE)
            assert await desk.catalog.commit_put(new, ids, grace=GRACE) == made
            later = await desk.put("k")
            again = await desk.catalog.commit_put(new, ids, grace=GRACE)
            assert (again.id, again.created, again.current) == (made.id, made.created, False)
            assert (await desk.catalog.resolve(ref)).version == later
            only_new = Preconditions(if_none_match=("*",))
            again = await desk.catalog.commit_put(new, ids, conditions=only_new, grace=GRACE)
            assert again.id == made.id, "it was made when its condition held"
            await desk.check_counters()

    run(story())


def test_a_copy_that_is_not_pending_fails_the_commit_whole(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            before = await desk.put("k")
            ref = desk.ref("k")
            copies = await desk.intend(ref, stores=("one", "two"))
            await desk.catalog.abandon([copies[1].id])
            new = desk.content(ref, copies)
            with pytest.raises(ConflictError):
                await desk.catalog.commit_put(new, [copy.id for copy in copies], grace=GRACE)
            assert (await desk.catalog.resolve(ref)).version == before
            states = await desk.states()
            assert states[copies[0].id] == "pending"
            assert states[copies[1].id] == "doomed"
            with pytest.raises(ConflictError):
                await desk.catalog.commit_put(new, [], grace=GRACE)
            with pytest.raises(ConflictError):
                await desk.catalog.commit_put(new, ["no-such-copy"], grace=GRACE)
            made = await desk.catalog.commit_put(new, [copies[0].id], grace=GRACE)
            assert (await desk.catalog.resolve(ref)).version == made
            await desk.check_counters()

    run(story())


def test_the_copies_must_be_of_that_version_and_cover_it(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            ref = desk.ref("k")
            mine, other = await desk.intend(ref), await desk.intend(ref)
            with pytest.raises(ConflictError):
                await desk.catalog.commit_put(desk.content(ref, mine), [other[0].id], grace=GRACE)
            new = desk.content(ref, mine)
            two = NewVersion(new.id, ref, 10, "e", (*new.segments, Segment("elsewhere", 5)))
            with pytest.raises(ConflictError):
                await desk.catalog.commit_put(two, [mine[0].id], grace=GRACE)
            with pytest.raises(NotFoundError):
                await desk.catalog.resolve(ref)

    run(story())


def test_a_version_of_several_segments_is_read_back_in_order(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            ref, version_id = desk.ref("k"), desk.world.new_id()
            names = [f"segment-{number}" for number in (3, 1, 2)]
            copies = [desk.replica(version_id, name) for name in names]
            await desk.catalog.begin(ref, copies, lease_until=await desk.catalog.now() + MINUTE)
            segments = [Segment(name, 5, Digests(name.encode().ljust(32)), 4, b"crcs") for name in names]
            new = NewVersion(version_id, ref, 15, "e", segments)
            await desk.catalog.commit_put(new, [copy.id for copy in copies], grace=GRACE)
            found = await desk.catalog.resolve(ref)
            assert list(found.segments) == segments
            assert {copy.segment_id for copy in found.replicas} == set(names)
            await desk.delete("k")
            assert set((await desk.states()).values()) == {"doomed"}

    run(story())


def test_conditions_are_checked_where_it_counts(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            with pytest.raises(PreconditionFailedError):
                await desk.put("k", conditions=Preconditions(if_match=("*",)))
            first = await desk.put("k", conditions=Preconditions(if_none_match=("*",)))
            with pytest.raises(PreconditionFailedError):
                await desk.put("k", conditions=Preconditions(if_none_match=("*",)))
            second = await desk.put("k", conditions=Preconditions(if_match=(first.etag,)))
            with pytest.raises(PreconditionFailedError):
                await desk.put("k", conditions=Preconditions(if_match=(first.etag,)))
            assert (await desk.catalog.resolve(desk.ref("k"))).version == second
            await desk.check_counters()

    run(story())


def test_of_many_creators_one_wins(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            only_new = Preconditions(if_none_match=("*",))
            done = await asyncio.gather(
                *[desk.put("k", conditions=only_new) for _ in range(12)], return_exceptions=True
            )
            assert sum(not isinstance(one, BaseException) for one in done) == 1
            assert sum(isinstance(one, PreconditionFailedError) for one in done) == 11
            await desk.check_counters()

    run(story())


def test_a_request_with_a_name_of_its_own_is_answered_once(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            now = await desk.catalog.now()
            request = Idempotency("req-1", b"asked", now + MINUTE)
            made = await desk.put("k", idempotency=request, metadata={"a": "b"})
            later = now + MINUTE
            copies = [desk.replica("v", "v")]
            ref = desk.ref("k")
            assert await desk.catalog.begin(ref, copies, lease_until=later, idempotency=request) == made
            assert "pending" not in (await desk.states()).values()
            with pytest.raises(ConflictError):
                other = Idempotency("req-1", b"something else", later)
                await desk.catalog.begin(ref, copies, lease_until=later, idempotency=other)
            await desk.delete("k")
            assert await desk.catalog.begin(ref, copies, lease_until=later, idempotency=request) == made
            # Two that began before either was done: the second gets the first one's answer, its copies are given up.
            racing = Idempotency("req-2", b"asked", later)
            one, two = await desk.intend(ref), await desk.intend(ref)
            first = await desk.catalog.commit_put(
                desk.content(ref, one), [one[0].id], idempotency=racing, grace=GRACE
            )
            second = await desk.catalog.commit_put(
                desk.content(ref, two), [two[0].id], idempotency=racing, grace=GRACE
            )
            assert first == second
            assert (await desk.states())[two[0].id] == "doomed"
            desk.advance(61)
            assert await desk.catalog.begin(ref, copies, lease_until=later, idempotency=request) is None
            await desk.catalog.expire()
            await desk.check_counters()

    run(story())


def test_the_intent_needs_a_bucket_and_may_be_said_again(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            copies = [desk.replica("v", "v", store) for store in ("one", "two")]
            until = await desk.catalog.now() + MINUTE
            with pytest.raises(NotFoundError):
                await desk.catalog.begin(desk.ref("k", "nowhere"), copies, lease_until=until)
            assert await desk.states() == {}
            assert await desk.catalog.begin(desk.ref("k"), copies, lease_until=until) is None
            assert await desk.catalog.begin(desk.ref("k"), copies, lease_until=until) is None
            assert len(await desk.states()) == 2

    run(story())


def test_leases_are_renewed_while_pending_only(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            ref = desk.ref("k")
            copies = await desk.intend(ref, stores=("one", "two"))
            ids = [copy.id for copy in copies]
            desk.advance(50)
            assert await desk.catalog.renew(ids, lease_until=await desk.catalog.now() + MINUTE)
            desk.advance(50)
            assert await desk.catalog.expire() == 0
            await desk.catalog.abandon(ids[:1])
            assert not await desk.catalog.renew(ids, lease_until=await desk.catalog.now() + MINUTE)
            desk.advance(61)
            assert await desk.catalog.expire() == 1
            assert not await desk.catalog.renew(ids[1:], lease_until=await desk.catalog.now() + MINUTE)

    run(story())


def test_abandoning_leaves_what_is_live_alone(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            made = await desk.put("k")
            found = await desk.catalog.resolve(desk.ref("k"))
            await desk.catalog.abandon([copy.id for copy in found.replicas])
            assert await desk.catalog.resolve(desk.ref("k")) == found
            assert found.version == made

    run(story())


def test_every_change_tells_the_audit_who_and_what(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            ref, actor = desk.ref("k"), Actor("someone", "request-9")
            copies = await desk.intend(ref)
            made = await desk.catalog.commit_put(
                desk.content(ref, copies), [copies[0].id], grace=GRACE, actor=actor
            )
            await desk.delete("k", actor=actor)
            entries = await desk.catalog.audit("t")
            put, delete = entries[-2:]
            assert (put.action, put.principal, put.request_id) == ("put", "someone", "request-9")
            assert (put.bucket, put.key, put.version_id, put.at) == ("plain", "k", made.id, made.created)
            assert delete.action == "delete"
            assert [entry.action for entry in entries[:3]] == [
                "create-tenant",
                "create-bucket",
                "create-bucket",
            ]
            numbers = [entry.number for entry in entries]
            assert numbers == sorted(set(numbers))
            assert list(await desk.catalog.audit("t", after=put.number)) == [delete]
            assert list(await desk.catalog.audit("t", limit=1)) == [entries[0]]
            assert await desk.catalog.audit("somebody-else") == []

    run(story())
