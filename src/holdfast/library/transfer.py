"""Whole files up and down: verified, with progress, and in parallel parts where that pays."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

from holdfast.core.body import CHUNK, Body, Meter
from holdfast.core.clock import Environment
from holdfast.core.conditions import Preconditions
from holdfast.core.errors import CorruptedError, DigestMismatchError, HoldfastError
from holdfast.core.types import ChecksumType, Part, Version
from holdfast.library.client import AsyncClient, Download, Progress
from holdfast.library.files import Landing, local_errors
from holdfast.library.resuming import is_same, left_open, parts_of
from holdfast.library.source import as_body

T = TypeVar("T")

PARALLEL: Final = 4  #: parts on their way at once
MAX_PARTS: Final = 10_000


def counted(body: Body, progress: Progress | None) -> Body:
    """Return the same bytes, told to `progress` on their way; a second pass takes back the first."""
    if progress is None:
        return body
    told = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal told
        if told:
            progress(-told)
            told = 0
        async for chunk in body.chunks():
            yield chunk
            told += len(chunk)
            progress(len(chunk))

    return replace(body, opener=chunks, data=None)


async def upload(
    client: AsyncClient,
    bucket: str,
    key: str,
    path: Path,
    *,
    content_type: str | None,
    metadata: Mapping[str, str],
    tags: Mapping[str, str],
    conditions: Preconditions,
    progress: Progress | None,
    resume: bool = False,
    storage_class: str = "",
) -> Version:
    """Store the file at `path`; see `AsyncClient.put_file`."""
    body = as_body(path)
    about: dict[str, Any] = {"content_type": content_type, "metadata": metadata, "tags": tags}
    parts = client.parts
    if parts is None or body.size is None or body.size <= parts.above:
        data = counted(body, progress)
        return await client.put(
            bucket, key, data, conditions=conditions, storage_class=storage_class, **about
        )
    held: dict[int, Part] = {}
    opened = await left_open(client, bucket, key, body.size, **about) if resume else None
    if opened is None:
        opened = await client.create_upload(
            bucket,
            key,
            size=body.size,
            storage_class=storage_class,
            **about,
        )
    else:
        held = await parts_of(client, opened, bucket, key)
    try:
        sent = await _send_parts(client, bucket, key, opened.id, path, body.size, parts.size, progress, held)
        return await client.complete_upload(bucket, key, opened.id, sent, conditions=conditions)
    except BaseException:
        if resume:
            raise  # the next try goes on from here
        # What cannot be aborted now expires by itself.
        with suppress(HoldfastError, asyncio.TimeoutError):
            await asyncio.wait_for(client.abort_upload(bucket, key, opened.id), 10)
        raise


async def _send_parts(
    client: AsyncClient,
    bucket: str,
    key: str,
    upload_id: str,
    path: Path,
    size: int,
    least: int,
    progress: Progress | None,
    held: Mapping[int, Part],
) -> list[tuple[int, str]]:
    step = max(least, -(-size // MAX_PARTS))
    stamp = _stamp(path)
    gate = asyncio.Semaphore(PARALLEL)

    async def send(number: int, offset: int) -> tuple[int, str]:
        async with gate:
            piece = _slice(path, offset, min(step, size - offset))
            if number in held and await is_same(held[number], piece):
                if progress is not None:
                    progress(held[number].size)
                return number, held[number].etag
            part = await client.put_part(bucket, key, upload_id, number, counted(piece, progress))
            return number, part.etag

    parts = await _all([send(index + 1, offset) for index, offset in enumerate(range(0, size, step))])
    if _stamp(path) != stamp:
        raise DigestMismatchError(f"{path} was changed while it was being sent")
    return parts


async def _all(coroutines: list[Coroutine[Any, Any, T]]) -> list[T]:
    """Return all results; the first error cancels the rest and is raised as it is (a `TaskGroup` would wrap it)."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _stamp(path: Path) -> tuple[int, int, int]:
    with local_errors(path, "read"):
        found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ino


def _slice(path: Path, offset: int, length: int) -> Body:
    """Return a replayable body of a part of a file."""

    async def chunks() -> AsyncIterator[bytes]:
        with local_errors(path, "read"):
            file = await asyncio.to_thread(path.open, "rb", 0)
            try:
                file.seek(offset)
                left = length
                while left and (chunk := await asyncio.to_thread(file.read, min(CHUNK, left))):
                    left -= len(chunk)
                    yield chunk
            finally:
                file.close()

    return Body(chunks, length, True).expecting(size=length)


async def download(
    client: AsyncClient,
    bucket: str,
    key: str,
    path: Path,
    *,
    version_id: str | None,
    progress: Progress | None,
) -> Version:
    """Write the object to `path`; see `AsyncClient.get_file`."""
    token = Environment().new_id()[-12:]
    with Landing(path, token) as landing, ThreadPoolExecutor(1, "holdfast-digest") as executor:
        async with client.stream(bucket, key, version_id=version_id) as source:
            meter = Meter({"sha256": hashlib.sha256}, executor)
            async for chunk in source:
                await meter.update(chunk)
                await landing.write(chunk)
                if progress is not None:
                    progress(len(chunk))
            await meter.finish()
            check(source, meter)
        landing.commit()
        return source.version


def check(source: Download, meter: Meter) -> None:
    """Return when the bytes that `meter` saw are the version's; a composite digest is proved by the server's side.

    Raises:
        CorruptedError: another size or another SHA-256.
    """
    version = source.version
    where = f"{version.ref} (version {version.id})"
    if meter.size != source.span.length:
        raise CorruptedError(f"{meter.size} of {source.span.length} bytes of {where} arrived")
    known = version.digests.sha256
    if (
        version.checksum_type is ChecksumType.FULL_OBJECT
        and known is not None
        and known != meter.digests.sha256
    ):
        raise CorruptedError(f"the SHA-256 of what arrived is not that of {where}")
