"""What many tests need: an engine on real parts, bodies, and a way to run coroutines."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from awscrt.checksums import crc64nvme

from holdfast.backends.local import LocalSettings, open_local
from holdfast.backends.memory import MemorySettings, open_memory
from holdfast.catalog import open_catalog
from holdfast.core.backend import Backend, Store
from holdfast.core.clock import Environment
from holdfast.core.types import Principal
from holdfast.engine.engine import Engine
from holdfast.engine.keyring import CatalogKeyRing
from holdfast.engine.sealing import sealer_of
from holdfast.engine.secrets import RootSecret
from holdfast.engine.session import Session
from holdfast.engine.settings import EngineSettings
from holdfast.engine.stores import Drivers, Stores
from holdfast.engine.wrapping import root_keys
from holdfast.layers.encryption import Encryption
from holdfast.policy.placement import Placement

T = TypeVar("T")
ADMIN = Principal("tester", "default", "admin")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end."""
    return asyncio.run(asyncio.wait_for(work, 100))


def noise(size: int, seed: int = 0) -> bytes:
    """Return `size` bytes that do not repeat."""
    return random.Random(seed).randbytes(size)


def crc64(data: bytes) -> bytes:
    """Return the CRC-64/NVME of `data` in one go, as versions hold it."""
    return int(crc64nvme(data)).to_bytes(8, "big")


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def local_store(name: str, root: Path, environment: Environment) -> Store:
    root.mkdir(parents=True, exist_ok=True)
    return Store(name, open_local(name, LocalSettings(path=root), environment=environment))


def memory_store(name: str, environment: Environment) -> Store:
    return Store(name, open_memory(name, MemorySettings(), environment=environment))


def store_of(name: str, backend: Backend) -> Store:
    return Store(name, backend)


@asynccontextmanager
async def engine_on(
    url: str,
    *stores: Store,
    environment: Environment | None = None,
    settings: EngineSettings | None = None,
    acknowledge: int | None = None,
    inline: int = 0,
    buckets: tuple[str, ...] = ("plain",),
    versioned: tuple[str, ...] = ("kept",),
    keys: bool = False,
    drivers: Drivers | None = None,
) -> AsyncIterator[tuple[Engine, Session]]:
    """Give an engine with the tenant `default`, a plain and a versioned bucket, and an admin's session.

    With `keys` its stores can encrypt; with `drivers` its catalog may hold stores too, whose secrets are sealed.
    """
    environment = environment or Environment()
    catalog = await open_catalog(url, environment=environment, upgrade=True)
    secret = RootSecret.fresh(environment)
    ring = CatalogKeyRing(catalog, root_keys("", secret, environment), environment.clock) if keys else None
    if ring is not None:
        for store in stores:
            store.sealed = Encryption(store.backend, ring, environment=environment)
    placement = Placement.everything(
        [store.name for store in stores], acknowledge or len(stores), inline=inline
    )
    live = Stores(
        {store.name: store for store in stores},
        catalog,
        environment.clock,
        drivers=drivers,
        sealer=None if drivers is None else sealer_of("", secret, environment),
    )
    engine = Engine(
        catalog,
        live,
        placement,
        environment=environment,
        settings=settings,
        secret=secret,
        keys=ring,
    )
    session = engine.session(ADMIN)
    try:
        if not [tenant for tenant in await catalog.tenants() if tenant.name == "default"]:
            await catalog.create_tenant("default")
            for name in buckets:
                await session.create_bucket(name)
            for name in versioned:
                await session.create_bucket(name, versioning=True)
        yield engine, session
    finally:
        await engine.close()


async def content(session: Session, bucket: str, key: str, **how: Any) -> bytes:
    """Return the bytes of an object."""
    async with session.get(bucket, key, **how) as reader:
        return await reader.read()


def blobs_on_disk(root: Path) -> list[Path]:
    """Return the files of a local store that hold blobs; its own notes begin with `#`."""
    return [path for path in root.rglob("*") if path.is_file() and not path.name.startswith("#")]
