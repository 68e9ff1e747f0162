"""A damaged transfer is an error, and every error one of ours, inside the layer that tries again."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Final

from holdfast.core.backend import NO_OPTIONS, Backend, PutOptions, Room, SignedUrl
from holdfast.core.body import Body, Meter, Reader
from holdfast.core.errors import CorruptedError, HoldfastError, UnavailableError
from holdfast.core.fetching import fetched, whole
from holdfast.core.types import BlobInfo, ByteRange, Origin, Span
from holdfast.layers.base import ALL, Layer, closed_after
from holdfast.layers.foreign import Source, translated

_MD5: Final = re.compile(r"[0-9a-f]{32}")


class Integrity(Layer):
    """Compares what went by with what the store says it holds, and what comes out with what was asked for.

    Always: the size. With `md5_etags`, for stores whose ETag is the MD5 of the bytes (S3 without KMS or SSE-C; an
    ETag of several parts has a dash and is passed over): the MD5 too, which costs 1.3 ms per MiB.

    An error that is none of ours, a defect of the driver, becomes an `UnavailableError` in every verb, and is logged.
    """

    preserves = ALL

    def __init__(self, inner: Backend, *, md5_etags: bool = False) -> None:
        super().__init__(inner)
        self._md5_etags = md5_etags

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        """Put.

        Raises:
            CorruptedError: the store holds something else than was sent. Under the name is then that something else.
        """
        meter = Meter({"md5": _md5} if self._md5_etags else {})
        data = body.data
        if data is None:
            body = body.metered(meter)
        elif self._md5_etags:
            await meter.update(data)
        source = Source(body)
        with translated("put", self.store, name, source=source):
            info = await super().put(name, source.body, options=options, if_absent=if_absent)
        sent = meter.size if data is None else len(data)
        if info.size != sent:
            raise self._damaged("put", name, f"{sent} bytes were sent, the store holds {info.size}")
        md5 = meter.digests.md5
        if md5 is not None and info.etag and _MD5.fullmatch(info.etag) and info.etag != md5.hex():
            raise self._damaged("put", name, "the store's MD5 is not that of the bytes that were sent")
        return info

    def get(self, name: str, *, range: ByteRange | None = None) -> AbstractAsyncContextManager[Reader]:
        """Open.

        Raises:
            CorruptedError (on entering): the store answered with another part than was asked for.
            UnavailableError (while reading): the stream ended early. CorruptedError: it is too long.
        """
        return _Checked(self, super().get(name, range=range), name, range)

    async def fetch(self, name: str, size: int) -> bytes:
        """Read."""
        with translated("get", self.store, name):
            return whole(await fetched(self.inner, name, size), self.store, name, size)

    async def head(self, name: str) -> BlobInfo:
        """Look."""
        with translated("head", self.store, name):
            return await super().head(name)

    async def delete(self, name: str) -> None:
        """Delete."""
        with translated("delete", self.store, name):
            await super().delete(name)

    async def discard(self, name: str) -> None:
        """Discard."""
        with translated("discard", self.store, name):
            await super().discard(name)

    async def list(self, prefix: str = "", *, after: str = "") -> AsyncGenerator[BlobInfo, None]:
        """List."""
        async with closed_after(super().list(prefix, after=after)) as items:
            while True:
                with translated("list", self.store, prefix):
                    info = await anext(items, None)
                if info is None:
                    return
                yield info

    async def copy(self, source: str, target: str) -> BlobInfo:
        """Copy."""
        with translated("copy", self.store, source):
            return await super().copy(source, target)

    async def copy_from(self, other: Backend, source: str, target: str) -> BlobInfo:
        """Copy from another store."""
        with translated("copy", self.store, target):
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
        """Sign."""
        with translated("presign", self.store, name):
            return await super().presign(
                method,
                name,
                expires_in=expires_in,
                content_type=content_type,
                content_disposition=content_disposition,
            )

    async def make_folder(self, name: str) -> bool:
        """Make a folder."""
        with translated("make_folder", self.store, name):
            return await super().make_folder(name)

    async def describe(self, name: str, origin: Origin) -> None:
        """Describe."""
        with translated("describe", self.store, name):
            await super().describe(name, origin)

    async def room(self) -> Room | None:
        """Tell how much fits."""
        with translated("room", self.store, ""):
            return await super().room()

    async def wake(self, name: str) -> None:
        """Wake."""
        with translated("wake", self.store, name):
            await super().wake(name)

    def _damaged(self, operation: str, name: str, text: str) -> CorruptedError:
        return CorruptedError(text, operation=operation, store=self.store, name=name)

    def check(self, reader: Reader, name: str, wish: ByteRange | None) -> Reader:
        """Return `reader` with its length watched."""
        size = reader.info.size
        if reader.span != (Span(0, size) if wish is None else wish.resolve(size)):
            raise self._damaged(
                "get", name, f"the store answered with {reader.span}, which was not asked for"
            )
        length = reader.span.length
        if reader.data is not None and len(reader.data) != length:
            raise self._damaged(
                "get", name, f"{len(reader.data)} bytes instead of the {length} that were asked for"
            )
        return reader.through(lambda chunks: self._counted(chunks, length, name), unchanged=True)

    async def _counted(self, chunks: AsyncIterator[bytes], length: int, name: str) -> AsyncIterator[bytes]:
        left = length
        while True:
            with translated("get", self.store, name):
                chunk = await anext(chunks, None)
            if chunk is None:
                break
            left -= len(chunk)
            if left < 0:
                raise self._damaged("get", name, f"more than the {length} bytes that were asked for")
            yield chunk
        if left:
            error: HoldfastError = UnavailableError(
                f"the stream ended {left} bytes early", operation="get", store=self.store, name=name
            )
            raise error


class _Checked(AbstractAsyncContextManager[Reader]):
    __slots__ = ("_inner", "_layer", "_name", "_wish")

    def __init__(
        self, layer: Integrity, inner: AbstractAsyncContextManager[Reader], name: str, wish: ByteRange | None
    ) -> None:
        self._layer, self._inner, self._name, self._wish = layer, inner, name, wish

    async def __aenter__(self) -> Reader:
        with translated("get", self._layer.store, self._name):
            reader = await self._inner.__aenter__()
        try:
            return self._layer.check(reader, self._name, self._wish)
        except BaseException as error:
            await self._inner.__aexit__(type(error), error, error.__traceback__)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        with translated("get", self._layer.store, self._name, ours=error):
            return await self._inner.__aexit__(kind, error, trace)


def _md5() -> hashlib._Hash:
    return hashlib.md5(usedforsecurity=False)
