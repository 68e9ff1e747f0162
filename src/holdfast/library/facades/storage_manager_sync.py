"""The storage manager and its adapters for callers without an event loop."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from holdfast.core.types import Version
from holdfast.library.facades.holding import Runner
from holdfast.library.facades.storage_adapter import BucketAdapter
from holdfast.library.facades.storage_manager import Config, StorageManager
from holdfast.library.source import Source
from holdfast.library.sync import Client


class SyncStorageAdapter:
    """The verbs of one adapter, without `await`; see `StorageAdapter`."""

    def __init__(self, run: Runner, adapter: BucketAdapter) -> None:
        self._run = run
        self.aio = adapter  #: the adapter underneath

    @property
    def storage_type(self) -> str:
        """`local`, `minio`, or `holdfast`: the service decides."""
        return self.aio.storage_type

    @property
    def bucket_name(self) -> str:
        """The bucket that holds its files."""
        return self.aio.bucket_name

    def save_file(self, file_data: Source, file_path: str) -> str:
        """Store bytes, a `Path`, or an open file, replacing what is there; return its public URL."""
        return self._run(self.aio.save_file(file_data, file_path))

    def get_file(self, file_path: str) -> bytes:
        """Return a file (of at most 1 GiB); `NotFoundError` when there is none."""
        return self._run(self.aio.get_file(file_path))

    def get_file_to(self, file_path: str, dest_path: Path | str) -> Version:
        """Write a file of any size to `dest_path`, whole and verified or not at all."""
        return self._run(self.aio.get_file_to(file_path, dest_path))

    def delete_file(self, file_path: str) -> bool:
        """Remove a file; return whether there was one."""
        return self._run(self.aio.delete_file(file_path))

    def file_exists(self, file_path: str) -> bool:
        """Return whether there is a file."""
        return self._run(self.aio.file_exists(file_path))

    def get_public_url(self, file_path: str) -> str:
        """Return the lasting address of a file; see `BucketAdapter.get_public_url`."""
        return self.aio.get_public_url(file_path)

    def get_signed_url(self, file_path: str, expires_in: float = 3600) -> str:
        """Return a URL by which anybody reads the file for `expires_in` seconds."""
        return self._run(self.aio.get_signed_url(file_path, expires_in))

    def create_directory(self, dir_path: str) -> bool:
        """Make a folder; return True, also when it was there."""
        return self._run(self.aio.create_directory(dir_path))

    def directory_exists(self, dir_path: str) -> bool:
        """Return whether there is a folder."""
        return self._run(self.aio.directory_exists(dir_path))

    def list_directories(self, base_path: str = "") -> list[str]:
        """Return the names of the folders directly in a folder."""
        return self._run(self.aio.list_directories(base_path))

    def provision_hierarchy(
        self, company_slug: str, category_slugs: Sequence[str], subfolders: Sequence[str]
    ) -> dict[str, Any]:
        """Make `company/category/subfolder` for each combination; see `StorageAdapter.provision_hierarchy`."""
        return self._run(self.aio.provision_hierarchy(company_slug, category_slugs, subfolders))


class SyncStorageManager:
    """The methods of `StorageManager`, without `await`. Safe for many threads.

    `client` is a `Client`. With a server it acts for the tenant of its token; make a manager for each company.
    """

    def __init__(
        self,
        storage_root: Path | str | None = None,
        *,
        config: Config = None,
        client: Client | None = None,
    ) -> None:
        self.aio = StorageManager(storage_root, config=config, client=None if client is None else client.aio)
        self._run = Runner(client, self.aio.close, once=True)

    def close(self) -> None:
        """Close the engine if it was opened here; every later call is refused with `InvalidRequestError`."""
        self._run.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- adapters -----------------------------------------------------------------------------------------------
    def get_adapter(self, content_type: str) -> SyncStorageAdapter:
        """Return the adapter of a content type; raises what `StorageManager.get_adapter` does."""
        return SyncStorageAdapter(self._run, self.aio.get_adapter(content_type))

    def get_company_adapter(self, company_id: str, content_type: str) -> SyncStorageAdapter:
        """Return the adapter of a content type of a company."""
        return SyncStorageAdapter(self._run, self.aio.get_company_adapter(company_id, content_type))

    def get_adapter_for_content(self, company_id: str | None, content_type: str) -> SyncStorageAdapter:
        """Return the adapter of a company, or where none is given that of everybody."""
        return SyncStorageAdapter(self._run, self.aio.get_adapter_for_content(company_id, content_type))

    def get_storage_type_for_content(self, company_id: str | None, content_type: str) -> str:
        """Return where a content type belongs; see `StorageManager`."""
        return self.aio.get_storage_type_for_content(company_id, content_type)

    def get_storage_info(self) -> dict[str, Any]:
        """Return every content type with its storage type, and what is in the way where there is something."""
        return self.aio.get_storage_info()

    def reinitialize_adapters(self) -> None:
        """Read the configuration again. Adapters that were handed out go on as they were, until `close`."""
        self.aio.reinitialize_adapters()

    def clear_company_cache(self, company_id: str | None = None) -> None:
        """Forget the adapters of one company, or of all."""
        self.aio.clear_company_cache(company_id)

    def clear_caches(self) -> None:
        """Forget all adapters and which buckets were seen; nothing that is stored is touched."""
        self.aio.clear_caches()

    # -- verbs --------------------------------------------------------------------------------------------------
    def save_file(
        self,
        file_data: Source,
        file_path: str,
        content_type: str = "portraits",
        *,
        company_id: str | None = None,
    ) -> str:
        """Store bytes, a `Path`, or an open file, replacing what is there; return its public URL."""
        return self._run(self.aio.save_file(file_data, file_path, content_type, company_id=company_id))

    def get_file(
        self, file_path: str, content_type: str = "portraits", *, company_id: str | None = None
    ) -> bytes:
        """Return a file (of at most 1 GiB); `NotFoundError` when there is none."""
        return self._run(self.aio.get_file(file_path, content_type, company_id=company_id))

    def delete_file(
        self, file_path: str, content_type: str = "portraits", *, company_id: str | None = None
    ) -> bool:
        """Remove a file; return whether there was one."""
        return self._run(self.aio.delete_file(file_path, content_type, company_id=company_id))

    def file_exists(
        self, file_path: str, content_type: str = "portraits", *, company_id: str | None = None
    ) -> bool:
        """Return whether there is a file."""
        return self._run(self.aio.file_exists(file_path, content_type, company_id=company_id))

    def get_public_url(
        self, file_path: str, content_type: str = "portraits", *, company_id: str | None = None
    ) -> str:
        """Return the lasting address of a file; see `BucketAdapter.get_public_url`."""
        return self.aio.get_public_url(file_path, content_type, company_id=company_id)

    def get_public_url_for_company(
        self, company_id: str | None, file_path: str, content_type: str = "portraits"
    ) -> str:
        """Return the lasting address of a company's file."""
        return self.aio.get_public_url_for_company(company_id, file_path, content_type)

    def create_directory(
        self, dir_path: str, content_type: str = "portraits", *, company_id: str | None = None
    ) -> bool:
        """Make a folder; return True, also when it was there."""
        return self._run(self.aio.create_directory(dir_path, content_type, company_id=company_id))

    def directory_exists(
        self, dir_path: str, content_type: str = "portraits", *, company_id: str | None = None
    ) -> bool:
        """Return whether there is a folder."""
        return self._run(self.aio.directory_exists(dir_path, content_type, company_id=company_id))

    def list_directories(
        self, base_path: str = "", content_type: str = "portraits", *, company_id: str | None = None
    ) -> list[str]:
        """Return the names of the folders directly in a folder."""
        return self._run(self.aio.list_directories(base_path, content_type, company_id=company_id))

    def provision_company_storage(
        self, company_id: str, category_slugs: Sequence[str], subfolders: Sequence[str] | None = None
    ) -> dict[str, Any]:
        """Make the folders of a company in every content type; see `StorageManager`."""
        return self._run(self.aio.provision_company_storage(company_id, category_slugs, subfolders))
