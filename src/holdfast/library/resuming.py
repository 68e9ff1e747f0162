"""Going on with an upload in parts that was broken off: which one it was, and which of its parts are still good."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from holdfast.core.body import Body
from holdfast.core.types import Part, Upload
from holdfast.library.client import AsyncClient

_PAGE = 1000


async def left_open(
    client: AsyncClient,
    bucket: str,
    key: str,
    size: int,
    *,
    content_type: str | None,
    metadata: Mapping[str, str],
    tags: Mapping[str, str],
) -> Upload | None:
    """Return the newest open upload of the same object, size and description; None when there is none."""
    key_marker, id_marker, more = "", "", True
    found: list[Upload] = []
    while more:
        page, more = await client.list_uploads(
            bucket, prefix=key, key_marker=key_marker, id_marker=id_marker, limit=_PAGE
        )
        same = [upload for upload in page if upload.ref.key == key]
        found += [upload for upload in same if upload.kind == "multipart" and upload.length == size]
        if len(same) < len(page) or not page:
            break  # longer keys come after it
        key_marker, id_marker = page[-1].ref.key, page[-1].id
    alike = [
        upload
        for upload in found
        if dict(upload.metadata) == dict(metadata)
        and dict(upload.tags) == dict(tags)
        and content_type in (None, upload.content_type)
    ]
    return max(alike, key=lambda upload: (upload.created, upload.id), default=None)


async def parts_of(client: AsyncClient, upload: Upload, bucket: str, key: str) -> dict[int, Part]:
    """Return the parts that have arrived, by number."""
    found: dict[int, Part] = {}
    page: Sequence[Part] = ()
    while not found or len(page) == _PAGE:
        page = await client.list_parts(bucket, key, upload.id, after=max(found, default=0), limit=_PAGE)
        found |= {part.number: part for part in page}
        if not page:
            break
    return found


async def is_same(part: Part, body: Body) -> bool:
    """Return whether a part that has arrived holds exactly the bytes of `body`."""
    if part.size != body.size or part.digests.sha256 is None:
        return False
    sha256 = hashlib.sha256()
    async for chunk in body.chunks():
        sha256.update(chunk)
    return sha256.digest() == part.digests.sha256
