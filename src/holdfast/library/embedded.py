"""The verbs over an engine in this process: no server, no socket, the same catalog and stores."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial

from holdfast.core.backend import SignedUrl
from holdfast.core.conditions import NO_CONDITIONS, Preconditions
from holdfast.core.errors import AlreadyExistsError, ConfigError, InvalidRequestError
from holdfast.core.names import check_tenant
from holdfast.core.search import Found, Search
from holdfast.core.types import (
    EMPTY,
    NO_DIGESTS,
    Bucket,
    ByteRange,
    Deleted,
    Digests,
    ListPage,
    Part,
    Principal,
    Upload,
    Usage,
    Version,
    VersionPage,
)
from holdfast.engine.buckets import BucketStats
from holdfast.engine.describing import Change
from holdfast.engine.engine import Engine
from holdfast.engine.provisioning import Provisioned
from holdfast.engine.session import Session
from holdfast.engine.signing import Wish
from holdfast.engine.write import ObjectInput
from holdfast.library.client import AsyncClient, Download
from holdfast.library.embedded_jobs import EmbeddedJobs
from holdfast.library.keeping import EmbeddedKeeping
from holdfast.library.moments import EmbeddedMoments
from holdfast.library.moving import EmbeddedMoves
from holdfast.library.parts import PartLike, named
from holdfast.library.source import Source, as_body
from holdfast.policy.buckets import changed
from holdfast.policy.signing import Purpose


class EmbeddedClient(EmbeddedJobs, EmbeddedKeeping, EmbeddedMoments, EmbeddedMoves, AsyncClient):
    """A client over `session`; `closing` is awaited once when it is closed. Signed URLs begin with `public_url`.

    `sessions` makes the session of another tenant, where whoever runs the engine may act for them. Jobs are those of
    `engine`.
    """

    def __init__(
        self,
        session: Session,
        closing: Callable[[], Awaitable[None]] | None = None,
        *,
        public_url: str = "",
        sessions: Callable[[str], Session] | None = None,
        engine: Engine | None = None,
    ) -> None:
        self._session = session
        self._closing = closing
        self._public_url = public_url.rstrip("/")
        self._sessions = sessions
        self._engine = engine

    def _who(self) -> Principal:
        return self._session.principal

    @property
    def public_url(self) -> str:
        """See `AsyncClient`."""
        return self._public_url

    def for_tenant(self, tenant: str) -> EmbeddedClient:
        """See `AsyncClient`."""
        if self._sessions is None:
            return super().for_tenant(tenant)  # type: ignore[return-value]  # it raises
        session = self._sessions(check_tenant(tenant))
        return EmbeddedClient(
            session, public_url=self._public_url, sessions=self._sessions, engine=self._engine
        )

    async def close(self) -> None:
        """Close what was opened with this client."""
        closing, self._closing = self._closing, None
        if closing is not None:
            await closing()

    async def create_bucket(
        self, name: str, *, versioning: bool = False, settings: Mapping[str, object] = EMPTY
    ) -> Bucket:
        """See `AsyncClient`."""
        wanted = changed(self._session.default_settings, settings)
        return await self._session.create_bucket(name, versioning=versioning, settings=wanted)

    async def update_bucket(
        self, name: str, *, versioning: bool | None = None, settings: Mapping[str, object] = EMPTY
    ) -> Bucket:
        """See `AsyncClient`."""
        return await self._session.update_bucket(
            name, versioning=versioning, change=partial(changed, changes=settings) if settings else None
        )

    async def bucket(self, name: str) -> BucketStats:
        """See `AsyncClient`."""
        return await self._session.bucket_stats(name)

    async def buckets(self) -> Sequence[tuple[Bucket, Usage]]:
        """See `AsyncClient`."""
        return await self._session.buckets()

    async def delete_bucket(self, name: str, *, force: bool = False) -> None:
        """See `AsyncClient`."""
        await self._session.delete_bucket(name, force=force)

    async def put(
        self,
        bucket: str,
        key: str,
        data: Source,
        *,
        content_type: str | None = None,
        metadata: Mapping[str, str] = EMPTY,
        tags: Mapping[str, str] = EMPTY,
        digests: Digests = NO_DIGESTS,
        conditions: Preconditions = NO_CONDITIONS,
        idempotency_key: str | None = None,
        storage_class: str = "",
    ) -> Version:
        """See `AsyncClient`."""
        about = ObjectInput(content_type, metadata, tags, digests, storage_class)
        return await self._session.put(
            bucket, key, as_body(data), about, conditions=conditions, idempotency_key=idempotency_key
        )

    def stream(
        self,
        bucket: str,
        key: str,
        *,
        version_id: str | None = None,
        range: ByteRange | None = None,
        conditions: Preconditions = NO_CONDITIONS,
    ) -> AbstractAsyncContextManager[Download]:
        """See `AsyncClient`."""
        return self._session.get(bucket, key, version_id=version_id, range=range, conditions=conditions)

    async def head(self, bucket: str, key: str, *, version_id: str | None = None) -> Version:
        """See `AsyncClient`."""
        version, _ = await self._session.head(bucket, key, version_id=version_id)
        return version

    async def delete(
        self,
        bucket: str,
        key: str,
        *,
        version_id: str | None = None,
        conditions: Preconditions = NO_CONDITIONS,
    ) -> Deleted:
        """See `AsyncClient`."""
        return await self._session.delete(bucket, key, version_id=version_id, conditions=conditions)

    async def copy(
        self,
        source: tuple[str, str],
        target: tuple[str, str],
        *,
        source_version_id: str | None = None,
        conditions: Preconditions = NO_CONDITIONS,
    ) -> Version:
        """See `AsyncClient`."""
        return await self._session.copy(
            source, target, source_version_id=source_version_id, conditions=conditions
        )

    async def list_page(
        self, bucket: str, *, prefix: str = "", delimiter: str = "", marker: str = "", limit: int = 1000
    ) -> ListPage:
        """See `AsyncClient`."""
        return await self._session.list(
            bucket, prefix=prefix, delimiter=delimiter, marker=marker, limit=limit
        )

    async def create_tenant(self, tenant: str) -> bool:
        """Make a tenant; return False when there is one of that name. Only whoever runs the engine can."""
        try:
            await self._session.admin.create_tenant(tenant)
        except AlreadyExistsError:
            return False
        return True

    async def provision(
        self, content_types: Sequence[str], categories: Sequence[str], subfolders: Sequence[str] | None = None
    ) -> Provisioned:
        """See `AsyncClient`."""
        return await self._session.provision(content_types, categories, subfolders)

    async def create_directory(self, bucket: str, path: str) -> bool:
        """See `AsyncClient`."""
        return await self._session.create_directory(bucket, path)

    async def directory_exists(self, bucket: str, path: str) -> bool:
        """See `AsyncClient`."""
        return await self._session.directory_exists(bucket, path)

    async def list_directories(self, bucket: str, path: str = "") -> Sequence[str]:
        """See `AsyncClient`."""
        return await self._session.list_directories(bucket, path)

    async def versions_page(
        self,
        bucket: str,
        *,
        prefix: str = "",
        delimiter: str = "",
        key_marker: str = "",
        version_marker: str = "",
        limit: int = 1000,
    ) -> VersionPage:
        """See `AsyncClient`."""
        return await self._session.versions(
            bucket,
            prefix=prefix,
            delimiter=delimiter,
            key_marker=key_marker,
            version_marker=version_marker,
            limit=limit,
        )

    async def file(self, file_id: str) -> Version:
        """See `AsyncClient`."""
        return await self._session.file(file_id)

    async def update(
        self,
        bucket: str,
        key: str,
        *,
        content_type: str | None = None,
        metadata: Mapping[str, str | None] | None = None,
        tags: Mapping[str, str | None] | None = None,
        merge: bool = True,
        version_id: str | None = None,
    ) -> Version:
        """See `AsyncClient`."""
        change = Change(content_type, metadata, tags, merge=merge)
        return await self._session.update(bucket, key, change, version_id=version_id)

    async def restore(self, bucket: str, key: str, version_id: str) -> Version:
        """See `AsyncClient`."""
        return (await self._session.restore(bucket, key, version_id))[0]

    async def search_page(
        self, wish: Search, *, bucket: str | None = None, limit: int = 1000, cursor: str = ""
    ) -> Found:
        """See `AsyncClient`."""
        return await self._session.search(wish, bucket=bucket, limit=limit, cursor=cursor)

    async def create_upload(
        self,
        bucket: str,
        key: str,
        *,
        content_type: str | None = None,
        metadata: Mapping[str, str] = EMPTY,
        tags: Mapping[str, str] = EMPTY,
        size: int | None = None,
        expires_in: float | None = None,
        storage_class: str = "",
    ) -> Upload:
        """See `AsyncClient`."""
        about = ObjectInput(content_type, metadata, tags, storage_class=storage_class)
        return await self._session.create_upload(bucket, key, about, size=size, expires_in=expires_in)

    async def put_part(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        number: int,
        data: Source,
        *,
        digests: Digests = NO_DIGESTS,
    ) -> Part:
        """See `AsyncClient`."""
        return await self._session.put_part(bucket, key, upload_id, number, as_body(data), digests=digests)

    async def list_parts(
        self, bucket: str, key: str, upload_id: str, *, after: int = 0, limit: int = 1000
    ) -> Sequence[Part]:
        """See `AsyncClient`."""
        return await self._session.list_parts(bucket, key, upload_id, after=after, limit=limit)

    async def list_uploads(
        self, bucket: str, *, prefix: str = "", key_marker: str = "", id_marker: str = "", limit: int = 1000
    ) -> tuple[Sequence[Upload], bool]:
        """See `AsyncClient`."""
        return await self._session.list_uploads(
            bucket, prefix=prefix, key_marker=key_marker, id_marker=id_marker, limit=limit
        )

    async def complete_upload(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        parts: Sequence[PartLike],
        *,
        conditions: Preconditions = NO_CONDITIONS,
    ) -> Version:
        """See `AsyncClient`."""
        return await self._session.complete_upload(
            bucket, key, upload_id, named(parts), conditions=conditions
        )

    async def abort_upload(self, bucket: str, key: str, upload_id: str) -> None:
        """See `AsyncClient`."""
        await self._session.abort_upload(bucket, key, upload_id)

    async def presign(
        self,
        bucket: str,
        key: str,
        method: str = "GET",
        *,
        expires_in: float = 3600,
        content_type: str | None = None,
        max_size: int | None = None,
        once: bool = False,
        ip: str | None = None,
        version_id: str | None = None,
    ) -> SignedUrl:
        """See `AsyncClient`."""
        if method not in list(Purpose):
            raise InvalidRequestError("a URL is signed for GET, PUT or UPLOAD")
        if not self._public_url:
            if method == Purpose.GET and not ip:
                link = await self._session.link(bucket, key, version_id=version_id, expires_in=expires_in)
                if link is not None:
                    return link
            raise ConfigError("set public_url to the address under which clients will reach the service")
        wish = Wish(
            Purpose(method),
            int(expires_in),
            content_type or "",
            max_size,
            ip or "",
            once,
            {} if version_id is None else {"version_id": version_id},
        )
        signed = await self._session.presign(bucket, key, wish)
        return SignedUrl(self._public_url + signed.path, signed.method, signed.expires, signed.headers)
