"""Requests to one bucket with a token that holds, tried again while that may help, and anew with a newer token."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

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
from holdfast.backends.object_store import sigv4
from holdfast.backends.object_store.control import Answer, Buffer
from holdfast.backends.object_store.errors import Where
from holdfast.backends.object_store.gcs.errors import judge
from holdfast.backends.object_store.gcs.exchanges import Token
from holdfast.backends.object_store.gcs.settings import GcsSettings
from holdfast.backends.object_store.sigv4 import encode, encode_query
from holdfast.backends.object_store.xml import error_code
from holdfast.core.clock import Environment
from holdfast.core.errors import HoldfastError, UnauthenticatedError, UnavailableError
from holdfast.core.renewing import Renewing

if TYPE_CHECKING:
    import aiohttp

T = TypeVar("T")

_PLAIN: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ._-")

#: What the service says when it has done what was asked.
_DONE: Final = {"GET": 200, "HEAD": 200, "POST": 200, "PUT": 200, "DELETE": 204}


class GcsClient:
    """Sends requests to the bucket of `settings` and turns everything but success into our errors."""

    def __init__(
        self,
        store: str,
        settings: GcsSettings,
        tokens: Renewing[Token],
        http: Http,
        environment: Environment,
    ) -> None:
        self.store = store
        self.settings = settings
        self.environment = environment
        self._tokens = tokens
        self._http = http
        self._extra = {"accept-encoding": "identity"}  # nothing is to be packed that is then read as it is
        if settings.user_project:
            self._extra["x-goog-user-project"] = settings.user_project

    def path(self, key: str = "") -> str:
        """Return the encoded path of `key`, or of the bucket."""
        bucket = f"/{encode(self.settings.bucket)}"
        return f"{bucket}/{encode(key, keep='/')}" if key else bucket

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
        path: str = "",
        accept: Collection[int] = (),
    ) -> Answer:
        """Return the answer to a request on `key`, on the bucket or on `path` (encoded, with its query).

        `patience` raises the longest silence that is borne; `retries` replaces the setting; `accept` are statuses
        that are answers too, besides the one of success.

        Raises:
            HoldfastError: any kind of `errors`; for a repeated failure the last one.
        """
        asked = encode_query(query)
        target = path or f"{self.path(key)}{'?' + asked if asked else ''}"
        most = self.settings.retries if retries is None else retries

        def once(token: Token) -> Awaitable[Answer]:
            return self._once(where, method, target, headers or {}, body, patience, accept, token)

        return await self._tried(Tries(self.environment, most, slow=max(RETRIED, patience)), once)

    @contextlib.asynccontextmanager
    async def open(
        self, where: Where, key: str, headers: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Yield the answer to a GET of `key`, with its body still to be read; errors are those of `call`."""

        async def check(response: aiohttp.ClientResponse) -> None:
            if response.status not in (200, 206):
                self._judge(where, "GET", response, await read_bounded(response), ())
            if not response.headers.get("x-goog-generation"):
                raise foreign(where)

        async with contextlib.AsyncExitStack() as stack:

            def begin(token: Token) -> Awaitable[aiohttp.ClientResponse]:
                exchange = self._exchange(where, "GET", self.path(key), headers, b"", 0.0, token)
                return begun(stack, exchange, check)

            yield await self._tried(Tries(self.environment, self.settings.retries, slow=RETRIED), begin)

    async def _tried(self, tries: Tries, once: Callable[[Token], Awaitable[T]]) -> T:
        """Return what `once` does: again while that may help, and with a newer token when ours holds no more."""
        renewed = False
        while True:
            tries.begin()
            token = await self._tokens.current()
            try:
                return await once(token)
            except UnauthenticatedError:
                if renewed:
                    raise
                renewed = True
                tries.forget()
                await self._tokens.renew(token)
            except HoldfastError as error:
                await tries.failed(error)

    async def json(
        self, where: Where, method: str, path: str, *, body: bytes = b"", patience: float = 0.0
    ) -> dict[str, Any]:
        """Return what the JSON interface of the service answers."""
        headers = {"content-type": "application/json"}
        answer = await self.call(where, method, path=path, headers=headers, body=body, patience=patience)
        try:
            found = json.loads(answer.body)
        except (ValueError, RecursionError):
            found = None
        return found if isinstance(found, dict) else {}

    async def pause(self, tries: int, asked: float | None) -> None:
        """Wait before the next try: as long as the server asked, else longer each time."""
        await pause(self.environment, tries, asked)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def _once(
        self,
        where: Where,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: Buffer,
        patience: float,
        accept: Collection[int],
        token: Token,
    ) -> Answer:
        exchange = self._exchange(where, method, target, headers, body, patience, token)
        async with exchange as response:
            content = await read_bounded(response, within=max(WITHIN, patience))
            return self._judge(where, method, response, content, accept)

    def _exchange(
        self,
        where: Where,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: Buffer,
        patience: float,
        token: Token,
    ) -> contextlib.AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """Send; entered, it gives the answer's beginning."""
        sent = {**self._extra, **headers, "authorization": f"Bearer {token.value}"}
        if body:
            sent["content-length"] = str(len(body))
        return self._http.exchange(
            where.operation,
            where.name,
            method,
            self.settings.endpoint + target,
            headers=sent,
            data=_payload(body) if body or method in ("PUT", "POST") else None,
            read_timeout=max(self.settings.read_timeout, patience),
            encoded=True,
        )

    def _judge(
        self,
        where: Where,
        method: str,
        response: aiohttp.ClientResponse,
        body: bytes,
        accept: Collection[int],
    ) -> Answer:
        status = response.status
        if status == _DONE[method] or status in accept:
            return Answer(status, _joined(response.headers), body)
        code = error_code(body) or _reason(body)
        if status < 300 or (status == 404 and method == "DELETE" and not code):
            raise foreign(where)
        wait = retry_after(response.headers, self.environment.clock.now())
        raise judge(status, code, where, retry_after=wait)


def foreign(where: Where) -> UnavailableError:
    """Return the error for an answer that the service would not give: a gateway's page is a 200 too."""
    return UnavailableError(
        "the answer is not the store's own; something stands between it and us",
        operation=where.operation,
        store=where.store,
        name=where.name,
    )


def _payload(body: Buffer) -> Any:
    import aiohttp

    return aiohttp.BytesPayload(body) if len(body) <= SLICE else slices(body)


def _joined(headers: Any) -> dict[str, str]:
    """Return the headers with lower-case names; what came twice, as the digests do, is joined by commas."""
    found: dict[str, str] = {}
    for name, value in headers.items():
        lowered = name.lower()
        found[lowered] = f"{found[lowered]},{value}" if lowered in found else value
    return found


def _reason(body: bytes) -> str:
    """Return the reason of an error of the JSON interface as XML would call it: `accessDenied` as `AccessDenied`."""
    if not body.lstrip().startswith(b"{"):
        return ""
    try:
        reason = json.loads(body)["error"]["errors"][0]["reason"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
    known = isinstance(reason, str) and 0 < len(reason) <= 80 and _PLAIN.issuperset(reason)
    return _XML_NAMES.get(reason, reason[0].upper() + reason[1:]) if known else ""


_XML_NAMES: Final = {
    "notFound": "NoSuchKey",
    "required": "AuthenticationRequired",
    "authError": "AuthenticationRequired",
    "forbidden": "AccessDenied",
    "conditionNotMet": "PreconditionFailed",
    "internalError": "InternalError",
}
