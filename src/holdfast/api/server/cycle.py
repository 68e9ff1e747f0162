"""One request and its answer on a connection: ASGI's `receive` and `send`, and two faster ways out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.httptools_impl import HEADER_RE, HEADER_VALUE_RE, STATUS_LINE

from holdfast.api.conditions import http_date
from holdfast.api.server.sendfile import Outlet, SourceError, outlet

if TYPE_CHECKING:
    from holdfast.api.server.protocol import Protocol

Message = MutableMapping[str, Any]
Headers = Sequence[tuple[bytes, bytes]]
Application = Callable[
    [Any, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]
HIGH_WATER: Final = 256 << 10  #: bytes of a body that wait for the handler before reading pauses
_BODILESS: Final = (204, 304)
_log = logging.getLogger("uvicorn.error")


class ClientGone(ConnectionError):
    """The client left before it had the whole answer."""


class Cycle:
    """A request on its way through the application. Handlers see it as `scope["extensions"]["holdfast"]`."""

    __slots__ = (
        "_chunked",
        "_framed",
        "_protocol",
        "_remaining",
        "_taken",
        "body",
        "buffered",
        "disconnected",
        "event",
        "expects_continue",
        "keep_alive",
        "more_body",
        "outlet",
        "response_complete",
        "response_started",
        "scope",
    )

    def __init__(
        self, protocol: Protocol, scope: Message, *, keep_alive: bool, expects_continue: bool
    ) -> None:
        self._protocol = protocol
        self.scope = scope
        self.keep_alive = keep_alive
        self.expects_continue = expects_continue
        self.event: asyncio.Event | None = None
        self.body: list[bytes] = []
        self.buffered = 0
        self.more_body = True
        self.disconnected = False
        self.response_started = False
        self.response_complete = False
        self.outlet: Outlet | None = None
        self._taken = False
        self._chunked = False
        self._framed = False
        self._remaining = 0

    @property
    def sends_files(self) -> bool:
        """Whether `send_file` is offered: the connection is a plain socket."""
        return self._protocol.descriptor >= 0

    @property
    def draining(self) -> bool:
        """Whether the server was told to stop and only finishes what it began."""
        return self._protocol.gate.draining

    @property
    def forsaken(self) -> bool:
        """Whether the client is gone, or sends no more: a socket that was closed looks like one that was half closed."""
        return self.disconnected or self._protocol.ended

    # -- what the protocol tells ----------------------------------------------------------------------------------
    def feed(self, data: bytes) -> None:
        """Take the next bytes of the request's body."""
        self.body.append(data)
        self.buffered += len(data)
        self.wake()

    def complete(self) -> None:
        """The request has arrived whole."""
        self.more_body = False
        self.wake()

    def lose(self) -> None:
        """The client is gone."""
        self.disconnected = True
        if self.outlet is not None:
            self.outlet.wake()
        self.wake()

    def wake(self) -> None:
        """Let `receive` look again."""
        if self.event is not None:
            self.event.set()

    # -- running --------------------------------------------------------------------------------------------------
    async def run(self, app: Application) -> None:
        """Run the application for this request; whatever it does wrong ends the connection, not the server."""
        try:
            await app(self.scope, self.receive, self.send)
        except ClientGone:
            self._protocol.transport.abort()
        except Exception:
            _log.exception("the application failed")
            await self._failed()
        else:
            if not self.response_complete and not self.disconnected:
                _log.error("the application returned without completing its answer")
                await self._failed()

    async def _failed(self) -> None:
        if self.response_started or self.disconnected:
            self._protocol.transport.abort()
            return
        self.keep_alive = False
        await self.answer(500, [(b"content-length", b"0")], b"")

    # -- ASGI -----------------------------------------------------------------------------------------------------
    async def receive(self) -> Message:
        """Return the next part of the body, or `http.disconnect`. The first call lets a waiting client send."""
        protocol = self._protocol
        if self.expects_continue:
            self.expects_continue = False
            if not self.response_started and not protocol.transport.is_closing():
                protocol.put(b"HTTP/1.1 100 Continue\r\n\r\n")
        while not self.body and self.more_body and not self.disconnected and not self.response_complete:
            await self._news()
        if self._taken or self.response_complete or (self.more_body and self.disconnected):
            while not (self.disconnected or self.response_complete):
                await self._news()
            return {"type": "http.disconnect"}
        parts, self.body, self.buffered = self.body, [], 0
        if self.more_body:
            protocol.resume()
        else:
            self._taken = True
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        return {"type": "http.request", "body": data, "more_body": self.more_body}

    async def _news(self) -> None:
        self._protocol.resume()
        event = self.event = asyncio.Event()
        with self._idle():
            await event.wait()
        self.event = None

    @contextmanager
    def _idle(self) -> Iterator[None]:
        """Not count as work while the client is waited for."""
        gate = self._protocol.gate
        gate.working -= 1
        try:
            yield
        finally:
            gate.working += 1

    async def send(self, message: Message) -> None:
        """Send the start or the next part of the answer; returns when the client has taken enough of it."""
        await self._ready()
        kind = message["type"]
        if not self.response_started:
            if kind != "http.response.start":
                raise RuntimeError(f"expected the start of the answer, not {kind!r}")
            headers = message.get("headers", ())
            _check(headers)
            self._protocol.put(self._head(message["status"], headers))
            return
        if kind != "http.response.body" or self.response_complete:
            raise RuntimeError(f"unexpected {kind!r}")
        self._body(message.get("body", b""), message.get("more_body", False))

    def _body(self, data: bytes, more: bool) -> None:
        write = self._protocol.put
        if self.scope["method"] == "HEAD":
            self._remaining = 0
        elif self._chunked:
            framed = [b"%x\r\n" % len(data), data, b"\r\n"] if data else []
            write(b"".join(framed if more else [*framed, b"0\r\n\r\n"]))
        else:
            self._remaining -= len(data)
            if self._remaining < 0 and self._framed:
                raise RuntimeError("the answer is longer than its Content-Length")
            write(data)
        if not more:
            if self._remaining > 0:
                raise RuntimeError("the answer is shorter than its Content-Length")
            self._done()

    # -- faster than ASGI -----------------------------------------------------------------------------------------
    async def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a whole answer in one write. `headers` hold `content-length`, unless the status has no body."""
        await self._ready()
        head = self._head(status, headers)
        silent = self.scope["method"] == "HEAD" or status in _BODILESS
        self._protocol.put(head if silent else head + body)
        self._done()

    async def send_file(
        self, status: int, headers: Headers, descriptor: int, offset: int, count: int
    ) -> None:
        """Send a whole answer whose body is `count` bytes of an open file, by the kernel; only where `sends_files`.

        Raises:
            SourceError: the file cannot be read, or ended early; the answer is cut off.
        """
        await self._ready()
        head = self._head(status, headers)
        protocol = self._protocol
        with self._idle():
            while protocol.transport.get_write_buffer_size() and not self.disconnected:  # noqa: ASYNC110
                await asyncio.sleep(0.001)  # the answer before this one is still on its way
        async with outlet(protocol.loop, protocol.descriptor) as way:
            self.outlet = way
            try:
                if self.disconnected:
                    raise ClientGone
                with self._idle():
                    await way.write(head, more=count > 0)
                    await way.send(descriptor, offset, count)
            except SourceError:
                raise
            except OSError as error:
                raise ClientGone(str(error)) from error
            finally:
                self.outlet = None
        self._done()

    # -- inner ----------------------------------------------------------------------------------------------------
    async def _ready(self) -> None:
        if self._protocol.flow.write_paused and not self.disconnected:
            with self._idle():
                await self._protocol.flow.drain()
        if self.disconnected:
            raise ClientGone

    def _head(self, status: int, headers: Headers) -> bytes:
        """Return the encoded status line and headers; settles how the body will be framed."""
        self.response_started = True
        self.expects_continue = False
        if self.more_body:
            self.keep_alive = False  # the rest of the body will not be read as a request
        for name, value in headers:
            if name == b"content-length":
                self._remaining, self._framed = int(value), True
        parts = [STATUS_LINE[status]]
        date = http_date(self._protocol.gate.environment.clock.now())
        every = ((b"date", date), *self._protocol.server_state.default_headers, *headers)
        for name, value in every:
            parts += (name, b": ", value, b"\r\n")
        if not self._framed and status not in _BODILESS and self.scope["method"] != "HEAD":
            if self.scope["http_version"] == "1.1":
                self._chunked = True
                parts.append(b"transfer-encoding: chunked\r\n")
            else:
                self.keep_alive = False
        if not self.keep_alive:
            parts.append(b"connection: close\r\n")
        parts.append(b"\r\n")
        head = b"".join(parts)
        lines = len(every) + 2 + (not self.keep_alive) + self._chunked
        if head.count(b"\n") != lines or head.count(b"\r") != lines or b"\0" in head:
            self.response_started = False
            raise RuntimeError("a header of the answer holds a line break or NUL")
        return head

    def _done(self) -> None:
        self.response_complete = True
        self.wake()
        self._protocol.answered(self)


def _check(headers: Headers) -> None:
    for name, value in headers:
        if HEADER_RE.search(name) or HEADER_VALUE_RE.search(value):
            raise RuntimeError("a header of the answer holds a forbidden character")
