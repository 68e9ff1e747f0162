"""Objects that others put into a bucket: as they are stored, also those that are stored compressed.

The service unpacks such an object on its way out, all of it and without telling the length, for everybody who does not
say that gzip is welcome. Its objects have no tags.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from typing import TYPE_CHECKING, Final

from holdfast.backends.object_store import listing, metadata
from holdfast.backends.object_store.errors import Where
from holdfast.backends.object_store.foreign import Foreign
from holdfast.backends.object_store.gcs import putting, uploading
from holdfast.backends.object_store.gcs.client import GcsClient, foreign
from holdfast.core.backend import PutOptions
from holdfast.core.body import Body
from holdfast.core.types import BlobInfo

if TYPE_CHECKING:
    import aiohttp

_META: Final = "x-goog-meta-"
_AS_STORED: Final = {"accept-encoding": "gzip"}


class GcsForeign(Foreign):
    """The verbs of a bucket for names that begin with `@`."""

    def __init__(self, store: str, client: GcsClient) -> None:
        super().__init__(store, client.settings.prefix, client.environment)
        self._client = client

    async def _look(self, where: Where, key: str) -> Mapping[str, str]:
        answer = await self._client.call(where, "HEAD", key, headers=_AS_STORED)
        if not uploading.vouched(answer):
            raise foreign(where)
        stored = answer.headers.get("x-goog-stored-content-length", "")
        return {**answer.headers, "content-length": stored} if stored else answer.headers

    async def _bucket_answers(self, where: Where) -> bool:
        return await listing.bucket_answers(self._client, where, self._prefix)

    def _metadata(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        return metadata.decode(
            {key[len(_META) :]: value for key, value in headers.items() if key.startswith(_META)}
        )

    def _open(
        self, where: Where, key: str, headers: Mapping[str, str]
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        return self._client.open(where, key, {**headers, **_AS_STORED})

    async def _pages(self, where: Where, start: str, after: str) -> AsyncGenerator[list[BlobInfo], None]:
        async with aclosing(listing.objects(self._client, where, start, after=after)) as pages:
            async for page in pages:
                yield page

    async def _remove(self, where: Where, key: str, pin: str) -> None:
        """See `Foreign`. A delete takes no ETag as its condition: it names the generation that has it."""
        guard = {}
        if pin:
            said = (await self.headers(where.name)).get("x-goog-generation", "")
            if not said:
                raise foreign(where)
            guard = {"x-goog-if-generation-match": said}
        await self._client.call(where, "DELETE", key, headers=guard)

    async def _send(self, where: Where, key: str, body: Body, options: PutOptions) -> tuple[int, str | None]:
        headers = uploading.describing(self._client.settings, options)
        return await putting.put(self._client, where, key, body, headers, shared=True)
