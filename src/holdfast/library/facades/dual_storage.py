"""Two stores behind one client: weights, checkpoints and schemas near, datasets far.

Which bucket lies in which store is a matter of rules, not of this client: the variables `INTERNAL_…` and `EXTERNAL_…`
(or the single store of before, see the guide) make the stores and the rules when the client is first used.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from holdfast.config import Settings, load
from holdfast.config.near_far import SIDES
from holdfast.core.errors import ConfigError, NotFoundError, PermissionDeniedError
from holdfast.core.types import Version
from holdfast.library import opening
from holdfast.library.client import AsyncClient
from holdfast.library.facades.holding import Held, Places, Runner
from holdfast.library.files import local_errors
from holdfast.library.source import Source
from holdfast.library.sync import Client

_USUAL: Final = {name: usual for side in SIDES for name, usual in side.buckets}
_BINARY: Final = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class DualBuckets:
    """What the buckets are called."""

    weights: str = _USUAL["INTERNAL_BUCKET_WEIGHTS"]
    checkpoints: str = _USUAL["INTERNAL_BUCKET_CHECKPOINTS"]
    schemas: str = _USUAL["INTERNAL_BUCKET_SCHEMAS"]
    datasets: str = _USUAL["EXTERNAL_BUCKET_DATASETS"]

    @classmethod
    def named_by(cls, environ: Mapping[str, str]) -> Self:
        """Return the names that the variables give, the usual ones where they give none."""

        def name(variable: str) -> str:
            return environ.get(variable, "").strip() or _USUAL[variable]

        return cls(
            name("INTERNAL_BUCKET_WEIGHTS"),
            name("INTERNAL_BUCKET_CHECKPOINTS"),
            name("INTERNAL_BUCKET_SCHEMAS"),
            name("EXTERNAL_BUCKET_DATASETS"),
        )


class AsyncDualStorageClient:
    """The methods of `DualStorageClient` as coroutines; takes an `AsyncClient`. Belongs to one event loop."""

    def __init__(
        self,
        client: AsyncClient | None = None,
        *,
        settings: Settings | None = None,
        buckets: DualBuckets | None = None,
    ) -> None:
        self._held = Held(client, lambda: _opener(settings))
        self._buckets = buckets
        self._places = Places()

    @property
    def buckets(self) -> DualBuckets:
        """What the buckets are called: as given, else as the variables say."""
        return self._buckets or DualBuckets.named_by(os.environ)

    async def close(self) -> None:
        """Close the client if it was opened here."""
        await self._held.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # -- near ---------------------------------------------------------------------------------------------------
    async def upload_weight(
        self, file_path: Path | str, weight_key: str, content_type: str = _BINARY
    ) -> Version:
        """Store a file of weights and return what was stored."""
        return await self._send(self.buckets.weights, weight_key, file_path, content_type)

    async def download_weight(self, weight_key: str, dest_path: Path | str) -> Version:
        """Write weights to a file, whole and verified or not at all; folders above it are made."""
        return await self._fetch(self.buckets.weights, weight_key, dest_path)

    async def upload_checkpoint(self, file_path: Path | str, checkpoint_key: str) -> Version:
        """Store a checkpoint and return what was stored."""
        return await self._send(self.buckets.checkpoints, checkpoint_key, file_path, _BINARY)

    async def download_checkpoint(self, checkpoint_key: str, dest_path: Path | str) -> Version:
        """Write a checkpoint to a file, whole and verified or not at all; folders above it are made."""
        return await self._fetch(self.buckets.checkpoints, checkpoint_key, dest_path)

    async def get_schema(self, framework: str) -> bytes:
        """Return the schema of a framework: `schemas/NAME.json`, or `NAME.json` where that is all there is.

        Raises:
            NotFoundError: there is neither.
        """
        client = await self._held()
        try:
            return await client.get(self.buckets.schemas, _schema(framework))
        except NotFoundError as missing:
            try:
                return await client.get(self.buckets.schemas, f"{framework}.json")
            except NotFoundError:
                raise missing from None

    async def upload_schema(self, schema_data: bytes, framework: str) -> Version:
        """Store the schema of a framework under `schemas/NAME.json` and return what was stored."""
        return await self._put(self.buckets.schemas, _schema(framework), schema_data, "application/json")

    async def generate_weight_presigned_url(self, weight_key: str, expiration: int = 3600) -> str:
        """Refused: what is internal has no URL."""
        raise _internal("weights", "download_weight")

    async def generate_checkpoint_presigned_url(self, checkpoint_key: str, expiration: int = 3600) -> str:
        """Refused: what is internal has no URL."""
        raise _internal("checkpoints", "download_checkpoint")

    # -- far ----------------------------------------------------------------------------------------------------
    async def upload_dataset(
        self, file_obj: Source, dataset_key: str, content_type: str = "application/zip"
    ) -> Version:
        """Store a dataset read from an open binary file, a `Path`, or bytes; memory stays flat."""
        return await self._put(self.buckets.datasets, dataset_key, file_obj, content_type)

    async def download_dataset(self, dataset_key: str, dest_path: Path | str) -> Version:
        """Write a dataset to a file, whole and verified or not at all; folders above it are made."""
        return await self._fetch(self.buckets.datasets, dataset_key, dest_path)

    async def generate_dataset_presigned_url(self, dataset_key: str, expiration: int = 3600) -> str:
        """Return a URL by which a browser reads the dataset for `expiration` seconds (at most 7 days).

        It is signed now, not when the dataset was stored: by the service where there is one (`public_url`), else by
        the external store itself, for the address by which it is known outside.

        Raises:
            NotFoundError: there is no such dataset. ConfigError: it does not lie in an external store.
        """
        client = await self._held()
        await client.head(self.buckets.datasets, dataset_key)
        return (await client.presign(self.buckets.datasets, dataset_key, expires_in=expiration)).url

    async def list_datasets(self, prefix: str = "datasets/") -> list[str]:
        """Return the keys of all datasets that start with `prefix`, however many, in byte order."""
        client = await self._held()
        try:
            return [item.ref.key async for item in client.list(self.buckets.datasets, prefix=prefix)]
        except NotFoundError:  # the bucket is made with the first dataset
            return []

    # -----------------------------------------------------------------------------------------------------------
    async def _send(self, bucket: str, key: str, path: Path | str, content_type: str) -> Version:
        client = await self._held()
        await self._places.ensure(client, bucket)
        return await client.put_file(bucket, key, path, content_type=content_type)

    async def _put(self, bucket: str, key: str, data: Source, content_type: str) -> Version:
        if isinstance(data, Path):
            return await self._send(bucket, key, data, content_type)
        client = await self._held()
        await self._places.ensure(client, bucket)
        return await client.put(bucket, key, data, content_type=content_type)

    async def _fetch(self, bucket: str, key: str, path: Path | str) -> Version:
        client, target = await self._held(), Path(path)
        await client.head(bucket, key)
        with local_errors(target.parent, "make"):
            target.parent.mkdir(parents=True, exist_ok=True)
        return await client.get_file(bucket, key, target)


class DualStorageClient:
    """Weights, checkpoints and schemas in the internal store, datasets in the external one. Safe for many threads.

    Without a `client` (or `settings`) the environment says where the stores are when the first method is called:
    `HOLDFAST_SERVER` names a service, else `INTERNAL_…` and `EXTERNAL_…` (or the variables of before), else
    `holdfast.toml`. Every failure is an error of `holdfast.core.errors`; uploads and downloads return the `Version`.
    """

    def __init__(
        self,
        client: Client | None = None,
        *,
        settings: Settings | None = None,
        buckets: DualBuckets | None = None,
    ) -> None:
        self.aio = AsyncDualStorageClient(
            None if client is None else client.aio, settings=settings, buckets=buckets
        )
        self._run = Runner(client, self.aio.close)

    @property
    def buckets(self) -> DualBuckets:
        """What the buckets are called: as given, else as the variables say."""
        return self.aio.buckets

    def close(self) -> None:
        """Close the client if it was opened here; the next call opens another one."""
        self._run.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def upload_weight(self, file_path: Path | str, weight_key: str, content_type: str = _BINARY) -> Version:
        """Store a file of weights and return what was stored."""
        return self._run(self.aio.upload_weight(file_path, weight_key, content_type))

    def download_weight(self, weight_key: str, dest_path: Path | str) -> Version:
        """Write weights to a file, whole and verified or not at all; folders above it are made."""
        return self._run(self.aio.download_weight(weight_key, dest_path))

    def upload_checkpoint(self, file_path: Path | str, checkpoint_key: str) -> Version:
        """Store a checkpoint and return what was stored."""
        return self._run(self.aio.upload_checkpoint(file_path, checkpoint_key))

    def download_checkpoint(self, checkpoint_key: str, dest_path: Path | str) -> Version:
        """Write a checkpoint to a file, whole and verified or not at all; folders above it are made."""
        return self._run(self.aio.download_checkpoint(checkpoint_key, dest_path))

    def get_schema(self, framework: str) -> bytes:
        """Return the schema of a framework; `NotFoundError` when there is none."""
        return self._run(self.aio.get_schema(framework))

    def upload_schema(self, schema_data: bytes, framework: str) -> Version:
        """Store the schema of a framework under `schemas/NAME.json` and return what was stored."""
        return self._run(self.aio.upload_schema(schema_data, framework))

    def generate_weight_presigned_url(self, weight_key: str, expiration: int = 3600) -> str:
        """Refused: what is internal has no URL."""
        raise _internal("weights", "download_weight")

    def generate_checkpoint_presigned_url(self, checkpoint_key: str, expiration: int = 3600) -> str:
        """Refused: what is internal has no URL."""
        raise _internal("checkpoints", "download_checkpoint")

    def upload_dataset(
        self, file_obj: Source, dataset_key: str, content_type: str = "application/zip"
    ) -> Version:
        """Store a dataset read from an open binary file, a `Path`, or bytes; memory stays flat."""
        return self._run(self.aio.upload_dataset(file_obj, dataset_key, content_type))

    def download_dataset(self, dataset_key: str, dest_path: Path | str) -> Version:
        """Write a dataset to a file, whole and verified or not at all; folders above it are made."""
        return self._run(self.aio.download_dataset(dataset_key, dest_path))

    def generate_dataset_presigned_url(self, dataset_key: str, expiration: int = 3600) -> str:
        """Return a URL by which a browser reads the dataset; see `AsyncDualStorageClient`."""
        return self._run(self.aio.generate_dataset_presigned_url(dataset_key, expiration))

    def list_datasets(self, prefix: str = "datasets/") -> list[str]:
        """Return the keys of all datasets that start with `prefix`, however many, in byte order."""
        return self._run(self.aio.list_datasets(prefix))


def _opener(settings: Settings | None) -> opening.Opener:
    """Return how to open what the environment describes; never a store that nobody asked for."""
    if settings is None and not os.environ.get("HOLDFAST_SERVER"):
        settings = load(os.environ.get("HOLDFAST_CONFIG") or None)
        if not settings.stores:
            raise ConfigError(
                "no storage is configured: set INTERNAL_STORAGE_ENDPOINT and EXTERNAL_STORAGE_ENDPOINT (each with"
                " _ACCESS_KEY and _SECRET_KEY), or AWS_S3_ENDPOINT_URL and S3_BUCKET_DATASETS, or HOLDFAST_SERVER"
            )
    found = opening.opener(settings=settings)
    if settings is None or not settings.buckets:
        return found
    buckets = settings.buckets

    async def opened() -> AsyncClient:
        """Open the engine, and make its buckets as a service makes them at its start."""
        client, places = await found(), Places()
        try:
            for bucket in buckets:
                await places.ensure(client, bucket)
        except BaseException:
            await client.close()
            raise
        return client

    return opened


def _schema(framework: str) -> str:
    return f"schemas/{framework}.json"


def _internal(what: str, instead: str) -> PermissionDeniedError:
    return PermissionDeniedError(f"{what} are internal: no URL leads to them; use {instead}")
