"""Blobs in the tier Archive, woken: given another tier, in which they are hours later, and stay."""

from __future__ import annotations

from holdfast.backends.object_store.azure.client import Client
from holdfast.backends.object_store.errors import Where
from holdfast.core.asleep import AsleepError


async def wake(client: Client, where: Where, key: str) -> None:
    """Ask for the blob `key` to be rehydrated; see `Waker.wake`, and Set Blob Tier in the REST reference."""
    settings = client.settings
    if settings.rehydrate_to == "never":
        raise AsleepError(
            "the blob is archived, and rehydrate_to = 'never' of its store says that none is rehydrated; do so there, or"
            " set rehydrate_to",
            operation=where.operation,
            store=where.store,
            name=where.name,
        )
    found = (await client.call(where, "HEAD", key)).headers
    if found.get("x-ms-access-tier") != "Archive" or found.get("x-ms-archive-status"):
        return  # it is awake, or somebody has
    headers = {
        "x-ms-access-tier": settings.rehydrate_to,
        "x-ms-rehydrate-priority": settings.rehydrate_priority,
    }
    try:
        await client.call(where, "PUT", key, query=[("comp", "tier")], headers=headers, done=202)
    except AsleepError:  # another one was quicker
        return
