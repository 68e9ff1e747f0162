"""A damaged transfer is an error, inside the layer that tries again."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Final

from holdfast.core.backend import NO_OPTIONS, Backend, PutOptions
from holdfast.core.body import Body, Meter, Reader
from holdfast.core.errors import CorruptedError, HoldfastError, UnavailableError
from holdfast.core.types import BlobInfo, ByteRange, Span
from holdfast.layers.base import ALL, Layer

_MD5: Final = re.compile(r"[0-9a-f]{32}")


class Integrity(Layer):
    """Compares what went by with what the store says it holds, and what comes out with what was asked for.

    Always: the size. With `md5_etags`, for stores whose ETag is the MD5 of the bytes (S3 without KMS or SSE-C; an
    ETag of several parts has a dash and is passed over): the MD5 too, which costs 1.3 ms per MiB.
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
        info = await super().put(name, body, options=options, if_absent=if_absent)
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
        async for chunk in chunks:
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
        reader = await self._inner.__aenter__()
        try:
            return self._layer.check(reader, self._name, self._wish)
        except BaseException as error:
            await self._inner.__aexit__(type(error), error, error.__traceback__)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._inner.__aexit__(kind, error, trace)


def _md5() -> hashlib._Hash:
    return hashlib.md5(usedforsecurity=False)
