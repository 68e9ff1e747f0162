"""Whether what a job's spec names is there: asked before there is a job, so that a slip is told to whoever made it.

Permission has been asked for by then, so nothing is told of what somebody may not see.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holdfast.core.adopted import Upstream
from holdfast.core.errors import NotFoundError
from holdfast.engine.backups import sets
from holdfast.engine.engine import Engine
from holdfast.engine.probe import check_usable


async def stores(engine: Engine, *names: str) -> None:
    """Raise `NotFoundError`, naming the first of these stores that nobody has described; "" is none."""
    held = engine.context.stores
    wanted = [name for name in names if name]
    if wanted:
        await held.refresh(at_once=True)
    for name in wanted:
        if name not in held and name not in held.waiting():
            raise NotFoundError(f"there is no store {name!r:.80}; see: holdfast store list")


async def usable(engine: Engine, name: str) -> None:
    """Raise what a store answers that will not let us in. One that does not answer may do so by then."""
    await engine.context.stores.refresh()
    if name in engine.context.stores:
        await check_usable(engine.context.stores[name], engine.context.environment)


async def backup_store(engine: Engine, name: str) -> None:
    """As `stores`, for the store that backups lie in ("": the usual one); `InvalidRequestError` when nobody says which."""
    name = name or engine.context.settings.backup.store
    await stores(engine, name)
    await sets.store_of(engine.context, name)


async def bucket(engine: Engine, tenant: str, name: str) -> None:
    """Raise `NotFoundError`, naming it, for a bucket that is not there, or without one ("") for such a tenant."""
    try:
        if name:
            await engine.catalog.bucket(tenant, name)
        elif tenant:
            await engine.catalog.tenant(tenant)
    except NotFoundError:
        if name:
            told = f"tenant {tenant!r:.80} has no bucket {name!r:.80}; see: holdfast bucket ls"
        else:
            told = f"there is no tenant {tenant!r:.80}; see: holdfast tenant ls"
        raise NotFoundError(told) from None


async def bucket_of(engine: Engine, said: Mapping[str, Any]) -> None:
    """As `bucket`, for the members `tenant` and `bucket` of a spec."""
    await bucket(engine, said["tenant"], said["bucket"])


async def upstream(engine: Engine, said: Mapping[str, Any]) -> Upstream:
    """Return what the bucket of a spec follows; `NotFoundError`, naming the bucket, when it follows nothing."""
    tenant, name = said["tenant"], said["bucket"]
    await bucket(engine, tenant, name)
    found = await engine.catalog.upstream(tenant, name)
    if found is None:
        raise NotFoundError(
            f"bucket {name!r} follows no store; attach one first, see: holdfast upstream attach --help"
        )
    await usable(engine, found.store)
    return found


async def snapshot(engine: Engine, said: Mapping[str, Any]) -> None:
    """Raise `NotFoundError`, naming it, for a bucket or a snapshot of a spec that is not there."""
    tenant, place, name = said["tenant"], said["bucket"], said["snapshot"]
    await bucket(engine, tenant, place)
    if not name:
        return
    try:
        await engine.catalog.snapshot(tenant, place, name)
    except NotFoundError:
        told = f"bucket {place!r} has no snapshot {name!r:.80}; see: holdfast snapshot list {place}"
        raise NotFoundError(told) from None
