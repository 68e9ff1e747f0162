"""Bits flipped where bytes lie, in stores of every kind: each is found, no damaged byte is served, and all is made good.

Each kind of store has a second one beside it with a copy of everything. In every round some blobs of the store are damaged,
one bit each, wherever they lie: on the disk, in the folder behind an S3 server, in MinIO, in an encrypted blob (its envelope
too), behind a cache that is warm. First every object is read with only the damaged copy in reach: the answer is what was
written, or an error, and nothing else. Then a scrub has to find each of them; then debts are paid, and a second scrub and a
read of everything find nothing wrong.
"""
# ruff: noqa: S311 - choices that must repeat

from __future__ import annotations

import asyncio
import logging
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from holdfast.backends.local.paths import path_of
from holdfast.catalog import open_catalog
from holdfast.config.settings import StoreSettings
from holdfast.core.backend import Store, StoreState
from holdfast.core.body import Body
from holdfast.core.clock import Environment
from holdfast.core.errors import HoldfastError, UnavailableError
from holdfast.core.types import Principal, Replica, ReplicaState
from holdfast.drivers import open_store
from holdfast.engine.engine import Engine
from holdfast.engine.keyring import CatalogKeyRing
from holdfast.engine.secrets import RootSecret
from holdfast.engine.session import Session
from holdfast.engine.settings import EngineSettings
from holdfast.engine.wrapping import root_keys
from holdfast.jobs.reconcile import pay
from holdfast.jobs.scrub import Scrub
from holdfast.policy.placement import Placement, Rule
from holdfast.testing.servers import S3Server, ServerMissingError, minio_s3, rclone_s3

KINDS = ("local", "s3", "minio", "encrypted", "cached")
_ROUND = 20  #: flips in each round
_SIZES = (1, 7, 900, 65_536, 65_537, 300_000, 1_500_000)
_SECRET = RootSecret(b"t" * 32)


@dataclass
class Figures:
    """What came of the flips in one kind of store."""

    kind: str
    flips: int = 0
    found: int = 0  #: by the scrub
    refused: int = 0  #: reads of the damaged copy that ended with an error
    unharmed: int = 0  #: reads of it that were right all the same: a cache, or a part that is not content
    served: int = 0  #: wrong bytes
    healed: int = 0
    left: int = 0  #: wrong after all was done
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)
    skipped: str = ""

    @property
    def sound(self) -> bool:
        """Whether all were found and healed, and none was served."""
        if self.skipped:
            return True
        whole = self.flips == self.found == self.healed and not self.wrong
        return whole and self.flips > 0 and self.served == 0 == self.left

    def __str__(self) -> str:
        if self.skipped:
            return f"{self.kind}: left out: {self.skipped}"
        shown = "".join(f"\n    {line}" for line in self.wrong[:5])
        return (
            f"{self.kind}: {self.flips} bits flipped, {self.found} found by scrub, {self.healed} healed; reads of the damaged"
            f" copy alone: {self.refused} refused, {self.unharmed} right, {self.served} wrong; left wrong {self.left};"
            f" {self.seconds:.0f} s → {'sound' if self.sound else 'BROKEN'}{shown}"
        )


class Ground:
    """A service over the store of one kind and a second one, both of which can be reached from below."""

    def __init__(self, kind: str, folder: Path, server: S3Server | None) -> None:
        self.kind, self.folder, self.server = kind, folder, server
        self.environment = Environment()

    async def open(self) -> None:
        """Open the engine."""
        catalog = await open_catalog(
            f"sqlite:///{self.folder / 'catalog.db'}", environment=self.environment, upgrade=True
        )
        ring = CatalogKeyRing(catalog, root_keys("", _SECRET, self.environment), self.environment.clock)
        self.stores: dict[str, Store] = {
            name: open_store(name, settings, self.environment, keys=ring)
            for name, settings in self._settings().items()
        }
        self.raw = open_store("main", self._plain(), self.environment)
        rule = Rule("default", ("main", "mirror"), acknowledge=2)
        self.engine = Engine(
            catalog,
            self.stores,
            Placement(rule, inline=0),
            environment=self.environment,
            settings=EngineSettings(hot=0),  # or it would remember small contents
            secret=_SECRET,
            keys=ring,
        )
        self.session: Session = self.engine.session(Principal("tester", "default", "admin"))
        await catalog.create_tenant("default")
        await self.session.create_bucket("plain")

    async def close(self) -> None:
        """Close all."""
        await self.raw.backend.close()
        await self.engine.close()

    def _plain(self) -> StoreSettings:
        if self.server is None:
            return StoreSettings.model_validate(
                {"driver": "local", "path": str(self.folder / "main"), "create": True, "fsync": False}
            )
        server = self.server
        return StoreSettings.model_validate(
            {
                "driver": "s3",
                "endpoint": server.endpoint,
                "region": server.region,
                "bucket": server.bucket,
                "access_key": server.access_key,
                "secret_key": server.secret_key,
                "allow_http": True,
                "conditional_writes": server.kind != "rclone",
            }
        )

    def _settings(self) -> dict[str, StoreSettings]:
        more: dict[str, object] = {"encrypt": self.kind == "encrypted"}
        if self.kind == "cached":
            more |= {"cache": str(self.folder / "cache")}
        main = self._plain().model_copy(update={})
        told = {**main.model_dump(exclude_unset=True), **(main.model_extra or {}), **more}
        mirror = {"driver": "local", "path": str(self.folder / "mirror"), "create": True, "fsync": False}
        return {"main": StoreSettings.model_validate(told), "mirror": StoreSettings.model_validate(mirror)}

    async def flip(self, copy: Replica, chance: random.Random) -> int:
        """Flip one bit of a blob as it lies in the store; return which byte it was in."""
        if self.kind == "minio":  # it would notice itself what happens on its disk
            async with self.raw.backend.get(copy.blob) as reader:
                data = bytearray(await reader.read())
            at = chance.randrange(len(data))
            data[at] ^= 1 << chance.randrange(8)
            await self.raw.backend.put(copy.blob, Body.of_bytes(bytes(data)))
            return at
        path = (
            self.folder / "main" / path_of(copy.blob)
            if self.server is None
            else self.server.data / self.server.bucket / copy.blob
        )
        size = path.stat().st_size
        at = chance.randrange(min(size, 200) if chance.random() < 0.3 else size)
        with path.open("r+b") as file:
            file.seek(at)
            byte = file.read(1)[0] ^ (1 << chance.randrange(8))
            file.seek(at)
            file.write(bytes([byte]))
        return at


@contextmanager
def ground_of(kind: str) -> Iterator[Ground]:
    """Give what a kind needs: a folder, and a server where it has one."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="holdfast-scrub-")))
        server = None
        if kind in ("s3", "minio"):
            server = stack.enter_context(rclone_s3() if kind == "s3" else minio_s3())
        yield Ground(kind, folder, server)


async def torture(ground: Ground, flips: int, seed: int) -> Figures:
    """Flip so many bits, round by round."""
    figures, chance = Figures(ground.kind), random.Random(f"{seed} {ground.kind}")
    began = time.monotonic()
    await ground.open()
    try:
        wrote = {}
        for number in range(_ROUND * 2):
            data = chance.randbytes(_SIZES[number % len(_SIZES)])
            await ground.session.put("plain", f"k{number}", Body.of_bytes(data))
            wrote[f"k{number}"] = data
        if ground.kind == "cached":
            await _read_all(ground, wrote, figures)
        while figures.flips < flips:
            await _round(ground, wrote, min(_ROUND, flips - figures.flips), chance, figures)
    finally:
        await ground.close()
    figures.seconds = time.monotonic() - began
    return figures


async def _round(
    ground: Ground, wrote: dict[str, bytes], count: int, chance: random.Random, figures: Figures
) -> None:
    rows = [
        row
        for row in await ground.engine.catalog.replicas(store="main")
        if row.state is ReplicaState.LIVE and row.size
    ]
    bad = chance.sample(rows, count)
    offsets = {row.id: await ground.flip(row, chance) for row in bad}
    figures.flips += count
    half = bad[: count // 2]
    await _read_damaged(ground, wrote, half, figures)
    await _scrub(ground)
    after = {row.id: row.state for row in await ground.engine.catalog.replicas(store="main")}
    for row in bad:
        if after.get(row.id) is ReplicaState.LIVE:
            figures.wrong.append(f"byte {offsets[row.id]} of {row.size} in {row.blob} was not found")
        else:
            figures.found += 1
    await pay(ground.engine, hurry=True)
    states = {row.id: row.state for row in await ground.engine.catalog.replicas(store="main")}
    figures.healed += sum(1 for row in bad if states.get(row.id) is ReplicaState.DOOMED)
    figures.left += await _scrub(ground)
    await _read_all(ground, wrote, figures)


async def _read_damaged(
    ground: Ground, wrote: dict[str, bytes], bad: Sequence[Replica], figures: Figures
) -> None:
    """Read objects while only the damaged copy is in reach."""
    catalog = ground.engine.catalog
    mirror = ground.stores["mirror"]
    real = mirror.backend
    keys = {await _version(ground, key): key for key in wrote}
    for row in bad:
        key = keys[row.version_id]
        mirror.backend = _Gone(real)  # type: ignore[assignment]
        mirror.state = StoreState.DOWN
        try:
            async with ground.session.get("plain", key) as reader:
                data = await reader.read()
        except HoldfastError:
            figures.refused += 1
        else:
            if data == wrote[key]:
                figures.unharmed += 1
            else:
                figures.served += 1
                figures.wrong.append(f"wrong bytes of {key} were served")
        finally:
            mirror.backend, mirror.state = real, StoreState.ACTIVE
    for copy in await catalog.replicas(store="mirror"):
        if copy.state is ReplicaState.SUSPECT:  # it was out of reach, and is as it was
            await catalog.mark_proved([copy.id], at=await catalog.now())


class _Gone:
    """A backend that is not there."""

    def __init__(self, real: object) -> None:
        self._real = real

    def __getattr__(self, name: str) -> object:
        if name in ("get", "head", "put", "list"):
            raise UnavailableError(f"{name}: the store is out of reach", store="mirror")
        return getattr(self._real, name)


async def _version(ground: Ground, key: str) -> str:
    return (await ground.session.head("plain", key))[0].id


async def _scrub(ground: Ground) -> int:
    """Scrub the store, whatever was proved before; return how many copies were bad."""
    from tests.engine.alone import run_alone

    await asyncio.sleep(0.002)  # so that what was proved just now is before now
    ran = await run_alone(ground.engine, Scrub(), {"store": "main", "max_age": 0})
    return ran.counts.failed


async def _read_all(ground: Ground, wrote: dict[str, bytes], figures: Figures) -> None:
    for key, data in wrote.items():
        async with ground.session.get("plain", key) as reader:
            if await reader.read() != data:
                figures.served += 1
                figures.wrong.append(f"{key} is not what was written")


def report(flips: int, seed: int, only: Sequence[str] = ()) -> bool:
    """Flip bits in stores of each kind, print what came of it, and return whether nothing was wrong."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    kinds = tuple(only) or KINDS
    sound = True
    for number, kind in enumerate(kinds):
        share = flips // len(kinds) + (1 if number < flips % len(kinds) else 0)
        try:
            with ground_of(kind) as ground:
                figures = asyncio.run(torture(ground, share, seed))
        except ServerMissingError as missing:
            figures = Figures(kind, skipped=str(missing))
        print(figures, flush=True)  # noqa: T201
        sound = sound and figures.sound
    return sound
