"""All figures: of every server process that shares a directory with us, of the stores, and of the catalog."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import Metric

from holdfast.api.backlog import catalog_figures, catalog_gone, debt_figures, finding_figures, lag_figures
from holdfast.api.exchange import Exchange
from holdfast.api.job_figures import items_of, states_of
from holdfast.api.metrics import activity_of, fallbacks_of, text_of
from holdfast.api.models import encode
from holdfast.api.pool import Family, Pool, families_of
from holdfast.api.summary import summary
from holdfast.config.settings import Settings
from holdfast.core.backend import StoreState
from holdfast.core.circuit import CircuitState
from holdfast.core.clock import Environment
from holdfast.core.errors import ConfigError, HoldfastError, PermissionDeniedError
from holdfast.core.types import Principal
from holdfast.engine.engine import Engine
from holdfast.engine.lagging import lagging
from holdfast.policy.access import decide

_FRESH: Final = 5.0  #: seconds that the catalog's figures are repeated
_PATIENCE: Final = 5.0  #: seconds that the catalog may take
_SHARING: Final = 1.0  #: seconds between two writings of our own figures
_TENANT: Final = "tenant"


class Scrape:
    """Collects when it is asked. `close` leaves our counters to the other processes."""

    def __init__(self, engine: Engine, settings: Settings, environment: Environment) -> None:
        self._engine = engine
        self._environment = environment
        self._everybody = settings.dev or settings.metrics_public
        self._pool = None
        if settings.shared is not None:
            try:
                settings.shared.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._pool = Pool(settings.shared, environment.new_id())
            except OSError as error:
                raise ConfigError(
                    f"shared: the directory {settings.shared} cannot be made or written: {error.strerror}; name "
                    "another one (HOLDFAST_SHARED), or none"
                ) from error
        self._lock = asyncio.Lock()
        self._known: tuple[float, list[Family]] | None = None

    async def show(self, exchange: Exchange) -> None:
        """Answer with all figures in Prometheus' form; who is no operator sees the buckets of their own tenant."""
        body = text_of(self._seen(exchange, await self.families()))
        headers = [
            (b"content-type", CONTENT_TYPE_LATEST.encode()),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"),
        ]
        await exchange.answer(200, headers, body)

    async def show_summary(self, exchange: Exchange) -> None:
        """Answer with counts, errors and latencies of operations and stores, and with what waits to be done."""
        told = summary(self._seen(exchange, await self.families()), self._environment.clock.now())
        await exchange.answer_json(200, encode(told))

    async def families(self) -> list[Family]:
        """Return the figures of all processes, and of the catalog, which is the same for all."""
        own = families_of(self._own())
        shared = own if self._pool is None else self._pool.exchange(own)
        return [*shared, *await self._of_catalog()]

    async def keep_sharing(self) -> None:
        """Write our figures again and again, so that little is lost when this process is killed."""
        while self._pool is not None:
            self._pool.write(families_of(self._own()))
            await self._environment.clock.sleep(_SHARING)

    def close(self) -> None:
        """Write our figures a last time."""
        if self._pool is not None:
            self._pool.write(families_of(self._own()))
            self._pool.close()

    def _own(self) -> Iterator[Metric]:
        yield from REGISTRY.collect()
        yield from activity_of(self._engine.context.activity)
        yield from fallbacks_of(self._engine.context.outages)
        yield from items_of(self._engine.context.activity)
        failing = GaugeMetricFamily(
            "holdfast_store_failing",
            "Processes that pass the store over, since it failed lately",
            labels=["store"],
        )
        for name in self._engine.stores:
            failing.add_metric([name], float(self._engine.failing(name)))
        yield failing
        breaker = GaugeMetricFamily(
            "holdfast_store_breaker_state",
            "Processes in which the breaker of the store is in that state",
            labels=["store", "state"],
        )
        stores = self._engine.stores
        open_here = {name: store for name in stores.waiting() if (store := stores.open_now(name)) is not None}
        for name, store in {**stores, **open_here}.items():
            if store.circuit is not None:
                for state in CircuitState:
                    breaker.add_metric([name, state.value], float(store.circuit.state is state))
        yield breaker

    async def _of_catalog(self) -> list[Family]:
        async with self._lock:
            now = self._environment.clock.monotonic()
            if self._known is None or now - self._known[0] > _FRESH:
                self._known = (now, families_of([*await self._ask(), *self._stores()]))
            return self._known[1]

    async def _ask(self) -> list[Metric]:
        catalog = self._engine.catalog
        try:
            async with asyncio.timeout(_PATIENCE):
                return [
                    *catalog_figures(
                        await catalog.usages(), await catalog.quota_uses(), await catalog.backlog()
                    ),
                    *debt_figures(await catalog.debt_counts(), await catalog.now()),
                    *lag_figures(await lagging(self._engine.context), await catalog.now()),
                    *states_of(await catalog.job_states()),
                    *finding_figures(await catalog.finding_counts()),
                ]
        except (HoldfastError, TimeoutError):
            return list(catalog_gone())

    def _stores(self) -> Iterator[Metric]:
        active = GaugeMetricFamily(
            "holdfast_store_active", "1: takes new objects; 0: read-only, draining or down", labels=["store"]
        )
        for name, store in self._engine.stores.items():
            active.add_metric([name], float(store.state is StoreState.ACTIVE))
        yield active

    def _seen(self, exchange: Exchange, families: list[Family]) -> list[Family]:
        """Return what the caller may see."""
        if self._everybody:
            return families
        principal = exchange.principal
        if decide(principal, "operate").allowed:
            return families
        decision = decide(principal, "usage")
        if not decision.allowed:
            raise PermissionDeniedError(decision.reason, operation="usage")
        return list(_of_tenant(families, principal))


def _of_tenant(families: Iterable[Family], principal: Principal) -> Iterator[Family]:
    """Yield the figures without the samples of other tenants."""
    for family in families:
        kept = [
            sample
            for sample in family.samples
            if all(value == principal.tenant for name, value in sample[1] if name == _TENANT)
        ]
        yield Family(family.name, family.kind, family.help, kept)
