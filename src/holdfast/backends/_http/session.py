"""One HTTP session of a store. aiohttp is imported with the first request, so that a short command starts quickly."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from ssl import CERT_NONE, SSLContext, create_default_context
from typing import TYPE_CHECKING, Any, Final

from holdfast.core.clock import Environment
from holdfast.core.errors import ConfigError, DeadlineError, HoldfastError, UnavailableError

if TYPE_CHECKING:
    import aiohttp
    from yarl import URL

SLICE: Final = 256 << 10  #: what is handed to a connection at a time
_KEEP_ALIVE: Final = 30.0
_UNASKED: Final = ("Content-Type", "Accept", "Accept-Encoding", "User-Agent")

#: Makes one of our errors of a broken connection: the foreign error, the operation, the store and the name.
Broken = Callable[[BaseException, str, str, str], HoldfastError]


def broken(error: BaseException, operation: str, store: str, name: str) -> HoldfastError:
    """Return the error for a server that was not reached, broke off or fell silent."""
    if isinstance(error, TimeoutError):
        return DeadlineError("the store fell silent", operation=operation, store=store, name=name)
    return UnavailableError(
        f"the store was not reached or broke off ({type(error).__name__})",
        operation=operation,
        store=store,
        name=name,
    )


class Http:
    """Sends requests of one store; what breaks on the way becomes one of our errors, with `operation` and `name`.

    Nothing is sent again here, no redirect is followed, no cookie kept, no environment variable asked for a proxy.
    """

    def __init__(
        self,
        store: str,
        environment: Environment,
        *,
        connect_timeout: float = 5.0,
        read_timeout: float = 45.0,
        tls: SSLContext | bool | Callable[[], SSLContext | bool] = True,
        connections: int = 64,
        bare: bool = False,
        broken: Broken = broken,
    ) -> None:
        """`tls` may be a function that is asked with the first request; `bare` sends no headers but those given."""
        self.store = store
        self.environment = environment
        self._connect_timeout, self._read_timeout = connect_timeout, read_timeout
        self._tls, self._connections = tls, connections
        self._unasked, self._broken = _UNASKED if bare else (), broken
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    @contextlib.asynccontextmanager
    async def exchange(
        self,
        operation: str,
        name: str,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        data: Any = None,
        read_timeout: float | None = None,
        encoded: bool = False,
        within: float | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send and yield the beginning of the answer, whatever its status; its body is still to be read.

        `read_timeout` replaces the longest silence that is borne, in seconds. All of it, the body too, has to be there
        `within` seconds: for what is small both ways. With `encoded` the URL is sent as it is.

        Raises (also inside the block):
            UnavailableError, DeadlineError: it was not reached, broke off or fell silent; the outcome is open.
        """
        import aiohttp

        timeout = aiohttp.ClientTimeout(
            total=within, sock_connect=self._connect_timeout, sock_read=read_timeout or self._read_timeout
        )
        try:
            async with self._open().request(
                method,
                _address(url, encoded),
                headers=headers,
                params=params,
                data=data,
                timeout=timeout,
                allow_redirects=False,
            ) as response:
                yield response
        except HoldfastError:
            raise
        except (TimeoutError, aiohttp.ClientError, OSError, EOFError, _NoAddress) as error:
            raise self._broken(error, operation, self.store, name) from _cause(error)

    async def close(self) -> None:
        """Close the connections. Nothing can be sent any more, also not by what is still under way."""
        self._closed = True
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()
            await asyncio.sleep(0)

    def _open(self) -> aiohttp.ClientSession:
        import aiohttp

        if self._closed:
            raise UnavailableError("the store is closed", store=self.store)
        if self._session is None:
            tls = self._tls() if callable(self._tls) else self._tls
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=self._connections, ssl=tls, keepalive_timeout=_KEEP_ALIVE
                ),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=self._unasked,
                trust_env=False,
            )
            # aiohttp would send a PUT whose connection broke off a second time, and a stream without its bytes.
            self._session._retry_connection = False
        return self._session


async def begun(
    stack: contextlib.AsyncExitStack,
    exchange: contextlib.AbstractAsyncContextManager[aiohttp.ClientResponse],
    check: Callable[[aiohttp.ClientResponse], Awaitable[None]],
) -> aiohttp.ClientResponse:
    """Return the beginning of an answer, which stays open until `stack` ends; what `check` raises closes it."""
    async with contextlib.AsyncExitStack() as own:
        response = await own.enter_async_context(exchange)
        await check(response)
        stack.push_async_exit(own.pop_all())
    return response


class ForeignError(Exception):
    """Stands for an error of the HTTP library that carries the URL, which may be a permission by itself."""


def _cause(error: BaseException) -> BaseException:
    """Return `error` as it may be shown in a traceback."""
    import aiohttp

    shows = isinstance(error, aiohttp.ClientResponseError | aiohttp.InvalidURL | _NoAddress)
    return ForeignError(type(error).__name__) if shows else error


class _NoAddress(Exception):
    """What we were sent to is no URL."""


def _address(url: str, encoded: bool) -> URL:
    from yarl import URL

    try:
        found = URL(url, encoded=encoded)
        if found.raw_host and found.port:
            found.raw_host.encode(
                "idna"
            )  # as the resolver will; it would not tell that in one of its own errors
            return found
    except ValueError as error:
        raise _NoAddress from error
    raise _NoAddress


async def slices(body: bytes | memoryview) -> AsyncIterator[memoryview]:
    """Yield a body that is in memory, slice by slice: given whole, the connection would hold a second one of it.

    Its length has to be told in a header, or it is sent in chunks.
    """
    view = memoryview(body)
    for start in range(0, len(view), SLICE):
        yield view[start : start + SLICE]


def tls_context(*, verify: bool = True, ca_file: Path | None = None) -> SSLContext:
    """Return how certificates are checked; `OSError` when `ca_file` cannot be read."""
    context = create_default_context()
    if ca_file is not None:
        context.load_verify_locations(cafile=ca_file)
    if not verify:
        context.check_hostname = False
        context.verify_mode = CERT_NONE
    return context


def trusted(store: str, *, verify: bool = True, ca_file: Path | None = None) -> SSLContext:
    """Return how the certificates of a store's server are checked; `ConfigError` when `ca_file` cannot be read."""
    try:
        return tls_context(verify=verify, ca_file=ca_file)
    except OSError as error:
        raise ConfigError(
            f"ca_file cannot be read: {error.strerror or 'no certificate'}", operation="open", store=store
        ) from error
