"""File system calls, as libfuse hands them over, on a `Disk`.

Setting the attribute `SWITCH` of the root folder steers the disk, in order with everything else that happens there.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable
from typing import Any, Final

from torture.disk import Disk, File, Folder, Loss, Node

SWITCH: Final = "user.holdfast.power"
_HIDDEN: Final = ".fuse_hidden"  #: what libfuse renames a file to that is removed while it is open


class Calls:
    """File system calls on a `Disk`. Open files are found by handle, since their names may be gone."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._open: dict[int, Node] = {}
        self._hidden: dict[str, File] = {}
        self._next = 1

    # -- names --------------------------------------------------------------------------------------------------
    def getattr(self, path: str | None, fh: int | None = None) -> dict[str, Any]:
        return _attributes(self._node(path, fh))

    def mkdir(self, path: str, mode: int) -> int:
        folder, name = self._parent(path)
        self._refuse_taken(folder, name)
        made = Folder(mode & 0o7777)
        made.modified = time.time_ns()
        folder.names[name] = made
        return 0

    def rmdir(self, path: str) -> int:
        folder, name = self._parent(path)
        node = self._node(path)
        if not isinstance(node, Folder):
            raise OSError(errno.ENOTDIR, "")
        if node.names:
            raise OSError(errno.ENOTEMPTY, "")
        del folder.names[name]
        return 0

    def unlink(self, path: str) -> int:
        if self._hidden.pop(path, None) is not None:
            return 0
        folder, name = self._parent(path)
        self._file(path).links -= 1
        del folder.names[name]
        return 0

    def link(self, target: str, source: str) -> int:
        folder, name = self._parent(target)
        self._refuse_taken(folder, name)
        node = self._file(source)
        node.links += 1
        folder.names[name] = node
        return 0

    def rename(self, old: str, new: str) -> int:
        source, source_name = self._parent(old)
        target, target_name = self._parent(new)
        if target_name.startswith(_HIDDEN):
            self._hidden[new] = self._file(old)
            return self.unlink(old)
        node, before = self._node(old), target.names.get(target_name)
        if before is node:
            return 0
        if isinstance(before, Folder) and before.names:
            raise OSError(errno.ENOTEMPTY, "")
        if isinstance(before, File):
            before.links -= 1
        target.names[target_name] = node
        del source.names[source_name]
        return 0

    def readdir(self, path: str | None, fh: int) -> list[tuple[str, dict[str, Any], int]]:
        node = self._node(path, fh)
        entries: dict[str, Node] = {".": node, "..": node}
        if isinstance(node, Folder):
            entries.update(node.names)
        return [(name, _attributes(entry), 0) for name, entry in entries.items()]

    def opendir(self, path: str) -> int:
        return self._hold(self._node(path))

    def releasedir(self, path: str | None, fh: int) -> int:
        self._open.pop(fh, None)
        return 0

    def fsyncdir(self, path: str | None, datasync: int, fh: int) -> int:
        node = self._node(path, fh)
        if isinstance(node, Folder):
            node.sync()
        return 0

    # -- bytes --------------------------------------------------------------------------------------------------
    def create(self, path: str, mode: int, fi: Any = None) -> int:
        folder, name = self._parent(path)
        self._refuse_taken(folder, name)
        made = File(mode & 0o7777)
        made.links, made.modified = 1, time.time_ns()
        folder.names[name] = made
        return self._hold(made)

    def open(self, path: str, flags: int) -> int:
        return self._hold(self._file(path))

    def release(self, path: str | None, fh: int) -> int:
        self._open.pop(fh, None)
        return 0

    def read(self, path: str | None, size: int, offset: int, fh: int) -> bytes:
        return self._file(path, fh).read(offset, size)

    def write(self, path: str | None, data: bytes, offset: int, fh: int) -> int:
        node = self._file(path, fh)
        node.write(offset, data)
        node.modified = time.time_ns()
        return len(data)

    def truncate(self, path: str | None, length: int, fh: int | None = None) -> int:
        self._file(path, fh).resize(length)
        return 0

    def fallocate(self, path: str | None, mode: int, offset: int, size: int, fh: int) -> int:
        if mode:
            raise OSError(errno.EOPNOTSUPP, "")
        node = self._file(path, fh)
        if offset + size > len(node.data):
            node.resize(offset + size)
        return 0

    def fsync(self, path: str | None, datasync: int, fh: int) -> int:
        self._file(path, fh).sync(data_only=bool(datasync))
        return 0

    # -- attributes ---------------------------------------------------------------------------------------------
    def chmod(self, path: str, mode: int) -> int:
        self._node(path).mode = mode & 0o7777
        return 0

    def chown(self, path: str, uid: int, gid: int) -> int:
        return 0

    def utimens(self, path: str, times: Any = None) -> int:
        self._node(path).modified = times[1] if times else time.time_ns()
        return 0

    def statfs(self, path: str) -> dict[str, int]:
        return {
            "f_bsize": 4096,
            "f_frsize": 4096,
            "f_blocks": 1 << 22,
            "f_bfree": 1 << 22,
            "f_bavail": 1 << 22,
            "f_namemax": 255,
        }

    def setxattr(self, path: str, name: str, value: bytes, options: int, position: int = 0) -> int:
        if name == SWITCH:
            return self._command(value.decode())
        self._node(path).attributes[name] = bytes(value)
        return 0

    def getxattr(self, path: str, name: str, position: int = 0) -> bytes:
        try:
            return self._node(path).attributes[name]
        except KeyError:
            raise OSError(errno.ENODATA, "") from None

    def listxattr(self, path: str) -> list[str]:
        return list(self._node(path).attributes)

    def removexattr(self, path: str, name: str) -> int:
        self._node(path).attributes.pop(name, None)
        return 0

    # -----------------------------------------------------------------------------------------------------------
    def _command(self, text: str) -> int:
        verb, *rest = text.split()
        if verb == "lose":
            self._disk.lose(Loss(rest[0]), int(rest[1]))
            return 0
        commands: dict[str, Callable[[], None]] = {
            "sync": self._disk.sync,
            "keep": self._disk.keep,
            "restore": self._disk.restore,
        }
        commands[verb]()
        return 0

    def _hold(self, node: Node) -> int:
        self._next += 1
        self._open[self._next] = node
        return self._next

    def _node(self, path: str | None, fh: int | None = None) -> Node:
        held = self._open.get(fh) if fh else None
        if held is not None:
            return held
        if path is None:
            raise OSError(errno.EBADF, "")
        if path in self._hidden:
            return self._hidden[path]
        node: Node = self._disk.root
        for part in path.split("/"):
            if part:
                if not isinstance(node, Folder):
                    raise OSError(errno.ENOTDIR, "")
                found = node.names.get(part)
                if found is None:
                    raise OSError(errno.ENOENT, "")
                node = found
        return node

    def _file(self, path: str | None, fh: int | None = None) -> File:
        node = self._node(path, fh)
        if not isinstance(node, File):
            raise OSError(errno.EISDIR, "")
        return node

    def _parent(self, path: str) -> tuple[Folder, str]:
        above, _, name = path.rpartition("/")
        folder = self._node(above or "/")
        if not isinstance(folder, Folder):
            raise OSError(errno.ENOTDIR, "")
        return folder, name

    @staticmethod
    def _refuse_taken(folder: Folder, name: str) -> None:
        if name in folder.names:
            raise OSError(errno.EEXIST, "")


def _attributes(node: Node) -> dict[str, Any]:
    kind, size, links = stat.S_IFDIR, 0, 2
    if isinstance(node, File):
        kind, size, links = stat.S_IFREG, len(node.data), node.links
    return {
        "st_mode": kind | node.mode,
        "st_ino": node.number,
        "st_size": size,
        "st_nlink": links,
        "st_blocks": -(-size // 512),
        "st_mtime": node.modified,
        "st_ctime": node.modified,
        "st_atime": node.modified,
        "st_uid": os.getuid(),
        "st_gid": os.getgid(),
    }
