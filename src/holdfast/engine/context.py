"""What every part of the engine works with, in one place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from holdfast.catalog.contract import Catalog
from holdfast.core.backend import Store
from holdfast.core.clock import Environment
from holdfast.core.errors import ConfigError, ConflictError, UnavailableError
from holdfast.core.ledger import Ledger
from holdfast.core.names import mint
from holdfast.core.types import ObjectRef, Replica, ReplicaState
from holdfast.engine.activity import Activity
from holdfast.engine.keyring import CatalogKeyRing
from holdfast.engine.outages import Outages
from holdfast.engine.patience import Patience
from holdfast.engine.placing import Placing
from holdfast.engine.reads import Reads
from holdfast.engine.rules import Rules
from holdfast.engine.secrets import RootSecret
from holdfast.engine.settings import EngineSettings
from holdfast.engine.stores import Stores
from holdfast.engine.upstream_cache import Following
from holdfast.policy.placement import Placement

_SECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class Context:
    """The catalog, the stores, the rules, the world and the numbers."""

    catalog: Catalog
    stores: Stores
    placing: Placing
    environment: Environment
    settings: EngineSettings
    executor: Executor
    secret: RootSecret
    rules: Rules
    activity: Activity = field(default_factory=Activity)
    reads: Reads = field(default_factory=Reads)
    outages: Outages = field(default_factory=Outages)
    ledger: Ledger = field(default_factory=Ledger)  #: calls to stores that were not written down yet
    following: Following = field(kw_only=True)
    keys: CatalogKeyRing | None = None  #: of encrypted blobs; None: no store encrypts

    @property
    def placement(self) -> Placement:
        """The rules in force, as they were looked up last; `placing.fresh()` looks when that is a while ago."""
        return self.placing.current

    @property
    def grace(self) -> int:
        """The grace of replaced bytes, microseconds."""
        return int(self.settings.grace * _SECOND)

    def store(self, name: str) -> Store:
        """Return the store called `name`; `ConfigError` when the configuration has none."""
        try:
            return self.stores[name]
        except KeyError:
            raise ConfigError(
                f"store {name!r} holds data but is not configured; add it back under [stores] or with"
                " `holdfast store create`"
            ) from None

    @property
    def patience(self) -> Patience:
        """How long a store is waited for while there is another."""
        return Patience(self.settings.failover_after, self.settings.failover_rate)

    async def lease_until(self) -> int:
        """Return when a lease taken now ends, on the catalog's clock."""
        return await self.catalog.now() + int(self.settings.lease * _SECOND)

    def replica(
        self,
        ref: ObjectRef,
        store: Store,
        version_id: str,
        segment_id: str,
        size: int,
        number: int,
        *,
        sealed: bool = False,
    ) -> Replica:
        """Return a pending row for a new blob with a freshly minted name in `store`; encrypted if `sealed`, or all are there.

        Raises:
            ConfigError: it is to be encrypted, and the store was opened without keys.
        """
        replica_id = self.environment.new_id()
        sealed = sealed or store.encrypt
        blob = mint(store.layout, ref, blob_id=replica_id, now=self.environment.clock.now(), sealed=sealed)
        store.for_blob(blob)
        return Replica(
            replica_id, version_id, segment_id, store.name, blob, size, ReplicaState.PENDING, number
        )

    async def abandon(self, replicas: Sequence[Replica]) -> None:
        """Give up pending copies, as far as the catalog can be told; a lease that ends says the same later."""
        await finish(_quietly(self.catalog.abandon([replica.id for replica in replicas])))

    @asynccontextmanager
    async def leased(self, replicas: Sequence[Replica]) -> AsyncIterator[None]:
        """Keep the leases of `replicas` alive inside the block; a lost lease ends the block with `ConflictError`."""
        task = asyncio.current_task()
        ids = [replica.id for replica in replicas]
        lost = False

        async def keep() -> None:
            nonlocal lost
            while True:
                await self.environment.clock.sleep(self.settings.lease / 3)
                try:
                    if await self.catalog.renew(ids, lease_until=await self.lease_until()):
                        continue
                except UnavailableError:
                    continue
                lost = True
                if task is not None:
                    task.cancel()
                return

        keeper = asyncio.ensure_future(keep())
        try:
            yield
        except asyncio.CancelledError:
            if lost:
                if task is not None:
                    task.uncancel()
                raise ConflictError("the write took too long and its lease was lost; send it again") from None
            raise
        finally:
            keeper.cancel()


async def finish(work: Coroutine[Any, Any, None]) -> None:
    """Run `work` to its end even when the caller is being cancelled, however often; then the cancellation goes on."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
    task.result()
    if cancelled is not None:
        raise cancelled


async def _quietly(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except UnavailableError:
        return
