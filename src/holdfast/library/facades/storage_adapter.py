"""Storage adapters: files under paths, in one bucket of the engine each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from holdfast.core.conditions import Preconditions
from holdfast.core.errors import NotFoundError, PreconditionFailedError
from holdfast.core.types import Version
from holdfast.library.client import AsyncClient
from holdfast.library.facades.holding import Places
from holdfast.library.source import Source

_THERE: Final = Preconditions(if_match=("*",))
_OBJECTS: Final = "/api/v1/objects/"


class StorageAdapter(ABC):
    """What an adapter can do. Paths are relative, with `/`; a leading one is dropped."""

    @abstractmethod
    async def save_file(self, file_data: Source, file_path: str) -> str:
        """Store bytes, a `Path`, or an open file under `file_path`, replacing what is there; return its public URL."""

    @abstractmethod
    async def get_file(self, file_path: str) -> bytes:
        """Return a file (of at most 1 GiB); `NotFoundError` when there is none."""

    @abstractmethod
    async def delete_file(self, file_path: str) -> bool:
        """Remove a file; return whether there was one."""

    @abstractmethod
    async def file_exists(self, file_path: str) -> bool:
        """Return whether there is a file."""

    @abstractmethod
    def get_public_url(self, file_path: str) -> str:
        """Return the lasting address of a file, whether it is there or not."""

    @abstractmethod
    async def create_directory(self, dir_path: str) -> bool:
        """Make a folder and those above it; return True, also when it was there."""

    @abstractmethod
    async def directory_exists(self, dir_path: str) -> bool:
        """Return whether there is a folder."""

    @abstractmethod
    async def list_directories(self, base_path: str = "") -> list[str]:
        """Return the names of the folders directly in a folder."""

    async def provision_hierarchy(
        self, company_slug: str, category_slugs: Sequence[str], subfolders: Sequence[str]
    ) -> dict[str, Any]:
        """Make `company/category/subfolder` for each combination, and return what is there then and what was made.

        Again, it makes nothing. The first error ends it and is raised; what was made until then stays.
        """
        made: list[str] = []
        hierarchy: dict[str, dict[str, Any]] = {}
        for category in category_slugs:
            base = f"{company_slug}/{category}"
            paths = [f"{base}/{name}" for name in subfolders]
            for path in (base, *paths):
                if not await self.directory_exists(path):
                    made.append(path)
                await self.create_directory(path)
            hierarchy[category] = {"base_path": base, "subfolders": paths}
        return {
            "success": True,
            "company_slug": company_slug,
            "created_paths": made,
            "failed_paths": [],
            "hierarchy": hierarchy,
        }


class BucketAdapter(StorageAdapter):
    """An adapter over one bucket of a client; which store is behind it is a matter of the rules.

    The bucket is made with its first file or folder. `company` is the tenant that the client acts for, "" for its own.
    """

    storage_type = "holdfast"

    def __init__(
        self,
        connect: Callable[[], Awaitable[AsyncClient]],
        bucket_name: str,
        *,
        public_url: str = "",
        company: str = "",
        places: Places | None = None,
    ) -> None:
        self._connect = connect
        self._public_url = public_url
        self._places = places or Places()
        self.bucket_name = bucket_name
        self.company = company

    async def save_file(self, file_data: Source, file_path: str) -> str:
        """See `StorageAdapter`."""
        client, key = await self._ready(), _key(file_path)
        if isinstance(file_data, Path):
            await client.put_file(self.bucket_name, key, file_data)
        else:
            await client.put(self.bucket_name, key, file_data)
        return self.get_public_url(file_path)

    async def get_file(self, file_path: str) -> bytes:
        """See `StorageAdapter`."""
        return await (await self._connect()).get(self.bucket_name, _key(file_path))

    async def get_file_to(self, file_path: str, dest_path: Path | str) -> Version:
        """Write a file of any size to `dest_path`, whole and verified or not at all."""
        return await (await self._connect()).get_file(self.bucket_name, _key(file_path), dest_path)

    async def delete_file(self, file_path: str) -> bool:
        """See `StorageAdapter`."""
        client = await self._connect()
        try:
            await client.delete(self.bucket_name, _key(file_path), conditions=_THERE)
        except (PreconditionFailedError, NotFoundError):
            return False
        return True

    async def file_exists(self, file_path: str) -> bool:
        """See `StorageAdapter`."""
        client = await self._connect()
        try:
            await client.head(self.bucket_name, _key(file_path))
        except NotFoundError:
            return False
        return True

    def get_public_url(self, file_path: str) -> str:
        """Return the lasting address: of the service, or from its root (`/api/…`) where no `public_url` is known.

        Everybody may read there what lies in a public bucket; for the rest a token is needed, or `get_signed_url`.
        """
        query = f"?{urlencode({'hf_tenant': self.company})}" if self.company else ""
        return f"{self._public_url}{_OBJECTS}{self.bucket_name}/{quote(_key(file_path), safe='/~')}{query}"

    async def get_signed_url(self, file_path: str, expires_in: float = 3600) -> str:
        """Return a URL by which anybody reads the file for `expires_in` seconds; see `AsyncClient.presign`."""
        client = await self._connect()
        return (await client.presign(self.bucket_name, _key(file_path), expires_in=expires_in)).url

    async def create_directory(self, dir_path: str) -> bool:
        """See `StorageAdapter`."""
        client = await self._ready()
        await client.create_directory(self.bucket_name, dir_path)
        return True

    async def directory_exists(self, dir_path: str) -> bool:
        """See `StorageAdapter`."""
        client = await self._connect()
        if not dir_path.strip("/"):
            return True
        try:
            return await client.directory_exists(self.bucket_name, dir_path)
        except NotFoundError:  # the bucket is made with the first file
            return False

    async def list_directories(self, base_path: str = "") -> list[str]:
        """See `StorageAdapter`."""
        client = await self._connect()
        try:
            return list(await client.list_directories(self.bucket_name, base_path))
        except NotFoundError:
            return []

    async def _ready(self) -> AsyncClient:
        client = await self._connect()
        await self._places.ensure(client, self.bucket_name, self.company)
        return client


class LocalStorageAdapter(BucketAdapter):
    """An adapter over a bucket whose rule sends it to the local disk."""

    storage_type = "local"


class MinioStorageAdapter(BucketAdapter):
    """An adapter over a bucket whose rule sends it to an S3 server."""

    storage_type = "minio"


def _key(path: str) -> str:
    return path.lstrip("/")
