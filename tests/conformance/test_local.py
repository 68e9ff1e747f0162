"""The local backend keeps every promise, also on a kernel and a file system that can do less."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.backends.local import LocalBackend, LocalSettings, open_local
from holdfast.backends.local.kernel import Kernel
from holdfast.core.clock import Environment
from holdfast.testing.run import conformance
from tests.conformance import copies

pytestmark = pytest.mark.engine


class Plain(Kernel):
    """A file system without unnamed files and without attributes, on a kernel without openat2."""

    def __init__(self) -> None:
        super().__init__(modern=False)

    def open_unnamed(self, folder: int, mode: int) -> int:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    def set_attribute(self, fd: int, key: str, value: bytes) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))


class Sharing(Kernel):
    """A file system on which files may share their bytes; here each gets its own."""

    def clone(self, source: int, fd: int) -> None:
        os.pwrite(fd, os.pread(source, os.fstat(source).st_size, 0), 0)


class Apart(Plain):
    """A plain file system beside another one, and a kernel that copies only within one."""

    def clone(self, source: int, fd: int) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    def copy_range(self, source: int, offset: int, fd: int, count: int) -> int:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))


def usual(environment: Environment, folder: Path) -> LocalBackend:
    return open_local("local", LocalSettings(path=folder), environment=environment)


def plain(environment: Environment, folder: Path) -> LocalBackend:
    return LocalBackend("local", LocalSettings(path=folder), environment=environment, kernel=Plain())


def hasty(environment: Environment, folder: Path) -> LocalBackend:
    return open_local("local", LocalSettings(path=folder, fsync=False, threads=2), environment=environment)


test_promise = conformance(usual)
test_promise_on_a_plain_file_system = conformance(plain)
test_promise_without_fsync_and_with_two_threads = conformance(hasty)


def two(
    kind: type[Kernel],
) -> Callable[[Environment, Path], tuple[LocalBackend, LocalBackend]]:
    """Return what opens two folders, the second of them through kernels of that kind."""

    def pair(environment: Environment, folder: Path) -> tuple[LocalBackend, LocalBackend]:
        here, there = (LocalSettings(path=folder / name, create=True) for name in ("here", "there"))
        copier = LocalBackend("there", there, environment=environment, kernel=kind())
        return open_local("here", here, environment=environment), copier

    return pair


test_copies_between_folders = copies.kept_by(two(Kernel))
test_copies_that_share_bytes = copies.kept_by(two(Sharing))
test_copies_between_file_systems = copies.kept_by(two(Apart))
