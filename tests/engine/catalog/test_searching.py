"""Searches: what they find, in which order, what a page may cost, and that terms live as long as their version."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from holdfast.catalog.contract import Said
from holdfast.catalog.searching import BY_TERM
from holdfast.catalog.terms import tag_term, terms_of
from holdfast.core.errors import ConflictError, NotFoundError
from holdfast.core.search import Search
from holdfast.core.types import Version
from tests.engine.catalog.support import Desk, desk_at, run

pytestmark = pytest.mark.engine


async def keys(desk: Desk, wish: Search, bucket: str = "plain", **how: Any) -> list[str]:
    """All keys that a search finds, page by page."""
    found: list[str] = []
    place: tuple[str, str] | None = ("", "")
    while place is not None:
        part = await desk.catalog.search(
            "t", bucket, wish, after=place, limit=how.get("limit", 1000), budget=how.get("budget", 10_000)
        )
        assert len(part.items) <= how.get("limit", 1000)
        found += [item.ref.key for item in part.items]
        place = part.place
    return found


async def fill(desk: Desk, count: int = 30, bucket: str = "plain") -> None:
    for number in range(count):
        await desk.put(
            f"{'even' if number % 2 == 0 else 'odd'}/{number:03}.{'png' if number % 3 else 'csv'}",
            bucket,
            size=number,
            content_type="image/png" if number % 3 else "text/csv; charset=utf-8",
            tags={"third": str(number % 3), "all": "yes"},
            metadata={"n": str(number)} if number < 10 else {},
        )


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        (Search(), lambda n: True),
        (Search(prefix="odd/"), lambda n: n % 2),
        (Search(suffix=".csv"), lambda n: n % 3 == 0),
        (Search(tags={"third": "1"}), lambda n: n % 3 == 1),
        (Search(tags={"third": "1"}, prefix="even/"), lambda n: n % 3 == 1 and n % 2 == 0),
        (Search(tags={"all": "yes", "third": "2"}), lambda n: n % 3 == 2),
        (Search(tags={"third": "2"}, metadata={"n": "5"}), lambda n: n == 5),
        (Search(metadata={"n": "50"}), lambda n: False),
        (Search(tags={"third": ""}), lambda n: False),
        (Search(content_type="image/*"), lambda n: n % 3),
        (Search(content_type="TEXT/csv"), lambda n: n % 3 == 0),
        (Search(min_size=10, max_size=12), lambda n: 10 <= n <= 12),
    ],
)
@pytest.mark.parametrize("limit", [3, 1000])
def test_each_condition(catalog_url: str, wish: Search, expected: Any, limit: int) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            await fill(desk)
            everything = await keys(desk, Search())
            assert everything == sorted(everything, key=str.encode)
            found = await keys(desk, wish, limit=limit)
            assert found == [key for key in everything if expected(int(key.split("/")[1][:3]))]

    run(story())


def test_times(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            made = []
            for name in "abc":
                made.append(await desk.put(name))
                desk.advance(1)
            assert await keys(desk, Search(since=made[1].created)) == ["b", "c"]
            assert await keys(desk, Search(until=made[1].created)) == ["a"]
            assert await keys(desk, Search(since=made[1].created, until=made[2].created)) == ["b"]

    run(story())


def test_only_the_current_version_is_found_and_a_page_looks_at_so_many_rows(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            for number in range(200):  # many old versions with the tag
                await desk.put("busy", "kept", tags={"a": "1"}, size=number)
            await desk.put("busy", "kept", tags={"a": "2"})
            await desk.put("calm", "kept", tags={"a": "1"})
            assert await keys(desk, Search(tags={"a": "1"}), "kept") == ["calm"]
            part = await desk.catalog.search(
                "t", "kept", Search(tags={"a": "1"}), after=("", ""), limit=10, budget=64
            )
            assert part.examined == 64
            assert part.items == []
            assert part.place is not None
            assert part.place[0] == "busy"
            assert await keys(desk, Search(tags={"a": "1"}), "kept", budget=64, limit=10) == ["calm"]
            assert await keys(desk, Search(suffix="m"), "kept", budget=1) == ["calm"]

    run(story())


def test_terms_live_as_long_as_their_version(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            wish = Search(tags={"a": "1"})
            first = await desk.put("k", tags={"a": "1"}, metadata={"m": "x"})
            assert await keys(desk, wish) == ["k"]
            await desk.put("k", tags={"a": "2"})  # overwritten
            assert await keys(desk, wish) == []
            await desk.delete("k")
            old = await desk.put("k", "kept", tags={"a": "1"})
            new = await desk.put("k", "kept")
            assert await keys(desk, wish, "kept") == []
            await desk.delete("k", "kept", new.id)  # the old one is current again
            assert await keys(desk, wish, "kept") == ["k"]
            await desk.delete("k", "kept", old.id)
            assert await keys(desk, wish, "kept") == []
            with pytest.raises(NotFoundError):
                await desk.catalog.update_version(first, Said("a/b", {}, {"a": "1"}))
            assert await count_terms(catalog_url, desk) == 0

    run(story())


def test_what_an_upload_in_parts_says_is_found_too(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            upload = await desk.upload("big")
            part, _ = await desk.part(upload, 1)
            await desk.catalog.complete_upload(upload.id, desk.assembled(upload, [part]), grace=1)
            assert await keys(desk, Search(tags={"c": "d"}, metadata={"a": "b"})) == ["big"]

    run(story())


def test_long_and_odd_terms(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            odd = {"long": "v" * 6000, "ключ": "знач=ение&", "e": "", "emoji": "🦭" * 200}
            await desk.put("odd", metadata=odd)
            for pair in odd.items():
                assert await keys(desk, Search(metadata=dict([pair]))) == ["odd"]
            assert await keys(desk, Search(metadata={"long": "v" * 5999})) == []
            assert await keys(desk, Search(tags={"e": ""})) == []  # a tag is not metadata

    run(story())


def test_what_is_said_can_be_changed_and_is_found_by_then(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            made = await desk.put("k", tags={"a": "1"}, content_type="text/plain")
            said = Said("text/csv", {"m": "x"}, {"b": "2"})
            changed = await desk.catalog.update_version(made, said)
            assert changed == replace(made, content_type="text/csv", metadata={"m": "x"}, tags={"b": "2"})
            assert (await desk.catalog.resolve(made.ref)).version == changed
            assert await keys(desk, Search(tags={"a": "1"})) == []
            assert await keys(desk, Search(tags={"b": "2"}, metadata={"m": "x"})) == ["k"]
            with pytest.raises(ConflictError):  # from what it was before
                await desk.catalog.update_version(made, Said("a/b", {}, {}))
            rows = [row for row in await desk.catalog.audit("t") if row.action == "update"]
            assert [(row.version_id, row.detail) for row in rows] == [
                (made.id, {"changed": "content_type,metadata,tags"})
            ]
            await desk.check_counters()

    run(story())


def test_two_editors_at_once(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            made = await desk.put("k")
            ends = await asyncio.gather(
                *[desk.catalog.update_version(made, Said("a/b", {"by": str(n)}, {})) for n in range(8)],
                return_exceptions=True,
            )
            won = [end for end in ends if isinstance(end, Version)]
            assert len(won) == 1
            assert all(isinstance(end, Version | ConflictError) for end in ends)
            assert (await desk.catalog.resolve(made.ref)).version == won[0]
            by = won[0].metadata["by"]
            assert await keys(desk, Search(metadata={"by": by})) == ["k"]
            assert await count_terms(catalog_url, desk) == 1

    run(story())


def test_facts_of_a_file(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            desk.stores = ("one", "two")
            first = await desk.put("k", "kept", expires=(await desk.catalog.now()) + 10)
            await desk.put("k", "kept")
            await desk.delete("k", "kept")
            facts = await desk.catalog.file_facts("t", first.id)
            assert (facts.versions, facts.replicas) == (2, 2)

    run(story())


def test_a_term_is_sought_and_never_scanned_for(tmp_path: Any) -> None:
    url = f"sqlite:///{tmp_path / 'catalog.db'}"

    async def story() -> None:
        async with desk_at(url) as desk:
            await fill(desk)

    run(story())
    params = {"in_bucket": 1, "term": tag_term("third", "1"), "after_key": "", "after_version": ""}
    with sqlite3.connect(tmp_path / "catalog.db") as connection:
        plan = connection.execute(
            f"EXPLAIN QUERY PLAN {BY_TERM.sqlite[0]}", {**params, "upper": "z", "rows": 10}
        ).fetchall()
    steps = [row[3] for row in plan]
    sought = "SEARCH terms USING PRIMARY KEY (bucket_id=? AND term=? AND (key,version_id)>(?,?)"
    assert any(step.startswith(sought) for step in steps), steps
    assert not any(step.startswith("SCAN") and "page" not in step for step in steps), steps


def test_postgresql_seeks_a_term() -> None:
    import asyncpg  # type: ignore[import-untyped]

    from tests.servers_postgres import fresh_database

    url = fresh_database()

    async def story() -> None:
        async with desk_at(url) as desk:
            await fill(desk, 3)
        connection = await asyncpg.connect(url.replace("postgresql+asyncpg", "postgresql"))
        try:
            await connection.execute(
                "INSERT INTO terms SELECT 1, 't' || (n % 500), 'k' || n, 'v' || n FROM generate_series(1, 50000) n"
            )
            await connection.execute("ANALYZE terms")
            sql, names = BY_TERM.postgres
            given = {"in_bucket": 1, "term": "t7", "after_key": "k3", "after_version": "", "upper": "z"}
            values = [({**given, "rows": 10})[name] for name in names]
            plan = await connection.fetch(f"EXPLAIN {sql}", *values)
        finally:
            await connection.close()
        text = "\n".join(row[0] for row in plan)
        assert "pk_terms on terms" in text, text
        assert "Seq Scan on terms" not in text, text
        assert "ROW(key, version_id) >" in text, text

    run(story())


async def count_terms(url: str, desk: Desk) -> int:
    """How many terms there are, by looking at the table."""
    from sqlalchemy import func, select

    from holdfast.catalog.schema import terms
    from holdfast.catalog.statements import Statement
    from holdfast.catalog.transaction import Attempt, Steps

    statement = Statement(select(func.count()).select_from(terms))

    def steps(attempt: Attempt) -> Steps[int]:
        rows: Sequence[Any] = yield statement()
        return int(rows[0][0])

    return await desk.catalog._runner.read(steps)


def test_terms_are_told_apart() -> None:
    assert len(terms_of({"a": "b"}, {"a": "b"})) == 2
    assert tag_term("a", "bc") != tag_term("ab", "c")
    assert len(tag_term("a", "v" * 10_000)) == 258
