"""Whether the service can work: its catalog and its default store answer."""

from __future__ import annotations

import asyncio
from typing import Final

from holdfast.api.describe import iso
from holdfast.api.exchange import Exchange
from holdfast.api.models import Health, encode
from holdfast.core.backend import Backend
from holdfast.core.clock import Environment
from holdfast.core.errors import HoldfastError, NotFoundError
from holdfast.core.types import Principal
from holdfast.engine.engine import Engine

_PATIENCE: Final = 5.0  #: seconds that a part may take to answer
_FRESH: Final = 1.0  #: seconds that an answer is repeated, so that asking costs the parts nothing
_PROBE: Final = "holdfast-health"


class HealthCheck:
    """Asks the parts, at most once a second however many ask."""

    def __init__(self, engine: Engine, tenant: str, environment: Environment) -> None:
        self._engine = engine
        self._clock = environment.clock
        self._session = engine.session(Principal("health", tenant, "reader"))
        self._lock = asyncio.Lock()
        self._known: tuple[float, Health] | None = None

    async def show(self, exchange: Exchange) -> None:
        """Answer 200 when healthy, 503 when degraded."""
        health = await self.look()
        await exchange.answer_json(200 if health.status == "healthy" else 503, encode(health))

    async def look(self) -> Health:
        """Return how the service is."""
        async with self._lock:
            if self._known is None or self._clock.monotonic() - self._known[0] > _FRESH:
                health = await self._ask()
                self._known = (self._clock.monotonic(), health)
            return self._known[1]

    async def _ask(self) -> Health:
        counted, connected = await asyncio.gather(self._count(), self._default_store())
        buckets, objects = counted or (0, 0)
        return Health(
            status="healthy" if connected and counted is not None else "degraded",
            service="storage",
            minio_connected=connected,
            catalog_connected=counted is not None,
            buckets_available=buckets,
            total_objects=objects,
            timestamp=iso(self._clock.now()),
        )

    async def _count(self) -> tuple[int, int] | None:
        """Return the number of buckets and objects, None when the catalog does not answer."""
        try:
            async with asyncio.timeout(_PATIENCE):
                buckets = await self._session.buckets()
        except (HoldfastError, TimeoutError):
            return None
        return len(buckets), sum(usage.objects for _, usage in buckets)

    async def _default_store(self) -> bool:
        name = self._engine.context.placement.stores[0]
        return await _answers(self._engine.stores[name].backend)


async def _answers(backend: Backend) -> bool:
    try:
        async with asyncio.timeout(_PATIENCE):
            await backend.head(_PROBE)
    except NotFoundError:
        return True
    except (HoldfastError, TimeoutError):
        return False
    return True
