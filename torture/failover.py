"""Stores that fail under load, again and again, in every way: readers must not notice, and what was promised must be there.

Each world has two real S3 servers, with a proxy before each, two copies of everything, and eight clients that read, write
and delete keys of their own and know what a read has to answer. One store after the other fails, refusing, resetting,
swallowing, dripping, answering 503 or wrong bytes; then it comes back, and all that is owed must be made good. Objects of
`fast` are acknowledged with one copy, those of `safe` with all: what is in `fast` may be out of reach while its only copy is
owed, which the catalog tells; anything else is an error.
"""
# ruff: noqa: S311 - choices that must repeat

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

import structlog

from holdfast.catalog import open_catalog
from holdfast.config.settings import StoreSettings
from holdfast.core.body import Body
from holdfast.core.clock import Environment
from holdfast.core.errors import HoldfastError, NotFoundError, UnavailableError
from holdfast.core.types import Principal, ReplicaState
from holdfast.drivers import open_store
from holdfast.engine.engine import Engine
from holdfast.engine.settings import EngineSettings
from holdfast.jobs.reconcile import keep_paying, pay
from holdfast.jobs.returning import keep_watching
from holdfast.policy.placement import Match, Placement, Rule
from holdfast.testing.servers import S3Server, minio_s3, rclone_s3
from torture.outages import MODES, Way

CLIENTS = 8
STORES = ("one", "two")
OUTAGE = 2.2  #: seconds that a store is down
_KEYS = 6  #: of each client in each bucket
_PATIENCE = 60.0  #: seconds until everything owed must be made good
#: What is shorter here than usual; each is a setting that users have.
TRAVEL = {"connect_timeout": 2.0, "read_timeout": 4.0, "retries": 0, "attempts": 2}
SETTINGS = EngineSettings(failover_after=2.0, failover_rate=1 << 20, hot=0, small_read=4096)
PAYS = 1.0  #: `reconcile_interval`


@dataclass
class Figures:
    """What came of it."""

    outages: Counter[str] = field(default_factory=Counter)
    met: int = 0  #: requests that found a store down
    reads: int = 0
    writes: int = 0
    refused: int = 0  #: writes that could not be acknowledged with all copies, and were not
    alone: int = 0  #: reads of what had its only copy in the store that was down
    errors: int = 0
    wrong: int = 0
    lost: int = 0
    failed: int = 0  #: writes that one store would have taken, and were refused
    undrained: int = 0
    slowest_write: float = 0.0
    slowest_read: float = 0.0
    slowest_drain: float = 0.0
    opened: Counter[str] = field(default_factory=Counter)  #: outages in which the store was passed over
    opening: dict[str, float] = field(default_factory=dict)  #: the longest time until it did
    damage: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def sound(self) -> bool:
        """Whether nobody noticed, nothing is lost, and all was made good."""
        wrong = (self.errors, self.wrong, self.lost, self.failed, self.undrained)
        return not any(wrong) and self.slowest_write <= 5.0 and (self.met > 0 or bool(self.opened))

    def add(self, other: Figures) -> None:
        """Take in what another world saw."""
        for name in ("met", "reads", "writes", "refused", "alone", "errors", "wrong", "lost", "failed"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.undrained += other.undrained
        for name in ("slowest_write", "slowest_read", "slowest_drain"):
            setattr(self, name, max(getattr(self, name), getattr(other, name)))
        self.outages += other.outages
        self.opened += other.opened
        for mode, took in other.opening.items():
            self.opening[mode] = max(took, self.opening.get(mode, 0.0))
        self.damage += other.damage

    def __str__(self) -> str:
        ways = ", ".join(f"{count} {mode}" for mode, count in sorted(self.outages.items()))
        opened = ", ".join(
            f"{mode} {self.opened[mode]} of {self.outages[mode]} (latest after {self.opening.get(mode, 0.0):.1f} s)"
            for mode in sorted(self.outages)
        )
        shown = "".join(f"\n    {line}" for line in self.damage[:12])
        return (
            f"failover: {sum(self.outages.values())} outages ({ways}), met by {self.met:,} requests; {self.seconds:.0f} s\n"
            f"  {self.reads:,} reads: {self.errors} failed though a healthy copy was there, {self.wrong} wrong,"
            f" {self.alone} of what had no other copy yet; slowest {self.slowest_read:.1f} s\n"
            f"  {self.writes:,} writes: {self.failed} failed, {self.refused} refused for want of all copies,"
            f" {self.lost} lost; slowest {self.slowest_write:.1f} s\n"
            f"  {self.undrained} times not all that was owed was made good; slowest {self.slowest_drain:.1f} s\n"
            f"  passed over: {opened} → {'sound' if self.sound else 'BROKEN'}{shown}"
        )


@dataclass
class _Known:
    """What a read of a key may answer: the seeds of contents, None for nothing."""

    may: set[tuple[int, int] | None]


class World:
    """Two stores, a catalog, and clients."""

    def __init__(self, engine: Engine, ways: dict[str, Way], figures: Figures, seed: int) -> None:
        self._engine, self._ways, self._figures = engine, ways, figures
        self._session = engine.session(Principal("client", "torture", "admin"))
        self._chance = random.Random(seed)
        self._seed = seed
        self._known: list[dict[tuple[str, str], _Known]] = [{} for _ in range(CLIENTS)]
        self._down = ""  # also while nobody has noticed that it is back
        self._over = False
        self._mode = ""

    async def run(self, mode: str, outages: int, minutes: float) -> None:
        """Let stores fail `outages` times, or for so long; then look at everything with either store down."""
        self._mode, until = mode, time.monotonic() + 60 * minutes
        await self._engine.catalog.create_tenant("torture")
        for bucket in ("fast", "safe"):
            await self._session.create_bucket(bucket)
        background = [
            asyncio.ensure_future(keep_watching(self._engine)),
            asyncio.ensure_future(keep_paying(self._engine, PAYS)),
        ]
        clients = [asyncio.ensure_future(self._client(number)) for number in range(CLIENTS)]
        try:
            await asyncio.sleep(1.0)
            for _ in range(outages):
                await self._outage(mode)
                if time.monotonic() > until:
                    break
            self._over = True
            await asyncio.gather(*clients)
            await self._drained(mode)
            await self._look()
        finally:
            for task in (*clients, *background):
                task.cancel()
            await asyncio.gather(*clients, *background, return_exceptions=True)

    # -- outages ------------------------------------------------------------------------------------------------------
    async def _outage(self, mode: str) -> None:
        self._down = name = self._chance.choice(STORES)
        way = self._ways[name]
        await way.down(mode)
        began, opened = time.monotonic(), None
        while time.monotonic() - began < OUTAGE:
            await asyncio.sleep(0.05)
            if opened is None and self._engine.avoids(name):
                opened = time.monotonic() - began
        if opened is not None:
            self._figures.opened[mode] += 1
            self._figures.opening[mode] = max(opened, self._figures.opening.get(mode, 0.0))
        self._figures.met += way.met
        await way.up()
        self._figures.outages[mode] += 1
        await self._drained(mode)
        self._down = ""

    async def _drained(self, mode: str) -> None:
        """Wait until no store is passed over and nothing is owed from before; new debts are paid as they come."""
        began = time.monotonic()
        catalog = self._engine.catalog
        until = await catalog.now()
        while time.monotonic() - began < _PATIENCE:
            if mode == "wrong":  # nothing says that it is over: what `holdfast reconcile --debts` does
                await pay(self._engine, hurry=True)
            away = any(self._engine.avoids(name) for name in STORES)
            owed = [debt for debt in await catalog.debts() if debt.since <= until]
            if not away and not owed:
                self._figures.slowest_drain = max(self._figures.slowest_drain, time.monotonic() - began)
                return
            await asyncio.sleep(0.1)
        self._figures.undrained += 1
        self._figures.damage.append(f"{mode}: {len(owed)} debts left, away {away}: {owed[:1]}")

    # -- load ---------------------------------------------------------------------------------------------------------
    async def _client(self, number: int) -> None:
        chance = random.Random(self._seed * 1000 + number)
        while not self._over:
            bucket = chance.choice(("fast", "safe"))
            key = f"c{number}/{chance.randrange(_KEYS)}"
            what = chance.random()
            if what < 0.55:
                await self._read(number, bucket, key)
            elif what < 0.95:
                size = chance.choice((100, 5_000, 60_000, 200_000))
                await self._put(number, bucket, key, (chance.getrandbits(32), size))
            else:
                await self._delete(number, bucket, key)
            await asyncio.sleep(chance.uniform(0.02, 0.3))

    def _of(self, number: int, bucket: str, key: str) -> _Known:
        return self._known[number].setdefault((bucket, key), _Known({None}))

    async def _read(self, number: int, bucket: str, key: str) -> None:
        may = self._of(number, bucket, key).may
        self._figures.reads += 1
        began = time.monotonic()
        found: bytes | None
        try:
            async with self._session.get(bucket, key) as reader:
                found = await reader.read()
        except NotFoundError:
            found = None
        except HoldfastError as error:
            if await self._reachable(bucket, key):
                self._figures.errors += 1
                self._figures.damage.append(
                    f"{self._mode}: read {bucket}/{key}: {error}; {await self._state(bucket, key)}"
                )
            else:
                self._figures.alone += 1
            return
        finally:
            self._figures.slowest_read = max(self._figures.slowest_read, time.monotonic() - began)
        if found is None and None not in may:
            self._figures.lost += 1
            self._figures.damage.append(f"{bucket}/{key} is gone")
        elif found is not None and all(one is None or found != _content(*one) for one in may):
            self._figures.wrong += 1
            self._figures.damage.append(f"{bucket}/{key} is wrong ({len(found)} bytes)")

    async def _state(self, bucket: str, key: str) -> str:
        located = await self._engine.catalog.resolve((await self._session.head(bucket, key))[0].ref)
        copies = ", ".join(f"{copy.store} {copy.state}" for copy in located.replicas)
        avoided = [name for name in STORES if self._engine.avoids(name)]
        return f"copies {copies}; down {self._down!r}; passed over {avoided}"

    async def _reachable(self, bucket: str, key: str) -> bool:
        """Tell whether a sound copy of the object is in a store that works."""
        try:
            located = await self._engine.catalog.resolve((await self._session.head(bucket, key))[0].ref)
        except NotFoundError:
            return True
        return any(copy.state is ReplicaState.LIVE and copy.store != self._down for copy in located.replicas)

    async def _put(self, number: int, bucket: str, key: str, content: tuple[int, int]) -> None:
        known = self._of(number, bucket, key)
        self._figures.writes += 1
        began = time.monotonic()
        known.may = known.may | {content}
        try:
            body = (
                Body.of_bytes(_content(*content))
                if content[0] % 3
                else Body.of_stream(_flow(_content(*content)))
            )
            await self._session.put(bucket, key, body)
        except UnavailableError as error:
            if bucket == "safe":
                self._figures.refused += 1
            else:
                self._figures.failed += 1
                self._figures.damage.append(f"{self._mode}: put {bucket}/{key}: {error}; down {self._down!r}")
            return
        finally:
            if bucket == "fast":  # of `safe` nothing is rerouted
                self._figures.slowest_write = max(self._figures.slowest_write, time.monotonic() - began)
        known.may = {content}

    async def _delete(self, number: int, bucket: str, key: str) -> None:
        with contextlib.suppress(NotFoundError):
            await self._session.delete(bucket, key)
        self._of(number, bucket, key).may = {None}

    # -- in the end ---------------------------------------------------------------------------------------------------
    async def _look(self) -> None:
        """Read everything, with each store down once: so both have all of it."""
        for name in STORES:
            await self._ways[name].down("refused")
            self._down = name
            for number, held in enumerate(self._known):
                for bucket, key in held:
                    await self._read(number, bucket, key)
            await self._ways[name].up()
            for _ in range(300):
                if name == STORES[-1] or not self._engine.avoids(name):
                    break
                await asyncio.sleep(0.1)
            self._down = ""


def _content(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


async def _flow(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 16 << 10):
        yield data[start : start + (16 << 10)]


@asynccontextmanager
async def world(home: Path, servers: Sequence[S3Server], figures: Figures, seed: int) -> AsyncIterator[World]:
    """Give a world over these two servers, with a catalog in `home`."""
    environment = Environment()
    async with contextlib.AsyncExitStack() as stack:
        ways = {
            name: await stack.enter_async_context(Way(server.host, server.port, seed + place))
            for place, (name, server) in enumerate(zip(STORES, servers, strict=True))
        }
        stores = {
            name: open_store(name, _settings(server, way, seed), environment)
            for (name, way), server in zip(ways.items(), servers, strict=True)
        }
        catalog = await open_catalog(
            f"sqlite:///{home / 'catalog.db'}", environment=environment, upgrade=True
        )
        rules = (
            Rule("fast", STORES, Match(buckets=("fast",)), acknowledge=1),
            Rule("safe", STORES, Match(buckets=("safe",)), acknowledge="all"),
        )
        placement = Placement(Rule("default", STORES), rules)
        engine = Engine(catalog, stores, placement, environment=environment, settings=SETTINGS)
        try:
            yield World(engine, ways, figures, seed)
        finally:
            await engine.close()


def _settings(server: S3Server, way: Way, seed: int) -> StoreSettings:
    return StoreSettings.model_validate(
        {
            "driver": "s3",
            "endpoint": way.url,
            "bucket": server.bucket,
            "prefix": f"world-{seed}",
            "access_key": server.access_key,
            "secret_key": server.secret_key,
            "region": server.region,
            "dialect": server.kind if server.kind in ("minio", "rclone", "versitygw") else "generic",
            "allow_http": True,
            **TRAVEL,
        }
    )


def live(servers: Sequence[S3Server], mode: str, outages: int, seed: int, minutes: float) -> Figures:
    """Return what came of one world, in which stores fail in one mode."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    figures = Figures()

    async def story(home: Path) -> None:
        async with world(home, servers, figures, seed) as made:
            await made.run(mode, outages, minutes)
        await asyncio.sleep(0.1)  # lets the threads of the S3 client come to rest

    with tempfile.TemporaryDirectory(prefix="torture-failover-") as home:
        asyncio.run(story(Path(home)))
    return figures


@contextmanager
def servers() -> Iterator[tuple[S3Server, S3Server]]:
    """Start two S3 servers: MinIO if it is here, and rclone."""
    first = minio_s3 if os.environ.get("HOLDFAST_MINIO") or shutil.which("minio") else rclone_s3
    with first() as one, rclone_s3() as two:
        yield one, two


def torture(
    outages: int, seed: int, *, modes: Sequence[str] = MODES, workers: int = len(MODES), minutes: float = 60.0
) -> Figures:
    """Return what came of `outages` in each of these modes, each in a process of its own."""
    figures, began = Figures(), time.monotonic()
    with servers() as running, ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        lives = [
            pool.submit(live, running, mode, outages, seed * 100 + MODES.index(mode), minutes)
            for mode in modes
        ]
        for one in lives:
            figures.add(one.result())
    figures.seconds = time.monotonic() - began
    return figures


def report(outages: int, seed: int, *, modes: Sequence[str], workers: int, minutes: float) -> bool:
    """Run it, print what came of it, and return whether it was sound."""
    figures = torture(outages, seed, modes=modes or MODES, workers=workers, minutes=minutes)
    print(figures)  # noqa: T201
    return figures.sound
