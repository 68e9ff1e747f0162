"""Whether the service lives, can take requests, and what is wrong if not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from msgspec import UNSET, Struct, UnsetType

from holdfast.api.describe import iso
from holdfast.api.disks import Disk, Disks
from holdfast.api.exchange import Exchange
from holdfast.api.models import Health, encode
from holdfast.config.settings import Settings
from holdfast.core.clock import Environment
from holdfast.core.errors import HoldfastError
from holdfast.core.names import INLINE
from holdfast.core.types import Principal
from holdfast.engine.engine import Engine
from holdfast.engine.probe import PATIENCE, Probe, probe
from holdfast.engine.targets import DOWN
from holdfast.policy.placement import WhenDown

Identify = Callable[[Exchange], Awaitable[Principal | None]]

_FRESH: Final = 1.0  #: seconds that an answer is repeated, so that asking costs the parts nothing
_SLOW: Final = 1.0  #: seconds from which an answer of a part is not what it should be
_TOO_SLOW: Final = 2.0
_HEALTHY: Final = "healthy"
_DEGRADED: Final = "degraded"
_UNHEALTHY: Final = "unhealthy"


class Alive(Struct, frozen=True):
    """That the process answers."""

    status: str = "alive"
    service: str = "storage"


class Ready(Struct, frozen=True):
    """Whether requests should be sent here; `problems` says why not, `warnings` what is wrong all the same."""

    status: str
    problems: list[str]
    service: str = "storage"
    warnings: list[str] | UnsetType = UNSET


class PartHealth(Struct, frozen=True):
    """One store, or the catalog. `connected` and not `usable`: it answers, but does not let us work."""

    connected: bool
    usable: bool
    response_ms: float
    problem: str | None = None
    breaker: str | None = None  # of a store: closed, half-open or open, in this process


class DiskHealth(Struct, frozen=True):
    """The disk under a local store or the catalog's file."""

    free_bytes: int
    total_bytes: int
    status: str


class DetailedHealth(Struct, frozen=True):
    """Every check by name: `healthy`, `degraded` or `unhealthy`; `unknown` where there is nothing to look at."""

    service: str
    status: str
    checks: dict[str, str]
    stores: dict[str, PartHealth]
    catalog: PartHealth
    disks: dict[str, DiskHealth]
    timestamp: str


@dataclass(frozen=True, slots=True)
class _Found:
    """What the parts answered, and how many versions were accepted on a fallback store and are not home yet."""

    at: float
    catalog: Probe
    stores: Mapping[str, Probe]
    owed: int = 0


class HealthCheck:
    """Asks the parts, at most once a second however many ask.

    `identify` says whose token a request carries, for figures that not everybody should see.
    """

    def __init__(self, engine: Engine, settings: Settings, environment: Environment) -> None:
        self._engine = engine
        self._environment = environment
        self._tenant = settings.tenant
        self._counts = settings.dev or settings.health_counts
        self._disks = Disks(settings)
        self._lock = asyncio.Lock()
        self._known: _Found | None = None
        self.identify: Identify | None = None

    # -- answers ------------------------------------------------------------------------------------------------
    async def show(self, exchange: Exchange) -> None:
        """Answer 200 while objects can be stored, else 503. Counts are shown to whoever brings a valid token.

        It is degraded, and answers 200, while they are stored on a fallback store or wait there to be brought home.
        """
        found = await self._look()
        store = self._store(found)
        problems = self._problems(found)
        serves = found.catalog.usable and self._takes(found)
        counted = await self._count(exchange) if found.catalog.usable else None
        buckets, objects = counted or (None, None)
        health = Health(
            status=_DEGRADED if problems else _HEALTHY,
            service="storage",
            minio_connected=store.usable,
            catalog_connected=found.catalog.usable,
            buckets_available=buckets,
            total_objects=objects,
            timestamp=iso(self._environment.clock.now()),
            problems=problems,
            owed=found.owed,
        )
        await exchange.answer_json(200 if serves else 503, encode(health))

    async def show_live(self, exchange: Exchange) -> None:
        """Answer that the process does; asks nothing else, so a restart is never the answer to a lost database."""
        await exchange.answer_json(200, encode(Alive()))

    async def show_ready(self, exchange: Exchange) -> None:
        """Answer 200 while requests can be served here, 503 while a part is missing or the service is stopping."""
        problems = ["the service is stopping"] if exchange.draining else []
        found = await self._look()
        if not found.catalog.usable:
            problems.append(f"the catalog: {found.catalog.problem}")
        if not self._takes(found):
            problems.append(f"store {self._default}: {self._store(found).problem}")
        warnings = (None if problems else self._problems(found)) or UNSET
        ready = Ready("ready" if not problems else "not ready", problems, warnings=warnings)
        await exchange.answer_json(503 if problems else 200, encode(ready))

    async def show_detailed(self, exchange: Exchange) -> None:
        """Answer with every check: 200, or 503 when one is unhealthy."""
        found = await self._look()
        disks = await self._disks.look()
        checks = self._checks(found, disks)
        told = DetailedHealth(
            service="storage",
            status=_worst(checks),
            checks=checks,
            stores={name: _part(store, self._breaker(name)) for name, store in found.stores.items()},
            catalog=_part(found.catalog),
            disks={name: DiskHealth(disk.free, disk.total, disk.status) for name, disk in disks.items()},
            timestamp=iso(self._environment.clock.now()),
        )
        await exchange.answer_json(503 if told.status == _UNHEALTHY else 200, encode(told))

    # -----------------------------------------------------------------------------------------------------------
    @property
    def _default(self) -> str:
        return self._engine.context.placement.stores[0]

    def _store(self, found: _Found) -> Probe:
        return found.stores.get(self._default) or Probe(
            False, False, 0.0, "it is not there, or does not serve"
        )

    def _takes(self, found: _Found) -> bool:
        """Whether objects that no rule is about can be stored: at home, or where their rule lets them fall back to."""
        rule = self._engine.context.placement.default
        if self._store(found).usable:
            return True
        fallback = rule.fallback if rule.when_down is WhenDown.FALLBACK else ()
        others = [name for name in (*rule.stores, *fallback) if name in found.stores]
        return sum(found.stores[name].usable for name in dict.fromkeys(others)) >= rule.acknowledge

    def _problems(self, found: _Found) -> list[str]:
        """Return what is not as it should be, in words for people."""
        problems = []
        if not found.catalog.usable:
            problems.append(f"the catalog: {found.catalog.problem}")
        if not self._store(found).usable:
            problems.append(f"store {self._default}: {self._store(found).problem}")
        if found.owed:
            objects = "1 object waits" if found.owed == 1 else f"{found.owed} objects wait"
            problems.append(f"{objects} on a fallback store to be brought home")
        return problems

    def _breaker(self, name: str) -> str | None:
        store = self._engine.stores.get(name)
        return None if store is None or store.circuit is None else store.circuit.state.value

    def _checks(self, found: _Found, disks: Mapping[str, Disk]) -> dict[str, str]:
        store = self._store(found)
        slowest = max(store.seconds, found.catalog.seconds)
        return {
            "minio_connection": _HEALTHY if store.connected else _UNHEALTHY,
            "bucket_access": _HEALTHY if store.usable else _UNHEALTHY,
            "disk_space": _worst({name: disk.status for name, disk in disks.items()}) if disks else "unknown",
            "response_time": _HEALTHY
            if slowest < _SLOW
            else _DEGRADED
            if slowest < _TOO_SLOW
            else _UNHEALTHY,
            "catalog": _HEALTHY if found.catalog.usable else _UNHEALTHY,
            "placement": _DEGRADED if found.owed else _HEALTHY,
            "other_stores": _HEALTHY
            if all(part.usable for name, part in found.stores.items() if name != self._default)
            else _DEGRADED,
        }

    async def _look(self) -> _Found:
        async with self._lock:
            now = self._environment.clock.monotonic()
            if self._known is None or now - self._known.at > _FRESH:
                with contextlib.suppress(HoldfastError):  # the catalog is asked below, and says so
                    await self._engine.stores.refresh()
                names = [name for name in self._engine.stores if name != INLINE]
                catalog, *stores = await asyncio.gather(
                    self._ask_catalog(),
                    *(probe(self._engine.stores[name].backend, self._environment) for name in names),
                )
                owed = await self._owed() if catalog.usable else 0
                at = self._environment.clock.monotonic()
                self._known = _Found(at, catalog, dict(zip(names, stores, strict=True)), owed)
            return self._known

    async def _owed(self) -> int:
        try:
            async with asyncio.timeout(PATIENCE):
                found = (await self._engine.catalog.debt_counts()).get(DOWN)
        except (HoldfastError, TimeoutError):
            return 0
        return 0 if found is None else found.count

    async def _ask_catalog(self) -> Probe:
        clock = self._environment.clock
        began = clock.monotonic()
        try:
            async with asyncio.timeout(PATIENCE):
                await self._engine.catalog.ping()
        except HoldfastError as error:
            return Probe(False, False, clock.monotonic() - began, error.message)
        except TimeoutError:
            return Probe(False, False, clock.monotonic() - began, f"no answer within {PATIENCE:g} seconds")
        return Probe(True, True, clock.monotonic() - began)

    async def _count(self, exchange: Exchange) -> tuple[int, int] | None:
        """Return the number of buckets and objects that the caller may know of; None for a stranger."""
        principal = Principal("health", self._tenant, "reader") if self._counts else None
        try:
            if principal is None and self.identify is not None:
                principal = await self.identify(exchange)
            if principal is None:
                return None
            async with asyncio.timeout(PATIENCE):
                buckets = await self._engine.session(principal).buckets()
        except (HoldfastError, TimeoutError):
            return None
        return len(buckets), sum(usage.objects for _, usage in buckets)


def _part(found: Probe, breaker: str | None = None) -> PartHealth:
    milliseconds = round(found.seconds * 1000, 3)
    return PartHealth(found.connected, found.usable, milliseconds, found.problem or None, breaker)


def _worst(checks: Mapping[str, str]) -> str:
    for status in (_UNHEALTHY, _DEGRADED):
        if status in checks.values():
            return status
    return _HEALTHY
