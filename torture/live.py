"""A store left while it is written to: writers on both sides, readers, and a follower that is killed again and again.

Workers own keys of their own. One writes and deletes in the upstream, as another program would, until the key moves; then it
is written and deleted here. Every read must give what was written last. The follower is another process, killed with
SIGKILL at any moment and started again. In the end nothing may differ: the gate opens, and the way back leads to the same.
"""
# ruff: noqa: S311, T201 - choices that must repeat, no secrets; it is a program: it prints

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from holdfast.backends.local import LocalSettings, open_local
from holdfast.catalog import open_catalog
from holdfast.core.adopted import Phase, Upstream, foreign_name, key_of
from holdfast.core.backend import Store
from holdfast.core.body import Body
from holdfast.core.clock import Environment
from holdfast.core.errors import HoldfastError, NotFoundError
from holdfast.core.jobs import Counts, Job, Part
from holdfast.core.types import Principal
from holdfast.engine.engine import Engine
from holdfast.engine.session import Session
from holdfast.jobs.follow import Follow
from holdfast.jobs.kinds import Kind, Work
from holdfast.jobs.upstream_gate import VerifyUpstream
from holdfast.policy.placement import Placement, Rule

_ADMIN = Principal("torture", "default", "admin")
_PLACE = {"tenant": "default", "bucket": "live"}
_SIZES = (10, 3000, 90_000, 1_500_000)


@dataclass
class Seen:
    """What was seen in all trials."""

    trials: int = 0
    kills: int = 0
    changes: int = 0
    reads: int = 0
    failed: int = 0  #: reads of what is there
    stale: int = 0  #: reads of something else than what was written last
    back: int = 0  #: reads of what was deleted
    wrong: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether nothing was wrong, and something was tried."""
        return self.trials > 0 and self.reads > 0 and not self.wrong

    def __str__(self) -> str:
        shown = "".join(f"\n    {line}" for line in self.wrong[:8])
        return (
            f"live migration: {self.trials} trials, {self.kills} kills, {self.changes:,} changes, {self.reads:,} reads:"
            f" {self.failed} failed, {self.stale} stale, {self.back} deletes came back{shown}"
        )


class _Free:
    """A gauge that lets everything pass."""

    async def objects(self, count: int = 1) -> None:
        return

    async def bytes(self, count: int) -> None:
        return


async def _beat() -> None:
    return


async def work_at(engine: Engine, kind: Kind, spec: Mapping[str, Any], *, rounds: int) -> Job:
    """Do a job of `kind` in this process, `rounds` rounds at most, and return it as it ended."""
    job = Job(engine.context.environment.new_id(), "default", kind.name, kind.check(spec))
    work = Work(engine, job, _Free(), lambda: False, _beat)
    ranges, counts = await kind.split(work), Counts()
    for number in range(1, rounds + 1):
        for place, stretch in enumerate(ranges):
            part = Part(job.id, place, stretch.start, stretch.end)
            while not part.done:
                step = await kind.step(work, part)
                counts += step.counts
                part = replace(part, cursor=step.cursor, done=step.done)
        job = replace(job, counts=counts, round=number)
        work = replace(work, job=job)
        end = await kind.finish(work)
        job = replace(job, result=end.result)
        if not end.again:
            break
        ranges = end.again
    return job


async def opened(folder: Path) -> Engine:
    """Return an engine over the catalog and the stores of `folder`."""
    environment = Environment()
    catalog = await open_catalog(f"sqlite:///{folder}/catalog.db", environment=environment, upgrade=True)
    stores = {}
    for name in ("theirs", "home"):
        (folder / name).mkdir(exist_ok=True)
        settings = LocalSettings(path=folder / name, fsync=False)
        stores[name] = Store(name, open_local(name, settings, environment=environment))
    return Engine(catalog, stores, Placement(Rule("default", ("home",)), (), 4096), environment=environment)


def follower(folder: Path) -> int:
    """Start a process that follows without end, and return its id."""
    command = [sys.executable, "-m", "torture.live", str(folder)]
    return os.posix_spawn(sys.executable, command, dict(os.environ))


@dataclass
class _Trial:
    engine: Engine
    session: Session
    seen: Seen
    folder: Path
    until: float
    model: dict[str, bytes] = field(default_factory=dict)
    vanished: set[str] = field(default_factory=set)  #: deleted there: here for two passes more
    pid: int = 0

    async def killer(self, kills: int, dice: random.Random) -> None:
        """Kill the follower so often, and have it begin anew."""
        self.pid = follower(self.folder)
        for _ in range(kills):
            await asyncio.sleep(dice.uniform(0.3, 1.5))
            self.end()
            self.seen.kills += 1
            self.pid = follower(self.folder)
        self.until = time.monotonic() + 1

    def end(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    async def worker(self, number: int, dice: random.Random) -> None:
        """Change and read keys that nobody else changes."""
        moved: set[str] = set()
        theirs = self.engine.stores["theirs"].backend
        turn = 0
        while time.monotonic() < self.until:
            turn += 1
            key = f"{number}/k{dice.randrange(12):02}"
            data = b"%d:%d;" % (number, turn) + dice.randbytes(dice.choice(_SIZES))
            match dice.randrange(8):
                case 0 | 1 if key not in moved:
                    await theirs.put(foreign_name(key), Body.of_bytes(data))
                    self._is(key, data)
                case 2 if key not in moved and key in self.model:
                    await theirs.delete(foreign_name(key))
                    self._is(key, None)
                    self.vanished.add(key)
                case 3 if turn > 40:
                    await self.session.put("live", key, Body.of_bytes(data))
                    moved.add(key)
                    self._is(key, data)
                case 4 if turn > 40:
                    await self.session.delete("live", key)
                    moved.add(key)
                    self._is(key, None)
                case _:
                    await self._read(key)

    def _is(self, key: str, data: bytes | None) -> None:
        self.seen.changes += 1
        self.vanished.discard(key)
        if data is None:
            self.model.pop(key, None)
        else:
            self.model[key] = data

    async def _read(self, key: str) -> None:
        self.seen.reads += 1
        try:
            async with self.session.get("live", key) as reader:
                found = await reader.read()
        except NotFoundError as error:
            if key in self.model:
                self.seen.failed += 1
                self.seen.wrong.append(f"{key} is there, and was not found: {error}")
            return
        except HoldfastError as error:
            if key in self.model:
                self.seen.failed += 1
                self.seen.wrong.append(f"{key} could not be read: {error}")
            return
        if key not in self.model and key not in self.vanished:
            self.seen.back += 1
            self.seen.wrong.append(f"{key} was deleted and came back")
        elif key in self.model and found != self.model[key]:
            self.seen.stale += 1
            self.seen.wrong.append(f"{key}: {found[:20]!r} instead of {self.model[key][:20]!r}")

    async def settle(self) -> None:
        """Check that nothing differs in the end, cut over, change something, and go back."""
        for _ in range(4):
            await work_at(
                self.engine, Follow(), {**_PLACE, "passes": 1, "pause": 0.0, "share": 1.0}, rounds=1
            )
        self._same("here", await contents(self.session), self.model)
        gate = await work_at(
            self.engine, VerifyUpstream(), {**_PLACE, "sample": 1.0, "cutover": True}, rounds=1
        )
        if gate.result.get("phase") != "cutover":
            self.seen.wrong.append(f"the gate stays shut: {dict(gate.result)}")
        await self.session.put("live", "after", Body.of_bytes(b"after"))
        self.model["after"] = b"after"
        await self.engine.catalog.change_upstream("default", "live", phase=Phase.BACK)
        await wait_for_leases(self.engine)
        await work_at(self.engine, Follow(), {**_PLACE, "passes": 1, "pause": 0.0}, rounds=1)
        theirs = {}
        backend = self.engine.stores["theirs"].backend
        async for info in backend.list("@any:/"):
            async with backend.get(info.name) as reader:
                theirs[key_of(info.name)] = await reader.read()
        self._same("there", theirs, self.model)
        if await self.engine.catalog.recount("default", "live") != await self.session.usage("live"):
            self.seen.wrong.append("the counters are not what is there")

    def _same(self, where: str, found: Mapping[str, bytes], wanted: Mapping[str, bytes]) -> None:
        for key in sorted({*found, *wanted}):
            if found.get(key) != wanted.get(key):
                self.seen.wrong.append(f"in the end {key} is not {where} what it should be")


async def contents(session: Session) -> dict[str, bytes]:
    """Return all that a bucket has."""
    found, marker = {}, ""
    while True:
        page = await session.list("live", marker=marker)
        for item in page.items:
            async with session.get("live", item.ref.key) as reader:
                found[item.ref.key] = await reader.read()
        if not page.truncated:
            return found
        marker = page.next_marker


async def trial(seed: int, seen: Seen, *, kills: int, workers: int) -> None:
    """Run one; `seen` tells what was wrong."""
    dice = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="holdfast-live-") as folder:
        engine = await opened(Path(folder))
        session = engine.session(_ADMIN)
        try:
            await engine.catalog.create_tenant("default")
            await session.create_bucket("live")
            await engine.catalog.attach_upstream(
                Upstream("default", "live", "theirs", dual_write=bool(seed % 2))
            )
            run = _Trial(engine, session, seen, Path(folder), time.monotonic() + 3600)
            killing = asyncio.ensure_future(run.killer(kills, dice))
            doing = [run.worker(number, random.Random(f"{seed}-{number}")) for number in range(workers)]
            try:
                await asyncio.gather(killing, *doing)
            finally:
                run.end()
            await wait_for_leases(engine)
            await run.settle()
            seen.trials += 1
        finally:
            await engine.close()


async def wait_for_leases(engine: Engine) -> None:
    """Return when what a killed follower was writing out may be taken again."""
    upstream = await engine.catalog.upstream("default", "live")
    assert upstream is not None
    for owed in await engine.catalog.owed_out(upstream, limit=10_000, due=1 << 62):
        await engine.catalog.postpone_out(upstream, owed, until=0, trouble="")


def report(trials: int, seed: int, *, kills: int = 20, workers: int = 4) -> bool:
    """Run trials and print what was seen; True when nothing was wrong."""
    seen = Seen()
    for number in range(trials):
        asyncio.run(trial(seed + number, seen, kills=kills, workers=workers))
        if seen.wrong:
            print(f"live: seed {seed + number} fails")
            break
    print(seen)
    return seen.sound


async def _follow(folder: Path) -> None:
    engine = await opened(folder)
    while True:
        with suppress(HoldfastError):
            await work_at(engine, Follow(), {**_PLACE, "passes": 1, "pause": 0.0, "share": 1.0}, rounds=1)
        await asyncio.sleep(0.05)


def main(arguments: Sequence[str]) -> None:
    """Follow without end: what the process does that is killed."""
    asyncio.run(_follow(Path(arguments[0])))


if __name__ == "__main__":
    main(sys.argv[1:])
