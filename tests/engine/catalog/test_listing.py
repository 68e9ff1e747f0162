"""A listing is what brute force finds, whatever the keys, the delimiter and the marker; and it costs a page."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from holdfast.catalog import listing, open_catalog
from holdfast.core.clock import Environment
from holdfast.core.errors import InvalidRequestError, NotFoundError
from holdfast.core.types import ListPage
from tests.engine.catalog.model import bytewise, objects_page
from tests.engine.catalog.support import Desk, desk_at, run

pytestmark = pytest.mark.engine

#: Characters where byte order, folding or the step to the next one could go wrong.
ALPHABET = "ab/-é\ud7ff\ue000\U0001f600\U0010ffff%_A"
KEYS = st.text(ALPHABET, min_size=1, max_size=6)
EDGES = st.one_of(st.just(""), st.text(ALPHABET, max_size=4))
DELIMITERS = st.sampled_from(
    ["", "/", "/", "/", "-", "//", "a/", "ab", "\U0010ffff", "é", "\ud7ff", "/\U0010ffff"]
)
CASES = st.lists(
    st.tuples(EDGES, DELIMITERS, EDGES, st.sampled_from([0, 1, 2, 3, 5, 1000])), min_size=4, max_size=12
)


class Shelf:
    """One catalog for many examples: a bucket per example is cheap, a catalog is not."""

    def __init__(self, url: str) -> None:
        self.runner = asyncio.Runner()
        self._context = desk_at(url)
        self.desk: Desk = self.runner.run(self._context.__aenter__())
        self.count = 0

    def close(self) -> None:
        self.runner.run(self._context.__aexit__(None, None, None))
        self.runner.close()

    def filled(self, keys: set[str], *, versioned: bool = False) -> str:
        """Return the name of a new bucket that holds `keys`."""

        async def fill() -> str:
            self.count += 1
            name = f"example-{self.count}"
            await self.desk.catalog.create_bucket("t", name, versioning=versioned)
            await asyncio.gather(*[self.desk.put(key, name) for key in sorted(keys)])
            return name

        return self.runner.run(fill())

    def page(self, bucket: str, prefix: str, delimiter: str, marker: str, limit: int) -> ListPage:
        return self.runner.run(
            self.desk.catalog.list_objects(
                "t", bucket, prefix=prefix, delimiter=delimiter, marker=marker, limit=limit
            )
        )


@pytest.fixture
def shelf(catalog_url: str) -> Iterator[Shelf]:
    shelf = Shelf(catalog_url)
    yield shelf
    shelf.close()


@pytest.fixture(params=["small steps", "real steps"])
def steps(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With steps of a few rows, a handful of keys goes through all that a million goes through."""
    if request.param == "small steps":
        monkeypatch.setattr(listing, "_PROBE", 2)
        monkeypatch.setattr(listing, "_HOPS", 2)


def shown(page: ListPage) -> tuple[list[str], list[str], str, bool]:
    return [item.ref.key for item in page.items], list(page.prefixes), page.next_marker, page.truncated


MANY = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.usefixtures("steps")
@MANY
@given(st.sets(KEYS, max_size=25), CASES)
@example(
    {"a/b", "a/c", "a/d", "a/e", "b"},
    [("", "/", "", 1), ("", "/", "a/", 5), ("", "/", "a/c", 5), ("a/", "/", "", 5)],
)
@example(
    {"\U0010ffffa", "\U0010ffff", "a"},
    [("\U0010ffff", "", "", 5), ("", "\U0010ffff", "", 1), ("", "\U0010ffff", "\U0010ffff", 5)],
)
@example(
    {"\ud7ff1", "\ud7ff2", "\ue0001"},
    [("\ud7ff", "", "", 5), ("", "\ud7ff", "", 5), ("", "\ud7ff", "\ud7ff", 5)],
)
def test_a_page_is_what_brute_force_finds(
    shelf: Shelf, keys: set[str], cases: list[tuple[str, str, str, int]]
) -> None:
    bucket = shelf.filled(keys)
    for case in cases:
        assert shown(shelf.page(bucket, *case)) == objects_page(keys, *case), case


@pytest.mark.usefixtures("steps")
@MANY
@given(st.sets(KEYS, max_size=25), EDGES, DELIMITERS, st.sampled_from([1, 2, 3, 7]))
def test_pages_together_are_the_whole(
    shelf: Shelf, keys: set[str], prefix: str, delimiter: str, limit: int
) -> None:
    bucket, marker = shelf.filled(keys), ""
    seen: tuple[list[str], list[str]] = ([], [])
    for _ in range(60):
        page = shelf.page(bucket, prefix, delimiter, marker, limit)
        assert len(page.items) + len(page.prefixes) <= limit
        seen[0].extend(item.ref.key for item in page.items)
        seen[1].extend(page.prefixes)
        if not page.truncated:
            break
        marker = page.next_marker
    assert seen == objects_page(keys, prefix, delimiter, "", 10_000)[:2]


def test_big_prefixes_and_many_prefixes(shelf: Shelf) -> None:
    keys = {f"big/{number:04}" for number in range(700)}
    keys |= {f"many/{number:03}/{leaf}" for number in range(300) for leaf in range(3)}
    keys |= {f"mixed/{number:03}{'/x' if number % 2 else ''}" for number in range(300)} | {"last"}
    bucket = shelf.filled(keys)
    for case in (
        ("", "/", "", 1000),
        ("many/", "/", "", 1000),
        ("many/", "/", "many/100/", 150),
        ("mixed/", "/", "", 1000),
        ("mixed/", "/", "mixed/101/", 77),
        ("", "", "", 1000),
        ("", "", "many/150/1", 1000),
        ("big/", "/", "big/0300", 400),
    ):
        assert shown(shelf.page(bucket, *case)) == objects_page(keys, *case), case


def test_order_is_by_bytes_and_case_counts(shelf: Shelf) -> None:
    keys = {"a", "B", "é", "Z", "_", "~", "\U0001f600", "\ufffd", "10", "9"}
    page = shelf.page(shelf.filled(keys), "", "", "", 1000)
    assert [item.ref.key for item in page.items] == sorted(keys, key=bytewise)


def test_a_listed_object_is_the_resolved_one(shelf: Shelf) -> None:
    bucket = shelf.filled({"one", "two"}, versioned=True)
    newer = shelf.runner.run(shelf.desk.put("one", bucket, size=77, metadata={"a": "b"}))
    shelf.runner.run(shelf.desk.delete("two", bucket))
    page = shelf.page(bucket, "", "", "", 10)
    assert list(page.items) == [newer]


def test_what_cannot_be_a_prefix_is_refused(shelf: Shelf) -> None:
    for bad in ("\0", "a" * 1025, "\ud800"):
        with pytest.raises(InvalidRequestError):
            shelf.page("plain", bad, "", "", 1)
        with pytest.raises(InvalidRequestError):
            shelf.page("plain", "", bad, "", 1)
        with pytest.raises(InvalidRequestError):
            shelf.page("plain", "", "", bad, 1)
    with pytest.raises(NotFoundError):
        shelf.page("nowhere", "", "", "", 1)


def test_a_catalog_may_be_used_from_one_loop_after_the_other(sqlite_url: str) -> None:
    world = Environment.seeded(1)
    catalog = run(open_catalog(sqlite_url, environment=world, upgrade=True))
    desk = Desk(catalog, world)
    run(catalog.create_tenant("t"))
    run(catalog.create_bucket("t", "plain"))
    made = run(desk.put("k"))
    assert run(catalog.resolve(desk.ref("k"))).version == made
    run(catalog.close())
