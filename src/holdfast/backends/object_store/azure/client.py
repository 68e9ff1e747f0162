"""Requests to one container: signed, tried again where that may help, and turned into our errors."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Final, TypeVar
from xml.etree.ElementTree import Element  # a type; parsing is in `xml`

from holdfast.backends._http import (
    RETRIED,
    SLICE,
    Http,
    Tries,
    begun,
    pause,
    read_bounded,
    retry_after,
    slices,
)
from holdfast.backends._http.reading import WITHIN
from holdfast.backends.object_store.azure.address import Address
from holdfast.backends.object_store.azure.credentials import (
    AccountKey,
    Credential,
    CredentialSource,
    SharedAccess,
)
from holdfast.backends.object_store.azure.errors import LostBlocksError, from_answer, untrusted
from holdfast.backends.object_store.azure.settings import AzureSettings
from holdfast.backends.object_store.azure.signing import Query, encode_query, shared_key
from holdfast.backends.object_store.control import Answer, Buffer
from holdfast.backends.object_store.errors import Where
from holdfast.backends.object_store.xml import XmlError, error_code, parse
from holdfast.core.clock import Environment
from holdfast.core.errors import HoldfastError, UnauthenticatedError, UnavailableError

if TYPE_CHECKING:
    import aiohttp

T = TypeVar("T")

#: What the service says when it has done what was asked.
_DONE: Final = {"GET": 200, "HEAD": 200, "POST": 200, "PUT": 201, "DELETE": 202}
_FOREIGN: Final = "the answer is not the store's own; something stands between it and us"


class Client:
    """Sends requests about the container of `settings`."""

    def __init__(
        self,
        store: str,
        settings: AzureSettings,
        source: CredentialSource,
        environment: Environment,
        http: Http,
    ) -> None:
        self.store = store
        self.settings = settings
        self.environment = environment
        self.source = source
        self.address = Address.of(settings)
        self._http = http

    async def call(
        self,
        where: Where,
        method: str,
        key: str | None = "",
        *,
        query: Query = (),
        headers: Mapping[str, str] | None = None,
        body: Buffer = b"",
        patience: float = 0.0,
        retries: int | None = None,
        done: int = 0,
    ) -> Answer:
        """Return the answer to a request on the blob `key`, the container (""), or the service (None).

        `patience` raises the longest silence that is borne, for requests on which the service works long; `retries`
        replaces the setting; `done` is the status of success where it is not the method's usual one.

        Raises:
            HoldfastError: any kind of `errors`; for a repeated failure the last one.
        """
        allowed = self.settings.retries if retries is None else retries
        tries = Tries(self.environment, allowed, slow=max(RETRIED, patience))

        async def once(credential: Credential) -> Answer:
            answer = await self._once(where, method, key, query, headers or {}, body, patience, credential)
            return _own(answer, where, method, done or _DONE[method])

        return await self._tried(tries, once)

    @contextlib.asynccontextmanager
    async def open(
        self, where: Where, key: str, headers: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Yield the answer to a GET of the blob `key`, with its body still to be read; errors are those of `call`."""

        async def check(response: aiohttp.ClientResponse) -> None:
            if response.status not in (200, 206):
                content = await read_bounded(response)
                raise self._refusal(where, response.status, response.headers, content)
            if not _signed(response.headers):
                raise strange(_FOREIGN, where)

        async with contextlib.AsyncExitStack() as stack:

            def begin(credential: Credential) -> Awaitable[aiohttp.ClientResponse]:
                return begun(
                    stack, self._exchange(where, "GET", key, (), headers, b"", 0.0, credential), check
                )

            yield await self._tried(Tries(self.environment, self.settings.retries, slow=RETRIED), begin)

    async def _tried(self, tries: Tries, once: Callable[[Credential], Awaitable[T]]) -> T:
        """Return what `once` does: again while that may help, and with a newer credential when ours holds no more."""
        renewed = False
        while True:
            tries.begin()
            credential = await self.source.current()
            try:
                return await once(credential)
            except UnauthenticatedError:
                if renewed or await self.source.renew(credential) == credential:
                    raise
                tries.forget()
                renewed = True
            except LostBlocksError:
                raise
            except HoldfastError as error:
                await tries.failed(error)

    async def pause(self, tries: int, asked: float | None) -> None:
        """Wait before the next try: as long as the service asked, else longer each time."""
        await pause(self.environment, tries, asked)

    def signed(
        self,
        method: str,
        key: str | None,
        query: Query,
        headers: Mapping[str, str],
        length: int,
        credential: Credential,
    ) -> tuple[str, dict[str, str]]:
        """Return the URL and the headers of a request, with what proves who we are."""
        path, now = self.address.path(key), self.environment.clock.now()
        own = {
            **headers,
            "x-ms-date": formatdate(now // 1_000_000, usegmt=True),
            "x-ms-version": self.settings.api_version,
        }
        if method in ("PUT", "POST"):
            own.setdefault("content-type", "application/octet-stream")
        fields = list(query)
        if isinstance(credential, AccountKey):
            account = self.address.account
            own["authorization"] = shared_key(
                method, path, query, own, length, account=account, key=credential.value
            )
        elif isinstance(credential, SharedAccess):
            fields += credential.fields
        else:
            own["authorization"] = f"Bearer {credential.value}"
        target = f"{self.address.origin}{path}"
        return f"{target}?{encode_query(fields)}" if fields else target, own

    async def _once(
        self,
        where: Where,
        method: str,
        key: str | None,
        query: Query,
        headers: Mapping[str, str],
        body: Buffer,
        patience: float,
        credential: Credential,
    ) -> Answer:
        exchange = self._exchange(where, method, key, query, headers, body, patience, credential)
        async with exchange as response:
            content = await read_bounded(response, within=max(WITHIN, patience))
        if 200 <= response.status < 300:
            found = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status, found, content)
        raise self._refusal(where, response.status, response.headers, content)

    @contextlib.asynccontextmanager
    async def _exchange(
        self,
        where: Where,
        method: str,
        key: str | None,
        query: Query,
        headers: Mapping[str, str],
        body: Buffer,
        patience: float,
        credential: Credential,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send and yield the answer's beginning; what breaks inside the block is translated too."""
        import aiohttp

        url, own = self.signed(method, key, query, headers, len(body), credential)
        # Bytes of a block stay one object; aiohttp would warn about (and copy) large ones given plainly.
        data: Any = aiohttp.BytesPayload(body) if body else b"" if method in ("PUT", "POST") else None
        if len(body) > SLICE:
            data, own["content-length"] = slices(body), str(len(body))
        try:
            async with self._http.exchange(
                where.operation,
                where.name,
                method,
                url,
                headers={**own, "accept-encoding": "identity"},
                data=data,
                read_timeout=max(self.settings.read_timeout, patience),
                encoded=True,
            ) as response:
                yield response
        except HoldfastError as error:
            raise untrusted(error, where) from error.__cause__

    def _refusal(self, where: Where, status: int, headers: Mapping[str, str], body: bytes) -> HoldfastError:
        """Return the error for an answer that is no success; `headers` are found in any case."""
        code = headers.get("x-ms-error-code", "") or error_code(body)
        if status == 404 and not code and not _signed(headers):
            return strange(_FOREIGN, where)
        wait = retry_after(headers, self.environment.clock.now())
        return from_answer(status, _plain(code), where, retry_after=wait)


def _own(answer: Answer, where: Where, method: str, status: int) -> Answer:
    """Return `answer` when the service itself says that it is done: a gateway's page is a 200 too.

    What a POST brings is a document, which its reader judges; Azurite does not mark such an answer as its own.
    """
    if answer.status != status or not (method == "POST" or _signed(answer.headers)):
        raise strange(_FOREIGN, where)
    return answer


def _signed(headers: Mapping[str, str]) -> bool:
    return "x-ms-request-id" in headers or "x-ms-version" in headers


def xml(answer: Answer, where: Where, tag: str) -> Element:
    """Return the root of an XML answer, which must be a `tag`."""
    try:
        root = parse(answer.body)
    except XmlError as error:
        raise strange(str(error), where) from error
    if root.tag != tag:
        raise strange(f"the answer is not a {tag}", where)
    return root


def strange(text: str, where: Where) -> UnavailableError:
    """Return the error for an answer that cannot be right."""
    return UnavailableError(text, operation=where.operation, store=where.store, name=where.name)


def _plain(code: str) -> str:
    """Return `code` when it looks like one; a server may write anything into a header."""
    return code if code.isascii() and code.isalnum() and len(code) <= 80 else ""
