"""Deleting: markers in versioned buckets, removal in plain ones, single versions, and whole buckets."""

from __future__ import annotations

import pytest

from holdfast.core.conditions import Preconditions
from holdfast.core.errors import ConflictError, NotFoundError, PreconditionFailedError
from holdfast.core.types import Deleted, Usage
from tests.engine.catalog.support import desk_at, run

pytestmark = pytest.mark.engine


def test_a_plain_bucket_forgets(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            made = await desk.put("k")
            with pytest.raises(PreconditionFailedError):
                await desk.delete("k", conditions=Preconditions(if_match=("other",)))
            assert await desk.delete("k", conditions=Preconditions(if_match=(made.etag,))) == Deleted(made.id)
            with pytest.raises(NotFoundError):
                await desk.catalog.resolve(desk.ref("k"))
            assert await desk.delete("k") == Deleted(None)
            assert await desk.delete("never there") == Deleted(None)
            assert await desk.catalog.usage("t", "plain") == Usage()
            assert set((await desk.states()).values()) == {"doomed"}
            with pytest.raises(NotFoundError):
                await desk.delete("k", "no-bucket")
            again = await desk.put("k")
            assert (again.seq, (await desk.catalog.resolve(desk.ref("k"))).version) == (1, again)
            await desk.check_counters()

    run(story())


def test_a_versioned_bucket_hides(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            ref = desk.ref("k", "kept")
            first = await desk.put("k", "kept")
            done = await desk.delete("k", "kept")
            assert done.delete_marker
            assert done.version_id is not None
            with pytest.raises(NotFoundError):
                await desk.catalog.resolve(ref)
            with pytest.raises(NotFoundError):
                await desk.catalog.resolve(ref, version_id=done.version_id)
            marker = await desk.catalog.version(ref, done.version_id)
            assert (marker.delete_marker, marker.current, marker.seq) == (True, True, 2)
            assert (await desk.catalog.resolve(ref, version_id=first.id)).version.current is False
            assert await desk.catalog.usage("t", "kept") == Usage(0, 1, 5, 0)
            assert set((await desk.states()).values()) == {"live"}
            # Removing the marker brings the object back.
            assert await desk.delete("k", "kept", done.version_id) == Deleted(done.version_id, True)
            assert (await desk.catalog.resolve(ref)).version == first
            assert await desk.catalog.usage("t", "kept") == Usage(1, 1, 5, 0)
            # A marker is left even where there never was anything.
            ghost = await desk.delete("ghost", "kept")
            assert ghost.delete_marker
            assert (await desk.catalog.version(desk.ref("ghost", "kept"), str(ghost.version_id))).seq == 1
            await desk.check_counters()

    run(story())


def test_removing_one_version_makes_the_next_older_current(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            ref = desk.ref("k", "kept")
            made = [await desk.put("k", "kept", size=size) for size in (1, 2, 3)]
            assert await desk.delete("k", "kept", made[1].id) == Deleted(made[1].id)
            assert (await desk.catalog.resolve(ref)).version == made[2]
            with pytest.raises(PreconditionFailedError):
                await desk.delete("k", "kept", made[2].id, conditions=Preconditions(if_match=("other",)))
            assert await desk.delete("k", "kept", made[2].id) == Deleted(made[2].id)
            assert (await desk.catalog.resolve(ref)).version.id == made[0].id
            assert await desk.delete("k", "kept", made[2].id) == Deleted(None)
            assert await desk.delete("other key", "kept", made[0].id) == Deleted(None)
            assert await desk.catalog.usage("t", "kept") == Usage(1, 1, 1, 0)
            again = await desk.put("k", "kept", size=4)
            assert again.seq == 2
            assert await desk.delete("k", "kept", again.id) == Deleted(again.id)
            assert await desk.delete("k", "kept", made[0].id) == Deleted(made[0].id)
            with pytest.raises(NotFoundError):
                await desk.catalog.resolve(ref)
            assert await desk.catalog.usage("t", "kept") == Usage()
            states = {copy.version_id: copy.state.value for copy in await desk.catalog.replicas()}
            assert set(states.values()) == {"doomed"}
            await desk.check_counters()

    run(story())


def test_removing_versions_around_markers(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            ref = desk.ref("k", "kept")
            await desk.put("k", "kept")
            marker = await desk.delete("k", "kept")
            top = await desk.put("k", "kept")
            assert await desk.delete("k", "kept", top.id) == Deleted(top.id)
            with pytest.raises(NotFoundError):
                await desk.catalog.resolve(ref)
            assert (await desk.catalog.list_objects("t", "kept")).items == []
            second = await desk.delete("k", "kept")
            assert await desk.delete("k", "kept", str(marker.version_id)) == Deleted(marker.version_id, True)
            assert await desk.delete("k", "kept", str(second.version_id)) == Deleted(second.version_id, True)
            assert (await desk.catalog.resolve(ref)).version.seq == 1
            await desk.check_counters()

    run(story())


def test_a_bucket_that_stopped_keeping_versions(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            ref = desk.ref("k", "kept")
            old = await desk.put("k", "kept")
            await desk.put("k", "kept")
            await desk.catalog.update_bucket("t", "kept", versioning=False)
            assert (await desk.catalog.bucket("t", "kept")).versioning is False
            await desk.put("k", "kept", size=8)
            assert await desk.catalog.usage("t", "kept") == Usage(1, 2, 13, 0)
            done = await desk.delete("k", "kept")
            assert done.delete_marker, "the older version must not come to light"
            with pytest.raises(NotFoundError):
                await desk.catalog.resolve(ref)
            assert await desk.delete("k", "kept") == Deleted(None)
            assert (await desk.catalog.resolve(ref, version_id=old.id)).version.id == old.id
            assert await desk.catalog.usage("t", "kept") == Usage(0, 1, 5, 0)
            await desk.put("k", "kept", size=2)
            assert await desk.catalog.usage("t", "kept") == Usage(1, 2, 7, 0)
            assert len((await desk.catalog.list_versions("t", "kept")).items) == 2
            await desk.check_counters()
            with pytest.raises(NotFoundError):
                await desk.catalog.update_bucket("t", "nowhere", versioning=True)

    run(story())


def test_a_bucket_goes_only_when_nothing_is_in_it(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            await desk.put("k", "kept")
            with pytest.raises(ConflictError):
                await desk.catalog.delete_bucket("t", "kept")
            marker = await desk.delete("gone", "kept")
            page = await desk.catalog.list_versions("t", "kept")
            for version in page.items:
                with pytest.raises(ConflictError):
                    await desk.catalog.delete_bucket("t", "kept")
                await desk.delete(version.ref.key, "kept", version.id)
            assert marker.version_id in {version.id for version in page.items}
            upload = await desk.upload("u", "kept")
            with pytest.raises(ConflictError):
                await desk.catalog.delete_bucket("t", "kept")
            await desk.catalog.abort_upload(upload.ref, upload.id)
            await desk.catalog.delete_bucket("t", "kept")
            with pytest.raises(NotFoundError):
                await desk.catalog.bucket("t", "kept")
            with pytest.raises(NotFoundError):
                await desk.catalog.delete_bucket("t", "kept")
            with pytest.raises(NotFoundError):
                await desk.put("k", "kept")
            await desk.catalog.create_bucket("t", "kept")
            assert await desk.catalog.usage("t", "kept") == Usage()
            await desk.check_counters()

    run(story())
