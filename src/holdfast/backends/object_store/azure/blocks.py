"""Uploads in blocks by our own requests: under ids of their own, each checked, made visible all at once.

The object-store library knows neither MD5 nor a condition for the end of such an upload. A block that was sent stays
in the account until a week has passed or the name is written or discarded; there is no request that takes it back.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Awaitable, Mapping
from hashlib import md5
from typing import Final
from urllib.parse import unquote

from holdfast.backends.object_store import upload
from holdfast.backends.object_store.azure import tags
from holdfast.backends.object_store.azure.client import Client, xml
from holdfast.backends.object_store.azure.errors import LostBlocksError, from_answer
from holdfast.backends.object_store.azure.settings import MAX_BLOCK, MAX_BLOCKS, AzureSettings
from holdfast.backends.object_store.control import Answer, Buffer, needed_header
from holdfast.backends.object_store.dialects import Dialect
from holdfast.backends.object_store.errors import Where
from holdfast.backends.object_store.upload import Feed, Plan
from holdfast.core.errors import AlreadyExistsError, HoldfastError, NotFoundError

COMMIT_SECONDS: Final = 120.0  #: the service may take long over a long list
_INLINE: Final = 64 << 10  #: bodies up to this size are hashed without a thread hop


_BLOCKS: Final = Dialect(name="azure", title="Azure Blob", max_parts=MAX_BLOCKS, max_part=MAX_BLOCK)


def plan(size: int | None, settings: AzureSettings) -> Plan:
    """Return the blocks for a body of `size` bytes; one of unknown length gets those of the settings, fewer at a time.

    Raises:
        TooLargeError: more than 50,000 blocks of 4,000 MiB.
    """
    if size is None:
        return Plan(settings.part_size, max(1, settings.upload_concurrency // 2), MAX_BLOCKS)
    return upload.plan(
        size, part_size=settings.part_size, concurrency=settings.upload_concurrency, server=_BLOCKS
    )


async def cut(feed: Feed, size: int) -> AsyncIterator[Buffer]:
    """Yield the feed in blocks of exactly `size` bytes, but for the last; nothing of a block is held after it is taken."""
    async for block in upload.parts(feed, size):
        if len(block):
            yield block
        del block


class Blocks:
    """One upload onto `key`: its blocks, and its end."""

    def __init__(self, client: Client, where: Where, key: str, *, hashed: bool) -> None:
        self._client = client
        self._where = where
        self._key = key
        # Blocks belong to a name, not to an upload: only ids of its own keep two uploads of one name apart.
        self._own = f"{client.environment.random.getrandbits(96):024x}"
        self._count = 0
        self._headers: Mapping[str, str] = {}
        self._whole = md5(usedforsecurity=False) if hashed else None

    async def create(self, headers: Mapping[str, str], *, checksums: bool = True) -> None:
        """Begin. `headers` describe the blob that `complete` will make."""
        self._headers = headers

    async def count(self, data: Buffer) -> None:
        """Take note of the bytes of the next block; in order."""
        self._count += 1
        if self._whole is not None:
            await asyncio.to_thread(self._whole.update, data)

    async def send(self, number: int, data: Buffer) -> None:
        """Upload block `number`, from 1 on."""
        headers = await content_md5(data) if self._whole is not None else {}
        headers |= {key: value for key, value in self._headers.items() if key == "x-ms-encryption-scope"}
        query = [("comp", "block"), ("blockid", self._id(number))]
        await self._client.call(self._where, "PUT", self._key, query=query, headers=headers, body=data)

    async def complete(self) -> str:
        """Make the blob visible, all of it at once, and return its ETag.

        Under `where.if_absent` only if nothing has its name: `AlreadyExistsError` otherwise. A repeated request is
        harmless, since blocks are named by what they are, not by whether they were committed before.
        """
        ids = [self._id(number) for number in range(1, self._count + 1)]
        headers = dict(self._headers)
        if self._where.if_absent:
            headers["if-none-match"] = "*"
        if self._whole is not None:
            headers["x-ms-blob-content-md5"] = base64.b64encode(self._whole.digest()).decode()
        try:
            return await self._commit(ids, headers, retries=0)
        except LostBlocksError as error:
            raise await self._lost(error) from error
        except HoldfastError as error:
            if not error.retryable:
                raise
            await self._client.pause(1, error.retry_after)
            return await self._commit_again(ids, headers)

    async def abort(self) -> None:
        """Do nothing: blocks cannot be taken back without making something visible."""

    async def _commit(self, ids: list[str], headers: Mapping[str, str], *, retries: int | None) -> str:
        items = "".join(f"<Latest>{one}</Latest>" for one in ids)
        body = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{items}</BlockList>'.encode()
        checked = await content_md5(body)

        def send(headers: Mapping[str, str]) -> Awaitable[Answer]:
            return self._client.call(
                self._where,
                "PUT",
                self._key,
                query=[("comp", "blocklist")],
                headers={**headers, **checked, "content-type": "application/xml"},
                body=body,
                patience=COMMIT_SECONDS,
                retries=retries,
            )

        return needed_header(await tags.optional(send, headers), self._where, "etag")

    async def _commit_again(self, ids: list[str], headers: Mapping[str, str]) -> str:
        """Commit after a try whose outcome is unknown: perhaps it was done and only the answer was lost."""
        try:
            return await self._commit(ids, headers, retries=None)
        except AlreadyExistsError:
            found, etag = await committed(self._client, self._where, self._key)
            if found != ids:
                raise
            return etag
        except LostBlocksError as error:
            raise await self._lost(error) from error

    async def _lost(self, error: LostBlocksError) -> HoldfastError:
        """Return what it means that the blocks are gone: another writer of the name was faster."""
        if self._where.if_absent:
            with contextlib.suppress(HoldfastError):
                await self._client.call(self._where, "HEAD", self._key)
                return from_answer(409, "BlobAlreadyExists", self._where)
        return error

    def _id(self, number: int) -> str:
        return base64.b64encode(f"{self._own}{number:06}".encode()).decode()


async def content_md5(data: Buffer) -> dict[str, str]:
    """Return the header by which the service checks a body."""
    small = len(data) <= _INLINE
    digest = _digest(data) if small else await asyncio.to_thread(_digest, data)
    return {"content-md5": base64.b64encode(digest).decode()}


async def committed(client: Client, where: Where, key: str) -> tuple[list[str], str]:
    """Return the ids of the blocks that the blob is made of, and its ETag."""
    query = [("comp", "blocklist"), ("blocklisttype", "committed")]
    answer = await client.call(where, "GET", key, query=query)
    names = xml(answer, where, "BlockList").iterfind("CommittedBlocks/Block/Name")
    return [unquote(name.text or "") for name in names], answer.headers.get("etag", "").strip('"')


async def sweep(client: Client, where: Where, key: str) -> None:
    """Remove blocks of `key` that no upload will ever commit. Nothing may have that name, nor be about to.

    An empty blob takes them away, and goes at once.
    """
    query = [("comp", "blocklist"), ("blocklisttype", "uncommitted")]
    try:
        answer = await client.call(where, "GET", key, query=query)
        if xml(answer, where, "BlockList").find("UncommittedBlocks/Block") is None:
            return
        own = Where(where.operation, where.store, where.name, if_absent=True)
        await client.call(own, "PUT", key, headers={"x-ms-blob-type": "BlockBlob", "if-none-match": "*"})
    except (NotFoundError, AlreadyExistsError):
        return
    await delete(client, where, key)


async def delete(client: Client, where: Where, key: str) -> None:
    """Remove the blob `key` and its snapshots; one that is gone already is fine."""
    try:
        await client.call(where, "DELETE", key, headers={"x-ms-delete-snapshots": "include"})
    except NotFoundError:
        return


def _digest(data: Buffer) -> bytes:
    return md5(data, usedforsecurity=False).digest()
