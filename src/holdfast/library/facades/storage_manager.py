"""A storage manager: content types and companies in front, adapters behind.

A content type is a bucket. A company is a tenant: what it stores is out of reach of all others, and its own rules go
before those of a content type. So the manager acts for many tenants, which an engine in this process lets it do; with a
server, a client with a token of each company is given to it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from holdfast.library import opening
from holdfast.library.client import AsyncClient
from holdfast.library.embedded import EmbeddedClient
from holdfast.library.facades import storage_config
from holdfast.library.facades.holding import Held, Places
from holdfast.library.facades.own_engine import settings_for
from holdfast.library.facades.storage_adapter import (
    BucketAdapter,
    LocalStorageAdapter,
    MinioStorageAdapter,
)
from holdfast.library.facades.storage_config import StorageConfig
from holdfast.library.source import Source

_ADAPTERS: dict[str, type[BucketAdapter]] = {"local": LocalStorageAdapter, "minio": MinioStorageAdapter}
Config = Path | str | Mapping[str, Any] | None


class StorageManager:
    """Finds the adapter of a content type and company, and offers the adapters' verbs with both as arguments.

    Args:
        storage_root: directory of the catalog and of local objects, `storage` when not given.
        config: a `storage_config.json` or its content; not given: the file at `storage_config.json` or
            `config/storage_config.json`, else everything is local.
        client: use this one instead of an engine of its own; `config` then only names the content types.
        companies: the client of each company, where `client` cannot act for others.

    Nothing is opened before the first verb. Close it, or use it in an `async with`. Belongs to one event loop.
    """

    def __init__(
        self,
        storage_root: Path | str | None = None,
        *,
        config: Config = None,
        client: AsyncClient | None = None,
        companies: Mapping[str, AsyncClient] | None = None,
    ) -> None:
        self.storage_root = Path(storage_root or "storage")
        self._source = config
        self._given = client
        self._companies = companies or {}
        self._places = Places()
        self._adapters: dict[tuple[str, str], BucketAdapter] = {}
        self._closing: list[Held] = []
        self.config, self._public_url, self._held = self._described()

    async def close(self) -> None:
        """Close the engine if it was opened here."""
        for held in (*self._closing, self._held):
            await held.close()
        self._closing.clear()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # -- adapters -----------------------------------------------------------------------------------------------
    def get_adapter(self, content_type: str) -> BucketAdapter:
        """Return the adapter of a content type.

        Raises:
            InvalidRequestError: there is no such content type.
            ConfigError: it belongs on a drive that has no token. UnsupportedError: on one without a driver.
        """
        return self._adapter("", content_type)

    def get_company_adapter(self, company_id: str, content_type: str) -> BucketAdapter:
        """Return the adapter of a content type of a company; raises what `get_adapter` does."""
        return self._adapter(company_id, content_type)

    def get_adapter_for_content(self, company_id: str | None, content_type: str) -> BucketAdapter:
        """Return the adapter of a company, or where none is given that of everybody."""
        return self._adapter(company_id or "", content_type)

    def get_storage_type_for_content(self, company_id: str | None, content_type: str) -> str:
        """Return where a content type belongs: `local`, `minio`, `yandex_disk`, or `holdfast`: the service decides."""
        if self._given is not None or not self._embedded:
            self.config.bucket(content_type)
            return BucketAdapter.storage_type
        return self.config.storage_type(content_type, company_id or "")

    def get_storage_info(self) -> dict[str, Any]:
        """Return every content type with its storage type, and what is in the way where there is something."""
        info: dict[str, dict[str, str]] = {}
        for content_type in self.config.buckets:
            kind = self.get_storage_type_for_content(None, content_type)
            wrong = self.config.obstacle(content_type)
            info[content_type] = {"storage_type": kind, "bucket": self.config.bucket(content_type)}
            if wrong is None:
                info[content_type]["adapter_type"] = _ADAPTERS.get(kind, BucketAdapter).__name__
            else:
                info[content_type]["error"] = wrong.message
        return {"content_types": info, "global": {"storage_root": str(self.storage_root)}}

    def reinitialize_adapters(self) -> None:
        """Read the configuration again. Adapters that were handed out go on as they were, until `close`."""
        config, public_url, held = self._described()
        self._closing.append(self._held)
        self.config, self._public_url, self._held = config, public_url, held
        self.clear_caches()

    def clear_company_cache(self, company_id: str | None = None) -> None:
        """Forget the adapters of one company, or of all."""
        for company, content_type in list(self._adapters):
            if company and company_id in (None, company):
                del self._adapters[company, content_type]

    def clear_caches(self) -> None:
        """Forget all adapters and which buckets were seen; nothing that is stored is touched."""
        self._adapters.clear()
        self._places = Places()

    # -- verbs --------------------------------------------------------------------------------------------------
    async def save_file(
        self,
        file_data: Source,
        file_path: str,
        content_type: str = "portraits",
        *,
        company_id: str | None = None,
    ) -> str:
        """Store bytes, a `Path`, or an open file, replacing what is there; return its public URL."""
        return await self._adapter(company_id or "", content_type).save_file(file_data, file_path)

    async def get_file(
        self, file_path: str, content_type: str = "portraits", *, company_id: str | None = None
    ) -> bytes:
        """Return a file (of at most 1 GiB); `NotFoundError` when there is none."""
        return await self._adapter(company_id or "", content_type).get_file(file_path)

    async def delete_file(
        self, file_path: str, content_type: str = "portraits", *, company_id: str | None = None
    ) -> bool:
        """Remove a file; return whether there was one."""
        return await self._adapter(company_id or "", content_type).delete_file(file_path)

    async def file_exists(
        self, file_path: str, content_type: str = "portraits", *, company_id: str | None = None
    ) -> bool:
        """Return whether there is a file."""
        return await self._adapter(company_id or "", content_type).file_exists(file_path)

    def get_public_url(
        self, file_path: str, content_type: str = "portraits", *, company_id: str | None = None
    ) -> str:
        """Return the lasting address of a file; see `BucketAdapter.get_public_url`."""
        return self._adapter(company_id or "", content_type).get_public_url(file_path)

    def get_public_url_for_company(
        self, company_id: str | None, file_path: str, content_type: str = "portraits"
    ) -> str:
        """Return the lasting address of a company's file."""
        return self.get_public_url(file_path, content_type, company_id=company_id)

    async def create_directory(
        self, dir_path: str, content_type: str = "portraits", *, company_id: str | None = None
    ) -> bool:
        """Make a folder; return True, also when it was there."""
        return await self._adapter(company_id or "", content_type).create_directory(dir_path)

    async def directory_exists(
        self, dir_path: str, content_type: str = "portraits", *, company_id: str | None = None
    ) -> bool:
        """Return whether there is a folder."""
        return await self._adapter(company_id or "", content_type).directory_exists(dir_path)

    async def list_directories(
        self, base_path: str = "", content_type: str = "portraits", *, company_id: str | None = None
    ) -> list[str]:
        """Return the names of the folders directly in a folder."""
        return await self._adapter(company_id or "", content_type).list_directories(base_path)

    # -- companies ----------------------------------------------------------------------------------------------
    async def provision_company_storage(
        self, company_id: str, category_slugs: Sequence[str], subfolders: Sequence[str] | None = None
    ) -> dict[str, Any]:
        """Make the folders `category/subfolder` of a company in every content type, as far as they are missing.

        An engine of this manager's own also makes the company (a tenant); at a server it must be there. Without
        `subfolders`: those of the time before, at first `Image`, `QR`, `nft_markers` and `nft_cache`.

        Raises:
            NotFoundError: there is no such company. ConfigError, UnsupportedError: a content type belongs on a drive
                that cannot be used; nothing was made then.
        """
        buckets = [self._adapter(company_id, name).bucket_name for name in self.config.buckets]
        client = await self._client_of(company_id)()
        if self._given is None and isinstance(client, EmbeddedClient):
            await client.create_tenant(company_id)
        made = await client.provision(buckets, category_slugs, subfolders)
        return {
            "success": made.whole,
            "company_id": company_id,
            "categories": list(made.categories),
            "subfolders": list(made.subfolders),
            "content_types": list(self.config.buckets),
            "created_paths": list(made.folders_made),
            "existing_paths": made.folders_there,
            "failed_stores": {name: told.trouble for name, told in made.stores.items() if told.trouble},
        }

    # -----------------------------------------------------------------------------------------------------------
    def _adapter(self, company: str, content_type: str) -> BucketAdapter:
        found = self._adapters.get((company, content_type))
        if found is None:
            kind = self.get_storage_type_for_content(company, content_type)
            wrong = self.config.obstacle(content_type, company) if self._embedded else None
            if wrong is not None:
                raise wrong
            found = self._adapters[company, content_type] = _ADAPTERS.get(kind, BucketAdapter)(
                self._client_of(company),
                self.config.bucket(content_type),
                public_url=self._public_url,
                company=company,
                places=self._places,
            )
        return found

    def _client_of(self, company: str) -> Callable[[], Awaitable[AsyncClient]]:
        held, own = self._held, self._companies.get(company)

        async def connect() -> AsyncClient:
            if own is not None:
                return own
            client = await held()
            return client.for_tenant(company) if company else client

        return connect

    def _described(self) -> tuple[StorageConfig, str, Held]:
        """Return what the configuration says now, and a client that is not opened yet."""
        config = storage_config.read(self._source, self.storage_root)
        if self._given is not None:
            return config, self._given.public_url, Held(self._given, opening.opener)
        settings = settings_for(self.storage_root, config.values)
        return config, settings.public_url, Held(None, lambda: opening.opener(settings=settings))

    @property
    def _embedded(self) -> bool:
        return self._given is None
