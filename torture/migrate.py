"""A store moved to another under load, by a process that is killed again and again.

Eight clients read, write and delete keys of their own, so that each knows what every read has to answer; among the keys
are all that were there before. Looked for: a read that failed, one that answered something older, a deleted key that
came back, an object that is not where it belongs in the end, bytes that no row knows.
"""

from __future__ import annotations

import asyncio
import random
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.core.body import Body
from holdfast.core.errors import HoldfastError, NotFoundError
from holdfast.core.jobs import ENDED, JobState
from holdfast.core.types import Principal, ReplicaState
from holdfast.engine import moves
from holdfast.engine.engine import Engine
from holdfast.engine.session import Session
from holdfast.jobs.desk import JobDesk
from holdfast.jobs.installed import installed
from torture.mover import STORES, engine_at

_BUCKET = "moved"
_TENANT = "torture"
_MOST_TOLD = 10


@dataclass
class Figures:
    """What was done, and what went wrong."""

    objects: int = 0
    bytes: int = 0
    kills: int = 0
    reads: int = 0
    writes: int = 0
    deletes: int = 0
    failed_reads: int = 0
    stale_reads: int = 0
    resurrected: int = 0
    failed_writes: int = 0
    missing: int = 0
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether nothing went wrong."""
        counts = (self.failed_reads, self.stale_reads, self.resurrected, self.failed_writes, self.missing)
        return not any(counts) and not self.wrong

    def __str__(self) -> str:
        lines = [
            f"migrate: {self.objects:,} objects, {self.bytes / 1e6:,.0f} MB, {self.kills} kills,"
            f" {self.seconds:.0f} s ({self.objects / max(self.seconds, 0.001):,.0f} objects/s with the pauses)",
            f"  meanwhile {self.reads:,} reads, {self.writes:,} writes, {self.deletes:,} deletes",
            f"  {self.failed_reads} failed reads, {self.stale_reads} stale reads, {self.resurrected} deletes came"
            f" back, {self.failed_writes} failed writes, {self.missing} not where they belong",
        ]
        return "\n".join([*lines, *(f"  {line}" for line in self.wrong[:_MOST_TOLD])])


async def torture(
    home: Path,
    *,
    small: int,
    large: int,
    small_size: int,
    large_size: int,
    clients: int,
    kills: int,
    seed: int,
) -> Figures:
    """Return what happens while everything is moved, and the mover killed `kills` times."""
    figures = Figures()
    async with engine_at(home) as engine:
        run = _Run(engine, figures, clients, seed)
        await run.fill(small, small_size, large, large_size)
        boss = Principal("boss", _TENANT, "operator")
        spec = {"source": STORES[0], "target": STORES[1], "keep": 0}
        job = await JobDesk(engine, installed(), boss).start("migrate", spec)
        began = time.monotonic()
        load = asyncio.gather(*(run.client(number) for number in range(clients)))
        try:
            await _moved(engine, home, job.id, figures, kills, random.Random(seed))  # noqa: S311
        finally:
            run.over = True
            await load
        figures.seconds = time.monotonic() - began
        await run.look(job.id)
    return figures


async def _moved(
    engine: Engine, home: Path, job_id: str, figures: Figures, kills: int, chance: random.Random
) -> None:
    """Let movers work on the job until it has ended; each of the first `kills` dies on its way."""
    while (await engine.catalog.job(job_id)).state not in ENDED:
        mover = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "torture.mover", str(home), job_id, stderr=asyncio.subprocess.PIPE
        )
        told = asyncio.ensure_future(mover.communicate())
        if figures.kills < kills:
            done, _ = await asyncio.wait({told}, timeout=1.0 + chance.uniform(0.0, 2.5))
            if not done:
                mover.send_signal(signal.SIGKILL)
                figures.kills += 1
                await told
                continue
        _, complaint = await told
        if mover.returncode:
            figures.wrong.append(f"the mover ended with {mover.returncode}: {complaint.decode()[-500:]}")
            return


class _Run:
    def __init__(self, engine: Engine, figures: Figures, clients: int, seed: int) -> None:
        self._engine, self._figures, self._clients, self._seed = engine, figures, clients, seed
        self._session: Session = engine.session(Principal("client", _TENANT, "admin"))
        self._held: list[dict[str, tuple[int, int] | None]] = [{} for _ in range(clients)]
        self.over = False

    async def fill(self, small: int, small_size: int, large: int, large_size: int) -> None:
        """Put what is there before; each key is one client's."""
        await self._engine.catalog.create_tenant(_TENANT)
        await self._session.create_bucket(_BUCKET)
        sizes = [(f"s{n:07}", small_size) for n in range(small)] + [
            (f"l{n:07}", large_size) for n in range(large)
        ]
        gate = asyncio.Semaphore(32)

        async def one(number: int, key: str, size: int) -> None:
            async with gate:
                await self._put(number % self._clients, key, number, size)

        for first in range(0, len(sizes), 1000):
            some = enumerate(sizes[first : first + 1000], first)
            await asyncio.gather(*(one(number, key, size) for number, (key, size) in some))
        self._figures.objects = len(sizes)
        self._figures.bytes = sum(size for _, size in sizes)
        self._figures.writes = 0

    async def client(self, number: int) -> None:
        """Read, write and delete keys of one client, until it is over."""
        chance = random.Random(self._seed * 1000 + number)  # noqa: S311
        mine = self._held[number]
        keys = sorted(mine)
        while not self.over:
            key = chance.choice(keys)
            what = chance.random()
            if what < 0.7:
                await self._read(number, key)
            elif what < 0.9:
                await self._put(number, key, chance.getrandbits(32), chance.randrange(1, 32 << 10))
            else:
                await self._delete(number, key)

    async def look(self, job_id: str) -> None:
        """Look at everything when it is over."""
        figures, engine = self._figures, self._engine
        job = await engine.catalog.job(job_id)
        if job.state is not JobState.DONE or job.result.get("phase") != "done":
            figures.wrong.append(f"the job is {job.state}: {job.trouble} {dict(job.result)}")
            return
        left = await moves.difference(engine.context, await moves.find(engine.context, STORES[0]))
        figures.missing += left.versions
        for number, held in enumerate(self._held):
            for key in held:
                await self._read(number, key)
        after = ""
        while page := await engine.catalog.replicas(after=after):
            stray = [row for row in page if row.state is ReplicaState.LIVE and row.store != STORES[1]]
            figures.missing += len(stray)
            after = page[-1].id

    async def _read(self, number: int, key: str) -> None:
        wanted = self._held[number][key]
        self._figures.reads += 1
        try:
            async with self._session.get(_BUCKET, key) as reader:
                data = await reader.read()
        except NotFoundError:
            if wanted is not None:
                self._failed(f"{key} is not found")
            return
        except HoldfastError as error:
            self._failed(f"{key}: {error}")
            return
        if wanted is None:
            self._figures.resurrected += 1
        elif data != _content(*wanted):
            self._figures.stale_reads += 1

    async def _put(self, number: int, key: str, seed: int, size: int) -> None:
        self._figures.writes += 1
        try:
            await self._session.put(_BUCKET, key, Body.of_bytes(_content(seed, size)))
        except HoldfastError as error:
            self._figures.failed_writes += 1
            self._figures.wrong.append(f"put {key}: {error}")
            return
        self._held[number][key] = (seed, size)

    async def _delete(self, number: int, key: str) -> None:
        self._figures.deletes += 1
        try:
            await self._session.delete(_BUCKET, key)
        except NotFoundError:
            pass
        except HoldfastError as error:
            self._figures.failed_writes += 1
            self._figures.wrong.append(f"delete {key}: {error}")
            return
        self._held[number][key] = None

    def _failed(self, told: str) -> None:
        self._figures.failed_reads += 1
        self._figures.wrong.append(told)


def _content(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)  # noqa: S311


def report(
    *,
    small: int,
    large: int,
    small_size: int,
    large_size: int,
    clients: int,
    kills: int,
    seed: int,
    where: Path | None,
) -> Figures:
    """Run it in a directory of its own under `where`, and remove that."""
    with tempfile.TemporaryDirectory(dir=where, prefix="torture-migrate-") as home:
        return asyncio.run(
            torture(
                Path(home),
                small=small,
                large=large,
                small_size=small_size,
                large_size=large_size,
                clients=clients,
                kills=kills,
                seed=seed,
            )
        )
