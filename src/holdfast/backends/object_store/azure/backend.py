"""A container of Azure Blob Storage as a `Backend`: bytes come through the object-store library, all else is our own requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import aclosing
from typing import Final

from holdfast.backends._http import Http
from holdfast.backends.object_store import multipart, upload
from holdfast.backends.object_store.azure import blocks, copying, listing, metadata
from holdfast.backends.object_store.azure.client import Client
from holdfast.backends.object_store.azure.credentials import AccountKey, Given, SharedAccess
from holdfast.backends.object_store.azure.driver import Driver
from holdfast.backends.object_store.azure.links import WEEK, Links
from holdfast.backends.object_store.azure.settings import AzureSettings
from holdfast.backends.object_store.base import Told, named
from holdfast.backends.object_store.control import needed_header
from holdfast.backends.object_store.errors import Where
from holdfast.backends.object_store.keys import Names, OwnKeys
from holdfast.backends.object_store.library import REST_SECONDS
from holdfast.backends.object_store.metadata import check_content_type
from holdfast.backends.object_store.reading import Opening
from holdfast.core.backend import NO_OPTIONS, Backend, Capability, Limits, PutOptions, SignedUrl
from holdfast.core.body import Body
from holdfast.core.clock import Environment
from holdfast.core.errors import ConflictError, DeadlineError, InvalidRequestError, UnsupportedError
from holdfast.core.types import NO_DIGESTS, BlobInfo, ByteRange, Digests

_METADATA_BYTES: Final = (
    2048  #: the service takes 8 KiB, but what is not ASCII and some names grow on the way
)


class AzureBackend(Told):
    """One container, or one folder of it. Make it with `open_azure`."""

    def __init__(
        self,
        store: str,
        settings: AzureSettings,
        *,
        driver: Driver,
        client: Client,
        http: Http,
        environment: Environment,
    ) -> None:
        self._store = store
        self._settings = settings
        self._driver = driver
        self._client = client
        self._http = http
        self._environment = environment
        self._names = Names(settings.prefix)
        self._prefix = settings.prefix
        self._links = Links(client, settings)
        self._capabilities = (
            Capability.RANGE | Capability.IF_ABSENT | Capability.METADATA | Capability.COPY
        ) | (Capability.PRESIGN if _signs(client, settings) else Capability.NONE)
        self._limits = Limits(
            max_blob_size=settings.max_object_size,
            max_name_bytes=self._names.max_bytes,
            max_metadata_bytes=_METADATA_BYTES,
        )

    def as_found(self) -> None:
        """From now on take names of blobs as they are; see `Bucket.as_found`."""
        self._names = OwnKeys(self._prefix)

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        """Store `body`: in one request up to `part_size`, above in blocks that become visible together.

        Blocks of a put that fails stay unseen until `discard`, the next put of the name, or a week has passed. After
        a failure that left the outcome open, a repeated `if_absent` may meet its own first try.
        """
        where = Where("put", self._store, name, if_absent)
        key, headers = self._key(name), self._described(options)
        if body.size is not None and body.size > self._settings.max_object_size:
            raise upload.too_large(self._settings.max_object_size)
        data, body = await upload.gather(body, min(self._settings.part_size, self._settings.max_object_size))
        if data is not None:
            size, etag = len(data), await self._put_bytes(where, key, data, headers)
        else:
            size, etag = await self._put_blocks(where, key, body, headers)
        now = self._environment.clock.now()
        return BlobInfo(name, size, now, etag.strip('"') or None, dict(options.metadata))

    def get(self, name: str, *, range: ByteRange | None = None) -> Opening:
        return Opening(self._driver, None, Where("get", self._store, name), self._key(name), range)

    async def head(self, name: str) -> BlobInfo:
        return await self._driver.head(Where("head", self._store, name), self._key(name))

    async def delete(self, name: str) -> None:
        await blocks.delete(self._client, Where("delete", self._store, name), self._key(name))

    async def discard(self, name: str) -> None:
        """Remove `name`, blocks of it that were never made visible, and a copy that is on its way there."""
        where, key = Where("delete", self._store, name), self._key(name)
        try:
            await blocks.delete(self._client, where, key)
        except ConflictError:  # somebody who died may have had something copied there
            if not await copying.stop(self._client, where, key):
                raise
        await blocks.sweep(self._client, where, key)

    async def list(self, prefix: str = "", *, after: str = "") -> AsyncIterator[BlobInfo]:
        where = Where("list", self._store, prefix)
        if not self._names.possible(prefix):
            return
        start = self._settings.prefix
        pages = listing.blobs(self._client, where, start + prefix, after=start + after if after else "")
        remedy = "take an account without hierarchical namespace"
        found = named(pages, self._names, where, after=after, remedy=remedy)
        async with aclosing(found):
            async for info in found:
                yield info

    async def copy(self, source: str, target: str) -> BlobInfo:
        where = Where("copy", self._store, source)
        info = await self._driver.head(where, self._key(source))
        url = await copying.own_source(self._client, self._key(source))
        await copying.copy(self._client, where, url, self._key(target), info, self._placed())
        return await self._driver.head(Where("copy", self._store, target), self._key(target))

    def can_copy_from(self, other: Backend) -> bool:
        """Tell whether `other` is in our account, or in one of the same service and can lend us its blobs by links."""
        if not isinstance(other, AzureBackend):
            return False
        ours, theirs = self._client.address, other._client.address
        if ours.same_account(theirs):
            return not _shared(self._client) or other._lends
        return ours.beside(theirs) and other._lends

    async def copy_from(self, other: Backend, source: str, target: str) -> BlobInfo:
        """Have the service copy it from the other container; see `CopierFrom.copy_from`.

        A key or an identity reads all of its account that it may; for a signature, and between accounts, the other
        store signs a link to the one blob, or lends its signature.

        Raises:
            UnsupportedError: it took longer than `copy_timeout`; nothing of it is left.
        """
        assert isinstance(other, AzureBackend)
        where, key = Where("copy", self._store, target), other._key(source)
        theirs, patience = other._client, self._settings.copy_timeout
        info = await other.head(source)
        if self._client.address.same_account(theirs.address) and not _shared(self._client):
            url = await copying.own_source(self._client, key, theirs.address)
        else:
            url = await copying.lent_source(theirs, other._links, where, key, patience=patience)
        try:
            await copying.copy(self._client, where, url, self._key(target), info, self._placed())
        except DeadlineError as error:
            raise UnsupportedError(error.message, operation="copy", store=self._store, name=target) from error
        return await self._driver.head(where, self._key(target))

    @property
    def _lends(self) -> bool:
        """Whether somebody else may be given a URL by which one of our blobs can be read."""
        return Capability.PRESIGN in self._capabilities or _shared(self._client)

    async def presign(
        self,
        method: str,
        name: str,
        *,
        expires_in: float,
        content_type: str | None = None,
        content_disposition: str | None = None,
    ) -> SignedUrl:
        """Return a URL on the public endpoint. A GET answers with the given type and disposition, a PUT must send `headers`."""
        where, seconds = Where("presign", self._store, name), int(expires_in)
        if Capability.PRESIGN not in self._capabilities:
            raise UnsupportedError(
                "this credential cannot sign links", operation="presign", store=self._store, name=name
            )
        if method not in ("GET", "PUT") or not 1 <= seconds <= WEEK:
            raise InvalidRequestError(
                "sign GET or PUT, for 1 to 604,800 seconds", operation="presign", store=self._store, name=name
            )
        key = self._key(name)
        if method == "GET":
            url, ends = await self._links.sign(
                where,
                key,
                "r",
                seconds=seconds,
                content_type=content_type or "",
                content_disposition=content_disposition or "",
            )
            return SignedUrl(url, method, ends)
        headers = {"x-ms-blob-type": "BlockBlob", **self._placed()}
        if content_type:
            headers["content-type"] = content_type
        if content_disposition:
            headers["x-ms-blob-content-disposition"] = content_disposition
        url, ends = await self._links.sign(where, key, "cw", seconds=seconds)
        return SignedUrl(url, method, ends, headers)

    async def close(self) -> None:
        await self._http.close()
        await asyncio.sleep(REST_SECONDS)

    def _key(self, name: str) -> str:
        return self._names.key(name)

    async def _put_bytes(self, where: Where, key: str, data: bytes, headers: dict[str, str]) -> str:
        wanted = {**headers, "x-ms-blob-type": "BlockBlob"}
        if self._settings.checksum == "md5":
            wanted |= await blocks.content_md5(data)
        if where.if_absent:
            wanted["if-none-match"] = "*"
        answer = await self._client.call(where, "PUT", key, headers=wanted, body=data)
        return needed_header(answer, where, "etag")

    def put_requests(self, size: int, known: Digests = NO_DIGESTS) -> int:
        """Return how many requests a put takes: above `part_size`, its blocks and the list of them."""
        return upload.requests(size, blocks.plan(size, self._settings), around=1)

    async def _put_blocks(
        self, where: Where, key: str, body: Body, headers: dict[str, str]
    ) -> tuple[int, str]:
        settings, plan = self._settings, blocks.plan(body.size, self._settings)
        feed = upload.Feed(body, limit=min(plan.reach, settings.max_object_size))
        work = blocks.Blocks(self._client, where, key, hashed=settings.checksum == "md5")

        async def parts() -> AsyncIterator[Awaitable[None]]:
            number = 0
            async for data in blocks.cut(feed, plan.part_size):
                number += 1
                await work.count(data)
                yield work.send(number, data)

        try:
            etag = await multipart.run(work, headers, parts(), concurrency=plan.concurrency)
        finally:
            await feed.close()
        return feed.size, etag

    def _described(self, options: PutOptions) -> dict[str, str]:
        """Return the headers of a request that makes a blob."""
        headers = {"x-ms-blob-content-type": check_content_type(options.content_type)}
        return headers | metadata.headers(options.metadata) | self._placed()

    def _placed(self) -> dict[str, str]:
        """Return the headers that say where and how the service keeps a new blob."""
        headers: dict[str, str] = {}
        if self._settings.access_tier:
            headers["x-ms-access-tier"] = self._settings.access_tier
        if self._settings.encryption_scope:
            headers["x-ms-encryption-scope"] = self._settings.encryption_scope
        return headers


def _shared(client: Client) -> bool:
    return isinstance(client.source, Given) and isinstance(client.source.credential, SharedAccess)


def _signs(client: Client, settings: AzureSettings) -> bool:
    if settings.identity:
        return settings.delegation
    return isinstance(client.source, Given) and isinstance(client.source.credential, AccountKey)
