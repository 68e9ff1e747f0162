"""The catalog as a store: small contents as rows, behind the same verbs as every other store.

What is special about it is elsewhere: a small put is one transaction (`engine.write`), a small read brings its bytes
along (`catalog.reading`). Whoever else handles blobs (copies, sweeps, moves between stores) finds a `Backend` here.
A content is held whole while it passes, so there is a largest one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Final

from holdfast.catalog.contract import Catalog
from holdfast.core.backend import NO_OPTIONS, Capability, Limits, PutOptions, SignedUrl, Store
from holdfast.core.body import Body, Reader
from holdfast.core.errors import HoldfastError, TooLargeError, UnsupportedError
from holdfast.core.names import INLINE, check_blob_name
from holdfast.core.types import BlobInfo, ByteRange, Span
from holdfast.policy.placement import MAX_INLINE

_PAGE: Final = 1000
_INTERNAL: Final = frozenset({"internal", "hot"})


class InlineBackend:
    """A `Backend` over the table of contents. Each verb is one transaction or one read."""

    capabilities = Capability.RANGE | Capability.IF_ABSENT
    in_process = True  #: a content passes through memory whole

    def __init__(self, catalog: Catalog, *, max_blob_size: int = MAX_INLINE) -> None:
        self.store = INLINE
        self.limits = Limits(max_blob_size=max_blob_size)
        self._most = max_blob_size
        self._catalog = catalog

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        """Keep all of `body` in one transaction; see `Backend.put`."""
        check_blob_name(name)
        if body.size is not None and body.size > self._most:
            raise self._too_large(name)
        data = await self._gather(name, body)
        with self._told("put", name):
            created = await self._catalog.content_put(name, data, if_absent=if_absent)
        return BlobInfo(name, len(data), created)

    def get(self, name: str, *, range: ByteRange | None = None) -> AbstractAsyncContextManager[Reader]:
        """Read what is there on entering, whatever happens to the name meanwhile; see `Backend.get`."""
        return self._get(name, range)

    @asynccontextmanager
    async def _get(self, name: str, wish: ByteRange | None) -> AsyncIterator[Reader]:
        check_blob_name(name)
        with self._told("get", name):
            found = await self._catalog.content_get(name)
            span = Span(0, found.size) if wish is None else wish.resolve(found.size)
        data = found.data if span.length == found.size else found.data[span.offset : span.end]
        yield Reader.of_bytes(BlobInfo(name, found.size, found.created), span, data)

    async def head(self, name: str) -> BlobInfo:
        """Return what is known of `name`; see `Backend.head`."""
        check_blob_name(name)
        with self._told("head", name):
            found = await self._catalog.content_info(name)
        return BlobInfo(name, found.size, found.created)

    async def delete(self, name: str) -> None:
        """Remove `name`; see `Backend.delete`."""
        check_blob_name(name)
        with self._told("delete", name):
            await self._catalog.content_delete(name)

    async def discard(self, name: str) -> None:
        """Remove `name`: a put that did not end leaves nothing else here."""
        await self.delete(name)

    async def list(self, prefix: str = "", *, after: str = "") -> AsyncIterator[BlobInfo]:
        """Yield in byte order, a page at a time; blobs that come or go meanwhile may or may not be seen."""
        while True:
            with self._told("list", prefix):
                page = await self._catalog.content_list(prefix, after=after, limit=_PAGE)
            for found in page:
                yield BlobInfo(found.blob, found.size, found.created)
            if len(page) < _PAGE:
                return
            after = page[-1].blob

    async def copy(self, source: str, target: str) -> BlobInfo:
        """Raise `UnsupportedError`: a copy is a put of what was read."""
        raise UnsupportedError(
            "the catalog copies no contents by itself", operation="copy", store=self.store, name=source
        )

    async def presign(
        self,
        method: str,
        name: str,
        *,
        expires_in: float,
        content_type: str | None = None,
        content_disposition: str | None = None,
    ) -> SignedUrl:
        """Raise `UnsupportedError`: the catalog has no URL."""
        raise UnsupportedError(
            "contents in the catalog have no URLs", operation="presign", store=self.store, name=name
        )

    async def close(self) -> None:
        """Return at once: the catalog is closed by whoever opened it."""

    async def _gather(self, name: str, body: Body) -> bytes:
        if body.data is not None:
            return body.data
        parts, size = [], 0
        async for chunk in body.chunks():
            size += len(chunk)
            if size > self._most:
                raise self._too_large(name)
            parts.append(bytes(chunk))
        return b"".join(parts)

    def _too_large(self, name: str) -> TooLargeError:
        return TooLargeError(
            f"the catalog takes no contents of more than {self._most} bytes",
            operation="put",
            store=self.store,
            name=name,
        )

    @contextmanager
    def _told(self, operation: str, name: str) -> Iterator[None]:
        """Let an error of the catalog say what was done, and where."""
        try:
            yield
        except HoldfastError as error:
            error.operation, error.store = error.operation or operation, self.store
            error.name = error.name or name
            raise


def inline_store(catalog: Catalog) -> Store:
    """Return the store that is the catalog."""
    return Store(INLINE, InlineBackend(catalog), labels=_INTERNAL)
