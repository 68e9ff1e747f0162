"""Blobs on their way into a bucket of S3 or its family, by requests of our own: what describes them, and their parts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Mapping

from holdfast.backends.object_store import encryption, metadata, multipart, upload
from holdfast.backends.object_store.control import ControlClient
from holdfast.backends.object_store.errors import Where
from holdfast.backends.object_store.settings import S3Settings
from holdfast.core.backend import PutOptions

META = "x-amz-meta-"


def described(settings: S3Settings, options: PutOptions) -> dict[str, str]:
    """Return the headers of a request that makes a blob."""
    headers = encryption.write_headers(settings, awake=options.awake) | {
        "content-type": metadata.check_content_type(options.content_type)
    }
    return headers | {f"{META}{name}": value for name, value in metadata.encode(options.metadata).items()}


def plan(settings: S3Settings, size: int | None) -> upload.Plan:
    """Return the parts for a body of `size` bytes; see `upload.plan`."""
    return upload.plan(
        size,
        part_size=settings.part_size,
        concurrency=settings.upload_concurrency,
        server=settings.server,
    )


async def put_parts(
    client: ControlClient,
    where: Where,
    key: str,
    feed: upload.Feed,
    plan: upload.Plan,
    headers: Mapping[str, str],
) -> tuple[int, str]:
    """Store what `feed` yields, in parts, and return its size and its ETag without quotes."""
    work = multipart.Multipart(client, where, key)

    async def parts() -> AsyncIterator[Awaitable[None]]:
        number = 0
        async for data in upload.parts(feed, plan.part_size):
            number += 1
            yield work.send(number, data)
            del data  # the next part must not find this one in memory

    try:
        etag = await multipart.run(work, headers, parts(), concurrency=plan.concurrency)
    finally:
        await feed.close()
    return feed.size, etag.strip('"')
