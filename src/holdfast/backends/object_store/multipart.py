"""Multipart uploads and copies by hand, where the object-store library has no words: conditional and server-side ones."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import AsyncIterator, Awaitable, Mapping
from hashlib import md5, sha256
from typing import Final, Protocol

from holdfast.backends.object_store import encryption
from holdfast.backends.object_store.control import Answer, Buffer, Caller, ControlClient, needed_header
from holdfast.backends.object_store.errors import Where
from holdfast.backends.object_store.sigv4 import encode
from holdfast.backends.object_store.xml import SentPart, XmlError, completion, parse
from holdfast.core.errors import (
    AlreadyExistsError,
    HoldfastError,
    NotFoundError,
    UnavailableError,
    UnsupportedError,
)

COMPLETE_SECONDS: Final = 600.0  #: a server may gather parts, or copy, for long before it answers
_MD5 = re.compile(r"[0-9a-f]{32}")


class Multipart:
    """One upload on one key: its parts, and its end, which is always one of completed and aborted."""

    def __init__(self, client: ControlClient, where: Where, key: str) -> None:
        self._client = client
        self._where = where
        self._key = key
        self._id = ""
        self._checksums = client.settings.checksum_algorithm
        self._parts: dict[int, SentPart] = {}

    async def create(self, headers: Mapping[str, str], *, checksums: bool = True) -> None:
        """Begin. `headers` describe the object that completing will make; copied parts carry no checksums."""
        wanted = dict(headers)
        if checksums and self._checksums:
            wanted["x-amz-checksum-algorithm"] = self._checksums.upper()
            wanted["x-amz-checksum-type"] = "FULL_OBJECT" if self._checksums == "crc64nvme" else "COMPOSITE"
        answer = await self._client.call(
            self._where, "POST", self._key, query=[("uploads", "")], headers=wanted
        )
        self._id = field(answer, "UploadId")
        if not self._id:
            raise UnavailableError("the answer holds no upload id", operation="put", store=self._where.store)

    async def send(self, number: int, data: Buffer) -> None:
        """Upload part `number`, 1 to 10,000."""
        headers, checksum = encryption.key_headers(self._client.settings), ""
        if self._checksums:
            checksum = await asyncio.to_thread(_checksum, self._checksums, data)
            headers[f"x-amz-checksum-{self._checksums}"] = checksum
        answer = await self._part(number, headers, data)
        etag = needed_header(answer, self._where, "etag")
        self._parts[number] = SentPart(number, etag, self._checksums or "", checksum)

    async def copy(self, number: int, source: str, first: int, last: int, if_match: str | None) -> None:
        """Make part `number` of the bytes `first` to `last` of the object at `source` (bucket and key, encoded)."""
        headers = encryption.key_headers(self._client.settings) | encryption.source_headers(
            self._client.settings
        )
        headers |= {"x-amz-copy-source": source, "x-amz-copy-source-range": f"bytes={first}-{last}"}
        if if_match:
            headers["x-amz-copy-source-if-match"] = if_match
        answer = await self._part(number, headers, b"", COMPLETE_SECONDS)
        etag = field(answer, "ETag")
        if not etag:
            raise UnsupportedError("the store does not copy parts", operation="copy", store=self._where.store)
        self._parts[number] = SentPart(number, etag)

    async def complete(self) -> str:
        """Make the object visible, all of it at once, and return its ETag.

        Under `where.if_absent` only if nothing has its name: `AlreadyExistsError` otherwise.
        """
        parts = [self._parts[number] for number in sorted(self._parts)]
        try:
            answer = await self._complete(parts, retries=0)
        except HoldfastError as error:
            if not error.retryable:
                raise
            await self._client.pause(1, error.retry_after)
            return await self._complete_again(parts)
        return field(answer, "ETag")

    async def abort(self) -> None:
        """Give the parts back, as far as the server can be reached; what stays is found by `abort_stale_uploads`."""
        if self._id:
            try:
                await abort(self._client, self._where, self._key, self._id)
            except HoldfastError:
                return

    async def _part(
        self, number: int, headers: Mapping[str, str], data: Buffer, patience: float = 0.0
    ) -> Answer:
        query = [("partNumber", str(number)), ("uploadId", self._id)]
        return await self._client.call(
            self._where, "PUT", self._key, query=query, headers=headers, body=data, patience=patience
        )

    async def _complete(self, parts: list[SentPart], *, retries: int | None) -> Answer:
        headers = encryption.key_headers(self._client.settings)
        if self._where.if_absent:
            headers["if-none-match"] = "*"
        answer = await self._client.call(
            self._where,
            "POST",
            self._key,
            query=[("uploadId", self._id)],
            headers=headers,
            body=completion(parts),
            patience=COMPLETE_SECONDS,
            retries=retries,
        )
        needed_field(answer, self._where, "ETag")
        return answer

    async def _complete_again(self, parts: list[SentPart]) -> str:
        """Complete after a try whose outcome is unknown: it may be that it was done and only the answer was lost."""
        try:
            answer = await self._complete(parts, retries=None)
        except (NotFoundError, AlreadyExistsError) as error:
            if isinstance(error, AlreadyExistsError) and await self._open():
                raise
            head = await self._client.call(
                self._where, "HEAD", self._key, headers=encryption.key_headers(self._client.settings)
            )
            etag = head.headers.get("etag", "").strip('"')
            if etag != composite_etag([part.etag for part in parts]):
                raise UnavailableError(
                    "the upload is gone and it is not known whether it was completed",
                    operation=self._where.operation,
                    store=self._where.store,
                    name=self._where.name,
                ) from error
            return etag
        return field(answer, "ETag")

    async def _open(self) -> bool:
        """Return whether the upload is still there; it is gone once it was completed."""
        try:
            await self._client.call(
                self._where, "GET", self._key, query=[("uploadId", self._id), ("max-parts", "1")]
            )
        except NotFoundError:
            return False
        return True


async def abort(client: Caller, where: Where, key: str, upload_id: str) -> None:
    """Abort an upload; one that is gone already is fine."""
    try:
        await client.call(where, "DELETE", key, query=[("uploadId", upload_id)])
    except NotFoundError:
        return


class Work(Protocol):
    """An upload in parts that has a beginning and one of two ends."""

    async def create(self, headers: Mapping[str, str], *, checksums: bool = True) -> None: ...

    async def complete(self) -> str: ...

    async def abort(self) -> None: ...


async def run(
    multipart: Work,
    headers: Mapping[str, str],
    works: AsyncIterator[Awaitable[None]],
    *,
    concurrency: int,
    checksums: bool = True,
) -> str:
    """Do what `works` yields (sending or copying one part each), `concurrency` at a time, complete, return the ETag.

    Whatever ends it early (an error of the source or the server, a cancellation) aborts the upload.
    """
    running: set[asyncio.Future[None]] = set()
    try:
        await multipart.create(headers, checksums=checksums)
        async for work in works:
            running.add(asyncio.ensure_future(work))
            if len(running) >= concurrency:
                running = await _some(running, asyncio.FIRST_COMPLETED)
        await _some(running, asyncio.ALL_COMPLETED)
        return await multipart.complete()
    except BaseException:
        await asyncio.shield(asyncio.ensure_future(_give_up(multipart, running)))
        raise


def composite_etag(etags: list[str]) -> str | None:
    """Return the ETag of an object made of parts with these, or None when they are not MD5 digests."""
    plain = [etag.strip('"') for etag in etags]
    if not all(_MD5.fullmatch(etag) for etag in plain):
        return None
    digest = md5(b"".join(bytes.fromhex(etag) for etag in plain), usedforsecurity=False)
    return f"{digest.hexdigest()}-{len(plain)}"


def copy_source(bucket: str, key: str) -> str:
    """Return what x-amz-copy-source must say."""
    return f"/{encode(bucket)}/{encode(key, keep='/')}"


async def _some(running: set[asyncio.Future[None]], when: str) -> set[asyncio.Future[None]]:
    """Wait, raise the first error among the finished, return the unfinished."""
    if not running:
        return running
    done, rest = await asyncio.wait(running, return_when=when)
    for task in done:
        task.result()
    return rest


async def _give_up(multipart: Work, running: set[asyncio.Future[None]]) -> None:
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    await multipart.abort()


def _checksum(algorithm: str, data: Buffer) -> str:
    if algorithm == "sha256":
        return base64.b64encode(sha256(data).digest()).decode()
    from awscrt.checksums import crc64nvme  # costs 30 ms, and few need it

    return base64.b64encode(int(crc64nvme(data)).to_bytes(8, "big")).decode()


def needed_field(answer: Answer, where: Where, tag: str) -> str:
    """Return the text of `tag` in an XML answer that must hold it: a gateway's page is a 200 too."""
    value = field(answer, tag)
    if not value:
        raise UnavailableError(
            f"the store's answer lacks {tag}", operation=where.operation, store=where.store, name=where.name
        )
    return value


def field(answer: Answer, tag: str) -> str:
    """Return the text of `tag` in an XML answer, "" when there is none."""
    try:
        return parse(answer.body).findtext(tag) or ""
    except XmlError:
        return ""
