"""Bytes on their way in: small bodies in one request, larger ones in a session that goes on where it broke off.

Every file is made under an id that was fetched before, so a request whose answer was lost can be repeated: either it
makes the file, or Google says that the id is taken, and then it is ours. What arrived is compared with what was sent.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from hashlib import md5, sha256
from typing import Any, Final, cast
from urllib.parse import urlsplit

import msgspec

from holdfast.backends.google_drive.client import Answer, Client, decoded
from holdfast.backends.google_drive.errors import Where, failure
from holdfast.backends.google_drive.files import ALL_DRIVES, FIELDS, File, Files, parsed
from holdfast.core.body import Body, Meter
from holdfast.core.errors import CorruptedError, NotFoundError, UnavailableError

MAX_SIZE: Final = 5_497_558_138_880
_RESTARTS: Final = 2
_JSON: Final = "application/json; charset=UTF-8"
_KEPT: Final = re.compile(r"bytes=0-(\d{1,19})")


@dataclass(slots=True)
class Target:
    """The file to be made. `begun` tells whether a request was sent that may make it, now or a little later."""

    id: str
    meta: Mapping[str, Any]
    content_type: str
    begun: bool = False

    async def sending(self, request: Awaitable[Answer]) -> Answer:
        """Return the answer to a request that may make the file; one that is refused makes none."""
        before, self.begun = self.begun, True
        answer = await request
        if 400 <= answer.status < 500 and answer.status != 409:
            self.begun = before
        return answer


class SessionLostError(Exception):
    """Google forgot the session, or what it holds of it: it begins again."""


async def gather(body: Body, most: int) -> tuple[bytes | None, Body]:
    """Return all of a body of at most `most` bytes, or None for a larger one, and the body that is still whole."""
    if body.size is not None and body.size > most:
        return None, body
    start, body = await body.peek(most + 1)
    return (start if len(start) <= most else None), body


class Uploads:
    """Makes files."""

    def __init__(self, client: Client, files: Files) -> None:
        self._client, self._files = client, files
        parts = urlsplit(client.settings.upload_base)
        self._origin = (parts.scheme, parts.netloc)

    async def small(self, where: Where, target: Target, data: bytes) -> File:
        """Make a file of `data` in one request."""
        boundary = f"holdfast-{self._client.environment.random.getrandbits(128):032x}"
        payload = _related(boundary, target, data)
        headers = {"Content-Type": f"multipart/related; boundary={boundary}"}

        async def attempt() -> File:
            answer = await target.sending(
                self._client.send(
                    where, "POST", self._url, headers=headers, params=self._query("multipart"), data=payload
                )
            )
            return await self._made(where, target, answer)

        file = await self._client.patiently(attempt)
        return _checked(
            where, file, len(data), md5(data, usedforsecurity=False).digest(), sha256(data).digest()
        )

    async def large(self, where: Where, target: Target, body: Body) -> File:
        """Make a file of a body of any size, holding `chunk_size` bytes of it at a time."""
        meter = Meter({"md5": lambda: md5(usedforsecurity=False), "sha256": sha256})
        for turn in range(_RESTARTS + 1):
            try:
                file = await self._session(where, target, body, body.metered(meter))
                break
            except SessionLostError as error:
                if not body.replayable or turn == _RESTARTS:
                    raise failure(
                        UnavailableError, "Google forgot the upload, which has to begin again", where
                    ) from error
        digests = await meter.finish()
        return _checked(where, file, meter.size, digests.md5 or b"", digests.sha256 or b"")

    async def copy(self, where: Where, target: Target, source: str) -> File:
        """Make a file of the content of another one, inside Drive."""
        url = f"{self._client.settings.api_base}/files/{source}/copy"
        data = msgspec.json.encode(target.meta)

        async def attempt() -> File:
            params = {"fields": FIELDS, **ALL_DRIVES}
            answer = await target.sending(
                self._client.send(
                    where, "POST", url, headers={"Content-Type": _JSON}, params=params, data=data
                )
            )
            return await self._made(where, target, answer)

        return await self._client.patiently(attempt)

    async def _session(self, where: Where, target: Target, body: Body, metered: Body) -> File:
        session = await self._begin(where, target, body.size)
        chunk = self._client.settings.chunk_size
        async with aclosing(cast(Any, metered.chunks())) as chunks:
            window = _Window(chunks)
            stalls = 0
            while True:
                await window.fill(chunk + 1)
                last = window.ended and len(window.data) <= chunk
                count = len(window.data) if last else chunk
                total = window.base + count if last else None
                found = await self._push(where, target, session, window, count, total)
                if isinstance(found, File):
                    return found
                stalls = stalls + 1 if found == window.base else 0
                if stalls > self._client.settings.retries:
                    raise failure(UnavailableError, "Google keeps nothing of what is sent", where)
                if stalls:
                    await self._client.pause(stalls)
                window.drop(found)

    async def _begin(self, where: Where, target: Target, size: int | None) -> str:
        headers = {"Content-Type": _JSON, "X-Upload-Content-Type": target.content_type}
        if size is not None:
            headers["X-Upload-Content-Length"] = str(size)
        data = msgspec.json.encode(target.meta)

        async def attempt() -> str:
            answer = await self._client.send(
                where, "POST", self._url, headers=headers, params=self._query("resumable"), data=data
            )
            session = answer.headers.get("Location", "")
            if not answer.good:
                raise self._client.judge(where, answer)
            parts = urlsplit(session)
            # A token goes with every request: none is sent to where we were not told to go.
            if (parts.scheme, parts.netloc) != self._origin:
                raise failure(UnavailableError, "Google's answer names no session for the upload", where)
            return session

        return await self._client.patiently(attempt)

    async def _push(
        self, where: Where, target: Target, session: str, window: _Window, count: int, total: int | None
    ) -> File | int:
        """Send what the window holds; return the file when it is whole, else how many bytes Google has of all."""
        first, after = window.base, window.base + count
        shown = "*" if total is None else str(total)
        piece = bytes(memoryview(window.data)[:count])
        ask = (f"bytes */{shown}", b"")
        turn = (f"bytes {first}-{after - 1}/{shown}", piece) if count else ask

        async def attempt() -> File | int:
            nonlocal turn
            content_range, data = turn
            turn = ask  # whatever becomes of this one, the next asks what arrived
            request = self._client.send(
                where,
                "PUT",
                session,
                headers={"Content-Range": content_range, "Content-Length": str(len(data))},
                data=data,
                encoded=True,
            )
            answer = await (request if total is None else target.sending(request))
            return await self._progress(where, target, answer, first, after)

        return await self._client.patiently(attempt)

    async def _progress(
        self, where: Where, target: Target, answer: Answer, first: int, after: int
    ) -> File | int:
        if answer.status == 308:
            match = _KEPT.fullmatch(answer.headers.get("Range", "").strip())
            kept = int(match[1]) + 1 if match else 0
            if not first <= kept <= after:
                raise SessionLostError
            return kept
        if answer.status in (404, 410):
            # A session is also forgotten when it is done, and its last answer was lost.
            try:
                return await self._files.get(where, target.id)
            except NotFoundError:
                raise SessionLostError from None
        return await self._made(where, target, answer)

    async def _made(self, where: Where, target: Target, answer: Answer) -> File:
        """Return the file that an answer tells of."""
        if answer.status == 409:  # an earlier request made it: nobody else has the id
            return await self._taken(where, target)
        if not answer.good:
            raise self._client.judge(where, answer)
        try:
            file = parsed(where, decoded(where, answer))
        except UnavailableError:
            file = await self._taken(where, target)
        if file.trashed:
            raise failure(NotFoundError, "the folder that the file went to is in the trash", where)
        return file

    async def _taken(self, where: Where, target: Target) -> File:
        try:
            return await self._files.get(where, target.id)
        except NotFoundError:
            raise failure(
                UnavailableError, "Google says that the file is made, and does not show it", where
            ) from None

    @property
    def _url(self) -> str:
        return f"{self._client.settings.upload_base}/files"

    @staticmethod
    def _query(kind: str) -> dict[str, str]:
        return {"uploadType": kind, "fields": FIELDS, **ALL_DRIVES}


class _Window:
    """The bytes of a body that Google has not confirmed yet, from offset `base` on."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self.base, self.data, self.ended = 0, bytearray(), False

    async def fill(self, count: int) -> None:
        """Hold at least `count` bytes, or all that are left."""
        while len(self.data) < count and not self.ended:
            chunk = await anext(self._chunks, None)
            if chunk is None:
                self.ended = True
            else:
                self.data += chunk

    def drop(self, base: int) -> None:
        """Forget what lies before `base`."""
        del self.data[: base - self.base]
        self.base = base


def _related(boundary: str, target: Target, data: bytes) -> bytes:
    head = (
        f"--{boundary}\r\nContent-Type: {_JSON}\r\n\r\n".encode()
        + msgspec.json.encode(target.meta)
        + f"\r\n--{boundary}\r\nContent-Type: {target.content_type}\r\n\r\n".encode()
    )
    return head + data + f"\r\n--{boundary}--\r\n".encode()


def _checked(where: Where, file: File, size: int, of_md5: bytes, of_sha256: bytes) -> File:
    """Return the file when it is what was sent."""
    wrong = (
        file.bytes != size
        or (file.md5_checksum and file.md5_checksum != of_md5.hex())
        or (file.sha256_checksum and file.sha256_checksum != of_sha256.hex())
    )
    if wrong:
        raise failure(CorruptedError, "Google received other bytes than were sent", where)
    if not file.md5_checksum and not file.sha256_checksum:
        raise failure(UnavailableError, "Google tells no checksum of what it received", where)
    return file
