"""Objects read through a cache: what came damaged is not kept for good."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from holdfast.backends.memory import MemoryBackend
from holdfast.config.settings import StoreSettings
from holdfast.core.backend import Store
from holdfast.core.body import Body, Reader
from holdfast.core.clock import Environment
from holdfast.core.errors import ConfigError, CorruptedError
from holdfast.core.records import Connection
from holdfast.core.types import ByteRange
from holdfast.drivers import InstalledDrivers, open_store
from holdfast.layers import stack
from holdfast.layers.base import Layer
from tests.helpers import content, engine_on, noise, run

pytestmark = pytest.mark.engine


class Damaging(Layer):
    """A way to a store on which bits turn over, the next `damaged` times."""

    preserves = MemoryBackend.capabilities
    damaged = 0
    gets = 0

    @asynccontextmanager
    async def get(self, name: str, *, range: ByteRange | None = None) -> AsyncIterator[Reader]:
        self.gets += 1
        flips, self.damaged = self.damaged > 0, max(0, self.damaged - 1)
        async with self.inner.get(name, range=range) as reader:
            yield reader.through(_flipped) if flips else reader


async def _flipped(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        yield bytes([chunk[0] ^ 1]) + chunk[1:]


@pytest.mark.parametrize("size", [4096, 3 << 20])
def test_what_was_damaged_on_its_way_is_fetched_anew(size: int, sqlite_url: str, tmp_path: Path) -> None:
    async def story() -> None:
        environment = Environment()
        way = Damaging(MemoryBackend("far", environment=environment))
        layers = stack.StackSettings(cache=tmp_path / "cache", cache_bytes=64 << 20)
        store = Store("far", stack.build(way, layers, environment=environment))
        async with engine_on(sqlite_url, store) as (_, session):
            await session.put("plain", "key", Body.of_bytes(noise(size)))
            way.damaged = 1
            assert await content(session, "plain", "key") == noise(size)
            asked = way.gets
            assert await content(session, "plain", "key") == noise(size)
            assert way.gets == asked, "now it is here"

    run(story())


def test_a_store_that_holds_something_else_is_told_of_in_the_end(sqlite_url: str, tmp_path: Path) -> None:
    async def story() -> None:
        environment = Environment()
        way = Damaging(MemoryBackend("far", environment=environment))
        layers = stack.StackSettings(cache=tmp_path / "cache", cache_bytes=64 << 20)
        store = Store("far", stack.build(way, layers, environment=environment))
        async with engine_on(sqlite_url, store) as (_, session):
            await session.put("plain", "key", Body.of_bytes(noise(4096)))
            way.damaged = 1000
            with pytest.raises(CorruptedError):
                await content(session, "plain", "key")
            way.damaged = 0
            assert await content(session, "plain", "key") == noise(4096)

    run(story())


def test_a_store_is_opened_with_the_cache_that_it_is_described_with(tmp_path: Path) -> None:
    async def story() -> None:
        caches = tmp_path / "caches"
        drivers = InstalledDrivers(Environment(), caches=caches)
        near = drivers.open(Connection("near", "memory"), {})
        far = drivers.open(Connection("far", "memory", cache=True, cache_bytes=16 << 20), {})
        for store in (near, far):
            await store.backend.put("a/b", Body.of_bytes(b"bytes"))
            async with store.backend.get("a/b") as reader:
                assert await reader.read() == b"bytes"
            await store.backend.close()
        assert [path.name for path in caches.iterdir()] == ["far"]
        with pytest.raises(ConfigError, match="setting cache: name a directory"):
            open_store("far", StoreSettings(driver="memory", cache=True), Environment())

    run(story())


@pytest.mark.parametrize(
    ("said", "meant"), [("true", True), ("FALSE", False), ("", False), ("/d", Path("/d"))]
)
def test_a_variable_says_whether_and_where_there_is_a_cache(said: str, meant: bool | Path) -> None:
    settings = StoreSettings.model_validate({"driver": "memory", "cache": said})
    assert settings.cache == meant
