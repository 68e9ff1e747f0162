"""Folders that are there, and that will be there after the power was lost."""

from __future__ import annotations

import contextlib
import errno
import os
from collections import OrderedDict
from threading import Lock

from holdfast.backends.local.kernel import FOLDER, Kernel
from holdfast.backends.local.paths import parent

_MODE = 0o750
_KEPT = 128
_RACES = 20


class Folders:
    """Opens, makes and settles folders below `root`; safe to use from many threads.

    A folder that somebody else has just made may not be on disk yet, so it is trusted only when this object has seen
    its way down from the root fsynced. It is recognised by its inode, which cannot be used anew while we hold it open:
    a folder that was removed and made again, or swapped for another one, is a new one.
    """

    def __init__(self, root: int, kernel: Kernel, *, fsync: bool) -> None:
        self._root = root
        self._kernel = kernel
        self._fsync = fsync
        self._settled: OrderedDict[str, tuple[int, int, int]] = OrderedDict()
        self._lock = Lock()

    def open(self, path: str, *, make: bool = False) -> int:
        """Return a new descriptor of the folder `path`; with `make`, missing ones are made."""
        for _ in range(_RACES):
            try:
                return self._kernel.open_beneath(self._root, path or ".", FOLDER)
            except FileNotFoundError:
                if not make or not path:
                    raise
            self._make(path)
        raise OSError(errno.EBUSY, "the folder keeps vanishing")

    def make(self, path: str) -> bool:
        """Make the folder `path` and those above it, on disk when this returns; return False when it was there."""
        try:
            fd, missing = self.open(path), False
        except FileNotFoundError:
            fd, missing = self.open(path, make=True), True
        try:
            self.settle(path, fd)
        finally:
            os.close(fd)
        return missing

    def settle(self, path: str, fd: int) -> None:
        """Return when the way from the root to the folder `path` (open as `fd`) survives the loss of power.

        What is *in* the folder is the caller's to fsync.
        """
        if not self._fsync or not path or self._known(path, fd):
            return
        above, here = self.open(""), ""
        try:
            for segment in path.split("/"):
                here = f"{here}/{segment}" if here else segment
                below = self.open(here)
                try:
                    if not self._known(here, below):
                        self._kernel.sync(above)
                        self._remember(here, below)
                finally:
                    os.close(above)
                    above = below
        finally:
            os.close(above)
        if not self._known(path, fd):
            raise OSError(errno.ESTALE, "the folder was replaced meanwhile")

    def prune(self, path: str) -> None:
        """Remove the folder `path` and those above it as long as they are empty."""
        while path:
            above = parent(path)
            try:
                fd = self.open(above)
            except OSError:
                return
            try:
                self._kernel.rmdir(fd, path.rpartition("/")[2])
            except OSError:
                return
            finally:
                os.close(fd)
            self._forget(path)
            path = above

    def close(self) -> None:
        """Let go of every folder."""
        with self._lock:
            for _, _, fd in self._settled.values():
                os.close(fd)
            self._settled.clear()

    def _make(self, path: str) -> None:
        above, here = self.open(""), ""
        try:
            for segment in path.split("/"):
                with contextlib.suppress(FileExistsError):  # it is there, or another one was faster
                    self._kernel.mkdir(above, segment, _MODE)
                here = f"{here}/{segment}" if here else segment
                os.close(above)
                above = -1
                above = self.open(here)
        except FileNotFoundError:  # pruned under our feet: the caller tries again
            return
        finally:
            if above >= 0:
                os.close(above)

    def _known(self, path: str, fd: int) -> bool:
        stat = os.fstat(fd)
        with self._lock:
            held = self._settled.get(path)
            if held is None or held[:2] != (stat.st_dev, stat.st_ino):
                return False
            self._settled.move_to_end(path)
            return True

    def _remember(self, path: str, fd: int) -> None:
        stat = os.fstat(fd)
        with self._lock:
            old = self._settled.pop(path, None)
            self._settled[path] = (stat.st_dev, stat.st_ino, os.dup(fd))
            if old is None and len(self._settled) > _KEPT:
                _, old = self._settled.popitem(last=False)
        if old is not None:
            os.close(old[2])

    def _forget(self, path: str) -> None:
        with self._lock:
            old = self._settled.pop(path, None)
        if old is not None:
            os.close(old[2])
