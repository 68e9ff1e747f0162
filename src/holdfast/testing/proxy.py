"""A TCP proxy on loopback that misbehaves on demand, and counts what it did.

    async with Proxy("127.0.0.1", server.port) as proxy:
        proxy.script(Answer(503, code="SlowDown", retry_after=1), times=2)
        ...  # requests to proxy.url; the first two are refused, later ones pass

A *fault* is taken from the script for each connection or HTTP request, in order; when the script is empty,
`proxy.default` applies. Connection faults (`Refuse`, `Hole`, `Cut`, `Throttle`) work on any protocol; HTTP faults
(`Answer`, `Flip`, `Truncate`, `Rewrite`) need requests that say their length, which S3 clients do. A `Fault` may be limited to
requests that match, for instance by method.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

_BLOCK = 64 << 10


@dataclass(frozen=True, slots=True)
class Head:
    """The first lines of an HTTP message: `start` is the request or status line, header names are lower-case."""

    start: str
    headers: dict[str, str]
    raw: bytes = field(repr=False)

    @property
    def method(self) -> str:
        """The method of a request."""
        return self.start.partition(" ")[0]

    @property
    def target(self) -> str:
        """The path and query of a request."""
        return self.start.split(" ")[1] if self.start.count(" ") > 1 else ""

    @property
    def status(self) -> int:
        """The status of an answer."""
        return int(self.start.split(" ")[1])

    @property
    def length(self) -> int:
        """The announced length of the body, 0 when there is none."""
        return int(self.headers.get("content-length", "0"))


Match = Callable[[Head], bool]


def _any(_: Head) -> bool:
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What to do with one request; the base passes it on. `match` limits it, others pass without using it up."""

    match: Match = _any


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse(Fault):
    """Reset the connection before anything is passed on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hole(Fault):
    """Take everything, answer nothing, keep the connection open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut(Fault):
    """End the connection after `after` bytes of the answer's body: with RST, or with FIN when not `reset`."""

    after: int = 0
    reset: bool = True
    upward: bool = False  #: cut after so many bytes of the request's body instead


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttle(Fault):
    """Wait `latency` seconds before the answer, then let at most `rate` bytes per second through (0: all)."""

    latency: float = 0.0
    rate: int = 0


@dataclass(frozen=True, slots=True)
class Answer(Fault):
    """Answer in place of the server: with `body`, else with an S3 error body when there is a `code`."""

    status: int
    code: str = ""
    retry_after: int | None = None
    headers: tuple[tuple[str, str], ...] = ()
    match: Match = field(default=_any, kw_only=True)
    after_effect: bool = field(default=False, kw_only=True)  #: let the server do it first, then answer this
    body: bytes = field(default=b"", kw_only=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip(Fault):
    """Turn one bit at `offset` of the answer's body (of the request's when `upward`)."""

    offset: int = 0
    upward: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Truncate(Fault):
    """Send the answer's head with its true Content-Length, then only `length` bytes, then FIN."""

    length: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewrite(Fault):
    """Hand the whole of a 2xx answer's body to `change` and send what it returns; `head` changes header values."""

    change: Callable[[bytes], bytes] | None = None
    head: Callable[[str, str], str] | None = None  #: (lower-case name, value) to the value that is sent


class Proxy:
    """Stands in front of `host:port`. Use as `async with`; `url` and `port` are valid inside."""

    def __init__(self, host: str, port: int, *, default: Fault | None = None) -> None:
        self._upstream = (host, port)
        self.default = default or Fault()
        self.port = 0
        self.seen: list[Head] = []  #: every request, in order of arrival
        self.done: Counter[str] = Counter()  #: how often each kind of fault was used, by class name
        self.connections = 0
        self._script: deque[Fault] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """What a client is told instead of the server's own address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pending(self) -> int:
        """How many scripted faults were not used yet."""
        return len(self._script)

    def script(self, *faults: Fault, times: int = 1) -> None:
        """Append `faults`, `times` over, to what will be done."""
        self._script.extend(faults * times)

    def clear(self) -> None:
        """Forget what was scripted and not used yet."""
        self._script.clear()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=1 << 20)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def stop(self) -> None:
        """Refuse connections from now on, and reset those that are open, as a machine does that dies."""
        assert self._server is not None
        self._server.close()
        await self.drop()

    async def drop(self) -> None:
        """Reset the connections that are open."""
        for writer in list(self._open):
            reset(writer)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def start(self) -> None:
        """Take connections again, on the same port."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, limit=1 << 20)

    def choose(self, head: Head) -> Fault:
        """Return what is done with a request: the next of the script that matches it, else the default."""
        for index, fault in enumerate(self._script):
            if fault.match(head):
                del self._script[index]
                self.done[type(fault).__name__] += 1
                return fault
        return self.default if self.default.match(head) else Fault()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._open.add(writer)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await _Connection(self, reader, writer, self._upstream).serve(self.choose)
        finally:
            self._tasks.discard(task)
            self._open.discard(writer)
            writer.close()


class _Connection:
    """One client's connection, request after request."""

    def __init__(
        self,
        proxy: Proxy,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        upstream: tuple[str, int],
    ) -> None:
        self._proxy = proxy
        self._reader = reader
        self._writer = writer
        self._upstream = upstream

    async def serve(self, choose: Callable[[Head], Fault]) -> None:
        """Serve until the client closes or a fault ends it."""
        upstream_reader, upstream_writer = await asyncio.open_connection(*self._upstream, limit=1 << 20)
        try:
            while (head := await read_head(self._reader)) is not None:
                self._proxy.seen.append(head)
                fault = choose(head)
                if not await self._one(head, fault, upstream_reader, upstream_writer):
                    return
        finally:
            upstream_writer.close()

    async def _one(
        self, head: Head, fault: Fault, server: asyncio.StreamReader, to_server: asyncio.StreamWriter
    ) -> bool:
        """Handle one request; return whether the connection goes on."""
        match fault:
            case Refuse():
                reset(self._writer)
                return False
            case Hole():
                while await self._reader.read(_BLOCK):
                    pass
                return False
            case Answer(after_effect=False) if _asks(head):
                await self._say(fault, head, last=True)
                return False
            case Answer(after_effect=False):
                await drain(self._reader, head)
                return await self._say(fault, head)
            case Cut(upward=True):
                await self._pass_request(head, to_server, limit=fault.after)
                _end(self._writer, fault.reset)
                return False
        await self._pass_request(
            head, to_server, flip=fault.offset if isinstance(fault, Flip) and fault.upward else None
        )
        return await self._pass_answer(head, fault, server)

    async def _pass_request(
        self,
        head: Head,
        to_server: asyncio.StreamWriter,
        *,
        flip: int | None = None,
        limit: int | None = None,
    ) -> None:
        to_server.write(head.raw)
        if _asks(head):
            self._writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        left = head.length if limit is None else min(limit, head.length)
        offset = 0
        while left:
            block = await self._reader.read(min(_BLOCK, left))
            if not block:
                raise ConnectionResetError
            to_server.write(flipped(block, flip, offset))
            await to_server.drain()
            offset += len(block)
            left -= len(block)

    async def _pass_answer(self, request: Head, fault: Fault, server: asyncio.StreamReader) -> bool:
        head = await _final_head(server)
        if isinstance(fault, Answer):
            if not _bare(request, head):
                await whole(server, head)
            return await self._say(fault, request, last=_closes(head))
        if isinstance(fault, Rewrite) and 200 <= head.status < 300:
            return await self._rewritten(request, head, fault, server)
        if isinstance(fault, Throttle):
            await asyncio.sleep(fault.latency)
        self._writer.write(head.raw)
        if "chunked" in head.headers.get("transfer-encoding", "").lower():
            await self._pass_chunked(server)
        elif not _bare(request, head):  # noqa: SIM102  # one question each
            if not await self._pass_body(head.length, fault, server):
                return False
        await self._writer.drain()
        return not _closes(head)

    async def _rewritten(
        self, request: Head, head: Head, fault: Rewrite, server: asyncio.StreamReader
    ) -> bool:
        bare = _bare(request, head)
        body = b"" if bare else await whole(server, head)
        if fault.change is not None and not bare:
            body = fault.change(body)
        left = {"content-length", "transfer-encoding"} if not bare else set()
        lines = [head.start]
        for name, value in head.headers.items():
            if name not in left:
                lines.append(f"{name}: {fault.head(name, value) if fault.head else value}")
        lines += [f"content-length: {len(body)}"] if not bare else []
        self._writer.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
        await self._writer.drain()
        return not _closes(head)

    async def _pass_body(self, length: int, fault: Fault, server: asyncio.StreamReader) -> bool:
        limit = length
        if isinstance(fault, Cut):
            limit = min(length, fault.after)
        elif isinstance(fault, Truncate):
            limit = min(length, fault.length)
        flip = fault.offset if isinstance(fault, Flip) and not fault.upward else None
        rate = fault.rate if isinstance(fault, Throttle) else 0
        offset = 0
        while offset < limit:
            block = await server.read(min(_BLOCK if not rate else max(1, rate // 20), limit - offset))
            if not block:
                raise ConnectionResetError
            self._writer.write(flipped(block, flip, offset))
            await self._writer.drain()
            offset += len(block)
            if rate:
                await asyncio.sleep(len(block) / rate)
        if isinstance(fault, Cut | Truncate):
            _end(self._writer, isinstance(fault, Cut) and fault.reset)
            return False
        return True

    async def _pass_chunked(self, server: asyncio.StreamReader) -> None:
        """Pass a chunked body on unchanged (faults that count bytes need a Content-Length)."""
        while True:
            line = await server.readline()
            size = int(line.split(b";")[0], 16)
            self._writer.write(line + await server.readexactly(size + 2 if size else 0))
            await self._writer.drain()
            if not size:
                while (trailer := await server.readline()).strip():
                    self._writer.write(trailer)
                self._writer.write(b"\r\n")
                return

    async def _say(self, answer: Answer, request: Head, *, last: bool = False) -> bool:
        error = f'<?xml version="1.0"?><Error><Code>{answer.code}</Code></Error>'.encode()
        body = answer.body or (error if answer.code else b"")
        body = b"" if request.method == "HEAD" else body
        lines = [
            f"HTTP/1.1 {answer.status} Scripted",
            f"Content-Length: {len(body)}",
            "Content-Type: application/xml",
        ]
        lines += [f"{name}: {value}" for name, value in answer.headers]
        lines += ["Connection: close"] if last else []
        if answer.retry_after is not None:
            lines.append(f"Retry-After: {answer.retry_after}")
        self._writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        await self._writer.drain()
        return not last


async def read_head(reader: asyncio.StreamReader) -> Head | None:
    """Return the next message's head, None when the other side has closed."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    start, *lines = raw.decode("latin-1").split("\r\n")
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)
    }
    return Head(start, headers, raw)


async def drain(reader: asyncio.StreamReader, head: Head) -> None:
    """Read the body that `head` announces and drop it."""
    left = head.length
    while left:
        block = await reader.read(min(_BLOCK, left))
        if not block:
            raise ConnectionResetError
        left -= len(block)


async def whole(reader: asyncio.StreamReader, head: Head) -> bytes:
    """Read the body that `head` announces, also one in chunks."""
    if "chunked" not in head.headers.get("transfer-encoding", "").lower():
        return await reader.readexactly(head.length)
    body = bytearray()
    while size := int((await reader.readline()).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    while (await reader.readline()).strip():
        pass
    return bytes(body)


def flipped(block: bytes, position: int | None, offset: int) -> bytes:
    """Return `block`, which begins at `offset`, with one bit of the byte at `position` turned if it is inside."""
    if position is None or not offset <= position < offset + len(block):
        return block
    changed = bytearray(block)
    changed[position - offset] ^= 1
    return bytes(changed)


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST, as a crashed machine's kernel would."""
    sock = writer.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _end(writer: asyncio.StreamWriter, hard: bool) -> None:
    if hard:
        reset(writer)
    else:
        writer.close()


def _asks(request: Head) -> bool:
    """Tell whether the client sends its body only when the server wants it."""
    return request.headers.get("expect", "").lower() == "100-continue"


def _bare(request: Head, answer: Head) -> bool:
    """Tell whether an answer has no body, whatever length it says."""
    return request.method == "HEAD" or answer.status in (204, 304)


def _closes(answer: Head) -> bool:
    return answer.headers.get("connection", "").lower() == "close"


async def _final_head(server: asyncio.StreamReader) -> Head:
    while True:
        head = await read_head(server)
        if head is None:
            raise ConnectionResetError
        if head.status >= 200:
            return head
