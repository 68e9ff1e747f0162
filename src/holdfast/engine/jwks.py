"""Keys of an issuer fetched from its JWKS address, by a client that cannot be led elsewhere.

The address comes from the configuration, never from a token. It is asked with https, without redirects, proxies or
cookies; what its name resolves to is checked when connecting, so that it cannot point into this network unless the
operator said so. Plain http is for networks named there alone.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from holdfast.core.clock import Clock
from holdfast.core.errors import ConfigError, UnavailableError
from holdfast.engine.issuers import key_set
from holdfast.engine.jwt import Key, refusal
from holdfast.policy.addresses import Network, is_public, is_trusted, parse_network

_PATIENCE: Final = 5.0  #: seconds for one fetch
_LARGEST: Final = 256 << 10  #: bytes of a key set
_FRESH: Final = 600.0  #: seconds until a set is fetched anew, as far as the issuer answers
_PAUSE: Final = 30.0  #: seconds between two fetches


class RemoteKeys:
    """Keys by `kid` behind an address. What was fetched once serves on while the issuer does not answer."""

    def __init__(
        self, url: str, algorithm: str, kids: frozenset[str], networks: tuple[str, ...], clock: Clock
    ) -> None:
        self._url = check_url(url, networks)
        self._algorithm = algorithm
        self._kids = kids
        self._networks = tuple(parse_network(text) for text in networks)
        self._clock = clock
        self._keys: Mapping[str, Key] = {}
        self._fetched: float | None = None
        self._asked: float | None = None
        self._lock = asyncio.Lock()

    async def find(self, kid: str | None) -> Key:
        """Return the key of that name; an unknown one has the set fetched again, at most every 30 s.

        Raises:
            UnauthenticatedError: there is no such key. UnavailableError: no set could be fetched yet.
        """
        if kid is None or (self._kids and kid not in self._kids):
            raise refusal("no key of its issuer has its kid")
        if kid not in self._keys or self._old():
            async with self._lock:
                if (kid not in self._keys or self._old()) and self._may_ask():
                    await self._fetch()
        if kid in self._keys:
            return self._keys[kid]
        if self._fetched is None:
            raise UnavailableError("the keys of the token's issuer cannot be fetched now", retry_after=_PAUSE)
        raise refusal("no key of its issuer has its kid")

    def _old(self) -> bool:
        return self._fetched is None or self._clock.monotonic() - self._fetched > _FRESH

    def _may_ask(self) -> bool:
        return self._asked is None or self._clock.monotonic() - self._asked >= _PAUSE

    async def _fetch(self) -> None:
        self._asked = self._clock.monotonic()
        try:
            document = await fetch(self._url, self._networks)
            self._keys = key_set(document, self._algorithm, self._kids)
        except (ConfigError, UnavailableError):
            return  # the keys that are known stay good; without any, the caller says so
        self._fetched = self._clock.monotonic()


def check_url(url: str, networks: tuple[str, ...]) -> str:
    """Return `url` if keys may be fetched from it.

    Raises:
        ConfigError: it is neither https nor, where networks are named, http; or it holds a password.
    """
    parts = urlsplit(url)
    schemes = ("https", "http") if networks else ("https",)
    if parts.scheme not in schemes or not parts.hostname or parts.username is not None:
        raise ConfigError(
            f"jwks_url must begin with https:// and hold no password: {parts.scheme}://{parts.hostname}"
        )
    return url


async def fetch(url: str, networks: tuple[Network, ...]) -> bytes:
    """Return what `url` answers with; `UnavailableError` when it does not answer as it should."""
    import aiohttp

    plain = urlsplit(url).scheme == "http"

    def connecting(info: Any) -> socket.socket:
        """Return a socket for an address that may be asked."""
        address = str(info[4][0])
        inside = is_trusted(address, networks)
        if not inside and (plain or not is_public(address)):
            raise OSError(f"the address {address} may not be asked for keys")
        return socket.socket(info[0], info[1], info[2])

    connector = aiohttp.TCPConnector(socket_factory=connecting, force_close=True)
    timeout = aiohttp.ClientTimeout(total=_PATIENCE)
    try:
        async with (
            aiohttp.ClientSession(
                connector=connector,
                timeout=timeout,
                trust_env=False,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
            ) as client,
            client.get(url, allow_redirects=False, headers={"Accept": "application/json"}) as answer,
        ):
            if answer.status != 200:
                raise UnavailableError(f"the key server answered {answer.status}")
            return await _read(answer)
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise UnavailableError(f"the key server cannot be asked: {type(error).__name__}") from error


async def _read(answer: Any) -> bytes:
    found = b""
    async for chunk in answer.content.iter_chunked(65536):
        found += chunk
        if len(found) > _LARGEST:
            raise UnavailableError("the key server answers with too much")
    return found
