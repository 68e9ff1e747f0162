"""How much room a drive has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from holdfast.backends.google_drive.client import Client
from holdfast.backends.google_drive.errors import Where


@dataclass(frozen=True, slots=True)
class Quota:
    """Bytes of the account. `limit` is None where there is none; of a shared drive Google tells nothing."""

    limit: int | None
    used: int
    in_drive: int
    in_trash: int

    @property
    def free(self) -> int | None:
        """What is left; None without a limit."""
        return None if self.limit is None else max(0, self.limit - self.used)


async def ask(client: Client, where: Where) -> Quota:
    """Return the quota of whoever we are; numbers arrive as text, and what is missing is no zero but no limit."""
    answer: Any = (
        await client.json(where, "GET", "about", {"fields": "storageQuota,user(permissionId)"}) or {}
    )
    found = answer.get("storageQuota", {})
    limit = found.get("limit")
    return Quota(
        None if limit in (None, "") else int(limit),
        int(found.get("usage") or 0),
        int(found.get("usageInDrive") or 0),
        int(found.get("usageInDriveTrash") or 0),
    )
