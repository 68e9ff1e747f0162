"""How much room a drive has."""

from __future__ import annotations

from typing import Any

from holdfast.backends.google_drive.client import Client
from holdfast.backends.google_drive.errors import Where
from holdfast.core.backend import Room


async def ask(client: Client, where: Where) -> Room | None:
    """Return the room of whoever we are; numbers arrive as text, and what is missing is no zero but no limit.

    What is used is used by all of Google's services, and by the trash.
    """
    answer: Any = (
        await client.json(where, "GET", "about", {"fields": "storageQuota,user(permissionId)"}) or {}
    )
    found = answer.get("storageQuota", {})
    limit, used = found.get("limit"), found.get("usage")
    if limit in (None, ""):
        return None
    return Room(int(limit), max(0, int(limit) - int(used or 0)))
