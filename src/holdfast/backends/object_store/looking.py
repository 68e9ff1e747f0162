"""Listings by the standard library's HTTP: what only looks need not wait for the start of what moves bytes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator
from http.client import HTTPConnection
from typing import TYPE_CHECKING, cast

from holdfast.backends.object_store import early, listing, sigv4
from holdfast.backends.object_store.connection import BROKEN, Reply, exchange, made
from holdfast.backends.object_store.control import Answer, Buffer, ControlClient
from holdfast.backends.object_store.credentials import Credentials, CredentialSource
from holdfast.backends.object_store.errors import Where, unreachable
from holdfast.backends.object_store.usual import Usual
from holdfast.core.blob_info import BlobInfo, Seen
from holdfast.core.clock import Environment

if TYPE_CHECKING:
    from holdfast.backends.object_store.settings import S3Settings


class Listing:
    """What lists one bucket, or one folder of it."""

    def __init__(self, client: LookingClient) -> None:
        self._client = client

    def pages(
        self, prefix: str = "", *, after: str = "", seen: Seen | None = None
    ) -> AsyncGenerator[list[BlobInfo]]:
        """Yield what `ObjectStoreBackend.pages` does.

        `seen` makes it quicker where little has changed, and is told of this listing; see `Ahead`.
        """
        client = self._client
        folder = client.settings.prefix
        return listing.pages(client, client.store, folder, prefix, after=after, seen=seen)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


class LookingClient(ControlClient):
    """Sends requests without a body; a thread waits for each."""

    def __init__(
        self, store: str, reach: S3Settings | Usual, source: CredentialSource, environment: Environment
    ) -> None:
        super().__init__(
            store, cast("S3Settings", reach), source, environment
        )  # it asks for no more than that
        self._idle: list[HTTPConnection] = []
        self._busy: set[HTTPConnection] = set()
        #: what was begun early is for variables, and nobody else's keys
        self._early = early.of(self._address) if isinstance(reach, Usual) else None

    async def close(self) -> None:
        """Close the connections."""
        for connection in (*self._idle, *self._busy):
            self._drop(connection)
        await super().close()

    async def _sent(
        self,
        where: Where,
        request: sigv4.Request,
        body: Buffer,
        payload: str,
        keys: Credentials,
        patience: float,
    ) -> Answer:
        assert not body
        query = sigv4.encode_query(request.query)
        target = f"{request.path}?{query}" if query else request.path
        if (answered := await self._came_early(target)) is not None:
            return self._judge(where, *answered)
        now = self.environment.clock.now()
        headers = sigv4.sign(request, keys, region=self.settings.server.region, payload=payload, now=now)
        if self._idle:
            connection = self._idle.pop()
        else:
            connection = made(self._address.host, self.settings, store=self.store)
        self._busy.add(connection)
        try:
            answered = await asyncio.to_thread(self._ask, connection, request.method, target, headers)
        except asyncio.CancelledError:
            self._drop(connection)
            raise
        except BROKEN as error:
            # a server that has closed one for having rested too long has closed the others, too
            for other in (connection, *self._idle):
                self._drop(other)
            self._idle.clear()
            raise unreachable(error, where) from error
        self._busy.discard(connection)
        self._idle.append(connection)
        return self._judge(where, *answered)

    async def _came_early(self, target: str) -> Reply | None:
        """Return the answer to that request, if it was sent before we were here."""
        coming = None if self._early is None else self._early.take(target)
        if coming is None:
            self._early = None
            return None
        return await asyncio.wrap_future(coming)

    def _ask(self, connection: HTTPConnection, method: str, target: str, headers: dict[str, str]) -> Reply:
        if connection.sock is None:
            connection.connect()
            if connection not in self._busy:  # given up meanwhile
                connection.close()
                raise EOFError("given up")
        return exchange(connection, method, target, headers, silence=self.settings.read_timeout)

    def _drop(self, connection: HTTPConnection) -> None:
        """Let go of a connection; a thread that waits at it is woken."""
        self._busy.discard(connection)
        if connection.sock is not None:
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)
            connection.close()
