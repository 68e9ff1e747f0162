"""Cleaning up at once what the background work would clean up soon."""

from __future__ import annotations

import asyncio

from msgspec import Struct

from holdfast.api.describe import iso
from holdfast.api.exchange import Exchange
from holdfast.api.models import encode
from holdfast.core.errors import PermissionDeniedError
from holdfast.engine.engine import Engine
from holdfast.policy.access import decide


class Cleaned(Struct, frozen=True):
    """What was cleaned up. Bytes of what was removed just now follow when their time of grace is over."""

    success: bool
    message: str
    expired_objects: int
    ended_writes_and_uploads: int
    deleted_blobs: int
    failed_stores: dict[str, int]
    removed_tenants: list[str]
    waiting_blobs: int  #: whose grace is not over, or whose store could not delete them
    waiting_until: str | None  #: of the first of them


class Cleanup:
    """Removes what is past its retention, tenants whose time is over, and bytes that are due; one run at a time."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = asyncio.Lock()

    async def run(self, exchange: Exchange) -> None:
        """Remove expired objects and artifacts of all tenants, deleted tenants that are due, and sweep; for operators."""
        decision = decide(exchange.principal, "operate")
        if not decision.allowed:
            raise PermissionDeniedError(decision.reason, operation="operate")
        async with self._lock:
            expired = await self._engine.expire()
            tenants = await self._engine.remove_tenants()
            report = await self._engine.sweep()
            left = await self._engine.backlog()
        cleaned = Cleaned(
            success=not report.failed,
            message=f"{expired} expired objects removed, {report.deleted} blobs deleted",
            expired_objects=expired,
            ended_writes_and_uploads=report.expired,
            deleted_blobs=report.deleted,
            failed_stores=dict(report.failed),
            removed_tenants=tenants,
            waiting_blobs=left.doomed,
            waiting_until=None if left.due is None else iso(left.due),
        )
        await exchange.answer_json(200, encode(cleaned))
