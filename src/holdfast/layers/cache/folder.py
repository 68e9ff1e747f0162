"""The folder of a cache: pieces in files, the sum of their sizes, and which go when it grows too large.

All of it blocks, so it runs in threads. Nothing here raises for the sake of the disk: what cannot be read is not there,
and what cannot be written is not kept, for a minute. How much there is stands in the file `total`, which is changed
under a lock that all processes take; the first use in a process counts anew.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
import stat
import struct
import threading
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Final

from holdfast.core.clock import Clock
from holdfast.core.errors import ConfigError
from holdfast.core.types import BlobInfo
from holdfast.layers.cache.pieces import Damaged, Found, pack, unpack

_TOTAL: Final = struct.Struct(">Q")
_PAGE: Final = 4096  #: what a file takes on disk is a multiple of this
_KEEP: Final = 7 / 8  #: of the bound that is kept when some must go
_TOUCH: Final = 60.0  #: seconds after which a piece that is read is young again
_REST: Final = 60.0  #: seconds for which nothing is written after the disk refused
_RACES: Final = 8
_ABANDONED: Final = 3600.0  #: seconds after which a file of a dead writer goes
#: What says that the folder itself is wrong, and not that the disk fails for a while.
_MISUSED: Final = {
    errno.EACCES,
    errno.EEXIST,
    errno.ELOOP,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
}


class Folder:
    """Pieces of the blobs of one store below `path`, at most `most` bytes of them. Made when it is not there."""

    def __init__(self, path: Path, store: str, most: int, *, clock: Clock) -> None:
        self.store, self.most = store, most
        self._clock = clock
        self._root = path / store
        self._mutex = threading.Lock()
        self._lock: int | None = None  # the file that carries total and lock
        self._counted = False
        self._resting = 0.0
        self._serial = itertools.count(clock.now())
        self._prepare()

    def read(self, name: str, index: int, start: int, end: int | None) -> Found | None:
        """Return bytes of a piece; None when it is not here. A damaged one goes."""
        path = self._path(name, index)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return None
        try:
            found = unpack(fd, self.store, name, index, start, end)
            self._touch(fd)
        except (Damaged, ValueError, KeyError, IndexError, TypeError, OSError):
            self.drop(name)
            return None
        finally:
            os.close(fd)
        return found

    def absent(self, name: str, index: int, most: int) -> int:
        """Return how many pieces from `index` on are not here, up to `most`; at least one, for it was looked for."""
        for number in range(1, most):
            if self._path(name, index + number).exists():
                return number
        return most

    def write(self, info: BlobInfo, index: int, data: bytes, unwanted: Callable[[], bool]) -> bool:
        """Keep a piece, unless `unwanted` says at the last moment that it must not be; return whether it was kept."""
        if self._clock.monotonic() < self._resting:
            return False
        packed = pack(self.store, info, index, data)
        try:
            try:
                return self._write(info, index, packed, unwanted)
            except FileNotFoundError:
                self._anew()  # somebody removed the folder
                return self._write(info, index, packed, unwanted)
        except (OSError, ConfigError):
            self._resting = self._clock.monotonic() + _REST
            return False

    def _write(self, info: BlobInfo, index: int, packed: bytes, unwanted: Callable[[], bool]) -> bool:
        temporary: Path | None = self._aside(packed)
        assert temporary is not None
        try:
            with self._locked():
                if unwanted() or not self._make_room(_on_disk(len(packed))):
                    return False
                self._publish(temporary, self._path(info.name, index), _on_disk(len(packed)))
                temporary = None
            return True
        finally:
            if temporary is not None:
                with contextlib.suppress(OSError):
                    temporary.unlink()

    def drop(self, name: str) -> None:
        """Keep nothing of the blob any longer."""
        folder = self._path(name, 0).parent
        try:
            with self._mutex:
                if not folder.is_dir():
                    return
            with self._locked():
                freed = 0
                for piece in list(folder.iterdir()):
                    freed += _on_disk(piece.lstat().st_size)
                    piece.unlink()
                folder.rmdir()
                self._shrink(freed)
        except OSError:
            self._counted = False  # what is really there is counted before the next one is kept

    def total(self) -> int:
        """Return how many bytes are kept, as far as it is known."""
        with self._locked():
            return self._sum()

    def close(self) -> None:
        """Let go of the lock file."""
        with self._mutex:
            self._let_go()

    # -----------------------------------------------------------------------------------------------------------
    def _anew(self) -> None:
        with self._mutex:
            self._let_go()
            self._prepare()

    def _let_go(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        self._counted = False

    def _prepare(self) -> None:
        try:
            self._root.parent.parent.mkdir(parents=True, exist_ok=True)
            self._root.parent.mkdir(mode=0o700, exist_ok=True)
            self._root.mkdir(mode=0o700, exist_ok=True)
            facts = self._root.lstat()
            if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid():
                raise ConfigError(
                    f"store {self.store}: setting cache: {self._root} is no folder of this user; name another",
                )
            if stat.S_IMODE(facts.st_mode) & 0o077:
                self._root.chmod(0o700)
            (self._root / "aside").mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            if error.errno in _MISUSED:
                raise ConfigError(
                    f"store {self.store}: setting cache: {self._root} cannot be used: {error.strerror}"
                ) from error
            self._resting = self._clock.monotonic() + _REST

    def _path(self, name: str, index: int) -> Path:
        key = sha256(f"{self.store}\0{name}".encode()).hexdigest()
        return self._root / key[:2] / key[2:] / str(index)

    def _aside(self, packed: bytes) -> Path:
        path = self._root / "aside" / f"{os.getpid()}-{threading.get_ident():x}-{next(self._serial)}"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            view = memoryview(packed)
            while view:
                view = view[os.write(fd, view) :]
        except BaseException:
            path.unlink()
            raise
        finally:
            os.close(fd)
        return path

    def _publish(self, temporary: Path, path: Path, size: int) -> None:
        old = 0
        with contextlib.suppress(OSError):
            old = _on_disk(path.stat().st_size)
        try:
            temporary.rename(path)
        except FileNotFoundError:
            for folder in (path.parent.parent, path.parent):
                folder.mkdir(mode=0o700, exist_ok=True)
            temporary.rename(path)
        self._set(self._sum() + size - old)

    def _touch(self, fd: int) -> None:
        now = time.time()  # the disk's own times are compared
        if now - os.fstat(fd).st_mtime > _TOUCH:
            with contextlib.suppress(OSError):
                os.utime(fd, (now, now))

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with self._mutex:
            lock = self._taken()
            try:
                yield
            finally:
                fcntl.flock(lock, fcntl.LOCK_UN)

    def _taken(self) -> int:
        """Take the lock that all others take too, also after somebody removed the folder and it was made anew."""
        path = self._root / "total"
        for _ in range(_RACES):
            if self._lock is None:
                flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
                self._lock = os.open(path, flags, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(self._lock), path.lstat()):
                    return self._lock
            self._let_go()
        raise FileNotFoundError(errno.ENOENT, "the folder of the cache keeps vanishing")

    def _sum(self) -> int:
        assert self._lock is not None
        held = os.pread(self._lock, _TOTAL.size, 0)
        if not self._counted or len(held) != _TOTAL.size:
            return self._count()
        return int(_TOTAL.unpack(held)[0])

    def _set(self, total: int) -> None:
        assert self._lock is not None
        os.pwrite(self._lock, _TOTAL.pack(max(0, total)), 0)

    def _shrink(self, freed: int) -> None:
        assert self._lock is not None
        held = os.pread(self._lock, _TOTAL.size, 0)
        if len(held) == _TOTAL.size:
            self._set(int(_TOTAL.unpack(held)[0]) - freed)

    def _count(self) -> int:
        total = sum(size for _, size, _ in self._files())
        self._set(total)
        self._counted = True
        self._tidy()
        return total

    def _make_room(self, size: int) -> bool:
        """Let the pieces go that were read longest ago, if `size` more bytes would be too many."""
        if size > self.most:
            return False
        if self._sum() + size <= self.most:
            return True
        files = sorted(self._files())
        total = sum(taken for _, taken, _ in files)
        for _, taken, path in files:
            if total + size <= self.most * _KEEP:
                break
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
            total -= taken
            with contextlib.suppress(OSError):
                path.parent.rmdir()
        self._set(total)
        return total + size <= self.most

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        for outer in os.scandir(self._root):
            if len(outer.name) != 2 or not outer.is_dir(follow_symlinks=False):
                continue
            for blob in os.scandir(outer.path):
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    for piece in os.scandir(blob.path):
                        facts = piece.stat(follow_symlinks=False)
                        yield facts.st_mtime, _on_disk(facts.st_size), Path(piece.path)

    def _tidy(self) -> None:
        limit = time.time() - _ABANDONED
        for left in (self._root / "aside").iterdir():
            with contextlib.suppress(OSError):
                if left.lstat().st_mtime < limit:
                    left.unlink()


def _on_disk(size: int) -> int:
    """Return what a file of `size` bytes takes, its folder with it."""
    return -(-size // _PAGE) * _PAGE + _PAGE
