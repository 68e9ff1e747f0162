"""Measuring what each bucket holds in each store: in steps, whatever is half done, on both databases."""

from __future__ import annotations

import pytest

from holdfast.catalog import using
from holdfast.core.records import StoreUse
from tests.engine.catalog.support import MINUTE, Desk, desk_at, run

pytestmark = pytest.mark.engine


async def measure(desk: Desk) -> dict[tuple[str, str, str], tuple[int, int]]:
    """Measure as the engine does, and return blobs and bytes by store, tenant and bucket."""
    found: dict[tuple[str, int], tuple[int, int]] = {}
    after: str | None = ""
    while after is not None:
        held, after = await desk.catalog.measure_stores(after)
        for row in held:
            blobs, size = found.get(row[:2], (0, 0))
            found[row[:2]] = (blobs + row.blobs, size + row.bytes)
    rows = [(*key, *sums) for key, sums in found.items()]
    await desk.catalog.keep_store_uses(rows, measured=await desk.catalog.now())
    _, uses = await desk.catalog.store_uses()
    return {(use.store, use.tenant, use.bucket): (use.blobs, use.bytes) for use in uses}


@pytest.mark.parametrize("step", [1, 3, using.STEP])
def test_every_copy_is_counted_once(catalog_url: str, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        monkeypatch.setattr(using, "STEP", step)
        async with desk_at(catalog_url) as desk:
            assert await desk.catalog.store_uses() == (None, [])
            for number in range(5):
                await desk.put(f"k{number}", size=10)
            desk.stores = ("one", "two")
            for _ in range(3):
                await desk.put("same", "kept", size=7)
            assert await measure(desk) == {
                ("one", "t", "plain"): (5, 50),
                ("one", "t", "kept"): (3, 21),
                ("two", "t", "kept"): (3, 21),
            }
            for bucket, copies in (("plain", 1), ("kept", 2)):
                usage = await desk.catalog.usage("t", bucket)
                _, uses = await desk.catalog.store_uses()
                assert sum(use.bytes for use in uses if use.bucket == bucket) == copies * usage.bytes

    run(story())


def test_uploads_count_for_their_bucket_and_what_waits_to_go_for_none(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            upload = await desk.upload("big")
            parts = [(await desk.part(upload, number, size=10))[0] for number in (1, 2)]
            await desk.intend(desk.ref("never-committed"), size=1000)
            assert await measure(desk) == {("one", "t", "plain"): (2, 20)}
            await desk.catalog.complete_upload(upload.id, desk.assembled(upload, parts[:1]), grace=MINUTE)
            await desk.put("gone", size=5)
            await desk.delete("gone")
            # The part that was left out waits to be deleted like the rest, but its version tells whose it was.
            assert await measure(desk) == {("one", "t", "plain"): (2, 20), ("one", "", ""): (1, 5)}

    run(story())


def test_a_measurement_takes_the_place_of_the_one_before(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            await desk.put("k", size=5)
            await measure(desk)
            first, uses = await desk.catalog.store_uses()
            assert uses == [StoreUse("one", "t", "plain", 1, 5, first or 0)]
            desk.advance(100)
            await desk.catalog.keep_store_uses([], measured=await desk.catalog.now())
            second, uses = await desk.catalog.store_uses()
            assert uses == []  # nothing was found; when it was looked is known all the same
            assert second == (first or 0) + 100_000_000

    run(story())
