"""Blobs on their way in: one request for a small one, parts or a session for a large one."""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.backends.object_store import upload
from holdfast.backends.object_store.errors import Where
from holdfast.backends.object_store.gcs import parts, sessions, uploading
from holdfast.backends.object_store.gcs.client import GcsClient
from holdfast.core.body import Body


async def put(
    client: GcsClient,
    where: Where,
    key: str,
    body: Body,
    headers: Mapping[str, str],
    *,
    shared: bool = False,
) -> tuple[int, str | None]:
    """Store `body` under `key`, in one request up to `part_size`, and return its size and its ETag without quotes.

    What is larger goes in parts; with `where.if_absent` through a session, since parts take no condition. `shared`:
    others write under this key too.
    """
    most, part = client.settings.max_object_size, client.settings.part_size
    if body.size is not None and body.size > most:
        raise upload.too_large(most)
    data, body = await upload.gather(body, part)
    if data is not None:
        return len(data), await uploading.put_bytes(client, where, key, data, headers)
    if where.if_absent:
        feed = upload.Feed(body, limit=most)
        etag = await sessions.put_session(client, where, key, feed, part, headers)
    else:
        plan = upload.plan(body.size, part_size=part, concurrency=client.settings.upload_concurrency)
        feed = upload.Feed(body, limit=min(plan.reach, most))
        etag = await parts.put_parts(client, where, key, feed, plan, headers, shared=shared)
    return feed.size, etag
