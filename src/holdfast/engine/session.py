"""The engine as one principal sees it: the same verbs, each asked of the access policy first.

A session cannot name another tenant: the tenant comes from the principal, never from the request.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial

from holdfast.catalog.contract import Actor, FileFacts
from holdfast.core.backend import SignedUrl
from holdfast.core.body import Body
from holdfast.core.conditions import NO_CONDITIONS, Preconditions
from holdfast.core.errors import ConflictError, NotFoundError, PermissionDeniedError
from holdfast.core.names import check_key, check_prefix, marker
from holdfast.core.search import Found, Search
from holdfast.core.types import (
    EMPTY,
    NO_DIGESTS,
    AuditEntry,
    Bucket,
    BucketSettings,
    ByteRange,
    Deleted,
    Digests,
    ListPage,
    ObjectRef,
    Part,
    Principal,
    QuotaUse,
    Upload,
    Usage,
    Version,
    VersionPage,
)
from holdfast.engine import (
    buckets,
    describing,
    files,
    finding,
    folders,
    linking,
    provisioning,
    resumable,
    sending,
    signing,
    uploads,
    write,
)
from holdfast.engine.administration import Administration
from holdfast.engine.audit import AuditFilter, Auditor
from holdfast.engine.buckets import BucketStats
from holdfast.engine.context import Context
from holdfast.engine.describing import Change
from holdfast.engine.executions import Executions
from holdfast.engine.finding import MAX_PAGE
from holdfast.engine.grants import (
    bounds_kept,
    check_granted_size,
    granted_body,
    granted_content,
    granted_input,
    granted_once,
)
from holdfast.engine.hot import Hot
from holdfast.engine.moments import Moments
from holdfast.engine.permits import Permit
from holdfast.engine.pieces import Check
from holdfast.engine.provisioning import Provisioned
from holdfast.engine.read import ObjectReader, Opening
from holdfast.engine.resumable import Progress
from holdfast.engine.retention import Retention
from holdfast.engine.run import Health
from holdfast.engine.signing import Signed, Wish
from holdfast.engine.verifying import Verdict
from holdfast.engine.write import NO_INPUT, ObjectInput


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
        self._permit = Permit(context, principal, address)

    # -- for the audit ------------------------------------------------------------------------------------------
    @property
    def written(self) -> bool:
        """Whether a transaction of this session has put a row into the audit."""
        return self._actor.trace.written

    @property
    def asked(self) -> tuple[str, str, str, str]:
        """What was asked for last: verb, bucket, key or prefix, version."""
        return (*self._permit.asked, self._permit.version_id)

    @property
    def detail(self) -> Mapping[str, str]:
        """What more is to be told of it; what has such is recorded also where reads are not."""
        return self._permit.detail

    @property
    def papers(self) -> tuple[Permit, Actor]:
        """What a desk that serves the same request asks, and signs with, so that the audit tells of both as one."""
        return self._permit, self._actor

    @property
    def admin(self) -> Administration:
        """Tenants, keys and tokens, as far as this principal may look after them."""
        return Administration(self._context, self._permit, self.principal, self._actor)

    @property
    def executions(self) -> Executions:
        """Runs and the artifacts that they left."""
        return Executions(self, self._context, self._permit, self._actor)

    @property
    def retention(self) -> Retention:
        """What keeps versions, and what lifecycle rules want of them."""
        return Retention(self._context, self._permit, self.principal, self._actor)

    @property
    def moments(self) -> Moments:
        """Snapshots of buckets, and buckets as they were."""
        return Moments(self._context, self._permit, self.principal, self._actor)

    # -- buckets ------------------------------------------------------------------------------------------------
    async def create_bucket(
        self, name: str, *, versioning: bool = False, settings: BucketSettings | None = None
    ) -> Bucket:
        """Make a bucket; without `settings` with `default_settings`. `AlreadyExistsError` when there is one."""
        self._permit.allow("create_bucket", name)
        return await buckets.create(
            self._context,
            self.principal.tenant,
            name,
            versioning=versioning,
            settings=settings,
            actor=self._actor,
        )

    async def create_default_bucket(self, kind: str) -> str | None:
        """Make the bucket for a kind of artifacts (`policy.artifacts.KINDS`); return its name, None when it is there."""
        self._permit.allow_role("create_bucket")
        self._permit.allow("create_bucket", self._context.settings.artifact_buckets.bucket(kind))
        return await buckets.create_default(self._context, self.principal.tenant, kind, self._actor)

    @property
    def default_settings(self) -> BucketSettings:
        """The settings of a bucket that is made without its own."""
        return buckets.defaults(self._context)

    async def update_bucket(
        self,
        name: str,
        *,
        versioning: bool | None = None,
        change: Callable[[BucketSettings], BucketSettings] | None = None,
    ) -> Bucket:
        """Change a bucket and return it; `change` is given its settings as they are when it is done."""
        await self._permit.enter("update_bucket", name)
        return await buckets.update(
            self._context,
            self.principal.tenant,
            name,
            versioning=versioning,
            change=change,
            actor=self._actor,
        )

    async def bucket(self, name: str) -> Bucket:
        """Return a bucket or raise `NotFoundError`."""
        await self._permit.enter("list", name)
        return await self._catalog.bucket(self.principal.tenant, name)

    async def buckets(self) -> Sequence[tuple[Bucket, Usage]]:
        """Return the buckets that this session may know of by name, with exact counters."""
        self._permit.allow_role("list")
        found = await self._catalog.buckets(self.principal.tenant)
        return [
            (bucket, usage)
            for bucket, usage in found
            if self._permit.may("list", bucket.name) and self._permit.admitted(bucket.settings)
        ]

    async def delete_bucket(self, name: str, *, force: bool = False) -> None:
        """Remove an empty bucket, or with `force` one with everything in it, for good.

        Raises:
            ConflictError: it holds versions, delete markers or open uploads.
        """
        await self._permit.enter("delete_bucket", name)
        await buckets.remove(self._context, self.principal.tenant, name, force=force, actor=self._actor)

    async def bucket_stats(self, name: str) -> BucketStats:
        """Return a bucket with its counters and how much of its quota is taken."""
        await self._permit.enter("usage", name)
        return await buckets.stats(self._context, self.principal.tenant, name)

    async def quota(self, bucket: str | None = None) -> QuotaUse:
        """Return the limits of one bucket, or of the tenant, and how much of them is taken."""
        if bucket is None:
            self._permit.allow("usage")
        else:
            await self._permit.enter("usage", bucket)
        return await self._catalog.quota(self.principal.tenant, bucket)

    async def usage(self, bucket: str | None = None) -> Usage:
        """Return the counters of one bucket, or of all."""
        if bucket is None:
            self._permit.allow("usage")
        else:
            await self._permit.enter("usage", bucket)
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
        await self._permit.enter("put", bucket, key)
        grant = self.principal.grant
        about = granted_input(grant, about, key)
        body = granted_body(grant, body)
        return await write.put(
            self._context,
            self._ref(bucket, key),
            await granted_content(self._context, grant, body, about, key),
            about,
            conditions=conditions,
            idempotency_key=idempotency_key,
            once=granted_once(self.principal.grant),
            actor=self._actor,
        )

    async def expect_put(
        self, bucket: str, key: str, *, size: int | None = None, conditions: Preconditions = NO_CONDITIONS
    ) -> None:
        """Return when a `put` with that much to come would be taken now; else raise what it would raise.

        All of it is checked again when the object is stored; this spares the bytes.
        """
        await self._permit.enter("put", bucket, key)
        ref = self._ref(bucket, key)
        await self._context.rules.bucket(ref.tenant, bucket)
        check_granted_size(self.principal.grant, size)
        if (once := granted_once(self.principal.grant)) is not None:
            await self._catalog.answered(ref.tenant, once)
        if conditions:
            try:
                current = (await self._catalog.resolve(ref)).version
            except NotFoundError:
                conditions.check_write(None)
            else:
                conditions.check_write(current)

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
        self._permit.allow("get", bucket, key)
        ref = self._ref(bucket, key)
        resolve = partial(self._permit.resolve, whole=True)
        return Opening(self._context, self._health, self._hot, resolve, ref, version_id, range, conditions)

    async def head(
        self,
        bucket: str,
        key: str,
        *,
        version_id: str | None = None,
        conditions: Preconditions = NO_CONDITIONS,
    ) -> tuple[Version, bool]:
        """Return the version, and whether the conditions say that it should be sent (False: not modified)."""
        self._permit.allow("head", bucket, key)
        located = await self._permit.resolve(self._ref(bucket, key), version_id)
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
        await self._permit.enter("delete", bucket, key)
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
        idempotency_key: str | None = None,
    ) -> Version:
        """Copy (bucket, key) to (bucket, key), inside the store where it can, and return the new version.

        `about` None carries content type, metadata and tags over. The same `idempotency_key` again returns the first
        copy, also when its source has changed or gone since.
        """
        self._permit.allow("get", *source)
        await self._permit.enter("put", *target)
        origin, goal = self._ref(*source), self._ref(*target)
        request = await write.copy_request(
            self._context, idempotency_key, origin, source_version_id, goal, about, conditions
        )
        if request is not None:
            earlier = await self._catalog.answered(self.principal.tenant, request)
            if earlier is not None:
                return earlier
        located = await self._permit.resolve(origin, source_version_id)
        source_conditions.check_write(located.version)
        made = await write.copy(
            self._context,
            located,
            goal,
            about,
            conditions=conditions,
            idempotency=request,
            actor=self._actor,
        )
        if made is not None:
            return made
        version = located.version
        async with self.get(*source, version_id=version.id) as reader:
            given = about or write.said_of(version)
            body = Body.of_stream(reader, size=version.size)
            return await write.put(
                self._context,
                goal,
                body,
                given,
                conditions=conditions,
                once=request,
                actor=self._actor,
            )

    async def list(
        self,
        bucket: str,
        *,
        prefix: str = "",
        delimiter: str = "",
        marker: str = "",
        limit: int = 1000,
        at: int | None = None,
    ) -> ListPage:
        """Return one page of current objects in byte order, `limit` 0 to 1000 items and prefixes together.

        With `at` (microseconds), of those that were current then; see `engine.moments`.
        """
        if at is not None:
            return await self.moments.list(
                bucket, at, prefix=prefix, delimiter=delimiter, marker=marker, limit=limit
            )
        await self._permit.enter("list", bucket, prefix=prefix)
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
        await self._permit.enter("versions", bucket, prefix=prefix)
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

    # -- folders ------------------------------------------------------------------------------------------------
    async def create_directory(self, bucket: str, path: str) -> bool:
        """Make a folder; return False when it is there already. See `engine.folders`."""
        key = marker(path)
        await self._permit.enter("put", bucket, key)
        return await folders.create(self._context, self._ref(bucket, key), self._actor)

    async def directory_exists(self, bucket: str, path: str) -> bool:
        """Return whether there is such a folder: it was made, or something is in it."""
        key = marker(path)
        await self._permit.enter("list", bucket, prefix=key)
        return await folders.exists(self._context, self._ref(bucket, key))

    async def list_directories(self, bucket: str, path: str = "") -> Sequence[str]:
        """Return the names of the folders directly in a folder, or in the bucket itself, in byte order."""
        await self._permit.enter("list", bucket, prefix=marker(path) if path.strip("/") else "")
        return await folders.names(self._context, self.principal.tenant, bucket, path)

    async def provision(
        self,
        content_types: Sequence[str] = (),
        categories: Sequence[str] = (),
        subfolders: Sequence[str] | None = None,
    ) -> Provisioned:
        """Make the tenant's hierarchy, as far as it is missing. See `engine.provisioning`."""
        self._permit.allow("provision")
        return await provisioning.provision(
            self._context, self.principal.tenant, content_types, categories, subfolders, actor=self._actor
        )

    async def delete_directory(self, bucket: str, path: str) -> bool:
        """Remove the mark of a folder; return whether there was one. What is in the folder stays, and keeps it there."""
        key = marker(path)
        await self._permit.enter("delete", bucket, key)
        deleted = await write.delete(self._context, self._ref(bucket, key), actor=self._actor)
        return deleted.version_id is not None and not deleted.delete_marker

    # -- files by id, searches, and what is said about a content ------------------------------------------------
    async def file(self, file_id: str, verb: str = "head") -> Version:
        """Return the version of that id; `verb` is what is to be done with it.

        Raises:
            NotFoundError: there is none (any more), or not for this session.
        """
        self._permit.allow_role(verb)
        return await files.find(self._context, self._permit, self.principal, file_id, verb)

    async def file_facts(self, version: Version) -> FileFacts:
        """Return what is known of a version beside itself: versions kept of its key, copies, when it expires."""
        await self._permit.enter("head", version.ref.bucket, version.ref.key)
        return await self._catalog.file_facts(self.principal.tenant, version.id)

    async def key_versions(
        self, bucket: str, key: str, *, after: str = "", limit: int = 100
    ) -> tuple[Sequence[Version], bool]:
        """Return versions of one key, the newest first, those behind version `after`; and whether there are more."""
        await self._permit.enter("versions", bucket, key)
        return await files.of_key(self._context, self._ref(bucket, key), after, min(limit, 1000))

    async def update(
        self,
        bucket: str,
        key: str,
        change: Change,
        *,
        version_id: str | None = None,
        conditions: Preconditions = NO_CONDITIONS,
    ) -> Version:
        """Change content type, metadata or tags of the current or a named version. See `engine.describing.update`."""
        await self._permit.enter("update", bucket, key)
        ref = self._ref(bucket, key)
        version = await files.current_or_named(self._context, ref, version_id)
        return await describing.update(
            self._context, version, change, conditions=conditions, actor=self._actor
        )

    async def restore(self, bucket: str, key: str, version_id: str) -> tuple[Version, bool]:
        """Make an old version current again, as a new one; return it, and whether there was anything to do."""
        self._permit.allow("get", bucket, key)
        await self._permit.enter("put", bucket, key)
        old = await files.current_or_named(self._context, self._ref(bucket, key), version_id)
        if old.current:
            return old, False
        return await self.copy((bucket, key), (bucket, key), source_version_id=version_id), True

    async def search(
        self, wish: Search, *, bucket: str | None = None, limit: int = 100, cursor: str = ""
    ) -> Found:
        """Return one page of the current objects that match, in one bucket or in all that this session may search."""
        if bucket is not None:
            await self._permit.enter("search", bucket, prefix=wish.prefix)
            buckets: Sequence[str] = [bucket]
        else:
            self._permit.allow_role("search")
            buckets = await files.searchable(self._context, self._permit, self.principal.tenant, wish.prefix)
        return await finding.search(
            self._context, self.principal.tenant, buckets, wish, limit=min(limit, MAX_PAGE), cursor=cursor
        )

    def may(self, verb: str, bucket: str, key: str) -> bool:
        """Return whether `verb` is allowed on that object, for whoever has many to ask about."""
        return self._permit.may(verb, bucket, key)

    # -- multipart uploads --------------------------------------------------------------------------------------
    async def create_upload(
        self,
        bucket: str,
        key: str,
        about: ObjectInput = NO_INPUT,
        *,
        size: int | None = None,
        expires_in: float | None = None,
    ) -> Upload:
        """Open a multipart upload. `size` bytes of a quota are reserved for it; `expires_in` seconds it may stay open."""
        await self._permit.enter("upload", bucket, key)
        check_granted_size(self.principal.grant, size)
        return await uploads.create(
            self._context,
            self._ref(bucket, key),
            granted_input(self.principal.grant, about, key),
            length=size,
            lifetime=expires_in,
            options=bounds_kept(self.principal.grant),
            actor=self._actor,
        )

    async def put_part(
        self, bucket: str, key: str, upload_id: str, number: int, body: Body, *, digests: Digests = NO_DIGESTS
    ) -> Part:
        """Store one part, in any order, also in parallel or again."""
        await self._permit.enter("upload", bucket, key)
        body = granted_body(self.principal.grant, body)
        return await uploads.put_part(self._context, self._ref(bucket, key), upload_id, number, body, digests)

    async def list_parts(
        self, bucket: str, key: str, upload_id: str, *, after: int = 0, limit: int = 1000
    ) -> Sequence[Part]:
        """Return acknowledged parts by number, those above `after`."""
        await self._permit.enter("upload", bucket, key)
        await self._catalog.upload(self._ref(bucket, key), upload_id)
        return await self._catalog.list_parts(upload_id, after=after, limit=min(limit, 1000))

    async def list_uploads(
        self, bucket: str, *, prefix: str = "", key_marker: str = "", id_marker: str = "", limit: int = 1000
    ) -> tuple[Sequence[Upload], bool]:
        """Return open uploads by key, and whether there are more."""
        await self._permit.enter("upload", bucket, prefix=prefix)
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
        await self._permit.enter("upload", bucket, key)
        ref = self._ref(bucket, key)
        return await uploads.complete(
            self._context, ref, upload_id, parts, conditions=conditions, actor=self._actor
        )

    async def abort_upload(self, bucket: str, key: str, upload_id: str) -> None:
        """Give an upload up; its parts are swept."""
        await self._permit.enter("upload", bucket, key)
        await self._catalog.abort_upload(self._ref(bucket, key), upload_id, actor=self._actor)

    # -- audit --------------------------------------------------------------------------------------------------
    async def audit(
        self, wanted: AuditFilter, *, after: int = 0, limit: int = 100, service: bool = False
    ) -> tuple[Sequence[AuditEntry], int]:
        """Return records of the tenant, or with `service` of no tenant. See `engine.audit.Auditor.page`."""
        tenant = self._audited(service)
        return await self._auditor.page(tenant, wanted, after=after, limit=limit)

    async def verify_audit(self, expected: str | None = None, *, service: bool = False) -> Verdict:
        """Return whether the audit is whole. See `engine.audit.Auditor.verify`."""
        tenant = self._audited(service)
        return await self._auditor.verify(tenant, expected=expected)

    @property
    def _auditor(self) -> Auditor:
        return Auditor(self._catalog, self._context.secret)

    def _audited(self, service: bool) -> str:
        """Return whose audit may be read."""
        self._permit.allow("operate" if service else "audit")
        return "" if service else self.principal.tenant

    # -- uploads that go on where they broke off ----------------------------------------------------------------
    async def create_resumable(
        self,
        bucket: str,
        key: str,
        about: ObjectInput = NO_INPUT,
        *,
        length: int | None = None,
        partial: bool = False,
        options: Mapping[str, str] = EMPTY,
        conditions: Preconditions = NO_CONDITIONS,
    ) -> Progress:
        """Open an upload that grows at its end; `partial` ones are put together by `concatenate`."""
        await self._permit.enter("upload", bucket, key)
        grant = self.principal.grant
        check_granted_size(grant, length)
        if partial and grant is not None and grant.once:
            raise _in_one_piece()
        return await resumable.create(
            self._context,
            self._ref(bucket, key),
            granted_input(self.principal.grant, about, key),
            length=length,
            kind=resumable.PARTIAL if partial else resumable.WHOLE,
            options={**options, **bounds_kept(self.principal.grant)},
            conditions=conditions,
            actor=self._actor,
        )

    async def upload_progress(self, upload_id: str, *, length: int | None = None) -> Progress:
        """Return how far an upload is; one that has all its bytes becomes an object now. `length` announces it late."""
        upload, version = await self._resumable(upload_id)
        if version is not None:
            return resumable.done(version)
        assert upload is not None
        if length is not None and length != upload.length:
            upload = await resumable.set_length(self._context, upload, length)
        return await resumable.progress(self._context, upload, actor=self._actor)

    async def upload_state(self, upload_id: str) -> Progress:
        """Return how far an upload is, and leave it as it is."""
        upload, version = await self._resumable(upload_id)
        if version is not None:
            return resumable.done(version)
        assert upload is not None
        return resumable.open_progress(upload)

    async def append(
        self,
        upload_id: str,
        offset: int,
        source: AsyncIterator[bytes],
        *,
        announced: int | None = None,
        length: int | None = None,
        check: Check | None = None,
    ) -> Progress:
        """Put the bytes of `source` behind the first `offset` ones. See `engine.resumable.append`."""
        upload, version = await self._resumable(upload_id)
        if version is not None:
            if offset != version.size:
                raise ConflictError(f"the upload is complete with {version.size} bytes", name=upload_id)
            return resumable.done(version)
        assert upload is not None
        if length is not None and length != upload.length:
            upload = await resumable.set_length(self._context, upload, length)
        return await resumable.append(
            self._context, upload, offset, source, announced=announced, check=check, actor=self._actor
        )

    async def concatenate(
        self,
        bucket: str,
        key: str,
        upload_ids: Sequence[str],
        about: ObjectInput = NO_INPUT,
        *,
        conditions: Preconditions = NO_CONDITIONS,
    ) -> Progress:
        """Make an object of finished partial uploads in this order. See `engine.resumable.concatenate`."""
        await self._permit.enter("upload", bucket, key)
        grant = self.principal.grant
        if grant is not None and grant.once:
            raise _in_one_piece()
        return await resumable.concatenate(
            self._context,
            self._ref(bucket, key),
            upload_ids,
            granted_input(grant, about, key),
            most=None if grant is None else grant.max_size,
            types=() if grant is None or grant.content_type is None else (grant.content_type,),
            conditions=conditions,
            allowed=self._may_upload,
            actor=self._actor,
        )

    async def abort_resumable(self, upload_id: str) -> None:
        """Give an upload up; `NotFoundError` when it is not open."""
        upload, _ = await self._resumable(upload_id)
        if upload is None:
            raise NotFoundError("the upload is complete; delete its object instead", name=upload_id)
        await self._catalog.abort_upload(upload.ref, upload.id, actor=self._actor)

    async def _resumable(self, upload_id: str) -> tuple[Upload | None, Version | None]:
        """Return the upload, or what it made. One of a key where this session may not upload is as good as none."""
        self._permit.allow_role("upload")
        upload, version = await resumable.find(self._context, self.principal.tenant, upload_id)
        found = upload or version
        if found is None or not self._may_upload(found.ref):
            raise resumable.not_open(upload_id)
        await self._permit.enter("upload", found.ref.bucket, found.ref.key)
        return upload, version

    def _may_upload(self, ref: ObjectRef) -> bool:
        return self._permit.may("upload", ref.bucket, ref.key)

    # -- signed URLs --------------------------------------------------------------------------------------------
    async def presign(self, bucket: str, key: str, wish: Wish) -> Signed:
        """Return a signed request that lets its bearer do what `wish` says, which this principal may do itself."""
        await self._permit.enter("presign", bucket, key)
        asked = self._permit.asked
        try:
            for verb in wish.purpose.verbs:
                self._permit.allow(verb, bucket, key)
        finally:
            self._permit.asked = asked
        signed = await signing.sign(self._context, self.principal, self._ref(bucket, key), wish)
        self._permit.detail = {"method": wish.purpose.value, "expires": str(signed.expires)}
        return signed

    async def location(
        self,
        bucket: str,
        key: str,
        *,
        version_id: str | None = None,
        describe: Callable[[Version], tuple[str, str]],
    ) -> str | None:
        """Return where the bearer of a signed URL is sent to read the object; None: read it here.

        `describe` gives the content type and the disposition that the store is to answer with.
        """
        self._permit.allow("get", bucket, key)
        if self.principal.grant is None or not sending.sends(self._context):
            return None
        located = await self._permit.resolve(self._ref(bucket, key), version_id)
        kind, disposition = describe(located.version)
        found = await sending.location(
            self._context,
            self._health,
            self.principal,
            located,
            content_type=kind,
            disposition=disposition,
        )
        if found is not None:
            self._context.reads.of_version(located, self._context.environment.clock.now())
        return found

    async def link(
        self, bucket: str, key: str, *, version_id: str | None = None, expires_in: float = 3600
    ) -> SignedUrl | None:
        """Return a URL of an external store that reads the object, for who has no service. See `engine.linking`."""
        await self._permit.enter("presign", bucket, key)
        self._permit.allow("get", bucket, key)
        located = await self._permit.resolve(self._ref(bucket, key), version_id)
        return await linking.link(self._context, self.principal, located, expires_in=expires_in)

    # -----------------------------------------------------------------------------------------------------------
    def _ref(self, bucket: str, key: str) -> ObjectRef:
        return ObjectRef(self.principal.tenant, bucket, check_key(key))


def _in_one_piece() -> PermissionDeniedError:
    return PermissionDeniedError("an upload by a URL that stores once comes in one piece, not in parallel")
