"""`SqlCatalog`: the contract, each method one transaction handed to the runner of the database at hand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Hashable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, TypeVar

from holdfast.catalog import (
    access,
    adopting,
    auditing,
    batch_jobs,
    batches,
    cloning,
    contents,
    dating,
    deleting,
    dumping,
    executions,
    figures,
    findings,
    generations,
    job_parts,
    jobs,
    keeping,
    keys,
    lagging,
    ledger,
    lifecycle,
    listing,
    listing_versions,
    locking,
    metering,
    moments,
    moving,
    noting,
    owing,
    pinning,
    placing,
    proving,
    rates,
    reading,
    rebuilding,
    reconciling,
    restoring,
    resumable,
    schedules,
    searching,
    snapshots,
    stores,
    sweeping,
    tenancy,
    tenants,
    tiers,
    updating,
    uploads,
    upstreams,
    using,
    vanishing,
    writing,
)
from holdfast.catalog.chain import AuditHead, Chain, Line, Packed, Pruned, Sealed
from holdfast.catalog.common import ClashError
from holdfast.catalog.contents import Content
from holdfast.catalog.contract import (
    Actor,
    Adopted,
    Backlog,
    Batch,
    BatchFailure,
    Debts,
    DoomedReplica,
    Due,
    FileFacts,
    Grown,
    Idempotency,
    KeyThen,
    NewVersion,
    Owed,
    Reserve,
    Said,
    Seen,
    TierChange,
    Touch,
)
from holdfast.catalog.dispatching import PartQueue
from holdfast.catalog.job_parts import Done as JobDone
from holdfast.catalog.job_parts import NewPart
from holdfast.catalog.rates import RateAsk, RateGrant
from holdfast.catalog.rebuilding import Placed
from holdfast.catalog.transaction import (
    Freeing,
    Lock,
    Still,
    Transaction,
    audit_lock,
    bucket_lock,
    key_locks,
    request_lock,
    upload_lock,
)
from holdfast.catalog.using import Held
from holdfast.core.adopted import (
    Candidate,
    Divergence,
    HeldKey,
    Judge,
    Missed,
    Owing,
    Phase,
    Pinned,
    Stranded,
    Taken,
    Taking,
    Upstream,
)
from holdfast.core.conditions import NO_CONDITIONS, Preconditions
from holdfast.core.errors import ConflictError, NotFoundError, PreconditionFailedError
from holdfast.core.findings import (
    Condemned,
    Finding,
    FindingCounts,
    FindingState,
    Judged,
    Provable,
    Proven,
    Told,
)
from holdfast.core.jobs import Claim, ItemFailure, Job, Pace, Schedule
from holdfast.core.jobs import Part as JobPart
from holdfast.core.ledger import Daily, Entry, Holding
from holdfast.core.names import check_prefix
from holdfast.core.records import (
    Artifact,
    Connection,
    Debt,
    Execution,
    HeldPage,
    KeptKey,
    KeptMove,
    KeptRules,
    OwedGroup,
    Pin,
    Snapshot,
    Standing,
    StoreHolds,
    StoreUse,
    TenantKey,
)
from holdfast.core.retention import Keeping, LockMode
from holdfast.core.search import Search
from holdfast.core.types import (
    EMPTY,
    ApiKey,
    AuditEntry,
    Bucket,
    BucketSettings,
    Deleted,
    Digests,
    ListPage,
    Located,
    ObjectRef,
    Part,
    Quota,
    QuotaUse,
    Replica,
    Tenant,
    TenantSettings,
    TenantState,
    Upload,
    Usage,
    Version,
    VersionPage,
)

T = TypeVar("T")
NOBODY = Actor()
NO_SETTINGS = TenantSettings()
PLAIN = BucketSettings()
MAX_PAGE = 1000

#: What a commit may meet when it is asked for again, after it was made and others went on from there.
_PERHAPS_MADE = (ConflictError, NotFoundError, PreconditionFailedError)


class Runner(Protocol):
    """Runs transactions on one database; knows drivers and connections, and nothing of objects."""

    async def read(self, transaction: Transaction[T]) -> T:
        """Run a transaction that only reads, and little."""
        ...

    async def recall(self, question: Hashable, transaction: Transaction[T]) -> T:
        """As `read`, for what is asked again and again: an answer may be shared, so it is not to be changed.

        `question` names what `transaction` asks. An answer is never older than one that `read` would give.
        """
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

    def still(self) -> AbstractAsyncContextManager[Still]:
        """Give reads that all see one moment."""
        ...

    async def close(self) -> None:
        """Finish what is under way and close every connection."""
        ...


class SqlCatalog:
    """The catalog on SQLite or PostgreSQL; `holdfast.catalog.contract.Catalog` says what each method promises."""

    def __init__(self, runner: Runner, *, part_queue: PartQueue | None = None) -> None:
        self._runner = runner
        self._part_queue = part_queue

    @property
    def part_queue(self) -> PartQueue | None:
        """The queue that wakes those who work on jobs; None where there is one machine only, over SQLite."""
        return self._part_queue

    # -- life ---------------------------------------------------------------------------------------------------
    async def close(self) -> None:
        await self._runner.close()

    async def now(self) -> int:
        return await self._runner.now()

    async def ping(self) -> None:
        await self._runner.read(sweeping.clock(self._runner.stamp()))

    # -- tenants and buckets ------------------------------------------------------------------------------------
    async def create_tenant(
        self, name: str, *, settings: TenantSettings = NO_SETTINGS, actor: Actor = NOBODY
    ) -> Tenant:
        made = tenants.create_tenant(name, await self.now(), settings=settings, actor=actor)
        return await self._runner.write(made, (request_lock(name, "tenant"),))

    async def tenants(self) -> Sequence[Tenant]:
        return await self._runner.read(tenants.all_tenants())

    async def tenant_was_removed(self, name: str) -> bool:
        return await self._runner.read(tenants.was_removed(name))

    async def tenant(self, name: str) -> Tenant:
        return await self._runner.read(tenants.tenant(name))

    async def update_tenant(
        self,
        name: str,
        *,
        state: TenantState | None = None,
        change: Callable[[TenantSettings], TenantSettings] | None = None,
        actor: Actor = NOBODY,
    ) -> Tenant:
        made = tenants.update_tenant(name, state=state, change=change, actor=actor, now=self._runner.stamp())
        return await self._runner.write(made, (request_lock(name, "tenant"),))

    async def rotate_signing(self, name: str, *, actor: Actor = NOBODY) -> Tenant:
        made = tenants.rotate_signing(name, actor=actor, now=self._runner.stamp())
        return await self._runner.write(made, (request_lock(name, "tenant"),))

    async def create_bucket(
        self,
        tenant: str,
        name: str,
        *,
        versioning: bool = False,
        settings: BucketSettings = PLAIN,
        actor: Actor = NOBODY,
    ) -> Bucket:
        metering.check(settings.quota)
        if settings.quota != metering.NO_QUOTA:
            await self._meter(tenant)
        made = tenancy.create_bucket(
            tenant, name, versioning=versioning, settings=settings, created=await self.now(), actor=actor
        )
        return await self._runner.write(
            made, (bucket_lock(tenant, ""), bucket_lock(tenant, name, shared=False))
        )

    async def update_bucket(
        self,
        tenant: str,
        name: str,
        *,
        versioning: bool | None = None,
        change: Callable[[BucketSettings], BucketSettings] | None = None,
        actor: Actor = NOBODY,
    ) -> Bucket:
        before = (await self.bucket(tenant, name)).settings
        if change is not None and change(before).quota != before.quota:
            metering.check(change(before).quota)
            await self._meter(tenant)
        made = tenancy.update_bucket(
            tenant, name, versioning=versioning, change=change, actor=actor, now=self._runner.stamp()
        )
        bucket = await self._runner.write(made, (bucket_lock(tenant, name, shared=False),))
        if bucket.settings.retention_days != before.retention_days:
            await self.date_versions(tenant, name)
        return bucket

    async def bucket(self, tenant: str, name: str) -> Bucket:
        return await self._runner.read(tenancy.bucket(tenant, name))

    async def buckets(self, tenant: str) -> Sequence[tuple[Bucket, Usage]]:
        return await self._runner.read(tenancy.all_buckets(tenant))

    async def delete_bucket(self, tenant: str, name: str, *, actor: Actor = NOBODY) -> None:
        removal = tenancy.delete_bucket(tenant, name, actor=actor, now=self._runner.stamp())
        await self._runner.write(Freeing(removal), (bucket_lock(tenant, name, shared=False),))

    async def bucket_and_usage(self, tenant: str, name: str) -> tuple[Bucket, Usage]:
        return await self._runner.read(tenancy.bucket_and_usage(tenant, name))

    async def usage(self, tenant: str, bucket: str | None = None) -> Usage:
        return await self._runner.read(tenancy.counters(tenant, bucket))

    async def recount(self, tenant: str, bucket: str) -> Usage:
        return await self._runner.scan(tenancy.recount(tenant, bucket))

    # -- quotas -------------------------------------------------------------------------------------------------
    async def set_quota(
        self, tenant: str, bucket: str | None, quota: Quota, *, actor: Actor = NOBODY
    ) -> QuotaUse:
        metering.check(quota)
        if quota != metering.NO_QUOTA:
            await self._meter(tenant)
        if bucket is not None:
            await self.update_bucket(tenant, bucket, change=partial(replace, quota=quota), actor=actor)
        else:
            locks = (bucket_lock(tenant, "", shared=False), request_lock(tenant, "tenant"))
            made = metering.set_tenant_quota(tenant, quota, actor=actor, now=self._runner.stamp())
            await self._runner.write(made, locks)
        return await self.quota(tenant, bucket)

    async def _meter(self, tenant: str) -> None:
        """Meter the tenant and its buckets, as far as that was not done before."""
        if not await self._runner.read(metering.unmetered(tenant)):
            return
        left = await self._runner.write(metering.start(tenant), (bucket_lock(tenant, "", shared=False),))
        for name in left:
            await self._runner.write(metering.meter(tenant, name), (bucket_lock(tenant, name, shared=False),))

    async def quota(self, tenant: str, bucket: str | None = None) -> QuotaUse:
        metered = await self._runner.read(metering.quota(tenant, bucket))
        if metered is not None:
            return metered
        used = await self.usage(tenant, bucket)
        return QuotaUse(metering.NO_QUOTA, used.bytes + used.upload_bytes, used.versions)

    async def room(self, ref: ObjectRef) -> int | None:
        return await self._runner.read(metering.room(ref))

    async def ledger(self, tenant: str, bucket: str) -> tuple[QuotaUse | None, QuotaUse]:
        """Return the row of a bucket, and what it must be by its counters and reservations: equal when all is well."""
        return await self._runner.scan(metering.ledger(tenant, bucket))

    # -- retention ----------------------------------------------------------------------------------------------
    async def date_versions(self, tenant: str, bucket: str, *, page: int = 1000) -> None:
        text = await self._runner.read(dating.settings_now(tenant, bucket))
        if text is None:
            return
        after: str | None = ""
        while after is not None:
            dated = dating.page(tenant, bucket, after, page)
            after = await self._runner.write(dated, (bucket_lock(tenant, bucket),))
        await self._runner.write(
            dating.settled(tenant, bucket, text), (bucket_lock(tenant, bucket, shared=False),)
        )

    async def due(self, *, after: tuple[int, str] = (-1, ""), limit: int = 1000) -> Sequence[Due]:
        for tenant, bucket in await self._runner.read(dating.marked(limit)):
            await self.date_versions(tenant, bucket)
        return await self._runner.scan(dating.due(await self.now(), after, limit))

    # -- holds, locks, lifecycle rules --------------------------------------------------------------------------
    async def keeping(self, ref: ObjectRef, version_id: str | None = None) -> tuple[str, Keeping]:
        return await self._runner.read(locking.keeping(ref, version_id, self._runner.stamp()))

    async def set_hold(
        self, ref: ObjectRef, version_id: str | None, hold: bool, *, reason: str = "", actor: Actor = NOBODY
    ) -> tuple[str, Keeping]:
        now = self._runner.stamp()
        held = locking.set_hold(ref, version_id, hold, reason=reason, actor=actor, now=now)
        return await self._runner.write(held, key_locks(ref))

    async def set_lock(
        self,
        ref: ObjectRef,
        version_id: str | None,
        mode: LockMode | None,
        until: int | None,
        *,
        reason: str = "",
        actor: Actor = NOBODY,
    ) -> tuple[str, Keeping]:
        now = self._runner.stamp()
        locked = locking.set_lock(ref, version_id, mode, until, reason=reason, actor=actor, now=now)
        return await self._runner.write(locked, key_locks(ref))

    async def kept(self, tenant: str, bucket: str = "", *, at: int | None = None) -> str:
        return await self._runner.read(locking.kept(tenant, bucket, await self.now() if at is None else at))

    async def ruled_buckets(
        self, tenant: str = "", bucket: str = "", *, after: int = 0, limit: int = 100
    ) -> Sequence[tuple[Bucket, int | None]]:
        return await self._runner.read(lifecycle.ruled(tenant, bucket, after, limit))

    async def aged(self, bucket: Bucket, *, from_key: str = "", below: int = 0, limit: int = 500) -> Grown:
        return await self._runner.scan(lifecycle.page(bucket, from_key, below, limit))

    async def touch_versions(self, reads: Mapping[str, tuple[int, int]]) -> None:
        await self._runner.write(lifecycle.touch(reads))

    async def forget_reads(self, *, after: str = "", limit: int = 1000) -> str:
        return await self._runner.write(Freeing(lifecycle.forget(after, limit)))

    # -- writing ------------------------------------------------------------------------------------------------
    async def begin(
        self,
        ref: ObjectRef,
        replicas: Sequence[Replica],
        *,
        lease_until: int,
        idempotency: Idempotency | None = None,
        reserve: Reserve | None = None,
    ) -> Version | None:
        intent = writing.begin(
            ref,
            replicas,
            lease_until=lease_until,
            request=idempotency,
            reserve=reserve,
            now=self._runner.stamp(),
        )
        try:
            if idempotency is None and reserve is None:
                return await self._runner.write_alone(intent)
            locks = () if reserve is None else (bucket_lock(ref.tenant, ref.bucket),)
            return await self._runner.write(intent, locks)
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
        commit = writing.commit_put(
            version,
            replica_ids,
            conditions=conditions,
            request=idempotency,
            grace=grace,
            actor=actor,
            now=self._runner.stamp(),
        )
        return await self._commit(version, commit, idempotency)

    async def _commit(
        self,
        version: NewVersion,
        commit: Transaction[Version],
        idempotency: Idempotency | None,
        *others: Lock,
    ) -> Version:
        """Return what `commit` makes, or what an earlier try of the same id has made; `others` are held besides."""
        locks = (*key_locks(version.ref), *others)
        if idempotency is not None:
            locks = (*locks, request_lock(version.ref.tenant, idempotency.key))
        try:
            return await self._runner.write(commit, locks)
        except _PERHAPS_MADE:
            made = await self._runner.read(writing.made_before(version))
            if made is None:
                raise
            return made

    async def abandon(self, replica_ids: Sequence[str]) -> None:
        await self._runner.write(writing.abandon(replica_ids, self._runner.stamp()))

    # -- reading ------------------------------------------------------------------------------------------------
    async def resolve(
        self, ref: ObjectRef, *, version_id: str | None = None, whole: bool = False, once: bool = False
    ) -> Located:
        asked = reading.resolve(ref, version_id, whole=whole)
        if once:
            return await self._runner.read(asked)
        located = await self._runner.recall((ref, version_id, whole), asked)
        version = located.version
        if version.metadata or version.tags:  # plain dicts: each caller has its own
            own = replace(version, metadata=dict(version.metadata), tags=dict(version.tags))
            return replace(located, version=own)
        return located

    async def version(self, ref: ObjectRef, version_id: str) -> Version:
        return await self._runner.read(reading.version(ref, version_id))

    async def copies_of_segment(self, version_id: str, segment_id: str) -> Sequence[Replica]:
        found = reading.copies_of_segment(version_id, segment_id, self._runner.stamp())
        return await self._runner.read(found)

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

    # -- searching and describing -------------------------------------------------------------------------------
    async def search(
        self, tenant: str, bucket: str, wish: Search, *, after: tuple[str, str], limit: int, budget: int
    ) -> searching.Stretch:
        for text in (wish.prefix, *after):
            check_prefix(text)
        return await self._runner.scan(
            searching.search(tenant, bucket, wish, after=after, limit=limit, budget=budget)
        )

    async def update_version(self, version: Version, said: Said, *, actor: Actor = NOBODY) -> Version:
        change = updating.update_version(version, said, actor=actor, now=self._runner.stamp())
        return await self._runner.write(change, key_locks(version.ref))

    async def file_facts(self, tenant: str, version_id: str) -> FileFacts:
        return await self._runner.read(updating.file_facts(tenant, version_id))

    # -- the end of a tenant ------------------------------------------------------------------------------------
    async def delete_tenant(self, name: str, *, grace: int, actor: Actor = NOBODY) -> Tenant:
        deleting = tenants.delete_tenant(name, grace, actor=actor, now=self._runner.stamp())
        return await self._runner.write(Freeing(deleting), (request_lock(name, "tenant"),))

    async def restore_tenant(self, name: str, *, actor: Actor = NOBODY) -> Tenant:
        restored = tenants.restore_tenant(name, actor=actor, now=self._runner.stamp())
        return await self._runner.write(restored, (request_lock(name, "tenant"),))

    async def clear_tenant(self, name: str, *, limit: int = 1000) -> bool:
        return await self._runner.write(Freeing(tenants.clear(name, limit)), (request_lock(name, "tenant"),))

    async def remove_tenant(self, name: str, *, actor: Actor = NOBODY) -> bool:
        removal = tenants.remove_tenant(name, actor=actor, now=self._runner.stamp())
        locks = (bucket_lock(name, "", shared=False), request_lock(name, "tenant"))
        return await self._runner.write(Freeing(removal), locks)

    # -- executions and artifacts -------------------------------------------------------------------------------
    async def create_execution(self, execution: Execution, *, actor: Actor = NOBODY) -> Execution:
        made = executions.create_execution(execution, actor=actor, now=self._runner.stamp())
        return await self._runner.write(made, (_run_lock(execution.tenant, execution.id),))

    async def execution(self, tenant: str, execution_id: str) -> Execution:
        return await self._runner.read(executions.execution(tenant, execution_id))

    async def executions(
        self, tenant: str, *, before: int = 1 << 62, after: str = "", limit: int = 100
    ) -> Sequence[Execution]:
        return await self._runner.scan(executions.page(tenant, before, after, min(limit, MAX_PAGE)))

    async def update_execution(self, execution: Execution, *, actor: Actor = NOBODY) -> Execution:
        change = executions.update_execution(execution, actor=actor, now=self._runner.stamp())
        return await self._runner.write(change, (_run_lock(execution.tenant, execution.id),))

    async def remove_execution(self, tenant: str, execution_id: str, *, actor: Actor = NOBODY) -> None:
        removal = executions.remove_execution(tenant, execution_id, actor=actor, now=self._runner.stamp())
        await self._runner.write(Freeing(removal), (_run_lock(tenant, execution_id),))

    async def add_artifact(self, artifact: Artifact, *, actor: Actor = NOBODY) -> Artifact:
        made = executions.add_artifact(artifact, actor=actor, now=self._runner.stamp())
        return await self._runner.write(made, (_run_lock(artifact.tenant, artifact.execution_id),))

    async def artifact(self, tenant: str, execution_id: str, artifact_id: str) -> Artifact:
        return await self._runner.read(executions.artifact(tenant, execution_id, artifact_id))

    async def artifacts(
        self, tenant: str, execution_id: str, *, after: str = "", limit: int = 1000
    ) -> Sequence[Artifact]:
        page = executions.artifacts_of(tenant, execution_id, after, min(limit, MAX_PAGE))
        return await self._runner.scan(page)

    async def remove_artifact(
        self, tenant: str, execution_id: str, artifact_id: str, *, actor: Actor = NOBODY
    ) -> bool:
        now = self._runner.stamp()
        removal = executions.remove_artifact(tenant, execution_id, artifact_id, actor=actor, now=now)
        return await self._runner.write(Freeing(removal), (_run_lock(tenant, execution_id),))

    async def touch_artifacts(self, touches: Sequence[Touch]) -> None:
        await self._runner.write(executions.touch(touches))

    async def forget_artifacts(self, *, limit: int = 1000) -> int:
        return await self._runner.write(Freeing(executions.forget_overdue(await self.now(), limit)))

    # -- batches ------------------------------------------------------------------------------------------------
    async def create_batch(self, batch: Batch, *, lease: int) -> Batch:
        made = batches.create(batch, lease=lease, now=self._runner.stamp())
        return await self._runner.write(Freeing(made), (request_lock(batch.tenant, f"batch {batch.id}"),))

    async def batch(self, tenant: str, batch_id: str) -> Batch:
        return await self._runner.read(batches.one(tenant, batch_id, self._runner.stamp()))

    async def batches(self, tenant: str, *, before: int, limit: int = 100) -> Sequence[Batch]:
        page = batches.page(tenant, before=before, limit=limit, now=self._runner.stamp())
        return await self._runner.scan(page)

    async def progress_batch(self, batch: Batch, *, lease: int) -> bool:
        return await self._runner.write_alone(
            Freeing(batches.progress(batch, lease=lease, now=self._runner.stamp()))
        )

    async def finish_batch(self, batch: Batch) -> None:
        await self._runner.write_alone(Freeing(batches.finish(batch, self._runner.stamp())))

    async def cancel_batch(
        self, tenant: str, batch_id: str, *, why: BatchFailure | None = None, actor: Actor = NOBODY
    ) -> None:
        stopped = batches.cancel(tenant, batch_id, self._runner.stamp(), why, actor)
        await self._runner.write(Freeing(stopped), (request_lock(tenant, f"batch {batch_id}"),))

    async def begin_batch(
        self,
        batch: Batch,
        job: Job,
        *,
        begun: str,
        items: Sequence[str],
        lease: int,
        actor: Actor = NOBODY,
    ) -> Batch:
        now = self._runner.stamp()
        create = batches.create(batch, lease=lease, now=now)
        made = batch_jobs.begin(create, job, begun, items, actor=actor, now=now)
        return await self._runner.write(made, (request_lock(batch.tenant, f"batch {batch.id}"),))

    async def batch_begun(self, tenant: str, batch_id: str) -> str:
        return await self._runner.read(batch_jobs.begun(tenant, batch_id))

    async def batch_items(self, tenant: str, job_id: str, number: int) -> str:
        return await self._runner.read(batch_jobs.items(tenant, job_id, number))

    async def drop_batch_items(self, tenant: str, job_id: str) -> None:
        await self._runner.write_alone(Freeing(batch_jobs.drop_items(tenant, job_id)))

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
        if_due: bool = False,
        if_as: Seen | None = None,
        there: tuple[str, int] | None = None,
    ) -> Deleted:
        removal = deleting.delete_object(
            ref,
            version_id,
            marker_id=marker_id,
            conditions=conditions,
            grace=grace,
            actor=actor,
            if_due=if_due,
            if_as=if_as,
            there=there,
            now=self._runner.stamp(),
        )
        return await self._runner.write(Freeing(removal), key_locks(ref))

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

    async def commit_part(self, upload: Upload, part: Part, replica_ids: Sequence[str]) -> Part:
        commit = uploads.commit_part(upload.id, part, replica_ids, now=self._runner.stamp())
        return await self._runner.write(commit, _part_locks(upload))

    async def list_parts(self, upload_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[Part]:
        return await self._runner.scan(uploads.list_parts(upload_id, after=after, limit=limit))

    async def complete_upload(
        self,
        upload_id: str,
        version: NewVersion,
        *,
        conditions: Preconditions = NO_CONDITIONS,
        idempotency: Idempotency | None = None,
        grace: int,
        actor: Actor = NOBODY,
    ) -> Version:
        complete = uploads.complete_upload(
            upload_id,
            version,
            conditions=conditions,
            request=idempotency,
            grace=grace,
            actor=actor,
            now=self._runner.stamp(),
        )
        return await self._commit(version, complete, idempotency, upload_lock(upload_id))

    async def abort_upload(self, ref: ObjectRef, upload_id: str, *, actor: Actor = NOBODY) -> None:
        abort = uploads.abort_upload(ref, upload_id, actor=actor, now=self._runner.stamp())
        await self._runner.write(
            Freeing(abort), (bucket_lock(ref.tenant, ref.bucket), upload_lock(upload_id))
        )

    # -- uploads that grow at their end -------------------------------------------------------------------------
    async def upload_by_id(self, tenant: str, upload_id: str) -> Upload:
        return await self._runner.read(resumable.upload_by_id(tenant, upload_id, self._runner.stamp()))

    async def last_part(self, upload_id: str) -> Part | None:
        return await self._runner.read(resumable.last_part(upload_id))

    async def part_copies(self, upload: Upload, segment_id: str) -> Sequence[Replica]:
        return await self._runner.read(resumable.part_copies(upload, segment_id))

    async def append_part(
        self,
        upload: Upload,
        part: Part,
        replica_ids: Sequence[str],
        *,
        offset: int,
        instead_of: str | None = None,
        most: int,
    ) -> Part:
        append = resumable.append_part(
            upload.id,
            part,
            replica_ids,
            offset=offset,
            instead_of=instead_of,
            most=most,
            now=self._runner.stamp(),
        )
        return await self._runner.write(append, _part_locks(upload))

    async def set_upload_length(self, upload: Upload, length: int) -> None:
        change = resumable.set_length(upload.id, length, self._runner.stamp())
        await self._runner.write(change, _part_locks(upload))

    async def answered(self, tenant: str, idempotency: Idempotency) -> Version | None:
        return await self._runner.read(resumable.earlier_answer(tenant, idempotency, self._runner.stamp()))

    async def concatenate(
        self,
        version: NewVersion,
        partials: Sequence[Upload],
        *,
        conditions: Preconditions = NO_CONDITIONS,
        idempotency: Idempotency,
        grace: int,
        actor: Actor = NOBODY,
    ) -> Version:
        joint = resumable.concatenate(
            version,
            partials,
            conditions=conditions,
            request=idempotency,
            grace=grace,
            actor=actor,
            now=self._runner.stamp(),
        )
        each = [upload_lock(name) for name in sorted(partial.id for partial in partials)]
        return await self._commit(version, joint, idempotency, *each)

    # -- replicas and sweeping ----------------------------------------------------------------------------------
    async def suspect(self, replica_id: str) -> None:
        await self._runner.write_alone(sweeping.suspect(replica_id))

    async def expire(self, *, limit: int = 1000) -> int:
        at = await self._runner.now()
        count = 0
        for upload_id, tenant, bucket in await self._runner.read(sweeping.expired_uploads(limit, at)):
            locks = (bucket_lock(tenant, bucket), upload_lock(upload_id))
            count += await self._runner.write(Freeing(sweeping.expire_upload(upload_id, at)), locks)
        count += await self._runner.write(Freeing(sweeping.expire_leases(limit, at)))
        count += await self._runner.write_alone(Freeing(sweeping.expire_requests(limit, at)))
        await self._runner.write_alone(Freeing(batches.expire(at)))
        await self.forget_tokens()
        await self.forget_rates()
        await self.fold_usage()
        return count

    async def fold_usage(self, *, limit: int = 10_000) -> int:
        """Add open changes to the counters, which are exact either way; return how many. For whoever sweeps."""
        return await self._runner.write(Freeing(sweeping.fold_usage(limit)))

    async def doomed(self, *, limit: int = 1000) -> Sequence[DoomedReplica]:
        return await self._runner.scan(sweeping.doomed(limit, self._runner.stamp()))

    async def forget(self, replica_ids: Sequence[str]) -> None:
        await self._runner.write_alone(Freeing(sweeping.forget(replica_ids)))

    async def postpone(self, replica_ids: Sequence[str], *, until: int) -> None:
        await self._runner.write_alone(Freeing(sweeping.postpone(replica_ids, until)))

    async def replicas(
        self, *, store: str | None = None, after: str = "", limit: int = 1000
    ) -> Sequence[Replica]:
        return await self._runner.scan(sweeping.page_of_replicas(store, after, limit))

    # -- placement ----------------------------------------------------------------------------------------------
    async def generation(self, name: str) -> int:
        return await self._runner.read(generations.generation(name))

    async def rules(self) -> KeptRules:
        return await self._runner.read(placing.all_rules())

    async def change_rules(
        self,
        change: Callable[[KeptRules], Sequence[tuple[str, str]]],
        *,
        expected: int | None = None,
        actor: Actor = NOBODY,
    ) -> KeptRules:
        changed = placing.change_rules(change, expected=expected, actor=actor, now=self._runner.stamp())
        return await self._runner.write(changed, (request_lock("", "rules"),))

    async def held_versions(
        self,
        *,
        after: tuple[int, str, int] = (-1, "", 0),
        until: tuple[int, str, int] = (1 << 62, "", 0),
        limit: int = MAX_PAGE,
    ) -> HeldPage:
        return await self._runner.scan(placing.held(after, limit, until))

    async def key_after(self, bucket_id: int, key: str, *, skip: int = 0) -> str:
        return await self._runner.scan(placing.key_after(bucket_id, key, skip))

    # -- moves and tiers ----------------------------------------------------------------------------------------
    async def moves(self) -> tuple[int, Sequence[KeptMove]]:
        return await self._runner.read(moving.all_moves())

    async def change_moves(
        self, change: Callable[[tuple[KeptMove, ...]], Sequence[KeptMove]], *, actor: Actor = NOBODY
    ) -> tuple[int, Sequence[KeptMove]]:
        changed = moving.change_moves(change, actor=actor, now=self._runner.stamp())
        return await self._runner.write(changed, (request_lock("", "moves"), stores.LOCK))

    async def store_holds(self, store: str) -> StoreHolds:
        return await self._runner.scan(moving.holds(store))

    async def tiered(self, store: str) -> bool:
        return await self._runner.read(moving.tiered(store))

    async def set_tiers(
        self, changes: Sequence[TierChange], *, reason: str = "tier", later: int = 0, actor: Actor = NOBODY
    ) -> Sequence[str]:
        changed = tiers.set_tiers(changes, reason=reason, later=later, actor=actor, now=self._runner.stamp())
        return await self._runner.write(changed)

    async def end_recalls(self, *, limit: int = 1000, actor: Actor = NOBODY) -> int:
        return await self._runner.write(tiers.end_recalls(limit, actor=actor, now=self._runner.stamp()))

    # -- what drivers remember ----------------------------------------------------------------------------------
    async def store_note(self, store: str, name: str) -> bytes | None:
        return await self._runner.read(noting.note(store, name))

    async def swap_store_note(self, store: str, name: str, old: bytes | None, new: bytes | None) -> bool:
        swap = noting.swap_note(store, name, old, new)
        return await self._runner.write(swap, (noting.lock_of(store, name),))

    async def store_notes(
        self, store: str, *, prefix: str = "", after: str = "", limit: int = noting.PAGE
    ) -> Sequence[tuple[str, bytes]]:
        return await self._runner.scan(noting.notes(store, prefix, after, limit))

    # -- backups ------------------------------------------------------------------------------------------------
    @asynccontextmanager
    async def at_one_moment(self) -> AsyncIterator[dumping.Pages]:
        async with self._runner.still() as read:
            yield dumping.Pages(read, await read(dumping.moment(self._runner.stamp())))

    async def pin(self, id: str, *, lease: int, secret: str = "") -> Pin:
        made = pinning.pin(id, lease=lease, secret=secret, now=self._runner.stamp())
        return await self._runner.write(made)

    async def renew_pin(self, id: str, *, lease: int) -> Pin | None:
        return await self._runner.write(pinning.renew_pin(id, lease=lease, now=self._runner.stamp()))

    async def unpin(self, id: str) -> None:
        await self._runner.write(Freeing(pinning.unpin(id)))

    async def copies_of(self, version_ids: Sequence[str]) -> Sequence[Replica]:
        return await self._runner.scan(pinning.copies_of(version_ids))

    async def standing(self, ref: ObjectRef, version_id: str, seq: int) -> Standing:
        return await self._runner.read(restoring.standing(ref, version_id, seq, self._runner.stamp()))

    async def restore_version(
        self,
        ref: ObjectRef,
        row: Mapping[str, Any],
        replica_ids: Sequence[str],
        *,
        over: str,
        on_top: bool,
        grace: int,
        actor: Actor = NOBODY,
    ) -> bool:
        made = restoring.restore_version(
            ref,
            row,
            replica_ids,
            over=over,
            on_top=on_top,
            grace=grace,
            actor=actor,
            now=self._runner.stamp(),
        )
        return await self._runner.write(made, key_locks(ref))

    async def restore_row(self, name: str, row: Mapping[str, Any]) -> bool:
        locks: tuple[Lock, ...] = (request_lock(str(row.get("tenant", "")), f"restore {name}"),)
        if name == "tenants":
            locks = (request_lock(row["name"], "tenant"),)
        elif name == "buckets":
            locks = (bucket_lock(row["tenant"], ""), bucket_lock(row["tenant"], row["name"], shared=False))
        elif name == "snapshots":
            locks = (bucket_lock(row["tenant"], row["bucket"], shared=False),)
        return await self._runner.write(restoring.restore_row(name, row, self._runner.stamp()), locks)

    async def note_change(
        self, tenant: str, action: str, detail: Mapping[str, str], *, actor: Actor = NOBODY
    ) -> None:
        await self._runner.write(restoring.note_change(tenant, action, detail, actor, self._runner.stamp()))

    # -- keys of encrypted blobs ----------------------------------------------------------------------------------
    async def tenant_keys(self, tenant: str | None = None) -> Sequence[TenantKey]:
        return await self._runner.read(keys.tenant_keys(tenant))

    async def add_tenant_key(self, key: TenantKey, *, actor: Actor = NOBODY) -> TenantKey:
        made = keys.add_tenant_key(key, actor=actor, now=self._runner.stamp())
        return await self._runner.write(made, (keys.lock_of(key.tenant, shared=False),))

    async def restore_tenant_keys(self, found: Sequence[TenantKey], *, actor: Actor = NOBODY) -> int:
        restored = keys.restore_tenant_keys(found, actor=actor, now=self._runner.stamp())
        tenants_of = sorted({key.tenant for key in found})
        return await self._runner.write(
            restored, tuple(keys.lock_of(name, shared=False) for name in tenants_of)
        )

    async def rewrap_tenant_key(self, old: TenantKey, new: TenantKey, *, actor: Actor = NOBODY) -> bool:
        rewrapped = keys.rewrap_tenant_key(old, new, actor=actor, now=self._runner.stamp())
        return await self._runner.write(rewrapped, (keys.lock_of(old.tenant, shared=False),))

    async def destroy_tenant_keys(
        self, tenant: str, generations: Sequence[int] | None = None, *, actor: Actor = NOBODY
    ) -> int:
        destroyed = keys.destroy_tenant_keys(tenant, generations, actor=actor, now=self._runner.stamp())
        return await self._runner.write(Freeing(destroyed), (keys.lock_of(tenant, shared=False),))

    async def add_blob_key(self, key: KeptKey) -> bool:
        return await self._runner.write(keys.add_blob_key(key), (keys.lock_of(key.tenant),))

    async def blob_key(self, store: str, blob: str) -> KeptKey | None:
        return await self._runner.read(keys.blob_key(store, blob))

    async def drop_blob_key(self, store: str, blob: str) -> None:
        await self._runner.write_alone(keys.drop_blob_key(store, blob))

    async def drop_blob_keys(self, tenant: str, *, limit: int = 1000) -> bool:
        return await self._runner.write(Freeing(keys.drop_blob_keys(tenant, limit)))

    async def blob_keys(
        self, tenant: str, *, below: int, after: tuple[str, str] = ("", ""), limit: int = 500
    ) -> Sequence[KeptKey]:
        return await self._runner.scan(keys.blob_keys(tenant, below, after, limit))

    async def rewrap_blob_keys(self, changes: Sequence[tuple[KeptKey, KeptKey]]) -> bool:
        if not changes:
            return True
        return await self._runner.write(keys.rewrap_blob_keys(changes), (keys.lock_of(changes[0][0].tenant),))

    async def count_blob_keys(self) -> Mapping[tuple[str, int], int]:
        return await self._runner.scan(keys.count_blob_keys())

    # -- bringing versions where they belong --------------------------------------------------------------------
    async def adopt(
        self,
        ref: ObjectRef,
        version_id: str,
        replica_ids: Sequence[str],
        *,
        wanted: Sequence[str] = (),
        sealed: Sequence[str] = (),
        grace: int,
        actor: Actor = NOBODY,
    ) -> Adopted:
        adoption = reconciling.adopt(
            ref,
            version_id,
            replica_ids,
            wanted,
            sealed=sealed,
            grace=grace,
            actor=actor,
            now=self._runner.stamp(),
        )
        return await self._runner.write(adoption, key_locks(ref))

    async def debts(
        self, *, tenant: str = "", bucket: str = "", after: str = "", limit: int = 1000
    ) -> Sequence[Debt]:
        return await self._runner.scan(owing.page(tenant, bucket, after, limit))

    async def owe(self, version_id: str, owed: Owed, *, later: int, trouble: str) -> None:
        await self._runner.write_alone(owing.owe(version_id, owed, later, trouble, self._runner.stamp()))

    async def take_debts(self, *, limit: int, lease: int) -> Sequence[Debt]:
        return await self._runner.write(owing.take(limit, lease, self._runner.stamp()))

    async def postpone_debt(self, version_id: str, *, until: int, trouble: str) -> None:
        await self._runner.write_alone(owing.postpone(version_id, until, trouble))

    async def hurry_debts(self, *, store: str = "") -> None:
        await self._runner.write_alone(owing.hurry(await self.now(), repr(store) if store else ""))

    async def debt_counts(self) -> Mapping[str, Debts]:
        return await self._runner.scan(owing.counts())

    async def owed_groups(self) -> Sequence[OwedGroup]:
        return await self._runner.scan(lagging.groups())

    async def forget_debts(self, *, limit: int = 1000) -> int:
        return await self._runner.write_alone(Freeing(owing.forget(limit)))

    # -- proving copies -----------------------------------------------------------------------------------------
    async def never_proved(
        self, store: str, *, after: tuple[str, str] = ("", ""), limit: int = MAX_PAGE
    ) -> Sequence[Provable]:
        return await self._runner.scan(proving.never(store, after, limit))

    async def proved_before(
        self, store: str, until: int, *, after: tuple[int, str] = (-1, ""), limit: int = MAX_PAGE
    ) -> Sequence[Provable]:
        return await self._runner.scan(proving.longest_ago(store, until, after, limit))

    async def unproved_in_bucket(
        self,
        bucket_id: int,
        until: int,
        *,
        store: str = "",
        after: tuple[str, int, str] = ("", -1, ""),
        limit: int = MAX_PAGE,
    ) -> Sequence[tuple[Provable, int]]:
        return await self._runner.scan(proving.in_bucket(bucket_id, store, until, after, limit))

    async def copies_in_order(
        self, store: str, *, after: tuple[str, str] = ("", ""), limit: int = MAX_PAGE
    ) -> Sequence[Replica]:
        return await self._runner.scan(proving.in_order(store, after, limit))

    async def copies_of_blobs(self, store: str, blobs: Sequence[str]) -> Sequence[Replica]:
        return await self._runner.read(proving.of_blobs(store, blobs))

    async def due_of_blobs(self, store: str, blobs: Sequence[str]) -> Sequence[Provable]:
        return await self._runner.read(proving.due_of_blobs(store, blobs))

    async def count_copies(self, store: str) -> tuple[int, int]:
        return await self._runner.scan(proving.count(store))

    async def mark_proved(self, replica_ids: Sequence[str], *, at: int) -> None:
        await self._runner.write(proving.proved(replica_ids, at))

    async def condemn(self, replica_id: str) -> Condemned:
        return await self._runner.write(proving.condemn(replica_id, now=self._runner.stamp()))

    async def learn_digests(
        self, version_id: str, segment_id: str, digests: Digests, chunk_size: int, chunk_crcs: bytes
    ) -> None:
        await self._runner.write(proving.learn(version_id, segment_id, digests, chunk_size, chunk_crcs))

    async def proven(self, *, since: int) -> Sequence[Proven]:
        return await self._runner.scan(proving.proven(since))

    async def note_findings(self, found: Sequence[Finding], *, run: str, at: int) -> None:
        if found:
            await self._runner.write(findings.note(found, run, at))

    async def judge_findings(
        self,
        store: str,
        run: str,
        *,
        kinds: Sequence[str],
        began: int,
        gap: int,
        hold: int,
        quarantines: bool,
    ) -> Judged:
        judged = findings.judge(
            store,
            run,
            kinds=kinds,
            began=began,
            gap=gap,
            hold=hold,
            quarantines=quarantines,
            now=self._runner.stamp(),
        )
        return await self._runner.write(judged)

    async def count_findings(self, store: str, run: str) -> None:
        await self._runner.write(findings.count_in(store, run))

    async def findings_over(
        self, store: str, run: str, *, after: str = "", limit: int = MAX_PAGE
    ) -> Sequence[Finding]:
        return await self._runner.read(findings.over(store, run, after, limit, self._runner.stamp()))

    async def bad_findings(
        self, store: str, run: str, *, after: str = "", limit: int = MAX_PAGE
    ) -> Sequence[Finding]:
        return await self._runner.read(findings.bad(store, run, after, limit))

    async def resolve_findings(self, store: str, blobs: Sequence[str], *, kinds: Sequence[str]) -> None:
        await self._runner.write(findings.resolve(store, blobs, kinds))

    async def findings(
        self,
        *,
        store: str = "",
        kind: str = "",
        state: str = "",
        after: tuple[str, str, str] = ("", "", ""),
        limit: int = MAX_PAGE,
    ) -> Sequence[Finding]:
        return await self._runner.read(findings.page(store, kind, state, after, limit))

    async def finding(self, store: str, blob: str, kind: str) -> Finding:
        return await self._runner.read(findings.one(store, blob, kind))

    async def change_finding(
        self, finding: Finding, state: FindingState, *, hold: int | None = None, actor: Actor = NOBODY
    ) -> Finding:
        changed = findings.change(finding, state, hold, actor=actor, now=self._runner.stamp())
        return await self._runner.write(changed)

    async def remove_finding(
        self, finding: Finding, row_id: str, *, names: Sequence[str] = (), actor: Actor = NOBODY
    ) -> bool:
        removal = findings.remove(finding, row_id, names, actor=actor, now=self._runner.stamp())
        return await self._runner.write(removal)

    async def gather_told(self, run: str, found: Sequence[Told]) -> None:
        if found:
            await self._runner.write(rebuilding.gather(run, found))

    async def told_blobs(
        self, run: str, *, after: tuple[str, str, str, str] = ("", "", "", ""), limit: int = MAX_PAGE
    ) -> Sequence[Told]:
        return await self._runner.scan(rebuilding.page(run, after, limit))

    async def clear_told(self, run: str) -> bool:
        return await self._runner.write(rebuilding.clear(run))

    async def place_version(
        self,
        version: NewVersion,
        created: int,
        copies: Sequence[Replica],
        *,
        grace: int,
        actor: Actor = NOBODY,
    ) -> Placed:
        placed = rebuilding.place(
            version, created, copies, grace=grace, actor=actor, now=self._runner.stamp()
        )
        return await self._runner.write(placed, key_locks(version.ref))

    async def finding_counts(self) -> FindingCounts:
        return await self._runner.read(findings.counts())

    # -- contents in the catalog --------------------------------------------------------------------------------
    async def commit_inline(
        self,
        version: NewVersion,
        replica: Replica,
        data: bytes,
        *,
        conditions: Preconditions = NO_CONDITIONS,
        idempotency: Idempotency | None = None,
        grace: int,
        actor: Actor = NOBODY,
    ) -> Version:
        commit = contents.commit(
            version,
            replica,
            data,
            conditions=conditions,
            request=idempotency,
            grace=grace,
            actor=actor,
            now=self._runner.stamp(),
        )
        return await self._commit(version, commit, idempotency)

    async def content_put(self, blob: str, data: bytes, *, if_absent: bool = False) -> int:
        created = await self.now()
        kept = contents.put(blob, data, if_absent=if_absent, created=created)
        await self._runner.write(kept, (request_lock("content", blob),))
        return created

    async def content_get(self, blob: str) -> Content:
        return await self._runner.read(contents.get(blob))

    async def content_info(self, blob: str) -> Content:
        return await self._runner.read(contents.info(blob))

    async def content_delete(self, blob: str) -> None:
        await self._runner.write_alone(Freeing(contents.delete(blob)))

    async def content_list(
        self, prefix: str = "", *, after: str = "", limit: int = 1000
    ) -> Sequence[Content]:
        return await self._runner.scan(contents.names(prefix, after, limit))

    # -- rates --------------------------------------------------------------------------------------------------
    async def lease_rate(self, key: str, ask: RateAsk) -> RateGrant:
        return await self._runner.write_alone(rates.lease(key, ask, self._runner.stamp()))

    async def forget_rates(self, *, limit: int = 10_000) -> int:
        before = await self.now() - 60_000_000
        return await self._runner.write_alone(Freeing(rates.forget(limit, before)))

    # -- figures ------------------------------------------------------------------------------------------------
    async def usages(self) -> Sequence[tuple[str, str, Usage]]:
        return await self._runner.scan(figures.usages())

    async def quota_uses(self) -> Sequence[tuple[str, str, QuotaUse]]:
        return await self._runner.scan(figures.quota_uses())

    async def backlog(self) -> Backlog:
        return await self._runner.scan(figures.backlog(self._runner.stamp()))

    # -- use of stores ------------------------------------------------------------------------------------------
    async def measure_stores(self, after: str = "") -> tuple[Sequence[Held], str | None]:
        return await self._runner.scan(using.step(after, using.STEP))

    async def keep_store_uses(self, held: Sequence[tuple[str, int, int, int]], *, measured: int) -> None:
        kept = using.keep([Held(*row) for row in held], measured)
        await self._runner.write(Freeing(kept), (request_lock("", "store_usage"),))

    async def add_to_ledger(self, entries: Sequence[Entry]) -> None:
        await self._runner.write(ledger.add(entries, await self.now()))

    async def store_days(self, since: int, until: int) -> tuple[Sequence[Daily], Sequence[Holding]]:
        return await self._runner.scan(ledger.days(since, until))

    async def store_uses(self) -> tuple[int | None, Sequence[StoreUse]]:
        return await self._runner.scan(using.kept())

    # -- stores -------------------------------------------------------------------------------------------------
    async def stores(self) -> tuple[int, Sequence[Connection]]:
        return await self._runner.read(stores.all_stores())

    async def store(self, name: str) -> Connection:
        return await self._runner.read(stores.store(name))

    async def create_store(self, connection: Connection, *, actor: Actor = NOBODY) -> Connection:
        return await self._runner.write(stores.create_store(connection, actor=actor), (stores.LOCK,))

    async def update_store(
        self,
        name: str,
        change: Callable[[Connection], Connection],
        *,
        action: str = "update-store",
        detail: Mapping[str, str] = EMPTY,
        actor: Actor = NOBODY,
    ) -> Connection:
        made = stores.update_store(
            name, change, action=action, detail=detail, actor=actor, now=self._runner.stamp()
        )
        return await self._runner.write(made, (stores.LOCK,))

    async def check_store_unused(self, name: str) -> None:
        await self._runner.scan(stores.check_store_unused(name))

    async def retire_store(self, name: str, *, actor: Actor = NOBODY) -> None:
        removal = stores.retire_store(name, actor=actor, now=self._runner.stamp())
        await self._runner.write(Freeing(removal), (request_lock("", "rules"), stores.LOCK))

    # -- secrets ------------------------------------------------------------------------------------------------
    async def secret(self, name: str, fresh: bytes) -> bytes:
        kept = keeping.secret(name, fresh, await self.now())
        return await self._runner.write(kept, (request_lock("", f"secret {name}"),))

    # -- keys ---------------------------------------------------------------------------------------------------
    async def create_key(self, key: ApiKey, *, actor: Actor = NOBODY) -> None:
        await self._runner.write(access.create_key(key, actor=actor), (request_lock("key", key.id),))

    async def api_key(self, key_id: str) -> ApiKey | None:
        return await self._runner.read(access.api_key(key_id))

    async def api_keys(self, tenant: str | None = None) -> Sequence[ApiKey]:
        return await self._runner.read(access.all_keys(tenant))

    async def revoke_key(self, key_id: str, *, tenant: str | None = None, actor: Actor = NOBODY) -> ApiKey:
        revoked = access.revoke_key(key_id, tenant, actor=actor, now=self._runner.stamp())
        return await self._runner.write(Freeing(revoked), (request_lock("key", key_id),))

    async def revoke_token(
        self,
        token_id: str,
        *,
        tenant: str,
        expires: int,
        action: str = "revoke-token",
        actor: Actor = NOBODY,
    ) -> None:
        now = self._runner.stamp()
        revoked = access.revoke_token(token_id, tenant, expires, action=action, actor=actor, now=now)
        await self._runner.write(Freeing(revoked), (request_lock("token", token_id),))

    async def note(
        self, tenant: str, action: str, detail: Mapping[str, str], *, actor: Actor = NOBODY
    ) -> None:
        noted = access.note(tenant, action, detail, actor=actor, now=self._runner.stamp())
        await self._runner.write(noted)

    async def token_revoked(self, token_id: str) -> bool:
        return await self._runner.read(access.token_revoked(token_id))

    async def forget_tokens(self) -> None:
        await self._runner.write_alone(Freeing(access.forget_tokens(self._runner.stamp())))

    # -- audit --------------------------------------------------------------------------------------------------
    async def audit(
        self, tenant: str, *, after: int = 0, limit: int = 1000, since: int = 0, until: int = 1 << 62
    ) -> Sequence[AuditEntry]:
        return await self._runner.scan(auditing.page(tenant, after, limit, since, until))

    async def audit_open_tenants(self) -> Sequence[str]:
        return await self._runner.read(auditing.open_tenants())

    async def audit_open(self, tenant: str, *, limit: int) -> tuple[Sequence[int], Sequence[Line]]:
        return await self._runner.scan(auditing.open_lines(tenant, limit))

    async def audit_tenants(self) -> Sequence[str]:
        return await self._runner.scan(auditing.heads())

    async def audit_mark(self, tenant: str) -> bytes | None:
        return await self._runner.read(auditing.mark(tenant))

    async def audit_head(self, tenant: str) -> AuditHead | None:
        return await self._runner.read(auditing.head(tenant))

    async def audit_segments(self, tenant: str, *, after: int, limit: int) -> Sequence[Sealed]:
        return await self._runner.scan(auditing.segments(tenant, after, limit))

    async def seal_audit(
        self, tenant: str, chain: Chain, packed: Sequence[Packed], *, taken: Sequence[int] = ()
    ) -> AuditHead:
        sealing = auditing.append(tenant, chain, packed, taken, self._runner.stamp())
        return await self._runner.write(sealing, (audit_lock(tenant),))

    async def prune_audit(self, tenant: str, chain: Chain, *, before: int, actor: Actor = NOBODY) -> Pruned:
        pruning = auditing.prune(tenant, chain, before, actor, self._runner.stamp())
        return await self._runner.write(Freeing(pruning), (audit_lock(tenant),))

    async def restart_audit(self, tenant: str, chain: Chain, *, actor: Actor = NOBODY) -> Pruned:
        restart = auditing.restart(tenant, chain, actor, self._runner.stamp())
        return await self._runner.write(restart, (audit_lock(tenant),))

    # -- jobs ---------------------------------------------------------------------------------------------------
    async def create_job(self, job: Job, *, actor: Actor = NOBODY) -> Job:
        made = jobs.create(job, actor=actor, now=self._runner.stamp())
        return await self._runner.write(made, (jobs.job_lock(job.id),))

    async def job(self, job_id: str) -> Job:
        return await self._runner.read(jobs.one(job_id))

    async def jobs(
        self,
        tenant: str | None = None,
        *,
        state: str = "",
        kind: str = "",
        before: str = "",
        limit: int = MAX_PAGE,
    ) -> Sequence[Job]:
        return await self._runner.scan(jobs.page(tenant, state, kind, before, limit))

    async def job_parts(self, job_id: str) -> Sequence[JobPart]:
        return await self._runner.read(job_parts.parts(job_id))

    async def job_failures(
        self, job_id: str, *, after: int = 0, limit: int = MAX_PAGE
    ) -> Sequence[ItemFailure]:
        return await self._runner.scan(jobs.failures(job_id, after, limit))

    async def job_states(self) -> Mapping[tuple[str, str], int]:
        return await self._runner.scan(jobs.states())

    async def pause_job(self, job_id: str, *, actor: Actor = NOBODY) -> Job:
        paused = jobs.pause(job_id, actor=actor, now=self._runner.stamp())
        return await self._runner.write(paused, (jobs.job_lock(job_id),))

    async def resume_job(self, job_id: str, *, actor: Actor = NOBODY) -> Job:
        resumed = jobs.resume(job_id, actor=actor, now=self._runner.stamp())
        return await self._runner.write(resumed, (jobs.job_lock(job_id),))

    async def cancel_job(self, job_id: str, *, actor: Actor = NOBODY) -> Job:
        cancelled = jobs.cancel(job_id, actor=actor, now=self._runner.stamp())
        return await self._runner.write(cancelled, (jobs.job_lock(job_id),))

    async def set_job_pace(self, job_id: str, pace: Pace, *, actor: Actor = NOBODY) -> Job:
        changed = jobs.set_pace(job_id, pace, actor=actor, now=self._runner.stamp())
        return await self._runner.write(changed, (jobs.job_lock(job_id),))

    async def forget_jobs(self, *, limit: int = 10) -> int:
        forgotten = jobs.forget(limit, await self.now())
        return await self._runner.write(Freeing(forgotten))

    async def take_job_work(
        self, worker: str, kinds: Sequence[str], *, lease: int, job_id: str = "", number: int = -1
    ) -> Claim | None:
        now = self._runner.stamp()
        taken = job_parts.take(worker, kinds, lease, job_id=job_id, number=number, now=now)
        return await self._runner.write(taken)

    async def renew_job_work(self, claim: Claim, *, lease: int) -> bool:
        return await self._runner.write_alone(job_parts.renew(claim, lease, self._runner.stamp()))

    async def checkpoint_job(self, done: JobDone) -> tuple[Job, JobPart] | None:
        written = job_parts.checkpoint(done, self._runner.stamp())
        return await self._runner.write(written, (jobs.job_lock(done.part.job_id),))

    async def release_job_work(self, claim: Claim) -> None:
        released = job_parts.let_go(claim, self._runner.stamp())
        await self._runner.write(released, (jobs.job_lock(claim.job.id),))

    async def trip_job_work(
        self, claim: Claim, trouble: str, *, pause: int, longest: int, most: int
    ) -> Job | None:
        now = self._runner.stamp()
        tripped = job_parts.trip(claim, trouble, pause=pause, longest=longest, most=most, now=now)
        return await self._runner.write(tripped, (jobs.job_lock(claim.job.id),))

    async def plan_job(
        self,
        claim: Claim,
        ranges: Sequence[NewPart],
        *,
        after: int = 0,
        result: Mapping[str, Any] | None = None,
    ) -> Job | None:
        planned = job_parts.plan(claim, ranges, after=after, result=result, now=self._runner.stamp())
        return await self._runner.write(planned, (jobs.job_lock(claim.job.id),))

    async def finish_job(self, claim: Claim, result: Mapping[str, Any]) -> Job | None:
        finished = job_parts.finish(claim, result, self._runner.stamp())
        return await self._runner.write(finished, (jobs.job_lock(claim.job.id),))

    async def put_schedule(self, schedule: Schedule, *, actor: Actor = NOBODY) -> Schedule:
        put = schedules.put(schedule, actor=actor, now=self._runner.stamp())
        return await self._runner.write(put, (schedules.schedule_lock(schedule.tenant, schedule.name),))

    async def schedule(self, tenant: str, name: str) -> Schedule:
        return await self._runner.read(schedules.one(tenant, name))

    async def schedules(self, tenant: str | None = None) -> Sequence[Schedule]:
        return await self._runner.scan(schedules.page(tenant))

    async def delete_schedule(self, tenant: str, name: str, *, actor: Actor = NOBODY) -> None:
        removed = schedules.remove(tenant, name, actor=actor, now=self._runner.stamp())
        await self._runner.write(removed, (schedules.schedule_lock(tenant, name),))

    async def due_schedules(self, *, limit: int = 100) -> Sequence[Schedule]:
        return await self._runner.read(schedules.due(limit, self._runner.stamp()))

    async def start_schedule(self, schedule: Schedule, job: Job | None, *, next_at: int) -> Job | None:
        started = schedules.start(schedule, job, next_at, now=self._runner.stamp())
        locks = [schedules.schedule_lock(schedule.tenant, schedule.name)]
        locks += [] if job is None else [jobs.job_lock(job.id)]
        return await self._runner.write(started, tuple(locks))

    # -- what others wrote, and write ---------------------------------------------------------------------------
    async def held_keys(self, tenant: str, bucket: str, keys: Sequence[str]) -> Mapping[str, HeldKey]:
        return await self._runner.scan(adopting.held(tenant, bucket, keys))

    async def take_over(
        self,
        tenant: str,
        bucket: str,
        taking: Taking,
        candidates: Sequence[Candidate],
        *,
        judge: Judge,
        grace: int,
        actor: Actor = NOBODY,
    ) -> Sequence[Taken]:
        taken = adopting.take(
            tenant,
            bucket,
            taking,
            candidates,
            judge=judge,
            grace=grace,
            actor=actor,
            now=self._runner.stamp(),
        )
        # two buckets must not adopt one blob at once: which rows know it is asked under a lock of the store
        locks = (bucket_lock(tenant, bucket, shared=False), request_lock("", f"adopt from {taking.store}"))
        return await self._runner.write(taken, locks)

    async def upstream(self, tenant: str, bucket: str) -> Upstream | None:
        return await self._runner.read(upstreams.one(tenant, bucket))

    async def upstreams(self, tenant: str = "") -> Sequence[Upstream]:
        return await self._runner.scan(upstreams.each(tenant))

    async def attach_upstream(self, upstream: Upstream, *, actor: Actor = NOBODY) -> Upstream:
        attached = upstreams.attach(upstream, actor=actor, now=self._runner.stamp())
        return await self._runner.write(
            attached, (bucket_lock(upstream.tenant, upstream.bucket, shared=False),)
        )

    async def change_upstream(
        self,
        tenant: str,
        bucket: str,
        *,
        phase: Phase | None = None,
        dual_write: bool | None = None,
        fresh: bool | None = None,
        passed: bool = False,
        differences: int | None = None,
        unowed: bool = False,
        actor: Actor = NOBODY,
    ) -> Upstream:
        changed = upstreams.change(
            tenant,
            bucket,
            phase=phase,
            dual_write=dual_write,
            fresh=fresh,
            passed=passed,
            differences=differences,
            unowed=unowed,
            actor=actor,
            now=self._runner.stamp(),
        )
        return await self._runner.write(changed, (bucket_lock(tenant, bucket, shared=False),))

    async def detach_upstream(self, tenant: str, bucket: str, *, actor: Actor = NOBODY) -> None:
        detached = upstreams.detach(tenant, bucket, actor=actor, now=self._runner.stamp())
        await self._runner.write(detached, (bucket_lock(tenant, bucket, shared=False),))

    async def owed_out(
        self, upstream: Upstream, *, after: str = "", limit: int = 500, due: int | None = None
    ) -> Sequence[Divergence]:
        due = await self.now() if due is None else due
        return await self._runner.scan(upstreams.owed_page(upstream.bucket_id, after, limit, due))

    async def take_out(self, upstream: Upstream, *, limit: int, lease: int) -> Sequence[Divergence]:
        taken = upstreams.take(upstream.bucket_id, limit, lease, await self.now())
        return await self._runner.write(taken)

    async def send_out(self, upstream: Upstream, key: str, content: str) -> None:
        await self._runner.write_alone(upstreams.send(upstream.bucket_id, key, content))

    async def settle_out(self, upstream: Upstream, paid: Divergence, *, pin: str, modified: int) -> bool:
        settled = upstreams.settle(upstream.bucket_id, paid, pin, modified, await self.now())
        return await self._runner.write(settled)

    async def postpone_out(self, upstream: Upstream, owed: Divergence, *, until: int, trouble: str) -> None:
        await self._runner.write_alone(upstreams.postpone(upstream.bucket_id, owed, until, trouble))

    async def owing_out(self, upstream: Upstream) -> Owing:
        return await self._runner.scan(upstreams.owing(upstream.bucket_id))

    async def stranded(
        self, upstream: Upstream, *, after: tuple[str, str] = ("", ""), limit: int = MAX_PAGE
    ) -> Sequence[Stranded]:
        return await self._runner.scan(upstreams.stranded(upstream, after, limit))

    async def pinned_keys(
        self, upstream: Upstream, *, above: str, upto: str, limit: int = 1000
    ) -> Sequence[Pinned]:
        stretch = vanishing.Stretch(upstream.bucket_id, above, upto)
        return await self._runner.scan(vanishing.pinned(stretch, limit))

    async def miss_keys(
        self, upstream: Upstream, found: Sequence[Pinned], *, above: str, upto: str, number: int
    ) -> Sequence[Missed]:
        stretch = vanishing.Stretch(upstream.bucket_id, above, upto)
        return await self._runner.write(vanishing.miss(stretch, found, number))

    async def count_misses(self, upstream: Upstream) -> int:
        return await self._runner.scan(vanishing.misses_of(upstream.bucket_id))

    async def vanish(
        self, ref: ObjectRef, version_id: str, *, marker_id: str, grace: int, actor: Actor = NOBODY
    ) -> bool:
        gone = vanishing.vanish(
            ref, version_id, marker_id=marker_id, grace=grace, actor=actor, now=self._runner.stamp()
        )
        return await self._runner.write(gone, key_locks(ref))

    # -- snapshots, moments and clones --------------------------------------------------------------------------
    async def create_snapshot(
        self,
        tenant: str,
        bucket: str,
        name: str,
        *,
        at: int | None = None,
        note: str = "",
        actor: Actor = NOBODY,
    ) -> Snapshot:
        made = snapshots.create(tenant, bucket, name, at=at, note=note, actor=actor, now=self._runner.stamp())
        return await self._runner.write(made, (bucket_lock(tenant, bucket, shared=False),))

    async def snapshot(self, tenant: str, bucket: str, name: str) -> Snapshot:
        return await self._runner.read(snapshots.one(tenant, bucket, name))

    async def time_reached(self, tenant: str, bucket: str, at: int) -> int:
        return await self._runner.read(snapshots.reached(tenant, bucket, at, self._runner.stamp()))

    async def snapshots(
        self, tenant: str, bucket: str, *, after: str = "", limit: int = 1000
    ) -> Sequence[Snapshot]:
        return await self._runner.read(snapshots.page(tenant, bucket, after, limit))

    async def delete_snapshot(self, tenant: str, bucket: str, name: str, *, actor: Actor = NOBODY) -> None:
        gone = snapshots.delete(tenant, bucket, name, actor=actor, now=self._runner.stamp())
        await self._runner.write(Freeing(gone), (bucket_lock(tenant, bucket, shared=False),))

    async def clear_snapshots(self, tenant: str, bucket: str) -> None:
        cleared = snapshots.clear(tenant, bucket)
        await self._runner.write(Freeing(cleared), (bucket_lock(tenant, bucket, shared=False),))

    async def list_at(
        self,
        tenant: str,
        bucket: str,
        at: int,
        *,
        prefix: str = "",
        delimiter: str = "",
        marker: str = "",
        limit: int = 1000,
    ) -> ListPage:
        for text in (prefix, delimiter, marker):
            check_prefix(text)
        most = min(limit, MAX_PAGE)
        listing_at = moments.list_at(
            tenant, bucket, at, prefix=prefix, delimiter=delimiter, marker=marker, limit=most
        )
        return await self._runner.scan(listing_at)

    async def version_at(self, ref: ObjectRef, at: int) -> str:
        return await self._runner.read(moments.id_at(ref, at))

    async def compare(
        self,
        tenant: str,
        bucket: str,
        at: int,
        until: int | None = None,
        *,
        prefix: str = "",
        marker: str = "",
        limit: int = 500,
    ) -> Sequence[KeyThen]:
        compared = moments.compare(tenant, bucket, at, until, prefix=prefix, marker=marker, limit=limit)
        return await self._runner.scan(compared)

    async def hide_object(
        self, ref: ObjectRef, over: str, *, marker_id: str, actor: Actor = NOBODY
    ) -> Deleted:
        hidden = deleting.hide_object(ref, over, marker_id=marker_id, actor=actor, now=self._runner.stamp())
        return await self._runner.write(hidden, key_locks(ref))

    async def clone(
        self,
        version: NewVersion,
        source: Version,
        ids: Mapping[str, str],
        *,
        over: str | None = None,
        grace: int,
        actor: Actor = NOBODY,
    ) -> Version:
        made = cloning.clone(
            version, source, ids, over=over, grace=grace, actor=actor, now=self._runner.stamp()
        )
        return await self._runner.write(made, key_locks(version.ref))


def _run_lock(tenant: str, execution_id: str) -> Lock:
    """The lock of a change to one execution and its artifacts."""
    return request_lock(tenant, f"execution {execution_id}")


def _part_locks(upload: Upload) -> tuple[Lock, ...]:
    """The locks of a change to the parts of one upload."""
    return (bucket_lock(upload.ref.tenant, upload.ref.bucket), upload_lock(upload.id))
