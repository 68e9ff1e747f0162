"""Tenants whose time is over, removed: everything that is theirs, and nothing of anybody else's.

Each step is a transaction of bounded size that can be done again, so a run that dies is taken up by the next one, here
or elsewhere. It begins some seconds after the time is over: until then every process has noticed that the tenant is
refused. From the moment that the time is over it cannot be restored. The bytes are left to `sweep`, and the tenant's
audit stays, sealed and whole, until it is pruned; the service's own audit tells of the removal.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import structlog

from holdfast.catalog.contract import Actor
from holdfast.core.errors import ConflictError, NotFoundError
from holdfast.core.failpoints import failpoint
from holdfast.core.types import Tenant, TenantState
from holdfast.engine import buckets
from holdfast.engine.context import Context
from holdfast.engine.principals import TRUST

ACTOR: Final = Actor("tenant-removal")  #: who it was, in the audit
NOTICED: Final = int(2 * TRUST * 1_000_000)  #: microseconds until every process refuses the tenant
_PAGE: Final = 500
_log = structlog.get_logger("holdfast.removing")


async def remove_due(context: Context) -> list[str]:
    """Remove every tenant whose time is over and return their names; one that others still add to is left for later."""
    now = await context.catalog.now()
    removed = []
    for tenant in await context.catalog.tenants():
        if is_due(tenant, now) and await _remove(context, tenant.name):
            removed.append(tenant.name)
    return removed


def is_due(tenant: Tenant, now: int) -> bool:
    """Return whether a tenant is to be removed now."""
    return (
        tenant.state is TenantState.DELETING
        and tenant.delete_after is not None
        and tenant.delete_after + NOTICED <= now
    )


async def _remove(context: Context, name: str) -> bool:
    if why := await context.catalog.kept(name):  # locked since its deletion was asked for; it waits, whole
        _log.warning("a tenant is kept", tenant=name, why=why)
        return False
    for bucket, _ in await context.catalog.buckets(name):
        try:
            with suppress(NotFoundError):  # another process was first
                await context.catalog.clear_snapshots(name, bucket.name)
                await buckets.remove(context, name, bucket.name, force=True, actor=ACTOR)
        except ConflictError:  # somebody is still adding to it
            return False
        failpoint("tenant.after_bucket")
    while not await context.catalog.clear_tenant(name, limit=_PAGE):
        failpoint("tenant.after_page")
    return await context.catalog.remove_tenant(name, actor=ACTOR)
