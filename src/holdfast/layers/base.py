"""The layer that adds nothing: what the others are made from."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import ClassVar, cast

from holdfast.core.backend import (
    NO_OPTIONS,
    Backend,
    Capability,
    CopierFrom,
    Describer,
    FolderMaker,
    Forgetter,
    Limits,
    PutOptions,
    Room,
    Roomy,
    SignedUrl,
    Waker,
)
from holdfast.core.body import Body, Reader
from holdfast.core.errors import UnsupportedError
from holdfast.core.fetching import fetched, opened
from holdfast.core.types import BlobInfo, ByteRange, Origin

ALL = ~Capability.NONE


class Layer:
    """A `Backend` around `inner` that forwards every verb.

    `preserves` says which capabilities survive the layer: none until it says so. What does not survive is refused.
    """

    preserves: ClassVar[Capability] = Capability.NONE
    as_stored: ClassVar[bool] = True  #: what is read and put are the bytes that the store holds

    def __init__(self, inner: Backend) -> None:
        self.inner = inner
        self._offered = inner.capabilities & self.preserves
        self.sleeps: bool = getattr(inner, "sleeps", False)  #: see `Waker.sleeps`; asked for with each copy

    @property
    def store(self) -> str:
        """The name of the store."""
        return self.inner.store

    @property
    def capabilities(self) -> Capability:
        """What the inner backend offers and the layer preserves."""
        return self._offered

    @property
    def limits(self) -> Limits:
        """What fits."""
        return self.inner.limits

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        """See `Backend.put`."""
        if if_absent:
            self.need(Capability.IF_ABSENT, "put", name)
        return await self.inner.put(name, body, options=options, if_absent=if_absent)

    def get(self, name: str, *, range: ByteRange | None = None) -> AbstractAsyncContextManager[Reader]:
        """See `Backend.get`."""
        if range is not None:
            self.need(Capability.RANGE, "get", name)
        return self.inner.get(name, range=range)

    async def fetch(self, name: str, size: int) -> bytes:
        """See `Fetcher.fetch`; a layer with a `get` of its own that has none of these reads through it."""
        if type(self).get is Layer.get:
            return await fetched(self.inner, name, size)
        return await opened(self, name, size)

    async def head(self, name: str) -> BlobInfo:
        """See `Backend.head`."""
        return await self.inner.head(name)

    async def delete(self, name: str) -> None:
        """See `Backend.delete`."""
        await self.inner.delete(name)

    async def discard(self, name: str) -> None:
        """See `Backend.discard`."""
        await self.inner.discard(name)

    def list(self, prefix: str = "", *, after: str = "") -> AsyncIterator[BlobInfo]:
        """See `Backend.list`."""
        return self.inner.list(prefix, after=after)

    async def copy(self, source: str, target: str) -> BlobInfo:
        """See `Backend.copy`."""
        self.need(Capability.COPY, "copy", source)
        return await self.inner.copy(source, target)

    async def presign(
        self,
        method: str,
        name: str,
        *,
        expires_in: float,
        content_type: str | None = None,
        content_disposition: str | None = None,
    ) -> SignedUrl:
        """See `Backend.presign`."""
        self.need(Capability.PRESIGN, "presign", name)
        return await self.inner.presign(
            method,
            name,
            expires_in=expires_in,
            content_type=content_type,
            content_disposition=content_disposition,
        )

    async def make_folder(self, name: str) -> bool:
        """See `FolderMaker.make_folder`."""
        self.need(Capability.FOLDERS, "make_folder", name)
        return await cast(FolderMaker, self.inner).make_folder(name)

    async def describe(self, name: str, origin: Origin) -> None:
        """See `Describer.describe`; nothing happens where nobody below keeps descriptions."""
        if isinstance(self.inner, Describer):
            await self.inner.describe(name, origin)

    async def forget(self, name: str) -> None:
        """See `Forgetter.forget`; nothing happens where nobody below holds copies."""
        if isinstance(self.inner, Forgetter):
            await self.inner.forget(name)

    def can_copy_from(self, other: Backend) -> bool:
        """See `CopierFrom.can_copy_from`; never through a layer that changes bytes."""
        below = beneath(other)
        return (
            self.as_stored
            and below is not None
            and isinstance(self.inner, CopierFrom)
            and self.inner.can_copy_from(below)
        )

    async def copy_from(self, other: Backend, source: str, target: str) -> BlobInfo:
        """See `CopierFrom.copy_from`."""
        below = beneath(other)
        if below is None or not isinstance(self.inner, CopierFrom) or not self.can_copy_from(other):
            raise UnsupportedError(
                "it cannot be copied from that store", operation="copy", store=self.store, name=target
            )
        return await self.inner.copy_from(below, source, target)

    async def room(self) -> Room | None:
        """See `Roomy.room`; None where the backend does not know it."""
        return await self.inner.room() if isinstance(self.inner, Roomy) else None

    async def wake(self, name: str) -> None:
        """See `Waker.wake`."""
        if not isinstance(self.inner, Waker):
            raise UnsupportedError(
                "blobs of this store do not sleep", operation="wake", store=self.store, name=name
            )
        await self.inner.wake(name)

    async def close(self) -> None:
        """Close the inner backend."""
        await self.inner.close()

    def need(self, capability: Capability, operation: str, name: str) -> None:
        """Raise `UnsupportedError` unless `capability` is offered."""
        if capability not in self._offered:
            raise UnsupportedError(
                f"{capability.name} is not offered here", operation=operation, store=self.store, name=name
            )


def beneath(backend: Backend) -> Backend | None:
    """Return the driver beneath its layers; None when one of them changes bytes."""
    while isinstance(backend, Layer):
        if not backend.as_stored:
            return None
        backend = backend.inner
    return backend


@asynccontextmanager
async def closed_after(items: AsyncIterator[BlobInfo]) -> AsyncIterator[AsyncIterator[BlobInfo]]:
    """Give `items` and close them at the end, so that a listing which is not read to its end lets go at once."""
    try:
        yield items
    finally:
        close = getattr(items, "aclose", None)
        if close is not None:
            await close()
