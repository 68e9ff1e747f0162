"""Figures per store and verb, as Prometheus collects them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from types import TracebackType
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from holdfast.core.backend import NO_OPTIONS, Backend, PutOptions, SignedUrl
from holdfast.core.body import Body, Reader
from holdfast.core.clock import Environment
from holdfast.core.errors import HoldfastError
from holdfast.core.fetching import fetched
from holdfast.core.types import BlobInfo, ByteRange
from holdfast.layers.base import ALL, Layer, closed_after
from holdfast.layers.tally import Tally

_BUCKETS: Final = (
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1,
    2.5,
    5,
    10,
    30,
    60,
    300,
)


class StoreMetrics:
    """The collectors of all stores of a process; made once per registry.

    `outcome` is `ok`, the code of an error, `cancelled`, or `internal` for what no driver should raise.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.operations = Counter(
            "holdfast_store_operations",
            "Calls to a store",
            ["store", "operation", "outcome"],
            registry=registry,
        )
        self.seconds = Histogram(
            "holdfast_store_operation_seconds",
            "Time a call took, streams included",
            ["store", "operation"],
            registry=registry,
            buckets=_BUCKETS,
        )
        self.bytes = Counter(
            "holdfast_store_bytes",
            "Bytes written (in) and read (out)",
            ["store", "direction"],
            registry=registry,
        )
        self.in_flight = Gauge(
            "holdfast_store_in_flight",
            "Calls and open streams now",
            ["store", "operation"],
            registry=registry,
        )
        self.waiting = Gauge(
            "holdfast_store_waiting",
            "Calls that wait for their turn at the store",
            ["store"],
            registry=registry,
        )
        self.retries = Counter(
            "holdfast_store_retries", "Calls made again", ["store", "operation", "outcome"], registry=registry
        )

        self.cache_pieces = Counter(
            "holdfast_store_cache_pieces",
            "Pieces that reads through a cache got: hit (from it), shared (of another read's request), miss",
            ["store", "outcome"],
            registry=registry,
        )
        self.cache_bytes = Counter(
            "holdfast_store_cache_bytes",
            "Bytes that reads through a cache got",
            ["store", "outcome"],
            registry=registry,
        )

    def cached(self, store: str, outcome: str, size: int) -> None:
        """Count a piece that was read through a cache."""
        self.cache_pieces.labels(store, outcome).inc()
        self.cache_bytes.labels(store, outcome).inc(size)

    def retried(self, store: str, operation: str, error: HoldfastError) -> None:
        """Count one more try."""
        self.retries.labels(store, operation, error.code).inc()


class _Verb:
    """The collectors of one verb of one store, looked up once."""

    def __init__(self, metrics: StoreMetrics, store: str, operation: str) -> None:
        self._metrics, self._store, self._operation = metrics, store, operation
        self.seconds = metrics.seconds.labels(store, operation)
        self.in_flight = metrics.in_flight.labels(store, operation)
        self._ok = metrics.operations.labels(store, operation, "ok")

    def done(self, error: BaseException | None) -> None:
        """Count the end of a call."""
        if error is None:
            self._ok.inc()
            return
        if isinstance(error, HoldfastError):
            outcome = error.code
        else:
            outcome = "internal" if isinstance(error, Exception) else "cancelled"
        self._metrics.operations.labels(self._store, self._operation, outcome).inc()


class Metrics(Layer):
    """Counts calls, time, bytes and what is in flight; one call counts once, however many tries it takes.

    Bytes that a door sends straight from an open file are counted as read when the reader is closed without error.
    """

    preserves = ALL

    def __init__(self, inner: Backend, *, environment: Environment, metrics: StoreMetrics) -> None:
        super().__init__(inner)
        self._clock = environment.clock
        self.verbs = {
            verb: _Verb(metrics, inner.store, verb)
            for verb in ("put", "get", "head", "delete", "list", "copy", "presign", "wake")
        }
        self._in = metrics.bytes.labels(inner.store, "in")
        self.out = metrics.bytes.labels(inner.store, "out")

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        """Put, counted."""
        with self._counted("put"):
            info = await super().put(name, body, options=options, if_absent=if_absent)
        self._in.inc(info.size)
        return info

    def get(self, name: str, *, range: ByteRange | None = None) -> AbstractAsyncContextManager[Reader]:
        """Read, counted from opening to closing."""
        return _Reading(self, super().get(name, range=range))

    async def fetch(self, name: str, size: int) -> bytes:
        """Read, counted."""
        with self._counted("get"):
            data = await fetched(self.inner, name, size)
        self.out.inc(len(data))
        return data

    async def head(self, name: str) -> BlobInfo:
        """Look, counted."""
        with self._counted("head"):
            return await super().head(name)

    async def delete(self, name: str) -> None:
        """Delete, counted."""
        with self._counted("delete"):
            await super().delete(name)

    async def copy(self, source: str, target: str) -> BlobInfo:
        """Copy, counted."""
        with self._counted("copy"):
            return await super().copy(source, target)

    async def copy_from(self, other: Backend, source: str, target: str) -> BlobInfo:
        """Copy from another store, counted."""
        with self._counted("copy"):
            return await super().copy_from(other, source, target)

    async def wake(self, name: str) -> None:
        """Wake, counted."""
        with self._counted("wake"):
            await super().wake(name)

    async def presign(
        self,
        method: str,
        name: str,
        *,
        expires_in: float,
        content_type: str | None = None,
        content_disposition: str | None = None,
    ) -> SignedUrl:
        """Sign, counted."""
        with self._counted("presign"):
            return await super().presign(
                method,
                name,
                expires_in=expires_in,
                content_type=content_type,
                content_disposition=content_disposition,
            )

    async def list(self, prefix: str = "", *, after: str = "") -> AsyncGenerator[BlobInfo, None]:
        """List, counted once for all items."""
        with self._counted("list"):
            async with closed_after(super().list(prefix, after=after)) as items:
                async for info in items:
                    yield info

    @contextmanager
    def _counted(self, operation: str) -> Iterator[None]:
        verb = self.verbs[operation]
        began = self.begin(verb)
        failure: BaseException | None = None
        try:
            yield
        except GeneratorExit:  # a listing that was not read to its end
            raise
        except BaseException as error:
            failure = error
            raise
        finally:
            self.end(verb, began, failure)

    def begin(self, verb: _Verb) -> float:
        """Count the start of a call and return its time."""
        verb.in_flight.inc()
        return self._clock.monotonic()

    def end(self, verb: _Verb, began: float, failure: BaseException | None) -> None:
        """Count the end of a call."""
        verb.in_flight.dec()
        verb.seconds.observe(self._clock.monotonic() - began)
        verb.done(failure)


class _Reading(AbstractAsyncContextManager[Reader]):
    """A read, counted from opening to closing."""

    __slots__ = ("_began", "_inner", "_layer", "_tally", "_verb")

    def __init__(self, layer: Metrics, inner: AbstractAsyncContextManager[Reader]) -> None:
        self._layer, self._inner = layer, inner
        self._verb = layer.verbs["get"]
        self._tally: Tally | None = None

    async def __aenter__(self) -> Reader:
        self._began = self._layer.begin(self._verb)
        try:
            self._tally = Tally(await self._inner.__aenter__())
        except BaseException as error:
            self._layer.end(self._verb, self._began, error)
            raise
        return self._tally.reader

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        assert self._tally is not None
        try:
            return await self._inner.__aexit__(kind, error, trace)
        finally:
            self._layer.out.inc(self._tally.counted(whole=error is None))
            self._layer.end(self._verb, self._began, error)
