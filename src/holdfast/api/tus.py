"""Resumable uploads as tus 1.0.0 speaks of them (https://tus.io): any tus client works with this door.

An upload is created by a POST, grows by PATCHes at its end, and is asked for its offset by HEAD; with the last byte
the object appears. What the protocol leaves open: a bucket and a key are named in Upload-Metadata or in the query.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, Final

from holdfast.api import tus_headers
from holdfast.api.body import ClientLeftError, body_length
from holdfast.api.conditions import conditions_of
from holdfast.api.errors import HttpRefusalError, render, status_of
from holdfast.api.exchange import Exchange
from holdfast.api.server.cycle import ClientGone
from holdfast.api.tus_headers import (
    BODY,
    CHECKSUM_MISMATCH,
    Headers,
    check_of,
    described,
    joined_ids,
    length_of,
    number_of,
    wish_of,
)
from holdfast.core.errors import ConflictError, DigestMismatchError, InvalidRequestError
from holdfast.engine.pieces import BrokenOffError, Check
from holdfast.engine.resumable import Progress

#: Headers of answers that a page of another origin must be allowed to read, and of requests that it may send.
_OVERRIDES: Final = ("HEAD", "PATCH", "DELETE")
_SETTLE: Final = (
    10.0  #: seconds that a request waits for another one of the same upload to put down what it has
)

Handler = Callable[[Exchange, str], Awaitable[None]]


class Tus:
    """The handlers, and which uploads are being written by this process. Made by `create_app`."""

    def __init__(self, max_size: int | None) -> None:
        self._max_size = max_size
        self._writers: dict[tuple[str, str], _Writer] = {}

    async def options(self, exchange: Exchange) -> None:
        """Tell which version and extensions of the protocol are spoken here."""
        headers: Headers = list(tus_headers.OFFER)
        if self._max_size is not None:
            headers.append((b"tus-max-size", b"%d" % self._max_size))
        await exchange.answer(204, headers)

    async def options_of(self, exchange: Exchange, upload_id: str) -> None:
        """Tell which version and extensions of the protocol are spoken here."""
        await self.options(exchange)

    async def create(self, exchange: Exchange) -> None:
        """Open an upload, with its first bytes if they are sent along; or put finished partial uploads together."""
        await _spoken(exchange, self._create)

    async def post(self, exchange: Exchange, upload_id: str) -> None:
        """Do what X-HTTP-Method-Override says, for clients that can only POST."""
        asked = (exchange.header(b"x-http-method-override") or "").upper()
        if asked not in _OVERRIDES:
            allow = b", ".join(name.encode() for name in (*_OVERRIDES, "OPTIONS"))
            raise HttpRefusalError(405, "POST needs X-HTTP-Method-Override here", headers=[(b"allow", allow)])
        chosen: dict[str, Handler] = {"HEAD": self.head, "PATCH": self.patch, "DELETE": self.delete}
        await chosen[asked](exchange, upload_id)

    async def head(self, exchange: Exchange, upload_id: str) -> None:
        """Tell how many bytes of an upload are kept. One that has them all becomes an object now."""
        await _spoken(exchange, self._head, upload_id)

    async def patch(self, exchange: Exchange, upload_id: str) -> None:
        """Append the body to an upload that has exactly Upload-Offset bytes; what arrives before a break is kept."""
        await _spoken(exchange, self._patch, upload_id)

    async def delete(self, exchange: Exchange, upload_id: str) -> None:
        """Give an upload up; answers 204."""
        await _spoken(exchange, self._delete, upload_id)

    # -- behind the version check -------------------------------------------------------------------------------
    async def _create(self, exchange: Exchange) -> None:
        wish = wish_of(exchange)
        check = check_of(exchange)
        if (ids := joined_ids(exchange)) is not None:
            body_length(exchange)
            _check_empty(check)
            made = await exchange.session.concatenate(
                wish.bucket, wish.key, ids, wish.about, conditions=conditions_of(exchange)
            )
            await exchange.answer(201, [_location(exchange, made.id), *_zero, *described(made)])
            return
        carries = _carries_body(exchange)
        if not carries:
            _check_empty(check)
        length = length_of(exchange)
        self._check_size(length)
        progress = await exchange.session.create_resumable(
            wish.bucket,
            wish.key,
            wish.about,
            length=length,
            partial=wish.partial,
            options=wish.options,
            conditions=conditions_of(exchange),
        )
        if carries and progress.version is None:
            progress = await self._append(exchange, progress.id, 0, check)
        await exchange.answer(201, [_location(exchange, progress.id), *_zero, *described(progress)])

    async def _head(self, exchange: Exchange, upload_id: str) -> None:
        progress = await self._settled(exchange, upload_id)
        await exchange.answer(200, [*_zero, (b"cache-control", b"no-store"), *described(progress)])

    async def _patch(self, exchange: Exchange, upload_id: str) -> None:
        if exchange.headers.get(b"content-type", b"").partition(b";")[0].strip().lower() != BODY:
            raise HttpRefusalError(415, f"the body of a PATCH is {BODY.decode()}")
        offset = number_of(exchange, b"upload-offset")
        if offset is None:
            raise InvalidRequestError("PATCH needs Upload-Offset: how many bytes are there already")
        check = check_of(exchange)
        await self._settled(exchange, upload_id, finish=False)
        progress = await self._append(exchange, upload_id, offset, check)
        await exchange.answer(204, described(progress))

    async def _delete(self, exchange: Exchange, upload_id: str) -> None:
        await self._settled(exchange, upload_id, finish=False)
        await exchange.session.abort_resumable(upload_id)
        await exchange.answer(204, [(b"tus-resumable", tus_headers.VERSION)])

    async def _append(self, exchange: Exchange, upload_id: str, offset: int, check: Check | None) -> Progress:
        announced = body_length(exchange)
        length = number_of(exchange, b"upload-length")
        self._check_size(length)
        with _Writer(self._writers, (exchange.principal.tenant, upload_id)) as writer:
            async with aclosing(writer.flow(exchange)) as body:
                progress = await exchange.session.append(
                    upload_id, offset, body, announced=announced, length=length, check=check
                )
        if writer.stopped.is_set():
            raise ConflictError("another request of this upload came after this one", name=upload_id)
        if progress.broken:
            raise ClientLeftError("the client went away; what had arrived is kept")
        return progress

    async def _settled(self, exchange: Exchange, upload_id: str, *, finish: bool = True) -> Progress:
        """Return how far an upload is, once a request that was still writing to it has put down what it has."""
        writer = self._writers.get((exchange.principal.tenant, upload_id))
        if writer is None and not finish:
            return await exchange.session.upload_state(upload_id)
        if writer is None:
            return await exchange.session.upload_progress(upload_id)
        await exchange.session.upload_state(upload_id)  # or a stranger could stop it
        writer.stopped.set()
        try:
            await asyncio.wait_for(writer.ended.wait(), _SETTLE)
        except TimeoutError:
            raise HttpRefusalError(
                423, "another request is still writing to this upload; try again"
            ) from None
        return await exchange.session.upload_progress(upload_id)

    def _check_size(self, length: int | None) -> None:
        if length is not None and self._max_size is not None and length > self._max_size:
            raise HttpRefusalError(413, f"an upload may have {self._max_size} bytes here (Tus-Max-Size)")


class _Writer:
    """A request that is appending: others of the same upload may ask it to stop, and wait until it has."""

    def __init__(self, writers: dict[tuple[str, str], _Writer], name: tuple[str, str]) -> None:
        self._writers = writers
        self._name = name
        self.stopped = asyncio.Event()
        self.ended = asyncio.Event()

    def __enter__(self) -> _Writer:
        self._writers[self._name] = self
        return self

    def __exit__(self, *_: object) -> None:
        if self._writers.get(self._name) is self:
            del self._writers[self._name]
        self.ended.set()

    async def flow(self, exchange: Exchange) -> AsyncGenerator[bytes, None]:
        """Yield the body; `BrokenOffError` when the client leaves, or somebody asked to stop."""
        stop = asyncio.ensure_future(self.stopped.wait())
        receive: asyncio.Future[Any] | None = None
        more = True
        try:
            while more:
                receive = asyncio.ensure_future(exchange.receive())
                await asyncio.wait((receive, stop), return_when=asyncio.FIRST_COMPLETED)
                if not receive.done():
                    raise BrokenOffError("another request of this upload came")
                message = receive.result()
                if message["type"] == "http.disconnect":
                    raise BrokenOffError("the client went away")
                more = message.get("more_body", False)
                if data := message.get("body", b""):
                    yield data
        finally:
            stop.cancel()
            if receive is not None:
                receive.cancel()


_zero: Final = ((b"content-length", b"0"),)


def _check_empty(check: Check | None) -> None:
    """Verify what is announced of a body that is not there."""
    if check is not None:
        check.verify()


def _carries_body(exchange: Exchange) -> bool:
    """Tell whether a creation brings its first bytes; refuse a body of another kind."""
    kind = exchange.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if exchange.length == 0:
        return False
    if kind != BODY:
        raise HttpRefusalError(415, f"the body of a creation, if there is one, is {BODY.decode()}")
    return True


def _location(exchange: Exchange, upload_id: str) -> tuple[bytes, bytes]:
    """Return where the upload is; a signature that allowed its creation stays with it."""
    query = exchange.scope["query_string"]
    signed = b"?" + query if b"hf_sig=" in query else b""
    return (b"location", b"/api/v1/tus/" + upload_id.encode() + signed)


async def _spoken(exchange: Exchange, handler: Callable[..., Awaitable[None]], *pieces: str) -> None:
    """Run a handler if the client speaks our version; put the version on refusals too."""
    more: Headers = [(b"tus-resumable", tus_headers.VERSION)]
    try:
        if exchange.headers.get(b"tus-resumable") != tus_headers.VERSION:
            more.append((b"tus-version", tus_headers.VERSION))
            raise HttpRefusalError(412, "this door speaks tus 1.0.0: send Tus-Resumable: 1.0.0")
        await handler(exchange, *pieces)
    except (ClientGone, ClientLeftError):
        raise
    except Exception as error:
        if exchange.begun or status_of(error) == 500:
            raise
        told = (
            HttpRefusalError(CHECKSUM_MISMATCH, error.message)
            if isinstance(error, DigestMismatchError)
            else error
        )
        status, headers, body = render(told, request_id=exchange.request_id, instance=exchange.path)
        await exchange.answer(status, [*headers, *more], body)
