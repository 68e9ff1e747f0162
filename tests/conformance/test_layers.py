"""Every layer, over memory, keeps every promise of what it offers."""

import random
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from holdfast.backends.memory import MemoryBackend
from holdfast.core.adopted import is_foreign
from holdfast.core.backend import NO_OPTIONS, Backend, Capability, PutOptions
from holdfast.core.body import Body
from holdfast.core.circuit import Circuit
from holdfast.core.clock import Environment
from holdfast.core.errors import RateLimitedError, UnavailableError
from holdfast.core.types import BlobInfo, Origin
from holdfast.layers.base import Layer
from holdfast.layers.breaker import Breaker
from holdfast.layers.cache import Cache, Folder
from holdfast.layers.describing import Describing
from holdfast.layers.faults import Effect, Fault, Faults, Plan
from holdfast.layers.integrity import Integrity
from holdfast.layers.limit import Limit, LimitSettings
from holdfast.layers.metrics import Metrics, StoreMetrics
from holdfast.layers.readonly import ReadOnly
from holdfast.layers.retry import Retry, RetrySettings
from holdfast.testing.run import conformance

pytestmark = pytest.mark.engine


def memory(environment: Environment) -> MemoryBackend:
    return MemoryBackend("memory", environment=environment)


class Transparent(Layer):
    """Preserves everything and changes nothing."""

    preserves = ~Capability.NONE


class WritesPast(Layer):
    """Reads through a read-only store; writes into what is below it."""

    preserves = ~Capability.NONE

    def __init__(self, readonly: ReadOnly) -> None:
        super().__init__(readonly)
        self.below = readonly.inner

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        return await self.below.put(name, body, options=options, if_absent=if_absent)

    async def delete(self, name: str) -> None:
        await self.below.delete(name)

    async def copy(self, source: str, target: str) -> BlobInfo:
        return await self.below.copy(source, target)


def turned_away() -> RateLimitedError:
    return RateLimitedError("not now")


def failing_now_and_then(environment: Environment, folder: Path) -> Backend:
    """One call in three is turned away; retry hides all of it. No time passes."""
    chance = random.Random(3)
    hit = [number for number in range(1, 50_000) if chance.random() < 0.33]
    plan = Plan(Fault(number, Effect.ERROR, error=turned_away) for number in hit)
    faults = Faults(memory(environment), plan=plan, environment=environment)
    return Retry(faults, environment=Environment.seeded(1), settings=RetrySettings(attempts=20))


class Breaking(Layer):
    """Listings break off after every fourth item."""

    preserves = ~Capability.NONE

    async def list(self, prefix: str = "", *, after: str = "") -> AsyncIterator[BlobInfo]:
        count = 0
        async for info in super().list(prefix, after=after):
            yield info
            count += 1
            if count == 4:
                raise UnavailableError("the connection broke")


class Originated(Layer):
    """Gives every blob an origin, as the engine does."""

    preserves = ~Capability.NONE

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        if is_foreign(name):  # what others wrote is never described
            return await super().put(name, body, options=options, if_absent=if_absent)
        origin = Origin("acme", "models", name, "v", "v", None, 1)
        return await super().put(name, body, options=replace(options, origin=origin), if_absent=if_absent)


def beside(environment: Environment, folder: Path) -> Backend:
    return Originated(Describing(memory(environment), in_metadata=False))


test_a_layer_that_preserves_nothing = conformance(lambda environment, folder: Layer(memory(environment)))
test_a_layer_that_preserves_all = conformance(lambda environment, folder: Transparent(memory(environment)))
test_retry = conformance(lambda environment, folder: Retry(memory(environment), environment=environment))
test_retry_over_a_store_that_fails_now_and_then = conformance(failing_now_and_then)
test_retry_over_listings_that_break = conformance(
    lambda environment, folder: Retry(Breaking(memory(environment)), environment=Environment.seeded(1))
)
test_integrity = conformance(lambda environment, folder: Integrity(memory(environment), md5_etags=True))
test_limit = conformance(lambda environment, folder: Limit(memory(environment)))
test_a_narrow_limit = conformance(
    lambda environment, folder: Limit(memory(environment), settings=LimitSettings(max_in_flight=12, wait=20))
)
test_breaker = conformance(
    lambda environment, folder: Breaker(memory(environment), Circuit("memory", environment.clock))
)
test_cache = conformance(
    lambda environment, folder: Cache(
        memory(environment), Folder(folder, "memory", 64 << 20, clock=environment.clock)
    )
)
test_describing_beside = conformance(beside)
test_metrics = conformance(
    lambda environment, folder: Metrics(
        memory(environment), environment=environment, metrics=StoreMetrics(CollectorRegistry())
    )
)
test_readonly = conformance(lambda environment, folder: WritesPast(ReadOnly(memory(environment))))
test_faults_that_do_not_come = conformance(
    lambda environment, folder: Faults(memory(environment), plan=Plan(), environment=environment)
)
