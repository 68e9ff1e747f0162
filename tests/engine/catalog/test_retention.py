"""Settings of buckets in the catalog; versions dated by the retention of their bucket, and removed when they are due."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from holdfast.catalog.contract import Actor
from holdfast.core.errors import AlreadyExistsError, ConflictError, NotFoundError
from holdfast.core.types import BucketSettings, Deleted, IpRules, Quota, Visibility
from tests.engine.catalog.support import GRACE, Desk, desk_at, run

pytestmark = pytest.mark.engine

DAY = 24 * 3600
SETTINGS = BucketSettings(
    visibility=Visibility.PUBLIC,
    allowed_types=("image/*", ".csv"),
    max_object_size=100,
    quota=Quota(1000, 10),
    retention_days=7,
    encryption="store",
    ip=IpRules(("10.0.0.0/8",), ("10.1.0.0/16",)),
)


async def remove_due(desk: Desk) -> list[str]:
    """Remove what is due, oldest first; the ids of what went."""
    gone = []
    for due in await desk.catalog.due():
        deleted = await desk.catalog.delete_object(
            due.ref,
            version_id=due.version_id,
            marker_id=desk.world.new_id(),
            grace=GRACE,
            actor=Actor("retention"),
            if_due=True,
        )
        if deleted.version_id:
            gone.append(deleted.version_id)
    return gone


async def keep(desk: Desk, days: int | None, bucket: str = "plain") -> None:
    await desk.catalog.update_bucket("t", bucket, change=lambda held: replace(held, retention_days=days))


def test_a_bucket_keeps_its_settings(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            made = await desk.catalog.create_bucket("t", "set", settings=SETTINGS)
            assert made.settings == SETTINGS
            assert made == await desk.catalog.bucket("t", "set")
            assert (await desk.catalog.bucket_and_usage("t", "set"))[0] == made
            assert made in [bucket for bucket, _ in await desk.catalog.buckets("t")]
            changed = await desk.catalog.update_bucket(
                "t", "set", versioning=True, change=lambda held: replace(held, encryption="none")
            )
            assert changed == replace(made, versioning=True, settings=replace(SETTINGS, encryption="none"))
            assert changed == await desk.catalog.bucket("t", "set")
            told = [entry for entry in await desk.catalog.audit("t") if entry.bucket == "set"]
            assert [entry.action for entry in told] == ["create-bucket", "update-bucket"]
            assert '"retention_days":7' in told[0].detail["settings"]
            assert told[1].detail["versioning"] == "true"
            assert await desk.catalog.update_bucket("t", "set", change=lambda held: held) == changed
            assert len([entry for entry in await desk.catalog.audit("t") if entry.bucket == "set"]) == 2
            with pytest.raises(NotFoundError):
                await desk.catalog.update_bucket("t", "nowhere", versioning=True)
            with pytest.raises(AlreadyExistsError):
                await desk.catalog.create_bucket("t", "set")

    run(story())


def test_changes_of_different_settings_at_once_all_hold(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            await asyncio.gather(
                desk.catalog.update_bucket(
                    "t", "plain", change=lambda held: replace(held, max_object_size=5)
                ),
                desk.catalog.update_bucket("t", "plain", change=lambda held: replace(held, retention_days=3)),
                desk.catalog.update_bucket("t", "plain", change=lambda held: replace(held, quota=Quota(77))),
                desk.catalog.update_bucket("t", "plain", versioning=True),
            )
            bucket = await desk.catalog.bucket("t", "plain")
            assert bucket.versioning
            assert bucket.settings == BucketSettings(max_object_size=5, retention_days=3, quota=Quota(77))
            assert (await desk.catalog.quota("t", "plain")).quota == Quota(77)

    run(story())


def test_a_bucket_that_is_not_empty_says_what_it_holds(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            await desk.put("a", "kept")
            await desk.put("a", "kept")
            await desk.put("b", "kept")
            await desk.upload("u", "kept")
            with pytest.raises(ConflictError, match="2 objects and 1 older versions and open uploads"):
                await desk.catalog.delete_bucket("t", "kept")

    run(story())


def test_nothing_is_due_without_a_retention(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            await desk.put("k")
            desk.advance(10_000 * DAY)
            assert await desk.catalog.due() == []
            assert await remove_due(desk) == []

    run(story())


def test_versions_go_when_they_are_old_enough(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            await desk.catalog.set_quota("t", "plain", Quota(1000))
            await keep(desk, 2)
            first = await desk.put("a", size=10)
            desk.advance(DAY)
            await desk.put("b", size=20)
            desk.advance(DAY - 1)
            assert await remove_due(desk) == []
            desk.advance(2)
            assert await remove_due(desk) == [first.id]
            assert await remove_due(desk) == []
            with pytest.raises(NotFoundError):
                await desk.catalog.resolve(desk.ref("a"))
            assert (await desk.catalog.usage("t", "plain")).bytes == 20
            assert (await desk.catalog.quota("t", "plain")).bytes == 20
            assert sorted((await desk.states()).values()) == ["doomed", "live"]
            last = (await desk.catalog.audit("t"))[-1]
            assert (last.principal, last.action, last.version_id) == ("retention", "delete-version", first.id)
            await desk.check_counters()

    run(story())


def test_old_versions_go_first_and_none_comes_back(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            await keep(desk, 1, "kept")
            ids = []
            for _ in range(3):
                ids.append((await desk.put("k", "kept")).id)
                desk.advance(10)
            marker = await desk.delete("k", "kept")
            desk.advance(DAY - 15)
            assert await remove_due(desk) == ids[:2]
            desk.advance(100)
            assert await remove_due(desk) == [ids[2], marker.version_id]
            await desk.catalog.delete_bucket("t", "kept")

    run(story())


def test_a_marker_stays_as_long_as_it_hides_something(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            await keep(desk, 1, "kept")
            version = await desk.put("k", "kept", expires=await desk.catalog.now() + 100 * DAY * 1_000_000)
            marker = await desk.delete("k", "kept")
            desk.advance(2 * DAY)
            assert [due.version_id for due in await desk.catalog.due()] == [marker.version_id]
            assert await remove_due(desk) == []
            desk.advance(99 * DAY)
            assert await remove_due(desk) == [version.id]
            assert await remove_due(desk) == [marker.version_id]

    run(story())


def test_another_retention_dates_what_is_there(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            for number in range(25):
                await desk.put(f"k{number:02}")
            desk.advance(2 * DAY)
            await keep(desk, 3)
            assert await desk.catalog.due() == []
            await keep(desk, 1)
            assert len(await desk.catalog.due()) == 25
            await keep(desk, 30)
            assert await desk.catalog.due() == []
            await keep(desk, 2)
            await keep(desk, None)
            desk.advance(1000 * DAY)
            assert await desk.catalog.due() == []

    run(story())


def test_dating_goes_page_by_page_and_is_finished_by_whoever_comes_next(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            await keep(desk, 1)
            for number in range(10):
                await desk.put(f"k{number}")
            desk.advance(2 * DAY)

            class BreakError(Exception):
                pass

            async def broken(*_: object, **__: object) -> None:
                raise BreakError

            whole = desk.catalog.date_versions
            desk.catalog.date_versions = broken  # type: ignore[method-assign]
            with pytest.raises(BreakError):
                await keep(desk, 100)  # the process dies here
            desk.catalog.date_versions = whole  # type: ignore[method-assign]
            removed = await desk.catalog.delete_object(
                desk.ref("k0"),
                version_id=(await desk.catalog.resolve(desk.ref("k0"))).version.id,
                marker_id=desk.world.new_id(),
                grace=GRACE,
                if_due=True,
            )
            assert removed == Deleted(None), "removed by a date that does not hold any more"
            assert await desk.catalog.due() == []
            await desk.catalog.date_versions("t", "plain", page=3)
            desk.advance(97 * DAY)
            assert await desk.catalog.due() == []
            desk.advance(2 * DAY)
            assert len(await desk.catalog.due(limit=4)) == 4
            page = await desk.catalog.due(limit=4)
            rest = await desk.catalog.due(after=(page[-1].expires, page[-1].version_id), limit=100)
            assert len({due.version_id for due in [*page, *rest]}) == 10

    run(story())


def test_writers_and_a_change_of_retention_at_once(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            await desk.put("first")

            async def writer(number: int) -> None:
                for turn in range(6):
                    await desk.put(f"k{number}-{turn}")

            await asyncio.gather(*(writer(number) for number in range(6)), keep(desk, 5), keep(desk, 9))
            days = (await desk.catalog.bucket("t", "plain")).settings.retention_days
            assert days in (5, 9)
            desk.advance(days * DAY - 60)
            assert await desk.catalog.due() == []
            desk.advance(120)
            assert len(await desk.catalog.due()) == 37

    run(story())
