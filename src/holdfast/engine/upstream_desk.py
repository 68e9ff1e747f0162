"""Upstreams as an operator may look after them: `Administration.upstreams` gives it; costs nothing to make.

An upstream may hold what belongs to anybody, so only operators attach one, whatever bucket it is for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from holdfast.catalog.contract import Actor
from holdfast.core.adopted import Owing, Phase, Upstream
from holdfast.core.errors import ConflictError, NotFoundError
from holdfast.core.names import check_prefix
from holdfast.engine import adopting, rules
from holdfast.engine.context import Context
from holdfast.engine.permits import Permit
from holdfast.engine.probe import check_usable

_COUNTED: Final = 1000  #: versions that are counted at most


@dataclass(frozen=True, slots=True)
class UpstreamStatus:
    """An upstream and how far its bucket is: what is owed to it, what is not home, what its listing did not show."""

    upstream: Upstream
    owing: Owing
    away: int  #: versions whose bytes are not where they belong; at most 1,000 are counted
    missing: int

    @property
    def complete(self) -> bool:
        """Whether listings of the bucket show all that the upstream had."""
        return self.upstream.passes > 0


class Upstreams:
    """Verbs on upstreams."""

    def __init__(self, context: Context, permit: Permit, actor: Actor) -> None:
        self._context, self._permit, self._actor = context, permit, actor
        self._catalog = context.catalog

    async def all(self, tenant: str = "") -> Sequence[UpstreamStatus]:
        """Return the upstreams of a tenant's buckets, or of all."""
        self._permit.allow("operate")
        return [await self._status(one) for one in await self._catalog.upstreams(tenant)]

    async def status(self, tenant: str, bucket: str) -> UpstreamStatus:
        """Return what a bucket follows and how far it is; `NotFoundError` when it follows nothing."""
        self._permit.allow("operate", bucket)
        return await self._status(await self._find(tenant, bucket))

    async def attach(self, wish: Upstream) -> UpstreamStatus:
        """Have a bucket follow a store from now on.

        Raises:
            ConflictError: it follows one. InvalidRequestError, UnsupportedError: the store cannot be followed.
            ConflictError: it will not let us in, or has no such bucket. UnavailableError: it does not answer.
        """
        self._permit.allow("operate", wish.bucket)
        check_prefix(wish.prefix)
        await self._context.stores.refresh(at_once=True)
        store = adopting.foreign_store(self._context, wish.store)
        await check_usable(store, self._context.environment, answers=True)
        bucket = await self._catalog.bucket(wish.tenant, wish.bucket)
        rules.check_encryption(bucket, self._context.stores, [wish.store])
        attached = await self._catalog.attach_upstream(wish, actor=self._actor)
        self._context.following.forget()
        return await self._status(attached)

    async def change(
        self, tenant: str, bucket: str, *, dual_write: bool | None = None, fresh: bool | None = None
    ) -> UpstreamStatus:
        """Change whether changes are written out, and whether each read asks."""
        self._permit.allow("operate", bucket)
        changed = await self._catalog.change_upstream(
            tenant, bucket, dual_write=dual_write, fresh=fresh, actor=self._actor
        )
        self._context.following.forget()
        return await self._status(changed)

    async def back(self, tenant: str, bucket: str) -> UpstreamStatus:
        """Have everything that was changed here written out, so that clients may go back; it is followed again."""
        self._permit.allow("operate", bucket)
        changed = await self._catalog.change_upstream(tenant, bucket, phase=Phase.BACK, actor=self._actor)
        self._context.following.forget()
        return await self._status(changed)

    async def detach(self, tenant: str, bucket: str, *, force: bool = False) -> None:
        """Have a bucket follow nothing any more. What lies there alone stays there, and is read there.

        Raises:
            ConflictError: changes are still to be written out, and not `force`.
        """
        self._permit.allow("operate", bucket)
        status = await self._status(await self._find(tenant, bucket))
        if status.upstream.writes and status.owing.count and not force:
            raise ConflictError(
                f"{status.owing.count} changes are still to be written out; wait for them, or use force",
                name=bucket,
            )
        await self._catalog.detach_upstream(tenant, bucket, actor=self._actor)
        self._context.following.forget()

    async def _find(self, tenant: str, bucket: str) -> Upstream:
        found = await self._catalog.upstream(tenant, bucket)
        if found is None:
            raise NotFoundError("the bucket follows no store; attach one first", name=bucket)
        return found

    async def _status(self, upstream: Upstream) -> UpstreamStatus:
        owing = await self._catalog.owing_out(upstream)
        away = await self._catalog.debts(tenant=upstream.tenant, bucket=upstream.bucket, limit=_COUNTED)
        return UpstreamStatus(upstream, owing, len(away), await self._catalog.count_misses(upstream))
