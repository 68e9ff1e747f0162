"""Listing: the tree in byte order of blob names, one folder in memory at a time (and those above it)."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from holdfast.backends.local.folders import Folders
from holdfast.backends.local.kernel import READ, Kernel
from holdfast.backends.local.paths import BLOB, LONG, TEMPORARY, is_ours
from holdfast.core.names import MAX_SEGMENT_BYTES
from holdfast.core.types import BlobInfo

BATCH = 256
_NOTE = f"{TEMPORARY}tidied"  #: its time tells when `tidy` ran last
_STALE = 3600.0  #: seconds after which a temporary file that nobody locks is given up


@dataclass(frozen=True, slots=True, order=True)
class _Entry:
    """`key` is the blob's name, or the start of the names in a folder (with its slash): entries sort by it."""

    key: str
    file: str  #: relative to the folder that is scanned; "" for a folder


class Walker:
    """Walks below one root. `now` (seconds) only tells which temporary files are stale; those are removed on the way."""

    def __init__(self, root: int, folders: Folders, kernel: Kernel) -> None:
        self._root = root
        self._folders = folders
        self._kernel = kernel
        self._removed = 0
        self.stop = False  #: set to end a `tidy` under way

    def walk(self, prefix: str, after: str, now: float) -> Iterator[list[BlobInfo]]:
        """Yield batches of blobs whose names start with `prefix` and are greater than `after`, in byte order."""
        start = prefix.rpartition("/")[0]
        if not self._possible(start):
            return
        stack = [(start, iter(self._scan(start, prefix, after, now)))]
        while stack:
            path, entries = stack[-1]
            files: list[_Entry] = []
            folder = None
            for entry in entries:
                if not entry.file:
                    folder = entry.key[:-1]
                    break
                files.append(entry)
                if len(files) == BATCH:
                    break
            else:
                stack.pop()
            if files:
                yield self._stat(path, files)
            if folder is not None:
                stack.append((folder, iter(self._scan(folder, prefix, after, now))))

    def tidy(self, now: float) -> int:
        """Remove temporary files that a dead writer left anywhere; return how many."""
        before = self._removed
        for _ in self.walk("", "", now):
            if self.stop:
                return self._removed - before
        with contextlib.suppress(OSError):  # a read-only disk needs no note
            fd = os.open(
                _NOTE, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640, dir_fd=self._root
            )
            os.utime(fd, (now, now))
            os.close(fd)
        return self._removed - before

    def due(self, now: float) -> bool:
        """Tell whether the last `tidy`, by any process, is more than an hour ago."""
        try:
            return now - os.stat(_NOTE, dir_fd=self._root, follow_symlinks=False).st_mtime >= _STALE
        except OSError:
            return True

    def _possible(self, folder: str) -> bool:
        return _could_be(folder)

    def _scan(self, path: str, prefix: str, after: str, now: float) -> list[_Entry]:
        """Return what is wanted of one folder, sorted; a folder that vanished has nothing."""
        base = f"{path}/" if path else ""
        found: list[_Entry] = []
        try:
            fd = self._folders.open(path)
        except (FileNotFoundError, NotADirectoryError):
            return found
        try:
            with os.scandir(fd) as entries:
                for entry in entries:
                    found.extend(self._entries(fd, base, entry, now))
        finally:
            os.close(fd)
        found = [entry for entry in found if _wanted(entry, prefix, after)]
        found.sort()
        return found

    def _entries(self, folder: int, base: str, entry: os.DirEntry[str], now: float) -> Iterator[_Entry]:
        name = entry.name
        if name.startswith(BLOB):
            if entry.is_file(follow_symlinks=False):
                yield _Entry(base + name[1:], name)
        elif name.startswith(TEMPORARY):
            if name != _NOTE and is_ours(name):  # others may have files that begin so
                self._consider(folder, name, now)
        elif not entry.is_dir(follow_symlinks=False):
            return
        elif name.startswith(LONG):
            yield from self._long(folder, base, name)
        else:
            yield _Entry(f"{base}{name}/", "")

    def _long(self, folder: int, base: str, name: str) -> Iterator[_Entry]:
        """Yield the blobs whose last segment did not fit: folder `^start`, files `%rest`."""
        try:
            fd = self._kernel.open_beneath(folder, name, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            return
        try:
            with os.scandir(fd) as entries:
                for entry in entries:
                    if entry.name.startswith(BLOB) and entry.is_file(follow_symlinks=False):
                        yield _Entry(base + name[1:] + entry.name[1:], f"{name}/{entry.name}")
        finally:
            os.close(fd)

    def _stat(self, path: str, files: list[_Entry]) -> list[BlobInfo]:
        """Return what is known of `files`; one that vanished since the scan is left out."""
        found = []
        try:
            fd = self._folders.open(path)
        except FileNotFoundError:
            return []
        try:
            for entry in files:
                with contextlib.suppress(FileNotFoundError):
                    facts = os.stat(entry.file, dir_fd=fd, follow_symlinks=False)
                    if stat.S_ISREG(facts.st_mode):
                        found.append(info_of(entry.key, facts))
        finally:
            os.close(fd)
        return found

    def _consider(self, folder: int, name: str, now: float) -> None:
        """Remove the temporary file `name` when it is old and no writer, here or in another process, holds it."""
        with contextlib.suppress(OSError):
            fd = self._kernel.open_beneath(folder, name, READ)
            try:
                facts = os.fstat(fd)
                if not stat.S_ISREG(facts.st_mode) or now - max(facts.st_mtime, facts.st_ctime) < _STALE:
                    return
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._kernel.unlink(folder, name)
                self._removed += 1
            finally:
                os.close(fd)


class ForeignWalker(Walker):
    """Walks over what others put there, and leaves out what is ours; symbolic links and the like are no files."""

    def _possible(self, folder: str) -> bool:
        return not folder or all(segment not in ("", ".", "..") for segment in folder.split("/"))

    def _entries(self, folder: int, base: str, entry: os.DirEntry[str], now: float) -> Iterator[_Entry]:
        if is_ours(entry.name):
            return
        if entry.is_file(follow_symlinks=False):
            yield _Entry(base + entry.name, entry.name)
        elif entry.is_dir(follow_symlinks=False):
            yield _Entry(f"{base}{entry.name}/", "")


def info_of(name: str, facts: os.stat_result) -> BlobInfo:
    """Return the facts of a file as a blob's, without metadata."""
    etag = f"{facts.st_ino:x}-{facts.st_size:x}-{facts.st_mtime_ns:x}"
    return BlobInfo(name, facts.st_size, facts.st_mtime_ns // 1000, etag)


def _wanted(entry: _Entry, prefix: str, after: str) -> bool:
    key = entry.key
    if entry.file:
        return key > after and key.startswith(prefix)
    if not (key.startswith(prefix) or prefix.startswith(key)):
        return False
    return key > after or after.startswith(key)


def _could_be(folder: str) -> bool:
    """Tell whether `folder` can be a folder of ours: the prefix of a listing is any text."""
    return not folder or all(
        segment not in ("", ".", "..")
        and segment.isascii()
        and segment.isprintable()
        and len(segment) <= MAX_SEGMENT_BYTES
        and segment[0] not in (BLOB, LONG, TEMPORARY)
        for segment in folder.split("/")
    )
