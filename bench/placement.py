"""What a decision of placement costs with 200 rules, and what it costs to ask other rules about everything that is there.

A decision is timed call by call, over objects of which hardly two are alike, by three kinds of rules: by tenant, by
pattern of keys, and all mixed. Beside it the plain definition: one rule after the other. `simulate` goes over a SQLite
catalog that was filled directly, and over a tenth of it, to show that its memory does not grow with it.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import apsw

from bench.figures import Figure
from bench.options import Options
from holdfast.backends.memory import MemorySettings, open_memory
from holdfast.catalog import open_catalog
from holdfast.catalog.common import VERSION_ADD
from holdfast.core.backend import Store
from holdfast.core.clock import Environment
from holdfast.core.types import ObjectRef, Principal
from holdfast.engine.engine import Engine
from holdfast.engine.ruling import Wanted
from holdfast.policy.placement import Facts, Match, Placement, Rule, mismatch

RULES = 200
BOUND = 20.0  #: microseconds
_STORES = ("one", "two", "three")
_TYPES = ("image/png", "video/mp4", "application/zip", "text/csv", "application/octet-stream")
_REPLICA = (
    "INSERT INTO replicas (version_id, id, segment_id, store, blob, size, state, copy_number, committed)"
    " VALUES (?, ?, ?, ?, ?, ?, 'live', ?, 1)"
)
_BUCKETS = 20
_BATCH = 20_000


def by_tenant(number: int) -> Rule:
    """Return one of many rules, each for a tenant of its own."""
    return Rule(f"tenant-{number}", ("one",), Match(tenants=(f"tenant-{number}",)))


def by_key(number: int) -> Rule:
    """Return one of many rules, each for a pattern of keys of its own."""
    pattern = (f"folder-{number}/*", f"*.kind{number}", f"*/part-{number}/*")[number % 3]
    return Rule(f"key-{number}", ("two",), Match(keys=(pattern,)))


def mixed(number: int) -> Rule:
    """Return one of many rules of all kinds."""
    match = (
        Match(tenants=(f"tenant-{number}", "acme-*")),
        Match(content_types=(f"{_TYPES[number % 5].partition('/')[0]}/*",), keys=(f"folder-{number}/*",)),
        Match(buckets=(f"bucket-{number}",), min_size=number << 10),
        Match(keys=(f"*.kind{number}",), max_size=1 << 20),
        Match(tags={"class": f"c{number}"}),
    )[number % 5]
    return Rule(f"mixed-{number}", ("three",), match)


def objects(count: int, seed: int = 1) -> list[Facts]:
    """Return facts of which hardly two are alike; most of them are a matter of the last rules or of none."""
    dice = random.Random(seed)
    return [
        Facts(
            ObjectRef(f"tenant-{dice.randrange(400)}", f"bucket-{dice.randrange(400)}", _key(dice)),
            dice.randrange(1 << 21),
            dice.choice(_TYPES),
            tags={"class": f"c{dice.randrange(400)}"} if dice.random() < 0.3 else {},
        )
        for _ in range(count)
    ]


def _key(dice: random.Random) -> str:
    return f"folder-{dice.randrange(400)}/part-{dice.randrange(400)}/{dice.getrandbits(64):x}.kind{dice.randrange(400)}"


def plainly(placement: Placement, facts: Facts) -> Rule:
    """Return the deciding rule by asking one after the other."""
    return next(rule for rule in placement.ordered if not mismatch(rule.match, facts))


def decisions(options: Options) -> Iterator[Figure]:
    """Measure single decisions."""
    many = objects(2_000 if options.quick else 20_000)
    for kind in (by_tenant, by_key, mixed):
        placement = Placement(
            Rule("default", ("one",)), tuple(kind(number) for number in range(RULES)), 65536
        )
        figure = Figure(
            f"decide with {RULES} rules, {kind.__name__.replace('_', ' ')}",
            "µs, median",
            ours="placement",
            at_most=BOUND,
        )
        placement.plan(many[0])
        for _ in range(options.rounds):
            _take(figure, "placement", placement.plan, many)
            _take(figure, "rule by rule", lambda facts, placed=placement: plainly(placed, facts), many[::10])
        figure.notes.append(
            f"p99 {figure.seen('placement', 'p99'):.1f} µs, of {len(many):,} different objects"
        )
        yield figure


def _take(figure: Figure, peer: str, decide: Any, many: list[Facts]) -> None:
    taken = []
    for facts in many:
        start = time.perf_counter_ns()
        decide(facts)
        taken.append((time.perf_counter_ns() - start) / 1000)
    figure.add(peer, statistics.median(taken), p99=statistics.quantiles(taken, n=100)[98])


# -- simulate ---------------------------------------------------------------------------------------------------------
def rows(bucket_ids: list[int], size: int, world: Environment) -> Iterator[tuple[dict[str, Any], list[Any]]]:
    """Yield a version and its copies, as they lie in the catalog."""
    dice = random.Random(7)
    for number in range(size):
        version_id, length = world.new_id(), dice.randrange(1 << 21)
        version = {
            "bucket_id": bucket_ids[number * len(bucket_ids) // size], "key": f"folder-{number % 400}/{number:08}.kind{number % 300}",
            "seq": 1, "id": version_id, "size": length, "etag": "9e107d9d372bb6826bd81d3542a419d6", "created": 1,
            "content_type": _TYPES[number % 5], "metadata": "", "tags": f'{{"class":"c{number % 400}"}}' if number % 3 else "",
            "sha256": b"s" * 32, "md5": None, "crc64nvme": b"c" * 8, "checksum_type": "FULL_OBJECT", "parts": 0,
            "pieces": 0, "delete_marker": False, "chunk_size": 1 << 20, "chunk_crcs": b"c" * 8, "expires": None,
            "storage_class": None,
        }  # fmt: skip
        held = _STORES[: 1 + number % 2]
        copies = [
            (version_id, f"{version_id}-{place}", version_id, store, f"t/{version_id}", length, place)
            for place, store in enumerate(held)
        ]
        yield version, copies


def fill(path: Path, bucket_ids: list[int], size: int) -> None:
    """Put `size` versions with their copies into a catalog, a batch at a time."""
    connection = apsw.Connection(str(path))
    connection.pragma("synchronous", "off")
    source = rows(bucket_ids, size, Environment())
    while batch := list(islice(source, _BATCH)):
        with connection:
            connection.executemany(VERSION_ADD.sqlite[0], [version for version, _ in batch])
            connection.executemany(_REPLICA, [copy for _, copies in batch for copy in copies])
    connection.pragma("wal_checkpoint", "truncate")
    connection.close()


@contextmanager
def watched() -> Iterator[dict[str, float]]:
    """Give the MiB by which this process grows inside the block, at most: under `grown`, when it ends."""
    before, seen, ended = _resident(), {"grown": 0.0}, threading.Event()

    def watch() -> None:
        while not ended.wait(0.05):
            seen["grown"] = max(seen["grown"], _resident() - before)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield seen
    finally:
        ended.set()
        watcher.join()


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / (1 << 20)


async def simulation(folder: Path, size: int, options: Options, figure: Figure) -> None:
    """Fill a catalog with `size` versions and ask other rules about them."""
    path, world, name = folder / f"catalog-{size}.db", Environment(), f"{size:,} versions"
    catalog = await open_catalog(f"sqlite:///{path}", environment=world, upgrade=True)
    ids = []
    for number in range(_BUCKETS):
        if not number % 5:
            await catalog.create_tenant(f"tenant-{number}")
        ids.append((await catalog.create_bucket(f"tenant-{number // 5 * 5}", f"bucket-{number}")).id)
    await asyncio.to_thread(fill, path, ids, size)
    stores = {one: Store(one, open_memory(one, MemorySettings(), environment=world)) for one in _STORES}
    engine = Engine(catalog, stores, Placement(Rule("default", ("one",))), environment=world)
    admin = engine.session(Principal("bench", "tenant-0", "operator")).admin
    wanted = Wanted(rules=tuple(mixed(number) for number in range(RULES)))
    try:
        for _ in range(min(options.rounds, 3)):
            with watched() as seen:
                start = time.perf_counter()
                made, _ = await admin.simulate(wanted)
                taken = time.perf_counter() - start
            assert made.every.objects == size
            figure.add(name, taken, grown=seen["grown"], moving=made.moving.objects)
    finally:
        await engine.close()
    figure.notes.append(
        f"{name}: the process grew by {figure.seen(name, 'grown'):.0f} MiB at most (the catalog's page cache has 64);"
        f" {figure.seen(name, 'moving'):,.0f} would move"
    )


def run(options: Options) -> list[Figure]:
    """Measure decisions, and a simulation over `--list-keys` versions."""
    figures = list(decisions(options))
    size = options.list_keys
    figure = Figure(
        f"simulate {RULES} rules over {size:,} versions, SQLite",
        "s",
        ours=f"{size:,} versions",
        at_most=60.0 * size / 1_000_000,
    )
    with options.workspace("placement") as folder:
        for each in (size // 10, size):
            asyncio.run(simulation(folder, each, options, figure))
    return [*figures, figure]
