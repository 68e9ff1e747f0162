"""SQLite under stress: neighbours in a group commit, killed processes, full and failing disks, damaged files."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest
from sqlalchemy import select, update

from holdfast.catalog import open_catalog, sqlite
from holdfast.catalog.common import in_bucket
from holdfast.catalog.schema import buckets, usage
from holdfast.catalog.statements import Statement, constant
from holdfast.catalog.transaction import Attempt, Steps
from holdfast.core.clock import Environment
from holdfast.core.errors import (
    ConfigError,
    ConflictError,
    CorruptedError,
    HoldfastError,
    InvalidRequestError,
    QuotaExceededError,
    UnavailableError,
)
from holdfast.core.types import Version
from tests.engine.catalog.support import GRACE, Desk, desk_at, run

pytestmark = pytest.mark.engine
ONE_MORE = Statement(
    update(usage)
    .where(usage.c.bucket_id == select(buckets.c.id).where(in_bucket()).scalar_subquery())
    .values(objects=usage.c.objects + constant(1))
    .returning(usage.c.objects)
)


class Gate:
    """A transaction that holds the writer until it is opened, so that what follows becomes one group."""

    def __init__(self) -> None:
        self.entered, self.opened = threading.Event(), threading.Event()

    def __call__(self, attempt: Attempt) -> Steps[None]:
        self.entered.set()
        assert self.opened.wait(20)
        return
        yield


def test_one_that_fails_does_not_fail_its_neighbours(sqlite_url: str) -> None:
    async def story() -> None:
        async with desk_at(sqlite_url) as desk:
            intents = [await desk.intend(desk.ref(f"k{number}")) for number in range(12)]
            for number in (3, 7):
                await desk.catalog.abandon([intents[number][0].id])
            gate = Gate()
            held = asyncio.create_task(desk.catalog._runner.write(gate))
            await asyncio.to_thread(gate.entered.wait, 20)
            commits = [
                asyncio.create_task(
                    desk.catalog.commit_put(
                        desk.content(desk.ref(f"k{number}"), copies), [copies[0].id], grace=GRACE
                    )
                )
                for number, copies in enumerate(intents)
            ]
            await asyncio.sleep(0.05)
            gate.opened.set()
            done = await asyncio.gather(*commits, return_exceptions=True)
            await held
            assert [number for number, one in enumerate(done) if isinstance(one, ConflictError)] == [3, 7]
            assert sum(isinstance(one, Version) for one in done) == 10
            page = await desk.catalog.list_objects("t", "plain")
            assert len(page.items) == 10
            assert [entry.action for entry in await desk.catalog.audit("t")].count("put") == 10
            await desk.check_counters()

    run(story())


@pytest.mark.parametrize("fails", [0, 2, 4])
def test_one_that_fails_after_a_change_leaves_nothing_and_fails_alone(sqlite_url: str, fails: int) -> None:
    """Its group begins anew; the others are committed once, whether they came before it or after."""
    driven: list[int] = []

    def change(number: int) -> Callable[[Attempt], Steps[int]]:
        def steps(attempt: Attempt) -> Steps[int]:
            driven.append(number)
            rows = yield ONE_MORE(tenant="t", bucket="plain")
            if number == fails:
                raise ConflictError("after the change")
            return int(rows[0][0])

        return steps

    async def story() -> None:
        async with desk_at(sqlite_url) as desk:
            runner = desk.catalog._runner
            gate = Gate()
            held = asyncio.create_task(runner.write(gate))
            await asyncio.to_thread(gate.entered.wait, 20)
            tasks = [asyncio.create_task(runner.write(change(number))) for number in range(5)]
            await asyncio.sleep(0.05)
            gate.opened.set()
            done = await asyncio.gather(*tasks, return_exceptions=True)
            await held
            assert [number for number, one in enumerate(done) if isinstance(one, ConflictError)] == [fails]
            assert [one for one in done if not isinstance(one, ConflictError)] == [1, 2, 3, 4]
            assert (await desk.catalog.usage("t", "plain")).objects == 4
            assert driven == [*range(fails + 1), *range(5)]

    run(story())


def test_readers_see_the_last_commit_while_a_writer_works(sqlite_url: str) -> None:
    async def story() -> None:
        async with desk_at(sqlite_url) as desk:
            made = await desk.put("k")
            gate = Gate()
            held = asyncio.create_task(desk.catalog._runner.write(gate))
            await asyncio.to_thread(gate.entered.wait, 20)
            assert (await desk.catalog.resolve(desk.ref("k"))).version == made
            assert (await desk.catalog.list_objects("t", "plain")).items == [made]
            gate.opened.set()
            await held

    run(story())


WRITER = """
import asyncio, sys
sys.path.insert(0, sys.argv[2])
from holdfast.catalog import open_catalog
from holdfast.core.clock import Environment
from tests.engine.catalog.support import Desk

async def main():
    world = Environment()
    desk = Desk(await open_catalog(sys.argv[1], environment=world), world)
    async def client(number):
        for count in range(100_000):
            made = await desk.put(f"{sys.argv[3]}-{number}-{count % 5}", "kept" if number % 2 else "plain")
            print(made.ref.bucket, made.ref.key, made.id, made.seq, flush=True)
    await asyncio.gather(*[client(number) for number in range(16)])

asyncio.run(main())
"""


def test_a_killed_process_loses_nothing_acknowledged(sqlite_url: str) -> None:
    root, chance = str(Path(__file__).parents[3]), random.Random(5)

    async def prepare() -> None:
        async with desk_at(sqlite_url, Environment()):
            pass

    async def verify(lines: list[str]) -> None:
        async with desk_at(sqlite_url, Environment(), fresh=False) as desk:
            newest: dict[tuple[str, str], int] = {}
            for line in lines:
                bucket, key, version_id, seq = line.split()
                newest[bucket, key] = max(newest.get((bucket, key), 0), int(seq))
                if bucket == "kept":
                    assert (await desk.catalog.version(desk.ref(key, bucket), version_id)).seq == int(seq)
            for (bucket, key), seq in newest.items():
                found = await desk.catalog.resolve(desk.ref(key, bucket))
                assert found.version.seq >= seq
                assert found.replicas
            await desk.check_counters()

    run(prepare())
    total = 0
    for trial in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, sqlite_url, root, str(trial)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        first = process.stdout.readline()
        timer = threading.Timer(0.1 + chance.random() * 0.4, process.send_signal, [signal.SIGKILL])
        timer.start()
        lines = [first, *process.stdout]
        process.wait(20)
        timer.cancel()
        assert process.returncode == -signal.SIGKILL
        complete = [line for line in lines if line.endswith("\n")]
        total += len(complete)
        run(verify(complete))
    assert total > 50


def test_a_full_disk_is_said_and_survived(sqlite_url: str) -> None:
    async def story() -> None:
        async with desk_at(sqlite_url) as desk:
            await desk.put("before")
            writer = desk.catalog._runner._writer  # type: ignore[attr-defined]
            pages = writer.pragma("page_count")
            writer.pragma("max_page_count", pages + 2)
            failures: list[HoldfastError] = []
            for number in range(200):
                try:
                    await desk.put(f"k{number}", metadata={"filler": "x" * 1500})
                except QuotaExceededError as error:
                    failures.append(error)
                    break
            assert failures, "the disk was full at some time"
            assert "disk" in failures[0].message
            several = await asyncio.gather(
                *[desk.put(f"m{number}", metadata={"filler": "x" * 1500}) for number in range(8)],
                return_exceptions=True,
            )
            assert any(isinstance(one, QuotaExceededError) for one in several)
            assert all(isinstance(one, QuotaExceededError | Version) for one in several)
            writer.pragma("max_page_count", 1_000_000)
            await desk.put("after")
            await desk.check_counters()
            for version in (one for one in several if isinstance(one, Version)):
                assert (await desk.catalog.resolve(version.ref)).version == version

    run(story())


class FaultyFile(apsw.VFSFile):
    """A file whose `fsync` fails while `failing`."""

    failing = False
    failures = 0

    def __init__(self, name: object, flags: list[int]) -> None:
        super().__init__("unix", name, flags)

    def xSync(self, flags: int) -> None:
        if FaultyFile.failing:
            FaultyFile.failures += 1
            raise apsw.IOError("injected")
        super().xSync(flags)


class FaultyDisk(apsw.VFS):
    """A default file system of `FaultyFile`s."""

    def __init__(self) -> None:
        super().__init__("faulty", "unix", makedefault=True)

    def xOpen(self, name: object, flags: list[int]) -> FaultyFile:
        return FaultyFile(name, flags)


@pytest.fixture
def faulty_disk() -> Iterator[None]:
    disk = FaultyDisk()
    yield
    FaultyFile.failing = False
    disk.unregister()


@pytest.mark.usefixtures("faulty_disk")
def test_a_disk_that_fails_at_commit_is_never_believed(sqlite_url: str) -> None:
    async def story() -> None:
        async with desk_at(sqlite_url) as desk:
            before = await desk.put("k")
            copies = await desk.intend(desk.ref("k"))
            new, ids = desk.content(desk.ref("k"), copies), [copies[0].id]
            broken = desk.catalog._runner._writer  # type: ignore[attr-defined]
            FaultyFile.failing = True
            with pytest.raises(UnavailableError):
                await desk.catalog.commit_put(new, ids, grace=GRACE)
            done = await asyncio.gather(*[desk.put(f"n{n}") for n in range(5)], return_exceptions=True)
            assert all(isinstance(one, UnavailableError) for one in done)
            assert FaultyFile.failures > 1
            FaultyFile.failing = False
            made = await desk.catalog.commit_put(new, ids, grace=GRACE)
            assert desk.catalog._runner._writer is not broken, (
                "a connection to a failing disk is not used again"
            )  # type: ignore[attr-defined]
            assert (await desk.catalog.resolve(desk.ref("k"))).version == made
            assert made.seq == before.seq + 1
            await desk.check_counters()

    run(story())


def test_a_lock_held_elsewhere_is_waited_for_then_reported(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_BUSY_MS", 300)

    async def story() -> None:
        async with desk_at(sqlite_url) as desk:
            made = await desk.put("k")
            other = apsw.Connection(sqlite_url.removeprefix("sqlite:///"))
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(UnavailableError, match="locked"):
                await desk.put("k2")
            assert (await desk.catalog.resolve(desk.ref("k"))).version == made
            waiting = asyncio.create_task(desk.put("k3"))
            await asyncio.sleep(0.05)
            other.execute("ROLLBACK")
            await waiting
            other.close()
            await desk.check_counters()

    run(story())


def test_files_that_are_no_catalog_are_refused(tmp_path: Path) -> None:
    async def refused(path: Path, match: str, kind: type[HoldfastError] = ConfigError) -> None:
        with pytest.raises(kind, match=match):
            await open_catalog(f"sqlite:///{path}", upgrade=True)

    (tmp_path / "text").write_text("this is not a database, and long enough to be looked at " * 40)
    run(refused(tmp_path / "text", "not a catalog"))
    run(refused(tmp_path / "missing" / "catalog.db", "cannot be opened"))
    run(refused(tmp_path, "cannot be opened"))


def test_damage_is_reported_as_damage(sqlite_url: str, tmp_path: Path) -> None:
    async def fill() -> None:
        async with desk_at(sqlite_url) as desk:
            await asyncio.gather(*[desk.put(f"k{number:05}") for number in range(800)])

    run(fill())
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    data = bytearray(path.read_bytes())
    for page in range(80, len(data) // 4096):
        data[page * 4096 : page * 4096 + 64] = b"\xff" * 64
    path.write_bytes(data)

    async def look() -> None:
        async with desk_at(sqlite_url, fresh=False) as desk:
            for number in range(800):
                await desk.catalog.resolve(desk.ref(f"k{number:05}"))

    with pytest.raises(CorruptedError, match="damaged"):
        run(look())


def test_values_that_no_catalog_holds_are_refused(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            began = time.monotonic()
            with pytest.raises(InvalidRequestError):
                await desk.catalog.resolve(desk.ref("\ud800"))
            with pytest.raises(InvalidRequestError):
                await desk.put("k", size=1 << 70)
            assert time.monotonic() - began < 5, "that is no reason to wait for another server"
            await desk.put("k")

    run(story())


def test_a_closed_catalog_says_so(sqlite_url: str) -> None:
    async def story() -> None:
        async with desk_at(sqlite_url) as desk:
            ref = desk.ref("k")
            waiting = [asyncio.create_task(desk.put(f"k{number}")) for number in range(5)]
            await asyncio.sleep(0.02)
            await asyncio.gather(*waiting)
            await desk.catalog.close()
            await desk.catalog.close()
            for call in (desk.catalog.resolve(ref), desk.put("k"), desk.catalog.list_objects("t", "plain")):
                with pytest.raises(UnavailableError, match="closed"):
                    await call

    run(story())


def test_what_is_queued_when_it_closes_is_finished(sqlite_url: str) -> None:
    async def story() -> Desk:
        async with desk_at(sqlite_url) as desk:
            intents = [await desk.intend(desk.ref(f"k{number}")) for number in range(10)]
            commits = [
                asyncio.create_task(
                    desk.catalog.commit_put(
                        desk.content(desk.ref(f"k{number}"), copies), [copies[0].id], grace=0
                    )
                )
                for number, copies in enumerate(intents)
            ]
            await asyncio.sleep(0)
            await desk.catalog.close()
            assert len(await asyncio.gather(*commits)) == 10
            return desk

    run(story())
