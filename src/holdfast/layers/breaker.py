"""Leaving a store alone that does not answer, so that nobody waits for it in vain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from types import TracebackType
from typing import Final

from holdfast.core.backend import NO_OPTIONS, Backend, PutOptions, SignedUrl
from holdfast.core.body import Body, Reader
from holdfast.core.circuit import Circuit, unanswered
from holdfast.core.errors import (
    ConfigError,
    DigestMismatchError,
    HoldfastError,
    InternalError,
    InvalidRequestError,
    TooLargeError,
    UnsupportedError,
)
from holdfast.core.fetching import fetched
from holdfast.core.types import BlobInfo, ByteRange
from holdfast.layers.base import ALL, Layer, closed_after

#: What may be said without the store having been asked: it shows nothing of the store.
_OWN: Final = (
    ConfigError,
    DigestMismatchError,
    InternalError,
    InvalidRequestError,
    TooLargeError,
    UnsupportedError,
)


class Breaker(Layer):
    """Refuses calls with `UnavailableError` while `circuit` is open, and tells it how the others ended.

    It counts what is left after retries. A read counts when it is open; a stream that breaks later is the engine's.
    """

    preserves = ALL

    def __init__(self, inner: Backend, circuit: Circuit) -> None:
        super().__init__(inner)
        self._circuit = circuit

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        """Put, unless the circuit is open."""
        with self._watched("put", name):
            return await super().put(name, body, options=options, if_absent=if_absent)

    def get(self, name: str, *, range: ByteRange | None = None) -> AbstractAsyncContextManager[Reader]:
        """Open, unless the circuit is open."""
        return _Opening(self, super().get(name, range=range), name)

    async def fetch(self, name: str, size: int) -> bytes:
        """Read, unless the circuit is open."""
        with self._watched("get", name):
            return await fetched(self.inner, name, size)

    async def head(self, name: str) -> BlobInfo:
        """Look, unless the circuit is open."""
        with self._watched("head", name):
            return await super().head(name)

    async def delete(self, name: str) -> None:
        """Delete, unless the circuit is open."""
        with self._watched("delete", name):
            await super().delete(name)

    async def discard(self, name: str) -> None:
        """Discard, unless the circuit is open."""
        with self._watched("delete", name):
            await super().discard(name)

    async def copy(self, source: str, target: str) -> BlobInfo:
        """Copy, unless the circuit is open."""
        with self._watched("copy", source):
            return await super().copy(source, target)

    async def copy_from(self, other: Backend, source: str, target: str) -> BlobInfo:
        """Copy from another store, unless the circuit is open."""
        with self._watched("copy", target):
            return await super().copy_from(other, source, target)

    async def presign(
        self,
        method: str,
        name: str,
        *,
        expires_in: float,
        content_type: str | None = None,
        content_disposition: str | None = None,
    ) -> SignedUrl:
        """Sign, unless the circuit is open; a signature shows nothing of the store."""
        self._circuit.left(self._circuit.enter("presign", name))
        return await super().presign(
            method,
            name,
            expires_in=expires_in,
            content_type=content_type,
            content_disposition=content_disposition,
        )

    async def list(self, prefix: str = "", *, after: str = "") -> AsyncGenerator[BlobInfo, None]:
        """List, unless the circuit is open; counted once, by its first item or its end."""
        trial, told = self._circuit.enter("list", prefix), False
        began = self._circuit.now()
        try:
            async with closed_after(super().list(prefix, after=after)) as items:
                async for info in items:
                    if not told:
                        told = True
                        self._circuit.passed()
                    yield info
            if not told:
                told = True
                self._circuit.passed()
        except HoldfastError as error:
            if not told:
                told = True
                self.judge(error, trial, began)
            raise
        finally:
            if not told:
                self._circuit.left(trial)

    def enter(self, operation: str, name: str) -> bool:
        """Begin a call; see `Circuit.enter`."""
        return self._circuit.enter(operation, name)

    def now(self) -> float:
        """Return the time by which calls are measured."""
        return self._circuit.now()

    def judge(self, error: BaseException | None, trial: bool, began: float) -> None:
        """Tell the circuit how a call ended."""
        if error is None:
            self._circuit.passed()
        elif isinstance(error, HoldfastError) and unanswered(error, self.store):
            self._circuit.failed(error, trial, self._circuit.now() - began)
        elif not isinstance(error, HoldfastError) or isinstance(error, _OWN):
            self._circuit.left(trial)
        else:
            self._circuit.passed()

    @contextmanager
    def _watched(self, operation: str, name: str) -> Iterator[None]:
        trial, began = self._circuit.enter(operation, name), self._circuit.now()
        try:
            yield
        except BaseException as error:
            self.judge(error, trial, began)
            raise
        self._circuit.passed()


class _Opening(AbstractAsyncContextManager[Reader]):
    """A read, judged by whether it could be opened."""

    __slots__ = ("_inner", "_layer", "_name")

    def __init__(self, layer: Breaker, inner: AbstractAsyncContextManager[Reader], name: str) -> None:
        self._layer, self._inner, self._name = layer, inner, name

    async def __aenter__(self) -> Reader:
        trial, began = self._layer.enter("get", self._name), self._layer.now()
        try:
            reader = await self._inner.__aenter__()
        except (Exception, asyncio.CancelledError) as error:
            self._layer.judge(error, trial, began)
            raise
        self._layer.judge(None, trial, began)
        return reader

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._inner.__aexit__(kind, error, trace)
