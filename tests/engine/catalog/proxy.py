"""A TCP relay that can cut the line at the very moment a client asks to commit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

Cut = Literal["before", "after"]
_COMMIT = b"COMMIT\0"


class Relay:
    """Passes bytes to `target`. `cut` arms it: the next COMMIT is lost before it arrives, or after it took effect."""

    def __init__(self, target: int) -> None:
        self._target = target
        self.port = 0
        self.cut: Cut | None = None
        self.cuts = 0
        self.was_cut = asyncio.Event()
        self.refusing = False
        self._open: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, far_writer}
        line = _Line(self, writer, far_writer)
        await asyncio.gather(line.forth(reader), line.back(far_reader))
        self._open -= {writer, far_writer}

    def refuse(self) -> None:
        """Break every line and take no new ones."""
        self.refusing = True
        for writer in self._open:
            writer.transport.abort()


class _Line:
    def __init__(self, relay: Relay, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self.relay, self.near, self.far = relay, near, far
        self.deaf = False

    def break_off(self) -> None:
        self.near.transport.abort()
        self.far.transport.abort()

    async def forth(self, reader: asyncio.StreamReader) -> None:
        try:
            while data := await reader.read(65536):
                if self.relay.cut and data.endswith(_COMMIT):
                    how, self.relay.cut = self.relay.cut, None
                    self.relay.cuts += 1
                    self.relay.was_cut.set()
                    if how == "before":
                        break
                    self.deaf = True
                self.far.write(data)
                await self.far.drain()
        except OSError:
            pass
        if not self.deaf:
            self.break_off()

    async def back(self, reader: asyncio.StreamReader) -> None:
        try:
            while data := await reader.read(65536):
                if self.deaf:
                    break
                self.near.write(data)
                await self.near.drain()
        except OSError:
            pass
        self.break_off()


@asynccontextmanager
async def relay_to(port: int) -> AsyncIterator[Relay]:
    """Give a relay to a port of this machine."""
    relay = Relay(port)
    server = await asyncio.start_server(relay.serve, "127.0.0.1", 0)
    relay.port = server.sockets[0].getsockname()[1]
    try:
        yield relay
    finally:
        relay.refuse()
        server.close()
