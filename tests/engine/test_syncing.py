"""Trees and stores made equal: every way, through faults, links, changes and foreign names."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.backends import memory
from holdfast.backends.memory import MemoryBackend
from holdfast.core.body import Body, Reader
from holdfast.core.errors import (
    ConflictError,
    CorruptedError,
    InvalidRequestError,
    QuotaExceededError,
    UnavailableError,
    UnsupportedError,
)
from holdfast.core.types import BlobInfo, ByteRange
from holdfast.library.syncing import fetch, ground, known, tree
from holdfast.library.syncing import push as pushing
from holdfast.library.syncing.opening import Plain
from holdfast.library.syncing.place import MODE, MTIME
from holdfast.library.syncing.pull import pull
from holdfast.library.syncing.push import push
from holdfast.library.syncing.report import Report, Wish
from holdfast.library.syncing.store_place import StorePlace
from holdfast.policy.globs import selection
from holdfast.policy.syncing import PART, TRASH

pytestmark = pytest.mark.engine
MIB = 1 << 20


@pytest.fixture(autouse=True, scope="module")
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(memory, "check_blob_name", str)  # names as a plain store has them
        yield


def forget() -> None:
    """Lose what was remembered."""
    shutil.rmtree(os.environ["XDG_CACHE_HOME"])


class Store(MemoryBackend):
    """A store that counts what it is asked, and fails as it is told."""

    def __init__(self) -> None:
        super().__init__("plain")
        self.heads = self.puts = 0
        self.read = 0  #: bytes that were sent out
        self.break_after: int | None = None  #: bytes of a stream, once
        self.wrong = False
        self.list_ends: int | None = None

    async def put(self, name: str, body: Body, **how: Any) -> BlobInfo:
        self.puts += 1
        return await super().put(name, body, **how)

    async def head(self, name: str) -> BlobInfo:
        self.heads += 1
        return await super().head(name)

    @asynccontextmanager
    async def get(self, name: str, *, range: ByteRange | None = None) -> AsyncIterator[Reader]:
        async with super().get(name, range=range) as reader:
            yield replace(reader, chunks=self._chunks(reader), data=None, file=None)

    async def _chunks(self, reader: Reader) -> AsyncIterator[bytes]:
        async for whole in reader.chunks:
            for at in range(0, len(whole), 256 << 10):
                chunk = whole[at : at + (256 << 10)]
                if self.break_after is not None and self.read >= self.break_after:
                    self.break_after = None
                    raise UnavailableError("the connection broke")
                self.read += len(chunk)
                yield bytes(len(chunk)) if self.wrong else chunk

    async def list(self, prefix: str = "", *, after: str = "") -> AsyncIterator[BlobInfo]:
        seen = 0
        async for info in super().list(prefix, after=after):
            if self.list_ends is not None and seen >= self.list_ends:
                raise UnavailableError("the listing broke")
            seen += 1
            yield info


class Md5Store(Store):
    """A store whose ETags are MD5 sums, as those of S3 are."""

    async def put(self, name: str, body: Body, **how: Any) -> BlobInfo:
        info = await super().put(name, Body.of_bytes(await body.read()), **how)
        return info._replace(etag=await self._sum(name))

    async def list(self, prefix: str = "", *, after: str = "") -> AsyncIterator[BlobInfo]:
        async for info in super().list(prefix, after=after):
            yield info._replace(etag=await self._sum(info.name))

    @asynccontextmanager
    async def get(self, name: str, *, range: ByteRange | None = None) -> AsyncIterator[Reader]:
        async with super().get(name, range=range) as reader:
            yield replace(reader, info=reader.info._replace(etag=await self._sum(name)))

    async def head(self, name: str) -> BlobInfo:
        return (await super().head(name))._replace(etag=await self._sum(name))

    async def _sum(self, name: str) -> str:
        async with MemoryBackend.get(self, name) as reader:
            return hashlib.md5(await reader.read(), usedforsecurity=False).hexdigest()


def place(store: Store, prefix: str = "in/here") -> StorePlace:
    return StorePlace(Plain(store, "memory", etags=isinstance(store, Md5Store)), prefix)


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 60))


def make(root: Path, files: dict[str, bytes]) -> Path:
    for key, data in files.items():
        path = root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    root.mkdir(exist_ok=True)
    return root


def content(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and not path.relative_to(root).as_posix().startswith(TRASH)
    }


async def names(store: Store) -> list[str]:
    return [info.name async for info in MemoryBackend.list(store)]


async def sent(root: Path, store: Store, **how: Any) -> Report:
    report = Report()
    await push(root, place(store), Wish(**how), report)
    return report


async def fetched(store: Store, root: Path, **how: Any) -> Report:
    report = Report()
    await pull(place(store), root, Wish(**how), report)
    return report


FILES = {"a.txt": b"one", "b/c d ü.bin": b"two" * 9, "b/e": b"", "b.x": b"three", "big": os.urandom(3 * MIB)}


def test_there_and_back_with_times_and_modes(tmp_path: Path) -> None:
    source = make(tmp_path / "source", FILES)
    (source / "a.txt").chmod(0o754)
    os.utime(source / "a.txt", ns=(1, 1_600_000_000_123_456_789))

    async def story() -> None:
        store = Store()
        assert (await sent(source, store)).moved == len(FILES)
        info = await store.head("in/here/a.txt")
        assert dict(info.metadata) == {MTIME: "1600000000.123456789", MODE: "754"}
        target = tmp_path / "target"
        assert (await fetched(store, target, dry_run=True)).moved == len(FILES)
        assert not target.exists()
        assert (await fetched(store, target)).moved == len(FILES)
        assert content(target) == FILES
        facts = (target / "a.txt").stat()
        assert (facts.st_mtime_ns, facts.st_mode & 0o777) == (1_600_000_000_123_456_789, 0o754)
        for report in (await sent(source, store), await fetched(store, target), await sent(target, store)):
            assert (report.moved, report.same, report.failed) == (0, len(FILES), 0)

    run(story)


def test_the_second_run_asks_for_nothing_and_without_what_was_remembered_it_still_moves_nothing(
    tmp_path: Path,
) -> None:
    source = make(tmp_path / "source", FILES)
    os.utime(source / "b.x", (1_600_000_000, 1_600_000_000))

    async def story() -> None:
        store = Store()
        await sent(source, store)
        store.heads = store.puts = 0
        assert (await sent(source, store)).same == len(FILES)
        assert (store.heads, store.puts) == (0, 0)
        forget()
        assert (await sent(source, store)).same == len(FILES)
        assert (store.heads, store.puts) == (len(FILES), 0)
        (source / "a.txt").write_bytes(b"ONE")
        assert (await sent(source, store, dry_run=True)).moved == 1
        assert store.puts == 0
        assert (await sent(source, store)).moved == 1
        # another program replaces the object with one of the same size
        await store.put("in/here/b.x", Body.of_bytes(b"THREE"))
        assert (await sent(source, store)).moved == 1
        assert (await store.head("in/here/b.x")).metadata[MTIME]

    run(story)


def test_times_that_nobody_noted_are_compared_by_second_and_by_content(tmp_path: Path) -> None:
    async def story() -> None:
        store = Md5Store()
        await store.put("in/here/x", Body.of_bytes(b"theirs"))
        target = tmp_path / "target"
        assert (await fetched(store, target)).moved == 1
        forget()
        assert (await fetched(store, target)).same == 1
        os.utime(target / "x", (5, 5))
        assert (await sent(target, store)).same == 1
        (target / "x").write_bytes(b"mine!!")
        assert (await sent(target, store)).moved == 1

    run(story)


def test_contents_are_compared_when_asked_for(tmp_path: Path) -> None:
    source = make(tmp_path / "source", {"x": b"same", "y": b"this"})

    async def story() -> None:
        store = Md5Store()
        await sent(source, store)
        before = (source / "y").stat()
        os.utime(source / "x", (9, 9))
        (source / "y").write_bytes(b"that")
        os.utime(source / "y", ns=(before.st_atime_ns, before.st_mtime_ns))
        report = await sent(source, store, digests=True)
        assert (report.moved, report.same) == (1, 1)

    run(story)


def test_what_is_gone_goes_into_a_trash_that_is_never_synced(tmp_path: Path) -> None:
    source = make(tmp_path / "source", {"a": b"1", "b": b"2", "d/c": b"3"})

    async def story() -> None:
        store = Store()
        await sent(source, store)
        target = tmp_path / "target"
        await fetched(store, target)
        shutil.rmtree(source / "d")
        assert (await sent(source, store)).removed == 0
        dry = await sent(source, store, delete=True, dry_run=True)
        assert dry.removed == 1
        assert len(await names(store)) == 3
        report = await sent(source, store, delete=True)
        assert report.removed == 1
        assert report.trash.startswith("in/here/" + TRASH)
        assert await names(store) == [f"{report.trash}d/c", "in/here/a", "in/here/b"]
        again = await sent(source, store, delete=True)
        assert (again.removed, again.same) == (0, 2)
        pulled = await fetched(store, target, delete=True)
        assert (pulled.moved, pulled.removed) == (0, 1)
        assert not (target / "d").exists()
        assert Path(pulled.trash, "d/c").read_bytes() == b"3"
        (source / "b").unlink()
        gone = await sent(source, store, delete=True, trash=None)
        assert (gone.removed, gone.trash) == (1, "")
        elsewhere = tmp_path / "old"
        assert (await fetched(store, target, delete=True, trash=str(elsewhere))).removed == 1
        assert content(Path(pulled.trash)) == {"d/c": b"3"}
        (below,) = elsewhere.iterdir()
        assert content(below) == {"b": b"2"}

    run(story)


@pytest.mark.parametrize("trash", ["in/here", "/in/here/", "in/here/old", f"in/here/{TRASH.rstrip('/')}x"])
def test_a_trash_that_lies_in_what_is_synced_is_refused(tmp_path: Path, trash: str) -> None:
    source = make(tmp_path / "source", {"a": b"1", "b": b"2"})

    async def story() -> None:
        store = Store()
        await sent(source, store)
        target = tmp_path / "in" / "here"
        await fetched(store, target)
        (source / "b").unlink()
        before = await names(store)
        with pytest.raises(InvalidRequestError, match="lies in what is synced"):
            await sent(source, store, delete=True, trash=trash)
        assert await names(store) == before
        await sent(source, store, delete=True)
        with pytest.raises(InvalidRequestError, match="lies in what is synced"):
            await fetched(store, target, delete=True, trash=f"{tmp_path}/{trash.strip('/')}")
        assert content(target) == {"a": b"1", "b": b"2"}

    run(story)


@pytest.mark.parametrize("trash", ["in", "bin", f"in/here/{TRASH}mine"])
def test_a_named_trash_loses_nothing_that_lies_in_it(tmp_path: Path, trash: str) -> None:
    source = make(tmp_path / "source", {"x": b"kept", "y": b"kept"})

    async def story() -> None:
        store, target = Store(), tmp_path / "in" / "here"
        await store.put(f"{trash}/b", Body.of_bytes(b"theirs"))
        make(tmp_path, {f"{trash}/b": b"theirs"})
        for data in (b"one", b"two"):
            (source / "b").write_bytes(data)
            await sent(source, store)
            await fetched(store, target)
            (source / "b").unlink()
            pushed = await sent(source, store, delete=True, trash=trash)
            pulled = await fetched(store, target, delete=True, trash=str(tmp_path / trash))
            for report in (pushed, pulled):
                assert (report.removed, report.failed) == (1, 0)
            async with store.get(f"{pushed.trash}b") as reader:
                assert await reader.read() == Path(pulled.trash, "b").read_bytes() == data
        assert len(await names(store)) == 5  # x, y, theirs, and both that were removed
        async with store.get(f"{trash}/b") as reader:
            assert await reader.read() == (tmp_path / trash / "b").read_bytes() == b"theirs"

    run(story)


def test_where_a_trash_takes_two_names_for_one_the_second_stays(tmp_path: Path) -> None:
    here, there = make(tmp_path / "here", {"a": b"1"}), make(tmp_path / "there", {"run/a": b"other"})
    (item,) = tree.Tree(here, tell=lambda *_: None).files()
    with pytest.raises(ConflictError, match="in the trash"):
        ground.Ground(str(here)).move("a", item.size, item.stamp, ground.Ground(str(there)), "run/")
    assert (content(here), content(there)) == ({"a": b"1"}, {"run/a": b"other"})


def test_a_file_that_merely_ends_like_a_part_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = f".x.{'0' * 16}{PART}"
    target = make(tmp_path / "target", {f"thesis{PART}": b"mine", ours: b"begun", f"d/{ours}": b"begun"})
    now = time.time()
    monkeypatch.setattr(ground, "time", SimpleNamespace(time=lambda: now + 100_000))

    async def story() -> None:
        store, said = Store(), []
        assert (await sent(target, store)).moved == 1
        await store.put(f"in/here/{ours}", Body.of_bytes(b"an object"))
        report = Report(complain=lambda name, why, error: said.append(why))
        await pull(place(store), target, Wish(), report)
        assert (report.moved, report.same, report.failed) == (0, 1, 1)
        assert "being fetched" in said[0]
        assert content(target) == {f"thesis{PART}": b"mine"}

    run(story)


def test_a_part_that_another_process_has_just_put_in_its_place_is_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = os.urandom(fetch.SMALL + MIB)
    real = fcntl.flock

    def late(fd: int, how: int) -> None:
        (part,) = tmp_path.glob(f".*{PART}")
        os.write(fd, data)
        part.rename(tmp_path / "large")
        real(fd, how)

    monkeypatch.setattr(ground.fcntl, "flock", late)

    async def story() -> None:
        store = Md5Store()
        await store.put("in/here/large", Body.of_bytes(data))
        store.wrong = True
        report = await fetched(store, tmp_path)
        assert (report.moved, report.failed) == (0, 1)
        assert content(tmp_path) == {"large": data}

    run(story)


def test_what_a_link_led_to_is_not_gone_when_the_link_is_broken(tmp_path: Path) -> None:
    source = make(tmp_path / "source", {"real/x": b"1", "y": b"2", "z": b"3", "w": b"4"})
    (source / "link").symlink_to("real")

    async def story() -> None:
        store = Store()
        await sent(source, store)
        (source / "real").rename(source / "other")
        (source / "z").unlink()
        report = await sent(source, store, delete=True)
        assert (report.failed, report.removed) == (1, 0)
        assert "were not removed" in report.kept
        kept = await sent(source, store, delete=True, selection=selection((), ("/link",)))
        assert (kept.failed, kept.removed) == (0, 2)
        assert "in/here/link/x" in await names(store)

    run(story)


def test_more_than_a_share_does_not_vanish(tmp_path: Path) -> None:
    source = make(tmp_path / "source", {"a": b"1", "b": b"2", "c": b"3"})

    async def story() -> None:
        store = Store()
        await sent(source, store)
        target = tmp_path / "target"
        await fetched(store, target)
        for name in ("b", "c"):
            (source / name).unlink()
        (source / "new").write_bytes(b"4")
        assert "refuse" in (await sent(source, store, delete=True, dry_run=True)).kept
        assert len(await names(store)) == 3
        with pytest.raises(ConflictError, match="2 of 3 would be removed"):
            await sent(source, store, delete=True)
        assert len(await names(store)) == 4
        assert (await sent(source, store, delete=True, max_delete=0.5)).removed == 2
        with pytest.raises(ConflictError, match="2 of 3"):
            await fetched(store, target, delete=True)
        assert set(content(target)) == {"a", "b", "c", "new"}
        shutil.rmtree(source)
        source.mkdir()
        with pytest.raises(ConflictError, match="2 of 2"):
            await sent(source, store, delete=True)

    run(story)


@pytest.mark.parametrize("ends", [0, 1, 2])
def test_a_listing_that_breaks_removes_nothing(tmp_path: Path, ends: int) -> None:
    source = make(tmp_path / "source", {"a": b"1", "b": b"2", "c": b"3"})

    async def story() -> None:
        store = Store()
        await sent(source, store)
        target = tmp_path / "target"
        await fetched(store, target)
        store.list_ends = ends
        with pytest.raises(UnavailableError):
            await fetched(store, target, delete=True, max_delete=1.0)
        assert set(content(target)) == {"a", "b", "c"}

    run(story)


def test_a_listing_out_of_order_removes_nothing(tmp_path: Path) -> None:
    class Unsorted(Store):
        async def list(self, prefix: str = "", *, after: str = "") -> AsyncIterator[BlobInfo]:
            for info in reversed([info async for info in super().list(prefix, after=after)]):
                yield info

    async def story() -> None:
        store = Unsorted()
        target = make(tmp_path / "target", {"a": b"1", "b": b"2"})
        await store.put("in/here/a", Body.of_bytes(b"1"))
        await store.put("in/here/b", Body.of_bytes(b"2"))
        with pytest.raises(UnsupportedError, match="byte order"):
            await fetched(store, target, delete=True, max_delete=1.0)
        assert set(content(target)) == {"a", "b"}

    run(story)


def test_where_something_failed_nothing_is_removed(tmp_path: Path) -> None:
    source = make(tmp_path / "source", {"a": b"1", "b": b"2"})

    class Refusing(Store):
        async def put(self, name: str, body: Body, **how: Any) -> BlobInfo:
            if name.endswith("/new"):
                raise UnavailableError("not now")
            return await super().put(name, body, **how)

    async def story() -> None:
        store = Refusing()
        await sent(source, store)
        (source / "b").unlink()
        (source / "new").write_bytes(b"3")
        report = await sent(source, store, delete=True)
        assert (report.failed, report.removed) == (1, 0)
        assert "were not removed" in report.kept
        assert len(await names(store)) == 2

    run(story)


def test_links_are_followed_inside_the_tree_and_what_is_no_file_is_told(tmp_path: Path) -> None:
    source = make(tmp_path / "source", {"real/x": b"1", "real/deep/y": b"2"})
    (tmp_path / "secret").write_bytes(b"outside")
    (source / "file").symlink_to("real/x")
    (source / "folder").symlink_to("real")
    (source / "out").symlink_to(tmp_path / "secret")
    (source / "sneaky").symlink_to("../secret")
    (source / "real/deep/up").symlink_to("..")
    (source / "self").symlink_to(".")
    (source / "nowhere").symlink_to("gone")
    os.mkfifo(source / "pipe")
    os.close(os.open(os.fsencode(source) + b"/\xff\xfe", os.O_CREAT | os.O_WRONLY))
    (source / "line\nbreak").write_bytes(b"3")

    async def story() -> None:
        store, said = Store(), []
        report = Report(complain=lambda name, why, error: said.append(f"{Path(name).name}: {why}"))
        await push(source, place(store), Wish(), report)
        keys = {"file", "real/x", "real/deep/y", "folder/x", "folder/deep/y"}
        assert set(await names(store)) == {f"in/here/{key}" for key in keys}
        assert (report.left_out, report.failed) == (6, 3)
        told = "\n".join(sorted(said))
        for text in (
            "out: is a link that leads out",
            "sneaky: is a link that leads out",
            "pipe: is a named pipe",
        ):
            assert text in told
        assert "no end" in told
        assert "UTF-8" in told
        bare = Store()
        await sent(source, bare, follow=False)
        assert set(await names(bare)) == {"in/here/real/x", "in/here/real/deep/y"}

    run(story)


def test_nothing_is_written_outside_nor_through_a_link(tmp_path: Path) -> None:
    outside = make(tmp_path / "outside", {"x": b"theirs"})
    target = make(tmp_path / "target", {"file": b"1"})
    (target / "link").symlink_to(outside)
    (target / "one").symlink_to(outside / "x")

    async def story() -> None:
        store = Store()
        for key in (
            "../outside/x",
            "a/../../outside/x",
            "/abs",
            "link/x",
            "link/new",
            "one",
            "file/below",
            "fine",
        ):
            await store.put(f"in/here/{key}", Body.of_bytes(b"evil"))
        await store.put("in/here/folder/", Body.of_bytes(b""))
        report = await fetched(store, target)
        assert content(outside) == {"x": b"theirs"}
        assert (target / "fine").read_bytes() == b"evil"
        assert (report.moved, report.failed) == (1, 7)
        assert sorted(path.name for path in target.iterdir()) == ["file", "fine", "link", "one"]

    run(story)


def test_a_large_fetch_goes_on_where_it_broke_off(tmp_path: Path) -> None:
    data = os.urandom(fetch.SMALL + 3 * MIB + 5)

    async def story() -> None:
        store = Md5Store()
        await store.put("in/here/large", Body.of_bytes(data))
        store.break_after = 4 * MIB
        target = tmp_path / "target"
        assert (await fetched(store, target)).moved == 1
        assert content(target) == {"large": data}
        assert store.read <= len(data) + 1

    run(story)


def test_a_fetch_that_was_killed_is_gone_on_with_and_a_wrong_beginning_is_no_harm(tmp_path: Path) -> None:
    data = os.urandom(fetch.SMALL + 3 * MIB + 5)

    async def story() -> None:
        for beginning, most in ((data[: 5 * MIB], 3 * MIB), (bytes(5 * MIB), len(data) + 3 * MIB)):
            store, target = Md5Store(), tmp_path / f"target{most}"
            await store.put("in/here/large", Body.of_bytes(data))
            target.mkdir()
            fetcher = fetch.Fetcher(place(store), None, Report(), None)  # type: ignore[arg-type]
            (item,) = [item async for batch in place(store).list() for item in batch]
            (target / f".large.{fetcher._tag(item)}{PART}").write_bytes(beginning)
            store.read = 0
            assert (await fetched(store, target)).moved == 1
            assert content(target) == {"large": data}
            assert store.read <= most + 6

    run(story)


@pytest.mark.parametrize("size", [100, fetch.SMALL + MIB])
def test_a_full_disk_is_told_with_the_file_and_is_not_kept_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    def full(fd: int, data: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    async def story() -> None:
        store, target = Md5Store(), tmp_path / "target"
        await store.put("in/here/x", Body.of_bytes(os.urandom(size)))
        target.mkdir()
        monkeypatch.setattr("holdfast.library.syncing.fetch.os.write", full)
        errors: list[Any] = []
        report = Report(complain=lambda name, why, error: errors.append(error))
        await pull(place(store), target, Wish(), report)
        monkeypatch.undo()
        assert [type(error) for error in errors] == [QuotaExceededError]
        assert f"cannot write {target}/x: No space left" in str(errors[0])
        assert not list(target.iterdir())

    run(story)


@pytest.mark.parametrize("size", [100, fetch.SMALL + MIB])
def test_wrong_bytes_never_become_a_file(tmp_path: Path, size: int) -> None:
    async def story() -> None:
        store = Md5Store()
        await store.put("in/here/x", Body.of_bytes(os.urandom(size)))
        store.wrong = True
        errors: list[Any] = []
        report = Report(complain=lambda name, why, error: errors.append(error))
        await pull(place(store), tmp_path / "target", Wish(), report)
        assert report.failed == 1
        assert isinstance(errors[0], CorruptedError)
        assert not (tmp_path / "target" / "x").exists()

    run(story)


def test_a_file_that_changes_while_it_is_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make(tmp_path / "source", {"x": b"before", "large": os.urandom(2 * MIB)})
    changed: set[str] = set()
    real = tree.is_same

    def is_same(fd: int, item: Any) -> bool:
        if item.key not in changed:
            changed.add(item.key)
            path = source / item.key
            path.write_bytes(path.read_bytes()[::-1])
        return real(fd, item)

    monkeypatch.setattr(pushing, "is_same", is_same)

    async def story() -> None:
        store = Store()
        report = await sent(source, store)
        assert (report.moved, report.failed) == (2, 0)
        for key in ("x", "large"):
            async with store.get(f"in/here/{key}") as reader:
                assert await reader.read() == (source / key).read_bytes()

    run(story)


def test_a_file_that_never_rests_is_told_and_one_that_goes_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make(tmp_path / "source", {"x": b"before", "y": b"here"})

    def is_same(fd: int, item: Any) -> bool:
        if item.key == "y":
            (source / "y").unlink()
        return False

    monkeypatch.setattr(pushing, "is_same", is_same)

    async def story() -> None:
        report = await sent(source, store := Store())
        assert (report.moved, report.failed, report.left_out) == (0, 1, 1)
        assert await names(store) == []

    run(story)


def test_what_is_changed_here_during_a_pull_is_not_lost(tmp_path: Path) -> None:
    target = make(tmp_path / "target", {"x": b"old"})

    class Meanwhile(Store):
        @asynccontextmanager
        async def get(self, name: str, *, range: ByteRange | None = None) -> AsyncIterator[Reader]:
            async with super().get(name, range=range) as reader:
                (target / "x").write_bytes(b"edited by hand")
                yield reader

    async def story() -> None:
        store = Meanwhile()
        await store.put("in/here/x", Body.of_bytes(b"theirs"))
        report = await fetched(store, target)
        assert (report.moved, report.failed) == (0, 1)
        assert content(target) == {"x": b"edited by hand"}

    run(story)


def test_patterns_hold_for_both_sides_and_protect_what_they_leave_out(tmp_path: Path) -> None:
    source = make(tmp_path / "source", {"a.txt": b"1", "a.tmp": b"2", "build/x": b"3"})

    async def story() -> None:
        store = Store()
        await store.put("in/here/theirs.tmp", Body.of_bytes(b"4"))
        chosen = selection((), ("*.tmp", "build/"))
        report = await sent(source, store, selection=chosen, delete=True)
        assert (report.moved, report.removed) == (1, 0)
        assert await names(store) == ["in/here/a.txt", "in/here/theirs.tmp"]
        assert (await fetched(store, tmp_path / "target", selection=chosen)).moved == 1

    run(story)


def test_bandwidth_is_kept(tmp_path: Path) -> None:
    from holdfast.core.clock import Environment

    source = make(tmp_path / "source", {"x": bytes(2 * MIB), "y": bytes(100_000)})
    environment = Environment.seeded(1)

    async def story() -> None:
        began = environment.clock.monotonic()
        await push(source, place(Store()), Wish(bandwidth=MIB), Report(), environment=environment)
        assert environment.clock.monotonic() - began >= 1.5

    run(story)


def test_a_listing_passes_a_trash_by_without_reading_it(tmp_path: Path) -> None:
    class Counted(Store):
        listed = 0

        async def list(self, prefix: str = "", *, after: str = "") -> AsyncIterator[BlobInfo]:
            async for info in super().list(prefix, after=after):
                Counted.listed += 1
                yield info

    async def story() -> None:
        store = Counted()
        for number in range(2_000):
            await store.put(f"in/here/{TRASH}old/{number:05d}", Body.of_bytes(b""))
        await store.put("in/here/x", Body.of_bytes(b"1"))
        assert (await fetched(store, tmp_path / "target")).moved == 1
        assert Counted.listed < 600

    run(story)


TREES = st.dictionaries(
    st.sampled_from(["a", "b/a", "b/c", "b.d", "c/d/e", "ü", "z z"]), st.binary(max_size=3), max_size=7
)


@settings(max_examples=25, deadline=None)
@given(TREES, TREES)
def test_any_two_trees_become_equal_and_stay_so(source: dict[str, bytes], target: dict[str, bytes]) -> None:
    async def story(folder: Path) -> None:
        here, there = make(folder / "here", source), make(folder / "there", target)
        store = Store()
        await sent(there, store, remember=False)
        report = await sent(here, store, delete=True, max_delete=1.0, remember=False)
        assert report.failed == 0
        pulled = await fetched(store, there, delete=True, max_delete=1.0, remember=False)
        assert pulled.failed == 0
        assert content(there) == source
        for last in (
            await sent(here, store, delete=True, remember=False),
            await fetched(store, there, delete=True, remember=False),
        ):
            assert (last.moved, last.removed, last.same) == (0, 0, len(source))

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(story(Path(folder)))


def test_memory_of_a_sync_is_told_from_that_of_others(tmp_path: Path) -> None:
    places: Iterator[Path] = (known.place(a, b) for a, b in (("x", "y"), ("x", "z"), ("xy", "")))
    assert len(set(places)) == 3
