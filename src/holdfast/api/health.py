"""Whether the service lives, can take requests, and what is wrong if not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from msgspec import UNSET, Struct, UnsetType

from holdfast.api.describe import iso
from holdfast.api.disks import Disk, Disks
from holdfast.api.exchange import Exchange
from holdfast.api.models import Health, encode
from holdfast.config.settings import Settings
from holdfast.core.backend import Store, StoreState
from holdfast.core.clock import Environment
from holdfast.core.errors import HoldfastError
from holdfast.core.names import INLINE
from holdfast.core.types import EMPTY, Principal
from holdfast.engine.engine import Engine
from holdfast.engine.probe import PATIENCE, Probe, probe
from holdfast.engine.refusing import rule_troubles
from holdfast.engine.stores import why_not
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
    """One store, or the catalog. `connected` and not `usable`: it answers, but does not let us work.

    A store of the catalog that does not serve is not asked: it is neither, and `refusal` says why.
    """

    connected: bool
    usable: bool
    response_ms: float
    problem: str | None = None
    refusal: str | None = None  # of a store: why it takes no new objects
    breaker: str | None = None  # of a store: closed, half-open or open, in this process


class DiskHealth(Struct, frozen=True):
    """The disk under a local store or the catalog's file, or what a store says of its own room."""

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
    """What the parts answered, how many versions are not where they belong, and which rules cannot be followed.

    `away` of the owed ones are on a fallback store; `sealed` are stores whose secrets cannot be opened.
    """

    at: float
    catalog: Probe
    stores: Mapping[str, Probe]
    owed: int = 0
    away: int = 0
    rules: Sequence[str] = ()
    sealed: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    late: str = ""  #: what is to be said of debts that are older than they may be


class HealthCheck:
    """Asks the parts, at most once a second however many ask.

    `identify` says whose token a request carries, for figures that not everybody should see.
    """

    def __init__(self, engine: Engine, settings: Settings, environment: Environment, disks: Disks) -> None:
        self._engine = engine
        self._environment = environment
        self._tenant = settings.tenant
        self._lag = settings.lag_limit
        self._counts = settings.dev or settings.health_counts
        self._disks = disks
        self._lock = asyncio.Lock()
        self._known: _Found | None = None
        self.identify: Identify | None = None

    # -- answers ------------------------------------------------------------------------------------------------
    async def show(self, exchange: Exchange) -> None:
        """Answer 200 while the default store or its fallback answers, else 503. Counts are for who brings a token.

        It is degraded, and answers 200, while a store does not answer, a rule cannot be followed, or objects wait on a
        fallback store to be brought home; `problems` says so.
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
            stores=self._parts(found),
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
        needed = rule.needed(len(rule.stores))
        return sum(found.stores[name].usable for name in dict.fromkeys(others)) >= needed

    def _problems(self, found: _Found) -> list[str]:
        """Return what is not as it should be, in words for people."""
        problems = []
        if not found.catalog.usable:
            problems.append(f"the catalog: {found.catalog.problem}")
        problems += [f"store {name} {why}" for name, why in self._silent(found).items()]
        problems += [why for name, why in found.sealed.items() if name not in found.stores]
        problems += found.rules
        if found.away:
            objects = "1 object waits" if found.away == 1 else f"{found.away} objects wait"
            problems.append(f"{objects} on a fallback store to be brought home")
        if found.late:
            problems.append(found.late)
        return problems

    def _silent(self, found: _Found) -> dict[str, str]:
        """Return what to say of the stores that should answer and do not, or whose breaker is open."""
        silent = {}
        for name, probed in {self._default: self._store(found), **found.stores}.items():
            store = self._engine.stores.get(name)
            circuit = None if store is None else store.circuit
            if not probed.usable:
                if store is None or store.state is not StoreState.DOWN or name == self._default:
                    silent[name] = f"{_silence(probed)}: {probed.problem}"
            elif circuit is not None and circuit.refuses:
                silent[name] = f"does not answer: {circuit.trouble}"
        return silent

    def _parts(self, found: _Found) -> dict[str, PartHealth]:
        """Return every store that is known: what it answered, or why it is not asked."""
        stores = self._engine.stores
        parts = {}
        for name, probed in found.stores.items():
            store = stores.get(name)
            parts[name] = _part(probed, store.refusal if store else "", self._breaker(store))
        for name, connection in stores.waiting().items():
            problem = found.sealed.get(name) or connection.trouble
            if name not in parts:
                breaker = self._breaker(stores.open_now(name))
                parts[name] = _part(Probe(False, False, 0.0, problem), why_not(connection), breaker)
        return parts

    @staticmethod
    def _breaker(store: Store | None) -> str | None:
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
            "placement": _DEGRADED if found.away or found.late else _HEALTHY,
            "rules": _DEGRADED if found.rules else _HEALTHY,
            "other_stores": _HEALTHY
            if not found.sealed
            and all(part.usable for name, part in found.stores.items() if name != self._default)
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
                owed, away, late = await self._owed() if catalog.usable else (0, 0, "")
                at = self._environment.clock.monotonic()
                probes = dict(zip(names, stores, strict=True))
                silent = {name: _silence(one) for name, one in probes.items() if not one.usable}
                with contextlib.suppress(HoldfastError):
                    await self._engine.context.placing.fresh()
                context = self._engine.context
                rules = rule_troubles(context, context.placement, silent)
                sealed = self._engine.stores.sealed_away()
                self._known = _Found(at, catalog, probes, owed, away, rules, sealed, late)
            return self._known

    async def _owed(self) -> tuple[int, int, str]:
        """Return how many versions are not where they belong, how many are on a fallback store, and whether that is late."""
        try:
            async with asyncio.timeout(PATIENCE):
                found = await self._engine.catalog.debt_counts()
                now = await self._engine.catalog.now()
        except (HoldfastError, TimeoutError):
            return 0, 0, ""
        count = sum(one.count for one in found.values())
        oldest = max((now - one.since for one in found.values()), default=0) / 1_000_000
        late = ""
        if self._lag and oldest > self._lag:
            late = (
                f"copies of {count} objects are owed, the oldest for {oldest:.0f} seconds: holdfast store lag"
            )
        return count, found[DOWN].count if DOWN in found else 0, late

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


def _part(found: Probe, refusal: str | None = None, breaker: str | None = None) -> PartHealth:
    milliseconds = round(found.seconds * 1000, 3)
    return PartHealth(
        found.connected, found.usable, milliseconds, found.problem or None, refusal or None, breaker
    )


def _silence(probed: Probe) -> str:
    return "cannot be used" if probed.connected else "does not answer"


def _worst(checks: Mapping[str, str]) -> str:
    for status in (_UNHEALTHY, _DEGRADED):
        if status in checks.values():
            return status
    return _HEALTHY
