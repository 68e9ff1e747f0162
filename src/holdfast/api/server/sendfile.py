"""Files sent by the kernel, straight from the page cache to the socket."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

_GONE: Final = frozenset(
    {errno.EPIPE, errno.ECONNRESET, errno.ECONNABORTED, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTUNREACH}
)
_STEP: Final = 4 << 20  #: bytes handed to the kernel before other connections get their turn


class SourceError(OSError):
    """The file that is sent cannot be read, or holds fewer bytes than it should. The client is not to blame."""


class Outlet:
    """A connection's socket, written beside its transport while the transport has nothing to write itself.

    The descriptor is a duplicate, so that the loop can watch it; `wake` ends a wait when the connection is lost.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, descriptor: int) -> None:
        self._loop = loop
        self._socket = socket.socket(fileno=os.dup(descriptor))
        self._waiting: asyncio.Future[None] | None = None
        self.sent = 0
        self.lost = False

    async def write(self, data: bytes, *, more: bool) -> None:
        """Send all of `data`; `more` tells the kernel that a file follows, so that both share packets."""
        view = memoryview(data)
        flags = socket.MSG_MORE if more else 0
        while view:
            try:
                count = self._socket.send(view, flags)
            except (BlockingIOError, InterruptedError):
                await self._writable()
                continue
            view = view[count:]

    async def send(self, descriptor: int, offset: int, count: int) -> None:
        """Send `count` bytes of the open file from `offset`.

        Raises:
            SourceError: the file cannot be read, or ended early. OSError: the client is gone.
        """
        target, end, burst = self._socket.fileno(), offset + count, 0
        while offset < end:
            try:
                done = os.sendfile(target, descriptor, offset, min(end - offset, _STEP))
            except (BlockingIOError, InterruptedError):
                await self._writable()
                burst = 0
                continue
            except OSError as error:
                if error.errno in _GONE:
                    raise
                raise SourceError(error.errno, f"the file cannot be read: {error.strerror}") from error
            if done == 0:
                raise SourceError("the file ended before the bytes that were announced")
            offset += done
            burst += done
            self.sent += done
            if burst >= _STEP and offset < end:
                await asyncio.sleep(0)
                burst = 0

    def wake(self) -> None:
        """The connection is lost: end the wait."""
        self.lost = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def close(self) -> None:
        """Give the duplicate back."""
        self._socket.close()

    async def _writable(self) -> None:
        if not self.lost:
            self._waiting = self._loop.create_future()
            self._loop.add_writer(self._socket, self._ready)
            try:
                await self._waiting
            finally:
                self._loop.remove_writer(self._socket)
                self._waiting = None
        if self.lost:
            raise ConnectionResetError("the client is gone")

    def _ready(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


@asynccontextmanager
async def outlet(loop: asyncio.AbstractEventLoop, descriptor: int) -> AsyncIterator[Outlet]:
    """Give an `Outlet` and close it."""
    made = Outlet(loop, descriptor)
    try:
        yield made
    finally:
        made.close()
