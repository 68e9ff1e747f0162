"""A directory as a stream of files in byte order of their keys, one folder in memory at a time (and those above it)."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from holdfast.core.errors import ConflictError, InvalidRequestError
from holdfast.library.files import local_errors
from holdfast.policy.globs import EVERYTHING, Selection
from holdfast.policy.syncing import TRASH, Item, is_part, path_problem

#: Told of each thing that is not synced: its path as shown, why, and whether something is missing because of it.
Tell = Callable[[str, str, bool], None]
#: An entry of a folder: what puts it in order of keys, its name, whether it is a folder, whether a link.
_Entry = tuple[str, str, bool, bool]
_PARTS: Final = 10_000  #: files in the making that are looked at in one run
_KINDS: Final = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISCHR, "a device"),
)


class Found(NamedTuple):
    """What `Item.detail` of a file is: the way to it, and what tells that it still is the same."""

    path: str
    facts: os.stat_result
    linked: bool = False

    @property
    def inode(self) -> tuple[int, int]:
        """What no other file has at the same time."""
        return self.facts.st_dev, self.facts.st_ino

    @property
    def mode(self) -> int:
        """Its permissions."""
        return stat.S_IMODE(self.facts.st_mode)


def item_of(key: str, path: str, facts: os.stat_result, *, linked: bool = False) -> Item:
    """Return a file as an item."""
    return Item(key, facts.st_size, facts.st_mtime_ns, stamp_of(facts), Found(path, facts, linked))


def stamp_of(facts: os.stat_result) -> str:
    """Return what changes with the content of a file: its times, those that nobody can set among them."""
    return f"{facts.st_mtime_ns:x}-{facts.st_ctime_ns:x}-{facts.st_ino:x}"


class Tree:
    """The files below `root`. `follow`: links that lead to something else in the tree are followed, others told."""

    def __init__(
        self, root: Path, *, tell: Tell, selection: Selection = EVERYTHING, follow: bool = True
    ) -> None:
        with local_errors(root, "read"):
            self.root = os.path.realpath(root, strict=True)
            if not stat.S_ISDIR(Path(self.root).stat().st_mode):
                raise InvalidRequestError(f"{root} is not a directory")
        self._inside = self.root.rstrip("/") + "/"
        self._tell, self._selection, self._follow = tell, selection, follow
        self.parts: list[str] = []  #: files that are being fetched, or were

    def files(self) -> Iterator[Item]:
        """Yield the files, in byte order of their keys."""
        stack = [("", self.root, iter(self._scan("", self.root)))]
        while stack:
            base, folder, entries = stack[-1]
            for _, name, is_folder, linked in entries:
                path = f"{folder}/{name}"
                key = base + name
                if is_folder:
                    key += "/"
                    inner = os.path.realpath(path) if linked else path
                    if linked and not self._is_new(inner, path, stack):
                        continue
                    stack.append((key, inner, iter(self._scan(key, inner))))
                    break
                item = self._file(key, path, linked)
                if item is not None:
                    yield item
            else:
                stack.pop()

    def _scan(self, base: str, folder: str) -> list[_Entry]:
        """Return what is wanted of a folder, in order of keys."""
        found: list[_Entry] = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    name = entry.name
                    if entry.is_file(follow_symlinks=False):
                        if not is_part(name):
                            if self._takes(base, entry):
                                found.append((name, name, False, False))
                        elif len(self.parts) < _PARTS:
                            self.parts.append(entry.path)
                    elif (kind := self._kind(base, entry)) is not None:
                        found.append((f"{name}/" if kind[0] else name, name, *kind))
        except OSError as error:
            self._tell(folder, f"cannot be read: {error.strerror}", True)
            return []
        found.sort()  # of names that are UTF-8, and only those are here, the order is that of their bytes
        return found

    def _kind(self, base: str, entry: os.DirEntry[str]) -> tuple[bool, bool] | None:
        """Return whether what is no plain file is a folder, and whether a link; None when it is not wanted."""
        if not entry.is_symlink():
            if entry.is_dir(follow_symlinks=False):
                return (True, False) if self._enters(base, entry) else None
            self._left(entry, self._strange(entry))
            return None
        if not (self._selection.takes(base + entry.name) or self._selection.enters(f"{base}{entry.name}/")):
            return None
        if not self._follow:
            self._left(entry, "a link, and links are not followed")
            return None
        try:
            goal = os.path.realpath(entry.path, strict=True)
            facts = Path(goal).stat()
        except OSError as error:
            # what it led to may be elsewhere by now, and back tomorrow: on the other side it is not gone
            why = f"cannot be followed: {error.strerror}; mend the link, or leave it out by a pattern"
            self._tell(entry.path, why, True)
            return None
        if not goal.startswith(self._inside):
            where = "to the tree itself, which would have no end" if goal == self.root else "out of the tree"
            self._left(entry, f"a link that leads {where}")
            return None
        if stat.S_ISDIR(facts.st_mode):
            return (True, True) if self._enters(base, entry) else None
        if stat.S_ISREG(facts.st_mode):
            return (False, True) if self._takes(base, entry) else None
        self._left(entry, "a link to something that is no file")
        return None

    def _enters(self, base: str, entry: os.DirEntry[str]) -> bool:
        key = f"{base}{entry.name}/"
        if key == TRASH or not self._selection.enters(key):
            return False
        return self._nameable(key.rstrip("/"), entry)

    def _takes(self, base: str, entry: os.DirEntry[str]) -> bool:
        key = base + entry.name
        return self._selection.takes(key) and self._nameable(key, entry)

    def _nameable(self, key: str, entry: os.DirEntry[str]) -> bool:
        """Tell whether an object can be called so; where not, say it."""
        problem = path_problem(key)
        if problem:
            self._tell(entry.path, f"cannot be the name of an object: {problem}", True)
        return not problem

    def _left(self, entry: os.DirEntry[str], why: str) -> None:
        """Tell that a thing is left out."""
        self._tell(entry.path, f"is {why}; it is left out", False)

    def _strange(self, entry: os.DirEntry[str]) -> str:
        try:
            mode = entry.stat(follow_symlinks=False).st_mode
        except OSError:
            return "gone"
        return next((text for fits, text in _KINDS if fits(mode)), "no file")

    def _is_new(self, inner: str, path: str, stack: Sequence[tuple[str, str, object]]) -> bool:
        """Tell whether a linked folder is none of those that we are in, and none that holds one: else there is no end."""
        if any(above == inner or above.startswith(f"{inner}/") for _, above, _ in stack):
            self._tell(
                path, "is a link to a folder that it lies in, which would have no end; it is left out", False
            )
            return False
        return True

    def _file(self, key: str, path: str, linked: bool) -> Item | None:
        try:
            facts = os.stat(path)  # noqa: PTH116  # of every file
        except FileNotFoundError:
            return None  # it went since the folder was read
        except OSError as error:
            self._tell(path, f"cannot be read: {error.strerror}", True)
            return None
        if not stat.S_ISREG(facts.st_mode):
            self._tell(path, "is no file any more; it is left out", True)
            return None
        return item_of(key, os.path.realpath(path) if linked else path, facts, linked=linked)


class ChangedError(ConflictError):
    """The file is not the one that was found: it was replaced or changed meanwhile."""


def open_same(item: Item) -> int:
    """Return a descriptor of the file that was found, open for reading.

    Raises:
        ChangedError: something else lies there now.
        InvalidRequestError, PermissionDeniedError: it cannot be read.
    """
    assert isinstance(item.detail, Found)
    path = Path(item.detail.path)
    with local_errors(path, "read"):
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    if not is_same(fd, item):
        os.close(fd)
        raise ChangedError(f"{path} changed while it was looked at")
    return fd


def is_same(fd: int, item: Item) -> bool:
    """Return whether an open file is still what was found."""
    assert isinstance(item.detail, Found)
    facts = os.fstat(fd)
    return (facts.st_dev, facts.st_ino) == item.detail.inode and (facts.st_size, stamp_of(facts)) == (
        item.size,
        item.stamp,
    )


def again(item: Item) -> Item | None:
    """Return the file as it is now; None when it is gone or is no file."""
    assert isinstance(item.detail, Found)
    try:
        facts = Path(item.detail.path).lstat()
    except OSError:
        return None
    if not stat.S_ISREG(facts.st_mode):
        return None
    return item_of(item.key, item.detail.path, facts, linked=item.detail.linked)
