"""Bytes on their way in: one link, one request, counted and digested, and never a wait without an end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from hashlib import md5, sha256
from typing import Final

from holdfast.backends._http import read_bounded, retry_after
from holdfast.backends.yandex_disk import operations
from holdfast.backends.yandex_disk.api import Answer, Api, json_of
from holdfast.backends.yandex_disk.errors import Where, code_of, from_answer
from holdfast.backends.yandex_disk.operations import Outcome
from holdfast.backends.yandex_disk.resources import Resource, look
from holdfast.backends.yandex_disk.settings import YandexDiskSettings
from holdfast.core.body import Body, Meter
from holdfast.core.errors import (
    CorruptedError,
    DeadlineError,
    DigestMismatchError,
    HoldfastError,
    NotFoundError,
    TooLargeError,
    UnavailableError,
)

_PIECE: Final = 64 << 10
_DAY: Final = 86_400.0
_GIB: Final = 1 << 30
_FIRST: Final = 0.25
_UNANSWERED: Final = 5.0  #: seconds in which an upload without an answer may turn out to be there
_LONGEST: Final = 4.0


@dataclass(frozen=True, slots=True)
class Sent:
    """What was sent: the service must have the same."""

    size: int
    md5: str
    sha256: str

    def wrong(self, found: Resource) -> str:
        """Return what differs, "" for nothing that is known."""
        if found.size != self.size:
            return "size"
        if found.md5 and self.md5 and found.md5 != self.md5:
            return "md5"
        return "sha256" if found.sha256 and self.sha256 and found.sha256 != self.sha256 else ""


class Feed:
    """A body as small pieces, each of which has to be taken within `patience` seconds; one pass only.

    The time that our own source needs does not count. Its error is kept: the HTTP client would hide it.
    """

    def __init__(self, body: Body, *, limit: int | None, settings: YandexDiskSettings) -> None:
        self.size = 0
        self.ended = False
        self.error: Exception | None = None
        self._body = body.gathered(settings.chunk_size) if body.data is None else body
        self._limit, self._settings = limit, settings
        self._meter = Meter({"md5": lambda: md5(usedforsecurity=False), "sha256": sha256})
        self._timeout: asyncio.Timeout | None = None
        self._taken = False

    async def pieces(self, timeout: asyncio.Timeout) -> AsyncIterator[bytes]:
        """Yield the bytes, moving the end of `timeout` on with each of them."""
        if self._taken:
            raise UnavailableError("the connection was lost in the middle of the upload")
        self._taken, self._timeout = True, timeout
        try:
            async for chunk in self._body.chunks():
                for start in range(0, len(chunk), _PIECE):
                    piece = chunk[start : start + _PIECE] if len(chunk) > _PIECE else chunk
                    self._count(len(piece))
                    await self._meter.update(piece)
                    self._wait(self._settings.request_timeout)
                    yield piece
                self._wait(None)
            self._finish()
        except Exception as error:
            self.error = error
            raise

    def answered(self) -> None:
        """Let go of the timeout: the answer is there."""
        self._wait(self._settings.request_timeout)
        self._timeout = None

    async def sent(self) -> Sent:
        """What was sent, all of it."""
        digests = await self._meter.finish()
        return Sent(self.size, (digests.md5 or b"").hex(), (digests.sha256 or b"").hex())

    def _count(self, length: int) -> None:
        self.size += length
        if self._limit is not None and self.size > self._limit:
            raise TooLargeError(
                f"the body has more than the {self._limit} bytes that this account may upload"
            )
        if self._body.size is not None and self.size > self._body.size:
            raise DigestMismatchError(f"the body is longer than the announced {self._body.size} bytes")

    def _finish(self) -> None:
        if self._body.size is not None and self.size != self._body.size:
            raise DigestMismatchError(
                f"the body ended after {self.size} of the announced {self._body.size} bytes"
            )
        self.ended = True
        # The service takes digests of all of it before it answers.
        hashing = self._settings.hash_timeout_per_gib * self.size / _GIB
        self._wait(self._settings.request_timeout + hashing)

    def _wait(self, seconds: float | None) -> None:
        """Let the request fail in so many seconds, None: not now."""
        if self._timeout is not None:
            now = asyncio.get_running_loop().time()
            with contextlib.suppress(RuntimeError):  # it has ended already
                self._timeout.reschedule(None if seconds is None else now + seconds)


async def upload(api: Api, where: Where, link: Answer, body: Body, *, limit: int | None) -> Sent:
    """Send `body` to the link and return what was sent, once the service says that it has it.

    Raises:
        HoldfastError: nothing, or nothing whole, is there; or (`DeadlineError`) that is open.
    """
    settings = api.settings
    feed = Feed(body, limit=limit, settings=settings)
    operation = operations.operation_of(link)
    try:
        status = await _send(api, where, api.link(where, link), feed, body.size)
    except (UnavailableError, DeadlineError) as error:
        if feed.error is not None or not feed.ended or not operation:
            raise
        # Everything was sent and only the answer is missing: the operation tells how it ended.
        if not await _came_through(api, where, operation, feed.size):
            raise error from error.__cause__
        return await feed.sent()
    if status == 202:
        outcome = await operations.ended(api, where, operation, within=settings.operation_timeout)
        if outcome is not Outcome.DONE:
            raise where.error(UnavailableError, "the service took the upload and then gave it up")
    return await feed.sent()


async def settled(api: Api, where: Where, path: str, sent: Sent) -> Resource:
    """Return what the service shows at `path` when it is what was sent; uploads show with some delay.

    Raises:
        CorruptedError: it has other bytes.
        UnavailableError: it did not show in time.
    """
    clock, pause = api.environment.clock, _FIRST
    give_up = clock.monotonic() + api.settings.settle_timeout
    while True:
        try:
            found = await look(api, where, path)
            if wrong := sent.wrong(found):
                raise where.error(
                    CorruptedError, f"the service has other bytes than were sent: the {wrong} differs"
                )
            if found.md5 or found.sha256:
                return found
            missing: HoldfastError = where.error(
                UnavailableError, "the service does not tell the digests of what was uploaded"
            )
        except NotFoundError:
            missing = where.error(UnavailableError, "what was uploaded does not show in the Disk")
        except UnavailableError as error:
            missing = error
        if clock.monotonic() >= give_up:
            raise missing
        await clock.sleep(pause)
        pause = min(2 * pause, _LONGEST)


async def _send(api: Api, where: Where, href: str, feed: Feed, size: int | None) -> int:
    """Send everything and return the status of success, 201 or 202."""
    settings = api.settings
    # No Authorization: the link is the permission. No type: the service would only guess by it.
    headers = {"Content-Type": "application/octet-stream"}
    if size is not None:
        headers["Content-Length"] = str(size)
    try:
        async with (
            asyncio.timeout(settings.connect_timeout + settings.request_timeout) as timeout,
            api.http.exchange(
                where.operation,
                where.name,
                "PUT",
                href,
                headers=headers,
                data=feed.pieces(timeout),
                read_timeout=_DAY,  # the feed keeps the time
                encoded=True,
            ) as response,
        ):
            feed.answered()
            if response.status in (201, 202):
                return response.status
            raw = await read_bounded(response, 1 << 20)
            said = json_of(response.content_type, raw) or {}
            wait = retry_after(response.headers, api.environment.clock.now())
            raise from_answer(response.status, code_of(said.get("error")), where, retry_after=wait)
    except TimeoutError as error:
        raise where.error(UnavailableError, "the service stopped taking the upload") from error
    except HoldfastError as error:
        if feed.error is not None:
            raise _told(feed.error, where) from error
        raise


async def _came_through(api: Api, where: Where, operation: str, size: int) -> bool:
    hashing = api.settings.hash_timeout_per_gib * size / _GIB
    within = min(api.settings.settle_timeout, _UNANSWERED + hashing)
    try:
        outcome = await operations.ended(api, where, operation, within=within)
    except HoldfastError:
        return False
    return outcome is Outcome.DONE


def _told(error: Exception, where: Where) -> Exception:
    """Return the source's own error, which says more than that the connection was given up."""
    if isinstance(error, HoldfastError):
        error.operation, error.store = error.operation or where.operation, error.store or where.store
        error.name = error.name or where.name
    return error
