"""An engine whose stores can encrypt, over memory that tests look into."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from holdfast.backends.memory import MemoryBackend
from holdfast.catalog import open_catalog
from holdfast.catalog.contract import Actor
from holdfast.core.backend import Backend, Store
from holdfast.core.clock import Environment
from holdfast.core.keyring import KeyRing
from holdfast.core.types import Principal
from holdfast.engine.engine import Engine
from holdfast.engine.keyring import CatalogKeyRing
from holdfast.engine.secrets import RootSecret
from holdfast.engine.session import Session
from holdfast.engine.wrapping import RootKeys, root_keys
from holdfast.layers import stack
from holdfast.layers.encryption import Encryption
from holdfast.policy.placement import Placement, Rule

SECRET = RootSecret(b"s" * 32)
ACTOR = Actor("tester")
K1, K2 = "k1:" + "11" * 32, "k2:" + "22" * 32


def roots(environment: Environment, seal_keys: str = "") -> RootKeys:
    return root_keys(seal_keys, SECRET, environment)


def sealing_store(
    driver: Backend, ring: KeyRing, environment: Environment, *, encrypt: bool = False
) -> Store:
    """Return the store of a driver with both faces."""
    made = stack.faces(
        driver,
        environment=environment,
        encrypt=lambda backend: Encryption(backend, ring, environment=environment),
    )
    return Store(driver.store, made.backend, sealed=made.sealed, encrypt=encrypt)


@dataclass
class Place:
    """What a test works with; `disks` are what lies in each store."""

    engine: Engine
    session: Session
    ring: CatalogKeyRing
    disks: dict[str, MemoryBackend]
    environment: Environment

    @property
    def boss(self) -> Session:
        return self.engine.session(Principal("boss", "default", "operator"))

    async def names(self, store: str = "main") -> list[str]:
        return [info.name async for info in self.disks[store].list()]

    async def raw(self, store: str = "main") -> bytes:
        """Return all bytes of a store, one blob behind the other."""
        found = b""
        for name in await self.names(store):
            async with self.disks[store].get(name) as reader:
                found += await reader.read()
        return found


@asynccontextmanager
async def place(
    url: str,
    *,
    rule: Rule | None = None,
    stores: tuple[str, ...] = ("main",),
    encrypting: tuple[str, ...] = (),
    seal_keys: str = "",
    inline: int = 0,
    disks: dict[str, MemoryBackend] | None = None,
    environment: Environment | None = None,
) -> AsyncIterator[Place]:
    """Give an engine; by default everything is encrypted into `main`."""
    environment = environment or Environment()
    catalog = await open_catalog(url, environment=environment, upgrade=True)
    ring = CatalogKeyRing(catalog, roots(environment, seal_keys), environment.clock)
    disks = {} if disks is None else disks
    for name in stores:
        disks.setdefault(name, MemoryBackend(name, environment=environment))
    placement = Placement(rule or Rule("default", ("main",), encrypt=True), inline=inline)
    engine = Engine(
        catalog,
        {name: sealing_store(disks[name], ring, environment, encrypt=name in encrypting) for name in stores},
        placement,
        environment=environment,
        secret=SECRET,
        keys=ring,
    )
    try:
        session = engine.session(Principal("tester", "default", "admin"))
        if not await catalog.tenants():
            await catalog.create_tenant("default")
            await session.create_bucket("plain")
        yield Place(engine, session, ring, disks, environment)
    finally:
        await engine.close()
