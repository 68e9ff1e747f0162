"""Ranged reads by our own requests, for servers whose answer the object-store library does not take.

`rclone serve s3` sends the right bytes and a Content-Range, but says 200 where RFC 9110 wants 206.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from holdfast.backends.object_store import encryption
from holdfast.backends.object_store.control import ControlClient
from holdfast.backends.object_store.errors import Where, unreachable
from holdfast.core.body import CHUNK
from holdfast.core.errors import UnavailableError, UnsupportedError
from holdfast.core.types import BlobInfo, Span

if TYPE_CHECKING:
    import aiohttp


class Ranges:
    """Reads parts of objects. `loose` is set once the server has shown that it needs this way."""

    def __init__(self, client: ControlClient) -> None:
        self._client = client
        self.loose = False

    @asynccontextmanager
    async def read(
        self, where: Where, key: str, span: Span, info: BlobInfo
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Yield the bytes of `span` of the object that `info` describes; never fewer, never others.

        Raises:
            UnsupportedError: the server ignores ranges.
            UnavailableError: it sent another range, or the object changed meanwhile.
        """
        headers = encryption.key_headers(self._client.settings)
        headers["range"] = f"bytes={span.offset}-{span.end - 1}"
        async with self._client.open(where, key, headers) as response:
            said = response.headers.get("Content-Range", "")
            if not said:
                raise UnsupportedError(
                    "the store ignores ranges", operation="get", store=where.store, name=where.name
                )
            same = info.etag is None or response.headers.get("ETag", info.etag).strip('"') == info.etag
            if said != f"bytes {span.offset}-{span.end - 1}/{info.size}" or not same:
                raise short("the store sent another range than it was asked for", where)
            self.loose = response.status == 200
            chunks = streamed(response, span.length, where)
            try:
                yield chunks
            finally:
                await chunks.aclose()


def short(text: str, where: Where) -> UnavailableError:
    """Return the error for bytes that are missing or not the ones asked for."""
    return UnavailableError(text, operation=where.operation, store=where.store, name=where.name)


async def streamed(
    response: aiohttp.ClientResponse, length: int, where: Where
) -> AsyncGenerator[bytes, None]:
    """Yield the body of an answer, which must have `length` bytes; `UnavailableError` when it breaks off."""
    from aiohttp import ClientError

    seen = 0
    try:
        async for chunk in response.content.iter_chunked(CHUNK):
            seen += len(chunk)
            yield chunk
    except (ClientError, TimeoutError, OSError) as error:
        raise unreachable(error, where) from error
    if seen != length:
        raise short(f"the store sent {seen} of {length} bytes", where)
