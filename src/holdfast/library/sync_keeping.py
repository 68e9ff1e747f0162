"""The verbs on holds, locks and lifecycle rules for callers without an event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from holdfast.library.keeping import KeepingVerbs
from holdfast.library.portal import Portal

if TYPE_CHECKING:
    from holdfast.core.retention import LockMode
    from holdfast.engine.retention import Kept, LifeExplained


class SyncKeeping:
    """The verbs of `KeepingVerbs` without `await`. What has it sets the portal and the client underneath."""

    _portal: Portal
    _aio: Any

    @property
    def _keepers(self) -> KeepingVerbs:
        verbs: KeepingVerbs = self._aio
        return verbs

    def keeping(self, bucket: str, key: str, *, version_id: str | None = None) -> Kept:
        """Return what keeps the current or a named version.

        >>> client.put("photos", "kept.jpg", b"...").size
        3
        >>> client.keeping("photos", "kept.jpg").keeping.hold
        False
        """
        return self._portal.call(self._keepers.keeping(bucket, key, version_id=version_id))

    def hold(
        self, bucket: str, key: str, on: bool = True, *, version_id: str | None = None, reason: str = ""
    ) -> Kept:
        """Put a version under legal hold, or with `on` False clear it.

        >>> client.put("photos", "held.jpg", b"...").size
        3
        >>> client.hold("photos", "held.jpg", reason="case 7").keeping.hold
        True
        """
        return self._portal.call(self._keepers.hold(bucket, key, on, version_id=version_id, reason=reason))

    def lock(
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
        """Lock a version until a time or for `days`, or with `mode` None take its lock away; see `AsyncClient.lock`."""
        return self._portal.call(
            self._keepers.lock(
                bucket, key, mode, until=until, days=days, version_id=version_id, reason=reason
            )
        )

    def explain_lifecycle(self, bucket: str, key: str, *, version_id: str | None = None) -> LifeExplained:
        """Return what the rules of the bucket want of a version, when and why.

        >>> client.put("photos", "old.jpg", b"...").size
        3
        >>> client.explain_lifecycle("photos", "old.jpg").wishes
        []
        """
        return self._portal.call(self._keepers.explain_lifecycle(bucket, key, version_id=version_id))
