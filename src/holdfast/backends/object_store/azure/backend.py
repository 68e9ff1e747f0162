"""A container of Azure Blob Storage as a `Backend`: bytes come through the object-store library, all else is our own requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Final

from holdfast.backends._http import Http
from holdfast.backends.object_store import upload
from holdfast.backends.object_store.azure import blocks, copying, listing, putting, waking
from holdfast.backends.object_store.azure.client import Client
from holdfast.backends.object_store.azure.credentials import AccountKey, Given, SharedAccess
from holdfast.backends.object_store.azure.driver import Driver
from holdfast.backends.object_store.azure.foreign import AzureForeign
from holdfast.backends.object_store.azure.links import WEEK, Links
from holdfast.backends.object_store.azure.settings import AzureSettings
from holdfast.backends.object_store.base import Told, named
from holdfast.backends.object_store.errors import Where
from holdfast.backends.object_store.keys import Names, OwnKeys
from holdfast.backends.object_store.library import REST_SECONDS
from holdfast.backends.object_store.reading import Opening
from holdfast.core.adopted import is_foreign
from holdfast.core.backend import NO_OPTIONS, Backend, Capability, Limits, PutOptions, SignedUrl
from holdfast.core.body import Body, Reader
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
        self._foreign = AzureForeign(store, client)
        self._capabilities = (
            Capability.RANGE | Capability.IF_ABSENT | Capability.METADATA | Capability.COPY | Capability.ADOPT
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
        if is_foreign(name):
            return await self._foreign.put(name, body, options)
        where = Where("put", self._store, name, if_absent)
        headers = putting.described(self._settings, options)
        size, etag = await putting.put(self._client, where, self._key(name), body, headers)
        now = self._environment.clock.now()
        return BlobInfo(name, size, now, etag, dict(options.metadata))

    def get(self, name: str, *, range: ByteRange | None = None) -> AbstractAsyncContextManager[Reader]:
        if is_foreign(name):
            return self._foreign.get(name, range)
        return Opening(self._driver, None, Where("get", self._store, name), self._key(name), range)

    async def head(self, name: str) -> BlobInfo:
        if is_foreign(name):
            return await self._foreign.head(name)
        return await self._driver.head(Where("head", self._store, name), self._key(name))

    async def delete(self, name: str) -> None:
        if is_foreign(name):
            await self._foreign.delete(name)
            return
        await blocks.delete(self._client, Where("delete", self._store, name), self._key(name))

    async def discard(self, name: str) -> None:
        """Remove `name`, blocks of it that were never made visible, and a copy that is on its way there.

        What others wrote is only deleted.
        """
        if is_foreign(name):
            await self._foreign.delete(name)
            return
        where, key = Where("delete", self._store, name), self._key(name)
        try:
            await blocks.delete(self._client, where, key)
        except ConflictError:  # somebody who died may have had something copied there
            if not await copying.stop(self._client, where, key):
                raise
        await blocks.sweep(self._client, where, key)

    async def list(self, prefix: str = "", *, after: str = "") -> AsyncIterator[BlobInfo]:
        if is_foreign(prefix):
            async with aclosing(self._foreign.list(prefix, after)) as foreign:
                async for info in foreign:
                    yield info
            return
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
        if is_foreign(source):
            info = await self._foreign.head(source)
        else:
            info = await self._driver.head(where, self._key(source))
        url = await copying.own_source(self._client, self._source(source))
        await copying.copy(self._client, where, url, self._key(target), info, putting.placed(self._settings))
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
        where, key = Where("copy", self._store, target), other._source(source)
        theirs, patience = other._client, self._settings.copy_timeout
        info = await other.head(source)
        if self._client.address.same_account(theirs.address) and not _shared(self._client):
            url = await copying.own_source(self._client, key, theirs.address)
        else:
            url = await copying.lent_source(theirs, other._links, where, key, patience=patience)
        try:
            await copying.copy(
                self._client, where, url, self._key(target), info, putting.placed(self._settings)
            )
        except DeadlineError as error:
            raise UnsupportedError(error.message, operation="copy", store=self._store, name=target) from error
        return await self._driver.head(where, self._key(target))

    @property
    def sleeps(self) -> bool:
        """See `Waker.sleeps`."""
        return self._settings.sleeps

    async def wake(self, name: str) -> None:
        """Have a blob of the tier Archive rehydrated; see `Waker.wake`."""
        await waking.wake(self._client, Where("wake", self._store, name), self._source(name))

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
        headers = {"x-ms-blob-type": "BlockBlob", **putting.placed(self._settings)}
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

    def _source(self, name: str) -> str:
        """Return the key of a blob that is to be copied or woken, which others may have written."""
        return self._foreign.key(name) if is_foreign(name) else self._key(name)

    def put_requests(self, size: int, known: Digests = NO_DIGESTS) -> int:
        """Return how many requests a put takes: above `part_size`, its blocks and the list of them."""
        return upload.requests(size, blocks.plan(size, self._settings), around=1)


def _shared(client: Client) -> bool:
    return isinstance(client.source, Given) and isinstance(client.source.credential, SharedAccess)


def _signs(client: Client, settings: AzureSettings) -> bool:
    if settings.identity:
        return settings.delegation
    return isinstance(client.source, Given) and isinstance(client.source.credential, AccountKey)
