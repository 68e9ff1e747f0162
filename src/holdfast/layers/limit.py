"""No more calls at a store at once than it bears."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from enum import Enum
from types import TracebackType
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field

from holdfast.core.backend import NO_OPTIONS, Backend, PutOptions
from holdfast.core.body import Body, Reader
from holdfast.core.errors import RateLimitedError
from holdfast.core.fetching import fetched
from holdfast.core.types import BlobInfo, ByteRange
from holdfast.layers.base import ALL, Layer, closed_after


class LimitSettings(BaseModel):
    """How many, and how long to wait for one's turn."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_in_flight: int = Field(default=32, ge=2, description="How many calls and open streams at once.")
    wait: float = Field(default=60.0, gt=0, description="Seconds that a call waits for its turn at most.")


class Queue(Protocol):
    """Is told of each call that begins and ends to wait."""

    def inc(self) -> None: ...
    def dec(self) -> None: ...


class _Unseen:
    def inc(self) -> None:
        """Nobody counts."""

    def dec(self) -> None:
        """Nobody counts."""


class _Kind(Enum):
    READING = "get"
    WRITING = "put"
    SHORT = "call"


class Limit(Layer):
    """Lets `max_in_flight` calls and open streams through at once, first come first served.

    Reads and writes may each take three quarters of that at most: a copy holds a read while it waits for a write, and
    if reads could take all, enough copies would wait for each other for ever. A listing holds a permit only while the
    next item is fetched. Who waits longer than `wait` seconds gets `RateLimitedError`.
    """

    preserves = ALL

    def __init__(
        self, inner: Backend, *, settings: LimitSettings | None = None, queue: Queue | None = None
    ) -> None:
        super().__init__(inner)
        self._settings = settings or LimitSettings()
        self._queue = queue or _Unseen()
        total = self._settings.max_in_flight
        self._all = asyncio.Semaphore(total)
        share = max(1, total * 3 // 4)
        self._shares = {_Kind.READING: asyncio.Semaphore(share), _Kind.WRITING: asyncio.Semaphore(share)}

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        """Put, when it is our turn."""
        async with self._turn(_Kind.WRITING, "put", name):
            return await super().put(name, body, options=options, if_absent=if_absent)

    def get(self, name: str, *, range: ByteRange | None = None) -> AbstractAsyncContextManager[Reader]:
        """Open, when it is our turn; the permit is held until the reader is closed."""
        return _InTurn(self._turn(_Kind.READING, "get", name), super().get(name, range=range))

    async def fetch(self, name: str, size: int) -> bytes:
        """Read, when it is our turn."""
        async with self._turn(_Kind.READING, "get", name):
            return await fetched(self.inner, name, size)

    async def head(self, name: str) -> BlobInfo:
        """Look, when it is our turn."""
        async with self._turn(_Kind.SHORT, "head", name):
            return await super().head(name)

    async def delete(self, name: str) -> None:
        """Delete, when it is our turn."""
        async with self._turn(_Kind.SHORT, "delete", name):
            await super().delete(name)

    async def copy(self, source: str, target: str) -> BlobInfo:
        """Copy, when it is our turn."""
        async with self._turn(_Kind.SHORT, "copy", source):
            return await super().copy(source, target)

    async def copy_from(self, other: Backend, source: str, target: str) -> BlobInfo:
        """Copy from another store, when it is our turn."""
        async with self._turn(_Kind.SHORT, "copy", target):
            return await super().copy_from(other, source, target)

    async def list(self, prefix: str = "", *, after: str = "") -> AsyncGenerator[BlobInfo, None]:
        """List; each step waits for its turn, so that what is done per item cannot starve the listing."""
        async with closed_after(super().list(prefix, after=after)) as items:
            while True:
                async with self._turn(_Kind.SHORT, "list", prefix):
                    info = await anext(items, None)
                if info is None:
                    return
                yield info

    async def wait(self, gate: asyncio.Semaphore) -> None:
        """Wait for `gate`, not for too long."""
        self._queue.inc()
        try:
            async with asyncio.timeout(self._settings.wait):
                await gate.acquire()
        finally:
            self._queue.dec()

    def refusal(self, operation: str, name: str) -> RateLimitedError:
        """Return the error of a call that waited too long."""
        return RateLimitedError(
            "the store is busy: too many calls wait for it",
            operation=operation,
            store=self.store,
            name=name,
        )

    def _turn(self, kind: _Kind, operation: str, name: str) -> _Turn:
        gates = [self._all] if kind is _Kind.SHORT else [self._shares[kind], self._all]
        return _Turn(self, gates, operation, name)


class _Turn:
    """All of `gates`, passed in order; refused when that takes longer than the layer lets one wait."""

    __slots__ = ("_gates", "_layer", "_name", "_operation", "_passed")

    def __init__(self, layer: Limit, gates: list[asyncio.Semaphore], operation: str, name: str) -> None:
        self._layer, self._gates, self._operation, self._name = layer, gates, operation, name
        self._passed: list[asyncio.Semaphore] = []

    async def __aenter__(self) -> None:
        try:
            for gate in self._gates:
                if gate.locked():
                    await self._layer.wait(gate)
                else:
                    await gate.acquire()
                self._passed.append(gate)
        except BaseException as error:
            self._release()
            if isinstance(error, TimeoutError):
                raise self._layer.refusal(self._operation, self._name) from None
            raise

    async def __aexit__(self, *_: object) -> None:
        self._release()

    def _release(self) -> None:
        while self._passed:
            self._passed.pop().release()


class _InTurn(AbstractAsyncContextManager[Reader]):
    """A read that holds its permit from before it opens until it is closed."""

    __slots__ = ("_inner", "_turn")

    def __init__(self, turn: _Turn, inner: AbstractAsyncContextManager[Reader]) -> None:
        self._turn, self._inner = turn, inner

    async def __aenter__(self) -> Reader:
        await self._turn.__aenter__()
        try:
            return await self._inner.__aenter__()
        except BaseException:
            await self._turn.__aexit__()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        try:
            return await self._inner.__aexit__(kind, error, trace)
        finally:
            await self._turn.__aexit__()
