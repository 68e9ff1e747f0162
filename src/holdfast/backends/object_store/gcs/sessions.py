"""Large blobs that must not replace anything, through a resumable session, which takes that condition."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from urllib.parse import urlsplit

from holdfast.backends.object_store import upload
from holdfast.backends.object_store.control import Answer, Buffer, needed_header
from holdfast.backends.object_store.errors import Where
from holdfast.backends.object_store.gcs import digests
from holdfast.backends.object_store.gcs.client import GcsClient
from holdfast.backends.object_store.gcs.uploading import IF_NEW, etag_of, seen, verify, vouched
from holdfast.backends.object_store.multipart import COMPLETE_SECONDS
from holdfast.core.errors import HoldfastError, UnavailableError


class Session:
    """A resumable upload under the condition that nothing has the name; one piece after the other."""

    def __init__(self, client: GcsClient, where: Where, key: str) -> None:
        self._client, self._where, self._key = client, where, key
        self._target = ""  #: path and query of the session; it is a permission by itself
        self.crc = 0

    async def begin(self, headers: Mapping[str, str]) -> None:
        """Open the session; `headers` describe the blob."""
        sent = {**headers, **IF_NEW, "x-goog-resumable": "start"}
        answer = await self._client.call(self._where, "POST", self._key, headers=sent, accept=(201,))
        parts = urlsplit(needed_header(answer, self._where, "location"))
        if f"{parts.scheme}://{parts.netloc}" != self._client.settings.endpoint or not parts.query:
            raise self._error("the store names a session that is not its own")
        self._target = f"{parts.path}?{parts.query}"

    async def send(self, offset: int, data: Buffer, *, last: bool) -> Answer | None:
        """Send the piece at `offset`; return the answer that ends the session, None while there is more to come.

        What the store did not get is sent again; a broken answer is asked for.
        """
        self.crc = digests.sum_of(data, self.crc)
        end = offset + len(data)
        total = str(end) if last else "*"
        have, tries = offset, 0
        while True:
            try:
                answer = await self._put(_told(have, end, total), memoryview(data)[have - offset :])
            except HoldfastError as error:
                tries += 1
                if not error.retryable or tries > self._client.settings.retries + 1:
                    raise
                await self._client.pause(tries, error.retry_after)
                answer = await self._put(f"bytes */{total}", b"", retries=None)
            if answer.status != 308:
                if last:
                    return answer
                raise self._error("the store ended the session before its time")
            reached = _reached(answer)
            if not have <= reached <= end:
                raise self._error("the store has lost what it had of the session")
            tries = 0 if reached > have else tries + 1
            have = reached
            if have == end and not last:
                return None
            if tries > self._client.settings.retries + 1:
                raise self._error("the store does not get on with the session")

    async def cancel(self) -> None:
        """End the session without a blob, as far as the store can be reached; else it ends by itself after a week."""
        if self._target:
            try:
                await self._client.call(self._where, "DELETE", path=self._target, accept=(499,))
            except HoldfastError:
                return

    async def _put(self, content_range: str, data: Buffer, *, retries: int | None = 0) -> Answer:
        return await self._client.call(
            self._where,
            "PUT",
            path=self._target,
            headers={"content-range": content_range},
            body=data,
            patience=COMPLETE_SECONDS if not content_range.endswith("*") else 0.0,
            retries=retries,
            accept=(201, 308),
        )

    def _error(self, text: str) -> UnavailableError:
        return UnavailableError(
            text, operation=self._where.operation, store=self._where.store, name=self._where.name
        )


async def put_session(
    client: GcsClient, where: Where, key: str, feed: upload.Feed, size: int, headers: Mapping[str, str]
) -> str | None:
    """Store what `feed` yields if nothing has the name, in pieces of `size`, and return the ETag."""
    session = Session(client, where, key)
    try:
        await session.begin(headers)
        offset = 0
        held: Buffer = b""
        async for data in upload.parts(feed, size):
            if held:
                await session.send(offset, held, last=False)
                offset += len(held)
            held = data
        answer = await session.send(offset, held, last=True)
    except BaseException:
        await asyncio.shield(asyncio.ensure_future(session.cancel()))
        raise
    finally:
        await feed.close()
    assert answer is not None
    if not vouched(answer):
        answer = await seen(client, where, key, session.crc)
    elif digests.told(answer.headers) is None:
        answer = await client.call(where, "HEAD", key)
    await verify(client, where, key, answer, session.crc)
    return etag_of(answer)


def _reached(answer: Answer) -> int:
    """Return how many bytes a session has: the header Range is `bytes=0-N`, and absent while it has none."""
    _, _, last = answer.headers.get("range", "").rpartition("-")
    return int(last) + 1 if last.isdigit() else 0


def _told(have: int, end: int, total: str) -> str:
    """Return the header Content-Range for what is still to be sent; without any it asks for the end."""
    return f"bytes {have}-{end - 1}/{total}" if have < end else f"bytes */{total}"
