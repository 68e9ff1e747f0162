"""Objects that others put into a bucket of S3 or its family."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from holdfast.backends.object_store import encryption, listing, metadata, putting, upload
from holdfast.backends.object_store.control import ControlClient
from holdfast.backends.object_store.errors import Where
from holdfast.backends.object_store.foreign import Foreign
from holdfast.backends.object_store.putting import META
from holdfast.backends.object_store.xml import XmlError, parse
from holdfast.core.backend import PutOptions
from holdfast.core.body import Body
from holdfast.core.clock import Environment
from holdfast.core.types import EMPTY, BlobInfo

if TYPE_CHECKING:
    import aiohttp


class S3Foreign(Foreign):
    """The verbs of a bucket for names that begin with `@`."""

    def __init__(self, store: str, client: ControlClient, environment: Environment) -> None:
        super().__init__(store, client.settings.prefix, environment)
        self._client = client
        self._settings = client.settings

    async def _look(self, where: Where, key: str) -> Mapping[str, str]:
        headers = encryption.key_headers(self._settings)
        return (await self._client.call(where, "HEAD", key, headers=headers)).headers

    async def _bucket_answers(self, where: Where) -> bool:
        return await listing.bucket_answers(self._client, where, self._prefix)

    def _metadata(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        return metadata.decode(
            {key[len(META) :]: value for key, value in headers.items() if key.startswith(META)}
        )

    async def _tags(self, where: Where, key: str, headers: Mapping[str, str]) -> Mapping[str, str]:
        if headers.get("x-amz-tagging-count", "0") in ("", "0"):
            return EMPTY
        answer = await self._client.call(where, "GET", key, query=[("tagging", "")])
        try:
            root = parse(answer.body)
        except XmlError:
            return EMPTY
        return {tag.findtext("Key") or "": tag.findtext("Value") or "" for tag in root.iter("Tag")}

    def _open(
        self, where: Where, key: str, headers: Mapping[str, str]
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        return self._client.open(where, key, {**headers, **encryption.key_headers(self._settings)})

    async def _pages(self, where: Where, start: str, after: str) -> AsyncGenerator[list[BlobInfo], None]:
        async with aclosing(listing.objects(self._client, where, start, after=after)) as pages:
            if self._settings.server.sorted_listing:
                async for page in pages:
                    yield page
                return
            every = [info async for page in pages for info in page]
        yield sorted(every, key=lambda info: info.name.encode("utf-8", "surrogateescape"))

    async def _remove(self, where: Where, key: str, pin: str) -> None:
        if pin:
            await self.headers(where.name)
        await self._client.call(where, "DELETE", key)

    async def _send(self, where: Where, key: str, body: Body, options: PutOptions) -> tuple[int, str | None]:
        headers = putting.described(self._settings, options)
        if options.tags:
            headers["x-amz-tagging"] = urlencode(options.tags)
        data, body = await upload.gather(body, self._settings.part_size)
        if data is None:
            plan = putting.plan(self._settings, body.size)
            feed = upload.Feed(body, limit=min(plan.reach, self._settings.server.max_object_size))
            return await putting.put_parts(self._client, where, key, feed, plan, headers)
        answer = await self._client.call(where, "PUT", key, headers=headers, body=data)
        return len(data), answer.headers.get("etag", "").strip('"')
