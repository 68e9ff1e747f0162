"""A listing of versions is what brute force finds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.catalog import listing_versions
from holdfast.core.types import VersionPage
from tests.engine.catalog.model import Row, versions_page
from tests.engine.catalog.support import desk_at, run
from tests.engine.catalog.test_listing import ALPHABET, DELIMITERS, EDGES, Shelf

pytestmark = pytest.mark.engine

KEYS = st.text(ALPHABET[:6], min_size=1, max_size=4)
MANY = settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture
def shelf(catalog_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shelf]:
    monkeypatch.setattr(listing_versions, "_STRETCH", 3)
    shelf = Shelf(catalog_url)
    yield shelf
    shelf.close()


def history(shelf: Shelf, keys: list[str]) -> tuple[str, list[Row]]:
    """Return a bucket with a version per mention of a key (every third a delete marker), and its rows."""

    async def write() -> tuple[str, list[Row]]:
        shelf.count += 1
        bucket, rows = f"history-{shelf.count}", []
        await shelf.desk.catalog.create_bucket("t", bucket, versioning=True)
        for place, key in enumerate(keys):
            if place % 3 == 2:
                id_ = str((await shelf.desk.delete(key, bucket)).version_id)
            else:
                id_ = (await shelf.desk.put(key, bucket)).id
            rows.append((key, sum(key == row[0] for row in rows) + 1, id_))
        return bucket, rows

    return shelf.runner.run(write())


def page_of(
    shelf: Shelf, bucket: str, prefix: str, delimiter: str, key: str, version: str, limit: int
) -> VersionPage:
    return shelf.runner.run(
        shelf.desk.catalog.list_versions(
            "t",
            bucket,
            prefix=prefix,
            delimiter=delimiter,
            key_marker=key,
            version_marker=version,
            limit=limit,
        )
    )


def shown(page: VersionPage) -> tuple[list[str], list[str], str, str, bool]:
    return (
        [item.id for item in page.items],
        list(page.prefixes),
        page.next_key,
        page.next_version,
        page.truncated,
    )


@MANY
@given(st.lists(KEYS, max_size=14), EDGES, DELIMITERS, st.sampled_from([0, 1, 2, 5, 1000]), st.data())
def test_a_page_is_what_brute_force_finds(
    shelf: Shelf, keys: list[str], prefix: str, delimiter: str, limit: int, data: st.DataObject
) -> None:
    bucket, rows = history(shelf, keys)
    markers = [("", ""), *[(key, "") for key, _, _ in rows], *[(key, id_) for key, _, id_ in rows]]
    for _ in range(6):
        key, version = data.draw(st.sampled_from(markers))
        case = (prefix, delimiter, key, version, limit)
        assert shown(page_of(shelf, bucket, *case)) == versions_page(rows, *case), case


@MANY
@given(st.lists(KEYS, max_size=14), DELIMITERS, st.sampled_from([1, 2, 3]))
def test_pages_together_are_the_whole(shelf: Shelf, keys: list[str], delimiter: str, limit: int) -> None:
    bucket, rows = history(shelf, keys)
    seen: tuple[list[str], list[str]] = ([], [])
    key = version = ""
    newest = {row[0]: row[2] for row in rows}
    for _ in range(40):
        page = page_of(shelf, bucket, "", delimiter, key, version, limit)
        assert all(item.current == (newest[item.ref.key] == item.id) for item in page.items)
        seen[0].extend(item.id for item in page.items)
        seen[1].extend(page.prefixes)
        if not page.truncated:
            break
        key, version = page.next_key, page.next_version
    assert seen == versions_page(rows, "", delimiter, "", "", 10_000)[:2]


def test_a_marker_that_is_gone_meanwhile_loses_nothing(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            made = []
            for _ in range(5):
                made.append(await desk.put("k", "kept"))
                desk.advance(1)
            page = await desk.catalog.list_versions("t", "kept", limit=2)
            assert page.next_version == made[3].id
            await desk.delete("k", "kept", made[3].id)
            rest = await desk.catalog.list_versions(
                "t", "kept", key_marker="k", version_marker=page.next_version
            )
            assert [item.id for item in rest.items] == [made[2].id, made[1].id, made[0].id]

    run(story())
