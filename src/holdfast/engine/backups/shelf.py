"""What a store has of backups, as far as one principal may know it. Nothing is opened for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.core.clock import iso
from holdfast.engine.backups import sets
from holdfast.engine.context import Context
from holdfast.engine.permits import Permit


@dataclass(frozen=True, slots=True)
class Shown:
    """The backups of a store: those that are whole, those that cannot be read, and those that never ended."""

    store: str
    sets: Sequence[Mapping[str, Any]]
    damaged: Mapping[str, str]
    unfinished: Sequence[str]


class Shelf:
    """Looks at backups. `Administration.backups` gives it; costs nothing to make. `store` "" is the usual one."""

    def __init__(self, context: Context, permit: Permit) -> None:
        self._context, self._permit = context, permit

    async def all(self, store: str = "") -> Shown:
        """Return what a store has of backups.

        Raises:
            InvalidRequestError, NotFoundError: no store is said, or it is none.
        """
        self._permit.allow("operate")
        return await shown(self._context, store)

    async def one(self, wanted: str, store: str = "") -> dict[str, Any]:
        """Return all that is known of the set of that id, or whose id begins so, or of the `latest`; raises as `all`."""
        self._permit.allow("operate")
        return await described(self._context, store, wanted)


async def shown(context: Context, store: str) -> Shown:
    """Return what a store has of backups; "" for the usual one."""
    found = await sets.store_of(context, store or context.settings.backup.store)
    damaged: dict[str, str] = {}
    listed = await sets.listing(found, damaged)
    return Shown(found.name, [told(one, found.name) for one in listed], damaged, await sets.unfinished(found))


async def described(context: Context, store: str, wanted: str) -> dict[str, Any]:
    """Return all that a manifest says, and what drills said of the set."""
    found = await sets.store_of(context, store or context.settings.backup.store)
    manifest = await sets.find(found, wanted)
    facts = told(manifest, found.name) | {
        "made_by": manifest.made_by,
        "started": iso(manifest.started),
        "ended": iso(manifest.ended),
        "catalog_step": manifest.schema,
        "software": manifest.software,
    }
    return facts | {
        "drills": [
            f"{one['result']} ({one['versions']} versions)" for one in await sets.drills(found, manifest)
        ]
    }


def told(manifest: sets.Manifest, store: str) -> dict[str, Any]:
    """Return a set as results and listings tell it."""
    return {
        "set": manifest.id,
        "store": store,
        "moment": iso(manifest.moment),
        "tenant": manifest.tenant,
        "bucket": manifest.bucket,
        "parent": manifest.parent,
        "needs": list(manifest.needs),
        "compression": manifest.compression,
        "recipients": list(manifest.recipients),
        "files": len(manifest.pieces) + 1,
        "stored_bytes": sum(piece.size for piece in manifest.pieces),
        **manifest.counts,
    }
