"""Object storage services for the usual places: a directory, a bucket of an S3 server, a service of Holdfast."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, Final

from holdfast.config import naas
from holdfast.core.errors import NotFoundError
from holdfast.library import opening
from holdfast.library.facades.object_storage import ObjectStorageAdapter, ObjectStorageService
from holdfast.library.facades.own_engine import settings_for
from holdfast.library.sync import Client

BUCKET: Final = "objects"  #: the bucket of the engine that holds them


class ObjectStorageSecondaryAdapterFS(ObjectStorageAdapter):
    """Objects in a directory, which holds the catalog and the contents (as `holdfast.open(base_path)` keeps them)."""

    def __init__(self, base_path: str | os.PathLike[str], *, bucket: str = BUCKET) -> None:
        self.base_path = os.fspath(base_path)
        super().__init__(None, bucket, find=lambda: opening.opener(settings=settings_for(base_path, {})))


class ObjectStorageSecondaryAdapterS3(ObjectStorageAdapter):
    """Objects in a bucket of an S3 server, below `base_prefix`; what else is in that bucket stays untouched.

    Args:
        endpoint_url: of a server other than AWS.
        data: directory of the catalog; one for each server, bucket and prefix below `holdfast-data` when not given.
        catalog: URL of a PostgreSQL database instead, where several machines are to see the same objects.
        store: further settings of the S3 store.
    """

    def __init__(
        self,
        bucket_name: str,
        access_key_id: str,
        secret_access_key: str,
        base_prefix: str = "",
        session_token: str | None = None,
        endpoint_url: str | None = None,
        *,
        region_name: str = "us-east-1",
        data: str | os.PathLike[str] | None = None,
        catalog: str = "",
        **store: Any,
    ) -> None:
        self.bucket_name = bucket_name
        self.base_prefix = base_prefix.strip("/")
        described = {
            "driver": "s3",
            "endpoint": endpoint_url or "",
            "allow_http": (endpoint_url or "").startswith("http://"),
            "bucket": bucket_name,
            "prefix": self.base_prefix,
            "region": region_name,
            "access_key": access_key_id,
            "secret_key": secret_access_key,
            "session_token": session_token or "",
            **store,
        }
        place = "\n".join((endpoint_url or region_name, bucket_name, self.base_prefix))
        own = Path("holdfast-data", f"s3-{hashlib.sha256(place.encode()).hexdigest()[:16]}")
        placement = {"stores": ("s3",), "inline": 0}  # all of it in that bucket, also what is small
        wanted = {"stores": {"s3": described}, "placement": placement, "catalog": catalog}
        settings = settings_for(data or own, wanted)
        super().__init__(None, BUCKET, find=lambda: opening.opener(settings=settings))


class ObjectStorageSecondaryAdapterNaas(ObjectStorageAdapter):
    """Objects in a storage of a Naas workspace, below `base_prefix`; what else is in that storage stays untouched.

    Keys for its S3 bucket are fetched with the first call, and again before they end.

    Args:
        data: directory of the catalog; one for each workspace, storage and prefix below `holdfast-data` when not given.
        catalog: URL of a PostgreSQL database instead, where several machines are to see the same objects.
        store: further settings of the Naas store, such as `s3_endpoint` and `api_base`; variables (`NAAS_…_URL`) else.
    """

    def __init__(
        self,
        naas_api_key: str,
        workspace_id: str,
        storage_name: str,
        base_prefix: str = "",
        *,
        data: str | os.PathLike[str] | None = None,
        catalog: str = "",
        **store: Any,
    ) -> None:
        self.workspace_id, self.storage_name = workspace_id, storage_name
        self.base_prefix = base_prefix.strip("/")
        described = {
            "driver": "naas",
            "api_key": naas_api_key,
            "workspace_id": workspace_id,
            "storage_name": storage_name,
            "prefix": self.base_prefix,
            **naas.addresses(os.environ),
            **store,
        }
        place = "\n".join((workspace_id, storage_name, self.base_prefix))
        own = Path("holdfast-data", f"naas-{hashlib.sha256(place.encode()).hexdigest()[:16]}")
        wanted = {
            "stores": {"naas": described},
            "placement": {"stores": ("naas",), "inline": 0},  # all of it there, also what is small
            "catalog": catalog,
        }
        settings = settings_for(data or own, wanted)
        super().__init__(None, BUCKET, find=lambda: opening.opener(settings=settings))


class ObjectStorageFactory:
    """Makes object storage services. Close each, or use it in a `with`."""

    @staticmethod
    def ObjectStorageServiceFS(base_path: str | os.PathLike[str]) -> ObjectStorageService:
        """Return the service over a directory, which is made if it is not there."""
        return ObjectStorageService(ObjectStorageSecondaryAdapterFS(base_path))

    @staticmethod
    def ObjectStorageServiceFS__find_storage(needle: str = "storage") -> ObjectStorageService:
        """Return the service over the directory `needle` in the current directory, or the next one above that has it.

        Raises:
            NotFoundError: none has.
        """
        here = Path.cwd()
        for folder in (here, *here.parents):
            if (folder / needle).is_dir():
                return ObjectStorageFactory.ObjectStorageServiceFS(folder / needle)
        raise NotFoundError(f"there is no directory {needle!r} in {here} nor above it; make one")

    @staticmethod
    def ObjectStorageServiceS3(
        access_key_id: str,
        secret_access_key: str,
        bucket_name: str,
        base_prefix: str = "",
        session_token: str | None = None,
        **more: Any,
    ) -> ObjectStorageService:
        """Return the service over a bucket of an S3 server; `more` as `ObjectStorageSecondaryAdapterS3` takes it."""
        return ObjectStorageService(
            ObjectStorageSecondaryAdapterS3(
                bucket_name, access_key_id, secret_access_key, base_prefix, session_token, **more
            )
        )

    @staticmethod
    def ObjectStorageServiceNaas(
        naas_api_key: str, workspace_id: str, storage_name: str, base_prefix: str = "", **more: Any
    ) -> ObjectStorageService:
        """Return the service over a storage of Naas; `more` as `ObjectStorageSecondaryAdapterNaas` takes it."""
        return ObjectStorageService(
            ObjectStorageSecondaryAdapterNaas(naas_api_key, workspace_id, storage_name, base_prefix, **more)
        )

    @staticmethod
    def ObjectStorageServiceHoldfast(
        client: Client, bucket: str = BUCKET, base_prefix: str = ""
    ) -> ObjectStorageService:
        """Return the service over a bucket of a client, of a server or an engine; closing it leaves the client open."""
        return ObjectStorageService(ObjectStorageAdapter(client, bucket, base_prefix))
