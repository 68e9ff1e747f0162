"""Contents compared without moving them: a file's digest beside what the listing of the other side tells."""

from __future__ import annotations

import asyncio
import hashlib
import os
from typing import Final

from holdfast.core.errors import NotFoundError
from holdfast.library.syncing.etags import EtagHash
from holdfast.library.syncing.place import Place
from holdfast.library.syncing.store_place import modified_second
from holdfast.library.syncing.tree import ChangedError, is_same, open_same
from holdfast.policy.syncing import NANOS, Item, same_time

_READ: Final = 1 << 20


async def same(place: Place, file: Item, stored: Item, *, digests: bool) -> Item | None:
    """Return the object, as far as it is known now, when it is the same as the file; None when it is not, or is gone.

    Raises:
        ChangedError: the file changed meanwhile.
    """
    if digests:
        return stored if await same_content(place, file, stored) else None
    try:
        told = await place.timed(stored)
    except NotFoundError:
        return None
    if told.size != file.size or file.mtime is None:
        return None
    if told.mtime is not None:
        return told if same_time(told.mtime, file.mtime) else None
    # nobody noted its time: its content tells, and where that cannot, whether it came when the file says it did
    found = await same_content(place, file, stored)
    if found is None:
        found = modified_second(stored) == file.mtime // NANOS
    return told if found else None


async def same_content(place: Place, file: Item, stored: Item) -> bool | None:
    """Return whether both have the same content; None when the listing tells no digest that says so."""
    algorithm, digest = place.digest_of(stored)
    if not algorithm:
        return None
    return await asyncio.to_thread(_has, file, algorithm, digest)


def _has(file: Item, algorithm: str, digest: str) -> bool | None:
    etag = EtagHash(digest, file.size) if algorithm == "etag" else None
    whole = hashlib.sha256()
    fd = open_same(file)
    try:
        while chunk := os.read(fd, _READ):
            (etag or whole).update(chunk)
        if not is_same(fd, file):
            raise ChangedError(f"{file.key} changed while it was read")
    finally:
        os.close(fd)
    return etag.matches() if etag is not None else whole.hexdigest() == digest
