"""What a page of a listing costs: 1,000 results out of 10,000 keys, out of 1,000,000, and by the naive query.

Keys are `p000/…` to `p999/…`, spread evenly and loaded out of order. A *flat* page has no delimiter and starts in the
middle; a *delimited* one folds everything into 1,000 prefixes; a *leaf* is all keys of one prefix. The naive query works
out the common prefix of every row and groups by it. A round is the median of a few pages; all buckets take turns.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import apsw
import asyncpg

from bench.figures import Figure, Target
from bench.options import Options
from holdfast.catalog import SqlCatalog, open_catalog
from holdfast.catalog.common import OBJECT_PUT, VERSION_ADD
from holdfast.core.clock import Environment

PREFIXES = 1000
PAGE = 1000
SMALL = 10_000
_REPEATS = 5
PASSES = 7  #: the load comes in so many passes over the key space, so neighbours do not lie together by luck

NAIVE_SQLITE = """
    SELECT CASE WHEN :delimiter <> '' AND instr(key, :delimiter) > 0
                THEN substr(key, 1, instr(key, :delimiter)) ELSE key END AS name, count(*), max(version_id)
    FROM objects WHERE bucket_id = :bucket AND key > :marker GROUP BY name ORDER BY name LIMIT 1001
"""
NAIVE_POSTGRES = """
    SELECT CASE WHEN $2::text <> '' AND strpos(key, $2) > 0
                THEN substr(key, 1, strpos(key, $2)) ELSE key END AS name, count(*), max(version_id)
    FROM objects WHERE bucket_id = $1 AND key > $3 GROUP BY name ORDER BY name LIMIT 1001
"""


def keys(size: int) -> Iterator[str]:
    """Yield `size` keys, each once, in `PASSES` passes."""
    per_prefix = size // PREFIXES
    for turn in range(PASSES):
        for prefix in range(PREFIXES):
            for leaf in range(turn, per_prefix, PASSES):
                yield f"p{prefix:03}/{leaf:06}-report.parquet"


def rows(bucket_id: int, size: int, world: Environment) -> Iterator[dict[str, Any]]:
    """Yield the rows of the versions of a bucket."""
    for key in keys(size):
        yield {
            "bucket_id": bucket_id, "key": key, "seq": 1, "id": world.new_id(), "size": 4096,
            "etag": "9e107d9d372bb6826bd81d3542a419d6", "created": world.clock.now(),
            "content_type": "application/octet-stream", "metadata": '{"source":"bench"}', "tags": "",
            "sha256": b"s" * 32, "md5": b"m" * 16, "crc64nvme": b"c" * 8, "checksum_type": "FULL_OBJECT", "parts": 0,
            "pieces": 0, "delete_marker": False, "chunk_size": 1 << 20, "chunk_crcs": b"c" * 8,
        }  # fmt: skip


def load_sqlite(path: str, bucket_id: int, size: int) -> None:
    """Fill a bucket by one transaction."""
    connection = apsw.Connection(path)
    connection.pragma("cache_size", -(1 << 19))
    made = list(rows(bucket_id, size, Environment()))
    with connection:
        connection.executemany(VERSION_ADD.sqlite[0], made)
        objects = ({**row, "version_id": row["id"], "generation": 1} for row in made)
        connection.executemany(OBJECT_PUT.sqlite[0], objects)
    connection.pragma("wal_checkpoint", "truncate")
    connection.close()


async def load_postgres(url: str, bucket_id: int, size: int) -> None:
    """Fill a bucket by COPY."""
    connection = await asyncpg.connect(url)
    made = list(rows(bucket_id, size, Environment()))
    await connection.copy_records_to_table(
        "versions", columns=list(made[0]), records=(tuple(row.values()) for row in made)
    )
    await connection.copy_records_to_table(
        "objects",
        columns=["bucket_id", "key", "seq", "version_id", "generation"],
        records=((row["bucket_id"], row["key"], 1, row["id"], 1) for row in made),
    )
    await connection.execute("VACUUM ANALYZE")
    await connection.close()


async def timed(work: Callable[[], Awaitable[object]], repeats: int) -> float:
    """Return the median milliseconds of a few calls."""
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        await work()
        taken.append((time.perf_counter() - start) * 1000)
    return statistics.median(taken)


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of page, and how many results it has among `keys` keys."""

    name: str
    delimiter: str = ""
    prefix: str = ""
    marker: str = ""

    def results(self, keys: int) -> int:
        return min(PAGE, keys // PREFIXES) if self.prefix else PAGE


_MIDDLE = f"p{PREFIXES // 2:03}/"
CASES = (
    Case("flat", marker=_MIDDLE),
    Case("delimited", delimiter="/"),
    Case("leaf", delimiter="/", prefix=_MIDDLE),
)


class Shelf:
    """One database with a bucket per size."""

    def __init__(self, name: str, url: str, catalog: SqlCatalog) -> None:
        self.name, self.url, self.catalog = name, url, catalog
        self.buckets: dict[int, int] = {}
        self._naive: Any = None

    async def fill(self, size: int) -> None:
        bucket = await self.catalog.create_bucket("bench", f"of-{size}")
        self.buckets[size] = bucket.id
        if self.name == "SQLite":
            await asyncio.to_thread(load_sqlite, self.url.removeprefix("sqlite:///"), bucket.id, size)
        else:
            await load_postgres(self.url, bucket.id, size)

    async def page(self, case: Case, size: int) -> None:
        """List one page through the catalog."""
        got = await self.catalog.list_objects(
            "bench",
            f"of-{size}",
            prefix=case.prefix,
            delimiter=case.delimiter,
            marker=case.marker,
            limit=PAGE,
        )
        assert len(got.items) + len(got.prefixes) == case.results(size)

    async def naive(self, case: Case, size: int) -> None:
        """List one page by grouping all rows."""
        values = {"bucket": self.buckets[size], "delimiter": case.delimiter, "marker": case.marker}
        if self.name == "SQLite":
            self._naive = self._naive or apsw.Connection(self.url.removeprefix("sqlite:///"))
            assert self._naive.execute(NAIVE_SQLITE, values).fetchall()
        else:
            self._naive = self._naive or await asyncpg.connect(self.url)
            assert await self._naive.fetch(NAIVE_POSTGRES, *values.values())

    async def close(self) -> None:
        if self._naive is not None and (closing := self._naive.close()) is not None:
            await closing


@asynccontextmanager
async def shelf_at(name: str, url: str, sizes: tuple[int, ...]) -> AsyncIterator[Shelf]:
    """Give a catalog with a bucket of each size."""
    catalog = await open_catalog(url, upgrade=True)
    shelf = Shelf(name, url, catalog)
    try:
        await catalog.create_tenant("bench")
        for size in sizes:
            await shelf.fill(size)
        yield shelf
    finally:
        await shelf.close()
        await catalog.close()


async def measure(name: str, url: str, options: Options) -> list[Figure]:
    """Measure every kind of page on one database."""
    big = options.list_keys
    async with shelf_at(name, url, (SMALL, big)) as shelf:
        return [await _figure(shelf, case, big, options) for case in CASES]


async def _figure(shelf: Shelf, case: Case, big: int, options: Options) -> Figure:
    ours, less, naive = f"page of {big:,} keys", f"page of {SMALL:,} keys", f"naive query, {big:,} keys"
    figure = Figure(
        f"{shelf.name}: list {case.name}, {case.results(big)} results",
        "ms",
        ours=ours,
        targets=(Target(less, most=2.0),),
    )
    for size in (SMALL, big):
        await shelf.page(case, size)
    for _ in range(options.rounds):
        figure.add(ours, await timed(lambda: shelf.page(case, big), _REPEATS))
        figure.add(less, await timed(lambda: shelf.page(case, SMALL), _REPEATS))
        if not case.prefix:
            figure.add(naive, await timed(lambda: shelf.naive(case, big), 1))
    if case.prefix:
        figure.targets = ()
        figure.notes.append(
            f"one prefix holds {case.results(SMALL)} of {SMALL:,} keys: fewer results, not the same page"
        )
    return figure


def run(options: Options) -> list[Figure]:
    """Measure SQLite, and PostgreSQL where a server can be started."""
    with options.workspace("list") as folder:
        figures = asyncio.run(measure("SQLite", f"sqlite:///{folder / 'catalog.db'}", options))
    from tests.servers_postgres import NoPostgresError, PostgresServer

    try:
        server = PostgresServer(durable=True)
    except NoPostgresError as error:
        for figure in figures:
            figure.notes.append(f"not measured on PostgreSQL: {error}")
        return figures
    try:
        server.start()
        return figures + asyncio.run(measure("PostgreSQL", server.url(server.create_database()), options))
    finally:
        server.remove()
