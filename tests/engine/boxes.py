"""A driver whose stores are boxes in memory behind a password, and engines over one catalog that know it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from holdfast.backends.memory import MemorySettings, open_memory
from holdfast.catalog import open_catalog
from holdfast.core.backend import Backend, Store
from holdfast.core.circuit import Circuit
from holdfast.core.clock import Environment, ManualClock
from holdfast.core.errors import ConfigError, PermissionDeniedError, UnavailableError
from holdfast.core.records import Connection
from holdfast.core.types import BlobInfo, Principal
from holdfast.engine.connections import Connections
from holdfast.engine.engine import Engine
from holdfast.engine.sealing import sealer_of
from holdfast.engine.secrets import RootSecret
from holdfast.engine.session import Session
from holdfast.engine.stores import DriverField, Stores
from holdfast.layers import stack
from holdfast.layers.base import ALL, Layer
from holdfast.policy.placement import Placement

PASSWORD = "open-sesame-1001"
ROOT = RootSecret(b"r" * 32)


class Door(Layer):
    """A box as one store sees it: shut for a wrong password, silent when it is broken."""

    preserves = ALL

    def __init__(self, inner: Backend, boxes: Boxes, password: str, name: str) -> None:
        super().__init__(inner)
        self._boxes, self._password, self._name = boxes, password, name
        self.closed = False

    async def put(self, name: str, body: Any, **how: Any) -> BlobInfo:
        self._enter("put")
        return await super().put(name, body, **how)

    def get(self, name: str, **how: Any) -> Any:
        self._enter("get")
        return super().get(name, **how)

    def list(self, prefix: str = "", *, after: str = "") -> AsyncIterator[BlobInfo]:
        self._enter("list")
        return super().list(prefix, after=after)

    async def close(self) -> None:
        self.closed = True

    def _enter(self, operation: str) -> None:
        assert not self.closed
        self._boxes.calls += 1
        if self._name in self._boxes.broken:
            raise UnavailableError("no answer", operation=operation, store=self.store)
        if self._password != self._boxes.password:
            raise PermissionDeniedError(f"{self._password} opens nothing", operation=operation)
        if operation == "put" and self._name in self._boxes.shut:
            raise PermissionDeniedError("nothing can be put in", operation=operation)


@dataclass
class Boxes:
    """The driver `box`, with the settings `box`, `password` (secret) and `note`."""

    environment: Environment
    password: str = PASSWORD
    inside: dict[str, Backend] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    shut: set[str] = field(default_factory=set)
    doors: list[Door] = field(default_factory=list)
    calls: int = 0

    def names(self) -> Sequence[str]:
        return ("box",)

    def fields(self, driver: str) -> Sequence[DriverField]:
        if driver != "box":
            raise ConfigError(f"there is no driver {driver!r}")
        return (
            DriverField("box", "text", True, False),
            DriverField("password", "text", True, True),
            DriverField("note", "text", False, False),
        )

    def check(self, driver: str, values: Mapping[str, Any]) -> None:
        known = {one.name: one for one in self.fields(driver)}
        missing = [name for name, one in known.items() if one.required and name not in values]
        unknown = [name for name in values if name not in known]
        if missing or unknown:
            raise ConfigError(f"driver box: missing {missing}, unknown {unknown}")

    def open(self, connection: Connection, values: Mapping[str, Any]) -> Store:
        box = str(values["box"])
        inner = self.inside.setdefault(
            box, open_memory(connection.name, MemorySettings(), environment=self.environment)
        )
        door = Door(inner, self, str(values["password"]), box)
        self.doors.append(door)
        circuit = Circuit(connection.name, self.environment.clock)
        settings = stack.StackSettings(attempts=1)
        backend = stack.build(door, settings, environment=self.environment, circuit=circuit)
        return Store(connection.name, backend, connection.layout, circuit=circuit)


@dataclass
class Place:
    """Engines over one catalog, each as a process of its own would have it."""

    engines: list[Engine]
    boxes: Boxes
    clock: ManualClock

    def desk(self, number: int = 0, role: str = "operator") -> Connections:
        return self.engines[number].session(Principal("boss", "default", role)).admin.connections

    def session(self, number: int = 0) -> Session:
        return self.engines[number].session(Principal("tester", "default", "admin"))


@asynccontextmanager
async def place(
    url: str, *, engines: int = 1, seal_keys: str = "", stores: tuple[str, ...] = ("home",), seed: int = 5
) -> AsyncIterator[Place]:
    """Give engines with the store `home` of their own; all objects go to `stores`."""
    environment = Environment.seeded(seed)
    assert isinstance(environment.clock, ManualClock)
    boxes = Boxes(environment)
    async with AsyncExitStack() as stack_of:
        made = []
        shared = open_memory("home", MemorySettings(), environment=environment)
        for _ in range(engines):
            catalog = await open_catalog(url, environment=environment, upgrade=True)
            sealer = sealer_of(seal_keys, ROOT, environment)
            live = Stores(
                {"home": Store("home", shared)}, catalog, environment.clock, drivers=boxes, sealer=sealer
            )
            await live.refresh()
            engine = Engine(catalog, live, Placement.everything(stores), environment=environment, secret=ROOT)
            stack_of.push_async_callback(engine.close)
            made.append(engine)
        catalog = made[0].catalog
        if not await catalog.tenants():
            await catalog.create_tenant("default")
            await made[0].session(Principal("tester", "default", "admin")).create_bucket("plain")
        yield Place(made, boxes, environment.clock)
