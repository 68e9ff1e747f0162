"""The stores that this process works with: those of its own file, and those that the catalog describes, kept up to date.

A store of the catalog is opened when it is first asked for, and closed some time after it was replaced, so that streams
that are under way can end. State, labels and the like change without opening anything. Each process looks every few
seconds whether the catalog's stores have changed; the one that changes them looks at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from holdfast.core.backend import Backend, Store, StoreState
from holdfast.core.clock import Clock
from holdfast.core.errors import ConfigError, HoldfastError, UnavailableError
from holdfast.core.records import Connection
from holdfast.engine.sealing import Sealer
from holdfast.engine.unopened import Unopened
from holdfast.layers.readonly import ReadOnly

if TYPE_CHECKING:
    from holdfast.catalog.contract import Catalog

GENERATION: Final = "stores"
PATH: Final = "path"  #: the kind of a setting that names a file or folder
_FRESH: Final = 2.0  #: seconds for which stores are taken as they were
_LINGER: Final = 60.0  #: seconds after which a replaced store is closed


@dataclass(frozen=True, slots=True)
class DriverField:
    """One setting of a driver. `default` is None for a secret one, and where there is none."""

    name: str
    kind: str
    required: bool
    secret: bool
    description: str = ""
    default: Any = None


class Drivers(Protocol):
    """What the engine needs of drivers without knowing any."""

    def names(self) -> Sequence[str]:
        """Return the names of all drivers."""
        ...

    def fields(self, driver: str) -> Sequence[DriverField]:
        """Return the settings of a driver; `ConfigError` when there is none of that name."""
        ...

    def check(self, driver: str, values: Mapping[str, Any]) -> None:
        """Raise `ConfigError` when `values` are no settings of the driver. Values are not shown."""
        ...

    def open(self, connection: Connection, values: Mapping[str, Any]) -> Store:
        """Return the store, open; `values` are its settings with the secret ones.

        Raises:
            ConfigError: it cannot be opened.
        """
        ...


@dataclass(slots=True)
class _Opened:
    store: Store
    backend: Backend  # without what its state puts around it
    sealed: Backend | None  # the same
    stamp: tuple[object, ...]
    again: float | None = None  # could not be opened: try anew then


class Stores(Mapping[str, Store]):
    """Stores by name. Those that exist but do not serve are found by their name, but are not among the items.

    `own` are those of this process, which nobody changes from outside; `described` says what its file says of them.
    Without `drivers` there are no others.
    """

    def __init__(
        self,
        own: Mapping[str, Store],
        catalog: Catalog,
        clock: Clock,
        *,
        drivers: Drivers | None = None,
        sealer: Sealer | None = None,
        described: Mapping[str, Connection] | None = None,
    ) -> None:
        self.own = dict(own)
        self.drivers, self.sealer = drivers, sealer
        self.described = dict(described or {})
        self._catalog, self._clock = catalog, clock
        self._known: dict[str, Connection] = {}
        self._opened: dict[str, _Opened] = {}
        self._leaving: list[tuple[float, Backend]] = []
        self._generation: int | None = None
        self._due = 0.0

    def __getitem__(self, name: str) -> Store:
        own = self.own.get(name)
        if own is not None:
            return own
        opened = self._opened.get(name)
        if opened is None or (opened.again is not None and self._clock.monotonic() >= opened.again):
            opened = self._opened[name] = self._open(self._known[name])
        return opened.store

    def __contains__(self, name: object) -> bool:
        return name in self.own or name in self._known

    def __iter__(self) -> Iterator[str]:
        yield from self.own
        yield from [name for name, connection in self._known.items() if connection.serves]

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def open_now(self, name: str) -> Store | None:
        """Return the store if it is open already."""
        opened = self._opened.get(name)
        return self.own.get(name) or (None if opened is None else opened.store)

    def open_ones(self) -> dict[str, Store]:
        """Return the stores that are open, but those that an operator took out of use."""
        found = {**{name: opened.store for name, opened in self._opened.items()}, **self.own}
        return {name: store for name, store in found.items() if store.state is not StoreState.DOWN}

    def waiting(self) -> dict[str, Connection]:
        """Return the stores of the catalog that do not serve."""
        return {name: connection for name, connection in self._known.items() if not connection.serves}

    def sealed_away(self) -> dict[str, str]:
        """Return the stores of the catalog whose secrets cannot be opened, and why; the key that is missing is named."""
        found = {}
        for name, connection in self._known.items():
            try:
                self.values_of(connection)
            except ConfigError as error:
                found[name] = error.message
        return found

    async def refresh(self, *, at_once: bool = False) -> None:
        """Look whether the catalog's stores have changed, if that is a while ago or is wanted at once.

        Raises:
            UnavailableError: the catalog does not answer, and never did.
        """
        now = self._clock.monotonic()
        if self.drivers is None or (now < self._due and not at_once):
            return
        self._due = now + _FRESH  # others go by what is known while one of them looks
        try:
            if self._generation is None or await self._catalog.generation(GENERATION) != self._generation:
                self._learn(*await self._catalog.stores())
        except UnavailableError:
            if self._generation is None:
                self._due = 0.0
                raise
        except BaseException:
            self._due = 0.0
            raise
        if self._leaving:
            await self._let_go(now)

    async def close(self) -> None:
        """Close every store."""
        leaving = [backend for _, backend in self._leaving]
        backends = [opened.backend for opened in self._opened.values()]
        self._leaving, self._opened = [], {}
        for backend in (*leaving, *backends, *(store.backend for store in self.own.values())):
            await backend.close()

    def values_of(self, connection: Connection) -> dict[str, Any]:
        """Return the settings of a store for its driver, with the secret ones.

        Raises:
            ConfigError: they cannot be opened; see `Sealer.open`.
        """
        secrets = {} if self.sealer is None else self.sealer.open(connection.name, connection.sealed)
        return {**connection.settings, **secrets}

    def _learn(self, generation: int, connections: Sequence[Connection]) -> None:
        if self._generation is not None and generation < self._generation:
            return  # somebody who looked later was answered first
        self._generation = generation
        self._known = {one.name: one for one in connections if one.name not in self.own}
        for name, opened in list(self._opened.items()):
            connection = self._known.get(name)
            if connection is None or _stamp(connection) != opened.stamp:
                del self._opened[name]
                self._leaving.append((self._clock.monotonic() + _LINGER, opened.backend))
            else:
                _apply(connection, opened)

    def _open(self, connection: Connection) -> _Opened:
        assert self.drivers is not None
        again = None
        try:
            store = self.drivers.open(connection, self.values_of(connection))
        except HoldfastError as error:
            closed = Unopened(connection.name, error)
            store = Store(connection.name, closed, connection.layout, sealed=closed)
            again = self._clock.monotonic() + _FRESH
        opened = _Opened(store, store.backend, store.sealed, _stamp(connection), again)
        _apply(connection, opened)
        return opened

    async def _let_go(self, now: float) -> None:
        due = [backend for at, backend in self._leaving if at <= now]
        self._leaving = [(at, backend) for at, backend in self._leaving if at > now]
        for backend in due:
            with suppress(HoldfastError, OSError):
                await backend.close()


def _stamp(connection: Connection) -> tuple[object, ...]:
    """Return what a store must be opened anew for."""
    return (
        connection.fingerprint,
        connection.layout,
        connection.attempts,
        connection.max_in_flight,
        connection.cache,
        connection.cache_bytes,
        connection.describe,
    )


def _apply(connection: Connection, opened: _Opened) -> None:
    """Make an open store what the catalog says of it."""
    store = opened.store
    store.labels = frozenset(connection.labels)
    store.region, store.price = connection.region, connection.price
    store.encrypt = connection.encrypt
    store.reason = "" if connection.serves else why_not(connection)
    waits = connection.state is StoreState.ACTIVE and not connection.serves
    store.state = StoreState.DRAINING if waits else connection.state
    read_only = connection.state is StoreState.READ_ONLY
    store.backend = ReadOnly(opened.backend) if read_only else opened.backend
    sealed = opened.sealed
    store.sealed = ReadOnly(sealed) if read_only and sealed is not None else sealed


def why_not(connection: Connection) -> str:
    """Return why a store takes no new objects, whatever its state; "" when it does."""
    if connection.serves:
        return ""
    if not connection.active:
        return "is not activated"
    if connection.trouble:
        return "failed its last test"
    return "has not been tested since it was changed"
