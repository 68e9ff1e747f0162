"""S3 and its family as a `Backend`: bytes through the object-store library, the rest through our own requests."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, suppress
from hashlib import md5
from typing import Final

from holdfast.backends.object_store import copying, deleting, encryption, listing, putting, upload, waking
from holdfast.backends.object_store.base import Bucket, named
from holdfast.backends.object_store.control import ControlClient
from holdfast.backends.object_store.driver import Driver
from holdfast.backends.object_store.errors import Where
from holdfast.backends.object_store.keys import Names
from holdfast.backends.object_store.library import REST_SECONDS
from holdfast.backends.object_store.once import Once
from holdfast.backends.object_store.ranges import Ranges
from holdfast.backends.object_store.reading import Opening
from holdfast.backends.object_store.s3_foreign import S3Foreign
from holdfast.backends.object_store.settings import S3Settings
from holdfast.core.adopted import is_foreign
from holdfast.core.backend import NO_OPTIONS, Backend, Capability, Limits, PutOptions, SignedUrl
from holdfast.core.body import Body, Reader
from holdfast.core.clock import Environment
from holdfast.core.errors import (
    AlreadyExistsError,
    CorruptedError,
    HoldfastError,
    InvalidRangeError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    UnsupportedError,
)
from holdfast.core.fetching import opened
from holdfast.core.types import NO_DIGESTS, BlobInfo, ByteRange, Digests

_MAX_SIGNED_SECONDS: Final = 604_800
_VERIFIED = 64 << 10  #: an MD5 of bodies up to this size costs next to nothing
_OF_METADATA = (
    2  #: half of what fits: some servers count header names, and what is not ASCII grows by a third
)
_LOOKED_FOR = 256 << 10  #: larger bodies are not sent to a name that is taken
_MD5 = re.compile(r"[0-9a-f]{32}")


class ObjectStoreBackend(Bucket):
    """One bucket, or one folder of it. Make it with `open_s3`."""

    def __init__(
        self,
        store: str,
        settings: S3Settings,
        *,
        driver: Driver,
        client: ControlClient,
        environment: Environment,
    ) -> None:
        self._store = store
        self._settings, self._prefix = settings, settings.prefix
        self._server = settings.server
        self._driver = driver
        self._client: ControlClient = client
        self._environment = environment
        self._ranges = Ranges(client)
        self._once = Once(client)
        self._fetches = True
        self._foreign = S3Foreign(store, client, environment)
        self._names = Names(settings.prefix, terminated=self._server.folders)
        self._capabilities = Capability.RANGE | Capability.METADATA | Capability.COPY | Capability.PRESIGN
        self._capabilities |= Capability.ADOPT
        if self._server.conditional_writes:
            self._capabilities |= Capability.IF_ABSENT
        self._limits = Limits(
            max_blob_size=self._server.max_object_size,
            max_name_bytes=self._names.max_bytes,
            max_metadata_bytes=self._server.metadata_bytes // _OF_METADATA,
        )

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        """Store `body`: in one request up to `part_size`, above in parts that are given back when it fails.

        What is larger, but known before it flows and not too large to be sent again, is sent in one request as well.

        A large body with `if_absent` goes through our own requests, since only they can complete conditionally.
        After a failure that left the outcome open, a repeated `if_absent` may meet its own first try.
        """
        if is_foreign(name):
            return await self._foreign.put(name, body, options)
        where = Where("put", self._store, name, if_absent)
        if if_absent and not self._server.conditional_writes:
            raise UnsupportedError(
                "the store cannot put only if absent", operation="put", store=self._store, name=name
            )
        if body.size is not None and body.size > self._server.max_object_size:
            raise upload.too_large(self._server.max_object_size)
        if not if_absent and self._once.takes(body.size, body.known):
            size, etag = body.size or 0, await self._put_once(where, body, options)
        else:
            size, etag = await self._put_gathered(where, body, options)
        self._bucket_seen = True
        return BlobInfo(name, size, self._environment.clock.now(), etag, dict(options.metadata))

    def get(self, name: str, *, range: ByteRange | None = None) -> AbstractAsyncContextManager[Reader]:
        if is_foreign(name):
            return self._foreign.get(name, range)
        return Opening(self._driver, self._ranges, Where("get", self._store, name), self._key(name), range)

    async def fetch(self, name: str, size: int) -> bytes:
        """See `Fetcher.fetch`. One byte more than there should be is asked for: so what comes tells the size, too.

        What comes otherwise than it should is judged by opening it, and a server whose ranges it comes from not asked so again.
        """
        if not self._fetches or not size or is_foreign(name):
            return await opened(self, name, size)
        data = None
        with suppress(UnsupportedError, InvalidRangeError):
            data = await self._driver.fetch(Where("get", self._store, name), self._key(name), size + 1)
        if data is not None and len(data) == size:
            return data
        whole = await opened(self, name, size)
        self._fetches = data is not None
        return whole

    async def head(self, name: str) -> BlobInfo:
        if is_foreign(name):
            return await self._foreign.head(name)
        return await self._head(Where("head", self._store, name))

    async def delete(self, name: str) -> None:
        if is_foreign(name):
            await self._foreign.delete(name)
        else:
            await self._remove(Where("delete", self._store, name))

    async def delete_many(self, names: Sequence[str]) -> None:
        """Remove all of `names`, 1,000 with a request where the server can; raises the first failure after trying all."""
        await deleting.delete_many(
            self._client, Where("delete", self._store), [self._key(name) for name in names]
        )

    async def pages(self, prefix: str = "", *, after: str = "") -> AsyncIterator[list[BlobInfo]]:
        """Yield what `list` does of keys taken as they are, as many at a time as the server tells at once."""
        start = self._settings.prefix
        async for page in listing.pages(self._client, self._store, start, prefix, after=after):
            yield page

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
        pages = listing.objects(self._client, where, start + prefix, after=start + after if after else "")
        if not self._server.sorted_listing:
            every = [info async for page in pages for info in page]
            pages = listing.one_page(sorted(every, key=lambda info: info.name.encode()))
        found = named(pages, self._names, where, after=after, remedy="set sorted_listing = false")
        async with aclosing(found):
            async for info in found:
                yield info

    async def copy(self, source: str, target: str) -> BlobInfo:
        where = Where("copy", self._store, source)
        info = await self.head(source)
        await copying.copy(self._client, where, self._source(source), self._key(target), info)
        return await self._head(Where("copy", self._store, target))

    def can_copy_from(self, other: Backend) -> bool:
        """Tell whether `other` is at the same server, for the same keys; see `CopierFrom.can_copy_from`."""
        if not isinstance(other, ObjectStoreBackend):
            return False
        ours, theirs = self._settings, other._settings
        same = ("endpoint", "region", "credentials", "access_key", "secret_key", "session_token")
        return (
            ours.credentials in ("static", "environment")
            and all(getattr(ours, name) == getattr(theirs, name) for name in same)
            and "sse-c" not in (ours.sse, theirs.sse)
        )

    async def copy_from(self, other: Backend, source: str, target: str) -> BlobInfo:
        """Have the server copy it from the other bucket; see `CopierFrom.copy_from`."""
        assert isinstance(other, ObjectStoreBackend)
        where = Where("copy", self._store, target)
        start = other._source(source)
        info = await other.head(source)
        await copying.copy(self._client, where, start, self._key(target), info, origin=other._client)
        return await self._head(where)

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
        if method not in ("GET", "PUT") or not 1 <= seconds <= _MAX_SIGNED_SECONDS:
            raise InvalidRequestError(
                "sign GET or PUT, for 1 to 604,800 seconds", operation="presign", store=self._store, name=name
            )
        query: list[tuple[str, str]] = []
        headers = encryption.key_headers(self._settings)
        if method == "GET":
            wanted = {
                "response-content-type": content_type,
                "response-content-disposition": content_disposition,
            }
            query = [(key, value) for key, value in wanted.items() if value]
        else:
            headers = encryption.write_headers(self._settings)
            if content_type:
                headers["content-type"] = content_type
            if content_disposition:
                headers["content-disposition"] = content_disposition
        url, ends = await self._client.presign(
            method, self._key(name), query=query, headers=headers, expires_in=seconds
        )
        return SignedUrl(url, method, ends, headers)

    @property
    def sleeps(self) -> bool:
        """See `Waker.sleeps`."""
        return self._settings.sleeps

    async def wake(self, name: str) -> None:
        """Have an object of an archive class restored; see `Waker.wake`."""
        await waking.wake(self._client, Where("wake", self._store, name), self._source(name))

    async def abort_stale_uploads(self, older_than: int) -> int:
        """Abort multipart uploads that began more than `older_than` seconds ago; return how many.

        MinIO does not show them without their full key; it removes them itself after a day.
        """
        return 0 if self._server.full_key_for_uploads else await super().abort_stale_uploads(older_than)

    async def close(self) -> None:
        await self._client.close()
        await asyncio.sleep(REST_SECONDS)

    def _key(self, name: str) -> str:
        return self._names.key(name)

    def _source(self, name: str) -> str:
        """Return the key of a blob that is to be copied or woken, which others may have written."""
        return self._foreign.key(name) if is_foreign(name) else self._key(name)

    async def _head(self, where: Where) -> BlobInfo:
        keys = await self._driver.keys()
        try:
            info = await self._driver.head(where, self._key(where.name))
        except (NotFoundError, PermissionDeniedError) as error:
            await self._explain(where, error)
            if isinstance(error, NotFoundError) or await self._driver.keys() == keys:
                raise
            info = await self._driver.head(where, self._key(where.name))  # the keys had ended
        self._bucket_seen = True
        return info

    async def _remove(self, where: Where) -> None:
        await deleting.one(self._client, where, self._key(where.name))

    async def _put_bytes(self, where: Where, data: bytes, options: PutOptions) -> str | None:
        if where.if_absent and len(data) > _LOOKED_FOR:
            await self._refuse_taken(where)
        etag = await self._driver.put_bytes(where, self._key(where.name), data, options)
        read_back = options.read_back and not self._settings.sleeps
        if len(data) <= _VERIFIED and not read_back and self._damaged(etag, data):
            await self._withdraw(where)
            raise CorruptedError(
                "the store reports another ETag than the bytes have",
                operation="put",
                store=self._store,
                name=where.name,
            )
        return etag

    def _damaged(self, etag: str | None, data: bytes) -> bool:
        """Return whether the ETag is the MD5 of other bytes; under other encryption than SSE-S3 it is no MD5."""
        if (
            etag is None
            or not self._server.md5_etags
            or self._settings.sse in ("sse-kms", "sse-c")
            or not _MD5.fullmatch(etag)
        ):
            return False
        return etag != md5(data, usedforsecurity=False).hexdigest()

    async def _refuse_taken(self, where: Where) -> None:
        """Raise when the name is taken: some servers refuse without reading, and the connection breaks under the body."""
        try:
            await self._head(where)
        except NotFoundError:
            return
        raise AlreadyExistsError(
            "a blob of that name is already there", operation="put", store=self._store, name=where.name
        )

    async def _withdraw(self, where: Where) -> None:
        """Take back what must not be seen; the error that follows says that it was wrong in any case."""
        try:
            await self._remove(where)
        except HoldfastError:
            return

    def put_requests(self, size: int, known: Digests = NO_DIGESTS) -> int:
        """Return how many requests a put takes: above `part_size`, its parts, the beginning and the end."""
        if size <= self._settings.part_size or self._once.takes(size, known):
            return 1
        return upload.requests(size, putting.plan(self._settings, size), around=2)

    async def _put_parts(self, where: Where, body: Body, options: PutOptions) -> tuple[int, str | None]:
        plan = putting.plan(self._settings, body.size)
        feed = upload.Feed(body, limit=min(plan.reach, self._server.max_object_size))
        key = self._key(where.name)
        if where.if_absent or self._settings.sse == "sse-c" or self._driver.renewable:
            # The library cannot complete on a condition, nor hand over the customer's key when it completes, nor go on
            # with newer keys when those that it has end in the middle.
            headers = putting.described(self._settings, options)
            return await putting.put_parts(self._client, where, key, feed, plan, headers)
        etag = await self._driver.put_stream(where, key, feed, plan, options)
        return feed.size, etag

    async def _put_once(self, where: Where, body: Body, options: PutOptions) -> str | None:
        return await self._once.put(
            where, self._key(where.name), body, putting.described(self._settings, options)
        )

    async def _put_gathered(self, where: Where, body: Body, options: PutOptions) -> tuple[int, str | None]:
        data, body = await upload.gather(body, self._settings.part_size)
        if data is not None:
            return len(data), await self._put_bytes(where, data, options)
        return await self._put_parts(where, body, options)
