"""Blobs that others put into a container: block, append and page blobs alike, as they are now, without their snapshots."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from typing import TYPE_CHECKING

from holdfast.backends.object_store.azure import listing, metadata, putting, tags
from holdfast.backends.object_store.azure.client import Client, strange
from holdfast.backends.object_store.errors import Where
from holdfast.backends.object_store.foreign import Foreign
from holdfast.core.backend import PutOptions
from holdfast.core.body import Body
from holdfast.core.errors import NotFoundError
from holdfast.core.types import EMPTY, BlobInfo

if TYPE_CHECKING:
    import aiohttp


class AzureForeign(Foreign):
    """The verbs of a container for names that begin with `@`."""

    def __init__(self, store: str, client: Client) -> None:
        super().__init__(store, client.settings.prefix, client.environment)
        self._client = client
        self._sorted = True  #: until the service lists in another order than that of bytes

    async def _look(self, where: Where, key: str) -> Mapping[str, str]:
        headers = (await self._client.call(where, "HEAD", key)).headers
        if headers.get("x-ms-resource-type") == "directory":
            raise NotFoundError(
                "a folder has that name", operation=where.operation, store=where.store, name=where.name
            )
        return headers

    def _metadata(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        return metadata.found(headers)

    async def _tags(self, where: Where, key: str, headers: Mapping[str, str]) -> Mapping[str, str]:
        if headers.get("x-ms-tag-count", "0") in ("", "0"):
            return EMPTY
        return await tags.found(self._client, where, key)

    def _open(
        self, where: Where, key: str, headers: Mapping[str, str]
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        return self._client.open(where, key, headers)

    async def _pages(self, where: Where, start: str, after: str) -> AsyncGenerator[list[BlobInfo], None]:
        """See `Foreign`. Where folders are real, `a/b` is listed before `a-b`: all of it is gathered first."""
        last = ""
        if self._sorted:
            async with aclosing(listing.pages(self._client, where, start, start=after)) as pages:
                async for page in pages:
                    if page.tree:
                        self._sorted = False
                        break
                    last = self._in_order(where, page.blobs, last)
                    yield [info for info in page.blobs if info.name > after]
        if self._sorted:
            return
        async with aclosing(listing.pages(self._client, where, start)) as pages:
            every = [info async for page in pages for info in page.blobs if info.name > max(last, after)]
        yield sorted(every, key=lambda info: info.name)

    def _in_order(self, where: Where, blobs: list[BlobInfo], last: str) -> str:
        """Return the last key of a page; `UnavailableError` when keys come in another order, as they may not again."""
        for info in blobs:
            if info.name < last:
                self._sorted = False
                raise strange(
                    "the store did not list in byte order; ask again and all is listed first", where
                )
            last = info.name
        return last

    async def _remove(self, where: Where, key: str, pin: str) -> None:
        headers = {"x-ms-delete-snapshots": "include"} | ({"if-match": f'"{pin}"'} if pin else {})
        await self._client.call(where, "DELETE", key, headers=headers)

    async def _send(self, where: Where, key: str, body: Body, options: PutOptions) -> tuple[int, str | None]:
        headers = putting.described(self._client.settings, options) | tags.header(options.tags)
        return await putting.put(self._client, where, key, body, headers)
