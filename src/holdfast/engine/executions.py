"""Executions and the artifacts that they left, as one principal sees them.

A run is looked after like an object `RUN/` in the bucket for executions: who may list there, and read, put or delete, may
do so with runs. The content of an artifact is an object of the bucket for its kind, `RUN/ARTIFACT/NAME`, and is read and
stored as that; or a file from before, which an operator registered and which is read where it lies.

The content is stored first and recorded then. Broken off in between, an object without an artifact is left, which goes
when the time of its bucket is over; the same upload again, after a while, takes its place.
"""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from holdfast.catalog.contract import Actor
from holdfast.core.body import Body
from holdfast.core.conditions import Preconditions
from holdfast.core.errors import (
    AlreadyExistsError,
    ConflictError,
    CorruptedError,
    DigestMismatchError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
)
from holdfast.core.records import Artifact, Execution
from holdfast.core.types import EMPTY, NO_DIGESTS, Digests, ObjectRef, Version
from holdfast.engine import in_place, write
from holdfast.engine.context import Context
from holdfast.engine.in_place import OpenFile
from holdfast.engine.permits import Permit
from holdfast.engine.write import ObjectInput, check_input
from holdfast.policy.artifacts import (
    check_id,
    check_label,
    check_name,
    check_policy,
    kind_for,
)

if TYPE_CHECKING:
    from holdfast.engine.session import Session

FILESYSTEM: Final = "filesystem"
DATABASE: Final = "database"
_RUNS: Final = "executions"  #: the kind of bucket that stands for runs
_PAGE: Final = 1000
_SECOND: Final = 1_000_000
_STATUS: Final = 50


@dataclass(frozen=True, slots=True)
class NewArtifact:
    """What is said of an artifact that comes in. Without an id it gets one; its type may be any short word."""

    name: str
    id: str = ""
    artifact_type: str = "artifact"
    retention_policy: str = ""  #: "": temporary or archived by its type, else permanent
    content_type: str | None = None
    compression: str = ""
    encryption_key_ref: str = ""
    metadata: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    digests: Digests = NO_DIGESTS


class Executions:
    """Verbs on executions and artifacts. `Session.executions` gives it; costs nothing to make."""

    def __init__(self, session: Session, context: Context, permit: Permit, actor: Actor) -> None:
        self._session = session
        self._context = context
        self._permit = permit
        self._actor = actor

    # -- executions ---------------------------------------------------------------------------------------------
    async def create(
        self,
        execution_id: str | None = None,
        *,
        name: str = "",
        status: str = "running",
        metadata: Mapping[str, str] = EMPTY,
    ) -> Execution:
        """Record a run; without an id it gets one. `AlreadyExistsError` when there is one of that id."""
        self._allow("put", execution_id or "new")
        made = Execution(
            execution_id if execution_id is not None else self._context.environment.new_id(),
            self._tenant,
            check_label("name", name),
            _status(status),
            _metadata(metadata),
        )
        check_id(made.id, "an execution")
        return await self._context.catalog.create_execution(made, actor=self._actor)

    async def list(
        self, *, before: int = 1 << 62, after: str = "", limit: int = 100
    ) -> tuple[Sequence[Execution], bool]:
        """Return runs, the newest first, those behind one made at `before` with the id `after`; and if there are more."""
        self._permit.allow_role("list")
        self._permit.allow("list", self._runs)
        limit = max(1, min(limit, _PAGE))
        found = await self._context.catalog.executions(self._tenant, before=before, after=after, limit=limit)
        return found, len(found) == limit

    async def get(self, execution_id: str) -> tuple[Execution, Sequence[Artifact]]:
        """Return a run, and those of its artifacts that this session may know of."""
        self._allow("get", execution_id)
        found = await self._context.catalog.execution(self._tenant, execution_id)
        return found, [one async for one in self._artifacts(execution_id) if self._may_see(one)]

    async def update(
        self,
        execution_id: str,
        *,
        name: str | None = None,
        status: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Execution:
        """Change what is given."""
        self._allow("put", execution_id)
        held = await self._context.catalog.execution(self._tenant, execution_id)
        wanted = replace(
            held,
            name=held.name if name is None else check_label("name", name),
            status=held.status if status is None else _status(status),
            metadata=held.metadata if metadata is None else _metadata(metadata),
        )
        return await self._context.catalog.update_execution(wanted, actor=self._actor)

    async def delete(self, execution_id: str) -> int:
        """Remove a run with all its artifacts, for good; return how many there were. Files in place stay."""
        self._allow("delete", execution_id)
        await self._context.catalog.execution(self._tenant, execution_id)
        count = 0
        async for artifact in self._artifacts(execution_id):
            await self._remove(artifact)
            count += 1
        await self._context.catalog.remove_execution(self._tenant, execution_id, actor=self._actor)
        return count

    # -- artifacts ----------------------------------------------------------------------------------------------
    async def expect(self, execution_id: str) -> None:
        """Return when artifacts of that run are taken now; else raise what storing one would raise."""
        self._allow("put", execution_id)
        await self._context.catalog.execution(self._tenant, execution_id)

    async def add(self, execution_id: str, wish: NewArtifact, body: Body) -> Artifact:
        """Store `body` as an artifact of a run and return it.

        Raises:
            AlreadyExistsError: the run has an artifact of that id.
            NotFoundError: no such run, or no bucket for such artifacts yet and nobody who may make it.
            DigestMismatchError, TooLargeError, QuotaExceededError, UnavailableError: as for any put.
        """
        self._allow("put", execution_id)
        made = await self._new(execution_id, wish)
        bucket = await self._bucket(kind_for(made.artifact_type, made.retention_policy))
        ref = ObjectRef(self._tenant, bucket, f"{execution_id}/{made.id}/{made.name}")
        await self._free(ref, made)
        version = await self._session.put(
            ref.bucket,
            ref.key,
            body,
            ObjectInput(wish.content_type, made.metadata, digests=wish.digests),
            conditions=Preconditions(if_none_match=("*",)),
        )
        return await self._recorded(_of_version(made, version), version)

    async def register(
        self, execution_id: str, wish: NewArtifact, file_path: str, *, seconds: float | None = None
    ) -> Artifact:
        """Record a file that lies below one of the roots as an artifact, to be read in place; for operators.

        The file is read once: its SHA-256 is compared with the one that is given, or taken down. It is forgotten after
        `seconds`, and never removed.
        """
        self._permit.allow("operate")
        if seconds is not None and not seconds >= 0:
            raise InvalidRequestError(
                "expires_in: the seconds after which a file in place is forgotten are not negative"
            )
        made = await self._new(execution_id, wish)
        async with in_place.opened(self._context.settings.artifact_roots, file_path) as file:
            checksum, size = await file.sha256(), file.size
        announced = wish.digests.sha256
        if announced is not None and not hmac.compare_digest(announced.hex(), checksum):
            raise DigestMismatchError("the file's SHA-256 is not the one that was given", name=file_path)
        about = ObjectInput(wish.content_type, made.metadata)
        now = await self._context.catalog.now()
        registered = replace(
            made,
            storage_type=FILESYSTEM,
            file_path=file_path,
            content_type=check_input(about, made.name),
            size=size,
            checksum=checksum,
            expires=None if seconds is None else now + int(seconds * _SECOND),
        )
        return await self._context.catalog.add_artifact(registered, actor=self._actor)

    async def artifact(self, execution_id: str, artifact_id: str) -> Artifact:
        """Return what is known of an artifact, with every read of it that this process has counted."""
        self._allow("head", execution_id)
        return self._counted(await self._seen(execution_id, artifact_id, "head"))

    async def reading(self, execution_id: str, artifact_id: str) -> Artifact:
        """Return an artifact that is about to be read, and count that."""
        self._allow("get", execution_id)
        found = await self._seen(execution_id, artifact_id, "get")
        self._context.reads.count(found, self._context.environment.clock.now())
        return self._counted(found)

    @asynccontextmanager
    async def file(self, artifact: Artifact) -> AsyncIterator[OpenFile]:
        """Open an artifact that is a file in place.

        Raises:
            CorruptedError: it has not the size any more that it was registered with.
        """
        self._permit.allow_role("list")
        self._allow("get", artifact.execution_id)
        async with in_place.opened(self._context.settings.artifact_roots, artifact.file_path) as file:
            if file.size != artifact.size:
                raise CorruptedError(
                    f"the file has {file.size} bytes now, not the {artifact.size} that were registered",
                    name=artifact.file_path,
                )
            yield file

    async def remove(self, execution_id: str, artifact_id: str) -> None:
        """Remove an artifact with its content, for good; a file in place is only forgotten."""
        self._allow("delete", execution_id)
        await self._remove(await self._seen(execution_id, artifact_id, "delete"))

    # -----------------------------------------------------------------------------------------------------------
    @property
    def _tenant(self) -> str:
        return self._session.principal.tenant

    @property
    def _runs(self) -> str:
        return self._context.settings.artifact_buckets.bucket(_RUNS)

    def _allow(self, verb: str, execution_id: str) -> None:
        self._permit.allow_role("list")  # which nobody without a name has: runs are never public
        self._permit.allow_role(verb)
        self._permit.allow("list", self._runs, prefix=f"{execution_id}/")
        self._permit.allow(verb, self._runs, f"{execution_id}/")

    async def _new(self, execution_id: str, wish: NewArtifact) -> Artifact:
        """Return the artifact that is wished for, without its content; the run is there, and its id is free."""
        await self._context.catalog.execution(self._tenant, execution_id)
        made = Artifact(
            check_id(wish.id, "an artifact") if wish.id else self._context.environment.new_id(),
            self._tenant,
            execution_id,
            check_name(wish.name),
            artifact_type=check_label("artifact_type", wish.artifact_type) or "artifact",
            compression=check_label("compression", wish.compression),
            encryption_key_ref=check_label("encryption_key_ref", wish.encryption_key_ref),
            retention_policy=check_policy(wish.retention_policy or _policy_of(wish.artifact_type)),
            metadata=_metadata(wish.metadata),
        )
        try:
            await self._context.catalog.artifact(self._tenant, execution_id, made.id)
        except NotFoundError:
            return made
        raise AlreadyExistsError("the execution has an artifact of that id", name=made.id)

    async def _bucket(self, kind: str) -> str:
        """Return the bucket of a kind; one that is not there is made, by whoever may make buckets."""
        name = self._context.settings.artifact_buckets.bucket(kind)
        try:
            await self._context.rules.bucket(self._tenant, name)
        except NotFoundError:
            try:
                await self._session.create_default_bucket(kind)
            except PermissionDeniedError:
                raise NotFoundError(
                    f"there is no bucket {name} for this kind of artifact yet; an admin makes it, or uploads first",
                    name=name,
                ) from None
        return name

    async def _free(self, ref: ObjectRef, made: Artifact) -> None:
        """See that nothing stands where the content goes; what an upload left that broke off long ago is removed."""
        try:
            left = (await self._context.catalog.resolve(ref)).version
        except NotFoundError:
            return
        lease = int(self._context.settings.lease * _SECOND)
        if left.created + lease > await self._context.catalog.now():
            raise ConflictError(
                "another upload of this artifact is under way, or broke off just now; choose another id, or try again"
                f" in {self._context.settings.lease:.0f} seconds",
                name=made.id,
            )
        await write.delete(self._context, ref, version_id=left.id, actor=self._actor)

    async def _recorded(self, made: Artifact, version: Version) -> Artifact:
        try:
            return await self._context.catalog.add_artifact(made, actor=self._actor)
        except UnavailableError:  # it may have been recorded
            raise
        except (AlreadyExistsError, ConflictError, NotFoundError):
            await write.delete(self._context, version.ref, version_id=version.id, actor=self._actor)
            raise

    async def _artifacts(self, execution_id: str) -> AsyncIterator[Artifact]:
        after = ""
        while True:
            page = await self._context.catalog.artifacts(self._tenant, execution_id, after=after, limit=_PAGE)
            for artifact in page:
                yield self._counted(artifact)
            if len(page) < _PAGE:
                return
            after = page[-1].id

    async def _seen(self, execution_id: str, artifact_id: str, verb: str) -> Artifact:
        found = await self._context.catalog.artifact(self._tenant, execution_id, artifact_id)
        if found.bucket:
            await self._permit.enter(verb, found.bucket, found.key)
        return found

    def _may_see(self, artifact: Artifact) -> bool:
        return not artifact.bucket or self._permit.may("head", artifact.bucket, artifact.key)

    def _counted(self, artifact: Artifact) -> Artifact:
        count, last = self._context.reads.waiting(artifact)
        if not count:
            return artifact
        return replace(
            artifact,
            access_count=artifact.access_count + count,
            last_access=max(artifact.last_access or 0, last),
        )

    async def _remove(self, artifact: Artifact) -> None:
        """Remove the content, then the record: broken off in between, the record is as good as gone."""
        if artifact.bucket:
            await self._session.delete(artifact.bucket, artifact.key, version_id=artifact.version_id)
        await self._context.catalog.remove_artifact(
            artifact.tenant, artifact.execution_id, artifact.id, actor=self._actor
        )


def _of_version(made: Artifact, version: Version) -> Artifact:
    sha256 = version.digests.sha256
    return replace(
        made,
        bucket=version.ref.bucket,
        key=version.ref.key,
        version_id=version.id,
        content_type=version.content_type,
        size=version.size,
        checksum=sha256.hex() if sha256 else "",
    )


def _policy_of(artifact_type: str) -> str:
    return {"temp": "temporary", "backups": "archived"}.get(kind_for(artifact_type, ""), "permanent")


def _status(status: str) -> str:
    if not 0 < len(status) <= _STATUS or not status.isprintable():
        raise InvalidRequestError(f"a status has 1 to {_STATUS} printable characters")
    return status


def _metadata(metadata: Mapping[str, str]) -> Mapping[str, str]:
    check_input(ObjectInput("text/plain", metadata), "metadata")
    return dict(metadata)
