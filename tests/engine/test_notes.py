"""What drivers remember: in memory and in the catalog alike, shared, compared and swapped, sealed where it is secret."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.catalog import open_catalog
from holdfast.catalog.contract import Catalog
from holdfast.core.clock import Environment
from holdfast.core.errors import ConfigError, InvalidRequestError
from holdfast.core.notes import MAX_VALUE, MemoryNotes, Notes
from holdfast.engine.notes import CatalogNotes
from holdfast.engine.sealing import Sealer

pytestmark = pytest.mark.engine

OLD, NEW = ("k1", b"1" * 32), ("k2", b"2" * 32)


def sealer(*keys: tuple[str, bytes]) -> Sealer:
    return Sealer(keys or (OLD,), Environment())


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Catalog]:
    catalog = await open_catalog(url, environment=Environment(), upgrade=True)
    try:
        yield catalog
    finally:
        await catalog.close()


async def on_both(url: str, story: Callable[[Notes], Awaitable[None]]) -> None:
    await story(MemoryNotes())
    async with opened(url) as catalog:
        await story(CatalogNotes(catalog, "disk", sealer()))


def test_a_note_changes_only_from_what_it_is(catalog_url: str) -> None:
    async def story(notes: Notes) -> None:
        for name in ("id/a", "secret/token"):
            assert await notes.read(name) is None
            assert not await notes.swap(name, b"x", b"y")
            assert await notes.swap(name, None, b"one")
            assert not await notes.swap(name, None, b"two")
            assert await notes.swap(name, b"one", b"two")
            assert await notes.read(name) == b"two"
            assert not await notes.swap(name, b"one", None)
            assert await notes.swap(name, b"two", None)
            assert await notes.read(name) is None
            assert await notes.swap(name, None, b"")
            assert await notes.read(name) == b""

    asyncio.run(on_both(catalog_url, story))


def test_of_many_who_swap_at_once_one_wins(catalog_url: str) -> None:
    async def story(notes: Notes) -> None:
        for name in ("id/a", "secret/token"):
            won = await asyncio.gather(*(notes.swap(name, None, b"%d" % number) for number in range(16)))
            assert won.count(True) == 1
            assert await notes.read(name) == b"%d" % won.index(True)

    asyncio.run(on_both(catalog_url, story))


def test_notes_are_listed_in_byte_order(catalog_url: str) -> None:
    names = ["id/a", "id/b", "id/B", "id/é", "id", "ie", "id/a/b"]

    async def story(notes: Notes) -> None:
        for name in names:
            assert await notes.swap(name, None, name.encode())
        found = [(name, value) async for name, value in notes.list("id/")]
        wanted = sorted((name for name in names if name.startswith("id/")), key=str.encode)
        assert found == [(name, name.encode()) for name in wanted]
        assert [name async for name, _ in notes.list("id/", after="id/a/b")] == ["id/b", "id/é"]
        assert [name async for name, _ in notes.list()] == sorted(names, key=str.encode)

    asyncio.run(on_both(catalog_url, story))


def test_a_listing_has_as_many_pages_as_it_needs(catalog_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.engine.notes._PAGE", 3)

    async def story() -> None:
        async with opened(catalog_url) as catalog:
            notes = CatalogNotes(catalog, "disk", sealer())
            for number in range(9):
                await notes.swap(f"id/{number}", None, b"")
            assert [name async for name, _ in notes.list()] == [f"id/{number}" for number in range(9)]

    asyncio.run(story())


def test_stores_do_not_see_each_others_notes(catalog_url: str) -> None:
    async def story() -> None:
        async with opened(catalog_url) as catalog:
            one, other = (CatalogNotes(catalog, name, sealer()) for name in ("one", "other"))
            assert await one.swap("secret/token", None, b"mine")
            assert await other.read("secret/token") is None
            raw = await catalog.store_note("one", "secret/token")
            assert raw is not None
            assert b"mine" not in raw
            await catalog.swap_store_note("other", "secret/token", None, raw)
            with pytest.raises(ConfigError):  # sealed for another store
                await other.read("secret/token")

    asyncio.run(story())


def test_secret_notes_are_sealed_anew_with_the_first_key(catalog_url: str) -> None:
    async def story() -> None:
        async with opened(catalog_url) as catalog:
            before = CatalogNotes(catalog, "disk", sealer(OLD))
            await before.swap("secret/token", None, b"t")
            await before.swap("plain", None, b"p")
            both = CatalogNotes(catalog, "disk", sealer(NEW, OLD))
            assert await both.read("secret/token") == b"t"
            assert await both.rewrap() == 1
            assert await both.rewrap() == 0
            after = CatalogNotes(catalog, "disk", sealer(NEW))
            assert (await after.read("secret/token"), await after.read("plain")) == (b"t", b"p")
            with pytest.raises(ConfigError, match="k2"):
                await before.read("secret/token")

    asyncio.run(story())


def test_a_note_has_a_bound(catalog_url: str) -> None:
    async def story() -> None:
        async with opened(catalog_url) as catalog:
            notes = CatalogNotes(catalog, "disk", sealer())
            assert await notes.swap("big", None, b"x" * MAX_VALUE)
            with pytest.raises(InvalidRequestError):
                await notes.swap("bigger", None, b"x" * (MAX_VALUE + 1))

    asyncio.run(story())


_VALUES = st.sampled_from([None, b"", b"a", b"b"])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["a", "b", "secret/a"]), _VALUES, _VALUES), max_size=12))
def test_the_catalog_answers_as_memory_does(steps: list[tuple[str, bytes | None, bytes | None]]) -> None:
    async def story(url: str) -> None:
        async with opened(url) as catalog:
            kept, plain = CatalogNotes(catalog, "disk", sealer()), MemoryNotes()
            for name, old, new in steps:
                assert await kept.swap(name, old, new) == await plain.swap(name, old, new)
            assert [one async for one in kept.list()] == [one async for one in plain.list()]

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(story(f"sqlite:///{folder}/catalog.db"))
