"""Backups and restores that die again and again while objects change, each compared with what was there at its moment.

A trial fills a catalog, backs it up with deaths at random puts while others write, delete and sweep without any grace
between its steps, restores the set into an empty catalog with deaths at random places, and compares rows and bytes. Every
second set is incremental. What is not as it was is a failure, and so is a blob that a sweep leaves behind.
"""
# ruff: noqa: T201 - this is what prints

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from holdfast.core.body import Body
from holdfast.core.clock import Environment
from holdfast.core.failpoints import armed
from holdfast.core.jobs import Part
from holdfast.core.types import BlobInfo, ReplicaState
from holdfast.engine.engine import Engine
from holdfast.engine.settings import EngineSettings
from holdfast.jobs.backup import Backup
from holdfast.jobs.kinds import Kind, Work
from holdfast.jobs.restore import Restore
from holdfast.layers.base import ALL, Layer
from tests.engine.alone import work_of
from tests.engine.vault import RECIPIENT, SECRET, Vault, all_rows, furnish, read_all, session

_SIZES: Final = (0, 1, 900, 30_000, 200_000, 4_500_000)
_SETS: Final = 3
_MOST: Final = 25  #: deaths in a row


class Death(BaseException):
    """The process ended here."""


class _Mortal(Layer):
    """A store under which the process dies at random puts, before or after their effect."""

    preserves = ALL
    chance: random.Random | None = None
    deaths = 0

    async def put(self, name: str, body: Any, **how: Any) -> BlobInfo:
        dies = self.chance is not None and self.chance.random() < 0.15
        if dies and self.chance is not None and self.chance.random() < 0.5:
            self.deaths += 1
            raise Death
        done = await super().put(name, body, **how)
        if dies:
            self.deaths += 1
            raise Death
        return done


async def _change(engine: Engine, chance: random.Random) -> None:
    """Write, replace and remove some objects, and let the sweep have what it may."""
    who = session(engine)
    for _ in range(chance.randrange(1, 6)):
        bucket, key = chance.choice(("plain", "kept")), f"k{chance.randrange(8)}"
        if chance.random() < 0.3:
            await who.delete(bucket, key)
        else:
            await who.put(bucket, key, Body.of_bytes(chance.randbytes(chance.choice(_SIZES))))
    await engine.sweep()


async def _backed_up(engine: Engine, spec: dict[str, Any], chance: random.Random) -> tuple[str, Any, Any]:
    """Back up with deaths and changes in between; return the set, and the rows and contents of its moment."""
    kind, before = Backup(), (await all_rows(engine), await read_all(engine))
    work = work_of(engine, kind, spec)
    part = Part(work.job.id, 0)
    while not part.done:
        if not part.cursor:
            before = (await all_rows(engine), await read_all(engine))
        try:
            step = await kind.step(work, part)
        except Death:
            continue
        if step.failures:
            raise AssertionError(f"could not be read: {step.failures[0]}")
        part = replace(part, cursor=step.cursor, done=step.done)
        await _change(engine, chance)
    return work.job.id, *before


async def _restored(kind: Kind, work: Work, chance: random.Random) -> int:
    """Restore with deaths at random places; return how many there were."""
    part, deaths = Part(work.job.id, 0), 0

    def hook(name: str) -> None:
        if name.startswith("restore.") and deaths < _MOST and chance.random() < 0.1:
            raise Death

    while not part.done:
        try:
            with armed(hook):
                step = await kind.step(work, part)
        except Death:
            deaths += 1
            continue
        if step.failures:
            raise AssertionError(f"could not be restored: {step.failures[0]}")
        part = replace(part, cursor=step.cursor, done=step.done)
    return deaths


async def _trial(seed: int, folder: Path) -> tuple[int, int]:
    """Run one trial; return how many deaths and versions it had."""
    chance = random.Random(seed)  # noqa: S311 - it has to be repeatable
    vault = Vault(Environment.seeded(seed))
    mortal = vault.safe = _Mortal(vault.safe)
    identity = folder / "recovery.key"
    identity.write_text(SECRET)
    deaths, versions, taken = 0, 0, []
    grace = EngineSettings(grace=0.0)
    inline = chance.choice((0, 1000))
    async with vault.opened(f"sqlite:///{folder}/old.db", inline=inline, settings=grace) as engine:
        await furnish(engine)
        for number in range(_SETS):
            await _change(engine, chance)
            spec = {
                "store": "safe",
                "recipients": [RECIPIENT],
                "incremental": number % 2 == 1,
                "max_size": 64 << 10,
                "chunk_size": 64 << 10,
                "compression": chance.choice(("zst", "gz", "none")),
            }
            mortal.chance = chance
            taken.append(await _backed_up(engine, spec, chance))
            mortal.chance = None
    for number, (set_id, rows, contents) in enumerate(taken):
        main = f"m{number}"
        async with vault.opened(f"sqlite:///{folder}/{main}.db", main=main, settings=grace) as engine:
            spec = {"store": "safe", "set": set_id, "identity": str(identity)}
            deaths += await _restored(Restore(), work_of(engine, Restore(), spec), chance)
            if await all_rows(engine) != rows:
                raise AssertionError(f"set {number}: the rows that came back are not those of its moment")
            if await read_all(engine) != contents:
                raise AssertionError(f"set {number}: the bytes that came back are not those of its moment")
            await _only_live(engine, vault, main)
            versions += len(contents)
    return deaths + mortal.deaths, versions


async def _only_live(engine: Engine, vault: Vault, main: str) -> None:
    """Check that a sweep leaves nothing but live copies."""
    vault.environment.clock.advance(3600.0)  # type: ignore[attr-defined]
    await engine.sweep()
    rows = await engine.catalog.replicas(limit=10_000)
    held = [info.name async for info in vault.mains[main].list() if ":" not in info.name]
    here = sorted(row.blob for row in rows if row.store == main)
    if {row.state for row in rows} - {ReplicaState.LIVE} or sorted(held) != here:
        raise AssertionError("a sweep left something behind, or took something away")


def report(trials: int, seed: int, *, replay: int | None) -> bool:
    """Run trials, print what came of them, and return whether all was well."""
    seeds = [replay] if replay is not None else [seed * 1_000_003 + number for number in range(trials)]
    began, deaths, versions, failed = time.monotonic(), 0, 0, 0
    for one in seeds:
        with tempfile.TemporaryDirectory(prefix="holdfast-torture-") as folder:
            try:
                died, seen = asyncio.run(_trial(one, Path(folder)))
            except AssertionError as error:
                failed += 1
                print(f"backup: seed {one} fails: {error}; replay with --replay {one}")
                continue
        deaths, versions = deaths + died, versions + seen
    passed = time.monotonic() - began
    print(
        f"backup: {len(seeds)} trials, {deaths} deaths, {versions} versions compared, {failed} failed, {passed:.0f} s"
    )
    return failed == 0 and bool(seeds)
