"""Reading from the best copy, resuming on another at the offset, and noticing damage before the reader does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from holdfast.backends.memory import MemorySettings, open_memory
from holdfast.core.backend import Store
from holdfast.core.body import Body, Reader
from holdfast.core.clock import Environment
from holdfast.core.errors import CorruptedError, NotFoundError, UnauthenticatedError, UnavailableError
from holdfast.core.types import ByteRange, ReplicaState
from holdfast.engine.settings import EngineSettings
from tests.helpers import blobs_on_disk, content, engine_on, noise, run

pytestmark = pytest.mark.engine
MIB = 1 << 20
CHUNK = 64 << 10
DATA = noise(4 * MIB + 77, 5)


class Unreliable:
    """A backend whose reads misbehave as told: `cut` after so many bytes, `flip` one bit, `missing`, `down`."""

    def __init__(self, inner: object) -> None:
        self._inner = inner
        self.plan: list[tuple[str, int]] = []
        self.reads: list[ByteRange | None] = []
        self.refuses = False

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    async def put(self, name: str, body: Body, **how: object) -> object:
        if self.refuses:
            raise UnauthenticatedError("no such key", operation="put", store="one")
        return await self._inner.put(name, body, **how)  # type: ignore[attr-defined]

    @asynccontextmanager
    async def get(self, name: str, *, range: ByteRange | None = None) -> AsyncIterator[Reader]:
        self.reads.append(range)
        what, where = self.plan.pop(0) if self.plan else ("", 0)
        if what == "missing":
            raise NotFoundError("gone", operation="get")
        if what == "down":
            raise UnavailableError("down", operation="get")
        if what == "refused":
            raise UnauthenticatedError("bad credentials", operation="get", store="one")
        async with self._inner.get(name, range=range) as reader:  # type: ignore[attr-defined]
            yield reader.through(lambda chunks: self._spoil(chunks, what, where)) if what else reader

    async def _spoil(self, chunks: AsyncIterator[bytes], what: str, where: int) -> AsyncIterator[bytes]:
        seen = 0
        async for chunk in chunks:
            if what == "cut" and seen + len(chunk) > where:
                yield chunk[: where - seen]
                raise UnavailableError("the connection broke", operation="get")
            if what == "flip" and seen <= where < seen + len(chunk):
                spoiled = bytearray(chunk)
                spoiled[where - seen] ^= 1
                chunk = bytes(spoiled)
            seen += len(chunk)
            yield chunk


def unreliable(name: str) -> tuple[Store, Unreliable]:
    wrapped = Unreliable(open_memory(name, MemorySettings(), environment=Environment()))
    return Store(name, wrapped), wrapped  # type: ignore[arg-type]


FAULTS = [
    ("cut", 0),
    ("cut", 1),
    ("cut", 2 * MIB + 5),
    ("cut", len(DATA) - 1),
    ("flip", 0),
    ("flip", 3 * MIB),
    ("missing", 0),
    ("down", 0),
    ("refused", 0),
]


@pytest.mark.parametrize(("what", "where"), FAULTS)
def test_a_broken_copy_is_continued_on_another(sqlite_url: str, what: str, where: int) -> None:
    async def story() -> None:
        first, one = unreliable("one")
        second, two = unreliable("two")
        async with engine_on(sqlite_url, first, second) as (engine, session):
            await session.put("plain", "k", Body.of_bytes(DATA))
            one.plan = [(what, where)]
            assert await content(session, "plain", "k") == DATA
            assert len(two.reads) == 1
            if what == "cut":
                resumed = two.reads[0].start if two.reads[0] else 0
                assert resumed == where // CHUNK * CHUNK  # behind the last chunk that was proved
            one.plan = [(what, 0)]
            assert await content(session, "plain", "k", range=ByteRange(3, 9)) == DATA[3:10]
            states = {replica.store: replica.state for replica in await engine.catalog.replicas()}
            assert states["two"] is ReplicaState.LIVE
            # gone is gone; damaged once may have been damaged on its way, twice is not
            assert (states["one"] is ReplicaState.SUSPECT) == (what in ("missing", "flip"))
            assert [debt.reason for debt in await engine.catalog.debts()] == (
                ["damaged"] if states["one"] is ReplicaState.SUSPECT else []
            )

    run(story())


def test_a_single_copy_is_tried_again_at_the_offset(sqlite_url: str) -> None:
    async def story() -> None:
        store, backend = unreliable("one")
        async with engine_on(sqlite_url, store) as (_, session):
            await session.put("plain", "k", Body.of_bytes(DATA))
            backend.plan = [("cut", MIB + 1), ("down", 0), ("cut", 2 * MIB), ("flip", 5), ("", 0)]
            assert await content(session, "plain", "k") == DATA

    run(story())


def test_damage_that_stays_is_an_error_and_never_wrong_bytes(sqlite_url: str) -> None:
    async def story() -> None:
        store, backend = unreliable("one")
        async with engine_on(sqlite_url, store) as (engine, session):
            await session.put("plain", "k", Body.of_bytes(DATA))
            await session.put("plain", "small", Body.of_bytes(DATA[:100]))
            backend.plan = [("flip", 2 * MIB)] + [("flip", 0)] * 20
            got = b""
            with pytest.raises(CorruptedError):
                async with session.get("plain", "k") as reader:
                    async for chunk in reader:
                        got += chunk
            assert got == DATA[: len(got)]
            assert 0 < len(got) <= 2 * MIB
            backend.plan = [("flip", 0)] * 20
            for span in (None, ByteRange(10, 20)):  # a part of it is proved by all of it
                with pytest.raises(CorruptedError):
                    await content(session, "plain", "small", range=span)
            backend.plan = []
            assert await content(session, "plain", "k") == DATA
            assert {replica.state for replica in await engine.catalog.replicas()} == {ReplicaState.SUSPECT}

    run(story())


def test_every_copy_down_is_unavailable(sqlite_url: str) -> None:
    async def story() -> None:
        store, backend = unreliable("one")
        async with engine_on(sqlite_url, store) as (_, session):
            await session.put("plain", "k", Body.of_bytes(DATA))
            backend.plan = [("down", 0)] * 50
            with pytest.raises(UnavailableError):
                await content(session, "plain", "k")

    run(story())


def test_a_store_that_failed_is_passed_over_for_a_while(sqlite_url: str) -> None:
    environment = Environment.seeded(3)

    async def story() -> None:
        first, one = unreliable("one")
        second, two = unreliable("two")
        async with engine_on(sqlite_url, first, second, environment=environment) as (_, session):
            await session.put("plain", "k", Body.of_bytes(DATA))
            one.plan = [("down", 0)]
            for _ in range(3):
                assert await content(session, "plain", "k") == DATA
            assert (len(one.reads), len(two.reads)) == (1, 3)
            environment.clock.advance(31)  # type: ignore[attr-defined]
            await content(session, "plain", "k")
            assert (len(one.reads), len(two.reads)) == (2, 3)

    run(story())


def test_a_copy_removed_behind_our_back_is_unavailable_and_the_row_stays(
    sqlite_url: str, tmp_path: Path
) -> None:
    from tests.helpers import local_store

    async def story() -> None:
        async with engine_on(sqlite_url, local_store("local", tmp_path / "o", Environment())) as (
            engine,
            session,
        ):
            await session.put("plain", "k", Body.of_bytes(DATA))
            for path in blobs_on_disk(tmp_path / "o"):
                path.unlink()
            with pytest.raises(UnavailableError):
                await content(session, "plain", "k")
            assert [replica.state for replica in await engine.catalog.replicas()] == [ReplicaState.SUSPECT]

    run(story())


def test_small_contents_are_read_once_while_they_fit(sqlite_url: str) -> None:
    async def story() -> None:
        store, backend = unreliable("one")
        settings = EngineSettings(hot=2500)
        async with engine_on(sqlite_url, store, settings=settings) as (_, session):
            for number in range(3):
                await session.put("plain", f"k{number}", Body.of_bytes(noise(1000, number)))
            for number in (0, 0, 1, 1, 0, 2, 0, 1):
                assert await content(session, "plain", f"k{number}") == noise(1000, number)
            assert len(backend.reads) == 4  # 0, 1, 2, and 1 again, which went when 2 came
            await session.put("plain", "k0", Body.of_bytes(b"new"))
            assert await content(session, "plain", "k0") == b"new"
            await session.delete("plain", "k0")
            with pytest.raises(NotFoundError):
                await content(session, "plain", "k0")

    run(story())


def test_what_a_store_says_of_us_is_not_said_of_the_client(sqlite_url: str) -> None:
    async def story() -> None:
        store, backend = unreliable("one")
        async with engine_on(sqlite_url, store) as (_, session):
            await session.put("plain", "k", Body.of_bytes(DATA))
            backend.plan = [("refused", 0)]
            with pytest.raises(UnavailableError, match="bad credentials"):
                await content(session, "plain", "k")
            backend.refuses = True
            for body in (Body.of_bytes(b"x"), Body.of_bytes(DATA)):
                with pytest.raises(UnavailableError, match="store one: no such key"):
                    await session.put("plain", "new", body)

    run(story())


@pytest.mark.parametrize("size", [1000, 3 * MIB])
def test_a_copy_of_another_length_is_passed_over_before_a_byte_is_sent(
    sqlite_url: str, tmp_path: Path, size: int
) -> None:
    from tests.helpers import local_store

    async def story() -> None:
        one = local_store("one", tmp_path / "one", Environment())
        two = local_store("two", tmp_path / "two", Environment())
        async with engine_on(sqlite_url, one, two) as (engine, session):
            await session.put("plain", "k", Body.of_bytes(DATA[:size]))
            (victim,) = blobs_on_disk(tmp_path / "one")
            victim.chmod(0o600)
            with victim.open("r+b") as file:
                file.truncate(size - 1)
            async with session.get("plain", "k") as reader:
                assert await reader.read() == DATA[:size]
            states = {replica.store: replica.state for replica in await engine.catalog.replicas()}
            assert states["two"] is ReplicaState.LIVE

    run(story())
