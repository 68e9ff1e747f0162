"""The order of layers: the only place where it is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from pydantic import BaseModel, ConfigDict, Field

from holdfast.core.backend import Backend
from holdfast.core.circuit import Circuit
from holdfast.core.clock import Environment
from holdfast.layers.breaker import Breaker
from holdfast.layers.integrity import Integrity
from holdfast.layers.limit import Limit, LimitSettings
from holdfast.layers.metrics import Metrics, StoreMetrics
from holdfast.layers.readonly import ReadOnly
from holdfast.layers.retry import Retry, RetrySettings

Wrap = Callable[[Backend], Backend]


class StackSettings(BaseModel):
    """What can be said about the layers of a store."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    read_only: bool = Field(default=False, description="Refuse every call that would change the store.")
    attempts: int = Field(
        default=3, ge=1, le=20, description="How often a call that failed for a moment is made."
    )
    max_in_flight: int = Field(default=32, ge=2, description="How many calls and open streams at once.")
    md5_etags: bool = Field(
        default=False, description="The store's ETag is an MD5: compare it with that of the bytes."
    )


def build(
    driver: Backend,
    settings: StackSettings | None = None,
    *,
    environment: Environment,
    metrics: StoreMetrics | None = None,
    circuit: Circuit | None = None,
    above_retry: Sequence[Wrap] = (),
    below_limit: Sequence[Wrap] = (),
) -> Backend:
    """Return `driver` with its layers; closing it closes the driver.

    `above_retry` and `below_limit` are for tests: each wraps what is below it, the last one outermost.
    """
    settings = settings or StackSettings()
    backend = driver
    for wrap in below_limit:
        backend = wrap(backend)
    # innermost: counts what is really at the store; a retry that sleeps holds no permit
    queue = metrics.waiting.labels(driver.store) if metrics else None
    backend = Limit(backend, settings=LimitSettings(max_in_flight=settings.max_in_flight), queue=queue)
    # inside retry: a damaged transfer is an error that may pass
    backend = Integrity(backend, md5_etags=settings.md5_etags)
    # outside all that can fail for a moment
    observe = partial(metrics.retried, driver.store) if metrics else None
    patience = RetrySettings(attempts=settings.attempts)
    backend = Retry(backend, environment=environment, settings=patience, observe=observe)
    for wrap in above_retry:
        backend = wrap(backend)
    # outside retry: counts what is left of a call, and spares the pauses when there is no hope
    if circuit is not None:
        backend = Breaker(backend, circuit)
    # refused before anything is tried
    if settings.read_only:
        backend = ReadOnly(backend)
    # outermost: sees one operation, however many tries it takes, and refusals too
    if metrics is not None:
        backend = Metrics(backend, environment=environment, metrics=metrics)
    return backend
