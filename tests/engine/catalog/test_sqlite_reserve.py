"""The room that is kept beside the catalog, for deleting on a full disk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import apsw
import pytest

from holdfast.catalog import open_catalog
from holdfast.catalog.ballast import Ballast
from holdfast.core.clock import Environment
from holdfast.core.errors import NotFoundError, QuotaExceededError
from tests.engine.catalog.support import Desk, run

pytestmark = pytest.mark.engine

SIZE = 1 << 20
MAKE = Ballast._make


class Disk:
    """Whether the disk is full, and the file whose room would be enough."""

    full = False
    reserve = Path()


class SmallFile(apsw.VFSFile):
    """A file that cannot be written while the disk is full and nobody gave up the reserve."""

    def __init__(self, name: object, flags: list[int]) -> None:
        super().__init__("unix", name, flags)

    def xWrite(self, data: object, offset: int) -> None:
        if Disk.full and Disk.reserve.exists():
            raise apsw.FullError("injected")
        super().xWrite(data, offset)  # type: ignore[arg-type]


class SmallDisk(apsw.VFS):
    """A default file system of `SmallFile`s."""

    def __init__(self) -> None:
        super().__init__("small", "unix", makedefault=True)

    def xOpen(self, name: object, flags: list[int]) -> SmallFile:
        return SmallFile(name, flags)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the catalog lies, on a disk that `Disk.full` fills."""
    monkeypatch.setattr(Ballast, "_make", lambda self: not Disk.full and MAKE(self))
    Disk.full, Disk.reserve = False, tmp_path / "catalog.db-reserve"
    disk = SmallDisk()
    yield tmp_path / "catalog.db"
    Disk.full = False
    disk.unregister()


@asynccontextmanager
async def desk_on(path: Path, ballast: int) -> AsyncIterator[Desk]:
    world = Environment()
    catalog = await open_catalog(f"sqlite:///{path}", environment=world, upgrade=True, ballast=ballast)
    try:
        await catalog.create_tenant("t")
        await catalog.create_bucket("t", "plain")
        yield Desk(catalog, world)
    finally:
        await catalog.close()


def test_a_full_disk_can_be_emptied(path: Path) -> None:
    async def story() -> None:
        async with desk_on(path, SIZE) as desk:
            assert Disk.reserve.stat().st_size == SIZE
            await desk.put("one")
            await desk.put("two")
            left = [copy.id for copy in await desk.intend(desk.ref("left"))]
            Disk.full = True
            with pytest.raises(QuotaExceededError, match="disk"):
                await desk.put("three")
            with pytest.raises(QuotaExceededError, match="disk"):
                await desk.catalog.abandon(left)
            assert Disk.reserve.exists(), "what a put needs does not get it, not even its end"

            done = await asyncio.gather(desk.delete("one"), desk.put("four"), return_exceptions=True)
            assert isinstance(done[1], QuotaExceededError)
            assert not isinstance(done[0], BaseException)
            with pytest.raises(NotFoundError):
                await desk.catalog.resolve(desk.ref("one"))
            assert not Disk.reserve.exists()

            with pytest.raises(QuotaExceededError, match="disk"):
                await desk.put("five")
            await desk.delete("two")
            await desk.catalog.expire()
            await desk.catalog.forget(list(await desk.states()))
            assert set(await desk.states()) == set(left), "only what a put still holds"
            assert not Disk.reserve.exists()

            Disk.full = False
            await desk.put("six")
            assert Disk.reserve.stat().st_size == SIZE, "made again as soon as there is room"
            await desk.check_counters("plain")

    run(story())


def test_without_a_reserve_nothing_is_held_back(path: Path) -> None:
    async def story() -> None:
        async with desk_on(path, 0) as desk:
            assert not Disk.reserve.exists()
            await desk.put("one")
            await desk.delete("one")

    run(story())


def test_a_disk_without_room_for_the_reserve_takes_nothing_new_but_reads_and_repeats(path: Path) -> None:
    async def story() -> None:
        async with desk_on(path, SIZE) as desk:
            made = await desk.put("one")
            Disk.full = True
            Disk.reserve.unlink()
            with pytest.raises(QuotaExceededError, match="disk"):
                await desk.catalog.create_bucket("t", "another")
            assert (await desk.catalog.resolve(desk.ref("one"))).version == made

    run(story())


def test_room_that_was_given_is_not_taken_back_by_what_frees(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with desk_on(path, SIZE) as desk:
            await desk.put("one")
            monkeypatch.setattr(Ballast, "_make", MAKE)  # the disk has room for it, once it was given up
            Disk.full = True
            await desk.delete("one")
            with pytest.raises(NotFoundError):
                await desk.catalog.resolve(desk.ref("one"))
            with pytest.raises(QuotaExceededError, match="disk"):
                await desk.put("two")
            assert Disk.reserve.exists()
            Disk.full = False

    run(story())
