"""What the engine may ask of a catalog, and what each answer promises. SQLite and PostgreSQL both keep it.

Every method that writes is one transaction, durable when it returns. A connection lost while committing is resolved
here: the outcome is read back by id (`commit_put` and the like are re-runnable), never guessed; when the catalog stays
unreachable `UnavailableError` is raised and the caller must not assume either outcome.

Times are microseconds of *the catalog's clock*. A pending replica is protected until its lease ends; `doom` is final:
nothing returns from it to life.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from holdfast.catalog.rates import RateAsk, RateGrant
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
from holdfast.core.lifecycle import LifecycleRule
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
from holdfast.core.retention import FREE, Keeping, LockMode
from holdfast.core.search import Search
from holdfast.core.types import (
    EMPTY,
    ApiKey,
    AuditEntry,
    Bucket,
    BucketSettings,
    ChecksumType,
    Deleted,
    Digests,
    ListPage,
    Located,
    ObjectRef,
    Part,
    Quota,
    QuotaUse,
    Replica,
    Segment,
    Tenant,
    TenantSettings,
    TenantState,
    Upload,
    Usage,
    Version,
    VersionPage,
)

if TYPE_CHECKING:
    from holdfast.catalog.chain import AuditHead, Chain, Line, Packed, Pruned, Sealed
    from holdfast.catalog.contents import Content
    from holdfast.catalog.dispatching import PartQueue
    from holdfast.catalog.job_parts import Done as JobDone
    from holdfast.catalog.job_parts import NewPart
    from holdfast.catalog.rebuilding import Placed
    from holdfast.catalog.searching import Stretch
    from holdfast.catalog.using import Held


class Trace:
    """What is left behind by whoever acts: `written` once a transaction has put a row of theirs into the audit."""

    __slots__ = ("written",)

    def __init__(self) -> None:
        self.written = False


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does it and under which request, for the audit row."""

    principal: str = ""
    request_id: str = ""
    address: str = ""
    trace: Trace = field(default_factory=Trace, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Owed:
    """That a version is not, or not wholly, where its rule wants it."""

    rule: str
    reason: str  #: `down`: on a fallback store; `copies`: with fewer copies than are wanted; `adopted`: elsewhere; `asleep`: it is woken first


@dataclass(frozen=True, slots=True)
class NewVersion:
    """The content that a commit makes visible."""

    id: str
    ref: ObjectRef
    size: int
    etag: str
    segments: Sequence[Segment]
    content_type: str = "application/octet-stream"
    metadata: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    tags: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    digests: Digests = field(default_factory=Digests)
    checksum_type: ChecksumType = ChecksumType.FULL_OBJECT
    parts: int = 0
    expires: int | None = None  #: when it is to be removed by itself
    storage_class: str = ""  #: what its writer asked for
    owed: Owed | None = None  #: written down by the same commit, to be brought home by `reconcile`
    pin: str = ""  #: what a store calls the content that it was adopted from; "": written here
    cloned_from: str = ""  #: the version that its blobs were written for; "": for itself


@dataclass(frozen=True, slots=True)
class Idempotency:
    """A client's own name for a request: `key` unique within the tenant, `fingerprint` of what it asked."""

    key: str
    fingerprint: bytes
    expires: int
    once: bool = False  #: a second use is refused, instead of answered as the first


@dataclass(frozen=True, slots=True)
class Reserve:
    """What a write wants to reserve of the quotas, when its bucket is metered."""

    bytes: int
    objects: int = 1
    replaces: bool = True  #: what it takes the place of need not be reserved again; False for a part


@dataclass(frozen=True, slots=True)
class Said:
    """What is said about a content, and can be changed without a new one."""

    content_type: str
    metadata: Mapping[str, str]
    tags: Mapping[str, str]

    @classmethod
    def of(cls, version: Version) -> Said:
        """Return what is said about `version`."""
        return cls(version.content_type, version.metadata, version.tags)

    def about(self, version: Version) -> Version:
        """Return `version` with this said about it."""
        return replace(
            version, content_type=self.content_type, metadata=dict(self.metadata), tags=dict(self.tags)
        )

    def differs(self, version: Version) -> list[str]:
        """Return the names of what `version` tells otherwise."""
        return [
            name
            for name in ("content_type", "metadata", "tags")
            if getattr(self, name) != getattr(version, name)
        ]


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What is known of a version beside itself."""

    versions: int  #: contents kept under its key, counted up to 10,000
    replicas: int  #: whole copies that can be read
    expires: int | None  #: when it is to be removed by itself
    owed: str = ""  #: why it is not where it belongs; "": it is


@dataclass(frozen=True, slots=True)
class Touch:
    """So many reads of an artifact, and when the last one was."""

    tenant: str
    execution_id: str
    artifact_id: str
    count: int
    last: int


class BatchState(StrEnum):
    """The life of a batch: it runs, and ends in one of the other ways."""

    RUNNING = "running"
    DONE = "done"  #: every item was tried
    CANCELLED = "cancelled"  #: somebody stopped it; what was done stays done
    INTERRUPTED = "interrupted"  #: its process died; the same request again does the rest


@dataclass(frozen=True, slots=True)
class BatchFailure:
    """One item of a batch that failed, and why."""

    bucket: str
    key: str
    version_id: str = ""
    code: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """A request over many objects, and how far it is. `failures` are the first ones; `failed` counts all."""

    id: str  #: unique within the tenant
    tenant: str
    kind: str  #: upload, download, delete, copy or tag
    principal: str
    total: int
    created: int
    updated: int
    expires: int  #: then it is forgotten
    state: BatchState = BatchState.RUNNING
    done: int = 0  #: items that went well
    failed: int = 0
    bytes: int = 0  #: of the items that went well
    failures: Sequence[BatchFailure] = ()
    job_id: str = ""  #: of the job that does it; "": a request does


@dataclass(frozen=True, slots=True)
class KeyThen:
    """A key at two moments: what a reader found, None where that was nothing.

    `changed` is when it became what it is at the later one, by a put or a delete, 0 where there is no version of it then.
    `gap`: a version of it was removed for good that may have been the one of the first moment.
    """

    key: str
    then: Version | None
    later: Version | None
    changed: int = 0
    gap: bool = False


@dataclass(frozen=True, slots=True)
class DoomedReplica:
    """Bytes that may be deleted now."""

    id: str
    store: str
    blob: str
    committed: bool = True  #: it was live once; else its put may have left more than the blob
    shared: bool = False  #: another row of the same blob outlives it: the row goes, the bytes stay


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits to be done, in all tenants; each count stops at 100,000."""

    doomed: int = 0  #: copies whose bytes are to be deleted
    doomed_bytes: int = 0  #: of those that were counted
    overdue: float = 0.0  #: seconds for which the one due first has been due
    pending: int = 0  #: copies being written
    uploads: int = 0  #: open ones
    expired: int = 0  #: versions whose time is over and that are still there
    unfolded: int = 0  #: changes not yet added to the counters
    unsealed: int = 0  #: audit records of changes not yet sealed
    reservations: int = 0
    due: int | None = None  #: when the bytes of the first doomed copy may be deleted


@dataclass(frozen=True, slots=True)
class Debts:
    """How many versions are not where they belong for one reason, and since when."""

    count: int
    since: int  #: of the oldest


@dataclass(frozen=True, slots=True)
class Adopted:
    """What came of new copies: `lost` when one of them had been given up, so that nothing was changed.

    `settled`: every wanted store holds all of the version; then `doomed` copies were in excess, and a debt was `paid`.
    """

    there: bool = True
    lost: bool = False
    settled: bool = False
    doomed: int = 0
    paid: bool = False


@dataclass(frozen=True, slots=True)
class TierChange:
    """The tier that a version is to have ("": none); with `until` only so long, and then `back`."""

    ref: ObjectRef
    version_id: str
    tier: str
    until: int | None = None
    back: str = ""
    rule: str = ""  #: that places it, for the debt


@dataclass(frozen=True, slots=True)
class Seen:
    """A version as it was when rules were applied to it; `current`: it was the newest of its key.

    `newer`: at least so many newer contents of its key, the current one not counted, are to be there.
    """

    version: Version
    rules: tuple[LifecycleRule, ...]
    newer: int = 0


@dataclass(frozen=True, slots=True)
class Aged:
    """A version as lifecycle rules see it. Its `current` says nothing: the newest of a key comes first."""

    version: Version
    keeping: Keeping = FREE
    stores: tuple[str, ...] = ()  #: with a readable copy, the first one first
    day: int | None = None  #: of the last read that was counted, days since 1970
    reads: int = 0
    recalled: bool = False  #: it was brought back for a while


@dataclass(frozen=True, slots=True)
class Grown:
    """Some versions of a bucket, by key and the newest first; and whether there are more."""

    versions: Sequence[Aged]
    more: bool


@dataclass(frozen=True, slots=True)
class Due:
    """A version whose time is over."""

    ref: ObjectRef
    version_id: str
    expires: int


class Moment(Protocol):
    """The catalog as it was at the time `at`: pages of its rows, each with the names of its columns."""

    at: int

    async def rows(
        self, name: str, *, tenant: str = "", after: Mapping[str, Any] | None = None, limit: int = 500
    ) -> Sequence[dict[str, Any]]:
        """Return rows of a table (`catalog.dumping.KEPT`) behind the row `after`; those of a tenant, or all."""
        ...

    async def versions(self, *, after: str = "", limit: int = 500) -> Sequence[dict[str, Any]]:
        """Return versions by id, with `tenant`, `bucket`, `segments`, and whether each is `current`."""
        ...


class Catalog(Protocol):
    """The catalog as the engine sees it. See the module docstring for what holds for every method."""

    # -- life ---------------------------------------------------------------------------------------------------
    async def close(self) -> None: ...
    async def now(self) -> int:
        """Return the catalog's clock, microseconds."""
        ...

    async def ping(self) -> None:
        """Return when the catalog answers; raise `UnavailableError` otherwise."""
        ...

    # -- tenants and buckets ------------------------------------------------------------------------------------
    async def create_tenant(self, name: str, *, settings: TenantSettings = ..., actor: Actor = ...) -> Tenant:
        """Make a tenant; `AlreadyExistsError` when there is one."""
        ...

    async def tenants(self) -> Sequence[Tenant]: ...
    async def tenant_was_removed(self, name: str) -> bool:
        """Return whether there was a tenant of that name; nobody else is ever called so."""
        ...

    async def tenant(self, name: str) -> Tenant:
        """Return a tenant or raise `NotFoundError`."""
        ...

    async def update_tenant(
        self,
        name: str,
        *,
        state: TenantState | None = None,
        change: Callable[[TenantSettings], TenantSettings] | None = None,
        actor: Actor = ...,
    ) -> Tenant:
        """Change what is given; `change` turns the settings that are held into those that shall be."""
        ...

    async def rotate_signing(self, name: str, *, actor: Actor = ...) -> Tenant:
        """Begin the next signing generation of a tenant, so that URLs signed earlier hold no longer."""
        ...

    async def create_bucket(
        self,
        tenant: str,
        name: str,
        *,
        versioning: bool = False,
        settings: BucketSettings = ...,
        actor: Actor = ...,
    ) -> Bucket:
        """Make a bucket; `AlreadyExistsError` when there is one, `NotFoundError` for an unknown tenant."""
        ...

    async def update_bucket(
        self,
        tenant: str,
        name: str,
        *,
        versioning: bool | None = None,
        change: Callable[[BucketSettings], BucketSettings] | None = None,
        actor: Actor = ...,
    ) -> Bucket:
        """Change a bucket in one transaction: `change` is given its settings as they are in there.

        Another quota holds at once. Another retention is given to the versions that are there before this returns.
        """
        ...

    async def bucket(self, tenant: str, name: str) -> Bucket: ...
    async def bucket_and_usage(self, tenant: str, name: str) -> tuple[Bucket, Usage]: ...
    async def buckets(self, tenant: str) -> Sequence[tuple[Bucket, Usage]]:
        """Return all buckets of the tenant by name, with their counters (no scan)."""
        ...

    async def delete_bucket(self, tenant: str, name: str, *, actor: Actor = ...) -> None:
        """Remove a bucket without versions, delete markers and open uploads; `ConflictError` when it has any."""
        ...

    async def usage(self, tenant: str, bucket: str | None = None) -> Usage: ...
    async def recount(self, tenant: str, bucket: str) -> Usage:
        """Return the counters as a full scan finds them: the audit of `usage`."""
        ...

    # -- quotas -------------------------------------------------------------------------------------------------
    async def set_quota(
        self, tenant: str, bucket: str | None, quota: Quota, *, actor: Actor = ...
    ) -> QuotaUse:
        """Set the limits of a bucket, or of a tenant (None), also in its settings; return how much is taken.

        What is there may pass a new limit; then nothing more is taken until it does not.
        """
        ...

    async def quota(self, tenant: str, bucket: str | None = None) -> QuotaUse:
        """Return the limits and how much of them is taken, also where none is set."""
        ...

    async def room(self, ref: ObjectRef) -> int | None:
        """Return how large a new version of the key may be by the quotas as they are now; None: no limit."""
        ...

    # -- retention ----------------------------------------------------------------------------------------------
    async def date_versions(self, tenant: str, bucket: str) -> None:
        """Date all versions of a bucket by its retention, page by page; safe to repeat and to break off."""
        ...

    async def due(self, *, after: tuple[int, str] = ..., limit: int = 1000) -> Sequence[Due]:
        """Return versions whose time is over, oldest date first, after a (date, id).

        Remove them by `delete_object(…, if_due=True)`, those of one key one after the other.
        """
        ...

    # -- holds, locks, lifecycle rules --------------------------------------------------------------------------
    async def keeping(self, ref: ObjectRef, version_id: str | None = None) -> tuple[str, Keeping]:
        """Return the id of a version, without `version_id` of the current one, and what keeps it."""
        ...

    async def set_hold(
        self, ref: ObjectRef, version_id: str | None, hold: bool, *, reason: str = "", actor: Actor = ...
    ) -> tuple[str, Keeping]:
        """Set or clear the hold of a version; nothing is written where it is so already."""
        ...

    async def set_lock(
        self,
        ref: ObjectRef,
        version_id: str | None,
        mode: LockMode | None,
        until: int | None,
        *,
        reason: str = "",
        actor: Actor = ...,
    ) -> tuple[str, Keeping]:
        """Change the lock of a version as `core.retention.relocked` allows; a `reason` bypasses governance.

        Raises:
            ConflictError: the lock would be weaker than it may be, or the bucket keeps no versions.
        """
        ...

    async def kept(self, tenant: str, bucket: str = "", *, at: int | None = None) -> str:
        """Say what is held, or still locked at a time (now), in a bucket or in all; "" when nothing is."""
        ...

    async def ruled_buckets(
        self, tenant: str = "", bucket: str = "", *, after: int = 0, limit: int = 100
    ) -> Sequence[tuple[Bucket, int | None]]:
        """Return buckets with lifecycle rules by number, of all tenants or one; and since when their reads count."""
        ...

    async def aged(self, bucket: Bucket, *, from_key: str = "", below: int = 0, limit: int = 500) -> Grown:
        """Return versions from those of `from_key` numbered below `below` on: by key, the newest first."""
        ...

    async def touch_versions(self, reads: Mapping[str, tuple[int, int]]) -> None:
        """Add reads by version: the day of the last, and how many."""
        ...

    async def forget_reads(self, *, after: str = "", limit: int = 1000) -> str:
        """Drop counts of versions that are gone or not counted any more; return where to go on, "" at the end."""
        ...

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
        """T1: record `replicas` (state pending) before any byte moves.

        `reserve` is taken from the quotas if the bucket is metered, under the id of the first replica:
        `QuotaExceededError` when it does not fit, and nothing was recorded.
        Returns the version of an earlier request with the same idempotency key and fingerprint, in which case
        nothing was recorded; else None. `NotFoundError` for an unknown bucket; `ConflictError` when the
        idempotency key was used with another fingerprint.
        """
        ...

    async def renew(self, replica_ids: Sequence[str], *, lease_until: int) -> bool:
        """Extend the lease of pending replicas; False when any of them is no longer pending (stop writing)."""
        ...

    async def commit_put(
        self,
        version: NewVersion,
        replica_ids: Sequence[str],
        *,
        conditions: Preconditions = NO_CONDITIONS,
        idempotency: Idempotency | None = None,
        grace: int,
        actor: Actor = ...,
    ) -> Version:
        """T2: make `version` the current one of its key, in one transaction.

        Locks the key; checks `conditions` against the current version; flips `replica_ids` to live (any of them
        not pending → `ConflictError`, nothing changed); dooms what is replaced in an unversioned bucket with
        `not_before = now + grace`; settles usage, idempotency and audit. Asked again with the same `version.id`
        it returns what the first time made.
        """
        ...

    async def abandon(self, replica_ids: Sequence[str]) -> None:
        """Doom these replicas if they are still pending; live ones are left alone. Safe after an unknown commit."""
        ...

    # -- reading ------------------------------------------------------------------------------------------------
    async def resolve(
        self, ref: ObjectRef, *, version_id: str | None = None, whole: bool = False, once: bool = False
    ) -> Located:
        """Return the current (or named) version, its segments in order, and its live and suspect replicas.

        `whole` brings the bytes along (`Located.data`) if the version has one segment and a live copy in the catalog.
        What is asked for `once`, as by a job that comes by, is not remembered for the next who asks.

        `NotFoundError` when there is none, or it is a delete marker (then with `delete_marker` version found by
        `version()`).
        """
        ...

    async def version(self, ref: ObjectRef, version_id: str) -> Version:
        """Return that version of that key, delete markers included, or raise `NotFoundError`."""
        ...

    async def copies_of_segment(self, version_id: str, segment_id: str) -> Sequence[Replica]:
        """Return the copies of a segment, with those that were given up and whose time of grace is not over."""
        ...

    async def version_by_id(self, tenant: str, version_id: str) -> Version:
        """Return a version of the tenant by its id alone, or raise `NotFoundError`."""
        ...

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
        """Return current objects as S3's ListObjects does: byte order, `delimiter` folded, strictly after `marker`.

        A marker that equals or lies inside a common prefix skips that prefix. `limit` counts items and prefixes
        together, 0 to 1000. `next_marker` is the last item or prefix returned. Costs a page, whatever the bucket.
        """
        ...

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
        """Return all versions as S3's ListObjectVersions does: by key in byte order, newest first, markers included."""
        ...

    # -- searching and describing -------------------------------------------------------------------------------
    async def search(
        self, tenant: str, bucket: str, wish: Search, *, after: tuple[str, str], limit: int, budget: int
    ) -> Stretch:
        """Return up to `limit` current objects that match, by key, after `after` (key and version id, "" at first).

        Looks at no more than about `budget` rows: a stretch may be short and still name a place to go on from.
        Tags and metadata are found by an index.
        """
        ...

    async def update_version(self, version: Version, said: Said, *, actor: Actor = ...) -> Version:
        """Replace what is said about `version`, in one transaction with its audit row.

        `ConflictError` when that is no longer what `version` tells; `NotFoundError` when it is gone. `KeptError` when it
        is held or locked, and more than its tags would change.
        """
        ...

    async def file_facts(self, tenant: str, version_id: str) -> FileFacts: ...

    # -- the end of a tenant ------------------------------------------------------------------------------------
    async def delete_tenant(self, name: str, *, grace: int, actor: Actor = ...) -> Tenant:
        """Refuse everything to a tenant and have it removed `grace` microseconds from now; asked again, from then.

        `ConflictError` when its time is over already.
        """
        ...

    async def restore_tenant(self, name: str, *, actor: Actor = ...) -> Tenant:
        """Undo `delete_tenant`: it is served, or suspended, as before. `ConflictError` when its time is over."""
        ...

    async def clear_tenant(self, name: str, *, limit: int = 1000) -> bool:
        """Remove a page of keys, tokens, runs and remembered requests of a tenant; True when nothing was left."""
        ...

    async def remove_tenant(self, name: str, *, actor: Actor = ...) -> bool:
        """Remove the row of a tenant that is due and has no buckets; False, and nothing done, when it is not so.

        Its name is not given again, since its audit is kept under it. Asked again after success it is True.
        """
        ...

    # -- executions and artifacts -------------------------------------------------------------------------------
    async def create_execution(self, execution: Execution, *, actor: Actor = ...) -> Execution:
        """Record a run; `AlreadyExistsError` for an id that the tenant has used."""
        ...

    async def execution(self, tenant: str, execution_id: str) -> Execution: ...
    async def executions(
        self, tenant: str, *, before: int = 1 << 62, after: str = "", limit: int = 100
    ) -> Sequence[Execution]:
        """Return runs, the newest first, those behind one that was made at `before` with the id `after`."""
        ...

    async def update_execution(self, execution: Execution, *, actor: Actor = ...) -> Execution:
        """Give a run this name, status and metadata."""
        ...

    async def remove_execution(self, tenant: str, execution_id: str, *, actor: Actor = ...) -> None:
        """Remove a run without artifacts; `ConflictError` while it has some."""
        ...

    async def add_artifact(self, artifact: Artifact, *, actor: Actor = ...) -> Artifact:
        """Record what a run left, its content being there.

        `expires` of an object's version is the version's own. `AlreadyExistsError` for an id that the run has used.
        """
        ...

    async def artifact(self, tenant: str, execution_id: str, artifact_id: str) -> Artifact:
        """Return an artifact as it is now: where its content is, until when it is kept. `NotFoundError` when that is gone."""
        ...

    async def artifacts(
        self, tenant: str, execution_id: str, *, after: str = "", limit: int = 1000
    ) -> Sequence[Artifact]:
        """Return artifacts of a run by id; those whose content is gone are left out."""
        ...

    async def remove_artifact(
        self, tenant: str, execution_id: str, artifact_id: str, *, actor: Actor = ...
    ) -> bool:
        """Forget an artifact and leave its content alone; return whether there was one."""
        ...

    async def touch_artifacts(self, touches: Sequence[Touch]) -> None:
        """Count reads of artifacts; one that is gone meanwhile is passed over."""
        ...

    async def forget_artifacts(self, *, limit: int = 1000) -> int:
        """Forget artifacts whose time is over and whose content is gone; return how many of this page."""
        ...

    # -- batches ------------------------------------------------------------------------------------------------
    async def create_batch(self, batch: Batch, *, lease: int) -> Batch:
        """Record a batch that begins; `AlreadyExistsError` for an id that the tenant has used."""
        ...

    async def batch(self, tenant: str, batch_id: str) -> Batch:
        """Return a batch; one that was not heard of for its `lease` (microseconds) is `interrupted`."""
        ...

    async def batches(self, tenant: str, *, before: int, limit: int = 100) -> Sequence[Batch]:
        """Return batches that began before a time, the newest first."""
        ...

    async def progress_batch(self, batch: Batch, *, lease: int) -> bool:
        """Record how far a batch is and renew its lease; False when it was cancelled (stop then)."""
        ...

    async def finish_batch(self, batch: Batch) -> None:
        """Record how a batch ended."""
        ...

    async def cancel_batch(
        self, tenant: str, batch_id: str, *, why: BatchFailure | None = None, actor: Actor = ...
    ) -> None:
        """Tell a running batch to stop, and its job; others are left as they are. `why` becomes its first failure."""
        ...

    async def begin_batch(
        self, batch: Batch, job: Job, *, begun: str, items: Sequence[str], lease: int, actor: Actor = ...
    ) -> Batch:
        """Record a batch, its items (rows of text) and the job that does them; raises what `create_batch` does."""
        ...

    async def batch_begun(self, tenant: str, batch_id: str) -> str:
        """Return the `begun` of a batch that a job does; `NotFoundError` when there is none."""
        ...

    async def batch_items(self, tenant: str, job_id: str, number: int) -> str:
        """Return the row `number` of the items of a job; `NotFoundError` when it is gone."""
        ...

    async def drop_batch_items(self, tenant: str, job_id: str) -> None:
        """Remove the items of a job that is over."""
        ...

    # -- deleting -----------------------------------------------------------------------------------------------
    async def delete_object(
        self,
        ref: ObjectRef,
        *,
        version_id: str | None = None,
        marker_id: str,
        conditions: Preconditions = NO_CONDITIONS,
        grace: int,
        actor: Actor = ...,
        if_due: bool = False,
        if_as: Seen | None = None,
        there: tuple[str, int] | None = None,
    ) -> Deleted:
        """Remove the object. With `if_due`, only a version whose time is over, and a marker that hides nothing.

        With `if_as`, only while that version and the rules of the bucket are as they were then. `ConflictError` for
        what is held or locked.

        Without `version_id`: in a versioned bucket a delete marker `marker_id` becomes current (also when the key
        never existed); in an unversioned one the current version goes, and a marker is left only if older versions
        remain. With it: that version (or marker) is removed for good and the next older one becomes current. What
        is not there is a success with `Deleted(None)`. Bytes are doomed with `not_before = now + grace`.

        `there`: what the upstream of the bucket had of the key a moment ago, its ETag and time; it does not come back.
        """
        ...

    # -- multipart ----------------------------------------------------------------------------------------------
    async def create_upload(self, upload: Upload, *, actor: Actor = ...) -> Upload: ...
    async def upload(self, ref: ObjectRef, upload_id: str) -> Upload:
        """Return an open upload of that key or raise `NotFoundError`."""
        ...

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
        """Return open uploads by key then id, and whether there are more."""
        ...

    async def commit_part(self, upload: Upload, part: Part, replica_ids: Sequence[str]) -> Part:
        """Acknowledge a part whose bytes are durable: leases its replicas until the upload expires.

        A part with the same number is replaced and its replicas doomed. `NotFoundError` when the upload is gone
        (completed, aborted, expired); then nothing changed.
        """
        ...

    async def list_parts(self, upload_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[Part]: ...
    async def complete_upload(
        self,
        upload_id: str,
        version: NewVersion,
        *,
        conditions: Preconditions = NO_CONDITIONS,
        idempotency: Idempotency | None = None,
        grace: int,
        actor: Actor = ...,
    ) -> Version:
        """Turn the parts named by `version.segments` into the current version; parts left over are doomed.

        Each segment must be a part of the upload (`ConflictError` otherwise: somebody replaced it meanwhile).
        Asked again after success it returns the version that the first time made.
        """
        ...

    async def abort_upload(self, ref: ObjectRef, upload_id: str, *, actor: Actor = ...) -> None:
        """Close the upload and doom its parts; `NotFoundError` when it is not open."""
        ...

    # -- uploads that grow at their end -------------------------------------------------------------------------
    async def upload_by_id(self, tenant: str, upload_id: str) -> Upload:
        """Return an open upload of the tenant by its id alone, or raise `NotFoundError`."""
        ...

    async def last_part(self, upload_id: str) -> Part | None:
        """Return the part with the highest number, None when there is none."""
        ...

    async def part_copies(self, upload: Upload, segment_id: str) -> Sequence[Replica]:
        """Return the acknowledged copies of one part, to read it before the upload is completed."""
        ...

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
        """Acknowledge a part at the end of an upload that has exactly `offset` bytes; its number is given here.

        With `instead_of`, the segment of the last part, it takes that one's place. Otherwise `ConflictError`, and
        nothing changed: so of two writers at one offset only one goes on. `TooLargeError` past the announced
        length; `InvalidRequestError` past `most` parts. Asked again with the same segment it returns the same part.
        """
        ...

    async def set_upload_length(self, upload: Upload, length: int) -> None:
        """Announce the length of an upload that was begun without one, and reserve what is still missing."""
        ...

    async def answered(self, tenant: str, idempotency: Idempotency) -> Version | None:
        """Return what an earlier request with that key was answered, None when there was none."""
        ...

    async def concatenate(
        self,
        version: NewVersion,
        partials: Sequence[Upload],
        *,
        conditions: Preconditions = NO_CONDITIONS,
        idempotency: Idempotency,
        grace: int,
        actor: Actor = ...,
    ) -> Version:
        """Turn all parts of the partial uploads, in order, into the current version; no byte is copied.

        `ConflictError` when they are not exactly `version.segments`; asked again it returns what was made.
        """
        ...

    # -- replicas and sweeping ----------------------------------------------------------------------------------
    async def suspect(self, replica_id: str) -> None:
        """Mark a live replica as suspect: reads prefer others."""
        ...

    async def expire(self, *, limit: int = 1000) -> int:
        """Doom pending replicas whose lease ended, close uploads that expired, drop old idempotency keys; return how many."""
        ...

    async def doomed(self, *, limit: int = 1000) -> Sequence[DoomedReplica]:
        """Return replicas whose `not_before` has passed. I4 holds for each of them, checked in this transaction."""
        ...

    async def forget(self, replica_ids: Sequence[str]) -> None:
        """Drop doomed rows whose bytes are gone, and the bytes of those whose store is the catalog."""
        ...

    async def postpone(self, replica_ids: Sequence[str], *, until: int) -> None:
        """Move `not_before` of doomed replicas to `until`: their store could not delete them now."""
        ...

    async def replicas(
        self, *, store: str | None = None, after: str = "", limit: int = 1000
    ) -> Sequence[Replica]:
        """Page through all replica rows by id: for proofs and later jobs."""
        ...

    # -- placement ----------------------------------------------------------------------------------------------
    async def generation(self, name: str) -> int:
        """Return how often what is called `name` (`rules`, `stores`) has changed."""
        ...

    async def rules(self) -> KeptRules:
        """Return the placement rules in their order."""
        ...

    async def change_rules(
        self,
        change: Callable[[KeptRules], Sequence[tuple[str, str]]],
        *,
        expected: int | None = None,
        actor: Actor = ...,
    ) -> KeptRules:
        """Replace all rules, (name, JSON) in their order, by what `change` makes of those that there are; audited.

        `ConflictError` when they are not in the generation that was `expected`.
        """
        ...

    async def held_versions(
        self,
        *,
        after: tuple[int, str, int] = (-1, "", 0),
        until: tuple[int, str, int] = ...,
        limit: int = ...,
    ) -> HeldPage:
        """Page through the versions of all tenants, without delete markers, with the stores that hold them.

        Those behind the place `after` and before `until`: number of the bucket, key, sequence.
        """
        ...

    async def key_after(self, bucket_id: int, key: str, *, skip: int = 0) -> str:
        """Return the current key of a bucket behind `key`, after `skip` others; "" when there are not so many."""
        ...

    # -- moves and tiers ----------------------------------------------------------------------------------------
    async def moves(self) -> tuple[int, Sequence[KeptMove]]:
        """Return the moves, the oldest first, after the count of their changes (the generation `moves`)."""
        ...

    async def change_moves(
        self, change: Callable[[tuple[KeptMove, ...]], Sequence[KeptMove]], *, actor: Actor = ...
    ) -> tuple[int, Sequence[KeptMove]]:
        """Make of the moves what `change` makes of them, in one transaction; what it raises changes nothing."""
        ...

    async def store_holds(self, store: str) -> StoreHolds:
        """Return how many copies a store has, by their state."""
        ...

    async def tiered(self, store: str) -> bool:
        """Return whether some version says that it belongs in `store`."""
        ...

    async def set_tiers(
        self, changes: Sequence[TierChange], *, reason: str = "tier", later: int = 0, actor: Actor = ...
    ) -> Sequence[str]:
        """Give versions other tiers, each with a debt that `reconcile` pays; return the ids of those that changed.

        `later`: microseconds for which the debts are not due, when the caller brings the versions home itself.

        Versions that are gone, or have that tier, are left alone. Pages of at most a thousand; all or none.
        """
        ...

    async def end_recalls(self, *, limit: int = 1000, actor: Actor = ...) -> int:
        """Give versions whose time elsewhere is over the tier that they had; return how many were due."""
        ...

    # -- what drivers remember ------------------------------------------------------------------------------------
    async def store_note(self, store: str, name: str) -> bytes | None:
        """Return what the driver of `store` keeps under `name`, None for nothing. See `core.notes.Notes`."""
        ...

    async def swap_store_note(self, store: str, name: str, old: bytes | None, new: bytes | None) -> bool:
        """Make a note be `new` if it is `old` (None: no note); return whether it was."""
        ...

    async def store_notes(
        self, store: str, *, prefix: str = "", after: str = "", limit: int = ...
    ) -> Sequence[tuple[str, bytes]]:
        """Page through the notes of a store by name."""
        ...

    # -- backups ------------------------------------------------------------------------------------------------
    def at_one_moment(self) -> AbstractAsyncContextManager[Moment]:
        """Give pages of rows that are all as they were at one moment; open for minutes, not for hours."""
        ...

    async def pin(self, id: str, *, lease: int, secret: str = "") -> Pin:
        """Keep the bytes of all that is given up from now on, for `lease` microseconds or until `unpin`.

        Asked again it is the pin that there is, kept for longer.
        """
        ...

    async def renew_pin(self, id: str, *, lease: int) -> Pin | None:
        """Keep a pin for longer; None when it is gone, and with it perhaps bytes."""
        ...

    async def unpin(self, id: str) -> None: ...
    async def copies_of(self, version_ids: Sequence[str]) -> Sequence[Replica]:
        """Return the copies of versions, also of those that are gone as long as their bytes are there."""
        ...

    async def standing(self, ref: ObjectRef, version_id: str, seq: int) -> Standing:
        """Return what stands where a version of a backup would be put back; `NotFoundError` without the bucket."""
        ...

    async def restore_version(
        self,
        ref: ObjectRef,
        row: Mapping[str, Any],
        replica_ids: Sequence[str],
        *,
        over: str,
        on_top: bool,
        grace: int,
        actor: Actor = ...,
    ) -> bool:
        """Put a version of a backup back, its copies made live; False when it is there already.

        See `catalog.restoring`. `ConflictError` when another version than `over` is the newest now: look again.
        """
        ...

    async def restore_row(self, name: str, row: Mapping[str, Any]) -> bool:
        """Put a row of another table back, unless there is one with its key; return whether it was."""
        ...

    async def note_change(
        self, tenant: str, action: str, detail: Mapping[str, str], *, actor: Actor = ...
    ) -> None:
        """Write a line into the audit of what was done outside the catalog; tenant "": the service."""
        ...

    # -- keys of encrypted blobs ----------------------------------------------------------------------------------
    async def tenant_keys(self, tenant: str | None = None) -> Sequence[TenantKey]:
        """Return all generations of a tenant's key, or of all tenants', in order."""
        ...

    async def add_tenant_key(self, key: TenantKey, *, actor: Actor = ...) -> TenantKey:
        """Make `key` the active one of its tenant, those before retired, and return it; audited.

        When somebody has made one of that generation or a later one before, the active one is returned.

        Raises:
            LostKeyError: keys of its blobs name that generation or a later one, so there was one before.
        """
        ...

    async def restore_tenant_keys(self, keys: Sequence[TenantKey], *, actor: Actor = ...) -> int:
        """Add generations that are not there, as they were kept elsewhere; return how many. Audited.

        Raises:
            ConflictError: another key has the number of one; nothing was added.
        """
        ...

    async def rewrap_tenant_key(self, old: TenantKey, new: TenantKey, *, actor: Actor = ...) -> bool:
        """Replace how a key is wrapped; False when it is not `old` any more. Audited."""
        ...

    async def destroy_tenant_keys(
        self, tenant: str, generations: Sequence[int] | None = None, *, actor: Actor = ...
    ) -> int:
        """Overwrite all (or these) generations of a tenant's key; return how many there were. Audited. Final."""
        ...

    async def add_blob_key(self, key: KeptKey) -> bool:
        """Keep the key of a blob; False, and nothing kept, when its generation is not the active one of the tenant."""
        ...

    async def blob_key(self, store: str, blob: str) -> KeptKey | None: ...
    async def drop_blob_key(self, store: str, blob: str) -> None: ...
    async def drop_blob_keys(self, tenant: str, *, limit: int = ...) -> bool:
        """Remove a page of the keys of a tenant's blobs; True when none was left."""
        ...

    async def blob_keys(
        self, tenant: str, *, below: int, after: tuple[str, str] = ..., limit: int = ...
    ) -> Sequence[KeptKey]:
        """Page through the keys of a tenant's blobs that are wrapped by generations before `below`."""
        ...

    async def rewrap_blob_keys(self, changes: Sequence[tuple[KeptKey, KeptKey]]) -> bool:
        """Replace how keys of one tenant's blobs are wrapped, those that are still the old ones.

        False, and nothing changed, when the new generation is not the active one any more.
        """
        ...

    async def count_blob_keys(self) -> Mapping[tuple[str, int], int]:
        """Return how many keys of blobs each generation of each tenant wraps. Looks at all of them."""
        ...

    # -- jobs -----------------------------------------------------------------------------------------------------
    @property
    def part_queue(self) -> PartQueue | None:
        """The queue that wakes those who work on jobs; None on SQLite, where they look at the rows."""
        ...

    async def create_job(self, job: Job, *, actor: Actor = ...) -> Job:
        """Write down a job, which waits to be split; its times are the catalog's."""
        ...

    async def job(self, job_id: str) -> Job:
        """Return a job or raise `NotFoundError`."""
        ...

    async def jobs(
        self,
        tenant: str | None = None,
        *,
        state: str = "",
        kind: str = "",
        before: str = "",
        limit: int = ...,
    ) -> Sequence[Job]:
        """Return jobs, the newest first: of one tenant or (None) all, with an id below `before`."""
        ...

    async def job_parts(self, job_id: str) -> Sequence[JobPart]: ...
    async def job_failures(self, job_id: str, *, after: int = 0, limit: int = ...) -> Sequence[ItemFailure]:
        """Return items that the job could not do, behind a number; the first 10,000 are kept."""
        ...

    async def job_states(self) -> Mapping[tuple[str, str], int]:
        """Return how many jobs there are by kind and state."""
        ...

    async def pause_job(self, job_id: str, *, actor: Actor = ...) -> Job:
        """Let a job stand still; `ConflictError` when it has ended."""
        ...

    async def resume_job(self, job_id: str, *, actor: Actor = ...) -> Job:
        """Let a job go on that was paused, or that failed; `ConflictError` when it is done or cancelled."""
        ...

    async def cancel_job(self, job_id: str, *, actor: Actor = ...) -> Job: ...
    async def set_job_pace(self, job_id: str, pace: Pace, *, actor: Actor = ...) -> Job: ...
    async def forget_jobs(self, *, limit: int = ...) -> int:
        """Forget jobs that ended long ago; return how many."""
        ...

    async def take_job_work(
        self, worker: str, kinds: Sequence[str], *, lease: int, job_id: str = "", number: int = -1
    ) -> Claim | None:
        """Take a part of a running job of these kinds, or a job to be split or ended; nobody else gets it for `lease`."""
        ...

    async def renew_job_work(self, claim: Claim, *, lease: int) -> bool:
        """Keep what was taken; False when it is somebody else's by now."""
        ...

    async def checkpoint_job(self, done: JobDone) -> tuple[Job, JobPart] | None:
        """Write down all that a step did at once; return the job and the part as they are now, None if it is lost."""
        ...

    async def release_job_work(self, claim: Claim) -> None:
        """Let go of what was taken."""
        ...

    async def trip_job_work(
        self, claim: Claim, trouble: str, *, pause: int, longest: int, most: int
    ) -> Job | None:
        """Put off what failed as a whole, by `pause`, then twice that, up to `longest`; None when it is lost.

        The `most`th time in a row the job has failed.
        """
        ...

    async def plan_job(
        self,
        claim: Claim,
        ranges: Sequence[NewPart],
        *,
        after: int = 0,
        result: Mapping[str, Any] | None = None,
    ) -> Job | None:
        """Cut a job into the parts of its next round; None when somebody else has it."""
        ...

    async def finish_job(self, claim: Claim, result: Mapping[str, Any]) -> Job | None:
        """End a job whose parts are over."""
        ...

    async def put_schedule(self, schedule: Schedule, *, actor: Actor = ...) -> Schedule: ...
    async def schedule(self, tenant: str, name: str) -> Schedule: ...
    async def schedules(self, tenant: str | None = None) -> Sequence[Schedule]: ...
    async def delete_schedule(self, tenant: str, name: str, *, actor: Actor = ...) -> None: ...
    async def due_schedules(self, *, limit: int = ...) -> Sequence[Schedule]: ...
    async def start_schedule(self, schedule: Schedule, job: Job | None, *, next_at: int) -> Job | None:
        """Begin the job of a schedule and set its next time; None when somebody did, or the last one still goes on.

        Without a job only the time is set.
        """
        ...

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
        actor: Actor = ...,
    ) -> Adopted:
        """Make pending copies of a version live, if it is still there; audited.

        When then every store of `wanted` (none: not asked) has a sound copy of each segment, all other copies are
        doomed with `not_before = now + grace`, and the debt of the version is paid. In the stores `sealed` only
        encrypted copies count.
        """
        ...

    async def debts(
        self, *, tenant: str = "", bucket: str = "", after: str = "", limit: int = 1000
    ) -> Sequence[Debt]:
        """Page through debts by the id of their version; "" means all tenants, or buckets."""
        ...

    async def owe(self, version_id: str, owed: Owed, *, later: int, trouble: str) -> None:
        """Write down that a version is not where it belongs, to be tried `later` microseconds from now; what it owes already stays."""
        ...

    async def take_debts(self, *, limit: int, lease: int) -> Sequence[Debt]:
        """Return debts that are due, put off by `lease` microseconds and one more for each byte: nobody else takes them."""
        ...

    async def postpone_debt(self, version_id: str, *, until: int, trouble: str) -> None:
        """Put a debt off that could not be paid, and say why."""
        ...

    async def hurry_debts(self, *, store: str = "") -> None:
        """Make all debts due at once, or those that were put off for what was wrong with `store`."""
        ...

    async def debt_counts(self) -> Mapping[str, Debts]:
        """Return how many versions are not where they belong, by the reason; each count stops at 100,000."""
        ...

    async def owed_groups(self) -> Sequence[OwedGroup]:
        """Return the versions that are not where they belong, those together that owe alike; at most 100,000 of them."""
        ...

    async def forget_debts(self, *, limit: int = 1000) -> int:
        """Drop debts of versions that are gone; return how many."""
        ...

    # -- proving copies -----------------------------------------------------------------------------------------
    async def never_proved(
        self, store: str, *, after: tuple[str, str] = ..., limit: int = ...
    ) -> Sequence[Provable]:
        """Return copies in a store that were never read whole and right, behind a (blob, id)."""
        ...

    async def proved_before(
        self, store: str, until: int, *, after: tuple[int, str] = ..., limit: int = ...
    ) -> Sequence[Provable]:
        """Return copies in a store that were proved before `until`, the least lately first, behind a (time, id)."""
        ...

    async def unproved_in_bucket(
        self,
        bucket_id: int,
        until: int,
        *,
        store: str = "",
        after: tuple[str, int, str] = ...,
        limit: int = ...,
    ) -> Sequence[tuple[Provable, int]]:
        """Return copies of a bucket that were not proved since `until`, with the sequence of their version.

        They are by key, behind a (key, sequence, id).
        """
        ...

    async def copies_in_order(
        self, store: str, *, after: tuple[str, str] = ..., limit: int = ...
    ) -> Sequence[Replica]:
        """Return rows of a store, whatever their state, by the name of the blob, behind a (blob, id)."""
        ...

    async def copies_of_blobs(self, store: str, blobs: Sequence[str]) -> Sequence[Replica]:
        """Return every row of these blobs, whatever its state."""
        ...

    async def due_of_blobs(self, store: str, blobs: Sequence[str]) -> Sequence[Provable]:
        """Return the copies that can be read among these blobs."""
        ...

    async def count_copies(self, store: str) -> tuple[int, int]:
        """Return how many copies a store has that can be read, and their bytes. Looks at all of them."""
        ...

    async def mark_proved(self, replica_ids: Sequence[str], *, at: int) -> None:
        """Write down that these copies were read whole and right; one that was suspect is none any more."""
        ...

    async def condemn(self, replica_id: str) -> Condemned:
        """Mark a copy as bad; if its segment has a sound one left, have another made (a debt)."""
        ...

    async def learn_digests(
        self, version_id: str, segment_id: str, digests: Digests, chunk_size: int, chunk_crcs: bytes
    ) -> None:
        """Keep the digests of bytes that nobody had read before; what is known already stays."""
        ...

    async def proven(self, *, since: int) -> Sequence[Proven]:
        """Return how far the copies of each store are proved. Looks at all of them."""
        ...

    async def note_findings(self, found: Sequence[Finding], *, run: str, at: int) -> None:
        """Keep what a run has seen; it counts when `judge_findings` says that the run was sound."""
        ...

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
        """Count what a sound run has noted, and forget what it would have seen (`kinds`) and did not.

        What is dark, was seen twice and for `gap` at least is quarantined for `hold` microseconds, if `quarantines`.
        """
        ...

    async def count_findings(self, store: str, run: str) -> None:
        """Count what a run has noted of a store as seen, and judge nothing else."""
        ...

    async def findings_over(
        self, store: str, run: str, *, after: str = ..., limit: int = ...
    ) -> Sequence[Finding]:
        """Return what is dark, was seen by this run, and whose quarantine is over; by blob, behind `after`."""
        ...

    async def bad_findings(
        self, store: str, run: str, *, after: str = ..., limit: int = ...
    ) -> Sequence[Finding]:
        """Return what a run noted or found of copies that have rows, by blob, behind `after`."""
        ...

    async def resolve_findings(self, store: str, blobs: Sequence[str], *, kinds: Sequence[str]) -> None:
        """Forget findings of these kinds about these blobs: it is so no longer."""
        ...

    async def findings(
        self,
        *,
        store: str = "",
        kind: str = "",
        state: str = "",
        after: tuple[str, str, str] = ...,
        limit: int = ...,
    ) -> Sequence[Finding]:
        """Page through findings by (store, blob, kind); those that are only noted are left out, unless asked for."""
        ...

    async def finding(self, store: str, blob: str, kind: str) -> Finding:
        """Return a finding or raise `NotFoundError`."""
        ...

    async def change_finding(
        self, finding: Finding, state: FindingState, *, hold: int | None = None, actor: Actor = ...
    ) -> Finding:
        """Give a finding another state, audited; `ConflictError` when it has another one meanwhile."""
        ...

    async def remove_finding(
        self, finding: Finding, row_id: str, *, names: Sequence[str] = (), actor: Actor = ...
    ) -> bool:
        """Leave dark bytes to `sweep`, audited: False when a row knows them, or their quarantine is not over.

        A row may know them under one of `names` too.
        """
        ...

    async def gather_told(self, run: str, found: Sequence[Told]) -> None:
        """Keep what blobs say of themselves, while a rebuild gathers it."""
        ...

    async def told_blobs(
        self, run: str, *, after: tuple[str, str, str, str] = ..., limit: int = ...
    ) -> Sequence[Told]:
        """Page through what was gathered, behind a (tenant, bucket, key, version)."""
        ...

    async def clear_told(self, run: str) -> bool:
        """Drop what was gathered of one key; False when nothing was left."""
        ...

    async def place_version(
        self,
        version: NewVersion,
        created: int,
        copies: Sequence[Replica],
        *,
        grace: int,
        actor: Actor = ...,
    ) -> Placed:
        """Make a version with its copies, live, at its place in time among those of its key; audited.

        One that is there already gets the copies that it lacks. `NotFoundError` without its bucket.
        """
        ...

    async def finding_counts(self) -> FindingCounts:
        """Return how many findings there are, by store, kind and state."""
        ...

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
        actor: Actor = ...,
    ) -> Version:
        """Make `version` the current one of its key, with `data` as the content of its only copy, in one transaction.

        Nothing was begun before. As `commit_put` otherwise; quotas are checked and charged in here, and the answer to
        an earlier request of the same idempotency key is returned as `begin` does.
        """
        ...

    async def content_put(self, blob: str, data: bytes, *, if_absent: bool = False) -> int:
        """Keep `data` under a name, in place of what is there, and return the time.

        Raises:
            AlreadyExistsError: with `if_absent`, and the name is taken.
        """
        ...

    async def content_get(self, blob: str) -> Content:
        """Return what lies under a name, or raise `NotFoundError`."""
        ...

    async def content_info(self, blob: str) -> Content:
        """Return its size and time, without its bytes, or raise `NotFoundError`."""
        ...

    async def content_delete(self, blob: str) -> None:
        """Remove a name; succeeds when it is not there."""
        ...

    async def content_list(
        self, prefix: str = "", *, after: str = "", limit: int = 1000
    ) -> Sequence[Content]:
        """Return a page of names that begin with `prefix`, in byte order, without their bytes."""
        ...

    # -- rates --------------------------------------------------------------------------------------------------
    async def lease_rate(self, key: str, ask: RateAsk) -> RateGrant:
        """Take units of the limit `key`, which all processes over this catalog share; one statement, whoever else asks."""
        ...

    async def forget_rates(self, *, limit: int = 10_000) -> int:
        """Drop limits that nobody has used for a minute and that hold nobody up; return how many."""
        ...

    # -- figures ------------------------------------------------------------------------------------------------
    async def usages(self) -> Sequence[tuple[str, str, Usage]]:
        """Return (tenant, bucket, counters) of every bucket, from kept sums."""
        ...

    async def quota_uses(self) -> Sequence[tuple[str, str, QuotaUse]]:
        """Return (tenant, bucket, use) of all that is metered; bucket "" is the whole tenant."""
        ...

    async def backlog(self) -> Backlog:
        """Return what waits to be done."""
        ...

    # -- use of stores ------------------------------------------------------------------------------------------
    async def measure_stores(self, after: str = "") -> tuple[Sequence[Held], str | None]:
        """Return what a stretch of copies holds, by store and id of the bucket, and where the next begins; None: the end."""
        ...

    async def keep_store_uses(self, held: Sequence[tuple[str, int, int, int]], *, measured: int) -> None:
        """Keep a measurement (store, id of the bucket, blobs, bytes) in the place of the one before."""
        ...

    async def add_to_ledger(self, entries: Sequence[Entry]) -> None:
        """Add what a process asked of stores to today's rows (UTC, by the catalog's clock)."""
        ...

    async def store_days(self, since: int, until: int) -> tuple[Sequence[Daily], Sequence[Holding]]:
        """Return what was asked of stores, and what they held, on the days from `since`, before `until` (days since the epoch)."""
        ...

    async def store_uses(self) -> tuple[int | None, Sequence[StoreUse]]:
        """Return when the stores were measured last (None: never) and what each bucket held in each of them.

        Tenant and bucket are "" for what only waits to be deleted.
        """
        ...

    # -- stores -------------------------------------------------------------------------------------------------
    async def stores(self) -> tuple[int, Sequence[Connection]]:
        """Return how often the stores of the catalog have changed, and all of them by name."""
        ...

    async def store(self, name: str) -> Connection:
        """Return one store of the catalog; `NotFoundError` when it has none of that name."""
        ...

    async def create_store(self, connection: Connection, *, actor: Actor = ...) -> Connection:
        """Keep a new store as it is given; audited. `AlreadyExistsError` when there is one of that name."""
        ...

    async def update_store(
        self,
        name: str,
        change: Callable[[Connection], Connection],
        *,
        action: str = ...,
        detail: Mapping[str, str] = ...,
        actor: Actor = ...,
    ) -> Connection:
        """Make a store what `change` returns for what it is; audited as `action`, unless it is so already.

        `change` is called inside the transaction, perhaps again; what it raises ends the transaction.
        """
        ...

    async def check_store_unused(self, name: str) -> None:
        """Return when no rule names the store and no blob of any state is in it; `ConflictError` otherwise."""
        ...

    async def retire_store(self, name: str, *, actor: Actor = ...) -> None:
        """Remove a store; audited. `ConflictError` when it is active, a rule names it, or a blob of any state is in it."""
        ...

    # -- secrets ------------------------------------------------------------------------------------------------
    async def secret(self, name: str, fresh: bytes) -> bytes:
        """Return the random bytes kept under `name`: `fresh`, unless there were some before."""
        ...

    # -- keys ---------------------------------------------------------------------------------------------------
    async def create_key(self, key: ApiKey, *, actor: Actor = ...) -> None: ...
    async def api_key(self, key_id: str) -> ApiKey | None: ...
    async def api_keys(self, tenant: str | None = None) -> Sequence[ApiKey]: ...
    async def revoke_key(self, key_id: str, *, tenant: str | None = None, actor: Actor = ...) -> ApiKey:
        """End a key (of `tenant`, if that is given); `NotFoundError` when there is none. A second time changes nothing."""
        ...

    async def revoke_token(
        self, token_id: str, *, tenant: str, expires: int, action: str = ..., actor: Actor = ...
    ) -> None:
        """End a signed token before its time; `token_id` is `ISSUER:JTI`, `action` what the audit calls it."""
        ...

    async def note(self, tenant: str, action: str, detail: Mapping[str, str], *, actor: Actor = ...) -> None:
        """Write a line of the audit for what changed nothing in the catalog."""
        ...

    async def token_revoked(self, token_id: str) -> bool: ...
    async def forget_tokens(self) -> None:
        """Drop what was remembered of revoked tokens that have expired."""
        ...

    # -- audit --------------------------------------------------------------------------------------------------
    async def audit(
        self, tenant: str, *, after: int = 0, limit: int = 1000, since: int = 0, until: int = 1 << 62
    ) -> Sequence[AuditEntry]:
        """Return records of the tenant ("" for those of none) with a number above `after`, in order.

        Only those of a time from `since` to just before `until`. The number of a record that is not sealed yet is
        provisional.
        """
        ...

    async def audit_open_tenants(self) -> Sequence[str]:
        """Return the tenants with rows that are not sealed."""
        ...

    async def audit_open(self, tenant: str, *, limit: int) -> tuple[Sequence[int], Sequence[Line]]:
        """Return the oldest rows that are not sealed: ids, ascending, and what they say."""
        ...

    async def audit_tenants(self) -> Sequence[str]:
        """Return the tenants of which something was sealed, also those of which nothing is left but the mark."""
        ...

    async def audit_mark(self, tenant: str) -> bytes | None:
        """Return what is kept, apart from its chain, to tell that an audit has begun; None when it has not."""
        ...

    async def audit_head(self, tenant: str) -> AuditHead | None:
        """Return where the chain stands; None when nothing was sealed."""
        ...

    async def audit_segments(self, tenant: str, *, after: int, limit: int) -> Sequence[Sealed]:
        """Return sealed segments with a number above `after`, in order, as they are stored."""
        ...

    async def seal_audit(
        self, tenant: str, chain: Chain, packed: Sequence[Packed], *, taken: Sequence[int] = ()
    ) -> AuditHead:
        """Append segments; the open rows `taken` (all ids from the first to the last), which they hold, go.

        `ConflictError` when these rows are not as they were; `CorruptedError` when the chain is not as we left it.
        Both leave everything as it was.
        """
        ...

    async def prune_audit(self, tenant: str, chain: Chain, *, before: int, actor: Actor = ...) -> Pruned:
        """Remove the oldest segments, as long as all their records are of a time before `before`; audited.

        `CorruptedError` as for `seal_audit`.
        """
        ...

    async def restart_audit(self, tenant: str, chain: Chain, *, actor: Actor = ...) -> Pruned:
        """Give up all that is sealed, whatever its state; audited. Numbers go on."""
        ...

    # -- what others wrote, and write ---------------------------------------------------------------------------
    async def held_keys(self, tenant: str, bucket: str, keys: Sequence[str]) -> Mapping[str, HeldKey]:
        """Return what is here of each of these keys, and how it diverged; a key that never was is left out."""
        ...

    async def take_over(
        self,
        tenant: str,
        bucket: str,
        taking: Taking,
        candidates: Sequence[Candidate],
        *,
        judge: Judge,
        grace: int,
        actor: Actor = ...,
    ) -> Sequence[Taken]:
        """Make versions of what lies in a foreign store, where it is newer than what is here, and copy nothing.

        Returned is what became of each, in order. Doing it again changes nothing.

        Raises:
            QuotaExceededError: they do not fit, all together; nothing was taken.
            ConflictError: they are of an upstream that the bucket does not follow any more.
        """
        ...

    async def upstream(self, tenant: str, bucket: str) -> Upstream | None:
        """Return what a bucket follows, None for nothing; `NotFoundError` when there is no such bucket."""
        ...

    async def upstreams(self, tenant: str = "") -> Sequence[Upstream]:
        """Return what the buckets of a tenant follow, or all buckets ("")."""
        ...

    async def attach_upstream(self, upstream: Upstream, *, actor: Actor = ...) -> Upstream:
        """Have a bucket follow a store; audited. `ConflictError` when it follows one."""
        ...

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
        actor: Actor = ...,
    ) -> Upstream:
        """Change how a bucket follows; audited. `passed` counts a pass, `differences` is what a comparison found.

        Raises:
            NotFoundError: it follows nothing. ConflictError: `unowed`, and changes are still to be written out.
        """
        ...

    async def detach_upstream(self, tenant: str, bucket: str, *, actor: Actor = ...) -> None:
        """Have a bucket follow nothing any more; audited. What was deleted here stays known."""
        ...

    async def owed_out(
        self, upstream: Upstream, *, after: str = "", limit: int = 500, due: int | None = None
    ) -> Sequence[Divergence]:
        """Return changes that the upstream does not have, by key: those that are due by then, now if not given."""
        ...

    async def take_out(self, upstream: Upstream, *, limit: int, lease: int) -> Sequence[Divergence]:
        """Return changes that are due to be written out, and that nobody else takes for `lease` microseconds."""
        ...

    async def send_out(self, upstream: Upstream, key: str, content: str) -> None:
        """Note which content is about to be written out under a key; see `Divergence.sent`."""
        ...

    async def settle_out(self, upstream: Upstream, paid: Divergence, *, pin: str, modified: int) -> bool:
        """Note that the upstream has a change now, and what it calls it; False when the key changed again since."""
        ...

    async def postpone_out(self, upstream: Upstream, owed: Divergence, *, until: int, trouble: str) -> None:
        """Have a change written out later; `trouble` says why it could not be."""
        ...

    async def owing_out(self, upstream: Upstream) -> Owing:
        """Return how many changes the upstream does not have; at most 100,000 are counted."""
        ...

    async def stranded(
        self, upstream: Upstream, *, after: tuple[str, str] = ..., limit: int = ...
    ) -> Sequence[Stranded]:
        """Return versions of any bucket whose bytes are only in the upstream's store, behind a (blob, id of the row)."""
        ...

    async def pinned_keys(
        self, upstream: Upstream, *, above: str, upto: str, limit: int = 1000
    ) -> Sequence[Pinned]:
        """Return objects as they were adopted, with keys behind `above` up to `upto`, by key."""
        ...

    async def miss_keys(
        self, upstream: Upstream, found: Sequence[Pinned], *, above: str, upto: str, number: int
    ) -> Sequence[Missed]:
        """Remember that the listing of a stretch, in pass `number`, showed all but `found`.

        Returned is what was not shown in an earlier pass either.
        """
        ...

    async def count_misses(self, upstream: Upstream) -> int:
        """Return how many objects the last listing of their stretch did not show; at most 100,000 are counted."""
        ...

    async def vanish(
        self, ref: ObjectRef, version_id: str, *, marker_id: str, grace: int, actor: Actor = ...
    ) -> bool:
        """Remove an object that its upstream has no more, if it is as it was adopted; return whether it was."""
        ...

    # -- snapshots, moments and clones ----------------------------------------------------------------------------
    async def create_snapshot(
        self,
        tenant: str,
        bucket: str,
        name: str,
        *,
        at: int | None = None,
        note: str = "",
        actor: Actor = ...,
    ) -> Snapshot:
        """Give a moment of a bucket a name: now, or an earlier one; audited. Versions current then stay.

        Raises:
            AlreadyExistsError: there is one of that name.
            ConflictError: the bucket keeps no versions, or follows a store.
            InvalidRequestError: the moment is in the future.
        """
        ...

    async def snapshot(self, tenant: str, bucket: str, name: str) -> Snapshot:
        """Return a snapshot or raise `NotFoundError`."""
        ...

    async def time_reached(self, tenant: str, bucket: str, at: int) -> int:
        """Return the latest time that a version of a bucket can have that was made by `at`, a time of the clock.

        That is `at`, but where the clock was set back behind the newest snapshot: what is made is dated behind that.
        """
        ...

    async def snapshots(
        self, tenant: str, bucket: str, *, after: str = "", limit: int = 1000
    ) -> Sequence[Snapshot]:
        """Return snapshots of a bucket by name."""
        ...

    async def delete_snapshot(self, tenant: str, bucket: str, name: str, *, actor: Actor = ...) -> None:
        """Forget a snapshot; audited. No version is removed by it."""
        ...

    async def clear_snapshots(self, tenant: str, bucket: str) -> None:
        """Forget all snapshots of a bucket that goes with its tenant."""
        ...

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
        """Return one page of what a listing showed at a moment, without what was removed for good since."""
        ...

    async def version_at(self, ref: ObjectRef, at: int) -> str:
        """Return the id of what a reader found at a moment; `NotFoundError` when that was nothing, or is gone."""
        ...

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
        """Return keys of which there are versions, behind `marker`, each as it was at two moments (None: now)."""
        ...

    async def hide_object(self, ref: ObjectRef, over: str, *, marker_id: str, actor: Actor = ...) -> Deleted:
        """Put a delete marker on top of the version `over`; audited. Nothing is removed.

        Raises:
            ConflictError: something else is current, or the bucket keeps no versions.
        """
        ...

    async def clone(
        self,
        version: NewVersion,
        source: Version,
        ids: Mapping[str, str],
        *,
        over: str | None = None,
        grace: int,
        actor: Actor = ...,
    ) -> Version:
        """Make `version` current over the blobs of `source`; audited, charged in full.

        Args:
            ids: the id of each new copy by that of the one that it shares its blob with.
            over: the version that must be current ("": none); None: whatever is.

        Raises:
            NotFoundError: a bucket, or the source, is gone.
            ConflictError: something else is current, or would be replaced for good, or the copies of the source are
                others now.
        """
        ...
