"""A storage of a Naas workspace as a `Backend`: an S3 store that is opened with the first answer of Naas."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Final

from pydantic import ValidationError

from holdfast.backends.naas.answer import Answer
from holdfast.backends.naas.client import NaasClient
from holdfast.backends.naas.settings import NaasSettings
from holdfast.backends.object_store import ObjectStoreBackend, S3Settings, open_s3
from holdfast.backends.object_store.credentials import Credentials
from holdfast.core.backend import NO_OPTIONS, Capability, Limits, PutOptions, SignedUrl
from holdfast.core.body import Body, Reader
from holdfast.core.clock import Environment
from holdfast.core.errors import ConfigError
from holdfast.core.renewing import Renewing
from holdfast.core.types import NO_DIGESTS, BlobInfo, ByteRange, Digests

_BUCKET: Final = (
    "api-naas-storage"  #: where Naas keeps its storages, as far as we have seen; its answer decides
)
_SAME: Final = (
    *("public_endpoint", "dialect", "allow_http", "verify_tls", "ca_file", "connect_timeout", "read_timeout"),
    *("retries", "part_size", "upload_concurrency", "conditional_writes"),
)


class NaasBackend:
    """One storage of a workspace. Make it with `open_naas`."""

    def __init__(
        self, store: str, settings: NaasSettings, client: NaasClient, environment: Environment
    ) -> None:
        self._store, self._settings, self._environment = store, settings, environment
        self._keys = Keys(Renewing(client.fetch, clock=environment.clock))
        self._left: list[ObjectStoreBackend] = []
        self._as_found = False
        # Opened where Naas has put storages so far: what it offers is known before it is asked, and mistakes show now.
        prefix = f"{settings.workspace_id}/{settings.storage_name}"
        self._place = (_BUCKET, prefix, "")
        self._s3_store = self._open(*self._place)

    @property
    def store(self) -> str:
        return self._store

    @property
    def capabilities(self) -> Capability:
        return self._s3_store.capabilities

    @property
    def limits(self) -> Limits:
        return self._s3_store.limits

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        """Store `body`; see `ObjectStoreBackend.put`."""
        return await (await self._opened()).put(name, body, options=options, if_absent=if_absent)

    @asynccontextmanager
    async def get(self, name: str, *, range: ByteRange | None = None) -> AsyncIterator[Reader]:
        """Open `name` for reading."""
        async with (await self._opened()).get(name, range=range) as reader:
            yield reader

    async def fetch(self, name: str, size: int) -> bytes:
        """See `Fetcher.fetch`."""
        return await (await self._opened()).fetch(name, size)

    def put_requests(self, size: int, known: Digests = NO_DIGESTS) -> int:
        """Return how many requests a put takes; see `ObjectStoreBackend.put_requests`."""
        return self._s3_store.put_requests(size, known)

    async def head(self, name: str) -> BlobInfo:
        return await (await self._opened()).head(name)

    async def delete(self, name: str) -> None:
        await (await self._opened()).delete(name)

    async def delete_many(self, names: Sequence[str]) -> None:
        """Remove all of `names`; see `ObjectStoreBackend.delete_many`."""
        await (await self._opened()).delete_many(names)

    async def discard(self, name: str) -> None:
        await (await self._opened()).discard(name)

    async def list(self, prefix: str = "", *, after: str = "") -> AsyncIterator[BlobInfo]:
        """Yield what is below `prefix`, in byte order."""
        store = await self._opened()
        async with aclosing(store.list(prefix, after=after)) as found:  # type: ignore[type-var]  # a generator
            async for info in found:
                yield info

    async def copy(self, source: str, target: str) -> BlobInfo:
        return await (await self._opened()).copy(source, target)

    async def presign(
        self,
        method: str,
        name: str,
        *,
        expires_in: float,
        content_type: str | None = None,
        content_disposition: str | None = None,
    ) -> SignedUrl:
        """Return a URL that ends after `expires_in` seconds, or with the keys, whichever comes first."""
        return await (await self._opened()).presign(
            method,
            name,
            expires_in=expires_in,
            content_type=content_type,
            content_disposition=content_disposition,
        )

    async def abort_stale_uploads(self, older_than: int) -> int:
        """Abort what was left open; see `ObjectStoreBackend.abort_stale_uploads`."""
        return await (await self._opened()).abort_stale_uploads(older_than)

    async def close(self) -> None:
        for store in (*self._left, self._s3_store):
            await store.close()

    async def _opened(self) -> ObjectStoreBackend:
        """Return the S3 store where Naas says now that the storage is."""
        answer = await self._keys.answer()
        place = (answer.bucket, answer.prefix, answer.region)
        if place != self._place:
            opened = self._open(*place)
            self._left.append(self._s3_store)  # what goes on in it ends there
            self._place, self._s3_store = place, opened
        return self._s3_store

    def as_found(self) -> None:
        """From now on take keys as they are; see `Bucket.as_found`."""
        self._as_found = True
        self._s3_store.as_found()

    async def answer(self) -> Answer:
        """Return what Naas says now: the keys, when they end, and where the storage is."""
        return await self._keys.answer()

    def _open(self, bucket: str, prefix: str, region: str) -> ObjectStoreBackend:
        settings = self._s3(bucket, prefix, region)
        opened = open_s3(self._store, settings, environment=self._environment, source=self._keys)
        if self._as_found:
            opened.as_found()
        return opened

    def _s3(self, bucket: str, prefix: str, region: str) -> S3Settings:
        settings = self._settings
        values = {name: getattr(settings, name) for name in _SAME}
        values |= {
            "endpoint": settings.s3_endpoint,
            "bucket": bucket,
            "prefix": f"{prefix}/{settings.prefix.strip('/')}",
            "region": settings.region or region,
            "credentials": "refreshing",
        }
        try:
            return S3Settings.model_validate(values)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            what = str(first["msg"]).removeprefix("Value error, ")
            where = ".".join(map(str, first["loc"])).replace("endpoint", "s3_endpoint") or "settings"
            raise ConfigError(f"{where}: {what}", operation="open", store=self._store) from None


class Keys:
    """The keys of the answer that holds now, as an S3 store wants them."""

    def __init__(self, answers: Renewing[Answer]) -> None:
        self._answers = answers

    async def answer(self) -> Answer:
        """Return the answer that holds now."""
        return await self._answers.current()

    async def current(self) -> Credentials:
        """Return the keys that hold now."""
        return (await self._answers.current()).credentials

    async def renew(self, stale: Credentials) -> Credentials:
        """Return newer keys than `stale`, fetched once for all who bring the same."""
        answer = await self._answers.current()
        if answer.credentials != stale:
            return answer.credentials
        return (await self._answers.renew(answer)).credentials
