"""The verbs on holds, locks and lifecycle rules, as every client has them, and how an engine in this process does them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdfast.core.retention import LockMode
    from holdfast.engine.retention import Kept, LifeExplained
    from holdfast.engine.session import Session


class KeepingVerbs(ABC):
    """What keeps versions from being removed, and what becomes of them. `version_id` None: the current version."""

    @abstractmethod
    async def keeping(self, bucket: str, key: str, *, version_id: str | None = None) -> Kept:
        """Return what keeps a version; `NotFoundError` when there is none."""

    @abstractmethod
    async def hold(
        self, bucket: str, key: str, on: bool = True, *, version_id: str | None = None, reason: str = ""
    ) -> Kept:
        """Put a version under legal hold, or with `on` False clear it; nobody can remove it until then."""

    @abstractmethod
    async def lock(
        self,
        bucket: str,
        key: str,
        mode: LockMode | None,
        *,
        until: int | None = None,
        days: int | None = None,
        version_id: str | None = None,
        reason: str = "",
    ) -> Kept:
        """Lock a version until a time (microseconds) or for `days`, or with `mode` None take its lock away.

        With a `reason`, a lock in governance mode may be made shorter or lifted, by who may `bypass_retention`.

        Raises:
            ConflictError: a lock that holds would be weakened, or the bucket keeps no versions.
        """

    @abstractmethod
    async def explain_lifecycle(
        self, bucket: str, key: str, *, version_id: str | None = None
    ) -> LifeExplained:
        """Return what the rules of the bucket want of a version, when and why; nothing is done."""


class EmbeddedKeeping(KeepingVerbs):
    """Holds and locks by a session. What has it sets `_session`."""

    _session: Session

    async def keeping(self, bucket: str, key: str, *, version_id: str | None = None) -> Kept:
        """See `KeepingVerbs`."""
        return await self._session.retention.keeping(bucket, key, version_id=version_id)

    async def hold(
        self, bucket: str, key: str, on: bool = True, *, version_id: str | None = None, reason: str = ""
    ) -> Kept:
        """See `KeepingVerbs`."""
        return await self._session.retention.hold(bucket, key, on, version_id=version_id, reason=reason)

    async def lock(
        self,
        bucket: str,
        key: str,
        mode: LockMode | None,
        *,
        until: int | None = None,
        days: int | None = None,
        version_id: str | None = None,
        reason: str = "",
    ) -> Kept:
        """See `KeepingVerbs`."""
        return await self._session.retention.lock(
            bucket, key, mode, until=until, days=days, version_id=version_id, reason=reason
        )

    async def explain_lifecycle(
        self, bucket: str, key: str, *, version_id: str | None = None
    ) -> LifeExplained:
        """See `KeepingVerbs`."""
        return await self._session.retention.explain(bucket, key, version_id=version_id)
