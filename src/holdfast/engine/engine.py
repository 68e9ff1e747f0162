"""The engine: the catalog, the stores and the rules, held together for as long as a process lives."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from holdfast.catalog.contract import Backlog, Catalog
from holdfast.core.backend import Store
from holdfast.core.clock import Environment
from holdfast.core.errors import ConfigError, HoldfastError
from holdfast.core.ledger import Ledger
from holdfast.core.names import INLINE
from holdfast.core.types import Principal
from holdfast.engine.audit import Auditor
from holdfast.engine.batches import Batches
from holdfast.engine.context import Context
from holdfast.engine.directory import Directory
from holdfast.engine.expire import expire
from holdfast.engine.hot import Hot
from holdfast.engine.inline import inline_store
from holdfast.engine.keyring import CatalogKeyRing
from holdfast.engine.ledger import write_ledger
from holdfast.engine.news import News
from holdfast.engine.placing import Placing
from holdfast.engine.removing import remove_due
from holdfast.engine.rules import Rules
from holdfast.engine.run import Health
from holdfast.engine.secrets import RootSecret
from holdfast.engine.session import Session
from holdfast.engine.settings import EngineSettings
from holdfast.engine.stores import Stores
from holdfast.engine.sweep import SweepReport, sweep
from holdfast.engine.upstream_cache import Following
from holdfast.policy.placement import Placement


class Engine:
    """Makes sessions, sweeps, and closes what it was given. Stateless but for caches: any number may share a catalog.

    All of them need the same `secret`; without one the engine makes one that dies with it. `keys` are those that its
    stores encrypt with, to be looked after; `ledger` is what its stores count their calls in.
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
        keys: CatalogKeyRing | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        missing = [name for name in placement.stores if name not in stores]
        if missing or not placement.stores:
            raise ConfigError(
                f"objects are placed on {missing or 'no store'}, which is not configured under [stores]"
            )
        if INLINE in stores:
            raise ConfigError(f"no store may be called {INLINE!r}: that is the catalog itself; rename it")
        self.catalog = catalog
        settings = settings or EngineSettings()
        self._executor = ThreadPoolExecutor(settings.hash_threads, thread_name_prefix="holdfast-hash")
        world = environment or Environment()
        self.stores = stores if isinstance(stores, Stores) else Stores(stores, catalog, world.clock)
        self.stores.own[INLINE] = inline_store(catalog)
        secret = secret or RootSecret.fresh(world)
        rules = Rules(catalog, world.clock)
        placing = Placing(placement, catalog, world.clock)
        self.context = Context(
            catalog,
            self.stores,
            placing,
            world,
            settings,
            self._executor,
            secret,
            rules,
            following=Following(catalog, world.clock),
            keys=keys,
            ledger=ledger or Ledger(),
        )
        self.directory = Directory(catalog, world.clock)
        self.audit = Auditor(catalog, secret)
        self._health = Health(self.context)
        self._hot = Hot(settings.hot)
        self.batches = Batches(self.context)
        self.news = News()  # of jobs that may be worked on

    def session(self, principal: Principal, *, request_id: str = "", address: str = "") -> Session:
        """Return the engine as `principal` sees it; `request_id` and the client's `address` go into the audit."""
        return Session(self.context, self._health, self._hot, principal, request_id, address)

    def failing(self, store: str) -> bool:
        """Tell whether `store` failed lately, so that other copies are read first."""
        return self._health.failing(store)

    def avoids(self, store: str) -> bool:
        """Tell whether readers or writers pass `store` over, since it failed lately."""
        now = self.context.environment.clock.monotonic()
        return self._health.failing(store) or self.context.outages.failing(store, now)

    def returned(self, store: str) -> None:
        """Use `store` again at once: it answers."""
        self._health.well(store)
        self.context.outages.well(store)
        self.context.outages.returns += 1

    async def sweep(self, *, limit: int | None = None, dry_run: bool = False) -> SweepReport:
        """Delete bytes whose time is over. See `engine.sweep`."""
        return await sweep(self.context, limit=limit, dry_run=dry_run)

    async def backlog(self) -> Backlog:
        """Return what a sweep has left to do."""
        return await self.catalog.backlog()

    async def expire(self) -> int:
        """Remove versions that are older than their bucket keeps them; return how many. See `engine.expire`."""
        count = await expire(self.context)
        while await self.catalog.forget_artifacts():
            pass
        return count

    async def remove_tenants(self) -> list[str]:
        """Remove deleted tenants whose time is over; return their names. See `engine.removing`."""
        return await remove_due(self.context)

    async def count_reads(self) -> None:
        """Write down what was counted since the last time: how often things were read, and what stores were asked."""
        await self.context.reads.write(self.catalog)
        await write_ledger(self.context)

    async def close(self) -> None:
        """End what runs in the background; close the stores and the catalog."""
        with suppress(HoldfastError):  # a catalog that is gone is no reason not to end
            await self.count_reads()
        await self.stores.close()
        await self.catalog.close()
        self._executor.shutdown(wait=False)
