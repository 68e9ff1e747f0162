"""Looks at stores that lie, while writers write and processes die: nothing that is live may go, nothing planted may stay unseen.

Each world has two stores in memory and a catalog of its own, on a clock that jumps. It is looked at again and again: listings
fail, end early, leave out names or are old ones; a look is killed at any step and taken up by another, or left; beside it
objects are written, replaced, read and deleted, uploads begin and end, debts are paid and the sweep goes over everything.
Blobs without rows are planted, and blobs with rows are taken away. In the end, when the stores tell the truth again, what
was planted and is still there must have been found, and what had a sound copy left must read as it was written.
"""
# ruff: noqa: S311 - choices that must repeat

from __future__ import annotations

import asyncio
import logging
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path

import structlog

from holdfast.backends.memory import MemoryBackend
from holdfast.catalog.upgrading import upgrade_sqlite
from holdfast.core.body import Body
from holdfast.core.clock import Environment, ManualClock
from holdfast.core.errors import HoldfastError, UnavailableError
from holdfast.core.failpoints import armed
from holdfast.core.findings import FindingState
from holdfast.core.jobs import Part
from holdfast.core.names import ABOUT
from holdfast.core.types import BlobInfo, ReplicaState
from holdfast.jobs.fsck import Fsck
from holdfast.jobs.kinds import Range
from holdfast.jobs.reconcile import pay
from holdfast.policy.placement import Rule

DAY = 86400.0
RUNS = 25  #: looks in each world
STORES = ("main", "other")
_KEYS = 12
_LEAST = 18  #: objects that are there before anything is planted
_MOST = 4  #: planted at a time


class Killed(BaseException):
    """The process died here."""


@dataclass
class Figures:
    """What came of it."""

    runs: int = 0
    worlds: int = 0
    kinds: Counter[str] = field(default_factory=Counter)  #: how runs ended, and what went on meanwhile
    orphans: int = 0
    found: int = 0
    losses: int = 0
    reported: int = 0
    damage: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def sound(self) -> bool:
        """Whether nothing live went and everything planted was seen."""
        return (
            not self.damage
            and self.orphans > 0
            and self.found == self.orphans
            and self.reported == self.losses
        )

    def add(self, other: Figures) -> None:
        """Take in what another process saw."""
        self.runs += other.runs
        self.worlds += other.worlds
        self.kinds += other.kinds
        self.orphans += other.orphans
        self.found += other.found
        self.losses += other.losses
        self.reported += other.reported
        self.damage += other.damage

    def __str__(self) -> str:
        shown = "".join(f"\n    {line}" for line in self.damage[:10])
        kinds = ", ".join(f"{count:,} {name}" for name, count in sorted(self.kinds.items()))
        return (
            f"gc: {self.runs:,} looks in {self.worlds:,} worlds: {kinds}\n"
            f"  orphans found {self.found:,} of {self.orphans:,}, losses reported {self.reported:,} of {self.losses:,},"
            f" live blobs deleted {len(self.damage)}; {self.seconds:.0f} s → {'sound' if self.sound else 'BROKEN'}{shown}"
        )


class Lister:
    """A store's listing that does not tell the truth when it is told so, and lets others work between two names."""

    def __init__(self, disk: MemoryBackend, chance: random.Random) -> None:
        self._real = disk.list
        self._chance = chance
        self.mode = "plain"
        self.share = 0.0
        self.breaks = ""
        self.old: list[BlobInfo] = []
        self.between: Callable[[], Awaitable[None]] | None = None
        self._busy = False
        disk.list = self.list  # type: ignore[method-assign]

    async def remember(self) -> None:
        """Keep the listing as it is now, to give it out later."""
        self.old = [info async for info in self._real("")]

    async def list(self, prefix: str = "", *, after: str = "") -> AsyncIterator[BlobInfo]:
        """List, as the mode is."""
        if self.mode == "old":
            for info in self.old:
                if info.name.startswith(prefix) and info.name > after:
                    yield info
            return
        async for info in self._real(prefix, after=after):
            if self.mode == "fails" and info.name >= self.breaks:
                raise UnavailableError("the listing broke off")
            if self.mode == "ends" and info.name >= self.breaks:
                return
            if self.mode == "leaves-out" and self._left_out(info.name):
                continue
            if self.between is not None and not self._busy and self._chance.random() < 0.1:
                self._busy = True
                try:
                    await self.between()
                finally:
                    self._busy = False
            yield info

    def _left_out(self, name: str) -> bool:
        return random.Random(f"{name}{self.breaks}").random() < self.share


class World:
    """Stores, a catalog, and what must be in them."""

    def __init__(self, seed: int, url: str, figures: Figures) -> None:
        self.chance = random.Random(seed)
        self.seed, self.url, self.figures = seed, url, figures
        self.planted: dict[tuple[str, str], bool] = {}  #: orphans, and whether they were told of
        self.lost: dict[str, tuple[str, str]] = {}  #: ids of rows whose blob was taken away
        self.told: set[str] = set()
        self.wrote: dict[str, bytes] = {}
        self.hopeless: set[str] = set()  #: keys that lost all copies
        self.number = 0
        self.calm = False

    async def run(self) -> None:
        """Live through all looks, then see that nothing is missing."""
        from tests.engine.encrypted import place

        world = Environment.seeded(self.seed)
        rule = Rule("default", STORES, acknowledge=2)
        async with place(self.url, rule=rule, stores=STORES, environment=world) as self.here:
            self.listers = {name: Lister(disk, self.chance) for name, disk in self.here.disks.items()}
            for _ in range(_LEAST):
                await self._put()
            for _ in range(RUNS):
                await self._events(self.chance.randrange(4))
                await self._look()
                await self._check()
            await self._truth()

    # -- what goes on -------------------------------------------------------------------------------------------------
    async def _events(self, count: int) -> None:
        doings = (
            (self._put, 6),
            (self._delete, 2),
            (self._upload, 2),
            (self._plant, 3),
            (self._lose, 2),
            (self._jump, 3),
            (self._sweep, 2),
            (self._pay, 2),
            (self._decide, 1),
            (self._foreign, 1),
            (self._remember, 1),
        )
        for doing in self.chance.choices(
            [one for one, _ in doings], [weight for _, weight in doings], k=count
        ):
            try:
                await doing()
            except HoldfastError:
                self.figures.kinds["refused meanwhile"] += 1

    async def _put(self) -> None:
        self.number += 1
        key = f"k{self.chance.randrange(_KEYS) if self.number > _LEAST else self.number}"
        data = self.chance.randbytes(self.chance.randrange(1, 40))
        await self.here.session.put("plain", key, Body.of_bytes(data))
        self.wrote[key] = data
        self.hopeless.discard(key)

    async def _delete(self) -> None:
        if len(self.wrote) > _LEAST // 2:
            key = self.chance.choice(sorted(self.wrote))
            await self.here.session.delete("plain", key)
            del self.wrote[key]
            self.hopeless.discard(key)

    async def _upload(self) -> None:
        session, key = self.here.session, f"u{self.chance.randrange(3)}"
        upload = await session.create_upload("plain", key)
        parts = [
            await session.put_part("plain", key, upload.id, number, Body.of_bytes(b"%d" % number))
            for number in range(1, self.chance.randrange(2, 4))
        ]
        end = self.chance.random()
        if end < 0.5:
            await session.complete_upload("plain", key, upload.id, [(one.number, one.etag) for one in parts])
            self.wrote[key] = b"".join(b"%d" % one.number for one in parts)
            self.hopeless.discard(key)
        elif end < 0.75:
            await session.abort_upload("plain", key, upload.id)

    async def _plant(self) -> None:
        waiting = [one for one, seen in self.planted.items() if not seen]
        if len(waiting) >= _MOST:
            return
        store = self.chance.choice(STORES)
        tail = ABOUT if self.chance.random() < 0.2 else ""
        name = f"default/2023111422/{self.here.environment.new_id()}{tail}"
        await self.here.disks[store].put(name, Body.of_bytes(b"nobody's"))
        self.planted[store, name] = False
        self.figures.orphans += 1

    async def _lose(self) -> None:
        rows = [
            row
            for row in await self.here.engine.catalog.replicas()
            if row.state is ReplicaState.LIVE and row.id not in self.lost
        ]
        if len(self.lost.keys() - self.told) >= _MOST or not rows:
            return
        row = self.chance.choice(rows)
        await self.here.disks[row.store].delete(row.blob)
        self.lost[row.id] = (row.store, row.blob)
        self.figures.losses += 1
        await self._gave_up()

    async def _gave_up(self) -> None:
        """Note the keys of which no whole copy is left anywhere."""
        catalog = self.here.engine.catalog
        for key in list(self.wrote):
            located = await catalog.resolve(self.here.session._ref("plain", key))
            for segment in located.segments:
                copies = [row for row in located.replicas if row.segment_id == segment.id]
                if all(row.id in self.lost for row in copies):
                    self.hopeless.add(key)

    async def _jump(self) -> None:
        clock = self.here.environment.clock
        assert isinstance(clock, ManualClock)
        clock.advance(self.chance.choice((60.0, 3600.0, DAY / 2, DAY, 3 * DAY, 8 * DAY, 40 * DAY)))

    async def _sweep(self) -> None:
        await self.here.engine.sweep()

    async def _pay(self) -> None:
        await pay(self.here.engine, hurry=True)

    async def _decide(self) -> None:
        from holdfast.catalog.contract import Actor

        found = await self.here.engine.catalog.findings(kind="dark")
        open_ = [one for one in found if one.state in (FindingState.SEEN, FindingState.QUARANTINED)]
        if open_:
            wish = self.chance.choice((FindingState.QUARANTINED, FindingState.RELEASED))
            one = self.chance.choice(open_)
            await self.here.engine.catalog.change_finding(one, wish, hold=10, actor=Actor("boss"))

    async def _foreign(self) -> None:
        await self.here.disks[self.chance.choice(STORES)].put("readme.txt", Body.of_bytes(b"by others"))

    async def _remember(self) -> None:
        await self.listers[self.chance.choice(STORES)].remember()

    # -- looking ------------------------------------------------------------------------------------------------------
    async def _look(self) -> None:
        """One look, with whatever befalls it."""
        self.figures.runs += 1
        store = self.chance.choice(STORES)
        lister = self.listers[store]
        names = [info.name async for info in lister._real("")]
        lister.mode = self.chance.choices(("plain", "fails", "ends", "leaves-out", "old"), (6, 2, 2, 2, 1))[0]
        lister.breaks = self.chance.choice(names) if names else ""
        lister.share = self.chance.choice((0.02, 0.15, 0.5, 1.0))
        lister.between = (lambda: self._events(1)) if self.chance.random() < 0.5 else None
        self.figures.kinds[lister.mode] += 1
        deadline = self.chance.randrange(1, 12) if self.chance.random() < 0.35 else None
        try:
            with armed(self._trap()):
                await self._go(store, deadline)
        except Killed:
            self.figures.kinds["killed"] += 1
        except HoldfastError:
            self.figures.kinds["failed"] += 1
        finally:
            lister.mode, lister.between = "plain", None

    def _trap(self) -> Callable[[str], None]:
        fuse = self.chance.randrange(1, 6) if self.chance.random() < 0.2 else 0
        passes = 0

        def hook(name: str) -> None:
            nonlocal passes
            if fuse and name.startswith("fsck."):
                passes += 1
                if passes == fuse:
                    raise Killed

        return hook

    async def _go(self, store: str, deadline: int | None) -> None:
        """Do the steps of a job; a step may be done twice, and who dies at `deadline` is replaced, or not."""
        from tests.engine.alone import work_of

        kind = Fsck()
        work = work_of(self.here.engine, kind, {"store": store, "gap": DAY, "hold": 7 * DAY, "young": 600})
        ranges: list[Range] = list(await kind.split(work))
        steps = 0
        for number, stretch in enumerate(ranges):
            part = Part(work.job.id, number, stretch.start, stretch.end)
            while not part.done:
                if self.chance.random() < 0.15:
                    await kind.step(work, part)
                step = await kind.step(work, part)
                part = replace(part, cursor=step.cursor, done=step.done)
                self._hear(step.counts.notes)
                steps += 1
                if not self.calm and self.chance.random() < 0.3:
                    await self._events(1)
                if deadline is not None and steps >= deadline:
                    deadline = None
                    if self.chance.random() < 0.5:
                        self.figures.kinds["left"] += 1
                        return
                    self.figures.kinds["taken over"] += 1

    def _hear(self, notes: object) -> None:
        if isinstance(notes, dict):
            for name in ("removed", "quarantined", "not_believed", "healing"):
                self.figures.kinds[name] += notes.get(name, 0)

    # -- what must hold -----------------------------------------------------------------------------------------------
    async def _check(self) -> None:
        """Nothing that a row says is live may be gone, but what was taken away on purpose."""
        catalog = self.here.engine.catalog
        there = {(name, info.name) for name in STORES async for info in self.listers[name]._real("")}
        for row in await catalog.replicas():
            if row.state not in (ReplicaState.LIVE, ReplicaState.SUSPECT) or row.id in self.lost:
                continue
            if (row.store, row.blob) not in there:
                self._wrong(f"live blob {row.blob} is gone from {row.store}")
        for finding in await catalog.findings():
            place = (finding.store, finding.blob)
            if place in self.planted:
                self.planted[place] = True
        rows = {row.id: row for row in await catalog.replicas()}
        for name, (store, blob) in self.lost.items():
            row = rows.get(name)
            if row is None or row.state is not ReplicaState.LIVE or await self._is_told(store, blob):
                self.told.add(name)

    async def _is_told(self, store: str, blob: str) -> bool:
        page = await self.here.engine.catalog.findings(store=store, after=(store, blob, ""), limit=1)
        return bool(page) and page[0].blob == blob

    async def _truth(self) -> None:
        """Let the stores tell the truth, and see that all was found and is as it was written."""
        clock = self.here.environment.clock
        assert isinstance(clock, ManualClock)
        self.calm = True
        for store in STORES:
            clock.advance(2 * DAY)
            await self._go(store, None)
        await self._check()
        await pay(self.here.engine, hurry=True)
        self.figures.found += sum(self.planted.values())
        self.figures.reported += len(self.told)
        for place, seen in self.planted.items():
            if not seen:
                self._wrong(f"orphan {place} was never told of")
        for key, data in self.wrote.items():
            if key in self.hopeless:
                continue
            async with self.here.session.get("plain", key) as reader:
                if await reader.read() != data:
                    self._wrong(f"{key} is not what was written")
        self.figures.worlds += 1

    def _wrong(self, text: str) -> None:
        self.figures.damage.append(f"seed {self.seed}: {text}")


async def tortured(runs: int, seed: int, *, first: int = 0, step: int = 1) -> Figures:
    """Look `runs` times in all; each world has a seed of its own. Of several processes each takes every `step`th world."""
    figures = Figures()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="holdfast-gc-") as folder:
        template = Path(folder) / "template.db"
        upgrade_sqlite(str(template))
        for number in range(first, -(-runs // RUNS), step):
            path = Path(folder) / f"{number}.db"
            shutil.copy(template, path)
            world = World(seed * 1_000_003 + number, f"sqlite:///{path}", figures)
            try:
                await asyncio.wait_for(world.run(), 300)
            except Exception as error:  # whatever it is, it must name its seed
                figures.damage.append(f"seed {world.seed}: {type(error).__name__}: {error}")
            for one in Path(folder).glob(f"{number}.db*"):
                one.unlink()
    figures.seconds = time.monotonic() - began
    return figures


def report(runs: int, seed: int, *, workers: int = 1, replay: int | None = None) -> bool:
    """Torture in so many processes, print what came of it, and return whether nothing was wrong."""
    began = time.monotonic()
    figures = Figures()
    if replay is not None:
        _quiet()
        print(asyncio.run(replayed(replay)))  # noqa: T201
        return True
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=_quiet) as pool:
        for share in pool.map(_share, [(runs, seed, first, workers) for first in range(workers)]):
            figures.add(share)
    figures.seconds = time.monotonic() - began
    print(figures)  # noqa: T201
    return figures.sound


async def replayed(seed: int) -> Figures:
    """Live through the one world of a seed."""
    figures = Figures()
    with tempfile.TemporaryDirectory(prefix="holdfast-gc-") as folder:
        path = Path(folder) / "catalog.db"
        upgrade_sqlite(str(path))
        await World(seed, f"sqlite:///{path}", figures).run()
    return figures


def _share(asked: tuple[int, int, int, int]) -> Figures:
    runs, seed, first, step = asked
    return asyncio.run(tortured(runs, seed, first=first, step=step))


def _quiet() -> None:
    """Keep the log to itself: what is told there is planted."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
