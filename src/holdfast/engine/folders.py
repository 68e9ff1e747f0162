"""Folders: what a tenant's hierarchy is made of, and what is seen of it before anything is in it.

The verbs of a session, which the facades use: `create_directory`, `directory_exists`, `list_directories`,
`delete_directory`, and `provision` for a whole hierarchy.

A folder is a marker: an empty object whose key ends with a slash, as the consoles of S3 make them. So it is listed,
counted, kept and removed like any object, and a folder with something in it needs no marker to be there. In stores
that have folders of their own, and show keys in the names of blobs, `provision` makes these too.
"""

from __future__ import annotations

from typing import Final

from holdfast.catalog.contract import Actor
from holdfast.core.body import Body
from holdfast.core.conditions import Preconditions
from holdfast.core.errors import NotFoundError, PreconditionFailedError
from holdfast.core.names import FOLDER, marker
from holdfast.core.types import ObjectRef
from holdfast.engine import write
from holdfast.engine.context import Context
from holdfast.engine.write import ObjectInput

_PAGE: Final = 1000


async def create(context: Context, ref: ObjectRef, actor: Actor) -> bool:
    """Make the folder that the key of `ref` marks; return False when it is there already."""
    try:
        await context.catalog.resolve(ref)
    except NotFoundError:
        pass
    else:
        return False
    try:
        await write.put(
            context,
            ref,
            Body.of_bytes(b""),
            ObjectInput(FOLDER),
            conditions=Preconditions(if_none_match=("*",)),
            actor=actor,
        )
    except PreconditionFailedError:  # somebody else was first
        return False
    return True


async def exists(context: Context, ref: ObjectRef) -> bool:
    """Return whether the folder is there: it is marked, or something is in it."""
    page = await context.catalog.list_objects(ref.tenant, ref.bucket, prefix=ref.key, limit=1)
    return bool(page.items)


async def names(context: Context, tenant: str, bucket: str, path: str) -> list[str]:
    """Return the names of the folders directly in the folder `path` ("" for the bucket itself), in byte order."""
    prefix = marker(path) if path.strip("/") else ""
    found: list[str] = []
    after = ""
    while True:
        page = await context.catalog.list_objects(
            tenant, bucket, prefix=prefix, delimiter="/", marker=after, limit=_PAGE
        )
        found += [folder.removeprefix(prefix).rstrip("/") for folder in page.prefixes]
        if not page.truncated:
            return found
        after = page.next_marker
