"""Requests to one bucket with a token that holds, tried again while that may help, and anew with a newer token."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Collection, Mapping
from typing import TYPE_CHECKING, Any, Final

from holdfast.backends._http import Http, read_bounded, retry_after
from holdfast.backends.object_store import sigv4
from holdfast.backends.object_store.control import RETRIED, Answer, Buffer
from holdfast.backends.object_store.errors import Where
from holdfast.backends.object_store.gcs.errors import judge
from holdfast.backends.object_store.gcs.exchanges import Token
from holdfast.backends.object_store.gcs.settings import GcsSettings
from holdfast.backends.object_store.sigv4 import encode, encode_query
from holdfast.backends.object_store.xml import error_code
from holdfast.core.clock import Environment
from holdfast.core.errors import HoldfastError, UnauthenticatedError
from holdfast.core.renewing import Renewing

if TYPE_CHECKING:
    import aiohttp

_LONGEST_PAUSE: Final = 20.0
_AT_ONCE: Final = 256 << 10  #: bytes of a body that are handed to the connection in one piece
_PLAIN: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ._-")


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
        that are answers too, not errors.

        Raises:
            HoldfastError: any kind of `errors`; for a repeated failure the last one.
        """
        asked = encode_query(query)
        target = path or f"{self.path(key)}{'?' + asked if asked else ''}"
        most = self.settings.retries if retries is None else retries
        longest, tries, renewed = max(RETRIED, patience), 0, False
        while True:
            tries, began = tries + 1, self.environment.clock.monotonic()
            token = await self._tokens.current()
            try:
                return await self._once(where, method, target, headers or {}, body, patience, accept, token)
            except UnauthenticatedError:
                if renewed:
                    raise
                renewed, tries = True, tries - 1
                await self._tokens.renew(token)
            except HoldfastError as error:
                if not error.retryable or tries > most:
                    raise
                if self.environment.clock.monotonic() - began > longest:
                    raise
                await self.pause(tries, error.retry_after)

    async def json(self, where: Where, method: str, path: str, *, patience: float = 0.0) -> dict[str, Any]:
        """Return what the JSON interface of the service answers."""
        headers = {"content-type": "application/json"}
        answer = await self.call(where, method, path=path, headers=headers, patience=patience)
        try:
            found = json.loads(answer.body)
        except ValueError:
            found = None
        return found if isinstance(found, dict) else {}

    async def pause(self, tries: int, wanted: float | None) -> None:
        """Wait before the next try: as long as the server asked, else longer each time."""
        chance = random.Random(self.environment.random.getrandbits(64)).random()  # noqa: S311  # jitter, not a secret
        pause = wanted if wanted is not None else 0.1 * 2**tries * (0.5 + chance)
        await self.environment.clock.sleep(min(pause, _LONGEST_PAUSE))

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
        sent = {**headers, **self._extra, "authorization": f"Bearer {token.value}"}
        if body:
            sent["content-length"] = str(len(body))
        async with self._http.exchange(
            where.operation,
            where.name,
            method,
            self.settings.endpoint + target,
            headers=sent,
            data=_payload(body) if body or method in ("PUT", "POST") else None,
            read_timeout=max(self.settings.read_timeout, patience),
            encoded=True,
        ) as response:
            content = await read_bounded(response)
            return self._judge(where, response, content, accept)

    def _judge(
        self, where: Where, response: aiohttp.ClientResponse, body: bytes, accept: Collection[int]
    ) -> Answer:
        status = response.status
        if 200 <= status < 300 or status in accept:
            return Answer(status, _joined(response.headers), body)
        wait = retry_after(response.headers, self.environment.clock.now())
        raise judge(status, error_code(body) or _reason(body), where, retry_after=wait)


def _payload(body: Buffer) -> Any:
    import aiohttp

    if len(body) <= _AT_ONCE:
        return aiohttp.BytesPayload(body)
    return _slices(memoryview(body))


async def _slices(body: memoryview) -> AsyncIterator[memoryview]:
    """Yield a large body in slices: given as a whole, all of it would be copied into the connection's buffer."""
    for start in range(0, len(body), _AT_ONCE):
        yield body[start : start + _AT_ONCE]


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
    except (ValueError, LookupError, TypeError):
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
