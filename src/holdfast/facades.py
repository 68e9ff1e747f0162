"""Short names for the facades: classes in the shape of other storage libraries. See `holdfast.library.facades`.

>>> from holdfast.facades import ObjectStorageFactory
>>> with ObjectStorageFactory.ObjectStorageServiceFS(folder / "storage") as storage:
...     storage.put_object("reports", "may.txt", b"sunny")
...     storage.list_objects("reports")
['reports/may.txt']
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from holdfast.library.facades.dual_storage import AsyncDualStorageClient, DualBuckets, DualStorageClient
from holdfast.library.facades.object_factory import (
    ObjectStorageFactory,
    ObjectStorageSecondaryAdapterFS,
    ObjectStorageSecondaryAdapterNaas,
    ObjectStorageSecondaryAdapterS3,
)
from holdfast.library.facades.object_storage import (
    AsyncObjectStorage,
    IObjectStorageAdapter,
    IObjectStorageDomain,
    ObjectStorageAdapter,
    ObjectStorageService,
)
from holdfast.library.facades.storage_adapter import (
    BucketAdapter,
    LocalStorageAdapter,
    MinioStorageAdapter,
    StorageAdapter,
)
from holdfast.library.facades.storage_manager import StorageManager
from holdfast.library.facades.storage_manager_sync import SyncStorageAdapter, SyncStorageManager

if TYPE_CHECKING:
    dual_storage: DualStorageClient

__all__ = [
    "AsyncDualStorageClient",
    "AsyncObjectStorage",
    "BucketAdapter",
    "DualBuckets",
    "DualStorageClient",
    "IObjectStorageAdapter",
    "IObjectStorageDomain",
    "LocalStorageAdapter",
    "MinioStorageAdapter",
    "ObjectStorageAdapter",
    "ObjectStorageFactory",
    "ObjectStorageSecondaryAdapterFS",
    "ObjectStorageSecondaryAdapterNaas",
    "ObjectStorageSecondaryAdapterS3",
    "ObjectStorageService",
    "StorageAdapter",
    "StorageManager",
    "SyncStorageAdapter",
    "SyncStorageManager",
    "dual_storage",
]


def __getattr__(name: str) -> Any:
    """Return `dual_storage`, the client of this process; it opens what the environment describes when it is used."""
    if name == "dual_storage":
        found = globals()[name] = DualStorageClient()
        return found
    raise AttributeError(f"module 'holdfast.facades' has no attribute {name!r}")
