"""The whole stack keeps every promise: over memory with a cache, and over a disk without one."""

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from holdfast.backends import registry
from holdfast.core.backend import Backend
from holdfast.core.clock import Environment
from holdfast.layers import stack
from holdfast.layers.metrics import StoreMetrics
from holdfast.testing.run import conformance

pytestmark = pytest.mark.engine


def stacked(
    environment: Environment, driver: str, *, cache: Path | None = None, **settings: object
) -> Backend:
    parsed = registry.parse(driver, settings)
    backend = registry.open_backend("main", driver, parsed, environment=environment)
    layers = stack.StackSettings(md5_etags=True, cache=cache, describe="always")
    metrics = StoreMetrics(CollectorRegistry())
    return stack.build(backend, layers, environment=environment, metrics=metrics)


def over_memory(environment: Environment, folder: Path) -> Backend:
    return stacked(environment, "memory", cache=folder)


def over_disk(environment: Environment, folder: Path) -> Backend:
    return stacked(environment, "local", path=str(folder))


test_promise_over_memory = conformance(over_memory)
test_promise_over_a_disk = conformance(over_disk)
