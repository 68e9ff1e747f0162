"""What is told of a store: where it is described, whether it takes objects, and never a secret."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from holdfast.core.backend import Store, StoreState
from holdfast.core.errors import ConfigError
from holdfast.core.records import Connection
from holdfast.engine.sealing import fields_of, key_id_of
from holdfast.engine.stores import Stores, why_not

FILE: Final = "file"
CATALOG: Final = "catalog"
MASK: Final = "***"


@dataclass(frozen=True, slots=True)
class KnownStore:
    """A store and where it is described. `secrets` are the names of the secret settings that are set.

    `hidden`: the file of this process describes another one of that name, which is used instead. `breaker` is as this
    process sees it, "" while the store is not open here; `key_id` is the key that its secrets are sealed with.
    """

    connection: Connection
    origin: str
    secrets: tuple[str, ...] = ()
    hidden: bool = False
    breaker: str = ""
    key_id: str = ""

    @property
    def name(self) -> str:
        """What it is called."""
        return self.connection.name

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of its driver, secret ones masked."""
        return {**self.connection.settings, **dict.fromkeys(self.secrets, MASK)}

    @property
    def refusal(self) -> str:
        """Why it takes no new objects, "" when it does."""
        if self.connection.state is not StoreState.ACTIVE:
            return f"is {self.connection.state}"
        return "" if self.origin == FILE else why_not(self.connection)


def own_store(stores: Stores, name: str) -> KnownStore:
    """Return what there is to say of a store of this process's own file."""
    store = stores.own[name]
    said = stores.described.get(name) or Connection(
        name,
        "",
        {},
        b"",
        store.layout,
        store.state,
        tuple(sorted(store.labels)),
        store.region,
        store.price,
    )
    secrets = set()
    if stores.drivers is not None and said.driver:
        secrets = {field.name for field in stores.drivers.fields(said.driver) if field.secret}
    shown = replace(
        said,
        settings={key: value for key, value in said.settings.items() if key not in secrets},
        active=True,
    )
    named = tuple(sorted(key for key in said.settings if key in secrets))
    return KnownStore(shown, FILE, named, breaker=_breaker(store))


def kept_store(stores: Stores, connection: Connection) -> KnownStore:
    """Return what there is to say of a store of the catalog."""
    hidden = connection.name in stores.own
    seen = None if hidden else stores.open_now(connection.name)
    try:
        fields = fields_of(connection.name, connection.sealed)
        key_id = key_id_of(connection.name, connection.sealed)
    except ConfigError:
        fields, key_id = (), ""
    return KnownStore(
        replace(connection, sealed=b""),
        CATALOG,
        fields,
        hidden,
        "" if seen is None else _breaker(seen),
        key_id,
    )


def _breaker(store: Store) -> str:
    return "" if store.circuit is None else str(store.circuit.state)
