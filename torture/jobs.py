"""Jobs while the processes that work on them are killed, again and again: all done, and counted exactly.

Each job is a heap of items, each of which leaves a line in a file of its own. Workers are killed in the middle of steps and
others take their place. In the end every item must have been done, at least once; and the job must have counted each
exactly once, however often it was done.
"""
# ruff: noqa: S311, T201 - choices that must repeat, no secrets; this is what prints

from __future__ import annotations

import asyncio
import contextlib
import random
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.core.jobs import ENDED, Job
from holdfast.core.types import Principal
from holdfast.jobs.desk import JobDesk
from holdfast.jobs.kinds import Kinds

_ITEMS = 6000
_PARTS = 8
_BATCH = 20
_PAUSE = 0.01  #: seconds for each item
_PATIENCE = 120.0


@dataclass
class Figures:
    """What was seen."""

    database: str
    jobs: int = 0
    kills: int = 0
    items: int = 0
    again: int = 0  #: items that were done more than once
    wrong: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        return (
            f"jobs on {self.database}: {self.kills:,} kills in {self.jobs:,} jobs of {self.items:,} items,"
            f" {self.again:,} of them done again; wrong {self.wrong}; {self.seconds:.0f} s →"
            f" {'BROKEN' if self.wrong or not self.kills else 'sound'}"
        )


def report(databases: Sequence[str], *, kills: int, workers: int, seed: int) -> bool:
    """Kill workers `kills` times on each database, print what came of it, and tell whether all was well."""
    sound = True
    for database in databases:
        with tempfile.TemporaryDirectory() as directory:
            found = asyncio.run(torture(database, Path(directory), kills=kills, workers=workers, seed=seed))
        print(found)
        sound = sound and not found.wrong and found.kills > 0
    return sound


async def torture(database: str, directory: Path, *, kills: int, workers: int, seed: int) -> Figures:
    """Run jobs, one after the other, until `kills` workers were killed."""
    from tests.engine.toys import Toy, engine_at
    from tests.servers_postgres import fresh_database

    url = fresh_database() if database == "postgresql" else f"sqlite:///{directory / 'catalog.db'}"
    found, chance, began = Figures(database), random.Random(seed), time.monotonic()
    async with engine_at(url, directory) as engine:
        desk = JobDesk(engine, Kinds([Toy()]), Principal("torture", "default", "admin"))
        while found.kills < kills:
            items = directory / f"items-{found.jobs}"
            items.mkdir()
            spec = {"dir": str(items), "items": _ITEMS, "parts": _PARTS, "batch": _BATCH, "pause": _PAUSE}
            _judge(found, await _killed(desk, url, directory, spec, found, chance, workers, kills), items)
    found.seconds = time.monotonic() - began
    return found


async def _killed(
    desk: JobDesk,
    url: str,
    directory: Path,
    spec: Mapping[str, object],
    found: Figures,
    chance: random.Random,
    workers: int,
    kills: int,
) -> Job:
    """Have a job done by workers that are killed, and return it once it has ended."""
    from tests.engine.toys import worker

    until = time.monotonic() + _PATIENCE
    with contextlib.ExitStack() as stack:
        alive = [stack.enter_context(worker(url, directory)) for _ in range(workers)]
        job = await desk.start("toy", spec)
        while (now := await desk.job(job.id)).state not in ENDED and time.monotonic() < until:
            await asyncio.sleep(chance.uniform(0.05, 0.5))
            if found.kills < kills and (await desk.job(job.id)).state not in ENDED:
                victim = alive.pop(chance.randrange(len(alive)))
                victim.kill()
                found.kills += 1
                alive.append(stack.enter_context(worker(url, directory)))
    return now


def _judge(found: Figures, job: Job, items: Path) -> None:
    from tests.engine.toys import done_in

    done = done_in(items)
    found.jobs += 1
    found.items += len(done)
    found.again += sum(1 for count in done.values() if count > 1)
    counts = job.counts
    exact = counts.examined == counts.done == counts.notes.get("touched") == _ITEMS
    if job.state != "done" or len(done) != _ITEMS or not exact:
        found.wrong += 1
        print(
            f"job {job.id}: {job.state}, {len(done)} items done, {counts.examined} counted, {job.trouble!r}"
        )
