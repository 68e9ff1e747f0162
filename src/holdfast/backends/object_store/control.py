"""Signed requests to one S3 bucket, for what the object-store library cannot express.

aiohttp is imported with the first request, so that a short command that needs none of this stays quick to start.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from hashlib import sha256
from ssl import CERT_NONE, SSLContext, create_default_context
from typing import TYPE_CHECKING, Any, Protocol

from holdfast.backends.object_store import sigv4
from holdfast.backends.object_store.address import Address
from holdfast.backends.object_store.credentials import Credentials, CredentialSource, newer, renewable
from holdfast.backends.object_store.errors import KeysEndedError, Where, from_answer, unreachable, unsaid
from holdfast.backends.object_store.settings import S3Settings
from holdfast.backends.object_store.xml import MAX_BYTES, error_code
from holdfast.core.clock import Environment
from holdfast.core.errors import HoldfastError, InvalidRequestError, UnavailableError

if TYPE_CHECKING:
    import aiohttp

Buffer = bytes | memoryview
_INLINE = 64 << 10  #: bodies up to this size are hashed without a thread hop
_PIECE = 1 << 20  #: what is handed to the transport at a time
_LONGEST_PAUSE = 20.0
RETRIED = 10.0  #: seconds after which a request that failed is not sent again: silence is not met twice


@dataclass(frozen=True, slots=True)
class Answer:
    """A 2xx answer. Header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Caller(Protocol):
    """What sends a request to the bucket and gives a 2xx answer or one of our errors."""

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
        self._session: aiohttp.ClientSession | None = None

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
        longest = max(RETRIED, patience)
        tries = 0
        while True:
            tries, began = tries + 1, self.environment.clock.monotonic()
            try:
                return await self._once(where, request, body, payload, patience)
            except HoldfastError as error:
                if not error.retryable or tries > (self.settings.retries if retries is None else retries):
                    raise
                if self.environment.clock.monotonic() - began > longest:
                    raise
                await self.pause(tries, error.retry_after)

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

    @contextlib.asynccontextmanager
    async def open(
        self, where: Where, key: str, headers: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Yield the 2xx answer to a GET of `key` with its body still to be read."""
        request = sigv4.Request("GET", self._address.host, self._address.path(key), (), headers)
        async with contextlib.AsyncExitStack() as stack:
            tries = 0
            while True:
                tries, began = tries + 1, self.environment.clock.monotonic()
                try:
                    response = await self._begun(where, request, stack)
                    break
                except HoldfastError as error:
                    await stack.aclose()
                    if not error.retryable or tries > self.settings.retries:
                        raise
                    if self.environment.clock.monotonic() - began > RETRIED:
                        raise
                    await self.pause(tries, error.retry_after)
            yield response

    async def _begun(
        self, where: Where, request: sigv4.Request, stack: contextlib.AsyncExitStack
    ) -> aiohttp.ClientResponse:
        """Return the 2xx answer, entered in `stack`; asked for again with newer keys when these have ended."""

        async def begin(keys: Credentials) -> aiohttp.ClientResponse:
            exchange = self._exchange(where, request, b"", sigv4.EMPTY_SHA256, keys)
            response = await stack.enter_async_context(exchange)
            if response.status >= 300:
                self._judge(where, response.status, response.headers, await _read(response))
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
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

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
            content = await _read(response)
            try:
                return self._judge(where, response.status, response.headers, content)
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
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send and yield the answer's beginning; what breaks inside the block is translated too."""
        import aiohttp
        from yarl import URL

        now = self.environment.clock.now()
        headers = sigv4.sign(request, keys, region=self.settings.server.region, payload=payload, now=now)
        query = sigv4.encode_query(request.query)
        url = f"{self._address.scheme}://{request.host}{request.path}{'?' + query if query else ''}"
        timeout = aiohttp.ClientTimeout(
            total=None,
            sock_connect=self.settings.connect_timeout,
            sock_read=max(self.settings.read_timeout, patience),
        )
        # Bytes of a part stay one object; aiohttp would warn about (and copy) large ones given plainly.
        data: Any = aiohttp.BytesPayload(body) if body else b"" if request.method in ("PUT", "POST") else None
        if len(body) > _PIECE:
            data, headers["content-length"] = _pieces(body), str(len(body))
        try:
            async with self._open().request(
                request.method,
                URL(url, encoded=True),
                headers=headers,
                data=data,
                timeout=timeout,
                allow_redirects=False,
            ) as response:
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError, EOFError) as error:
            raise unreachable(error, where) from error

    def _judge(self, where: Where, status: int, headers: Mapping[str, str], body: bytes) -> Answer:
        code = error_code(body) if status >= 300 or body.lstrip()[:5] in (b"<?xml", b"<Erro") else ""
        if 200 <= status < 300 and not code:
            return Answer(status, {name.lower(): value for name, value in headers.items()}, body)
        # S3 answers some long requests with 200 and tells of the failure in the body; such failures are its own.
        shown = status if status >= 300 else 500
        raise from_answer(shown, code, where, retry_after=self._retry_after(headers))

    def _retry_after(self, headers: Mapping[str, str]) -> float | None:
        value = headers.get("Retry-After", "").strip()
        if value.isdigit():
            return float(value)
        try:
            moment = parsedate_to_datetime(value).timestamp()
        except (ValueError, TypeError, IndexError):
            return None
        return max(0.0, moment - self.environment.clock.now() / 1e6)

    async def pause(self, tries: int, retry_after: float | None) -> None:
        """Wait before the next try: as long as the server asked, else longer each time."""
        chance = random.Random(self.environment.random.getrandbits(64)).random()  # noqa: S311  # jitter, not a secret
        pause = retry_after if retry_after is not None else 0.1 * 2**tries * (0.5 + chance)
        await self.environment.clock.sleep(min(pause, _LONGEST_PAUSE))

    def _open(self) -> aiohttp.ClientSession:
        import aiohttp

        if self._session is None:
            connector = aiohttp.TCPConnector(limit=64, ssl=_tls(self.settings), keepalive_timeout=30)
            self._session = aiohttp.ClientSession(
                connector=connector,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("Content-Type", "Accept", "Accept-Encoding", "User-Agent"),
            )
        return self._session


async def _pieces(body: Buffer) -> AsyncIterator[memoryview]:
    """Yield the body bit by bit: given whole, the transport would hold a second one of it."""
    view = memoryview(body)
    for start in range(0, len(view), _PIECE):
        yield view[start : start + _PIECE]


def needed_header(answer: Answer, where: Where, name: str) -> str:
    """Return the header `name` of an answer that must carry it."""
    value = answer.headers.get(name, "")
    if not value:
        raise UnavailableError(
            f"the store's answer lacks {name}", operation=where.operation, store=where.store, name=where.name
        )
    return value


async def _read(response: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > MAX_BYTES:
            raise EOFError("an endless answer")
    return bytes(content)


def _tls(settings: S3Settings) -> SSLContext | bool:
    if not settings.tls:
        return True
    context = create_default_context()
    if settings.ca_file is not None:
        context.load_verify_locations(cafile=settings.ca_file)
    if not settings.verify_tls:
        context.check_hostname = False
        context.verify_mode = CERT_NONE
    return context
