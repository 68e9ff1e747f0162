"""Listings by the standard library's HTTP: what only looks need not wait for the start of what moves bytes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncGenerator, Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import TYPE_CHECKING, Final, cast

from holdfast.backends._http import tls_context
from holdfast.backends._http.reading import WITHIN
from holdfast.backends.object_store import listing, sigv4
from holdfast.backends.object_store.control import Answer, Buffer, ControlClient
from holdfast.backends.object_store.credentials import Credentials, CredentialSource
from holdfast.backends.object_store.errors import Where, unreachable
from holdfast.backends.object_store.xml import MAX_BYTES
from holdfast.core.blobs import BlobInfo, Seen
from holdfast.core.clock import Environment
from holdfast.core.errors import ConfigError

if TYPE_CHECKING:
    from holdfast.backends.object_store.settings import S3Settings
    from holdfast.backends.object_store.usual import Usual

_CHUNK: Final = 256 << 10


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
        now = self.environment.clock.now()
        headers = sigv4.sign(request, keys, region=self.settings.server.region, payload=payload, now=now)
        query = sigv4.encode_query(request.query)
        target = f"{request.path}?{query}" if query else request.path
        connection = self._idle.pop() if self._idle else self._made()
        self._busy.add(connection)
        try:
            answered = await asyncio.to_thread(self._ask, connection, request.method, target, headers)
        except asyncio.CancelledError:
            self._drop(connection)
            raise
        except (HTTPException, OSError, EOFError, ValueError) as error:
            # a server that has closed one for having rested too long has closed the others, too
            for other in (connection, *self._idle):
                self._drop(other)
            self._idle.clear()
            raise unreachable(error, where) from error
        self._busy.discard(connection)
        self._idle.append(connection)
        return self._judge(where, *answered)

    def _ask(
        self, connection: HTTPConnection, method: str, target: str, headers: dict[str, str]
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Return status, headers and body of the answer."""
        if connection.sock is None:
            connection.connect()
            if connection not in self._busy:  # given up meanwhile
                connection.close()
                raise EOFError("given up")
        connection.sock.settimeout(self.settings.read_timeout)
        connection.request(method, target, headers=headers)
        with connection.getresponse() as response:
            until, content = time.monotonic() + WITHIN, bytearray()
            while chunk := response.read(_CHUNK):
                content += chunk
                if len(content) > MAX_BYTES:
                    raise EOFError("an endless answer")
                if time.monotonic() > until:
                    raise TimeoutError("timed out")
            if response.length:  # bounded reads do not tell of it
                raise EOFError("the answer broke off")
            return response.status, cast("Mapping[str, str]", response.headers), bytes(content)

    def _made(self) -> HTTPConnection:
        patience = self.settings.connect_timeout
        if not self.settings.tls:
            return HTTPConnection(self._address.host, timeout=patience)
        try:
            context = tls_context(verify=self.settings.verify_tls, ca_file=self.settings.ca_file)
        except OSError as error:
            raise ConfigError(
                f"ca_file cannot be read: {error.strerror or 'no certificate'}",
                operation="open",
                store=self.store,
            ) from error
        return HTTPSConnection(self._address.host, timeout=patience, context=context)

    def _drop(self, connection: HTTPConnection) -> None:
        """Let go of a connection; a thread that waits at it is woken."""
        self._busy.discard(connection)
        if connection.sock is not None:
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)
            connection.close()
