"""Clones, deletes and sweeps at once, without any grace: no bytes may go that a row still needs, and none stay that none does.

Each world has a store in memory and a catalog on SQLite, with two engines over both, as two processes would be. Writers put,
clone, rewind by clones, overwrite and delete at random; sweepers sweep all the while, and die at any step. What a writer was
told is there must read as it was written. In the end each blob has a row, and each row its blob.
"""
# ruff: noqa: S311 - choices that must repeat

from __future__ import annotations

import asyncio
import logging
import random
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from holdfast.backends.memory import MemoryBackend
from holdfast.catalog import open_catalog
from holdfast.core.backend import Store
from holdfast.core.body import Body
from holdfast.core.clock import Environment
from holdfast.core.errors import ConflictError, HoldfastError, NotFoundError
from holdfast.core.failpoints import armed
from holdfast.core.names import INLINE
from holdfast.core.types import ObjectRef, Principal, ReplicaState
from holdfast.engine.cloning import clone
from holdfast.engine.engine import Engine
from holdfast.engine.session import Session
from holdfast.engine.settings import EngineSettings
from holdfast.policy.placement import Placement

STEPS = 60  #: of each writer in a world
_WRITERS = 4
_KEYS = 5
_BUCKETS = ("plain", "kept")
_POINTS = ("sweep.after_claim", "sweep.after_delete", "sweep.after_forget")


class Killed(BaseException):
    """The sweeper died here."""


@dataclass
class Figures:
    """What came of it."""

    worlds: int = 0
    done: Counter[str] = field(default_factory=Counter)
    damage: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def sound(self) -> bool:
        """Whether nothing was lost or left, and blobs were shared at all."""
        return not self.damage and self.done["clone"] > 0 and self.done["sweep"] > 0

    def __str__(self) -> str:
        shown = "".join(f"\n    {line}" for line in self.damage[:10])
        done = ", ".join(f"{count:,} {name}" for name, count in sorted(self.done.items()))
        verdict = "sound" if self.sound else "BROKEN"
        return f"share: {self.worlds:,} worlds: {done}; {self.seconds:.0f} s → {verdict}{shown}"


async def run(worlds: int, seed: int) -> Figures:
    """Live through worlds, one after the other."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    figures, started = Figures(), time.perf_counter()
    for number in range(worlds):
        with tempfile.TemporaryDirectory() as folder:
            await _World(figures, Path(folder), seed * 1_000_003 + number).live()
        figures.worlds += 1
    figures.seconds = time.perf_counter() - started
    return figures


class _World:
    def __init__(self, figures: Figures, folder: Path, seed: int) -> None:
        self._figures, self._seed = figures, seed
        self._url = f"sqlite:///{folder / 'catalog.db'}"
        self._chance = random.Random(seed)
        self._environment = Environment()
        self._disk = MemoryBackend("main", environment=self._environment)
        self._over = False

    async def live(self) -> None:
        """Let everybody work, then look."""
        first, second = await self._engine(), await self._engine()
        await first.catalog.create_tenant("default")
        session = first.session(Principal("one", "default", "admin"))
        for name in _BUCKETS:
            await session.create_bucket(name, versioning=name == "kept")
        try:
            sweepers = [asyncio.ensure_future(self._sweep(engine)) for engine in (first, second)]
            await asyncio.gather(*(self._write(engine, n) for n, engine in enumerate((first, second) * 2)))
            self._over = True
            await asyncio.gather(*sweepers)
            await self._look(first, session)
        finally:
            await first.close()
            await second.close()

    async def _engine(self) -> Engine:
        catalog = await open_catalog(self._url, environment=self._environment, upgrade=True)
        store = Store("main", self._disk)
        inline = self._chance.choice((0, 200))
        return Engine(
            catalog,
            {"main": store},
            Placement.everything(["main"], inline=inline),
            environment=self._environment,
            settings=EngineSettings(grace=0.0),
        )

    async def _write(self, engine: Engine, number: int) -> None:
        session = engine.session(Principal("one", "default", "admin"))
        chance = random.Random(self._seed * 7 + number)
        for _ in range(STEPS):
            await self._step(engine, session, chance)

    async def _step(self, engine: Engine, session: Session, chance: random.Random) -> None:
        bucket, key = chance.choice(_BUCKETS), f"k{chance.randrange(_KEYS)}"
        deed = chance.choice(("put", "clone", "clone", "delete", "remove"))
        with suppress(NotFoundError, ConflictError):
            if deed == "put":
                data = key.encode() * chance.randrange(1, 200)
                await session.put(bucket, key, Body.of_bytes(data))
            elif deed == "clone":
                await self._clone(engine, session, chance, bucket, key)
            elif deed == "delete":
                await session.delete(bucket, key)
            else:
                page = await session.versions("kept", prefix=key)
                one = chance.choice(list(page.items)) if page.items else None
                await session.delete("kept", key, version_id=one.id if one else None)
            self._figures.done[deed] += 1

    async def _clone(
        self, engine: Engine, session: Session, chance: random.Random, bucket: str, key: str
    ) -> None:
        page = await session.versions(chance.choice(_BUCKETS))
        there = [version for version in page.items if not version.delete_marker]
        if not there:
            raise NotFoundError("there is nothing to clone")
        source = chance.choice(there)
        target = ObjectRef("default", bucket, key)
        made = await clone(engine.context, source, target, actor=session.papers[1])
        try:
            async with session.get(bucket, key, version_id=made.id) as reader:
                data = await reader.read()
        except NotFoundError:  # somebody removed the clone already
            return
        except HoldfastError as error:
            await self._missed(engine, target, made.id, error)
            return
        if len(data) != made.size:
            self._figures.damage.append(f"seed {self._seed}: {target} has {len(data)} of {made.size} bytes")

    async def _missed(self, engine: Engine, target: ObjectRef, version_id: str, error: HoldfastError) -> None:
        """Count a read that failed, unless its version went meanwhile."""
        with suppress(NotFoundError):
            await engine.catalog.resolve(target, version_id=version_id)
            self._damage(f"{target} is there and cannot be read: {error.message}")

    async def _sweep(self, engine: Engine) -> None:
        while not self._over:
            point = self._chance.choice(_POINTS)
            deadly = self._chance.random() < 0.3

            def die(name: str, at: str = point, deadly: bool = deadly) -> None:
                if deadly and name == at:
                    raise Killed

            try:
                with armed(die):
                    report = await engine.sweep()
                self._figures.done["sweep"] += 1
                self._figures.done["released row"] += report.released
                self._figures.done["deleted blob"] += report.deleted
            except Killed:
                self._figures.done["killed sweep"] += 1
            await asyncio.sleep(0)

    async def _look(self, engine: Engine, session: Session) -> None:
        for _ in range(4):
            await engine.sweep()
        rows = await engine.catalog.replicas(limit=100_000)
        if bad := [row for row in rows if row.state is not ReplicaState.LIVE]:
            self._damage(f"rows are left: {bad[:2]}")
        there = {info.name async for info in self._disk.list()}
        known = {row.blob for row in rows if row.store == "main"}
        inline = {found.blob for found in await engine.catalog.content_list("", after="", limit=100_000)}
        held = {row.blob for row in rows if row.store == INLINE}
        for name, one, other in (("blobs", there, known), ("contents", inline, held)):
            if one != other:
                self._damage(f"{name} without rows: {len(one - other)}, rows without: {len(other - one)}")
        self._figures.done["shared row"] += len(rows) - len({(row.store, row.blob) for row in rows})
        for bucket in _BUCKETS:
            for version in (await session.versions(bucket)).items:
                if version.delete_marker:
                    continue
                try:
                    async with session.get(bucket, version.ref.key, version_id=version.id) as reader:
                        if len(await reader.read()) != version.size:
                            self._damage(f"{version.ref} is torn")
                except HoldfastError as error:
                    self._damage(f"{version.ref} cannot be read: {error.message}")
            if await session.usage(bucket) != await engine.catalog.recount("default", bucket):
                self._damage(f"the counters of {bucket} are wrong")

    def _damage(self, text: str) -> None:
        self._figures.damage.append(f"seed {self._seed}: {text}")
