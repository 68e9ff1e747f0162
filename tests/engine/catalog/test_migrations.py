"""The numbered steps, summed up, are the schema; they run once, whoever calls; a wrong database is refused."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import asyncpg
import pytest
from alembic.script import ScriptDirectory
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from holdfast.catalog import open_catalog, schema, upgrade, upgrading
from holdfast.catalog.upgrading import known, newest
from holdfast.core.errors import ConfigError
from tests.engine.catalog.support import run
from tests.servers_postgres import drop, empty_database

pytestmark = pytest.mark.engine


@pytest.fixture(params=["sqlite", "postgresql"])
def catalog_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without a schema."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'catalog.db'}"
        return
    url = empty_database()
    yield url
    drop(url)


def statements(dialect: Any) -> list[str]:
    """The schema of the code as DDL, not by way of the steps."""
    made: list[str] = []
    for table in schema.metadata.sorted_tables:
        made.append(str(CreateTable(table).compile(dialect=dialect)))
        made += [str(CreateIndex(index).compile(dialect=dialect)) for index in sorted(table.indexes, key=str)]
    return made


def pieces_of(sql: str) -> list[str]:
    """The columns and constraints of a CREATE TABLE in one order: a column that was added stands after constraints."""
    flat = re.sub(r"\s+", " ", sql).strip()
    head, body = flat.split("(", 1)
    body, tail = body.rsplit(")", 1)
    return [head, *sorted(piece.strip() for piece in re.split(r",(?![^()]*\))", body)), tail]


def sqlite_dump(path: Path) -> list[tuple[str, str, str]]:
    connection = apsw.Connection(str(path))
    rows = connection.execute(
        "SELECT type, name, coalesce(sql, '') FROM sqlite_master ORDER BY type, name"
    ).fetchall()
    connection.close()
    return [
        (kind, name, " ".join(pieces_of(sql)) if kind == "table" else re.sub(r"\s+", " ", sql).strip())
        for kind, name, sql in rows
        if "alembic_version" not in name
    ]


def test_the_steps_make_the_schema_on_sqlite(tmp_path: Path) -> None:
    run(upgrade(f"sqlite:///{tmp_path / 'steps.db'}"))
    connection = apsw.Connection(str(tmp_path / "schema.db"))
    for statement in statements(sqlite.dialect()):
        connection.execute(statement)
    connection.close()
    dump = sqlite_dump(tmp_path / "steps.db")
    assert dump == sqlite_dump(tmp_path / "schema.db")
    assert len([row for row in dump if row[0] == "table"]) > len(
        schema.metadata.tables
    )  # sqlite_sequence too


#: The tables of the queue that wakes workers are made by its library, which knows their steps.
COLUMNS = """
    SELECT c.relname, a.attname, a.attnum, format_type(a.atttypid, a.atttypmod), a.attnotnull, l.collname,
           pg_get_expr(d.adbin, d.adrelid)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_collation l ON l.oid = a.attcollation
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE n.nspname = 'public' AND c.relkind = 'r' AND c.relname <> 'alembic_version'
      AND c.relname NOT LIKE 'holdfast_pgqueuer%' ORDER BY 1, 3
"""
INDEXES = """
    SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'alembic_version'
      AND tablename NOT LIKE 'holdfast_pgqueuer%' ORDER BY 1
"""
CONSTRAINTS = """
    SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text <> 'alembic_version'
      AND conrelid::regclass::text NOT LIKE 'holdfast_pgqueuer%' ORDER BY 1, 2
"""


async def postgres_dump(url: str) -> list[Any]:
    connection = await asyncpg.connect(url)
    dump = [
        [tuple(row) for row in await connection.fetch(query)] for query in (COLUMNS, INDEXES, CONSTRAINTS)
    ]
    await connection.close()
    return dump


def test_the_steps_make_the_schema_on_postgresql() -> None:
    async def story() -> None:
        by_steps, by_schema = empty_database(), empty_database()
        await upgrade(by_steps)
        connection = await asyncpg.connect(by_schema)
        for statement in statements(postgresql.dialect()):
            await connection.execute(statement)
        await connection.close()
        dump = await postgres_dump(by_steps)
        assert dump == await postgres_dump(by_schema)
        keys = {(row[0], row[1]): row[5] for row in dump[0]}
        assert keys["objects", "key"] == keys["versions", "key"] == keys["uploads", "key"] == "C"

    run(story())


def test_a_forgotten_index_is_noticed(tmp_path: Path) -> None:
    """The comparison above can fail."""
    run(upgrade(f"sqlite:///{tmp_path / 'steps.db'}"))
    before = sqlite_dump(tmp_path / "steps.db")
    connection = apsw.Connection(str(tmp_path / "steps.db"))
    connection.execute("DROP INDEX ix_replicas_doomed")
    connection.close()
    assert sqlite_dump(tmp_path / "steps.db") != before


def test_steps_are_numbered_without_gaps() -> None:
    assert list(known()) == [f"{number:04}" for number in range(1, len(known()) + 1)]
    assert newest() == known()[-1]
    steps = ScriptDirectory.from_config(upgrading._config())
    assert list(known()) == [str(step.revision) for step in steps.walk_revisions()][::-1]


def test_whoever_upgrades_at_the_same_time_waits(catalog_url: str) -> None:
    async def story() -> None:
        await asyncio.gather(*[upgrade(catalog_url) for _ in range(4)])
        catalog = await open_catalog(catalog_url)
        assert await catalog.tenants() == []
        await catalog.close()

    run(story())


def test_a_new_file_that_another_is_writing_is_waited_for(sqlite_url: str, tmp_path: Path) -> None:
    """Until it keeps a write-ahead log, SQLite refuses at once whoever meets a writer there, and waits for nobody."""

    async def story() -> None:
        other = apsw.Connection(str(tmp_path / "catalog.db"))
        other.execute("BEGIN IMMEDIATE")
        upgrading = asyncio.create_task(upgrade(sqlite_url))
        await asyncio.sleep(0.3)
        assert not upgrading.done()
        other.execute("COMMIT")
        await upgrading
        other.close()
        await (await open_catalog(sqlite_url)).close()

    run(story())


def test_processes_that_upgrade_at_the_same_time_wait(catalog_url: str) -> None:
    code = "import asyncio, sys; from holdfast.catalog import upgrade; asyncio.run(upgrade(sys.argv[1]))"

    async def story() -> None:
        started = [
            await asyncio.create_subprocess_exec(sys.executable, "-c", code, catalog_url) for _ in range(3)
        ]
        assert [await process.wait() for process in started] == [0, 0, 0]
        await (await open_catalog(catalog_url)).close()

    run(story())


def test_an_upgrade_is_asked_for_not_assumed(catalog_url: str) -> None:
    async def story() -> None:
        with pytest.raises(ConfigError, match="holdfast catalog upgrade"):
            await open_catalog(catalog_url)
        await (await open_catalog(catalog_url, upgrade=True)).close()
        await set_step(catalog_url, "9999")
        with pytest.raises(ConfigError, match="newer"):
            await open_catalog(catalog_url)
        with pytest.raises(ConfigError, match="newer"):
            await open_catalog(catalog_url, upgrade=True)
        await set_step(catalog_url, newest())
        await upgrade(catalog_url)
        await (await open_catalog(catalog_url)).close()

    run(story())


async def set_step(url: str, step: str) -> None:
    change = f"UPDATE alembic_version SET version_num = '{step}'"
    if url.startswith("sqlite"):
        connection = apsw.Connection(url.removeprefix("sqlite:///"))
        connection.execute(change)
        connection.close()
    else:
        other = await asyncpg.connect(url)
        await other.execute(change)
        await other.close()


@pytest.mark.parametrize("url", ["mysql://host/db", "catalog.db", "sqlite:///", "sqlite:///:memory:", ""])
def test_a_wrong_url_is_named_without_showing_it(url: str) -> None:
    with pytest.raises(ConfigError):
        run(open_catalog(url))
    with pytest.raises(ConfigError):
        run(upgrade(url))


def test_the_password_in_a_url_is_never_shown() -> None:
    for url in (
        "postgresql://u:sesame@127.0.0.1:1/db",
        "postgresql://u:sesame@127.0.0.1:port/db",
        "mysql://u:sesame@h",
    ):
        with pytest.raises(Exception) as caught:
            run(open_catalog(url))
        assert "sesame" not in str(caught.value) + repr(caught.value)


OLDER = {
    "plain": ('{"a": "1"}', '{"m": "x"}'),
    "quoted": ('{"say \\"hi\\"": "back\\\\slash"}', ""),
    "long": ("", '{"long": "' + "ü" * 3000 + '"}'),
    "none": ("", ""),
}


def test_versions_from_before_are_found_by_their_tags(catalog_url: str) -> None:
    """What a database of the first step held is indexed on the way, as new versions are."""
    import json

    from holdfast.catalog.terms import terms_of
    from holdfast.core.search import Search

    first = script_until_first("sqlite" if catalog_url.startswith("sqlite") else "postgresql")
    rows = [
        "INSERT INTO tenants (name, created) VALUES ('t', 1)",
        "INSERT INTO buckets (id, tenant, name, created, versioning) VALUES (1, 't', 'old', 1, false)",
        "INSERT INTO usage VALUES (1, 4, 4, 4, 0)",
    ]
    for number, (key, (tags, said)) in enumerate(OLDER.items()):
        tags, said = tags.replace("'", "''"), said.replace("'", "''")
        rows.append(
            "INSERT INTO versions (bucket_id, key, seq, id, size, etag, created, content_type, metadata, tags,"
            " checksum_type, parts, pieces, delete_marker, chunk_size, chunk_crcs)"
            f" VALUES (1, '{key}', 1, 'v{number}', 1, 'e', 1, 'a/b', '{said}', '{tags}', 'FULL_OBJECT', 0, 0, false, 0, '')"
        )
        rows.append(f"INSERT INTO objects VALUES (1, '{key}', 1, 'v{number}', 1)")

    async def story() -> None:
        await execute(catalog_url, [first, *rows])
        catalog = await open_catalog(catalog_url, upgrade=True)
        for key, (tags, said) in OLDER.items():
            wish = Search(tags=json.loads(tags or "{}"), metadata=json.loads(said or "{}"))
            found = await catalog.search("t", "old", wish, after=("", ""), limit=10, budget=1000)
            assert key in [item.ref.key for item in found.items], terms_of(wish.metadata, wish.tags)
            assert len(found.items) == (1 if tags or said else len(OLDER))
        await catalog.close()

    run(story())


def script_until_first(dialect: str) -> str:
    """The SQL text of the first step alone."""
    import io

    from alembic import command

    config, output = upgrading._config(), io.StringIO()
    config.attributes.update(dialect=dialect, output=output)
    command.upgrade(config, "base:0001", sql=True)
    return output.getvalue()


async def execute(url: str, statements: list[str]) -> None:
    """Run SQL text on an empty database."""
    if url.startswith("sqlite:///"):
        connection = apsw.Connection(url.removeprefix("sqlite:///"))
        for statement in statements:
            connection.execute(statement).fetchall()
        connection.close()
        return
    server = await asyncpg.connect(url)
    for statement in statements:
        await server.execute(statement)
    await server.close()
