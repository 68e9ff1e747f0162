"""The cache: what is fetched, what is kept, and that nothing but the blob's own bytes ever comes out of it."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from holdfast.backends.memory import MemoryBackend
from holdfast.core.backend import Backend, Capability
from holdfast.core.body import Body, Reader
from holdfast.core.circuit import Circuit
from holdfast.core.clock import Environment
from holdfast.core.errors import ConfigError, InvalidRangeError, NotFoundError, UnavailableError
from holdfast.core.types import BlobInfo, ByteRange
from holdfast.layers import stack
from holdfast.layers.base import Layer
from holdfast.layers.cache import Cache, Folder
from holdfast.layers.cache.pieces import PIECE
from holdfast.layers.metrics import StoreMetrics
from tests.helpers import noise, run

pytestmark = pytest.mark.unit

MIB = 1 << 20


class Far(Layer):
    """A store that writes down what was asked of it, and waits when it is told to."""

    preserves = ~Capability.NONE

    def __init__(self) -> None:
        super().__init__(MemoryBackend("far"))
        self.asked: list[ByteRange | None] = []
        self.sent = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.breaks_after: int | None = None
        self.open = 0

    @asynccontextmanager
    async def get(self, name: str, *, range: ByteRange | None = None) -> AsyncIterator[Reader]:
        self.asked.append(range)
        await self.gate.wait()
        async with self.inner.get(name, range=range) as reader:
            self.open += 1
            try:
                yield reader.through(self._counted)
            finally:
                self.open -= 1

    async def _counted(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        left = self.breaks_after
        async for chunk in chunks:
            if left is not None and left <= 0:
                raise UnavailableError("the connection broke", operation="get", store="far")
            left = None if left is None else left - len(chunk)
            self.sent += len(chunk)
            yield chunk


def folder_at(path: Path, most: int = 64 * MIB) -> Folder:
    return Folder(path, "far", most, clock=Environment.seeded(1).clock)


async def read_and_keep(layer: Cache, name: str, wish: ByteRange | None = None) -> bytes:
    data = await read(layer, name, wish)
    await layer.settled()
    return data


async def read(layer: Cache, name: str, wish: ByteRange | None = None) -> bytes:
    async with layer.get(name, range=wish) as reader:
        data = await reader.read()
        assert reader.data in (None, data)
        assert len(data) == reader.span.length
    return data


@asynccontextmanager
async def caching(path: Path, most: int = 64 * MIB, **blobs: bytes) -> AsyncIterator[tuple[Cache, Far]]:
    far = Far()
    layer = Cache(far, folder_at(path, most))
    for name, data in blobs.items():
        await layer.put(name, Body.of_bytes(data))
    try:
        yield layer, far
    finally:
        await layer.close()
        assert far.open == 0


def files_of(path: Path) -> list[Path]:
    return list((path / "far").glob("??/*/*"))


def test_what_was_read_is_read_again_without_the_store(tmp_path: Path) -> None:
    async def story() -> None:
        data = noise(3 * MIB + 5)
        async with caching(tmp_path, blob=data, empty=b"") as (layer, far):
            for _ in range(3):
                assert await read(layer, "blob") == data
                assert await read_and_keep(layer, "empty") == b""
                assert await read(layer, "blob", ByteRange(None, 7)) == data[-7:]
            assert far.asked == [None, None]
            assert len(files_of(tmp_path)) == 5

    run(story())


def test_a_few_bytes_of_a_large_blob_fetch_one_piece(tmp_path: Path) -> None:
    async def story() -> None:
        data = noise(20 * MIB)
        async with caching(tmp_path, blob=data) as (layer, far):
            at = 7 * MIB + 123
            for _ in range(2):
                assert await read(layer, "blob", ByteRange(at, at + 4095)) == data[at : at + 4096]
            assert far.asked == [ByteRange(7 * MIB, 8 * MIB - 1)]
            assert far.sent == PIECE
            edge = 8 * MIB - 10
            assert await read(layer, "blob", ByteRange(edge, edge + 19)) == data[edge : edge + 20]
            assert far.asked[1:] == [ByteRange(8 * MIB, 9 * MIB - 1)]

    run(story())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.sampled_from([1, 100, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE + 777]),
    wishes=st.lists(
        st.tuples(st.none() | st.integers(0, 2 * PIECE + 1000), st.none() | st.integers(0, 2 * PIECE + 1000)),
        min_size=1,
        max_size=6,
    ),
)
def test_any_ranges_in_any_order_are_those_of_the_blob(
    size: int, wishes: list[tuple[int | None, int | None]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    async def story() -> None:
        data = noise(size)
        async with caching(tmp_path_factory.mktemp("cache"), blob=data) as (layer, _):
            for start, end in wishes:
                wish = ByteRange(start, end) if start is not None or end is not None else None
                try:
                    span = ByteRange(0).resolve(size) if wish is None else wish.resolve(size)
                except InvalidRangeError:
                    with pytest.raises(InvalidRangeError):
                        await read(layer, "blob", wish)
                else:
                    assert await read(layer, "blob", wish) == data[span.offset : span.end]

    run(story())


def test_fifty_readers_at_once_ask_the_store_once(tmp_path: Path) -> None:
    async def story() -> None:
        data = noise(5 * MIB)
        async with caching(tmp_path, blob=data) as (layer, far):
            far.gate.clear()
            readers = [asyncio.ensure_future(read(layer, "blob")) for _ in range(40)]
            readers += [asyncio.ensure_future(read(layer, "blob", ByteRange(0, 99))) for _ in range(10)]
            await asyncio.sleep(0.05)
            far.gate.set()
            found = await asyncio.gather(*readers)
            assert found == [data] * 40 + [data[:100]] * 10
            assert far.sent == len(data), far.asked

    run(story())


def test_readers_that_leave_take_nothing_from_the_others(tmp_path: Path) -> None:
    async def story() -> None:
        data = noise(6 * MIB)
        async with caching(tmp_path, blob=data) as (layer, far):
            far.gate.clear()
            readers = [asyncio.ensure_future(read(layer, "blob")) for _ in range(10)]
            await asyncio.sleep(0.02)
            for reader in readers[:9]:
                reader.cancel()
            far.gate.set()
            assert await readers[9] == data
            assert far.asked == [None]
            async with layer.get("blob") as slow:
                chunks = aiter(slow)
                first = await anext(chunks)
                assert await read(layer, "blob") == data
                assert first + b"".join([chunk async for chunk in chunks]) == data

    run(story())


def test_when_all_have_left_the_store_is_let_go(tmp_path: Path) -> None:
    async def story() -> None:
        async with caching(tmp_path, blob=noise(30 * MIB)) as (layer, far):
            async with layer.get("blob") as reader:
                await anext(aiter(reader))
            for _ in range(100):
                if not far.open:
                    break
                await asyncio.sleep(0.01)
            assert far.open == 0
            assert far.sent <= 4 * MIB

    run(story())


def test_a_store_that_breaks_off_is_told_of_and_asked_again(tmp_path: Path) -> None:
    async def story() -> None:
        data = noise(3 * MIB)
        async with caching(tmp_path, blob=data) as (layer, far):
            far.breaks_after = MIB + 100
            with pytest.raises(UnavailableError, match="the connection broke"):
                await read(layer, "blob")
            far.breaks_after = None
            assert await read(layer, "blob") == data
            assert far.asked[1] == ByteRange(MIB, 3 * MIB - 1), "the first piece is here"
            with pytest.raises(NotFoundError):
                await read(layer, "other")

    run(story())


def damage_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes()) or bytearray(1)
    data[-min(100, len(data))] ^= 1
    path.write_bytes(data)


def damage_the_head(path: Path) -> None:
    data = bytearray(path.read_bytes()) or bytearray(1)
    data[min(30, len(data) - 1)] ^= 1
    path.write_bytes(data)


def cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def swap_with_another(path: Path) -> None:
    other = next(found for found in path.parent.parent.parent.glob("*/*/0") if found != path)
    path.write_bytes(other.read_bytes())


@pytest.mark.parametrize(
    "damage",
    [damage_a_bit, damage_the_head, cut_short, empty, swap_with_another],
    ids=lambda one: one.__name__,
)
def test_a_damaged_piece_is_never_served(damage: Callable[[Path], None], tmp_path: Path) -> None:
    async def story() -> None:
        data = noise(400_000)
        async with caching(tmp_path, blob=data, other=noise(400_000, 2)) as (layer, far):
            assert await read_and_keep(layer, "other") != data
            before = set(files_of(tmp_path))
            assert await read_and_keep(layer, "blob") == data
            (piece,) = set(files_of(tmp_path)) - before
            damage(piece)
            assert await read_and_keep(layer, "blob") == data
            assert len(far.asked) == 3
            assert await read_and_keep(layer, "blob") == data
            assert len(far.asked) == 3, "it was kept anew"

    run(story())


def test_what_is_kept_stays_within_its_bound_and_the_oldest_goes(tmp_path: Path) -> None:
    async def story() -> None:
        async with caching(tmp_path, 8 * MIB) as (layer, far):
            for number in range(24):
                await layer.put(f"b{number}", Body.of_bytes(noise(700_000, number)))
                assert len(await read_and_keep(layer, f"b{number}")) == 700_000
                for at, piece in enumerate(
                    sorted(files_of(tmp_path), key=lambda one: one.stat().st_mtime_ns)
                ):
                    os.utime(piece, (at, at))
                used = sum(piece.stat().st_blocks * 512 for piece in files_of(tmp_path))
                assert used <= 8 * MIB
            asked = len(far.asked)
            assert len(await read_and_keep(layer, "b23")) == 700_000
            assert len(far.asked) == asked, "the newest is here"
            await read_and_keep(layer, "b0")
            assert len(far.asked) == asked + 1, "the oldest is not"

    run(story())


def test_a_blob_larger_than_half_of_the_cache_passes_by(tmp_path: Path) -> None:
    async def story() -> None:
        data = noise(9 * MIB)
        async with caching(tmp_path, 16 * MIB, small=b"small", large=data) as (layer, far):
            await read_and_keep(layer, "small")
            assert await read_and_keep(layer, "large") == data
            assert len(files_of(tmp_path)) == 1
            await read_and_keep(layer, "large", ByteRange(5, 9))
            assert len(files_of(tmp_path)) == 2, "a part of it is kept"
            await read_and_keep(layer, "small")
            assert len(far.asked) == 3

    run(story())


def test_what_is_deleted_or_replaced_is_forgotten(tmp_path: Path) -> None:
    async def story() -> None:
        async with caching(tmp_path, one=b"1", two=b"2") as (layer, _):
            assert (await read_and_keep(layer, "one"), await read_and_keep(layer, "two")) == (b"1", b"2")
            await layer.delete("one")
            await layer.put("two", Body.of_bytes(b"other"))
            assert files_of(tmp_path) == []
            with pytest.raises(NotFoundError):
                await read_and_keep(layer, "one")
            assert await read_and_keep(layer, "two") == b"other"

    run(story())


def test_a_disk_that_refuses_is_passed_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        data = noise(2 * MIB)
        async with caching(tmp_path, blob=data) as (layer, far):

            def full(*_: object) -> int:
                raise OSError(28, "No space left on device")

            monkeypatch.setattr("holdfast.layers.cache.folder.os.write", full)
            assert await read(layer, "blob") == data
            assert await read(layer, "blob", ByteRange(5, 9)) == data[5:10]
            assert files_of(tmp_path) == []
            assert list((tmp_path / "far" / "aside").iterdir()) == []
            assert far.sent >= len(data)

    run(story())


def test_a_folder_that_goes_away_is_passed_by(tmp_path: Path) -> None:
    async def story() -> None:
        data = noise(MIB)
        async with caching(tmp_path / "cache", blob=data) as (layer, _):
            assert await read(layer, "blob") == data
            (tmp_path / "cache").rename(tmp_path / "moved")
            assert await read(layer, "blob") == data
            await layer.delete("blob")

    run(story())


def test_a_folder_that_was_removed_is_made_anew(tmp_path: Path) -> None:
    async def story() -> None:
        data = noise(MIB)
        async with caching(tmp_path / "cache", blob=data) as (layer, far):
            for _ in range(2):
                assert await read(layer, "blob") == data
                await layer.settled()
                asked = len(far.asked)
                assert await read(layer, "blob") == data
                assert len(far.asked) == asked
                shutil.rmtree(tmp_path / "cache")

    run(story())


def test_folders_that_share_a_path_keep_its_bound_after_it_was_removed(tmp_path: Path) -> None:
    first = folder_at(tmp_path / "cache", 4 * MIB)
    keep(first, "a")
    shutil.rmtree(tmp_path / "cache")
    second = folder_at(tmp_path / "cache", 4 * MIB)
    for number in range(8):
        assert keep(second, f"b{number}")
        assert keep(first, f"c{number}")
    assert sum(file.stat().st_size for file in files_of(tmp_path / "cache")) <= 4 * MIB
    assert first.total() == second.total()
    first.close()
    second.close()


def keep(folder: Folder, name: str) -> bool:
    return folder.write(BlobInfo(name, MIB // 2, 0, None), 0, bytes(MIB // 2), lambda: False)


def test_only_its_owner_can_look_into_it(tmp_path: Path) -> None:
    async def story() -> None:
        old = os.umask(0)
        try:
            async with caching(tmp_path / "deep" / "cache", blob=b"secret") as (layer, _):
                await read_and_keep(layer, "blob")
        finally:
            os.umask(old)
        for path in (tmp_path / "deep" / "cache" / "far").rglob("*"):
            mode = stat.S_IMODE(path.lstat().st_mode)
            assert mode == (0o700 if path.is_dir() else 0o600), path
        assert stat.S_IMODE((tmp_path / "deep" / "cache" / "far").stat().st_mode) == 0o700

    run(story())


def test_a_folder_that_cannot_be_one_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match="setting cache"):
        folder_at(tmp_path / "file")
    (tmp_path / "real").mkdir()
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "far").symlink_to(tmp_path / "real")
    with pytest.raises(ConfigError, match="no folder of this user"):
        folder_at(tmp_path / "link")


WORKER = """
import asyncio, sys
from pathlib import Path
from holdfast.backends.memory import MemoryBackend
from holdfast.core.body import Body
from holdfast.core.clock import Environment
from holdfast.layers.cache import Cache, Folder
from tests.helpers import noise

async def main(path, seed):
    far = MemoryBackend("far")
    for number in range(12):
        await far.put(f"b{number}", Body.of_bytes(noise(300_000, number)))
    layer = Cache(far, Folder(Path(path), "far", 2 << 20, clock=Environment().clock))
    for turn in range(60):
        number = (turn * (7 + seed)) % 12
        async with layer.get(f"b{number}") as reader:
            assert await reader.read() == noise(300_000, number)
    await layer.close()

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


def test_processes_that_share_a_folder_keep_its_bound_together(tmp_path: Path) -> None:
    workers = [
        subprocess.Popen([sys.executable, "-c", WORKER, str(tmp_path), str(2 * seed)], cwd=Path.cwd())
        for seed in range(2)
    ]
    assert [worker.wait(60) for worker in workers] == [0, 0]
    held = [-(-piece.stat().st_size // 4096) * 4096 + 4096 for piece in files_of(tmp_path)]
    assert 0 < sum(held) <= 2 << 20
    folder = folder_at(tmp_path)
    assert folder.total() == sum(held)
    folder.close()


def cache_of(backend: Backend) -> Cache:
    """Return the layer of that kind."""
    while not isinstance(backend, Cache):
        backend = backend.inner  # type: ignore[attr-defined]  # every layer has one
    return backend


def test_what_is_here_is_served_while_the_store_is_not(tmp_path: Path) -> None:
    async def story() -> None:
        environment, registry = Environment.seeded(3), CollectorRegistry()
        far = Far()
        circuit = Circuit("far", environment.clock)
        backend = stack.build(
            far,
            stack.StackSettings(cache=tmp_path, attempts=1),
            environment=environment,
            metrics=StoreMetrics(registry),
            circuit=circuit,
        )
        for name in ("here", "there"):
            await backend.put(name, Body.of_bytes(b"12345"))
        async with backend.get("here") as reader:
            assert await reader.read() == b"12345"
        await cache_of(backend).settled()  # it is kept after it was handed on
        far.breaks_after = 0
        for _ in range(6):
            with pytest.raises(UnavailableError):
                async with backend.get("there") as reader:
                    await reader.read()
        async with backend.get("here") as reader:
            assert await reader.read() == b"12345"
        await backend.close()
        found = {
            outcome: registry.get_sample_value(
                "holdfast_store_cache_bytes_total", {"store": "far", "outcome": outcome}
            )
            for outcome in ("hit", "miss")
        }
        assert found == {"hit": 5, "miss": 5}

    run(story())


def test_capabilities_are_those_of_the_store_but_for_open_files(tmp_path: Path) -> None:
    far = Far()
    layer = Cache(far, folder_at(tmp_path))
    assert layer.capabilities == far.capabilities & ~Capability.FILE
    run(layer.close())


async def storm(path: Path, seed: int, reads: int) -> tuple[int, int]:
    """Read at random, some leaving early, over a store that fails and files that are damaged; return (good, failed)."""
    chance = random.Random(seed)
    sizes = [0, 1, 5000, PIECE, PIECE + 1, 2 * PIECE + 9999]
    blobs = {f"b{number}": noise(chance.choice(sizes), number) for number in range(8)}
    good = failed = 0
    async with caching(path, 5 * MIB, **blobs) as (layer, far):

        async def one() -> None:
            nonlocal good, failed
            name = chance.choice(list(blobs))
            data = blobs[name]
            start = chance.randrange(max(1, len(data)))
            wish = (
                ByteRange(start, start + chance.choice([0, 4095, PIECE]))
                if data and chance.random() < 0.6
                else None
            )
            wanted = data if wish is None else data[start : (wish.end or 0) + 1]
            try:
                async with layer.get(name, range=wish) as reader:
                    found = b""
                    async for chunk in reader:
                        found += chunk
                        if chance.random() < 0.02:
                            return
                assert found == wanted
                good += 1
            except UnavailableError:
                failed += 1

        for _ in range(reads // 20):
            far.breaks_after = chance.choice([None, None, 0, 700_000])
            tasks = [asyncio.ensure_future(one()) for _ in range(20)]
            for task in tasks:
                if chance.random() < 0.1:
                    await asyncio.sleep(0)
                    task.cancel()
            ended = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 60)
            assert not [error for error in ended if isinstance(error, Exception)], ended
            await layer.settled()
            for piece in files_of(path):
                if chance.random() < 0.1:
                    chance.choice([damage_a_bit, damage_the_head, cut_short, empty, Path.unlink])(piece)
            if chance.random() < 0.3:
                await layer.forget(chance.choice(list(blobs)))
    return good, failed


def test_nothing_wrong_comes_out_in_a_storm(tmp_path: Path) -> None:
    good, failed = run(storm(tmp_path, 7, 300))
    assert good > 100
    assert failed > 0
