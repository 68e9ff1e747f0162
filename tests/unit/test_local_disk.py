"""The local backend and its disk: order of writes, every call failing, links that lead out, and what is left over."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import resource
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from holdfast.backends.local import LocalBackend, LocalSettings, open_local
from holdfast.backends.local.kernel import Kernel
from holdfast.backends.local.paths import path_of
from holdfast.backends.registry import parse
from holdfast.core.backend import Capability, PutOptions
from holdfast.core.body import Body
from holdfast.core.clock import Environment, ManualClock
from holdfast.core.errors import (
    ConfigError,
    ConflictError,
    CorruptedError,
    HoldfastError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    QuotaExceededError,
    UnavailableError,
)

pytestmark = pytest.mark.unit

BIG = bytes(range(256)) * 10_000  # 2.5 MB: more than one chunk
CALLS = [
    "open_beneath",
    "open_unnamed",
    "create",
    "write",
    "read",
    "clone",
    "copy_range",
    "allocate",
    "write_back",
    "set_attribute",
    "sync_data",
    "sync",
    "link_unnamed",
    "link",
    "rename",
    "unlink",
    "mkdir",
    "rmdir",
]


class Watched(Kernel):
    """Writes down every call, and lets the n-th one fail."""

    def __init__(self, *, modern: bool = True, named: bool = False) -> None:
        super().__init__(modern=modern)
        self.log: list[tuple[str, str]] = []
        self.fail_at = 0
        self.number = errno.EIO
        self._named = named
        self._lock = threading.Lock()

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        return self._watch(name, found) if name in CALLS else found

    def _watch(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **options: Any) -> Any:
            if name == "open_unnamed" and self._named:
                raise OSError(errno.EOPNOTSUPP, "no unnamed files")
            with self._lock:
                self.log.append((name, os.readlink(f"/proc/self/fd/{args[0]}")))
                fails = len(self.log) == self.fail_at
            if fails:
                raise OSError(self.number, os.strerror(self.number))
            return call(*args, **options)

        return watched

    def start(self, fail_at: int = 0, number: int = errno.EIO) -> None:
        self.log.clear()
        self.fail_at, self.number = fail_at, number


@asynccontextmanager
async def opened(folder: Path, kernel: Kernel | None = None, **settings: Any) -> AsyncIterator[LocalBackend]:
    backend = LocalBackend(
        "disk", LocalSettings(path=folder, **settings), environment=Environment(), kernel=kernel
    )
    try:
        yield backend
    finally:
        await backend.close()


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 60))


async def stream(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 300_000):
        yield data[start : start + 300_000]


async def names(backend: LocalBackend) -> list[str]:
    return [info.name async for info in backend.list()]


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def test_bytes_and_name_are_on_disk_before_the_answer(tmp_path: Path) -> None:
    async def story() -> None:
        kernel = Watched()
        async with opened(tmp_path, kernel) as backend:
            kernel.start()
            await backend.put("a/b/blob", Body.of_bytes(b"x"))
            calls = [name for name, _ in kernel.log]
            assert calls.index("write") < calls.index("link_unnamed") < calls.index("sync_data")
            after = kernel.log[calls.index("link_unnamed") :]
            synced = [where for name, where in after if name == "sync"]
            assert set(synced) == {str(tmp_path), str(tmp_path / "a"), str(tmp_path / "a/b")}

    run(story)


@pytest.mark.parametrize("if_absent", [False, True])
def test_bytes_are_on_disk_before_they_take_a_name_that_may_be_taken(tmp_path: Path, if_absent: bool) -> None:
    async def story() -> None:
        kernel = Watched()
        async with opened(tmp_path, kernel) as backend:
            if not if_absent:
                await backend.put("a/blob", Body.of_bytes(b"old"))
            kernel.start()
            await backend.put("a/blob", Body.of_bytes(b"new"), if_absent=if_absent)
            calls = [name for name, _ in kernel.log]
            named = "link_unnamed" if if_absent else "rename"
            assert calls.index("write") < calls.index("sync_data") < calls.index(named) < len(calls) - 1
            assert "sync" in calls[calls.index(named) :]

    run(story)


def test_a_folder_is_settled_once_and_anew_after_it_was_made_anew(tmp_path: Path) -> None:
    async def story() -> None:
        kernel = Watched()
        async with opened(tmp_path, kernel) as backend:

            async def synced(name: str) -> list[str]:
                kernel.start()
                await backend.put(name, Body.of_bytes(b"x"))
                return [os.path.basename(where) for call, where in kernel.log if call == "sync"]

            (tmp_path / "a").mkdir()  # by somebody who may not have fsynced it
            assert await synced("a/one") == ["a", tmp_path.name]
            assert await synced("a/two") == ["a"]
            await backend.delete("a/one")
            await backend.delete("a/two")  # the folder goes with its last blob
            assert not (tmp_path / "a").exists()
            assert await synced("a/three") == ["a", tmp_path.name]

    run(story)


def test_a_folder_of_its_own_is_made_once_and_is_on_disk_before_the_answer(tmp_path: Path) -> None:
    async def story() -> None:
        kernel = Watched()
        async with opened(tmp_path, kernel) as backend:
            assert Capability.FOLDERS in backend.capabilities
            kernel.log.clear()
            assert await backend.make_folder("acme/photos/2024")
            made = [call for call, _ in kernel.log if call in ("mkdir", "sync")]
            assert made == ["mkdir"] * 3 + ["sync"] * 3
            assert not await backend.make_folder("acme/photos/2024")
            assert not await backend.make_folder("acme/photos")
            assert (tmp_path / "acme" / "photos" / "2024").is_dir()
            assert await names(backend) == []
            await backend.put("acme/photos/2024/blob", Body.of_bytes(b"x"))
            assert await names(backend) == ["acme/photos/2024/blob"]
            for wrong in ("../out", "/out", "a//b", ""):
                with pytest.raises(InvalidRequestError):
                    await backend.make_folder(wrong)
            (tmp_path / "out").symlink_to(tmp_path.parent)
            with pytest.raises(HoldfastError):
                await backend.make_folder("out/side")
            assert not (tmp_path.parent / "side").exists()
            kernel.start(1, errno.EACCES)
            with pytest.raises(HoldfastError):
                await backend.make_folder("acme/other")

    run(story)


def test_attributes_are_synced_too(tmp_path: Path) -> None:
    async def story() -> None:
        kernel = Watched()
        async with opened(tmp_path, kernel) as backend:
            kernel.start()
            await backend.put("blob", Body.of_bytes(b"x"), options=PutOptions(metadata={"k": "v"}))
            calls = [name for name, _ in kernel.log]
            assert "sync_data" not in calls
            assert calls.index("set_attribute") < calls.index("sync")

    run(story)


@pytest.mark.parametrize("named", [False, True], ids=["unnamed", "named"])
@pytest.mark.parametrize("size", [10, len(BIG)])
@pytest.mark.parametrize("if_absent", [False, True])
def test_whichever_call_of_a_put_fails_nothing_is_shown_and_nothing_left(
    tmp_path: Path, named: bool, size: int, if_absent: bool
) -> None:
    async def story() -> None:
        kernel = Watched(named=named)
        async with opened(tmp_path, kernel) as backend:
            at, failures = 0, 0
            while True:
                at += 1
                for number in (errno.EIO, errno.ENOSPC, errno.EACCES):
                    kernel.start(at, number)
                    name = f"folder-{at}-{number}/blob"
                    options = PutOptions(metadata={"k": "v"})
                    with suppress(HoldfastError):
                        await backend.put(
                            name, Body.of_stream(stream(BIG[:size])), options=options, if_absent=if_absent
                        )
                        if len(kernel.log) < at:  # there are no more calls
                            assert failures > 20
                            return
                        # Only a temporary name may stay where it is, for `tidy`: the put is whole.
                        assert (named, kernel.log[at - 1][0]) == (True, "unlink")
                        kernel.start()
                        async with backend.get(name) as reader:
                            assert await reader.read() == BIG[:size]
                        continue
                    failures += 1
                    kernel.start()
                    with pytest.raises(NotFoundError):
                        await backend.head(name)
                    assert name not in await names(backend)
                    assert not [path for path in files(tmp_path) if f"folder-{at}-{number}/" in path]

    run(story)


def test_an_fsync_that_fails_is_not_repeated(tmp_path: Path) -> None:
    class Lies(Kernel):
        """As Linux does: the first fsync fails, a second one would succeed over lost data."""

        calls = 0

        def sync_data(self, fd: int) -> None:
            self.calls += 1
            if self.calls % 2:
                raise OSError(errno.EIO, "lost")

    async def story() -> None:
        kernel = Lies()
        async with opened(tmp_path, kernel) as backend:
            for size in (10, len(BIG)):
                with pytest.raises(UnavailableError, match="EIO"):
                    await backend.put("blob", Body.of_bytes(BIG[:size]))
                assert await names(backend) == []
                assert kernel.calls == 1
                kernel.calls = 0
        assert files(tmp_path) == []

    run(story)


def test_a_failing_folder_fsync_withdraws_the_name(tmp_path: Path) -> None:
    class Fails(Kernel):
        def sync(self, fd: int) -> None:
            raise OSError(errno.EIO, "lost")

    async def story() -> None:
        async with opened(tmp_path, Fails()) as backend:
            with pytest.raises(UnavailableError):
                await backend.put("a/blob", Body.of_bytes(b"x"))
            assert await names(backend) == []

    run(story)


def test_a_put_cancelled_while_it_is_synced_is_not_shown(tmp_path: Path) -> None:
    class Slow(Kernel):
        def __init__(self, call: str) -> None:
            super().__init__()
            self.reached = threading.Event()
            self.call = call

        def sync_data(self, fd: int) -> None:
            self._wait("file")

        def sync(self, fd: int) -> None:
            self._wait("folder")

        def _wait(self, what: str) -> None:
            if what == self.call:
                self.reached.set()
                time.sleep(0.05)

    async def story(call: str, size: int) -> None:
        kernel = Slow(call)
        async with opened(tmp_path, kernel) as backend:
            putting = asyncio.ensure_future(backend.put("blob", Body.of_bytes(BIG[:size])))
            await asyncio.to_thread(kernel.reached.wait)
            putting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await putting
            assert await names(backend) == []
        assert files(tmp_path) == []

    for call in ("file", "folder"):
        for size in (10, len(BIG)):
            asyncio.run(story(call, size))


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, QuotaExceededError),
        (errno.EDQUOT, QuotaExceededError),
        (errno.EROFS, PermissionDeniedError),
        (errno.EACCES, PermissionDeniedError),
        (errno.EIO, UnavailableError),
        (errno.EMFILE, UnavailableError),
        (errno.ENAMETOOLONG, InvalidRequestError),
    ],
)
def test_each_error_of_the_disk_has_its_kind_and_tells_where(
    tmp_path: Path, number: int, kind: type[HoldfastError]
) -> None:
    async def story() -> None:
        kernel = Watched()
        async with opened(tmp_path, kernel) as backend:
            kernel.start(1, number)
            with pytest.raises(kind) as caught:
                await backend.put("folder/blob", Body.of_bytes(b"x"))
            assert (caught.value.operation, caught.value.store, caught.value.name) == (
                "put",
                "disk",
                "folder/blob",
            )
            assert errno.errorcode[number] in str(caught.value)
            assert isinstance(caught.value.__cause__, OSError)

    run(story)


def test_a_file_size_limit_of_the_machine_is_told(tmp_path: Path) -> None:
    """The real thing: the kernel refuses to let a file grow."""
    script = """
        import asyncio, resource, sys
        from pathlib import Path
        from holdfast.backends.local import LocalSettings, open_local
        from holdfast.core.body import Body
        from holdfast.core.clock import Environment
        from holdfast.core.errors import TooLargeError

        async def story():
            backend = open_local("disk", LocalSettings(path=Path(sys.argv[1])), environment=Environment())
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
            await backend.put("fits", Body.of_bytes(bytes(1 << 20)))
            async def stream():
                for _ in range(40):
                    yield bytes(100_000)
            for body in (Body.of_bytes(bytes((1 << 20) + 1)), Body.of_stream(stream())):
                try:
                    await backend.put("large", body)
                except TooLargeError as error:
                    print("refused", "EFBIG" in str(error))
            print([info.name async for info in backend.list()])
            await backend.close()

        asyncio.run(story())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.splitlines() == ["refused True", "refused True", "['fits']"], done.stderr
    assert files(tmp_path) in (["%fits"], ["#tidied", "%fits"])


def test_too_many_open_files_is_an_error_that_passes(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as backend:
            await backend.put("blob", Body.of_bytes(b"x"))
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            used = max(int(name) for name in os.listdir("/proc/self/fd")) + 1
            resource.setrlimit(resource.RLIMIT_NOFILE, (used, hard))
            held = []
            try:
                with suppress(OSError):
                    while True:
                        held.append(os.open("/dev/null", os.O_RDONLY))
                with pytest.raises(UnavailableError, match="EMFILE"):
                    await backend.head("blob")
                with pytest.raises(UnavailableError, match="EMFILE"):
                    await backend.put("more", Body.of_bytes(b"x"))
            finally:
                for fd in held:
                    os.close(fd)
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            await backend.put("more", Body.of_bytes(b"x"))
            assert await names(backend) == ["blob", "more"]

    run(story)


@pytest.mark.parametrize("modern", [True, False])
def test_links_are_not_followed(tmp_path: Path, modern: bool) -> None:
    async def story() -> None:
        outside, root = tmp_path / "outside", tmp_path / "root"
        outside.mkdir()
        root.mkdir()
        (outside / "%secret").write_bytes(b"secret")
        (outside / "deep").mkdir()
        (outside / "deep/%secret").write_bytes(b"secret")
        (root / "link").symlink_to(outside)
        (root / "%file").symlink_to(outside / "%secret")
        (root / "in").mkdir()
        (root / "in/up").symlink_to("../..")
        async with opened(root, Kernel(modern=modern)) as backend:
            for name in ("link/secret", "file", "link/deep/secret", "in/up/outside/secret"):
                with pytest.raises(HoldfastError):
                    await backend.head(name)
                with pytest.raises(HoldfastError):
                    async with backend.get(name):
                        pass
            for name in ("link/new", "link/deep/new", "in/up/new"):
                with pytest.raises(HoldfastError):
                    await backend.put(name, Body.of_bytes(b"x"))
            for name in ("link/secret", "link/deep/secret"):
                with suppress(HoldfastError):
                    await backend.delete(name)
            assert await names(backend) == []
            await backend.put("file", Body.of_bytes(b"mine"))  # replaces the link, not what it points to
            assert await names(backend) == ["file"]
        assert files(outside) == ["%secret", "deep/%secret"]
        assert (outside / "%secret").read_bytes() == b"secret"

    run(story)


@pytest.mark.parametrize("modern", [True, False])
def test_a_link_swapped_in_at_any_moment_leads_nowhere(tmp_path: Path, modern: bool) -> None:
    async def story() -> None:
        outside, root = tmp_path / "outside", tmp_path / "root"
        outside.mkdir()
        root.mkdir()
        (outside / "%bait").write_bytes(b"secret")
        stop = threading.Event()

        def swap() -> None:
            while not stop.is_set():
                with suppress(OSError):
                    os.rename(root / "folder", root / "aside")
                with suppress(OSError):
                    os.symlink(outside, root / "folder")
                with suppress(OSError):
                    os.unlink(root / "folder")
                with suppress(OSError):
                    os.rename(root / "aside", root / "folder")

        attacker = threading.Thread(target=swap)
        async with opened(root, Kernel(modern=modern), fsync=False) as backend:
            attacker.start()
            try:
                written = 0
                for number in range(400):
                    with suppress(HoldfastError):
                        await backend.put(f"folder/{number}", Body.of_bytes(b"x"))
                        written += 1
                    with suppress(HoldfastError):
                        async with backend.get("folder/bait") as reader:
                            raise AssertionError(f"read {await reader.read()!r} from outside")
                    with suppress(HoldfastError):
                        await backend.delete("folder/bait")
                assert written > 0
            finally:
                stop.set()
                attacker.join()
        assert files(outside) == ["%bait"]

    run(story)


def test_what_is_no_file_is_no_blob_and_hangs_nobody(tmp_path: Path) -> None:
    async def story() -> None:
        os.mkfifo(tmp_path / "%pipe")
        (tmp_path / "%folder").mkdir()
        (tmp_path / "foreign").write_bytes(b"not ours")
        async with opened(tmp_path) as backend:
            for name in ("pipe", "folder"):
                with pytest.raises(ConflictError):
                    await backend.head(name)
            with pytest.raises(ConflictError):
                await backend.put("folder", Body.of_bytes(b"x"))
            with pytest.raises(ConflictError):
                await backend.put("foreign/blob", Body.of_bytes(b"x"))
            with pytest.raises(NotFoundError):
                await backend.head("foreign/blob")
            await backend.delete("foreign/blob")
            assert await names(backend) == []
        assert (tmp_path / "foreign").read_bytes() == b"not ours"

    run(story)


@pytest.mark.parametrize("path", ["/a\0b", "/a\ud800"])
def test_a_path_that_none_can_be_is_refused(path: str) -> None:
    with pytest.raises(ConfigError, match=r"setting path: this is no path") as caught:
        parse("local", {"path": path})
    assert path not in str(caught.value)
    with pytest.raises(ConfigError, match="can be no folder"):
        open_local("disk", LocalSettings.model_construct(path=Path("/a\0b")), environment=Environment())


def test_a_folder_that_takes_no_files_is_a_matter_of_configuration() -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ConfigError, match="store disk: /proc: no files can be made"):
        open_local("disk", LocalSettings(path=Path("/proc")), environment=Environment())
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_folder_that_is_not_there_is_a_matter_of_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="create"):
        open_local("disk", LocalSettings(path=tmp_path / "missing"), environment=Environment())
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match="ENOTDIR"):
        open_local("disk", LocalSettings(path=tmp_path / "file"), environment=Environment())

    async def story() -> None:
        async with opened(tmp_path / "new/deep", create=True) as backend:
            await backend.put("blob", Body.of_bytes(b"x"))

    run(story)
    assert (tmp_path / "new/deep/%blob").read_bytes() == b"x"


def test_a_folder_that_vanishes_makes_the_store_unavailable(tmp_path: Path) -> None:
    async def story() -> None:
        root = tmp_path / "root"
        root.mkdir()
        async with opened(root) as backend:
            root.rmdir()
            with pytest.raises(UnavailableError):
                await backend.head("blob")
            with pytest.raises(UnavailableError):
                await backend.put("folder/blob", Body.of_bytes(b"x"))
            with pytest.raises(UnavailableError):
                await backend.put("blob", Body.of_bytes(b"x"))

    run(story)


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as backend:
            pass
        for call in (
            backend.head("a"),
            backend.put("a", Body.of_bytes(b"x")),
            backend.delete("a"),
            names(backend),
        ):
            with pytest.raises(UnavailableError, match="closed"):
                await call

    run(story)


def test_closing_under_a_put_ends_it_and_leaves_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        async def endless() -> AsyncIterator[bytes]:
            while True:
                yield BIG
                await asyncio.sleep(0.001)

        async with opened(tmp_path) as backend:
            before = len(os.listdir("/proc/self/fd"))
            putting = asyncio.ensure_future(backend.put("blob", Body.of_stream(endless())))
            await asyncio.sleep(0.05)
        with pytest.raises(UnavailableError, match="closed"):
            await putting
        assert len(os.listdir("/proc/self/fd")) < before
        assert files(tmp_path) == []

    run(story)


def test_a_file_that_was_cut_is_never_a_silent_short_read(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as backend:
            await backend.put("blob", Body.of_bytes(BIG))
            async with backend.get("blob") as reader:
                os.chmod(tmp_path / "%blob", 0o600)
                os.truncate(tmp_path / "%blob", 1_500_000)
                with pytest.raises(CorruptedError, match="early"):
                    await reader.read()

    run(story)


def test_a_reader_used_after_its_block_says_so(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as backend:
            await backend.put("blob", Body.of_bytes(b"x"))
            async with backend.get("blob") as reader:
                pass
            with pytest.raises(InvalidRequestError, match="closed"):
                await reader.read()

    run(story)


def test_where_links_cannot_be_made_a_copy_moves_the_bytes(tmp_path: Path) -> None:
    class Full(Kernel):
        full = False

        def link(self, source_folder: int, source: str, folder: int, leaf: str) -> None:
            if self.full:
                raise OSError(errno.EMLINK, "too many links")
            super().link(source_folder, source, folder, leaf)

    async def story() -> None:
        kernel = Full()
        async with opened(tmp_path, kernel) as backend:
            await backend.put("blob", Body.of_bytes(BIG), options=PutOptions(metadata={"k": "v"}))
            kernel.full = True
            info = await backend.copy("blob", "folder/copy")
            assert (info.size, dict(info.metadata)) == (len(BIG), {"k": "v"})
            assert (tmp_path / "folder/%copy").stat().st_nlink == 1
            assert (tmp_path / "folder/%copy").read_bytes() == BIG

    run(story)


def test_leftovers_are_removed_after_an_hour_unless_somebody_holds_them(tmp_path: Path) -> None:
    async def story() -> None:
        (tmp_path / "folder").mkdir()
        stale, held, fresh = (tmp_path / "folder" / f"#{name * 16}" for name in "0ab")
        theirs = tmp_path / "folder" / "#theirs#"
        for path in (stale, held, fresh, theirs):
            path.write_bytes(b"half a blob")
        clock = ManualClock(int(time.time() * 1e6))
        clock.advance(7200)
        os.utime(fresh, (time.time() + 7000, time.time() + 7000))
        environment = Environment(clock=clock)
        backend = LocalBackend("disk", LocalSettings(path=tmp_path), environment=environment)
        with held.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            assert await backend.tidy() == 1
        assert files(tmp_path) == [
            "#tidied",
            f"folder/{held.name}",
            f"folder/{fresh.name}",
            "folder/#theirs#",
        ]
        assert await names(backend) == []
        await backend.close()

    run(story)


def test_tidying_is_started_once_an_hour(tmp_path: Path) -> None:
    left = "#" + "1" * 16
    (tmp_path / left).write_bytes(b"")
    clock = ManualClock(int(time.time() * 1e6))
    environment = Environment(clock=clock)
    settings = LocalSettings(path=tmp_path)

    async def opens() -> None:
        backend = open_local("disk", settings, environment=environment)
        for _ in range(100):
            if not backend._walker.due(environment.clock.now() / 1e6):
                break
            await asyncio.sleep(0.01)
        await backend.close()

    clock.advance(1800)
    asyncio.run(opens())
    assert files(tmp_path) == [left, "#tidied"]
    clock.advance(3500)
    asyncio.run(opens())
    assert files(tmp_path) == [left, "#tidied"]
    clock.advance(200)
    asyncio.run(opens())
    assert files(tmp_path) == ["#tidied"]


def test_nothing_stays_open(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as backend:
            await backend.put("warm/up", Body.of_bytes(BIG))

            async def everything(number: int) -> None:
                name = f"f/{number % 5}/{number}"
                work = asyncio.ensure_future(backend.put(name, Body.of_stream(stream(BIG))))
                if number % 3 == 0:
                    await asyncio.sleep(0.001 * (number % 7))
                    work.cancel()
                with suppress(asyncio.CancelledError):
                    await work
                with suppress(NotFoundError):
                    async with backend.get(name) as reader:
                        await anext(aiter(reader))
                with suppress(HoldfastError):
                    await backend.put(name, Body.of_bytes(b"x"), if_absent=True)
                async for _ in backend.list("f/"):
                    break
                await backend.delete(name)

            before = len(os.listdir("/proc/self/fd"))
            await asyncio.gather(*(everything(number) for number in range(60)))
            await asyncio.sleep(0.05)
            assert len(os.listdir("/proc/self/fd")) <= before + 1
        assert files(tmp_path) == ["warm/%up"]

    run(story)


def test_room_is_told(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as backend:
            room = await backend.room()
            assert 0 < room.free <= room.total

    run(story)


def test_names_on_disk() -> None:
    assert path_of("a") == "%a"
    assert path_of("tenant/2026/blob.pdf") == "tenant/2026/%blob.pdf"
    assert path_of("f/" + "x" * 254) == "f/%" + "x" * 254
    assert path_of("f/" + "x" * 254 + "y") == "f/^" + "x" * 254 + "/%y"
    assert all(len(part) <= 255 for part in path_of("x" * 255 + "/" + "y" * 255).split("/"))
