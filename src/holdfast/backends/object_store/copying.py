"""Copies that the server makes itself, inside a bucket or from another one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Mapping

from holdfast.backends.object_store import encryption, multipart, upload
from holdfast.backends.object_store import metadata as user_metadata
from holdfast.backends.object_store.control import ControlClient
from holdfast.backends.object_store.errors import Where
from holdfast.backends.object_store.settings import MIB
from holdfast.core.errors import PreconditionFailedError, UnavailableError, UnsupportedError
from holdfast.core.types import BlobInfo

PART = 512 * MIB


async def copy(
    client: ControlClient,
    where: Where,
    source: str,
    target: str,
    info: BlobInfo,
    *,
    origin: ControlClient | None = None,
    single: int | None = None,
    part: int = PART,
) -> None:
    """Make `target` a copy of the object at key `source`, which `info` describes; metadata goes along.

    It lies in the bucket of `origin`, in our own if that is not given. What is larger than `single` (unset: what one request copies at this server) is copied in parts.
    """
    try:
        await _copy(client, where, source, target, info, client if origin is None else origin, single, part)
    except PreconditionFailedError as error:
        raise UnavailableError(
            "the source was changed while it was to be copied",
            operation="copy",
            store=where.store,
            name=where.name,
        ) from error


async def _copy(
    client: ControlClient,
    where: Where,
    source: str,
    target: str,
    info: BlobInfo,
    origin: ControlClient,
    single: int | None,
    part: int,
) -> None:
    server = client.settings.server
    if info.size <= (server.max_copy if single is None else single):
        await _copy_object(client, where, multipart.copy_source(origin.settings.bucket, source), target, info)
    elif not server.copy_parts:
        raise UnsupportedError(
            "the store does not copy what is as large as this",
            operation="copy",
            store=where.store,
            name=where.name,
        )
    else:
        await _copy_parts(client, origin, where, source, target, info, part)


async def _copy_object(client: ControlClient, where: Where, source: str, target: str, info: BlobInfo) -> None:
    settings = client.settings
    headers = encryption.write_headers(settings) | encryption.source_headers(settings)
    headers["x-amz-copy-source"] = source
    if info.etag:
        headers["x-amz-copy-source-if-match"] = f'"{info.etag}"'
    answer = await client.call(where, "PUT", target, headers=headers, patience=multipart.COMPLETE_SECONDS)
    multipart.needed_field(answer, where, "ETag")


async def _copy_parts(
    client: ControlClient,
    whence: ControlClient,
    where: Where,
    source: str,
    target: str,
    info: BlobInfo,
    part: int,
) -> None:
    settings = client.settings
    plan = upload.plan(
        info.size, part_size=part, concurrency=settings.upload_concurrency, server=settings.server
    )
    work = multipart.Multipart(client, where, target)
    origin = multipart.copy_source(whence.settings.bucket, source)
    etag = f'"{info.etag}"' if info.etag else None

    async def parts() -> AsyncIterator[Awaitable[None]]:
        for number, first in enumerate(range(0, info.size, plan.part_size), start=1):
            yield work.copy(number, origin, first, min(first + plan.part_size, info.size) - 1, etag)

    headers = await _described(client, whence, where, source, info.metadata)
    await multipart.run(work, headers, parts(), concurrency=plan.concurrency, checksums=False)


async def _described(
    client: ControlClient, whence: ControlClient, where: Where, source: str, metadata: Mapping[str, str]
) -> dict[str, str]:
    """Return the headers that carry over what a copy in parts would lose: content type and user metadata."""
    head = await whence.call(where, "HEAD", source, headers=encryption.key_headers(whence.settings))
    headers = encryption.write_headers(client.settings)
    headers |= {f"x-amz-meta-{name}": value for name, value in user_metadata.encode(metadata).items()}
    if content_type := head.headers.get("content-type"):
        headers["content-type"] = content_type
    return headers
