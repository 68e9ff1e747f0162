"""The order of layers: the only place where it is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from holdfast.core.backend import Backend, Capability
from holdfast.core.circuit import Circuit
from holdfast.core.clock import Environment
from holdfast.core.ledger import Ledger
from holdfast.layers.base import ALL, Layer
from holdfast.layers.billing import Billing
from holdfast.layers.breaker import Breaker
from holdfast.layers.describing import Describing
from holdfast.layers.integrity import Integrity
from holdfast.layers.limit import Limit, LimitSettings
from holdfast.layers.readonly import ReadOnly
from holdfast.layers.retry import Retry, RetrySettings

if TYPE_CHECKING:
    from holdfast.layers.metrics import StoreMetrics

Wrap = Callable[[Backend], Backend]


class StackSettings(BaseModel):
    """What can be said about the layers of a store."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    read_only: bool = Field(default=False, description="Refuse every call that would change the store.")
    attempts: int = Field(
        default=3, ge=1, le=20, description="How often a call that failed for a moment is made."
    )
    max_in_flight: int = Field(default=32, ge=2, description="How many calls and open streams at once.")
    cache: Path | None = Field(default=None, description="Where what is read is kept on disk.")
    cache_bytes: int = Field(default=1 << 30, ge=1, description="How many bytes are kept.")
    describe: Literal["auto", "always", "never"] = Field(
        default="never", description="Whether blobs say what they are."
    )
    md5_etags: bool = Field(
        default=False, description="The store's ETag is an MD5: compare it with that of the bytes."
    )


@dataclass(frozen=True, slots=True)
class Faces:
    """Two ways into one stack: `backend` for plain blobs, `sealed` for encrypted ones. Closing `backend` closes all."""

    backend: Backend
    sealed: Backend | None = None


class Borrowed(Layer):
    """What belongs to another stack, which closes it."""

    preserves = ALL

    async def close(self) -> None:
        """Leave it open."""


def build(
    driver: Backend,
    settings: StackSettings | None = None,
    *,
    environment: Environment,
    metrics: StoreMetrics | None = None,
    circuit: Circuit | None = None,
    ledger: Ledger | None = None,
    above_retry: Sequence[Wrap] = (),
    below_limit: Sequence[Wrap] = (),
) -> Backend:
    """Return `driver` with its layers, for plain blobs; closing it closes the driver. See `faces`."""
    return faces(
        driver,
        settings,
        environment=environment,
        metrics=metrics,
        circuit=circuit,
        ledger=ledger,
        above_retry=above_retry,
        below_limit=below_limit,
    ).backend


def faces(
    driver: Backend,
    settings: StackSettings | None = None,
    *,
    environment: Environment,
    metrics: StoreMetrics | None = None,
    circuit: Circuit | None = None,
    encrypt: Wrap | None = None,
    ledger: Ledger | None = None,
    above_retry: Sequence[Wrap] = (),
    below_limit: Sequence[Wrap] = (),
) -> Faces:
    """Return `driver` with its layers; without `encrypt`, which puts encryption around a backend, only the plain face.

    `above_retry` and `below_limit` are for tests: each wraps what is below it, the last one outermost.
    """
    settings = settings or StackSettings()
    if ledger is not None:
        # outside the hooks of tests, which stand for the store: counts what is asked of it
        below_limit = (*below_limit, partial(Billing, ledger=ledger))
    lower = _lower(driver, settings, environment, metrics, circuit, above_retry, below_limit)
    describes = _describes(driver.capabilities, settings.describe)
    upper = partial(_upper, settings=settings, environment=environment, metrics=metrics, describes=describes)
    if encrypt is None:
        return Faces(upper(lower))
    # one lower stack: one cache, one limit, one circuit for both
    return Faces(upper(lower), upper(encrypt(Borrowed(lower))))


def _describes(offered: Capability, wish: str) -> bool:
    """Tell whether blobs say what they are: not on a local disk that would need a file more for each."""
    if wish == "auto":
        return Capability.METADATA in offered or Capability.FILE not in offered
    return wish == "always"


def _lower(
    driver: Backend,
    settings: StackSettings,
    environment: Environment,
    metrics: StoreMetrics | None,
    circuit: Circuit | None,
    above_retry: Sequence[Wrap],
    below_limit: Sequence[Wrap],
) -> Backend:
    """Return what holds for bytes as the store holds them."""
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
    # outside the breaker: what is here is served while the store is not there, and says nothing of it
    if settings.cache is not None:
        from holdfast.layers.cache import Cache, Folder  # imported where there is one: starting costs

        folder = Folder(settings.cache, driver.store, settings.cache_bytes, clock=environment.clock)
        tally = partial(metrics.cached, driver.store) if metrics else None
        backend = Cache(backend, folder, tally=tally)
    return backend


def _upper(
    backend: Backend,
    *,
    settings: StackSettings,
    environment: Environment,
    metrics: StoreMetrics | None,
    describes: bool,
) -> Backend:
    """Return what each face has of its own."""
    # outside encryption: what blobs say of themselves is encrypted like them
    if describes:
        backend = Describing(backend)
    # refused before anything is tried
    if settings.read_only:
        backend = ReadOnly(backend)
    # outermost: sees one operation, however many tries it takes, and refusals too
    if metrics is not None:
        from holdfast.layers.metrics import Metrics

        backend = Metrics(backend, environment=environment, metrics=metrics)
    return backend
