"""Large blobs in parts, several at a time. Parts take no condition: their end replaces what has the name."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Mapping

from holdfast.backends.object_store import multipart, upload
from holdfast.backends.object_store.control import Answer, Buffer, needed_header
from holdfast.backends.object_store.errors import Where
from holdfast.backends.object_store.gcs import digests
from holdfast.backends.object_store.gcs.client import GcsClient, foreign
from holdfast.backends.object_store.gcs.uploading import etag_of, seen, verify
from holdfast.backends.object_store.multipart import COMPLETE_SECONDS, field
from holdfast.backends.object_store.xml import SentPart, completion
from holdfast.core.errors import HoldfastError, NotFoundError, UnavailableError


class Parts:
    """One upload: its parts, and its end, which is always one of completed and aborted."""

    def __init__(self, client: GcsClient, where: Where, key: str, *, shared: bool) -> None:
        self._client, self._where, self._key, self._shared = client, where, key, shared
        self._id = ""
        self._parts: dict[int, SentPart] = {}
        self.crc = 0  #: of all bytes, in order
        self.size = 0

    async def create(self, headers: Mapping[str, str], *, checksums: bool = True) -> None:
        """Begin. `headers` describe the blob that completing will make."""
        answer = await self._client.call(
            self._where, "POST", self._key, query=[("uploads", "")], headers=headers
        )
        self._id = field(answer, "UploadId")
        if not self._id:
            raise UnavailableError("the answer holds no upload id", operation="put", store=self._where.store)

    def take(self, data: Buffer) -> Awaitable[None]:
        """Return the sending of the next part, which `data` is."""
        self.crc = digests.sum_of(data, self.crc)
        self.size += len(data)
        return self._send(len(self._parts) + 1, data)

    async def complete(self) -> str:
        """Make the blob visible, all of it at once, and return its ETag.

        Of a key that is shared it is the one that a HEAD tells, and nothing is taken back: others may have written since.
        """
        parts = [self._parts[number] for number in sorted(self._parts)]
        try:
            answer = await self._complete(parts, retries=0)
        except HoldfastError as error:
            if not error.retryable:
                raise
            await self._client.pause(1, error.retry_after)
            answer = await self._complete_again(parts)
        etag = field(answer, "ETag") or answer.headers.get("etag", "")
        if self._shared:
            return etag_of(await seen(self._client, self._where, self._key, self.crc)) or etag
        if digests.told(answer.headers) is None:
            answer = await self._client.call(self._where, "HEAD", self._key)
        await verify(self._client, self._where, self._key, answer, self.crc)
        return etag

    async def abort(self) -> None:
        """Give the parts back, as far as the store can be reached; what stays is found by `abort_stale_uploads`."""
        if self._id:
            try:
                await multipart.abort(self._client, self._where, self._key, self._id)
            except HoldfastError:
                return

    def _send(self, number: int, data: Buffer) -> Awaitable[None]:
        self._parts[number] = SentPart(number, "")

        async def send() -> None:
            answer = await self._client.call(
                self._where,
                "PUT",
                self._key,
                query=[("partNumber", str(number)), ("uploadId", self._id)],
                headers={"x-goog-hash": digests.header(digests.sum_of(data))},
                body=data,
            )
            self._parts[number] = SentPart(number, needed_header(answer, self._where, "etag"))

        return send()

    async def _complete(self, parts: list[SentPart], *, retries: int | None) -> Answer:
        answer = await self._client.call(
            self._where,
            "POST",
            self._key,
            query=[("uploadId", self._id)],
            headers={"content-type": "application/xml"},
            body=completion(parts),
            patience=COMPLETE_SECONDS,
            retries=retries,
        )
        if not field(answer, "ETag"):
            raise foreign(self._where)
        return answer

    async def _complete_again(self, parts: list[SentPart]) -> Answer:
        """Complete after a try whose outcome is unknown: it may be that it was done and only the answer was lost."""
        try:
            return await self._complete(parts, retries=None)
        except NotFoundError as error:
            head = await self._client.call(self._where, "HEAD", self._key)
            same = digests.told(head.headers) == self.crc
            if not same or head.headers.get("content-length") != str(self.size):
                raise UnavailableError(
                    "the upload is gone and it is not known whether it was completed",
                    operation=self._where.operation,
                    store=self._where.store,
                    name=self._where.name,
                ) from error
            return head


async def put_parts(
    client: GcsClient,
    where: Where,
    key: str,
    feed: upload.Feed,
    plan: upload.Plan,
    headers: Mapping[str, str],
    *,
    shared: bool = False,
) -> str | None:
    """Store what `feed` yields, in parts, and return the ETag; whatever ends it early gives the parts back.

    `shared`: others write under this key too.
    """
    work = Parts(client, where, key, shared=shared)

    async def parts() -> AsyncIterator[Awaitable[None]]:
        async for data in upload.parts(feed, plan.part_size):
            sending = work.take(data)
            del data  # or it would be held while the next one is gathered
            yield sending

    try:
        etag = await multipart.run(work, headers, parts(), concurrency=plan.concurrency)
    finally:
        await feed.close()
    return etag.strip('"') or None
