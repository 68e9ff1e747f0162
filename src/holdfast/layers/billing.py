"""Calls to a store, counted as its provider bills them: each try, each part of an upload, each page of a listing."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Final

from holdfast.core.backend import NO_OPTIONS, Backend, Billed, PutOptions
from holdfast.core.body import Body, Reader
from holdfast.core.fetching import fetched
from holdfast.core.ledger import Ledger
from holdfast.core.types import NO_DIGESTS, BlobInfo, ByteRange, Digests
from holdfast.layers.base import ALL, Layer, closed_after
from holdfast.layers.tally import Tally

PAGE: Final = 1000  #: blobs that one request of a listing answers with


class Billing(Layer):
    """Adds every call of `inner` to a ledger. It lies inside retry and cache: what never reaches the store is not counted."""

    preserves = ALL

    def __init__(self, inner: Backend, ledger: Ledger) -> None:
        super().__init__(inner)
        self.ledger = ledger
        self._parts = inner.put_requests if isinstance(inner, Billed) else _one

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        """Put, and count a call for each part of a large body; one that fails counts once."""
        failed, calls, size = 1, 1, 0
        try:
            info = await super().put(name, body, options=options, if_absent=if_absent)
            failed, calls, size = 0, self._parts(info.size, body.known), info.size
        finally:
            self.ledger.add(self.store, "write", calls, failed, sent=size)
        return info

    def get(self, name: str, *, range: ByteRange | None = None) -> AbstractAsyncContextManager[Reader]:
        """Read, and count what really came."""
        return _Reading(self, super().get(name, range=range))

    async def fetch(self, name: str, size: int) -> bytes:
        """Read, and count what came."""
        failed, came = 1, 0
        try:
            data = await fetched(self.inner, name, size)
            failed, came = 0, size
        finally:
            self.ledger.add(self.store, "read", 1, failed, received=came)
        return data

    async def head(self, name: str) -> BlobInfo:
        """Look: billed as a read."""
        failed = 1
        try:
            info = await super().head(name)
            failed = 0
        finally:
            self.ledger.add(self.store, "read", 1, failed)
        return info

    async def delete(self, name: str) -> None:
        """Delete."""
        failed = 1
        try:
            await super().delete(name)
            failed = 0
        finally:
            self.ledger.add(self.store, "delete", 1, failed)

    async def discard(self, name: str) -> None:
        """Delete, and count one call: what of an upload lay about is rarely there."""
        failed = 1
        try:
            await super().discard(name)
            failed = 0
        finally:
            self.ledger.add(self.store, "delete", 1, failed)

    async def copy(self, source: str, target: str) -> BlobInfo:
        """Copy inside the store: no bytes pass."""
        failed = 1
        try:
            info = await super().copy(source, target)
            failed = 0
        finally:
            self.ledger.add(self.store, "copy", 1, failed)
        return info

    async def list(self, prefix: str = "", *, after: str = "") -> AsyncGenerator[BlobInfo, None]:
        """List, and count a call for each thousand blobs."""
        seen, failed = 0, 1
        try:
            async with closed_after(super().list(prefix, after=after)) as items:
                async for info in items:
                    seen += 1
                    yield info
            failed = 0
        except GeneratorExit:  # nobody wanted the rest
            failed = 0
            raise
        finally:
            self.ledger.add(self.store, "list", max(1, -(-seen // PAGE)), failed)


def _one(size: int, known: Digests = NO_DIGESTS) -> int:
    return 1


class _Reading(AbstractAsyncContextManager[Reader]):
    """A read that is counted when it ends."""

    __slots__ = ("_inner", "_layer", "_tally")

    def __init__(self, layer: Billing, inner: AbstractAsyncContextManager[Reader]) -> None:
        self._layer, self._inner = layer, inner
        self._tally: Tally | None = None

    async def __aenter__(self) -> Reader:
        try:
            self._tally = Tally(await self._inner.__aenter__())
        except BaseException:
            self._layer.ledger.add(self._layer.store, "read", 1, 1)
            raise
        return self._tally.reader

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        assert self._tally is not None
        failed = 0 if error is None or isinstance(error, GeneratorExit) else 1
        try:
            return await self._inner.__aexit__(kind, error, trace)
        finally:
            came = self._tally.counted(whole=error is None)
            self._layer.ledger.add(self._layer.store, "read", 1, failed, received=came)
