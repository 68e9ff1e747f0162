"""Ranges of versions: together they are all of them, each once, and about as many in each."""

from __future__ import annotations

import pytest

from holdfast.core.body import Body
from holdfast.core.clock import Environment
from holdfast.core.errors import InvalidRequestError, NotFoundError
from holdfast.core.jobs import Part
from holdfast.core.types import Principal
from holdfast.engine.engine import Engine
from holdfast.jobs import ranges
from holdfast.jobs.ranges import FIRST, LAST, page_of, pages, place_of, split, told
from tests.helpers import engine_on, memory_store, run

pytestmark = pytest.mark.engine


async def filled(engine: Engine) -> None:
    """Two tenants whose buckets lie between each other: large, small, empty, with old versions."""
    for name in ("t", "u"):
        if name not in {one.name for one in await engine.catalog.tenants()}:
            await engine.catalog.create_tenant(name)
    for number, count in enumerate((60, 1, 0, 3, 2, 5)):
        for tenant in ("t", "u"):
            session = engine.session(Principal("p", tenant, "admin"))
            await session.create_bucket(f"b{number}-{tenant}", versioning=number == 0)
            for key in range(count):
                await session.put(f"b{number}-{tenant}", f"k{key:03}", Body.of_bytes(b"x"))
    session = engine.session(Principal("p", "t", "admin"))
    for key in range(0, 60, 2):
        await session.put("b0-t", f"k{key:03}", Body.of_bytes(b"y"))
    await session.delete("b0-t", "k001")


async def seen(engine: Engine, tenant: str = "", bucket: str = "", *, parts: int = 8) -> list[list[str]]:
    """The ids of the versions of each range, as steps of a job would come upon them."""
    found = []
    for number, one in enumerate(await split(engine, tenant=tenant, bucket=bucket, parts=parts)):
        part, mine = Part("j", number, one.start, one.end), []
        while not part.done:
            page = await page_of(engine, part, tenant=tenant, bucket=bucket, limit=7)
            assert len(page.versions) <= 7
            mine += [version.version_id for version in page.versions]
            part = Part("j", number, one.start, one.end, page.cursor, page.done)
        whole = [
            version.version_id
            async for page in pages(engine, one, tenant=tenant, bucket=bucket)
            for version in page.versions
        ]
        assert whole == mine
        found.append(mine)
    return found


def test_ranges_hold_every_version_once(catalog_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "_LEAST", 10)

    async def story() -> None:
        async with engine_on(catalog_url, memory_store("one", Environment())) as (engine, _):
            await filled(engine)
            everything = await engine.catalog.held_versions()
            for tenant, bucket in (
                ("", ""),
                ("t", ""),
                ("u", ""),
                ("t", "b0-t"),
                ("u", "b3-u"),
                ("t", "b2-t"),
            ):
                wanted = [
                    one.version_id
                    for one in everything.versions
                    if tenant in ("", one.ref.tenant) and bucket in ("", one.ref.bucket)
                ]
                found = await seen(engine, tenant, bucket)
                assert sorted(one for mine in found for one in mine) == sorted(wanted), (tenant, bucket)
                assert len(found) >= 1
            large = await seen(engine, "t", "b0-t", parts=6)
            assert 5 <= len(large) <= 8
            assert max(map(len, large)) <= 2 * 90 // 6
            assert len(await seen(engine, "t", "b3-t")) == 1
            items = [one.items for one in await split(engine, tenant="t", bucket="b0-t", parts=6)]
            assert sum(number or 0 for number in items) == 90
            with pytest.raises(NotFoundError):
                await split(engine, tenant="t", bucket="nothing")

    run(story())


def test_the_buckets_of_others_are_passed_over(catalog_url: str) -> None:
    async def story() -> None:
        async with engine_on(catalog_url, memory_store("one", Environment())) as (engine, _):
            await filled(engine)
            stretch = (await split(engine, tenant="t"))[0]
            count = 0
            async for page in pages(engine, stretch, tenant="t", limit=10):
                count += 1
                assert all(version.ref.tenant == "t" for version in page.versions)
            assert count < 20, "sixty versions of another tenant were not read ten by ten"

    run(story())


def test_places_as_text() -> None:
    for place in ((1, "k", 2), (3, "a.b.c", 0), (7, "", 1), LAST):
        assert place_of(told(place)) == place
    assert place_of("") == FIRST
    assert place_of("", empty=LAST) == LAST
    for wrong in ("x", "1", "1.k", "-1.2.k", "1.٣.k"):
        with pytest.raises(InvalidRequestError):
            place_of(wrong)
