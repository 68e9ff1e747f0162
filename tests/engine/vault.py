"""An engine with a store for backups beside the one that holds objects, and what tests of backups do with it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from holdfast.backends.memory import MemorySettings, open_memory
from holdfast.catalog import open_catalog
from holdfast.catalog.dumping import KEPT
from holdfast.core.backend import Backend, Store
from holdfast.core.body import Body
from holdfast.core.clock import Environment
from holdfast.core.types import Principal
from holdfast.engine.backups import ages
from holdfast.engine.backups.rows import encode
from holdfast.engine.engine import Engine
from holdfast.engine.keyring import CatalogKeyRing
from holdfast.engine.sealing import sealer_of
from holdfast.engine.secrets import RootSecret
from holdfast.engine.session import Session
from holdfast.engine.settings import EngineSettings
from holdfast.engine.stores import Stores
from holdfast.engine.wrapping import root_keys
from holdfast.jobs.backup import Backup
from holdfast.jobs.backup_rows import version_pages
from holdfast.jobs.restore import Restore
from holdfast.layers.encryption import Encryption
from holdfast.policy.placement import Placement
from tests.engine.alone import Ran, run_alone

SECRET, RECIPIENT = ages.new_identity()


@dataclass
class Vault:
    """What lies in `safe` outlives every catalog; each `opened` engine has a main store of its own name."""

    environment: Environment = field(default_factory=lambda: Environment.seeded(3))
    safe: Backend = field(init=False)
    mains: dict[str, Backend] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.safe = open_memory("safe", MemorySettings(), environment=self.environment)

    @asynccontextmanager
    async def opened(
        self,
        url: str,
        *,
        main: str = "main",
        inline: int = 0,
        encrypt: bool = False,
        settings: EngineSettings | None = None,
    ) -> AsyncIterator[Engine]:
        """Give an engine over the catalog at `url`, without any tenant at first."""
        world = self.environment
        catalog = await open_catalog(url, environment=world, upgrade=True)
        inner = self.mains.setdefault(main, open_memory(main, MemorySettings(), environment=world))
        secret = RootSecret(b"v" * 32)
        ring = CatalogKeyRing(catalog, root_keys("", secret, world), world.clock)
        store = Store(main, inner, sealed=Encryption(inner, ring, environment=world), encrypt=encrypt)
        stores = Stores(
            {main: store, "safe": Store("safe", self.safe)},
            catalog,
            world.clock,
            sealer=sealer_of("", secret, world),
        )
        placement = Placement.everything([main], 1, inline=inline)
        engine = Engine(
            catalog, stores, placement, environment=world, settings=settings, secret=secret, keys=ring
        )
        try:
            yield engine
        finally:
            with contextlib.suppress(Exception):
                await catalog.close()

    async def files(self, start: str = "") -> dict[str, int]:
        """Return the files of backups, without what they have in common, and their sizes."""
        return {
            info.name.partition("/")[2]: info.size
            async for info in self.safe.list("_holdfast-backup/")
            if info.name.rpartition("/")[2].startswith(start)
        }

    async def read(self, name: str) -> bytes:
        async with self.safe.get(f"_holdfast-backup/{name}") as reader:
            return await reader.read()

    async def write(self, name: str, data: bytes) -> None:
        await self.safe.put(f"_holdfast-backup/{name}", Body.of_bytes(data))


def session(engine: Engine, tenant: str = "default") -> Session:
    return engine.session(Principal("tester", tenant, "admin"))


async def furnish(engine: Engine, *, tenants: tuple[str, ...] = ("default",)) -> None:
    """Make tenants, each with a plain and a versioned bucket."""
    for name in tenants:
        await engine.catalog.create_tenant(name)
        await session(engine, name).create_bucket("plain")
        await session(engine, name).create_bucket("kept", versioning=True)


async def backed_up(engine: Engine, *, twice: bool = False, **spec: Any) -> Ran:
    """Back up everything, encrypted."""
    given = {"store": "safe", **({} if spec.get("plain") else {"recipients": [RECIPIENT]}), **spec}
    return await run_alone(engine, Backup(), given, twice=twice)


async def restored(
    engine: Engine, set_id: str, *, identity: str = "", twice: bool = False, **spec: Any
) -> Ran:
    """Restore a set, or a part of it."""
    given = {"store": "safe", "set": set_id, "identity": identity, **spec}
    return await run_alone(engine, Restore(), given, twice=twice)


async def all_rows(engine: Engine) -> dict[str, bytes]:
    """Return what a backup would keep of the catalog, each table as text."""
    found: dict[str, bytes] = {}
    async with engine.catalog.at_one_moment() as moment:
        for table in KEPT:
            rows: list[Mapping[str, Any]] = []
            while page := await moment.rows(table, after=rows[-1] if rows else None, limit=3):
                rows += page
            found[table] = encode(rows)
        versions: list[Mapping[str, Any]] = []
        async for page in version_pages(moment, "", ""):
            versions += page
        found["versions"] = encode(versions)
    return found


async def read_all(engine: Engine, tenant: str = "default") -> dict[tuple[str, str, str], bytes]:
    """Return the bytes of all versions of a tenant, read through the engine."""
    found = {}
    who = session(engine, tenant)
    for bucket, _ in await engine.catalog.buckets(tenant):
        page = await engine.catalog.list_versions(tenant, bucket.name)
        assert not page.truncated
        for version in page.items:
            if not version.delete_marker:
                async with who.get(bucket.name, version.ref.key, version_id=version.id) as reader:
                    found[bucket.name, version.ref.key, version.id] = await reader.read()
    return found


async def ran(engine: Engine, kind: Any, set_id: str = "latest", *, identity: str = "", **spec: Any) -> Ran:
    """Run another kind of job about a set."""
    given = {"store": "safe", **({"set": set_id} if set_id else {}), **spec}
    return await run_alone(engine, kind, {**given, **({"identity": identity} if identity else {})})
