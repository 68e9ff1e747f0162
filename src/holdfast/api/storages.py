"""Stores under the names that an older storage service gave them: connections of type `minio`, `local`…"""

from __future__ import annotations

from typing import Annotated, Any, Final

from msgspec import UNSET, Meta, Struct, UnsetType

from holdfast.api.body import MAX_JSON, small_body
from holdfast.api.exchange import Exchange
from holdfast.api.models import decode, encode
from holdfast.api.store_models import StoreName, Word, store_info
from holdfast.core.errors import InvalidRequestError
from holdfast.engine.connections import Connections
from holdfast.engine.known_stores import CATALOG, KnownStore
from holdfast.engine.trying import Trial

_DRIVERS: Final = {"minio": "s3", "aws_s3": "s3"}
Config = Annotated[
    dict[str, Any],
    Meta(description="settings of the type; for `minio` also `secure` and `host:port` as the endpoint"),
]


class NewStorage(Struct, frozen=True, forbid_unknown_fields=True):
    """A connection to be made."""

    name: StoreName
    type: Word
    config: Config = {}
    is_active: bool = True


class StorageChange(Struct, frozen=True, forbid_unknown_fields=True):
    """What is to change of a connection; what is missing stays."""

    type: Word | UnsetType = UNSET
    config: Config | UnsetType = UNSET
    is_active: bool | UnsetType = UNSET


class StorageTest(Struct, frozen=True, forbid_unknown_fields=True):
    """Which connection to test: one that is kept, by its `id`, or one that is described here and not kept."""

    id: StoreName | None = None
    type: Word | None = None
    config: Config = {}


class StorageInfo(Struct, frozen=True, kw_only=True):
    """A connection. It counts when it is tested and active; secrets are masked."""

    id: str
    name: str
    type: str
    config: dict[str, Any]
    is_active: bool
    is_tested: bool
    test_result: str | None
    tested_at: str | None
    created_at: str | None
    updated_at: str | None


class Storages(Struct, frozen=True):
    """All connections."""

    storages: list[StorageInfo]


class StorageTested(Struct, frozen=True):
    """What came of a test."""

    success: bool
    message: str
    storage: StorageInfo | None = None


async def list_storages(exchange: Exchange) -> None:
    """Answer with all connections, masked."""
    found = await _desk(exchange).all()
    await exchange.answer_json(200, encode(Storages([_info(known) for known in found])))


async def create_storage(exchange: Exchange) -> None:
    """Make a connection. It is used when its test has gone well; a name that is taken is refused with 409."""
    wish = decode(NewStorage, await small_body(exchange, MAX_JSON))
    driver, settings = _translated(wish.type, wish.config)
    made = await _desk(exchange).create(wish.name, driver, settings, active=wish.is_active)
    await exchange.answer_json(201, encode(_info(made)))


async def update_storage(exchange: Exchange, storage_id: str) -> None:
    """Change a connection. Another config resets `is_tested`; a masked secret stays as it is."""
    wish = decode(StorageChange, await small_body(exchange, MAX_JSON))
    desk = _desk(exchange)
    held = await desk.store(storage_id)
    kind = held.connection.driver if isinstance(wish.type, UnsetType) else wish.type
    driver, settings = _translated(kind, {} if isinstance(wish.config, UnsetType) else wish.config)
    kept = {name: value for name, value in settings.items() if value != held.settings.get(name)}
    made = await desk.update(
        storage_id,
        driver=None if wish.type is UNSET else driver,
        settings=kept or None,
        active=None if isinstance(wish.is_active, UnsetType) else wish.is_active,
    )
    await exchange.answer_json(200, encode(_info(made)))


async def delete_storage(exchange: Exchange, storage_id: str) -> None:
    """Remove a connection; 409 when it is in use."""
    await _desk(exchange).retire(storage_id, stop=True)
    await exchange.answer(204, ())


async def test_storage(exchange: Exchange) -> None:
    """Test a connection: one that is kept, or one that is described here."""
    wish = decode(StorageTest, await small_body(exchange, MAX_JSON))
    desk = _desk(exchange)
    if (wish.id is None) == (wish.type is None):
        raise InvalidRequestError("give the id of a connection, or the type and config of one to try")
    if wish.id is not None:
        known, trial = await desk.test(wish.id)
        told = StorageTested(trial.well, _message(trial), _info(known))
    else:
        assert wish.type is not None
        trial = await desk.try_out(*_translated(wish.type, wish.config))
        told = StorageTested(trial.well, _message(trial))
    await exchange.answer_json(200, encode(told))


def _desk(exchange: Exchange) -> Connections:
    return exchange.session.admin.connections


def _message(trial: Trial) -> str:
    return trial.trouble or "the storage answers, and takes, gives back and deletes"


def _translated(kind: str, config: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return driver and settings: `minio` has its host without a scheme, and `secure` beside it."""
    settings = dict(config)
    driver = _DRIVERS.get(kind, kind)
    if driver != "s3":
        return driver, settings
    secure = settings.pop("secure", None)
    endpoint = str(settings.get("endpoint") or "")
    if endpoint and "://" not in endpoint:
        settings["endpoint"] = endpoint = f"{'https' if secure else 'http'}://{endpoint}"
    if endpoint.startswith("http://"):
        settings.setdefault("allow_http", True)
    return driver, settings


def _info(known: KnownStore) -> StorageInfo:
    told = store_info(known)
    if known.origin != CATALOG or known.connection.trouble:
        result = known.connection.trouble or None
    else:
        result = "ok" if known.connection.is_tested else None
    return StorageInfo(
        id=told.name,
        name=told.name,
        type=told.driver,
        config=told.settings,
        is_active=told.active,
        is_tested=told.tested or known.origin != CATALOG,
        test_result=result,
        tested_at=told.tested_at,
        created_at=told.created,
        updated_at=told.updated,
    )
