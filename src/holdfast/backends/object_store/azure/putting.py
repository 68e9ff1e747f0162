"""Blobs on their way in: what they are described by, one request for a small one, blocks for a large one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Mapping

from holdfast.backends.object_store import multipart, upload
from holdfast.backends.object_store.azure import blocks, metadata, tags
from holdfast.backends.object_store.azure.client import Client
from holdfast.backends.object_store.azure.settings import AzureSettings
from holdfast.backends.object_store.control import Answer, needed_header
from holdfast.backends.object_store.errors import Where
from holdfast.backends.object_store.metadata import check_content_type
from holdfast.core.backend import PutOptions
from holdfast.core.body import Body


def described(settings: AzureSettings, options: PutOptions) -> dict[str, str]:
    """Return the headers of a request that makes a blob."""
    headers = {"x-ms-blob-content-type": check_content_type(options.content_type)}
    return headers | metadata.headers(options.metadata) | placed(settings, awake=options.awake)


def placed(settings: AzureSettings, *, awake: bool = False) -> dict[str, str]:
    """Return the headers that say where and how the service keeps a new blob; `awake`: where it can be read."""
    headers: dict[str, str] = {}
    if settings.access_tier and not (awake and settings.sleeps):
        headers["x-ms-access-tier"] = settings.access_tier
    if settings.encryption_scope:
        headers["x-ms-encryption-scope"] = settings.encryption_scope
    return headers


async def put(
    client: Client, where: Where, key: str, body: Body, headers: Mapping[str, str]
) -> tuple[int, str | None]:
    """Store `body` under `key`, in one request up to `part_size`, and return its size and its ETag without quotes."""
    settings = client.settings
    if body.size is not None and body.size > settings.max_object_size:
        raise upload.too_large(settings.max_object_size)
    data, body = await upload.gather(body, min(settings.part_size, settings.max_object_size))
    if data is not None:
        size, etag = len(data), await _put_bytes(client, where, key, data, headers)
    else:
        size, etag = await _put_blocks(client, where, key, body, headers)
    return size, etag.strip('"') or None


async def _put_bytes(client: Client, where: Where, key: str, data: bytes, headers: Mapping[str, str]) -> str:
    wanted = {**headers, "x-ms-blob-type": "BlockBlob"}
    if client.settings.checksum == "md5":
        wanted |= await blocks.content_md5(data)
    if where.if_absent:
        wanted["if-none-match"] = "*"

    def send(headers: Mapping[str, str]) -> Awaitable[Answer]:
        return client.call(where, "PUT", key, headers=headers, body=data)

    return needed_header(await tags.optional(send, wanted), where, "etag")


async def _put_blocks(
    client: Client, where: Where, key: str, body: Body, headers: Mapping[str, str]
) -> tuple[int, str]:
    settings, plan = client.settings, blocks.plan(body.size, client.settings)
    feed = upload.Feed(body, limit=min(plan.reach, settings.max_object_size))
    work = blocks.Blocks(client, where, key, hashed=settings.checksum == "md5")

    async def parts() -> AsyncIterator[Awaitable[None]]:
        number = 0
        async for data in blocks.cut(feed, plan.part_size):
            number += 1
            await work.count(data)
            yield work.send(number, data)

    try:
        etag = await multipart.run(work, headers, parts(), concurrency=plan.concurrency)
    finally:
        await feed.close()
    return feed.size, etag
