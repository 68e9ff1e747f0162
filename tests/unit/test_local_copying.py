"""Copies from one folder of this machine to another: order of writes, each call failing, sources that change, and death."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from holdfast.backends.local import LocalBackend
from holdfast.backends.local.copying import PART
from holdfast.backends.local.kernel import Kernel
from holdfast.core.adopted import Hold, foreign_name
from holdfast.core.backend import PutOptions
from holdfast.core.body import Body
from holdfast.core.errors import (
    CorruptedError,
    HoldfastError,
    NotFoundError,
    QuotaExceededError,
    UnavailableError,
    UnsupportedError,
)
from tests.unit.test_local_disk import BIG, Watched, files, names, opened, run

pytestmark = pytest.mark.unit

METADATA = PutOptions(metadata={"k": "v"})
WAYS = ("shared", "kernel", "plain")


class Way(Watched):
    """Copies one way, whatever the file system can do; `meddle` is called when a part was copied."""

    def __init__(self, way: str = "kernel", *, named: bool = False) -> None:
        super().__init__(named=named)
        self.way = way
        self.meddle = lambda: None

    def clone(self, source: int, fd: int) -> None:
        if self.way != "shared":
            raise OSError(errno.EOPNOTSUPP, "nothing is shared")
        os.pwrite(fd, os.pread(source, os.fstat(source).st_size, 0), 0)
        self.meddle()

    def copy_range(self, source: int, offset: int, fd: int, count: int) -> int:
        if self.way == "plain":
            raise OSError(errno.EXDEV, "two file systems")
        copied = super().copy_range(source, offset, fd, min(count, 1_000_000))
        self.meddle()
        return copied

    def read(self, fd: int, offset: int, count: int) -> bytes:
        data = super().read(fd, offset, count)
        self.meddle()
        return data


@asynccontextmanager
async def two(folder: Path, kernel: Kernel) -> AsyncIterator[tuple[LocalBackend, LocalBackend]]:
    """Open two folders; the one that copies goes through `kernel`."""
    async with (
        opened(folder / "here", create=True) as here,
        opened(folder / "there", kernel, create=True) as there,
    ):
        yield here, there


async def read(backend: LocalBackend, name: str) -> bytes:
    async with backend.get(name) as reader:
        return await reader.read()


@pytest.mark.parametrize("way", WAYS)
def test_bytes_and_name_of_a_copy_are_on_disk_before_the_answer(tmp_path: Path, way: str) -> None:
    async def story() -> None:
        kernel = Way(way)
        async with two(tmp_path, kernel) as (here, there):
            await here.put("blob", Body.of_bytes(BIG), options=METADATA)
            await there.put("a/old", Body.of_bytes(b"old"))
            for name, naming in (("a/b/new", "link_unnamed"), ("a/old", "rename")):
                kernel.start()
                await there.copy_from(here, "blob", name)
                calls = [call for call, _ in kernel.log]
                last = {"shared": "clone", "kernel": "copy_range", "plain": "write"}[way]
                copied = max(at for at, call in enumerate(calls) if call == last)
                assert copied < calls.index("set_attribute") < calls.index("sync")
                assert ("write" in calls) == (way == "plain")
                assert ("allocate" in calls) == (way != "shared")
                if naming == "rename":  # what stood there stays until the copy is durable
                    assert calls.index("sync") < calls.index("rename")
                synced = {where for call, where in kernel.log[calls.index(naming) :] if call == "sync"}
                assert str((tmp_path / "there" / name).parent) in synced
                assert (await read(there, name), dict((await there.head(name)).metadata)) == (BIG, {"k": "v"})

    run(story)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("named", [False, True], ids=["unnamed", "named"])
def test_whichever_call_of_a_copy_fails_it_is_whole_or_not_there(
    tmp_path: Path, way: str, named: bool
) -> None:
    async def story() -> None:
        kernel = Way(way, named=named)
        async with two(tmp_path, kernel) as (here, there):
            await here.put("blob", Body.of_bytes(BIG), options=METADATA)
            at = failures = 0
            while True:
                at += 1
                name = f"folder-{at}/blob"
                kernel.start(at, errno.EIO)
                try:
                    await there.copy_from(here, "blob", name)
                except NotFoundError:
                    raise AssertionError("the source is there") from None
                except HoldfastError:
                    failures += 1
                    kernel.start()
                    assert name not in await names(there)
                    assert not [path for path in files(tmp_path / "there") if f"folder-{at}/" in path]
                    continue
                calls = kernel.log.copy()
                kernel.start()
                assert await read(there, name) == BIG
                if len(calls) < at:
                    break
                # What the kernel will not copy is read and written; a temporary name may stay for `tidy`.
                assert calls[at - 1][0] in ("clone", "copy_range", "unlink")
            assert failures > 8

    run(story)


def test_a_full_disk_is_told_and_a_source_that_cannot_be_read_has_to_be_sent(tmp_path: Path) -> None:
    async def story() -> None:
        kernel = Way("plain")
        async with two(tmp_path, kernel) as (here, there):
            await here.put("blob", Body.of_bytes(BIG))
            kernel.start()
            await there.copy_from(here, "blob", "first")
            calls = [call for call, _ in kernel.log]
            for call, number, kind in (
                ("allocate", errno.ENOSPC, QuotaExceededError),
                ("write", errno.ENOSPC, QuotaExceededError),
                ("write", errno.EIO, UnavailableError),
                ("read", errno.EIO, UnsupportedError),
            ):
                kernel.start(calls.index(call) + 1, number)
                with pytest.raises(kind) as caught:
                    await there.copy_from(here, "blob", "other")
                assert (caught.value.operation, caught.value.store) == ("copy", "disk")
            assert await names(there) == ["first"]

    run(story)


@pytest.mark.parametrize("way", WAYS)
def test_what_others_write_into_is_copied_whole_or_not(tmp_path: Path, way: str) -> None:
    async def story() -> None:
        kernel = Way(way)
        async with two(tmp_path, kernel) as (here, there):
            file = tmp_path / "here" / "theirs.bin"
            file.write_bytes(BIG)
            name = foreign_name("theirs.bin")
            pinned = foreign_name("theirs.bin", (await here.head(name)).etag or "", Hold.KEEP)
            await there.copy_from(here, pinned, "first")
            assert await read(there, "first") == BIG

            def overwrite() -> None:
                with file.open("r+b") as other:
                    other.write(b"x" * len(BIG))

            kernel.meddle = overwrite
            for source in (name, pinned):
                with pytest.raises((UnavailableError, NotFoundError)):
                    await there.copy_from(here, source, "second")
            kernel.meddle = lambda: None
            with pytest.raises(NotFoundError, match="another content"):
                await there.copy_from(here, pinned, "second")
            assert await names(there) == ["first"]
            await there.copy_from(here, name, "second")
            assert await read(there, "second") == b"x" * len(BIG)

    run(story)


@pytest.mark.parametrize("way", WAYS)
def test_a_source_that_goes_is_copied_all_the_same_and_one_that_is_cut_is_not(
    tmp_path: Path, way: str
) -> None:
    async def story() -> None:
        kernel = Way(way)
        async with two(tmp_path, kernel) as (here, there):
            await here.put("blob", Body.of_bytes(BIG))
            file = tmp_path / "here" / "%blob"
            kernel.meddle = lambda: file.unlink(missing_ok=True)
            await there.copy_from(here, "blob", "copy")
            assert await read(there, "copy") == BIG
            kernel.meddle = lambda: None
            with pytest.raises(NotFoundError):
                await there.copy_from(here, "blob", "never")
            await here.put("blob", Body.of_bytes(BIG))
            opening = here.open

            async def cutting(name: str, operation: str) -> Any:
                found = await opening(name, operation)
                os.truncate(file, 1_500_000)
                return found

            here.open = cutting  # type: ignore[method-assign]
            with pytest.raises(CorruptedError, match="1060000 bytes early"):
                await there.copy_from(here, "blob", "never")
            assert await names(there) == ["copy"]

    run(story)


@pytest.mark.parametrize("way", WAYS)
def test_a_copy_that_is_stopped_leaves_nothing_and_holds_nothing_open(tmp_path: Path, way: str) -> None:
    async def story() -> None:
        kernel, reached, go = Way(way), threading.Event(), threading.Event()
        steps: list[None] = []

        def wait() -> None:
            steps.append(None)
            reached.set()
            go.wait(10)

        async with two(tmp_path, kernel) as (here, there):
            await here.put("blob", Body.of_bytes(BIG * 4))  # more than one part
            assert len(BIG) * 4 > PART
            before = len(os.listdir("/proc/self/fd"))
            kernel.meddle = wait
            copying = asyncio.ensure_future(there.copy_from(here, "blob", "folder/copy"))
            assert await asyncio.to_thread(reached.wait, 10)  # the loop is free while it copies
            copying.cancel()
            await asyncio.sleep(0)
            go.set()
            with pytest.raises(asyncio.CancelledError):
                await copying
            assert len(steps) == 1  # and not to the end of the file
            assert await names(there) == []
            assert len(os.listdir("/proc/self/fd")) <= before + 1
        assert files(tmp_path / "there") == []

    run(story)


def test_closing_ends_a_copy_and_a_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    async def story() -> None:
        kernel, reached, go = Way(), threading.Event(), threading.Event()
        kernel.meddle = lambda: (reached.set(), go.wait(10))  # type: ignore[assignment, return-value]
        async with two(tmp_path, kernel) as (here, there):
            await here.put("blob", Body.of_bytes(BIG * 4))
            copying = asyncio.ensure_future(there.copy_from(here, "blob", "folder/copy"))
            assert await asyncio.to_thread(reached.wait, 10)
            closing = asyncio.ensure_future(there.close())
            await asyncio.sleep(0)
            go.set()
            with pytest.raises(UnavailableError, match="closed"):
                await copying
            await closing
            assert files(tmp_path / "there") == []
            async with opened(tmp_path / "gone", create=True) as gone:
                (tmp_path / "gone").rmdir()
                with pytest.raises(UnavailableError):
                    await gone.copy_from(here, "blob", "copy")

    run(story)


def test_a_process_that_dies_while_it_copies_leaves_all_or_nothing(tmp_path: Path) -> None:
    script = """
        import asyncio, os, sys
        from pathlib import Path
        from holdfast.backends.local import LocalSettings, open_local
        from holdfast.core.body import Body
        from holdfast.core.clock import Environment
        from holdfast.core.failpoints import arm_from_environment

        async def story(root, point):
            here, there = (
                open_local(name, LocalSettings(path=root / name, create=True), environment=Environment())
                for name in ("here", "there")
            )
            for store in (here, there):
                await store.put("old", Body.of_bytes(b"old"))
            await here.put("new", Body.of_bytes(b"new" * 1_000_000))
            os.environ["HOLDFAST_FAILPOINT"] = f"{point}:1"
            arm_from_environment()
            await there.copy_from(here, "new", os.environ["TARGET"])

        for point in sys.argv[2:]:
            for target in ("old", "fresh"):
                if not (child := os.fork()):
                    os.environ["TARGET"] = target
                    asyncio.run(story(Path(sys.argv[1]) / f"{point}-{target}", point))
                    os._exit(0)
                print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    points = ("local.after_create", "local.after_write", "local.after_fsync", "local.after_rename")
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path), *points],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.split() == ["-9"] * 8, done.stderr

    async def story() -> None:
        whole = 0
        for point in points:
            for target in ("old", "fresh"):
                async with opened(tmp_path / f"{point}-{target}" / "there") as there:
                    seen = {name: await read(there, name) for name in await names(there)}
                    new = b"new" * 1_000_000
                    assert seen in ({"old": b"old"}, {"old": b"old", target: new})
                    whole += new in seen.values()
        assert 2 <= whole < 8

    run(story)
