"""Stores opened: a driver inside its layers, as a file or the catalog describes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import NoneType
from typing import Any, Final, get_args

from pydantic import SecretBytes, SecretStr
from pydantic.fields import FieldInfo

from holdfast.backends import registry
from holdfast.config import Settings, StoreSettings
from holdfast.core.backend import Backend, Store, StoreState
from holdfast.core.circuit import Circuit
from holdfast.core.clock import Environment
from holdfast.core.errors import ConfigError
from holdfast.core.keyring import KeyRing
from holdfast.core.ledger import Ledger
from holdfast.core.notes import Notes
from holdfast.core.records import Connection
from holdfast.engine.stores import PATH, DriverField
from holdfast.layers import stack
from holdfast.layers.metrics import StoreMetrics

_REGION: Final = "region"  #: a setting of every store, and of some drivers too


def open_store(
    name: str,
    settings: StoreSettings,
    environment: Environment,
    *,
    metrics: StoreMetrics | None = None,
    notes: Notes | None = None,
    keys: KeyRing | None = None,
    caches: Path | None = None,
    ledger: Ledger | None = None,
) -> Store:
    """Return the store that `[stores.NAME]` describes: its driver inside its layers.

    Without `notes` what its driver has to remember ends with the process; without `keys` nothing encrypted can be read.
    `caches` is where a cache is that has no directory of its own; `ledger` counts what is asked of the store.

    Raises:
        ConfigError: it cannot be opened.
    """
    cache = _cache_of(name, settings, caches)
    try:
        parsed = registry.parse(settings.driver, _for_driver(settings.driver, settings.driver_settings))
    except ConfigError as error:
        raise ConfigError(f"store {name}: {error.message}") from error
    try:
        driver = registry.open_backend(name, settings.driver, parsed, environment=environment, notes=notes)
    except ConfigError as error:
        error.store = error.store or name
        raise
    layers = stack.StackSettings(
        max_in_flight=settings.in_flight,
        attempts=settings.attempts,
        read_only=settings.state is StoreState.READ_ONLY,
        cache=cache,
        cache_bytes=settings.cache_bytes,
        describe=settings.describe,
    )
    circuit = Circuit(name, environment.clock, chance=environment.random)
    faces = stack.faces(
        driver,
        layers,
        environment=environment,
        metrics=metrics,
        circuit=circuit,
        ledger=ledger,
        encrypt=None if keys is None else partial(_encrypted, keys=keys, environment=environment),
    )
    return Store(
        name,
        faces.backend,
        layout=settings.layout,
        state=settings.state,
        labels=settings.labels,
        region=settings.region,
        price=settings.price,
        circuit=circuit,
        sealed=faces.sealed,
        encrypt=settings.encrypt,
    )


def _cache_of(name: str, settings: StoreSettings, caches: Path | None) -> Path | None:
    if settings.cache is True and caches is None:
        raise ConfigError(f"store {name}: setting cache: name a directory; there is none to put it under")
    return caches if settings.cache is True else settings.cache or None


def _encrypted(backend: Backend, *, keys: KeyRing, environment: Environment) -> Backend:
    from holdfast.layers.encryption.layer import Encryption

    return Encryption(backend, keys, environment=environment)


def described(settings: Settings) -> dict[str, Connection]:
    """Return what a file says of its stores, secrets among their settings, as a catalog would hold it."""
    return {
        name: Connection(
            name,
            store.driver,
            store.driver_settings,
            layout=store.layout,
            state=store.state,
            labels=tuple(sorted(store.labels)),
            region=store.region,
            price=store.price,
            attempts=store.attempts,
            max_in_flight=store.max_in_flight,
            encrypt=store.encrypt,
            cache=bool(store.cache),
            cache_bytes=store.cache_bytes,
            describe=store.describe,
            active=True,
        )
        for name, store in settings.all_stores.items()
    }


class InstalledDrivers:
    """The drivers of this installation, as `engine.stores.Drivers` wants them."""

    def __init__(
        self,
        environment: Environment,
        metrics: StoreMetrics | None = None,
        notes: Callable[[str], Notes] | None = None,
        keys: KeyRing | None = None,
        caches: Path | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        self._environment, self._metrics, self._notes = environment, metrics, notes
        self._keys, self._caches, self._ledger = keys, caches, ledger

    def names(self) -> Sequence[str]:
        """Return the names of all drivers."""
        return registry.drivers()

    def fields(self, driver: str) -> Sequence[DriverField]:
        """Return the settings of a driver; `ConfigError` when there is none of that name."""
        found = registry.driver(driver).settings.model_fields
        return [_field(name, field) for name, field in found.items()]

    def check(self, driver: str, values: Mapping[str, Any]) -> None:
        """Raise `ConfigError` when `values` are no settings of the driver. Values are not shown."""
        registry.parse(driver, _for_driver(driver, values))

    def open(self, connection: Connection, values: Mapping[str, Any]) -> Store:
        """Return the store, open; what its state forbids is not forbidden by the store itself."""
        region = connection.region or str(values.get(_REGION) or "")
        own = {name: value for name, value in values.items() if name not in StoreSettings.model_fields}
        if _REGION in values or (connection.region and _takes_region(connection.driver)):
            own[_REGION] = values.get(_REGION) or connection.region
        settings = StoreSettings.model_validate(
            {
                **own,
                "driver": connection.driver,
                "layout": connection.layout,
                "labels": connection.labels,
                "price": connection.price,
                "max_in_flight": connection.max_in_flight,
                "attempts": connection.attempts,
                "cache": connection.cache,
                "cache_bytes": connection.cache_bytes,
                "describe": connection.describe,
                "encrypt": connection.encrypt,
            }
        )
        notes = None if self._notes is None else self._notes(connection.name)
        store = open_store(
            connection.name,
            settings,
            self._environment,
            metrics=self._metrics,
            notes=notes,
            keys=self._keys,
            caches=self._caches,
            ledger=self._ledger,
        )
        store.region = region
        return store


def _for_driver(driver: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings for a driver: the region only where it has such a setting."""
    return {name: value for name, value in values.items() if name != _REGION or _takes_region(driver)}


def _takes_region(driver: str) -> bool:
    return _REGION in registry.driver(driver).settings.model_fields


def _field(name: str, field: FieldInfo) -> DriverField:
    secret = _is_secret(field.annotation)
    default = None if secret or field.is_required() else field.get_default(call_default_factory=True)
    if isinstance(default, Path):
        default = str(default)
    plain = default if isinstance(default, str | int | float | bool) else None
    return DriverField(
        name, _kind(field.annotation), field.is_required(), secret, field.description or "", plain
    )


def _is_secret(annotation: Any) -> bool:
    return annotation in (SecretStr, SecretBytes) or any(_is_secret(part) for part in get_args(annotation))


def _kind(annotation: Any) -> str:
    """Return what a setting is, in a word: text, path, number, switch, or the words that it may be."""
    parts = [part for part in get_args(annotation) if part is not NoneType]
    if parts and all(isinstance(part, str) for part in parts):
        return " | ".join(parts)
    if len(parts) == 1:
        return _kind(parts[0])
    if annotation is Path:
        return PATH
    if annotation is bool:
        return "switch"
    return "number" if annotation in (int, float) else "text"
