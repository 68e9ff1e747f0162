"""Reads of one container through the object-store library, behind a narrow door, and the knowledge of where it bites.

* Its constructor reads `AZURE_*` variables; everything that matters is therefore said explicitly.
* It keeps a credential until its end, also when the service takes it no longer; then the store is opened anew.
* It refuses the last n bytes of a blob; the size is asked for first.
* A HEAD that fails says nothing of the reason; heads are therefore our own requests.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any, Final, cast

import obstore
from obstore.store import AzureStore

from holdfast.backends.object_store.azure import metadata
from holdfast.backends.object_store.azure.client import Client
from holdfast.backends.object_store.azure.credentials import (
    AccountKey,
    Credential,
    CredentialSource,
    SharedAccess,
)
from holdfast.backends.object_store.azure.errors import from_obstore
from holdfast.backends.object_store.azure.settings import AzureSettings
from holdfast.backends.object_store.driver import Found
from holdfast.backends.object_store.errors import Where
from holdfast.backends.object_store.library import STANDARD, client_options, retry_config
from holdfast.backends.object_store.listing import rfc_time
from holdfast.core.errors import ConfigError, HoldfastError, UnauthenticatedError
from holdfast.core.types import BlobInfo, ByteRange

_FOREIGN: Final = "AZURE_ENCRYPTION_KEY"  #: cannot be overruled by what is said


class _Opened:
    """The library's store, and the credential that it holds on to."""

    def __init__(self, settings: AzureSettings, source: CredentialSource) -> None:
        self._source = source
        self.used: Credential | None = None
        self.store = _open(settings, self._credential)

    async def _credential(self) -> dict[str, Any]:
        held = await self._source.current()
        self.used = held
        ends = datetime.fromtimestamp(held.expires / 1e6, UTC) if held.expires else None
        if isinstance(held, AccountKey):
            return {"access_key": held.value, "expires_at": ends}
        if isinstance(held, SharedAccess):
            return {"sas_token": list(held.fields), "expires_at": ends}
        return {"token": held.value, "expires_at": ends}


class Driver:
    """Get and head of one container by key."""

    def __init__(self, settings: AzureSettings, client: Client) -> None:
        self._settings = settings
        self._client = client
        self._opened = _Opened(settings, client.source)

    async def get(self, where: Where, key: str, wish: Any = None) -> Found:
        """Open `key`, all of it or the range that `wish` is in the library's terms."""
        if isinstance(wish, dict) and "suffix" in wish:
            info = await self.head(where, key)
            span = ByteRange(None, wish["suffix"]).resolve(info.size)
            wish = (span.offset, span.end)
        opened = self._opened
        try:
            return await self._get(opened, where, key, wish)
        except UnauthenticatedError:
            stale = opened.used
            if stale is None or await self._client.source.renew(stale) == stale:
                raise
            if self._opened is opened:
                self._opened = _Opened(self._settings, self._client.source)
            return await self._get(self._opened, where, key, wish)

    async def head(self, where: Where, key: str) -> BlobInfo:
        """Return what is known of `key`."""
        found = (await self._client.call(where, "HEAD", key)).headers
        return BlobInfo(
            name=where.name,
            size=int(found.get("content-length", "0")),
            modified=rfc_time(found.get("last-modified", "")),
            etag=found.get("etag", "").strip('"') or None,
            metadata=metadata.found(found),
        )

    def translate(self, error: BaseException, where: Where) -> HoldfastError:
        """Return our error for one of the library's."""
        return from_obstore(error, where)

    async def _get(self, opened: _Opened, where: Where, key: str, wish: Any) -> Found:
        try:
            if wish is None:
                result = await obstore.get_async(opened.store, key)
            else:
                result = await obstore.get_async(opened.store, key, options={"range": wish})
        except Exception as error:
            raise from_obstore(error, where) from error
        meta = result.meta
        extra = {name: value for name, value in result.attributes.items() if name not in STANDARD}
        info = BlobInfo(
            name=where.name,
            size=meta["size"],
            modified=int(meta["last_modified"].timestamp() * 1_000_000),
            etag=(meta["e_tag"] or "").strip('"') or None,
            metadata=metadata.named(cast(Any, extra)) if extra else {},
        )
        return Found(info, result.range, result)


def _open(settings: AzureSettings, credential: Any) -> AzureStore:
    if os.environ.get(_FOREIGN):
        raise ConfigError(
            f"the variable {_FOREIGN} would encrypt under a foreign key; unset it", operation="open"
        )
    config: dict[str, Any] = {
        "account_name": settings.account_name,
        "endpoint": settings.service,
        "use_emulator": False,
        "use_fabric_endpoint": False,
        "skip_signature": False,
        "use_azure_cli": False,
        "disable_tagging": True,
    }
    authority = settings.ca_file.read_bytes() if settings.ca_file is not None else b""
    return AzureStore(
        settings.container,
        config=cast(Any, config),
        client_options=client_options(settings, plain=not settings.tls, authority=authority),
        retry_config=retry_config(settings),
        credential_provider=credential,
    )
