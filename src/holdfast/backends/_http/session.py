"""One HTTP session of a store. aiohttp is imported with the first request, so that a short command starts quickly."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from email.utils import parsedate_to_datetime
from pathlib import Path
from ssl import CERT_NONE, SSLContext, create_default_context
from typing import TYPE_CHECKING, Any, Final

from holdfast.core.clock import Environment
from holdfast.core.errors import DeadlineError, HoldfastError, UnavailableError

if TYPE_CHECKING:
    import aiohttp

MAX_ANSWER: Final = 16 << 20  #: bytes of an answer that is read whole
SLICE: Final = 256 << 10  #: what is handed to a connection at a time
_KEEP_ALIVE: Final = 30.0


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
        tls: SSLContext | bool = True,
        connections: int = 64,
    ) -> None:
        self.store = store
        self.environment = environment
        self._connect_timeout, self._read_timeout = connect_timeout, read_timeout
        self._tls, self._connections = tls, connections
        self._session: aiohttp.ClientSession | None = None

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
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send and yield the beginning of the answer, whatever its status; its body is still to be read.

        `read_timeout` replaces the longest silence that is borne, in seconds. With `encoded` the URL is sent as it is.

        Raises (also inside the block):
            UnavailableError, DeadlineError: it was not reached, broke off or fell silent; the outcome is open.
        """
        import aiohttp
        from yarl import URL

        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=self._connect_timeout, sock_read=read_timeout or self._read_timeout
        )
        try:
            async with self._open().request(
                method,
                URL(url, encoded=encoded),
                headers=headers,
                params=params,
                data=data,
                timeout=timeout,
                allow_redirects=False,
            ) as response:
                yield response
        except HoldfastError:
            raise
        except TimeoutError as error:
            raise DeadlineError(
                "the store fell silent", operation=operation, store=self.store, name=name
            ) from error
        except (aiohttp.ClientError, OSError, EOFError) as error:
            raise UnavailableError(
                f"the store was not reached or broke off ({type(error).__name__})",
                operation=operation,
                store=self.store,
                name=name,
            ) from error

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()
            await asyncio.sleep(0)

    def _open(self) -> aiohttp.ClientSession:
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=self._connections, ssl=self._tls, keepalive_timeout=_KEEP_ALIVE
                ),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
            # aiohttp would send a PUT whose connection broke off a second time, and a stream without its bytes.
            self._session._retry_connection = False
        return self._session


async def read_bounded(response: aiohttp.ClientResponse, limit: int = MAX_ANSWER) -> bytes:
    """Return the body of an answer; `EOFError` (inside `exchange` an `UnavailableError`) when it has more than `limit` bytes."""
    content = bytearray()
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > limit:
            raise EOFError("an endless answer")
    return bytes(content)


async def slices(body: bytes | memoryview) -> AsyncIterator[memoryview]:
    """Yield a body that is in memory, slice by slice: given whole, the connection would hold a second one of it.

    Its length has to be told in a header, or it is sent in chunks.
    """
    view = memoryview(body)
    for start in range(0, len(view), SLICE):
        yield view[start : start + SLICE]


def retry_after(headers: Mapping[str, str], now: int) -> float | None:
    """Return for how many seconds an answer asks to wait, None when it does not say; `now` in microseconds."""
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        moment = parsedate_to_datetime(value).timestamp()
    except (ValueError, TypeError, IndexError):
        return None
    return max(0.0, moment - now / 1e6)


def tls_context(*, verify: bool = True, ca_file: Path | None = None) -> SSLContext:
    """Return how certificates are checked; `OSError` when `ca_file` cannot be read."""
    context = create_default_context()
    if ca_file is not None:
        context.load_verify_locations(cafile=ca_file)
    if not verify:
        context.check_hostname = False
        context.verify_mode = CERT_NONE
    return context
