"""What outlives a death: a catalog on disk, blobs, and a clock that stands still unless moved."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Protocol

from holdfast.backends.local import LocalSettings, open_local
from holdfast.backends.memory import MemoryBackend
from holdfast.catalog import open_catalog
from holdfast.core.backend import Backend, Store
from holdfast.core.body import Body
from holdfast.core.clock import Environment, ManualClock
from holdfast.core.types import Principal, Quota
from holdfast.engine.engine import Engine
from holdfast.engine.keyring import CatalogKeyRing
from holdfast.engine.patience import AGAIN
from holdfast.engine.secrets import RootSecret
from holdfast.engine.session import Session
from holdfast.engine.settings import EngineSettings
from holdfast.engine.wrapping import root_keys
from holdfast.layers.describing import Describing
from holdfast.layers.encryption import Encryption
from holdfast.policy.placement import Placement, Rule
from tests.crash.tripwire import Tripwire, WiredCatalog, wrap_store

ADMIN = Principal("tester", "default", "admin")
SECRET = RootSecret(b"c" * 32)
SETTINGS = EngineSettings(idempotency_lifetime=30 * 86_400.0)
BUCKETS = {"plain": False, "kept": True}


_NAP: Final = max(AGAIN)  #: seconds


class StillClock(ManualClock):
    """A clock on which sleepers wake only when it is advanced; pauses before another try are over at once."""

    def __init__(self) -> None:
        super().__init__()
        self._sleepers: list[tuple[float, asyncio.Event]] = []

    def advance(self, seconds: float) -> None:
        super().advance(seconds)
        for until, event in self._sleepers:
            if until <= self.monotonic():
                event.set()

    async def sleep(self, seconds: float) -> None:
        if seconds <= _NAP:
            await asyncio.sleep(0)
            return
        event = asyncio.Event()
        sleeper = (self.monotonic() + seconds, event)
        self._sleepers.append(sleeper)
        try:
            await event.wait()
        finally:
            self._sleepers.remove(sleeper)


class Databases(Protocol):
    """Where catalogs other than files come from."""

    def fresh(self) -> str:
        """Return the URL of an empty database."""
        ...

    def copy(self, url: str) -> str:
        """Return the URL of a copy of a database that nobody is connected to."""
        ...


@dataclass
class World:
    """A folder with a catalog and, per store, blobs in memory or in a folder below."""

    root: Path
    stores: tuple[str, ...]  #: the name decides: `local…` is a folder, anything else memory
    seed: int = 0
    clock: StillClock = field(default_factory=StillClock)
    memory: dict[str, MemoryBackend] = field(default_factory=dict)
    databases: Databases | None = None  #: where the catalog is, if not in a file below `root`
    url: str = ""
    inline: int = 0  #: contents below this size live in the catalog
    rule: Rule | None = None  #: what holds for all objects; None: a copy in each store
    describing: bool = False  #: blobs say what they are, in records beside them

    def __post_init__(self) -> None:
        self._founded = bool(self.url)
        self.environment = Environment(self.clock, random.Random(self.seed))
        self.root.mkdir(parents=True, exist_ok=True)
        if not self.url:
            self.url = self.databases.fresh() if self.databases else f"sqlite:///{self.root / 'catalog.db'}"

    async def twin(self, root: Path, seed: int) -> World:
        """Return an independent copy; this one must be closed."""
        shutil.copytree(self.root, root)
        made = World(
            root, self.stores, seed, databases=self.databases, url=self._twin_url(), inline=self.inline
        )
        made.rule, made.describing = self.rule, self.describing
        made.clock.advance(self.clock.monotonic())
        for name, backend in self.memory.items():
            made.memory[name] = MemoryBackend(name, environment=made.environment)
            async for info in backend.list():
                async with backend.get(info.name) as reader:
                    await made.memory[name].put(info.name, Body.of_bytes(await reader.read()))
        return made

    @asynccontextmanager
    async def opened(self, wire: Tripwire | None = None) -> AsyncIterator[tuple[Engine, Session]]:
        """Give an engine over what is there, behind `wire` if one is given."""
        catalog = await open_catalog(
            self.url, environment=self.environment, upgrade=not self._founded, connections=2
        )
        self._founded = True
        stores = {name: Store(name, self._backend(name)) for name in self.stores}
        if wire is not None:
            stores = {name: wrap_store(store, wire) for name, store in stores.items()}
        known: Any = catalog if wire is None else WiredCatalog(catalog, wire)
        ring = CatalogKeyRing(known, root_keys("", SECRET, self.environment), self.clock)
        for store in stores.values():
            store.sealed = Encryption(store.backend, ring, environment=self.environment)
        if self.describing:
            stores = {
                name: replace(store, backend=Describing(store.backend, in_metadata=False))
                for name, store in stores.items()
            }
        engine = Engine(
            known,
            stores,
            self._placement(),
            environment=self.environment,
            settings=SETTINGS,
            keys=ring,
        )
        try:
            yield engine, engine.session(ADMIN)
        finally:
            await engine.close()

    async def found(self) -> None:
        """Make the tenant and its buckets; where there are two copies of everything there is a quota too."""
        async with self.opened() as (engine, session):
            await engine.catalog.create_tenant("default")
            for name, versioning in BUCKETS.items():
                await session.create_bucket(name, versioning=versioning)
            if len(self.stores) > 1:
                await engine.catalog.set_quota("default", None, Quota(max_bytes=1 << 40))

    def _placement(self) -> Placement:
        if self.rule is not None:
            return Placement(self.rule, inline=self.inline)
        return Placement.everything(self.stores, len(self.stores), inline=self.inline)

    def _twin_url(self) -> str:
        return self.databases.copy(self.url) if self.databases else ""

    def _backend(self, name: str) -> Backend:
        if name.startswith("local"):
            settings = LocalSettings(path=self.root / name, create=True)
            return open_local(name, settings, environment=self.environment)
        return self.memory.setdefault(name, MemoryBackend(name, environment=self.environment))
