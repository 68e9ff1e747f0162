"""Two stores that fail as they are told to, behind breakers, and an engine that keeps copies in both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from holdfast.backends.memory import MemoryBackend
from holdfast.catalog import open_catalog
from holdfast.core.backend import NO_OPTIONS, Capability, PutOptions, Store
from holdfast.core.body import Body, Reader
from holdfast.core.circuit import Circuit
from holdfast.core.clock import Environment
from holdfast.core.errors import UnavailableError
from holdfast.core.types import BlobInfo, ByteRange
from holdfast.engine.engine import Engine
from holdfast.engine.session import Session
from holdfast.engine.settings import EngineSettings
from holdfast.layers import stack
from holdfast.policy.placement import Placement, Rule
from tests.helpers import ADMIN

BOTH = ("one", "two")
NEVER = 30.0  #: seconds
LATE = 0.3  #: seconds, more than there is patience


class Moody:
    """A store in memory.

    `mood`: "" or down, restarted (once for each time that it says so), hang (no answer), late, drip (a stream that stops),
    flip (wrong bytes), cut (a stream that breaks off).
    """

    def __init__(self, name: str, environment: Environment) -> None:
        self.disk = MemoryBackend(name, environment=environment)
        self.store = name
        self.capabilities = self.disk.capabilities & ~Capability.COPY
        self.limits = self.disk.limits
        self.mood = ""
        self.calls = 0

    async def _meet(self) -> None:
        self.calls += 1
        if self.mood == "down" or self.mood.startswith("restarted"):
            self.mood = self.mood.removeprefix("restarted")
            raise UnavailableError("it does not answer", store=self.store)
        if self.mood in ("hang", "late"):
            await asyncio.sleep(NEVER if self.mood == "hang" else LATE)

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        await self._meet()
        return await self.disk.put(name, body, options=options, if_absent=if_absent)

    @asynccontextmanager
    async def get(self, name: str, *, range: ByteRange | None = None) -> AsyncIterator[Reader]:
        await self._meet()
        async with self.disk.get(name, range=range) as reader:
            yield reader.through(self._spoiled) if self.mood in ("drip", "flip", "cut") else reader

    async def _spoiled(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            if self.mood in ("drip", "cut"):
                yield chunk[:10]
                if self.mood == "cut":
                    raise UnavailableError("it broke off", store=self.store)
                await asyncio.sleep(NEVER)
            yield bytes([chunk[0] ^ 1]) + chunk[1:]

    async def list(self, prefix: str = "", *, after: str = "") -> AsyncIterator[BlobInfo]:
        await self._meet()
        async for info in self.disk.list(prefix, after=after):
            yield info

    async def delete(self, name: str) -> None:
        await self._meet()
        await self.disk.delete(name)

    discard = delete

    async def wipe(self) -> None:
        """Lose everything."""
        for info in [info async for info in self.disk.list()]:
            await self.disk.delete(info.name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.disk, name)


@dataclass
class Mirrors:
    """What a test works with."""

    engine: Engine
    session: Session
    moody: dict[str, Moody] = field(default_factory=dict)


@asynccontextmanager
async def mirrors(
    url: str,
    rule: Rule,
    *,
    stores: tuple[str, ...] = BOTH,
    environment: Environment | None = None,
    after: float = 0.1,
) -> AsyncIterator[Mirrors]:
    """Give an engine with one rule; a store that hangs is left for another after `after` seconds."""
    world = environment or Environment()
    moody = {name: Moody(name, world) for name in stores}
    opened = {}
    for name, one in moody.items():
        circuit = Circuit(name, world.clock, chance=world.random)
        layers = stack.StackSettings(attempts=1)
        backend = stack.build(one, layers, environment=world, circuit=circuit)  # type: ignore[arg-type]
        opened[name] = Store(name, backend, circuit=circuit)
    catalog = await open_catalog(url, environment=world, upgrade=True)
    settings = EngineSettings(failover_after=after, failover_rate=0, hot=0, grace=100.0)
    engine = Engine(catalog, opened, Placement(rule), environment=world, settings=settings)
    try:
        await catalog.create_tenant("default")
        session = engine.session(ADMIN)
        await session.create_bucket("plain")
        yield Mirrors(engine, session, moody)
    finally:
        await engine.close()
