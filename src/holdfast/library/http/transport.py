"""One HTTP exchange: connect, repeat where it is safe, translate every failure."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Mapping
from enum import Enum
from typing import Any, Final
from urllib.parse import quote, unquote, urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from holdfast.core.body import Body
from holdfast.core.clock import Environment
from holdfast.core.errors import (
    ConfigError,
    DeadlineError,
    HoldfastError,
    InvalidRequestError,
    NotFoundError,
    RateLimitedError,
    UnavailableError,
)
from holdfast.library.http import wire
from holdfast.library.http.errors import from_answer

ATTEMPTS: Final = 3
_BASE_WAIT: Final = 0.2  #: seconds before the second try; doubled for each further one
_MAX_WAIT: Final = 20.0  #: the longest Retry-After that is honoured; a longer one is handed to the caller
_MAX_ERROR: Final = 64 << 10  #: bytes of an error's body that are read
_EXPECT: Final = (
    256 << 10
)  #: bodies from this size on wait for the server's "continue", so a refusal costs nothing


class Repeat(Enum):
    """When a call may be made again after it failed."""

    SAFE = "after any passing failure: doing it twice is doing it once"
    REFUSED = "only when it surely was not done"


class Transport:
    """Sends requests to the server at `base`, with the token and patience that were given.

    Args:
        base: `http://` or `https://` URL of the server, also with a path in front.
        token: sent as a bearer token; never shown.
        ca_file: certificates to trust instead of the system's.
        timeout: seconds of silence after which the other side counts as gone. A whole call has no limit.
    """

    def __init__(
        self,
        base: str,
        *,
        token: str | None = None,
        ca_file: str | None = None,
        timeout: float = 60.0,
        environment: Environment | None = None,
    ) -> None:
        self.base = check_url(base)
        self.environment = environment or Environment()
        headers = {"User-Agent": "holdfast-python", "Accept-Encoding": "identity"}
        if token:
            headers["Authorization"] = f"Bearer {_clean(token)}"
        self._proxy = _proxy(self.base)
        self._session = aiohttp.ClientSession(
            headers=headers,
            auto_decompress=False,
            skip_auto_headers={
                "Content-Type"
            },  # the server guesses from the key, better than aiohttp from the body
            connector=aiohttp.TCPConnector(limit=64, keepalive_timeout=10, ssl=_tls(ca_file)),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=5.0, sock_read=timeout),
            read_bufsize=1 << 19,  # a chunk is at most twice this
        )

        # aiohttp would repeat a DELETE whose answer was lost, and a PUT whose body is already half gone. When to repeat
        # is decided in `send`; `test_what_cannot_be_done_twice_is_not_repeated` watches that this still works.
        self._session._retry_connection = False

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int | None] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        json: Any = None,
        repeat: Repeat = Repeat.SAFE,
    ) -> aiohttp.ClientResponse:
        """Return an answer below 400; the caller releases it.

        Raises:
            HoldfastError: what the server said, or `UnavailableError` / `DeadlineError` when nothing came.
        """
        url = self._url(path, query)
        _check_headers(headers or {})
        once = body is not None and not body.replayable
        for attempt in range(ATTEMPTS):
            try:
                return await self._exchange(method, url, dict(headers or {}), body, json)
            except _Failure as failure:
                last = attempt == ATTEMPTS - 1
                wait = self._wait(attempt, failure.error)
                if last or (once and failure.began) or not failure.may(repeat) or wait is None:
                    if isinstance(failure.error, NotFoundError):
                        failure.error.name = failure.error.name or _named(path)
                    raise failure.error from failure.__cause__
                await self.environment.clock.sleep(wait)
        raise AssertionError("unreachable")

    async def call(self, method: str, path: str, **wishes: Any) -> Any:
        """Return the JSON object of an answer, {} of an empty one. Takes what `send` takes."""
        return await self.decode(await self.send(method, path, **wishes))

    async def decode(self, answer: aiohttp.ClientResponse) -> Any:
        """Return the JSON object of an answer, {} of an empty one, and release it."""
        async with answer:
            with _Translated():
                raw = await answer.read()
        return wire.decoded(raw or b"{}", self.base)

    async def _exchange(
        self, method: str, url: URL, headers: dict[str, str], body: Body | None, json: Any
    ) -> aiohttp.ClientResponse:
        sent = _Sent()
        data = _payload(body, headers, sent) if body is not None else None
        expect = body is not None and (body.size is None or body.size >= _EXPECT)
        try:
            answer = await self._session.request(
                method,
                url,
                headers=headers,
                data=data,
                json=json,
                expect100=expect,
                allow_redirects=False,
                proxy=self._proxy,
            )
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            if sent.error is not None:
                raise _source_failed(sent.error) from sent.error  # it was not the server
            raise _Failure(
                _unreachable(self.base, error), began=sent.began, reached=_reached(error)
            ) from error
        if answer.status < 300 or answer.status == 304:
            return answer
        raise _Failure(await _refusal(answer), began=sent.began, reached=True)

    async def pause(self, attempt: int) -> None:
        """Wait as long as before try `attempt` (0: the second one)."""
        await self.environment.clock.sleep(self._wait(attempt, UnavailableError("")) or 0.0)

    def _wait(self, attempt: int, error: HoldfastError) -> float | None:
        """Return the seconds to wait before the next try, or None when the server asked for too many."""
        if error.retry_after is not None:
            return error.retry_after if error.retry_after <= _MAX_WAIT else None
        chance: float = self.environment.random.random()
        return _BASE_WAIT * float(2**attempt) * (0.5 + chance)

    def _url(self, path: str, query: Mapping[str, str | int | None] | None) -> URL:
        given = {name: str(value) for name, value in (query or {}).items() if value not in (None, "")}
        tail = f"?{urlencode(given, quote_via=quote)}" if given else ""
        return URL(f"{self.base}/api/v1/{path}{tail}", encoded=True)


def _check_headers(headers: Mapping[str, str]) -> None:
    for name, value in headers.items():
        if not (value.isascii() and value.isprintable()):
            raise InvalidRequestError(f"{name} cannot hold control characters or anything but ASCII")


class _Sent:
    """What became of a body: whether any of it was read, and whether reading it failed."""

    began = False
    error: Exception | None = None


class _Failure(Exception):
    """A try that failed, and how far it had come."""

    def __init__(self, error: HoldfastError, *, began: bool, reached: bool) -> None:
        super().__init__(error.message)
        self.error = error
        self.began = began
        self.reached = reached

    def may(self, repeat: Repeat) -> bool:
        """Tell whether the same call may be made again."""
        if not self.reached or isinstance(self.error, RateLimitedError):
            return True
        return repeat is Repeat.SAFE and self.error.retryable


def _payload(body: Body, headers: dict[str, str], sent: _Sent) -> bytes | AsyncIterator[bytes]:
    if body.data is not None:
        return body.data
    if body.size is not None:
        headers["Content-Length"] = str(body.size)

    async def chunks() -> AsyncIterator[bytes]:
        sent.began = True
        try:
            async for chunk in body.chunks():
                yield chunk
        except Exception as error:
            sent.error = error
            raise

    return chunks()


async def _refusal(answer: aiohttp.ClientResponse) -> HoldfastError:
    body = b""
    try:
        body = await answer.content.read(_MAX_ERROR)
        while len(body) < _MAX_ERROR and (more := await answer.content.read(_MAX_ERROR - len(body))):
            body += more
    except (TimeoutError, aiohttp.ClientError, OSError):
        pass  # the status alone says enough
    finally:
        answer.release()
    if 300 <= answer.status < 400:
        return InvalidRequestError("the server redirects elsewhere; give its own URL")
    return from_answer(answer.status, answer.headers, body)


def _named(path: str) -> str:
    """Return which bucket or object a path is about; "" for others."""
    found = re.match(r"(?:objects|buckets)/([^/?]+(?:/[^?]+)?)", path)
    return unquote(found[1]) if found else ""


def _source_failed(error: Exception) -> HoldfastError:
    if isinstance(error, HoldfastError):
        return error
    return InvalidRequestError(f"the source of the body failed: {type(error).__name__}: {error}")


def _reached(error: BaseException) -> bool:
    """Tell whether the request may have arrived: not when no connection came about."""
    return not isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)


def _unreachable(base: str, error: BaseException) -> HoldfastError:
    if "WRONG_VERSION_NUMBER" in str(error):
        return ConfigError(f"{base} speaks no TLS there: write http://, or correct the port")
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
        return ConfigError(
            f"the certificate of {base} is not trusted; when it is your own, name it with --ca-file, or ca_file= in"
            f" Python: {error}"
        )
    if isinstance(error, aiohttp.ClientConnectorError):
        return UnavailableError(f"cannot connect to {base}: {error.strerror or error.os_error}")
    if isinstance(error, asyncio.TimeoutError):
        return DeadlineError(f"{base} did not answer in time")
    return UnavailableError(f"the connection to {base} broke: {str(error) or type(error).__name__}")


class _Translated:
    """Turns a failure while an answer is read into an `UnavailableError`."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, aiohttp.ClientError | OSError):
            raise UnavailableError(f"the answer broke off: {str(error) or type(error).__name__}") from error


def check_url(url: str) -> str:
    """Return `url` without a trailing slash when it can be a server's.

    Raises:
        ConfigError: another scheme, no host, or a password in it (use a token).
    """
    try:
        parts = urlsplit(url)
        wrong = parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0
    except ValueError:
        wrong = True
    if wrong:
        raise ConfigError("the server's URL must look like http://host:8083 or https://host")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigError("the server's URL takes no user, password, query or fragment; give a token instead")
    return url.rstrip("/")


def _clean(token: str) -> str:
    token = token.strip()
    if not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError("the token holds characters that no token has; copy it again")
    return token


def _proxy(base: str) -> str | None:
    parts = urlsplit(base)
    if proxy_bypass(parts.hostname or ""):
        return None
    return getproxies().get(parts.scheme)


def _tls(ca_file: str | None) -> ssl.SSLContext | bool:
    if ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"cannot read the certificates in {ca_file}: {error}") from error
