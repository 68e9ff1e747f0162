"""Listings by the standard library's HTTP: what only looks need not wait for the start of what moves bytes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final, cast

from holdfast.backends._http import tls_context
from holdfast.backends._http.reading import WITHIN
from holdfast.backends.object_store import listing, sigv4
from holdfast.backends.object_store.control import Answer, Buffer, ControlClient
from holdfast.backends.object_store.credentials import Credentials
from holdfast.backends.object_store.errors import Where, unreachable
from holdfast.backends.object_store.xml import MAX_BYTES
from holdfast.core.blobs import BlobInfo
from holdfast.core.errors import ConfigError

_CHUNK: Final = 256 << 10


class Listing:
    """What lists one bucket, or one folder of it."""

    def __init__(self, client: LookingClient) -> None:
        self._client = client

    async def pages(self, prefix: str = "", *, after: str = "") -> AsyncIterator[list[BlobInfo]]:
        """Yield what `ObjectStoreBackend.pages` does."""
        client = self._client
        async for page in listing.pages(client, client.store, client.settings.prefix, prefix, after=after):
            yield page

    async def close(self) -> None:
        """Close the connection."""
        await self._client.close()


class LookingClient(ControlClient):
    """Sends requests without a body, one at a time, over one connection that a thread waits at."""

    _connection: HTTPConnection | None = None

    async def close(self) -> None:
        """Close the connection."""
        self._drop()
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
        try:
            answered = await asyncio.to_thread(self._ask, request.method, target, headers)
        except asyncio.CancelledError:
            self._drop()
            raise
        except (HTTPException, OSError, EOFError, ValueError) as error:
            self._drop()
            raise unreachable(error, where) from error
        return self._judge(where, *answered)

    def _ask(self, method: str, target: str, headers: dict[str, str]) -> tuple[int, Mapping[str, str], bytes]:
        """Return status, headers and body of the answer."""
        connection = self._connection = self._connection or self._made()
        if connection.sock is None:
            connection.connect()
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

    def _drop(self) -> None:
        """Let go of the connection; a thread that waits at it is woken."""
        connection, self._connection = self._connection, None
        if connection is not None and connection.sock is not None:
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)
            connection.close()
