"""The local backend keeps every promise, also on a kernel and a file system that can do less."""

import errno
import os
from pathlib import Path

import pytest

from holdfast.backends.local import LocalBackend, LocalSettings, open_local
from holdfast.backends.local.kernel import Kernel
from holdfast.core.clock import Environment
from holdfast.testing.run import conformance

pytestmark = pytest.mark.engine


class Plain(Kernel):
    """A file system without unnamed files and without attributes, on a kernel without openat2."""

    def __init__(self) -> None:
        super().__init__(modern=False)

    def open_unnamed(self, folder: int, mode: int) -> int:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    def set_attribute(self, fd: int, key: str, value: bytes) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))


def usual(environment: Environment, folder: Path) -> LocalBackend:
    return open_local("local", LocalSettings(path=folder), environment=environment)


def plain(environment: Environment, folder: Path) -> LocalBackend:
    return LocalBackend("local", LocalSettings(path=folder), environment=environment, kernel=Plain())


def hasty(environment: Environment, folder: Path) -> LocalBackend:
    return open_local("local", LocalSettings(path=folder, fsync=False, threads=2), environment=environment)


test_promise = conformance(usual)
test_promise_on_a_plain_file_system = conformance(plain)
test_promise_without_fsync_and_with_two_threads = conformance(hasty)
