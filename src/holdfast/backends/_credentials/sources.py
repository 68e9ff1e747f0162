"""From settings to the function that gets one document with keys. What reads a kind of source is imported with its first use."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from ssl import SSLContext
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from holdfast.backends._credentials.document import Document
from holdfast.backends._http import Http
from holdfast.core.clock import Environment
from holdfast.core.errors import ConfigError, UnavailableError

if TYPE_CHECKING:
    from holdfast.backends._credentials.settings import KeySettings

TENANT: Final = "{tenant}"  #: stands in a setting for the tenant whose blobs are to be reached
FETCHED: Final = frozenset({"command", "url", "file", "web-identity"})  #: the kinds of keys that are fetched
Fetch = Callable[[], Awaitable[Document]]


def fetch_of(
    kind: str,
    settings: KeySettings,
    *,
    store: str,
    environment: Environment,
    tenant: str = "",
    region: str = "us-east-1",
    tls: SSLContext | bool = True,
) -> Fetch:
    """Return what fetches one document: from a command, a URL, a file or STS, whichever `kind` says.

    `tenant` takes the place of `{tenant}`. Sessions are opened for one fetch; there are few of them.

    Raises:
        ConfigError: there is no such kind.
    """

    def put(text: str) -> str:
        return text.replace(TENANT, tenant)

    token_file = put(str(settings.credentials_token_file or ""))

    async def command() -> Document:
        from holdfast.backends._credentials.command import from_command

        return await from_command(
            [put(word) for word in settings.credentials_command], settings.credentials_timeout
        )

    async def file() -> Document:
        from holdfast.backends._credentials.file import from_file

        path = Path(put(str(settings.credentials_file)))
        return await asyncio.to_thread(from_file, path, put(settings.credentials_profile))

    async def url() -> Document:
        from holdfast.backends._credentials.url import from_url

        address = settings.credentials_url.replace(TENANT, quote(tenant, safe=""))
        return await _over_http(lambda http: from_url(settings, address, token_file, http))

    async def web_identity() -> Document:
        from holdfast.backends._credentials.web_identity import from_web_identity

        return await _over_http(
            lambda http: from_web_identity(
                url=settings.credentials_url.replace(TENANT, quote(tenant, safe="")),
                role=put(settings.credentials_role),
                token_file=token_file,
                session=f"holdfast-{tenant or store}",
                region=region,
                http=http,
            )
        )

    async def _over_http(work: Callable[[Http], Awaitable[Document]]) -> Document:
        seconds = settings.credentials_timeout
        http = Http(store, environment, connect_timeout=min(seconds, 10.0), read_timeout=seconds, tls=tls)
        try:
            async with asyncio.timeout(seconds):
                return await work(http)
        except TimeoutError:
            raise UnavailableError(f"no keys came within {seconds:.0f} s", store=store) from None
        finally:
            await http.close()

    kinds: dict[str, Fetch] = {"command": command, "file": file, "url": url, "web-identity": web_identity}
    if kind not in kinds:
        raise ConfigError(
            f"credentials = {kind!r} is not fetched from anywhere", operation="open", store=store
        )
    return kinds[kind]
