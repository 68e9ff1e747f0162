"""Files below one directory, written so that nothing ever lands outside of it: no link is gone through on the way."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from holdfast.core.errors import ConflictError, InvalidRequestError
from holdfast.library.files import local_errors
from holdfast.library.syncing.tree import Found, stamp_of
from holdfast.policy.syncing import PART, Item, path_problem

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_STALE: Final = 86400.0  #: seconds after which a part that nobody goes on with is removed
_FLUSH: Final = 256


class Ground:
    """The directory `root`, which exists. Methods are called from any thread; errors are ours."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._umask = os.umask(0)
        os.umask(self._umask)
        self._touched: set[str] = set()

    @contextmanager
    def folder_of(self, key: str, *, create: bool = False) -> Iterator[tuple[int, str]]:
        """Yield a descriptor of the folder in which `key` lies, and the last segment of `key`.

        Raises:
            InvalidRequestError: no file can be called so, or something that is no folder (a link too) is in the way.
        """
        if problem := path_problem(key):
            raise InvalidRequestError(f"{key[:80]!r} cannot be a file: {problem}")
        *folders, name = key.split("/")
        with local_errors(Path(self.root), "open"):
            fd = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for folder in folders:
                below = self._enter(fd, folder, key, create)
                os.close(fd)
                fd = below
            yield fd, name
        finally:
            os.close(fd)

    def put(self, key: str, data: bytes, mtime: int, mode: int | None, before: Item | None) -> str:
        """Write a file whole, durably, in place of `before` (None: of nothing); return its stamp."""
        with self.folder_of(key, create=True) as (folder, name), local_errors(self.path(key), "write"):
            part = f".{_cut(name)}.{os.urandom(8).hex()}{PART}"
            fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=folder)
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(fd, view) :]
                return self._place(folder, part, name, fd, key, mtime, mode, before)
            except BaseException:
                with suppress(OSError):
                    os.unlink(part, dir_fd=folder)
                raise
            finally:
                os.close(fd)

    def open_part(self, key: str, tag: str) -> int:
        """Return the part of `key` that is called `tag`, open, and ours until it is closed.

        Raises:
            ConflictError: another process is at it.
        """
        with self.folder_of(key, create=True) as (folder, name), local_errors(self.path(key), "write"):
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            part = f".{_cut(name)}.{tag}{PART}"
            fd = os.open(part, flags, 0o666, dir_fd=folder)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # before we had the lock, another may have put it in its place: it is the file itself now
                if not os.path.samestat(os.fstat(fd), os.stat(part, dir_fd=folder, follow_symlinks=False)):
                    raise FileNotFoundError
                return fd
            except OSError:
                os.close(fd)
                raise ConflictError(f"another process is fetching {key}, or just did") from None

    def land_part(
        self, key: str, tag: str, fd: int, mtime: int, mode: int | None, before: Item | None
    ) -> str:
        """Put a part that is complete in its place; return the stamp of the file."""
        with self.folder_of(key) as (folder, name), local_errors(self.path(key), "write"):
            return self._place(folder, f".{_cut(name)}.{tag}{PART}", name, fd, key, mtime, mode, before)

    def drop_part(self, key: str, tag: str) -> None:
        """Remove a part."""
        with self.folder_of(key) as (folder, name), suppress(OSError):
            os.unlink(f".{_cut(name)}.{tag}{PART}", dir_fd=folder)

    def move(self, key: str, size: int, stamp: str, trash: Ground | None, below: str) -> None:
        """Take a file away: to `trash`, under `below`, or for good; then the folders that are empty by that."""
        with self.folder_of(key) as (folder, name), local_errors(self.path(key), "remove"):
            try:
                facts = os.stat(name, dir_fd=folder, follow_symlinks=False)
            except FileNotFoundError:
                return
            if not stat.S_ISLNK(facts.st_mode) and (facts.st_size, stamp_of(facts)) != (size, stamp):
                raise ConflictError(f"{key} changed meanwhile; it is left")
            if trash is None:
                os.unlink(name, dir_fd=folder)
            else:
                with trash.folder_of(below + key, create=True) as (there, kept):
                    _check_free(there, kept, key)  # as where the trash takes two names for one
                    os.rename(name, kept, src_dir_fd=folder, dst_dir_fd=there)
        self._prune(key)

    def settle(self, *, every: bool = True) -> None:
        """Make durable that files are where they are: the folders that were written to."""
        if not every and len(self._touched) < _FLUSH:
            return
        touched, self._touched = self._touched, set()
        for folder in touched:
            with suppress(OSError):
                fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    os.fsync(fd)
                finally:
                    os.close(fd)

    def path(self, key: str) -> Path:
        """Return where a file is, to be shown."""
        return Path(self.root, key)

    def _enter(self, fd: int, folder: str, key: str, create: bool) -> int:
        with local_errors(self.path(key), "write" if create else "remove"):
            for _ in range(2):
                try:
                    return os.open(folder, _FOLDER, dir_fd=fd)
                except FileNotFoundError:
                    if not create:
                        raise
                    with suppress(FileExistsError):
                        os.mkdir(folder, dir_fd=fd)
                except OSError as error:
                    if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                        raise
                    break
        raise InvalidRequestError(f"{key} cannot be there: {folder!r} on its way is a file or a link")

    def _place(
        self,
        folder: int,
        part: str,
        name: str,
        fd: int,
        key: str,
        mtime: int,
        mode: int | None,
        before: Item | None,
    ) -> str:
        """Make what was written durable and put it in its place, if nobody has touched that."""
        if mode is not None:
            os.fchmod(fd, mode & ~self._umask | stat.S_IRUSR | stat.S_IWUSR)
        os.utime(fd, ns=(mtime, mtime))
        os.fsync(fd)
        _check(folder, name, key, before)
        os.rename(part, name, src_dir_fd=folder, dst_dir_fd=folder)
        self._touched.add(os.path.dirname(f"{self.root}/{key}"))
        return stamp_of(os.fstat(fd))

    def _prune(self, key: str) -> None:
        while "/" in key:
            key = key.rpartition("/")[0]
            try:
                with self.folder_of(key) as (above, name):
                    os.rmdir(name, dir_fd=above)
            except (OSError, InvalidRequestError):
                return


def tidy(parts: list[str]) -> None:
    """Remove parts of fetches that were given up a day ago or more."""
    for path in parts:
        with suppress(OSError):
            fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if time.time() - os.fstat(fd).st_ctime > _STALE:
                    Path(path).unlink()
            finally:
                os.close(fd)


def _check(folder: int, name: str, key: str, before: Item | None) -> None:
    """Refuse to replace what was not there, or was another, when the folder was read.

    Raises:
        ConflictError: saying what is in the way.
    """
    try:
        facts = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return
    if stat.S_ISLNK(facts.st_mode) or (
        before is not None and isinstance(before.detail, Found) and before.detail.linked
    ):
        raise ConflictError(f"{key} is a link here; it is left as it is")
    if not stat.S_ISREG(facts.st_mode):
        raise ConflictError(f"{key} is a folder or the like here; it is left as it is")
    if before is None or before.stamp != stamp_of(facts):
        raise ConflictError(f"{key} was changed here meanwhile; it is left as it is")


def _check_free(folder: int, name: str, key: str) -> None:
    with suppress(FileNotFoundError):
        os.stat(name, dir_fd=folder, follow_symlinks=False)
        raise ConflictError(f"something lies in the trash where {key} would go; it is left")


def _cut(name: str) -> str:
    """Return the beginning of a name, so that what is put around it fits."""
    return os.fsdecode(os.fsencode(name)[:180]).encode(errors="ignore").decode()
