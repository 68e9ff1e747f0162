"""The verbs on snapshots and on buckets as they were, as every client has them, and how an engine in this process does them.

Moments are microseconds since the epoch; `holdfast.policy.moments.time_of` reads a time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdfast.core.records import Snapshot
    from holdfast.core.types import ListPage
    from holdfast.engine.moments import Difference
    from holdfast.engine.session import Session


class MomentVerbs(ABC):
    """Buckets that keep versions, as they were. `ConflictError` where none are kept."""

    @abstractmethod
    async def create_snapshot(
        self, bucket: str, name: str, *, at: int | None = None, note: str = ""
    ) -> Snapshot:
        """Give a moment of a bucket a name: now, or an earlier one. What is current then stays until it is deleted.

        Raises:
            AlreadyExistsError: there is a snapshot of that name.
        """

    @abstractmethod
    async def snapshot(self, bucket: str, name: str) -> Snapshot:
        """Return a snapshot."""

    @abstractmethod
    async def snapshots(self, bucket: str) -> Sequence[Snapshot]:
        """Return the snapshots of a bucket by name."""

    @abstractmethod
    async def delete_snapshot(self, bucket: str, name: str) -> None:
        """Forget a snapshot; no version is removed by it."""

    @abstractmethod
    async def page_at(
        self,
        bucket: str,
        at: int,
        *,
        prefix: str = "",
        delimiter: str = "",
        marker: str = "",
        limit: int = 1000,
    ) -> ListPage:
        """Return one page of what was in a bucket at a moment; as `list_page`."""

    @abstractmethod
    async def version_at(self, bucket: str, key: str, at: int) -> str:
        """Return the id of the version that a reader found at a moment; `NotFoundError` when there was none."""

    @abstractmethod
    async def compare(
        self,
        bucket: str,
        at: int,
        until: int | None = None,
        *,
        prefix: str = "",
        marker: str = "",
        limit: int = 1000,
    ) -> Difference:
        """Return keys that are not the same at two moments (None: now); go on while it has a `next_marker`."""


class EmbeddedMoments(MomentVerbs):
    """Snapshots by a session. What has it sets `_session`."""

    _session: Session

    async def create_snapshot(
        self, bucket: str, name: str, *, at: int | None = None, note: str = ""
    ) -> Snapshot:
        """See `MomentVerbs`."""
        return await self._session.moments.create(bucket, name, at=at, note=note)

    async def snapshot(self, bucket: str, name: str) -> Snapshot:
        """See `MomentVerbs`."""
        return await self._session.moments.snapshot(bucket, name)

    async def snapshots(self, bucket: str) -> Sequence[Snapshot]:
        """See `MomentVerbs`."""
        found: list[Snapshot] = []
        while page := await self._session.moments.snapshots(bucket, after=found[-1].name if found else ""):
            found += page
        return found

    async def delete_snapshot(self, bucket: str, name: str) -> None:
        """See `MomentVerbs`."""
        await self._session.moments.delete(bucket, name)

    async def page_at(
        self,
        bucket: str,
        at: int,
        *,
        prefix: str = "",
        delimiter: str = "",
        marker: str = "",
        limit: int = 1000,
    ) -> ListPage:
        """See `MomentVerbs`."""
        return await self._session.list(
            bucket, prefix=prefix, delimiter=delimiter, marker=marker, limit=limit, at=at
        )

    async def version_at(self, bucket: str, key: str, at: int) -> str:
        """See `MomentVerbs`."""
        return await self._session.moments.version_id(bucket, key, at)

    async def compare(
        self,
        bucket: str,
        at: int,
        until: int | None = None,
        *,
        prefix: str = "",
        marker: str = "",
        limit: int = 1000,
    ) -> Difference:
        """See `MomentVerbs`."""
        return await self._session.moments.compare(
            bucket, at, until, prefix=prefix, marker=marker, limit=limit
        )
