"""Stores, and the same under the names of an older service."""

from __future__ import annotations

from typing import Any, Final

from holdfast.api import storages, stores
from holdfast.api import store_models as models
from holdfast.api.routing import Route

_ALL: Final = "/api/v1/stores"
_ONE: Final = _ALL + "/{store}"
_OLD: Final = "/api/v1/storages"
_SAID: Final[dict[int, Any]] = {200: models.StoreInfo}

STORES: Final = (
    Route("GET", _ALL, stores.list_stores, "List stores", answers={200: models.StoreList}),
    Route("POST", _ALL, stores.create_store, "Make a store", (), models.NewStore, {201: models.StoreInfo}),
    Route(
        "POST",
        _ALL + "/rewrap",
        stores.rewrap,
        "Seal all secrets with the newest key",
        answers={200: models.RewrapList},
    ),
    Route("GET", _ONE, stores.show_store, "Show a store", answers=_SAID),
    Route("PATCH", _ONE, stores.update_store, "Change a store", (), models.StoreChange, _SAID),
    Route("DELETE", _ONE, stores.retire_store, "Retire a store", answers={204: None}),
    Route("POST", _ONE + "/test", stores.test_store, "Test a store", answers=_SAID),
    Route("POST", _ONE + "/activate", stores.activate_store, "Let a store take objects", answers=_SAID),
    Route(
        "POST", _ONE + "/deactivate", stores.deactivate_store, "Let a store take no objects", answers=_SAID
    ),
    Route("PUT", _ONE + "/state", stores.set_state, "Set a store's state", (), models.StateChange, _SAID),
    Route(
        "GET",
        "/api/v1/storage-options",
        stores.show_options,
        "What stores can be made of",
        answers={200: models.StoreOptions},
    ),
)

STORAGES: Final = (
    Route("GET", _OLD, storages.list_storages, "List connections", answers={200: storages.Storages}),
    Route(
        "POST",
        _OLD,
        storages.create_storage,
        "Make a connection",
        (),
        storages.NewStorage,
        {201: storages.StorageInfo},
    ),
    Route(
        "POST",
        _OLD + "/test",
        storages.test_storage,
        "Test a connection",
        (),
        storages.StorageTest,
        {200: storages.StorageTested},
    ),
    Route(
        "PUT",
        _OLD + "/{storage_id}",
        storages.update_storage,
        "Change a connection",
        (),
        storages.StorageChange,
        {200: storages.StorageInfo},
    ),
    Route(
        "DELETE", _OLD + "/{storage_id}", storages.delete_storage, "Remove a connection", answers={204: None}
    ),
)
