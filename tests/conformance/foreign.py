"""A backend that shares no code with ours: the Rust `object_store` crate's in-memory store, behind a thin adapter.

It judges the suite: a promise that only our own code can keep would be a promise of our code, not of storage.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError as TakenError
from obstore.store import MemoryStore

from holdfast.core.backend import NO_OPTIONS, Capability, Limits, PutOptions, SignedUrl
from holdfast.core.body import Body, Reader
from holdfast.core.errors import AlreadyExistsError, NotFoundError, UnsupportedError
from holdfast.core.names import check_blob_name
from holdfast.core.types import BlobInfo, ByteRange, Span


def _key(name: str) -> str:
    """Return the name in hexadecimal: the crate rewrites some characters, and this keeps order and prefixes."""
    return name.encode("utf-8", "surrogatepass").hex()


def _steps(size: int) -> range:
    return range(0, size, 1 << 20)


class ForeignBackend:
    """RANGE, IF_ABSENT and COPY over `obstore.store.MemoryStore`."""

    store = "foreign"
    capabilities = Capability.RANGE | Capability.IF_ABSENT | Capability.COPY
    limits = Limits()
    in_process = True

    def __init__(self) -> None:
        self._inner = MemoryStore()

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        check_blob_name(name)
        data = await body.read()
        try:
            await obstore.put_async(
                self._inner,
                _key(name),
                data,
                mode="create" if if_absent else "overwrite",
                use_multipart=False,
            )
        except TakenError as error:
            raise AlreadyExistsError("taken", operation="put", store=self.store, name=name) from error
        return await self.head(name)

    @asynccontextmanager
    async def get(self, name: str, *, range: ByteRange | None = None) -> AsyncIterator[Reader]:
        check_blob_name(name)
        try:
            answer = await obstore.get_async(self._inner, _key(name))
        except FileNotFoundError as error:
            raise NotFoundError("nothing there", operation="get", store=self.store, name=name) from error
        info = _info(answer.meta)
        span = Span(0, info.size) if range is None else range.resolve(info.size)
        data = bytes(await answer.bytes_async())[span.offset : span.end]

        async def chunks() -> AsyncIterator[bytes]:
            for start in _steps(len(data)):
                yield data[start : start + (1 << 20)]

        yield Reader(info, span, chunks())

    async def head(self, name: str) -> BlobInfo:
        check_blob_name(name)
        try:
            return _info(await obstore.head_async(self._inner, _key(name)))
        except FileNotFoundError as error:
            raise NotFoundError("nothing there", operation="head", store=self.store, name=name) from error

    async def delete(self, name: str) -> None:
        check_blob_name(name)
        try:
            await obstore.delete_async(self._inner, _key(name))
        except FileNotFoundError:
            return

    async def discard(self, name: str) -> None:
        """Remove `name`: a put that did not end leaves nothing else here."""
        await self.delete(name)

    async def list(self, prefix: str = "", *, after: str = "") -> AsyncIterator[BlobInfo]:
        start = _key(prefix)
        found = [
            item
            async for page in obstore.list(self._inner)
            for item in page
            if item["path"].startswith(start)
        ]
        for item in sorted(found, key=lambda item: item["path"]):
            if item["path"] > _key(after):
                yield _info(item)

    async def copy(self, source: str, target: str) -> BlobInfo:
        check_blob_name(source)
        try:
            await obstore.copy_async(self._inner, _key(source), _key(check_blob_name(target)))
        except FileNotFoundError as error:
            raise NotFoundError("nothing there", operation="copy", store=self.store, name=source) from error
        return await self.head(target)

    async def presign(
        self,
        method: str,
        name: str,
        *,
        expires_in: float,
        content_type: str | None = None,
        content_disposition: str | None = None,
    ) -> SignedUrl:
        raise UnsupportedError("no URLs", operation="presign", store=self.store, name=name)

    async def close(self) -> None:
        return None


def _info(meta: Any) -> BlobInfo:
    modified = int(meta["last_modified"].timestamp() * 1_000_000)
    return BlobInfo(bytes.fromhex(meta["path"]).decode(), meta["size"], modified, meta["e_tag"])
