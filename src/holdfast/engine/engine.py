"""The engine: the catalog, the stores and the rules, held together for as long as a process lives."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from holdfast.catalog.contract import Catalog
from holdfast.core.backend import Store
from holdfast.core.clock import Environment
from holdfast.core.errors import ConfigError
from holdfast.core.types import Principal
from holdfast.engine.audit import Auditor
from holdfast.engine.batches import Batches
from holdfast.engine.context import Context
from holdfast.engine.directory import Directory
from holdfast.engine.expire import expire
from holdfast.engine.hot import Hot
from holdfast.engine.rules import Rules
from holdfast.engine.run import Health
from holdfast.engine.secrets import RootSecret
from holdfast.engine.session import Session
from holdfast.engine.settings import EngineSettings
from holdfast.engine.sweep import SweepReport, sweep
from holdfast.policy.placement import Placement


class Engine:
    """Makes sessions, sweeps, and closes what it was given. Stateless but for caches: any number may share a catalog.

    All of them need the same `secret`; without one the engine makes one that dies with it.
    """

    def __init__(
        self,
        catalog: Catalog,
        stores: Mapping[str, Store],
        placement: Placement,
        *,
        environment: Environment | None = None,
        settings: EngineSettings | None = None,
        secret: RootSecret | None = None,
    ) -> None:
        missing = [name for name in placement.stores if name not in stores]
        if missing or not placement.stores:
            raise ConfigError(
                f"objects are placed on {missing or 'no store'}, which is not configured under [stores]"
            )
        self.catalog = catalog
        self.stores = stores
        settings = settings or EngineSettings()
        self._executor = ThreadPoolExecutor(settings.hash_threads, thread_name_prefix="holdfast-hash")
        world = environment or Environment()
        secret = secret or RootSecret.fresh(world)
        rules = Rules(catalog, world.clock)
        self.context = Context(catalog, stores, placement, world, settings, self._executor, secret, rules)
        self.directory = Directory(catalog, world.clock)
        self.audit = Auditor(catalog, secret)
        self._health = Health(self.context)
        self._hot = Hot(settings.hot)
        self.batches = Batches(self.context)

    def session(self, principal: Principal, *, request_id: str = "", address: str = "") -> Session:
        """Return the engine as `principal` sees it; `request_id` and the client's `address` go into the audit."""
        return Session(self.context, self._health, self._hot, principal, request_id, address)

    def failing(self, store: str) -> bool:
        """Tell whether `store` failed lately, so that other copies are read first."""
        return self._health.failing(store)

    async def sweep(self, *, limit: int | None = None, dry_run: bool = False) -> SweepReport:
        """Delete bytes whose time is over. See `engine.sweep`."""
        return await sweep(self.context, limit=limit, dry_run=dry_run)

    async def expire(self) -> int:
        """Remove versions that are older than their bucket keeps them; return how many. See `engine.expire`."""
        return await expire(self.context)

    async def close(self) -> None:
        """End what runs in the background; close the stores and the catalog."""
        await self.batches.close()
        for store in self.stores.values():
            await store.backend.close()
        await self.catalog.close()
        self._executor.shutdown(wait=False)
