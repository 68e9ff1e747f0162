"""Stores that can be taken down, and an engine whose rule says what is done then."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from holdfast.backends.memory import MemoryBackend
from holdfast.catalog import open_catalog
from holdfast.core.backend import NO_OPTIONS, Capability, PutOptions, Store
from holdfast.core.body import Body, Reader
from holdfast.core.clock import Environment
from holdfast.core.errors import UnavailableError
from holdfast.core.types import BlobInfo, ByteRange, ReplicaState
from holdfast.engine.engine import Engine
from holdfast.engine.session import Session
from holdfast.engine.settings import EngineSettings
from holdfast.policy.placement import Match, Placement, Rule, WhenDown
from tests.helpers import ADMIN

FALLBACK = Rule(
    "media", ("home",), Match(buckets=("plain", "kept")), when_down=WhenDown.FALLBACK, fallback=("spare",)
)


class Switched:
    """A store in memory that does not answer while `down`; `breaks` lets a put fail after so many bytes."""

    def __init__(self, name: str, environment: Environment, *, copies: bool = False) -> None:
        self._inner = MemoryBackend(name, environment=environment)
        self.store = name
        self.capabilities = (
            self._inner.capabilities if copies else self._inner.capabilities & ~Capability.COPY
        )
        self.limits = self._inner.limits
        self.down = False
        self.breaks: int | None = None
        self.puts = 0

    def _answer(self, operation: str) -> None:
        if self.down:
            raise UnavailableError("it does not answer", operation=operation, store=self.store)

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        self.puts += 1
        self._answer("put")
        if self.breaks is None:
            return await self._inner.put(name, body, options=options, if_absent=if_absent)
        seen = 0
        async for chunk in body.chunks():
            seen += len(chunk)
            if seen > self.breaks:
                break
        raise UnavailableError("the connection broke", operation="put", store=self.store)

    @asynccontextmanager
    async def get(self, name: str, *, range: ByteRange | None = None) -> AsyncIterator[Reader]:
        self._answer("get")
        async with self._inner.get(name, range=range) as reader:
            yield reader

    async def list(self, prefix: str = "", *, after: str = "") -> AsyncIterator[BlobInfo]:
        async for info in self._inner.list(prefix, after=after):
            yield info

    async def delete(self, name: str) -> None:
        self._answer("delete")
        await self._inner.delete(name)

    discard = delete

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


@dataclass
class Ground:
    """Stores `home`, `spare` and `third`, and one environment for engines over them."""

    url: str
    environment: Environment = field(default_factory=lambda: Environment.seeded(5))
    stores: dict[str, Switched] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("home", "spare", "third"):
            self.stores[name] = Switched(name, self.environment)

    @property
    def home(self) -> Switched:
        return self.stores["home"]

    @property
    def spare(self) -> Switched:
        return self.stores["spare"]

    def advance(self, seconds: float) -> None:
        self.environment.clock.advance(seconds)  # type: ignore[attr-defined]

    @asynccontextmanager
    async def opened(
        self, *rules: Rule, default: tuple[str, ...] = ("home",), inline: int = 0, grace: float = 100
    ) -> AsyncIterator[tuple[Engine, Session]]:
        """Give an engine that goes by these rules, with its buckets made."""
        catalog = await open_catalog(self.url, environment=self.environment, upgrade=True)
        engine = Engine(
            catalog,
            {name: Store(name, backend) for name, backend in self.stores.items()},  # type: ignore[arg-type]
            Placement(Rule("default", default), rules, inline),
            environment=self.environment,
            settings=EngineSettings(grace=grace),
        )
        session = engine.session(ADMIN)
        try:
            if not await catalog.tenants():
                await catalog.create_tenant("default")
                await session.create_bucket("plain")
                await session.create_bucket("kept", versioning=True)
            yield engine, session
        finally:
            await engine.close()


async def whereabouts(engine: Engine, session: Session, bucket: str, key: str) -> list[str]:
    """Return the stores with a live copy of the current version, one entry for each blob."""
    ref = (await session.head(bucket, key))[0].ref
    located = await engine.catalog.resolve(ref)
    return sorted(copy.store for copy in located.replicas if copy.state is ReplicaState.LIVE)
