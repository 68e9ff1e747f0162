"""`SqlCatalog`: the contract, each method one transaction handed to the runner of the database at hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from holdfast.catalog import (
    access,
    deleting,
    listing,
    listing_versions,
    reading,
    sweeping,
    tenancy,
    uploads,
    writing,
)
from holdfast.catalog.common import ClashError
from holdfast.catalog.contract import Actor, DoomedReplica, Idempotency, NewVersion
from holdfast.catalog.transaction import Lock, Transaction, bucket_lock, key_locks, request_lock, upload_lock
from holdfast.core.conditions import NO_CONDITIONS, Preconditions
from holdfast.core.errors import ConflictError, NotFoundError, PreconditionFailedError
from holdfast.core.names import check_prefix
from holdfast.core.types import (
    ApiKey,
    AuditEntry,
    Bucket,
    Deleted,
    ListPage,
    Located,
    ObjectRef,
    Part,
    Replica,
    Tenant,
    Upload,
    Usage,
    Version,
    VersionPage,
)

T = TypeVar("T")
NOBODY = Actor()
MAX_PAGE = 1000

#: What a commit may meet when it is asked for again, after it was made and others went on from there.
_PERHAPS_MADE = (ConflictError, NotFoundError, PreconditionFailedError)


class Runner(Protocol):
    """Runs transactions on one database; knows drivers and connections, and nothing of objects."""

    async def read(self, transaction: Transaction[T]) -> T:
        """Run a transaction that only reads, and little."""
        ...

    async def scan(self, transaction: Transaction[T]) -> T:
        """Run a transaction that only reads, but perhaps much."""
        ...

    async def write(self, transaction: Transaction[T], locks: Sequence[Lock] = ()) -> T:
        """Run a transaction under `locks`; it is durable when this returns."""
        ...

    async def write_alone(self, transaction: Transaction[T]) -> T:
        """Run a transaction of a single statement that needs no lock."""
        ...

    def stamp(self) -> int | None:
        """The time that statements are to use; None where the database has its own clock."""
        ...

    async def now(self) -> int:
        """The same clock as statements use."""
        ...

    async def close(self) -> None:
        """Finish what is under way and close every connection."""
        ...


class SqlCatalog:
    """The catalog on SQLite or PostgreSQL; `holdfast.catalog.contract.Catalog` says what each method promises."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    # -- life ---------------------------------------------------------------------------------------------------
    async def close(self) -> None:
        await self._runner.close()

    async def now(self) -> int:
        return await self._runner.now()

    async def ping(self) -> None:
        await self._runner.read(sweeping.clock(self._runner.stamp()))

    # -- tenants and buckets ------------------------------------------------------------------------------------
    async def create_tenant(self, name: str) -> Tenant:
        return await self._runner.write(
            tenancy.create_tenant(name, await self.now()), (bucket_lock(name, ""),)
        )

    async def tenants(self) -> Sequence[Tenant]:
        return await self._runner.read(tenancy.all_tenants())

    async def create_bucket(
        self, tenant: str, name: str, *, versioning: bool = False, actor: Actor = NOBODY
    ) -> Bucket:
        made = tenancy.create_bucket(
            tenant, name, versioning=versioning, created=await self.now(), actor=actor
        )
        return await self._runner.write(made, (bucket_lock(tenant, name, shared=False),))

    async def set_versioning(self, tenant: str, name: str, *, enabled: bool) -> None:
        """Keep old versions from now on, or no longer; those that are there stay."""
        change = tenancy.set_versioning(tenant, name, enabled=enabled)
        await self._runner.write(change, (bucket_lock(tenant, name, shared=False),))

    async def bucket(self, tenant: str, name: str) -> Bucket:
        return await self._runner.read(tenancy.bucket(tenant, name))

    async def buckets(self, tenant: str) -> Sequence[tuple[Bucket, Usage]]:
        return await self._runner.read(tenancy.all_buckets(tenant))

    async def delete_bucket(self, tenant: str, name: str, *, actor: Actor = NOBODY) -> None:
        removal = tenancy.delete_bucket(tenant, name, actor=actor, now=self._runner.stamp())
        await self._runner.write(removal, (bucket_lock(tenant, name, shared=False),))

    async def usage(self, tenant: str, bucket: str | None = None) -> Usage:
        return await self._runner.read(tenancy.counters(tenant, bucket))

    async def recount(self, tenant: str, bucket: str) -> Usage:
        return await self._runner.scan(tenancy.recount(tenant, bucket))

    # -- writing ------------------------------------------------------------------------------------------------
    async def begin(
        self,
        ref: ObjectRef,
        replicas: Sequence[Replica],
        *,
        lease_until: int,
        idempotency: Idempotency | None = None,
    ) -> Version | None:
        intent = writing.begin(
            ref, replicas, lease_until=lease_until, request=idempotency, now=self._runner.stamp()
        )
        try:
            if idempotency is None:
                return await self._runner.write_alone(intent)
            return await self._runner.write(intent)
        except ClashError:
            if await self._runner.read(writing.begun(replicas)):
                return None
            raise

    async def renew(self, replica_ids: Sequence[str], *, lease_until: int) -> bool:
        return await self._runner.write_alone(writing.renew(replica_ids, lease_until=lease_until))

    async def commit_put(
        self,
        version: NewVersion,
        replica_ids: Sequence[str],
        *,
        conditions: Preconditions = NO_CONDITIONS,
        idempotency: Idempotency | None = None,
        grace: int,
        actor: Actor = NOBODY,
    ) -> Version:
        ref = version.ref
        commit = writing.commit_put(
            version,
            replica_ids,
            conditions=conditions,
            request=idempotency,
            grace=grace,
            actor=actor,
            now=self._runner.stamp(),
        )
        locks = key_locks(ref)
        if idempotency is not None:
            locks = (*locks, request_lock(ref.tenant, idempotency.key))
        try:
            return await self._runner.write(commit, locks)
        except _PERHAPS_MADE as error:
            return await self._made_before(version, error)

    async def _made_before(self, version: NewVersion, error: Exception) -> Version:
        """Return what an earlier commit of the same id made; raise `error` when there was none."""
        made = await self._runner.read(writing.made_before(version))
        if made is None:
            raise error
        return made

    async def abandon(self, replica_ids: Sequence[str]) -> None:
        await self._runner.write_alone(writing.abandon(replica_ids, self._runner.stamp()))

    # -- reading ------------------------------------------------------------------------------------------------
    async def resolve(self, ref: ObjectRef, *, version_id: str | None = None) -> Located:
        return await self._runner.read(reading.resolve(ref, version_id))

    async def version(self, ref: ObjectRef, version_id: str) -> Version:
        return await self._runner.read(reading.version(ref, version_id))

    async def version_by_id(self, tenant: str, version_id: str) -> Version:
        return await self._runner.read(reading.version_by_id(tenant, version_id))

    async def list_objects(
        self,
        tenant: str,
        bucket: str,
        *,
        prefix: str = "",
        delimiter: str = "",
        marker: str = "",
        limit: int = 1000,
    ) -> ListPage:
        for text in (prefix, delimiter, marker):
            check_prefix(text)
        page = listing.list_objects(
            tenant, bucket, prefix=prefix, delimiter=delimiter, marker=marker, limit=min(limit, MAX_PAGE)
        )
        return await self._runner.scan(page)

    async def list_versions(
        self,
        tenant: str,
        bucket: str,
        *,
        prefix: str = "",
        delimiter: str = "",
        key_marker: str = "",
        version_marker: str = "",
        limit: int = 1000,
    ) -> VersionPage:
        for text in (prefix, delimiter, key_marker, version_marker):
            check_prefix(text)
        page = listing_versions.list_versions(
            tenant,
            bucket,
            prefix=prefix,
            delimiter=delimiter,
            key_marker=key_marker,
            version_marker=version_marker,
            limit=min(limit, MAX_PAGE),
        )
        return await self._runner.scan(page)

    # -- deleting -----------------------------------------------------------------------------------------------
    async def delete_object(
        self,
        ref: ObjectRef,
        *,
        version_id: str | None = None,
        marker_id: str,
        conditions: Preconditions = NO_CONDITIONS,
        grace: int,
        actor: Actor = NOBODY,
    ) -> Deleted:
        removal = deleting.delete_object(
            ref,
            version_id,
            marker_id=marker_id,
            conditions=conditions,
            grace=grace,
            actor=actor,
            now=self._runner.stamp(),
        )
        return await self._runner.write(removal, key_locks(ref))

    # -- multipart ----------------------------------------------------------------------------------------------
    async def create_upload(self, upload: Upload, *, actor: Actor = NOBODY) -> Upload:
        made = uploads.create_upload(upload, actor=actor, now=self._runner.stamp())
        return await self._runner.write(made, (bucket_lock(upload.ref.tenant, upload.ref.bucket),))

    async def upload(self, ref: ObjectRef, upload_id: str) -> Upload:
        return await self._runner.read(uploads.upload(ref, upload_id, self._runner.stamp()))

    async def list_uploads(
        self,
        tenant: str,
        bucket: str,
        *,
        prefix: str = "",
        key_marker: str = "",
        id_marker: str = "",
        limit: int = 1000,
    ) -> tuple[Sequence[Upload], bool]:
        for text in (prefix, key_marker, id_marker):
            check_prefix(text)
        page = uploads.list_uploads(
            tenant,
            bucket,
            prefix=prefix,
            key_marker=key_marker,
            id_marker=id_marker,
            limit=min(limit, MAX_PAGE),
            now=self._runner.stamp(),
        )
        return await self._runner.scan(page)

    async def commit_part(self, upload_id: str, part: Part, replica_ids: Sequence[str]) -> Part:
        commit = uploads.commit_part(upload_id, part, replica_ids, now=self._runner.stamp())
        return await self._runner.write(commit, (upload_lock(upload_id),))

    async def list_parts(self, upload_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[Part]:
        return await self._runner.scan(uploads.list_parts(upload_id, after=after, limit=limit))

    async def complete_upload(
        self,
        upload_id: str,
        version: NewVersion,
        *,
        conditions: Preconditions = NO_CONDITIONS,
        grace: int,
        actor: Actor = NOBODY,
    ) -> Version:
        complete = uploads.complete_upload(
            upload_id, version, conditions=conditions, grace=grace, actor=actor, now=self._runner.stamp()
        )
        try:
            return await self._runner.write(complete, (*key_locks(version.ref), upload_lock(upload_id)))
        except _PERHAPS_MADE as error:
            return await self._made_before(version, error)

    async def abort_upload(self, ref: ObjectRef, upload_id: str, *, actor: Actor = NOBODY) -> None:
        abort = uploads.abort_upload(ref, upload_id, actor=actor, now=self._runner.stamp())
        await self._runner.write(abort, (bucket_lock(ref.tenant, ref.bucket), upload_lock(upload_id)))

    # -- replicas and sweeping ----------------------------------------------------------------------------------
    async def suspect(self, replica_id: str) -> None:
        await self._runner.write_alone(sweeping.suspect(replica_id))

    async def expire(self, *, limit: int = 1000) -> int:
        at = await self._runner.now()
        count = 0
        for upload_id in await self._runner.read(sweeping.expired_uploads(limit, at)):
            count += await self._runner.write(
                sweeping.expire_upload(upload_id, at), (upload_lock(upload_id),)
            )
        count += await self._runner.write_alone(sweeping.expire_leases(limit, at))
        count += await self._runner.write_alone(sweeping.expire_requests(limit, at))
        await self.fold_usage()
        return count

    async def fold_usage(self, *, limit: int = 10_000) -> int:
        """Add open changes to the counters, which are exact either way; return how many. For whoever sweeps."""
        return await self._runner.write(sweeping.fold_usage(limit))

    async def doomed(self, *, limit: int = 1000) -> Sequence[DoomedReplica]:
        return await self._runner.scan(sweeping.doomed(limit, self._runner.stamp()))

    async def forget(self, replica_ids: Sequence[str]) -> None:
        await self._runner.write_alone(sweeping.forget(replica_ids))

    async def postpone(self, replica_ids: Sequence[str], *, until: int) -> None:
        await self._runner.write_alone(sweeping.postpone(replica_ids, until))

    async def replicas(
        self, *, store: str | None = None, after: str = "", limit: int = 1000
    ) -> Sequence[Replica]:
        return await self._runner.scan(sweeping.page_of_replicas(store, after, limit))

    # -- keys and audit -----------------------------------------------------------------------------------------
    async def create_key(self, key: ApiKey) -> None:
        await self._runner.write(access.create_key(key), (request_lock(key.tenant, key.id),))

    async def api_key(self, key_id: str) -> ApiKey | None:
        return await self._runner.read(access.api_key(key_id))

    async def api_keys(self, tenant: str | None = None) -> Sequence[ApiKey]:
        return await self._runner.read(access.all_keys(tenant))

    async def revoke_key(self, key_id: str) -> None:
        await self._runner.write_alone(access.revoke_key(key_id, self._runner.stamp()))

    async def audit(self, tenant: str, *, after: int = 0, limit: int = 1000) -> Sequence[AuditEntry]:
        return await self._runner.scan(access.audit_page(tenant, after, limit))
