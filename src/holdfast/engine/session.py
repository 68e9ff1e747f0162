"""The engine as one principal sees it: the same verbs, each asked of the access policy first.

A session cannot name another tenant: the tenant comes from the principal, never from the request.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from holdfast.catalog.contract import Actor
from holdfast.core.body import Body
from holdfast.core.conditions import NO_CONDITIONS, Preconditions
from holdfast.core.errors import PermissionDeniedError
from holdfast.core.names import check_bucket, check_key, check_prefix
from holdfast.core.types import (
    NO_DIGESTS,
    Bucket,
    ByteRange,
    Deleted,
    Digests,
    ListPage,
    ObjectRef,
    Part,
    Principal,
    Upload,
    Usage,
    Version,
    VersionPage,
)
from holdfast.engine import uploads, write
from holdfast.engine.context import Context
from holdfast.engine.hot import Hot
from holdfast.engine.read import ObjectReader, Opening
from holdfast.engine.run import Health
from holdfast.engine.write import NO_INPUT, ObjectInput
from holdfast.policy.access import decide


class Session:
    """Verbs on the buckets and objects of one tenant. Made by `Engine.session`; costs nothing to make."""

    def __init__(
        self,
        context: Context,
        health: Health,
        hot: Hot,
        principal: Principal,
        request_id: str,
        address: str,
    ) -> None:
        self._context = context
        self._catalog = context.catalog
        self._health = health
        self._hot = hot
        self.principal = principal
        self._actor = Actor(principal.id, request_id, address)

    # -- buckets ------------------------------------------------------------------------------------------------
    async def create_bucket(self, name: str, *, versioning: bool = False) -> Bucket:
        """Make a bucket; `AlreadyExistsError` when there is one of that name."""
        self._allow("create_bucket")
        check_bucket(name)
        return await self._catalog.create_bucket(
            self.principal.tenant, name, versioning=versioning, actor=self._actor
        )

    async def bucket(self, name: str) -> Bucket:
        """Return a bucket or raise `NotFoundError`."""
        self._allow("list")
        return await self._catalog.bucket(self.principal.tenant, name)

    async def buckets(self) -> Sequence[tuple[Bucket, Usage]]:
        """Return all buckets by name, with exact counters."""
        self._allow("list")
        return await self._catalog.buckets(self.principal.tenant)

    async def delete_bucket(self, name: str) -> None:
        """Remove an empty bucket; `ConflictError` while it holds versions, delete markers or open uploads."""
        self._allow("delete_bucket")
        await self._catalog.delete_bucket(self.principal.tenant, name, actor=self._actor)

    async def usage(self, bucket: str | None = None) -> Usage:
        """Return the counters of one bucket, or of all."""
        self._allow("usage")
        return await self._catalog.usage(self.principal.tenant, bucket)

    # -- objects ------------------------------------------------------------------------------------------------
    async def put(
        self,
        bucket: str,
        key: str,
        body: Body,
        about: ObjectInput = NO_INPUT,
        *,
        conditions: Preconditions = NO_CONDITIONS,
        idempotency_key: str | None = None,
    ) -> Version:
        """Store `body` and return the new current version once it is durable. See `engine.write.put`."""
        self._allow("put")
        return await write.put(
            self._context,
            self._ref(bucket, key),
            body,
            about,
            conditions=conditions,
            idempotency_key=idempotency_key,
            actor=self._actor,
        )

    def get(
        self,
        bucket: str,
        key: str,
        *,
        version_id: str | None = None,
        range: ByteRange | None = None,
        conditions: Preconditions = NO_CONDITIONS,
    ) -> AbstractAsyncContextManager[ObjectReader]:
        """Open an object for reading. See `engine.read.Opening`."""
        self._allow("get")
        ref = self._ref(bucket, key)
        return Opening(self._context, self._health, self._hot, ref, version_id, range, conditions)

    async def head(
        self,
        bucket: str,
        key: str,
        *,
        version_id: str | None = None,
        conditions: Preconditions = NO_CONDITIONS,
    ) -> tuple[Version, bool]:
        """Return the version, and whether the conditions say that it should be sent (False: not modified)."""
        self._allow("head")
        located = await self._catalog.resolve(self._ref(bucket, key), version_id=version_id)
        return located.version, conditions.check_read(located.version)

    async def delete(
        self,
        bucket: str,
        key: str,
        *,
        version_id: str | None = None,
        conditions: Preconditions = NO_CONDITIONS,
    ) -> Deleted:
        """Remove an object or one version; succeeds when nothing is there."""
        self._allow("delete")
        return await write.delete(
            self._context,
            self._ref(bucket, key),
            version_id=version_id,
            conditions=conditions,
            actor=self._actor,
        )

    async def copy(
        self,
        source: tuple[str, str],
        target: tuple[str, str],
        *,
        source_version_id: str | None = None,
        about: ObjectInput | None = None,
        conditions: Preconditions = NO_CONDITIONS,
        source_conditions: Preconditions = NO_CONDITIONS,
    ) -> Version:
        """Copy (bucket, key) to (bucket, key), inside the store where it can, and return the new version.

        `about` None carries content type, metadata and tags over.
        """
        self._allow("copy")
        origin, goal = self._ref(*source), self._ref(*target)
        located = await self._catalog.resolve(origin, version_id=source_version_id)
        source_conditions.check_write(located.version)
        made = await write.copy(self._context, located, goal, about, conditions=conditions, actor=self._actor)
        if made is not None:
            return made
        version = located.version
        async with self.get(*source, version_id=version.id) as reader:
            given = about or ObjectInput(version.content_type, version.metadata, version.tags)
            body = Body.of_stream(reader, size=version.size)
            return await write.put(self._context, goal, body, given, conditions=conditions, actor=self._actor)

    async def list(
        self, bucket: str, *, prefix: str = "", delimiter: str = "", marker: str = "", limit: int = 1000
    ) -> ListPage:
        """Return one page of current objects in byte order, `limit` 0 to 1000 items and prefixes together."""
        self._allow("list")
        for text in (prefix, delimiter, marker):
            check_prefix(text)
        return await self._catalog.list_objects(
            self.principal.tenant,
            bucket,
            prefix=prefix,
            delimiter=delimiter,
            marker=marker,
            limit=min(limit, 1000),
        )

    async def versions(
        self,
        bucket: str,
        *,
        prefix: str = "",
        delimiter: str = "",
        key_marker: str = "",
        version_marker: str = "",
        limit: int = 1000,
    ) -> VersionPage:
        """Return one page of all versions: keys in byte order, newest first, delete markers included."""
        self._allow("versions")
        for text in (prefix, delimiter, key_marker, version_marker):
            check_prefix(text)
        return await self._catalog.list_versions(
            self.principal.tenant,
            bucket,
            prefix=prefix,
            delimiter=delimiter,
            key_marker=key_marker,
            version_marker=version_marker,
            limit=min(limit, 1000),
        )

    # -- multipart uploads --------------------------------------------------------------------------------------
    async def create_upload(self, bucket: str, key: str, about: ObjectInput = NO_INPUT) -> Upload:
        """Open a multipart upload."""
        self._allow("upload")
        return await uploads.create(self._context, self._ref(bucket, key), about, actor=self._actor)

    async def put_part(
        self, bucket: str, key: str, upload_id: str, number: int, body: Body, *, digests: Digests = NO_DIGESTS
    ) -> Part:
        """Store one part, in any order, also in parallel or again."""
        self._allow("upload")
        return await uploads.put_part(self._context, self._ref(bucket, key), upload_id, number, body, digests)

    async def list_parts(
        self, bucket: str, key: str, upload_id: str, *, after: int = 0, limit: int = 1000
    ) -> Sequence[Part]:
        """Return acknowledged parts by number, those above `after`."""
        self._allow("upload")
        await self._catalog.upload(self._ref(bucket, key), upload_id)
        return await self._catalog.list_parts(upload_id, after=after, limit=min(limit, 1000))

    async def list_uploads(
        self, bucket: str, *, prefix: str = "", key_marker: str = "", id_marker: str = "", limit: int = 1000
    ) -> tuple[Sequence[Upload], bool]:
        """Return open uploads by key, and whether there are more."""
        self._allow("upload")
        for text in (prefix, key_marker, id_marker):
            check_prefix(text)
        return await self._catalog.list_uploads(
            self.principal.tenant,
            bucket,
            prefix=prefix,
            key_marker=key_marker,
            id_marker=id_marker,
            limit=min(limit, 1000),
        )

    async def complete_upload(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        parts: Sequence[tuple[int, str]],
        *,
        conditions: Preconditions = NO_CONDITIONS,
    ) -> Version:
        """Make the parts, (number, ETag) ascending, the current version. See `engine.uploads.complete`."""
        self._allow("upload")
        ref = self._ref(bucket, key)
        return await uploads.complete(
            self._context, ref, upload_id, parts, conditions=conditions, actor=self._actor
        )

    async def abort_upload(self, bucket: str, key: str, upload_id: str) -> None:
        """Give an upload up; its parts are swept."""
        self._allow("upload")
        await self._catalog.abort_upload(self._ref(bucket, key), upload_id, actor=self._actor)

    # -----------------------------------------------------------------------------------------------------------
    def _allow(self, verb: str) -> None:
        decision = decide(self.principal, verb)
        if not decision.allowed:
            raise PermissionDeniedError(decision.reason, operation=verb)

    def _ref(self, bucket: str, key: str) -> ObjectRef:
        return ObjectRef(self.principal.tenant, bucket, check_key(key))
