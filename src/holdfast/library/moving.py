"""The verbs on moves and upstreams of operators, as every client has them, and how an engine in this process does them.

A move brings what one store holds to another; an upstream is a store that others still write to. Times are microseconds.
The long work of both is done by jobs: `migrate`, `finish-move`, `follow`, `verify-upstream`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdfast.core.adopted import Upstream
    from holdfast.core.records import KeptMove
    from holdfast.engine.moves import Difference, MoveStatus
    from holdfast.engine.session import Session
    from holdfast.engine.upstream_desk import UpstreamStatus


class MoveVerbs(ABC):
    """Stores that are left, or followed. `PermissionDeniedError` for whoever is no operator."""

    @abstractmethod
    async def moves(self) -> Sequence[MoveStatus]:
        """Return every move with what its stores hold, the oldest first."""

    @abstractmethod
    async def begin_move(self, source: str, target: str) -> KeptMove:
        """Have new objects of `source` go to `target` too, and return the move; one that is there already stays.

        Raises:
            ConflictError: it cannot be followed beside other moves, or rules would be left with too few stores.
        """

    @abstractmethod
    async def verify_move(self, source: str) -> Difference:
        """Return what the move of `source` has left to do. Every version is looked at."""

    @abstractmethod
    async def cut_over_move(self, source: str, *, keep: float | None = None) -> KeptMove:
        """Have the target take the source's place; after `keep` seconds the source may be let go of.

        Raises:
            ConflictError: versions are not there yet; it says how many, and names some.
        """

    @abstractmethod
    async def take_move_back(self, source: str) -> KeptMove:
        """Take a move back, whatever its phase."""

    @abstractmethod
    async def forget_move(self, source: str) -> None:
        """Drop a move that has nothing left to say; `ConflictError` while it has."""

    @abstractmethod
    async def upstreams(self, *, tenant: str | None = None) -> Sequence[UpstreamStatus]:
        """Return what buckets follow, of one tenant or of all, and how far they are."""

    @abstractmethod
    async def upstream(self, bucket: str, *, tenant: str | None = None) -> UpstreamStatus:
        """Return what a bucket follows; `tenant` None: one's own. `NotFoundError` when it follows nothing."""

    @abstractmethod
    async def attach_upstream(self, wish: Upstream) -> UpstreamStatus:
        """Have a bucket follow a store from now on; a tenant "" is one's own.

        Raises:
            ConflictError: it follows one. InvalidRequestError, UnsupportedError: the store cannot be followed.
        """

    @abstractmethod
    async def change_upstream(
        self,
        bucket: str,
        *,
        tenant: str | None = None,
        dual_write: bool | None = None,
        fresh: bool | None = None,
    ) -> UpstreamStatus:
        """Change whether changes are written out, and whether each read asks."""

    @abstractmethod
    async def take_upstream_back(self, bucket: str, *, tenant: str | None = None) -> UpstreamStatus:
        """Have everything that was changed here written out, so that clients may go back."""

    @abstractmethod
    async def detach_upstream(self, bucket: str, *, tenant: str | None = None, force: bool = False) -> None:
        """Have a bucket follow nothing any more; without `force` refused while changes are to be written out."""


class EmbeddedMoves(MoveVerbs):
    """Moves and upstreams by a session. What has it sets `_session`."""

    _session: Session

    def _whose(self, tenant: str | None) -> str:
        return tenant or self._session.principal.tenant

    async def moves(self) -> Sequence[MoveStatus]:
        """See `MoveVerbs`."""
        return await self._session.admin.moves.all()

    async def begin_move(self, source: str, target: str) -> KeptMove:
        """See `MoveVerbs`."""
        return await self._session.admin.moves.begin(source, target)

    async def verify_move(self, source: str) -> Difference:
        """See `MoveVerbs`."""
        return await self._session.admin.moves.verify(source)

    async def cut_over_move(self, source: str, *, keep: float | None = None) -> KeptMove:
        """See `MoveVerbs`."""
        return await self._session.admin.moves.cutover(source, keep=keep)

    async def take_move_back(self, source: str) -> KeptMove:
        """See `MoveVerbs`."""
        return await self._session.admin.moves.back(source)

    async def forget_move(self, source: str) -> None:
        """See `MoveVerbs`."""
        await self._session.admin.moves.forget(source)

    async def upstreams(self, *, tenant: str | None = None) -> Sequence[UpstreamStatus]:
        """See `MoveVerbs`."""
        return await self._session.admin.upstreams.all(tenant or "")

    async def upstream(self, bucket: str, *, tenant: str | None = None) -> UpstreamStatus:
        """See `MoveVerbs`."""
        return await self._session.admin.upstreams.status(self._whose(tenant), bucket)

    async def attach_upstream(self, wish: Upstream) -> UpstreamStatus:
        """See `MoveVerbs`."""
        return await self._session.admin.upstreams.attach(replace(wish, tenant=self._whose(wish.tenant)))

    async def change_upstream(
        self,
        bucket: str,
        *,
        tenant: str | None = None,
        dual_write: bool | None = None,
        fresh: bool | None = None,
    ) -> UpstreamStatus:
        """See `MoveVerbs`."""
        return await self._session.admin.upstreams.change(
            self._whose(tenant), bucket, dual_write=dual_write, fresh=fresh
        )

    async def take_upstream_back(self, bucket: str, *, tenant: str | None = None) -> UpstreamStatus:
        """See `MoveVerbs`."""
        return await self._session.admin.upstreams.back(self._whose(tenant), bucket)

    async def detach_upstream(self, bucket: str, *, tenant: str | None = None, force: bool = False) -> None:
        """See `MoveVerbs`."""
        await self._session.admin.upstreams.detach(self._whose(tenant), bucket, force=force)
