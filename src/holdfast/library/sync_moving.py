"""The verbs on moves and upstreams for callers without an event loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from holdfast.library.moving import MoveVerbs
from holdfast.library.portal import Portal

if TYPE_CHECKING:
    from holdfast.core.adopted import Upstream
    from holdfast.core.records import KeptMove
    from holdfast.engine.moves import Difference, MoveStatus
    from holdfast.engine.upstream_desk import UpstreamStatus


class SyncMoves:
    """The verbs of `MoveVerbs` without `await`. What has it sets the portal and the client underneath."""

    _portal: Portal
    _aio: Any

    @property
    def _mover(self) -> MoveVerbs:
        verbs: MoveVerbs = self._aio
        return verbs

    def moves(self) -> Sequence[MoveStatus]:
        """Return every move with what its stores hold, the oldest first.

        >>> client.moves()
        []
        """
        return self._portal.call(self._mover.moves())

    def begin_move(self, source: str, target: str) -> KeptMove:
        """Have new objects of `source` go to `target` too; see `AsyncClient.begin_move`."""
        return self._portal.call(self._mover.begin_move(source, target))

    def verify_move(self, source: str) -> Difference:
        """Return what the move of `source` has left to do. Every version is looked at."""
        return self._portal.call(self._mover.verify_move(source))

    def cut_over_move(self, source: str, *, keep: float | None = None) -> KeptMove:
        """Have the target take the source's place; see `AsyncClient.cut_over_move`."""
        return self._portal.call(self._mover.cut_over_move(source, keep=keep))

    def take_move_back(self, source: str) -> KeptMove:
        """Take a move back, whatever its phase."""
        return self._portal.call(self._mover.take_move_back(source))

    def forget_move(self, source: str) -> None:
        """Drop a move that has nothing left to say."""
        self._portal.call(self._mover.forget_move(source))

    def upstreams(self, *, tenant: str | None = None) -> Sequence[UpstreamStatus]:
        """Return what buckets follow, of one tenant or of all, and how far they are.

        >>> client.upstreams()
        []
        """
        return self._portal.call(self._mover.upstreams(tenant=tenant))

    def upstream(self, bucket: str, *, tenant: str | None = None) -> UpstreamStatus:
        """Return what a bucket follows; `NotFoundError` when it follows nothing."""
        return self._portal.call(self._mover.upstream(bucket, tenant=tenant))

    def attach_upstream(self, wish: Upstream) -> UpstreamStatus:
        """Have a bucket follow a store from now on; see `AsyncClient.attach_upstream`."""
        return self._portal.call(self._mover.attach_upstream(wish))

    def change_upstream(
        self,
        bucket: str,
        *,
        tenant: str | None = None,
        dual_write: bool | None = None,
        fresh: bool | None = None,
    ) -> UpstreamStatus:
        """Change whether changes are written out, and whether each read asks."""
        return self._portal.call(
            self._mover.change_upstream(bucket, tenant=tenant, dual_write=dual_write, fresh=fresh)
        )

    def take_upstream_back(self, bucket: str, *, tenant: str | None = None) -> UpstreamStatus:
        """Have everything that was changed here written out, so that clients may go back."""
        return self._portal.call(self._mover.take_upstream_back(bucket, tenant=tenant))

    def detach_upstream(self, bucket: str, *, tenant: str | None = None, force: bool = False) -> None:
        """Have a bucket follow nothing any more; see `AsyncClient.detach_upstream`."""
        self._portal.call(self._mover.detach_upstream(bucket, tenant=tenant, force=force))
