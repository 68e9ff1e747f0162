"""What the engine may ask of a catalog, and what each answer promises. SQLite and PostgreSQL both keep it.

Every method that writes is one transaction, durable when it returns. A connection lost while committing is resolved
here: the outcome is read back by id (`commit_put` and the like are re-runnable), never guessed; when the catalog stays
unreachable `UnavailableError` is raised and the caller must not assume either outcome.

Times are microseconds of *the catalog's clock*. A pending replica is protected until its lease ends; `doom` is final:
nothing returns from it to life.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from holdfast.core.conditions import NO_CONDITIONS, Preconditions
from holdfast.core.types import (
    EMPTY,
    ApiKey,
    AuditEntry,
    Bucket,
    ChecksumType,
    Deleted,
    Digests,
    ListPage,
    Located,
    ObjectRef,
    Part,
    Replica,
    Segment,
    Tenant,
    Upload,
    Usage,
    Version,
    VersionPage,
)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does it and under which request, for the audit row."""

    principal: str = ""
    request_id: str = ""
    address: str = ""


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


@dataclass(frozen=True, slots=True)
class DoomedReplica:
    """Bytes that may be deleted now."""

    id: str
    store: str
    blob: str
    committed: bool = True  #: it was live once; else its put may have left more than the blob


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
    async def create_tenant(self, name: str) -> Tenant:
        """Make a tenant; `AlreadyExistsError` when there is one."""
        ...

    async def tenants(self) -> Sequence[Tenant]: ...
    async def create_bucket(
        self, tenant: str, name: str, *, versioning: bool = False, actor: Actor = ...
    ) -> Bucket:
        """Make a bucket; `AlreadyExistsError` when there is one, `NotFoundError` for an unknown tenant."""
        ...

    async def bucket(self, tenant: str, name: str) -> Bucket: ...
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

    # -- writing ------------------------------------------------------------------------------------------------
    async def begin(
        self,
        ref: ObjectRef,
        replicas: Sequence[Replica],
        *,
        lease_until: int,
        idempotency: Idempotency | None = None,
    ) -> Version | None:
        """T1: record `replicas` (state pending) before any byte moves.

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
    async def resolve(self, ref: ObjectRef, *, version_id: str | None = None) -> Located:
        """Return the current (or named) version, its segments in order, and its live and suspect replicas.

        `NotFoundError` when there is none, or it is a delete marker (then with `delete_marker` version found by
        `version()`).
        """
        ...

    async def version(self, ref: ObjectRef, version_id: str) -> Version:
        """Return that version of that key, delete markers included, or raise `NotFoundError`."""
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
    ) -> Deleted:
        """Remove the object.

        Without `version_id`: in a versioned bucket a delete marker `marker_id` becomes current (also when the key
        never existed); in an unversioned one the current version goes, and a marker is left only if older versions
        remain. With it: that version (or marker) is removed for good and the next older one becomes current. What
        is not there is a success with `Deleted(None)`. Bytes are doomed with `not_before = now + grace`.
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

    async def commit_part(self, upload_id: str, part: Part, replica_ids: Sequence[str]) -> Part:
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
        """Drop doomed rows whose bytes are gone."""
        ...

    async def postpone(self, replica_ids: Sequence[str], *, until: int) -> None:
        """Move `not_before` of doomed replicas to `until`: their store could not delete them now."""
        ...

    async def replicas(
        self, *, store: str | None = None, after: str = "", limit: int = 1000
    ) -> Sequence[Replica]:
        """Page through all replica rows by id: for proofs and later jobs."""
        ...

    # -- keys and audit -----------------------------------------------------------------------------------------
    async def create_key(self, key: ApiKey) -> None: ...
    async def api_key(self, key_id: str) -> ApiKey | None: ...
    async def api_keys(self, tenant: str | None = None) -> Sequence[ApiKey]: ...
    async def revoke_key(self, key_id: str) -> None: ...
    async def audit(self, tenant: str, *, after: int = 0, limit: int = 1000) -> Sequence[AuditEntry]:
        """Return audit entries in the order of their commits, after the given row number."""
        ...
