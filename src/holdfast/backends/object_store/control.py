"""Signed requests to one S3 bucket, for what the object-store library cannot express."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from holdfast.backends._http import (
    RETRIED,
    SLICE,
    Http,
    Tries,
    pause,
    read_bounded,
    retry_after,
    slices,
    tls_context,
)
from holdfast.backends._http.reading import WITHIN
from holdfast.backends.object_store import sigv4
from holdfast.backends.object_store.address import Address
from holdfast.backends.object_store.credentials import Credentials, CredentialSource, newer, renewable
from holdfast.backends.object_store.errors import KeysEndedError, Where, from_answer, unreachable, unsaid
from holdfast.backends.object_store.xml import MAX_BYTES, error_code
from holdfast.core.clock import Environment
from holdfast.core.errors import HoldfastError, InvalidRequestError, UnavailableError

if TYPE_CHECKING:
    import aiohttp

    from holdfast.backends.object_store.settings import S3Settings

Buffer = bytes | memoryview
#: What a gateway's page may answer to a deletion; the store's own word is 204.
_PAGES = frozenset({200, 201, 202, 203, 205, 206, 404})
_ENDLESS = 7 * 86400.0  #: seconds; the HTTP library counts silence while it is we who send
_INLINE = 64 << 10  #: bodies up to this size are hashed without a thread hop
_EXPECTATION_FAILED = 417


class Answer(NamedTuple):
    """A 2xx answer. Header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class UnansweredError(Exception):
    """The server does not say whether it wants a body, or does not know the question."""


class Flow(Protocol):
    """A body on its way: how much of it was given, and whether the server is `asked` first if it wants it."""

    size: int
    asked: bool

    def __aiter__(self) -> AsyncIterator[memoryview]: ...


class Caller(Protocol):
    """What sends a request to the bucket and gives a 2xx answer or one of our errors."""

    environment: Environment

    async def call(
        self,
        where: Where,
        method: str,
        key: str = "",
        *,
        query: sigv4.Query = (),
        headers: Mapping[str, str] | None = None,
    ) -> Answer: ...


class ControlClient:
    """Sends requests, signed for the bucket of `settings`, and turns everything but success into our errors."""

    def __init__(
        self, store: str, settings: S3Settings, source: CredentialSource, environment: Environment
    ) -> None:
        self.store = store
        self.settings = settings
        self.environment = environment
        self._address = Address.of(settings)
        self._public = Address.of(settings, public=True)
        self._source = source
        self._http = Http(
            store,
            environment,
            connect_timeout=settings.connect_timeout,
            read_timeout=settings.read_timeout,
            # Asked with the first request: a short command that needs none of this stays quick to start.
            tls=lambda: not settings.tls or tls_context(verify=settings.verify_tls, ca_file=settings.ca_file),
            bare=True,
            broken=lambda error, operation, store, name: unreachable(error, Where(operation, store, name)),
        )

    async def call(
        self,
        where: Where,
        method: str,
        key: str = "",
        *,
        query: sigv4.Query = (),
        headers: Mapping[str, str] | None = None,
        body: Buffer = b"",
        patience: float = 0.0,
        retries: int | None = None,
    ) -> Answer:
        """Return the answer to a request on `key` (or the bucket), tried again while that may help.

        `patience` raises the longest silence that is borne, for requests on which the server works long; `retries`
        replaces the setting.

        Raises:
            HoldfastError: any kind of `errors`; for a repeated failure the last one.
        """
        request = sigv4.Request(method, self._address.host, self._address.path(key), query, headers or {})
        payload = await self._payload(body)
        further = self.settings.retries if retries is None else retries
        tries = Tries(self.environment, further, slow=max(RETRIED, patience))
        while True:
            tries.begin()
            try:
                return await self._once(where, request, body, payload, patience)
            except HoldfastError as error:
                await tries.failed(error)

    async def presign(
        self, method: str, key: str, *, query: sigv4.Query, headers: Mapping[str, str], expires_in: int
    ) -> tuple[str, int]:
        """Return a URL on the public endpoint and when it ends: with its time or with the keys that signed it."""
        credentials = await self._source.current()
        now = self.environment.clock.now()
        request = sigv4.Request(method, self._public.host, self._public.path(key), query, headers)
        target = sigv4.presign(
            request, credentials, region=self.settings.server.region, expires_in=expires_in, now=now
        )
        ends = now + expires_in * 1_000_000
        return f"{self._public.scheme}://{self._public.host}{target}", min(ends, credentials.expires or ends)

    async def stream(
        self, where: Where, key: str, headers: Mapping[str, str], flow: Flow, size: int, payload: str
    ) -> Answer:
        """Return the answer to one PUT of the `size` bytes of `flow`; not tried again once it gave any.

        `payload` is the hex SHA-256 of the bytes, or `sigv4.UNSIGNED`. Silence is for the caller to bound.

        Raises:
            UnansweredError: the server does not know how to be asked first (417).
        """
        request = sigv4.Request("PUT", self._address.host, self._address.path(key), (), headers)

        async def send(keys: Credentials) -> Answer:
            exchange = self._exchange(where, request, b"", payload, keys, _ENDLESS, flow=flow, size=size)
            async with exchange as response:
                if response.status == _EXPECTATION_FAILED and flow.asked:
                    raise UnansweredError
                return self._judge(
                    where, response.status, response.headers, await read_bounded(response, MAX_BYTES)
                )

        keys = await self._source.current()
        try:
            return await send(keys)
        except KeysEndedError:
            found = None if flow.size else await newer(self._source, keys)
            if found is None:
                raise
        return await send(found)

    @contextlib.asynccontextmanager
    async def open(
        self, where: Where, key: str, headers: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Yield the 2xx answer to a GET of `key` with its body still to be read."""
        request = sigv4.Request("GET", self._address.host, self._address.path(key), (), headers)
        async with contextlib.AsyncExitStack() as stack:
            tries = Tries(self.environment, self.settings.retries, slow=RETRIED)
            while True:
                tries.begin()
                try:
                    response = await self._begun(where, request, stack)
                    break
                except HoldfastError as error:
                    await stack.aclose()
                    await tries.failed(error)
            yield response

    async def _begun(
        self, where: Where, request: sigv4.Request, stack: contextlib.AsyncExitStack
    ) -> aiohttp.ClientResponse:
        """Return the 2xx answer, entered in `stack`; asked for again with newer keys when these have ended."""

        async def begin(keys: Credentials) -> aiohttp.ClientResponse:
            exchange = self._exchange(where, request, b"", sigv4.EMPTY_SHA256, keys)
            response = await stack.enter_async_context(exchange)
            if response.status >= 300:
                self._judge(where, response.status, response.headers, await read_bounded(response, MAX_BYTES))
            return response

        keys = await self._source.current()
        try:
            return await begin(keys)
        except KeysEndedError:
            await stack.aclose()
            found = await newer(self._source, keys)
            if found is None:
                raise
        return await begin(found)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def _payload(self, body: Buffer) -> str:
        if not body:
            return sigv4.EMPTY_SHA256
        if self.settings.tls:
            return sigv4.UNSIGNED
        if len(body) <= _INLINE:
            return sha256(body).hexdigest()
        return (await asyncio.to_thread(sha256, body)).hexdigest()

    async def _once(
        self, where: Where, request: sigv4.Request, body: Buffer, payload: str, patience: float
    ) -> Answer:
        keys = await self._source.current()
        try:
            return await self._sent(where, request, body, payload, keys, patience)
        except KeysEndedError:
            found = await newer(self._source, keys)
            if found is None:
                raise
        return await self._sent(where, request, body, payload, found, patience)

    async def _sent(
        self,
        where: Where,
        request: sigv4.Request,
        body: Buffer,
        payload: str,
        keys: Credentials,
        patience: float,
    ) -> Answer:
        async with self._exchange(where, request, body, payload, keys, patience) as response:
            content = await read_bounded(response, MAX_BYTES, within=max(WITHIN, patience))
            try:
                return self._judge(
                    where, response.status, response.headers, content, delete=request.method == "DELETE"
                )
            except InvalidRequestError as error:
                if request.method != "HEAD":
                    raise
                raise unsaid(error, where, renewable(self._source)) from error

    @contextlib.asynccontextmanager
    async def _exchange(
        self,
        where: Where,
        request: sigv4.Request,
        body: Buffer,
        payload: str,
        keys: Credentials,
        patience: float = 0.0,
        *,
        flow: Flow | None = None,
        size: int = 0,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send and yield the answer's beginning; what breaks inside the block is translated too."""
        import aiohttp

        now = self.environment.clock.now()
        headers = sigv4.sign(request, keys, region=self.settings.server.region, payload=payload, now=now)
        query = sigv4.encode_query(request.query)
        url = f"{self._address.scheme}://{request.host}{request.path}{'?' + query if query else ''}"
        # Bytes of a part stay one object; aiohttp would warn about (and copy) large ones given plainly.
        data: Any = aiohttp.BytesPayload(body) if body else b"" if request.method in ("PUT", "POST") else None
        if len(body) > SLICE:
            data, headers["content-length"] = slices(body), str(len(body))
        elif flow is not None:
            data, headers["content-length"] = flow, str(size)
            if flow.asked:
                headers["expect"] = "100-continue"
        async with self._http.exchange(
            where.operation,
            where.name,
            request.method,
            url,
            headers=headers,
            data=data,
            read_timeout=max(self.settings.read_timeout, patience),
            encoded=True,
        ) as response:
            yield response

    def _judge(
        self, where: Where, status: int, headers: Mapping[str, str], body: bytes, *, delete: bool = False
    ) -> Answer:
        code = error_code(body) if status >= 300 or body.lstrip()[:5] in (b"<?xml", b"<Erro") else ""
        if delete and not code and status in _PAGES and "x-amz-request-id" not in headers:
            raise UnavailableError(
                "the answer is not the store's own; something stands between it and us",
                operation=where.operation,
                store=where.store,
                name=where.name,
            )
        if 200 <= status < 300 and not code:
            return Answer(status, {name.lower(): value for name, value in headers.items()}, body)
        # S3 answers some long requests with 200 and tells of the failure in the body; such failures are its own.
        shown = status if status >= 300 else 500
        wait = retry_after(headers, self.environment.clock.now())
        raise from_answer(shown, code, where, retry_after=wait)

    async def pause(self, tries: int, asked: float | None) -> None:
        """Wait before the next try: as long as the server asked, else longer each time."""
        await pause(self.environment, tries, asked)


def needed_header(answer: Answer, where: Where, name: str) -> str:
    """Return the header `name` of an answer that must carry it."""
    value = answer.headers.get(name, "")
    if not value:
        raise UnavailableError(
            f"the store's answer lacks {name}", operation=where.operation, store=where.store, name=where.name
        )
    return value
