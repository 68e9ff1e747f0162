"""What a page of a listing costs: 1,000 results out of 10,000 keys, out of 1,000,000, and by the naive query.

    python bench/list_page.py [--sizes 10000 1000000] [--databases sqlite postgresql] [--json FILE]

Keys are `p000/…` to `p999/…`, spread evenly and loaded out of order. Three pages are measured in each bucket: a *flat*
one without delimiter from the middle, a *delimited* one that folds everything into 1,000 prefixes, and a *leaf*, all
keys of one prefix. The naive query computes the common prefix of every row and groups by it. Figures are medians in
milliseconds; machine noise is shown as the spread between the quartiles.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import apsw
import asyncpg

sys.path.insert(0, str(Path(__file__).parent.parent))

from holdfast.catalog import SqlCatalog, open_catalog
from holdfast.catalog.common import OBJECT_PUT, VERSION_ADD
from holdfast.core.clock import Environment

PREFIXES = 1000
PAGE = 1000
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


async def timed(work: Callable[[], Awaitable[Any]], rounds: int) -> dict[str, float]:
    """Return the median of `rounds` runs in milliseconds, and the spread of the middle half."""
    await work()
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        await work()
        taken.append((time.perf_counter() - start) * 1000)
    quartiles = statistics.quantiles(taken, n=4) if len(taken) > 2 else [taken[0]] * 3
    return {
        "median_ms": round(statistics.median(taken), 3),
        "spread_ms": round(quartiles[2] - quartiles[0], 3),
    }


class Shelf:
    """One database with a bucket per size."""

    def __init__(self, name: str, url: str, catalog: SqlCatalog) -> None:
        self.name, self.url, self.catalog = name, url, catalog
        self._naive: Any = None

    async def fill(self, size: int) -> int:
        bucket = await self.catalog.create_bucket("bench", f"of-{size}")
        if self.name == "sqlite":
            await asyncio.to_thread(load_sqlite, self.url.removeprefix("sqlite:///"), bucket.id, size)
        else:
            await load_postgres(self.url, bucket.id, size)
        return bucket.id

    async def naive(self, bucket_id: int, delimiter: str, marker: str) -> None:
        if self.name == "sqlite":
            self._naive = self._naive or apsw.Connection(self.url.removeprefix("sqlite:///"))
            values = {"bucket": bucket_id, "delimiter": delimiter, "marker": marker}
            assert self._naive.execute(NAIVE_SQLITE, values).fetchall()
        else:
            self._naive = self._naive or await asyncpg.connect(self.url)
            assert await self._naive.fetch(NAIVE_POSTGRES, bucket_id, delimiter, marker)

    async def measure(self, size: int, bucket_id: int, rounds: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        middle = f"p{PREFIXES // 2:03}/"
        leaf = min(PAGE, size // PREFIXES)
        cases = {
            "flat": ({"marker": middle}, PAGE),
            "delimited": ({"delimiter": "/"}, PAGE),
            "leaf": ({"delimiter": "/", "prefix": middle}, leaf),
        }
        for case, (asked, expected) in cases.items():

            async def page(asked: dict[str, str] = asked, expected: int = expected) -> None:
                got = await self.catalog.list_objects("bench", f"of-{size}", limit=PAGE, **asked)  # type: ignore[arg-type]
                assert len(got.items) + len(got.prefixes) == expected, len(got.items)

            found[case] = await timed(page, rounds)
            if case != "leaf":
                delimiter, marker = asked.get("delimiter", ""), asked.get("marker", "")
                slow = max(3, rounds // 5)
                found[f"{case} naive"] = await timed(
                    lambda d=delimiter, m=marker: self.naive(bucket_id, d, m), slow
                )
        return found

    async def close(self) -> None:
        if self._naive is not None:
            done = self._naive.close()
            if done is not None:
                await done
        await self.catalog.close()


async def run(name: str, url: str, sizes: list[int], rounds: int) -> dict[str, Any]:
    """Measure one database."""
    shelf = Shelf(name, url, await open_catalog(url, upgrade=True))
    await shelf.catalog.create_tenant("bench")
    buckets = {size: await shelf.fill(size) for size in sizes}
    found = {str(size): await shelf.measure(size, bucket_id, rounds) for size, bucket_id in buckets.items()}
    await shelf.close()
    return found


def show(name: str, found: dict[str, Any]) -> dict[str, float]:
    """Print the table of a database and return its ratios."""
    sizes = sorted(found, key=int)
    small, big = found[sizes[0]], found[sizes[-1]]
    print(f"\n{name}: a page of {PAGE}, median ms (± half the spread of the quartiles)")
    for case in small:
        cells = [
            f"{int(size):>9,} keys {found[size][case]['median_ms']:>10.2f} ±{found[size][case]['spread_ms'] / 2:.2f}"
            for size in sizes
        ]
        print(f"  {case:<16}", *cells)
    ratios = {}
    for case in ("flat", "delimited"):
        ratios[f"{case}: big/small"] = round(big[case]["median_ms"] / small[case]["median_ms"], 2)
        ratios[f"{case}: naive/ours at {sizes[-1]}"] = round(
            big[f"{case} naive"]["median_ms"] / big[case]["median_ms"], 1
        )
    for ratio, value in ratios.items():
        print(f"  {ratio:<32} {value}")
    return ratios


def main() -> None:
    """Measure what was asked for and print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 1_000_000])
    parser.add_argument(
        "--databases", nargs="+", default=["sqlite", "postgresql"], choices=["sqlite", "postgresql"]
    )
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--json", type=Path, help="write the figures here")
    asked = parser.parse_args()
    results: dict[str, Any] = {"page": PAGE, "rounds": asked.rounds, "databases": {}}
    for name in asked.databases:
        with ExitStack() as stack:
            if name == "sqlite":
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="holdfast-bench-"))
                url = f"sqlite:///{folder}/catalog.db"
            else:
                from tests.servers_postgres import own_server

                server = stack.enter_context(own_server(durable=True))
                url = server.url(server.create_database())
            found = asyncio.run(run(name, url, asked.sizes, asked.rounds))
        results["databases"][name] = {"figures": found, "ratios": show(name, found)}
    if asked.json:
        asked.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
