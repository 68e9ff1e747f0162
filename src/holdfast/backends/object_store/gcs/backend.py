"""Google Cloud Storage as a `Backend`: reads through the object-store library, the rest through our own requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Final
from urllib.parse import urlsplit

from holdfast.backends.object_store import listing, upload
from holdfast.backends.object_store.base import Bucket
from holdfast.backends.object_store.errors import Where
from holdfast.backends.object_store.gcs import copying, putting, uploading
from holdfast.backends.object_store.gcs.client import GcsClient
from holdfast.backends.object_store.gcs.driver import GcsDriver
from holdfast.backends.object_store.gcs.foreign import GcsForeign
from holdfast.backends.object_store.gcs.settings import GcsSettings
from holdfast.backends.object_store.gcs.signing import Link, Signer, signed_target
from holdfast.backends.object_store.keys import Names
from holdfast.backends.object_store.library import REST_SECONDS
from holdfast.backends.object_store.reading import Opening
from holdfast.backends.object_store.sigv4 import Query
from holdfast.core.adopted import is_foreign
from holdfast.core.backend import NO_OPTIONS, Backend, Capability, Limits, PutOptions, SignedUrl
from holdfast.core.body import Body, Reader
from holdfast.core.clock import Environment
from holdfast.core.errors import (
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
    UnsupportedError,
)
from holdfast.core.types import NO_DIGESTS, BlobInfo, ByteRange, Digests

_MAX_SIGNED_SECONDS: Final = 604_800
_METADATA_BYTES: Final = 4096  #: the service takes 8 KiB; what is not ASCII grows by a third on its way


class GcsBackend(Bucket):
    """One bucket, or one folder of it. Make it with `open_gcs`."""

    def __init__(
        self,
        store: str,
        settings: GcsSettings,
        *,
        driver: GcsDriver,
        client: GcsClient,
        signer: Signer | None,
        environment: Environment,
    ) -> None:
        self._store = store
        self._settings, self._prefix = settings, settings.prefix
        self._driver = driver
        self._client: GcsClient = client
        self._signer = signer
        self._environment = environment
        self._names = Names(settings.prefix)
        self._foreign = GcsForeign(store, client)
        self._capabilities = (
            Capability.RANGE | Capability.METADATA | Capability.COPY | Capability.IF_ABSENT | Capability.ADOPT
        ) | (Capability.PRESIGN if signer is not None else Capability.NONE)
        self._limits = Limits(
            max_blob_size=settings.max_object_size,
            max_name_bytes=self._names.max_bytes,
            max_metadata_bytes=_METADATA_BYTES,
        )

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        """Store `body`: in one request up to `part_size`, above in parts, or with `if_absent` through a session.

        After a failure that left the outcome open, a repeated `if_absent` may meet its own first try.
        """
        if is_foreign(name):
            return await self._foreign.put(name, body, options)
        where, key = Where("put", self._store, name, if_absent), self._names.key(name)
        headers = uploading.describing(self._settings, options)
        size, etag = await putting.put(self._client, where, key, body, headers)
        self._bucket_seen = True
        return BlobInfo(name, size, self._environment.clock.now(), etag, dict(options.metadata))

    def get(self, name: str, *, range: ByteRange | None = None) -> AbstractAsyncContextManager[Reader]:
        if is_foreign(name):
            return self._foreign.get(name, range)
        return Opening(self._driver, None, Where("get", self._store, name), self._names.key(name), range)

    async def head(self, name: str) -> BlobInfo:
        if is_foreign(name):
            return await self._foreign.head(name)
        return await self._head(Where("head", self._store, name))

    async def delete(self, name: str) -> None:
        if is_foreign(name):
            await self._foreign.delete(name)
        else:
            await self._remove(Where("delete", self._store, name))

    async def list(self, prefix: str = "", *, after: str = "") -> AsyncIterator[BlobInfo]:
        if is_foreign(prefix):
            async with aclosing(self._foreign.list(prefix, after)) as foreign:
                async for info in foreign:
                    yield info
            return
        where, start = Where("list", self._store, prefix), self._settings.prefix
        last = ""
        async for page in listing.objects(
            self._client, where, start + prefix, after=start + after if after else ""
        ):
            for info in page:
                if info.name.encode() < last.encode():
                    raise UnavailableError(
                        "the store did not list in byte order", operation="list", store=self._store
                    )
                last = info.name
                yield BlobInfo(self._names.name(info.name), info.size, info.modified, info.etag)

    async def copy(self, source: str, target: str) -> BlobInfo:
        """Copy inside the bucket, of whatever size; the store may want several requests for a large one."""
        return await self._copied(self, Where("copy", self._store, source), source, target)

    def can_copy_from(self, other: Backend) -> bool:
        """Tell whether `other` is a bucket at the same endpoint; whether our account may read it, the service tells."""
        return isinstance(other, GcsBackend) and other._settings.endpoint == self._settings.endpoint

    async def copy_from(self, other: Backend, source: str, target: str) -> BlobInfo:
        """Have the service copy it from the other bucket; see `CopierFrom.copy_from`."""
        assert isinstance(other, GcsBackend)
        return await self._copied(other, Where("copy", self._store, target), source, target)

    async def _copied(self, other: GcsBackend, where: Where, source: str, target: str) -> BlobInfo:
        end, whence = self._names.key(target), Where("copy", other._store, source)
        try:
            start, found = await other._found(whence)
        except (NotFoundError, PermissionDeniedError) as error:
            await other._explain(whence, error)
            raise
        await copying.copy(self._client, where, other._settings, start, found, end)
        return await self._head(Where("copy", self._store, target))

    async def _found(self, where: Where) -> tuple[str, Mapping[str, str]]:
        """Return the key of a blob that is to be copied, which others may have written, and what a HEAD of it tells."""
        if is_foreign(where.name):
            return self._foreign.key(where.name), await self._foreign.headers(where.name)
        key = self._names.key(where.name)
        return key, (await self._client.call(where, "HEAD", key)).headers

    async def presign(
        self,
        method: str,
        name: str,
        *,
        expires_in: float,
        content_type: str | None = None,
        content_disposition: str | None = None,
    ) -> SignedUrl:
        """Return a URL on the public endpoint. A GET answers with the given type and disposition, a PUT must send the type."""
        seconds = int(expires_in)
        if self._signer is None:
            raise UnsupportedError(
                "this credential has no key to sign with; set sign_as, or use a service account's file",
                operation="presign",
                store=self._store,
                name=name,
            )
        if method not in ("GET", "PUT") or not 1 <= seconds <= _MAX_SIGNED_SECONDS:
            raise InvalidRequestError(
                "sign GET or PUT, for 1 to 604,800 seconds", operation="presign", store=self._store, name=name
            )
        query, headers = self._told(method, content_type, content_disposition)
        base = self._settings.public_endpoint or self._settings.endpoint
        link = Link(method, _host(base), self._client.path(self._names.key(name)), query, headers)
        now = self._environment.clock.now()
        target = await signed_target(link, self._signer, expires_in=seconds, now=now)
        return SignedUrl(base + target, method, now + seconds * 1_000_000, headers)

    async def close(self) -> None:
        await self._client.close()
        await asyncio.sleep(REST_SECONDS)

    def _told(
        self, method: str, content_type: str | None, content_disposition: str | None
    ) -> tuple[Query, dict[str, str]]:
        """Return what a link says about the content: in its query for a reader, as headers that a writer must send."""
        told = {"content-type": content_type, "content-disposition": content_disposition}
        found = {name: value for name, value in told.items() if value}
        payer = [("userProject", self._settings.user_project)] if self._settings.user_project else []
        if method == "GET":
            return [*payer, *((f"response-{name}", value) for name, value in found.items())], {}
        return payer, {**uploading.stored(self._settings), **found}

    def put_requests(self, size: int, known: Digests = NO_DIGESTS) -> int:
        """Return how many requests a put takes: above `part_size`, its parts, the beginning and the end."""
        part = self._settings.part_size
        return (
            1
            if size <= part
            else upload.requests(size, upload.plan(size, part_size=part, concurrency=1), around=2)
        )

    async def _head(self, where: Where) -> BlobInfo:
        try:
            info = await self._driver.head(where, self._names.key(where.name))
        except (NotFoundError, PermissionDeniedError) as error:
            await self._explain(where, error)
            raise
        self._bucket_seen = True
        return info

    async def _remove(self, where: Where) -> None:
        try:
            await self._client.call(where, "DELETE", self._names.key(where.name))
        except NotFoundError:
            return


def _host(base: str) -> str:
    """Return the host as a client of that URL names it: with the port unless it is the scheme's own."""
    parts = urlsplit(base)
    usual = {"http": ":80", "https": ":443"}[parts.scheme]
    return parts.netloc.lower().removesuffix(usual)
