"""The verbs on snapshots and on buckets as they were, for callers without an event loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from holdfast.library.moments import MomentVerbs
from holdfast.library.portal import Portal

if TYPE_CHECKING:
    from holdfast.core.records import Snapshot
    from holdfast.core.types import ListPage
    from holdfast.engine.moments import Difference


class SyncMoments:
    """The verbs of `MomentVerbs` without `await`. What has it sets the portal and the client underneath."""

    _portal: Portal
    _aio: Any

    @property
    def _pasts(self) -> MomentVerbs:
        verbs: MomentVerbs = self._aio
        return verbs

    def create_snapshot(self, bucket: str, name: str, *, at: int | None = None, note: str = "") -> Snapshot:
        """Give a moment of a bucket that keeps versions a name; see `AsyncClient.create_snapshot`.

        >>> client.create_bucket("diary", versioning=True).name
        'diary'
        >>> client.put("diary", "monday.txt", b"rain").size
        4
        >>> client.create_snapshot("diary", "week-1").name
        'week-1'
        """
        return self._portal.call(self._pasts.create_snapshot(bucket, name, at=at, note=note))

    def snapshot(self, bucket: str, name: str) -> Snapshot:
        """Return a snapshot."""
        return self._portal.call(self._pasts.snapshot(bucket, name))

    def snapshots(self, bucket: str) -> Sequence[Snapshot]:
        """Return the snapshots of a bucket by name.

        >>> made = client.create_bucket("album", versioning=True)
        >>> made = client.create_snapshot("album", "empty")
        >>> [one.name for one in client.snapshots("album")]
        ['empty']
        """
        return self._portal.call(self._pasts.snapshots(bucket))

    def delete_snapshot(self, bucket: str, name: str) -> None:
        """Forget a snapshot; no version is removed by it."""
        self._portal.call(self._pasts.delete_snapshot(bucket, name))

    def page_at(
        self,
        bucket: str,
        at: int,
        *,
        prefix: str = "",
        delimiter: str = "",
        marker: str = "",
        limit: int = 1000,
    ) -> ListPage:
        """Return one page of what was in a bucket at a moment.

        >>> made = client.create_bucket("notes", versioning=True)
        >>> version = client.put("notes", "one.txt", b"1")
        >>> then = client.create_snapshot("notes", "first").at
        >>> gone = client.delete("notes", "one.txt")
        >>> [item.ref.key for item in client.page_at("notes", then).items]
        ['one.txt']
        """
        return self._portal.call(
            self._pasts.page_at(bucket, at, prefix=prefix, delimiter=delimiter, marker=marker, limit=limit)
        )

    def version_at(self, bucket: str, key: str, at: int) -> str:
        """Return the id of the version that a reader found at a moment."""
        return self._portal.call(self._pasts.version_at(bucket, key, at))

    def compare(
        self,
        bucket: str,
        at: int,
        until: int | None = None,
        *,
        prefix: str = "",
        marker: str = "",
        limit: int = 1000,
    ) -> Difference:
        """Return keys that are not the same at two moments; go on while it has a `next_marker`."""
        return self._portal.call(
            self._pasts.compare(bucket, at, until, prefix=prefix, marker=marker, limit=limit)
        )
