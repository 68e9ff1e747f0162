"""The system calls that the local backend makes, each one a method: the seam where tests let the n-th of them fail.

`open_beneath` is the only way in: it never leaves the folder of `root` and follows no symbolic link, by `openat2`
where the kernel has it, else by opening one segment after the other.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import secrets

_OPENAT2 = 437  #: the number is the same on every architecture
_BENEATH, _NO_SYMLINKS, _NO_MAGIC, _CACHED = 0x08, 0x04, 0x02, 0x20
_WRITE_NOW = 2  #: SYNC_FILE_RANGE_WRITE
_CLONE = 0x40049409  #: FICLONE
READ = (
    os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
)  #: NONBLOCK: a FIFO put there must not hang us
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class _How(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.syscall.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(_How), ctypes.c_size_t)


def _openat2(root: int, path: str, flags: int, mode: int, resolve: int) -> int:
    how = _How(flags, mode, resolve)
    while True:
        fd: int = _libc.syscall(_OPENAT2, root, path.encode(), ctypes.byref(how), ctypes.sizeof(how))
        if fd >= 0:
            return fd
        number = ctypes.get_errno()
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))


def _open_walking(root: int, path: str, flags: int, mode: int) -> int:
    """Open one segment after the other, none of them through a link."""
    *folders, last = path.split("/")
    if ".." in folders or last == "..":
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
    here = root
    try:
        for folder in folders:
            found = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
            if here != root:
                os.close(here)
            here = found
        return os.open(last, flags | os.O_NOFOLLOW, mode, dir_fd=here)
    finally:
        if here != root:
            os.close(here)


def has_openat2(root: int) -> bool:
    """Tell whether the kernel (and what guards it) lets us use `openat2`."""
    try:
        os.close(_openat2(root, ".", FOLDER, 0, _BENEATH | _NO_SYMLINKS | _NO_MAGIC))
    except OSError:
        return False
    return True


class Kernel:
    """Thin calls, `OSError` as it comes. `modern` says whether to use `openat2`."""

    def __init__(self, *, modern: bool = True) -> None:
        self.modern = modern

    def open_beneath(self, root: int, path: str, flags: int, mode: int = 0) -> int:
        """Return a descriptor of `path` below `root`; links and ways out are errors (ELOOP, EXDEV, ENOTDIR)."""
        if self.modern:
            return _openat2(root, path, flags | os.O_CLOEXEC, mode, _BENEATH | _NO_SYMLINKS | _NO_MAGIC)
        return _open_walking(root, path, flags | os.O_CLOEXEC, mode)

    def open_cached(self, root: int, path: str, flags: int) -> int | None:
        """Return a descriptor if that needs no disk, else None."""
        if not self.modern:
            return None
        try:
            return _openat2(root, path, flags, 0, _BENEATH | _NO_SYMLINKS | _NO_MAGIC | _CACHED)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno == errno.EINVAL:  # a kernel before 5.12
                return None
            raise

    def open_unnamed(self, folder: int, mode: int) -> int:
        """Return a descriptor of a new file in `folder` that has no name yet, and vanishes if it never gets one."""
        try:
            return os.open(".", os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC, mode, dir_fd=folder)
        except PermissionError:
            if os.fstat(folder).st_nlink == 0:  # ext4's way of saying that the folder was removed
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from None
            raise

    def create(self, folder: int, leaf: str, mode: int) -> int:
        return os.open(
            leaf, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=folder
        )

    def write(self, fd: int, data: bytes | memoryview) -> None:
        """Write all of `data`, however many calls that takes."""
        written = os.write(fd, data)
        while written < len(data):
            data = memoryview(data)[written:]
            written = os.write(fd, data)

    def allocate(self, fd: int, size: int) -> None:
        """Reserve room where the file system can, so that a full disk is noticed before the bytes come."""
        try:
            os.posix_fallocate(fd, 0, size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise

    def write_back(self, fd: int, offset: int, length: int) -> None:
        """Start writing that part to the disk without waiting, so that the fsync at the end finds little to do."""
        with contextlib.suppress(AttributeError):  # a libc without it
            _libc.sync_file_range(
                ctypes.c_int(fd), ctypes.c_int64(offset), ctypes.c_int64(length), ctypes.c_uint(_WRITE_NOW)
            )

    def clone(self, source: int, fd: int) -> None:
        """Let the file `fd` share the bytes of `source` until one of them is written to."""
        fcntl.ioctl(fd, _CLONE, source)

    def copy_range(self, source: int, offset: int, fd: int, count: int) -> int:
        """Append up to `count` bytes of `source` from `offset` on; return how many. They stay in the kernel."""
        return os.copy_file_range(source, fd, count, offset)

    def read(self, fd: int, offset: int, count: int) -> bytes:
        return os.pread(fd, count, offset)

    def set_attribute(self, fd: int, key: str, value: bytes) -> None:
        os.setxattr(fd, key, value)

    def sync_data(self, fd: int) -> None:
        os.fdatasync(fd)

    def sync(self, fd: int) -> None:
        os.fsync(fd)

    def link_unnamed(self, fd: int, folder: int, leaf: str) -> None:
        """Give the file of `open_unnamed` a name; `FileExistsError` when it is taken."""
        os.link(f"/proc/self/fd/{fd}", leaf, dst_dir_fd=folder, follow_symlinks=True)

    def link(self, source_folder: int, source: str, folder: int, leaf: str) -> None:
        os.link(source, leaf, src_dir_fd=source_folder, dst_dir_fd=folder, follow_symlinks=False)

    def rename(self, folder: int, source: str, target_folder: int, target: str) -> None:
        os.rename(source, target, src_dir_fd=folder, dst_dir_fd=target_folder)

    def unlink(self, folder: int, leaf: str) -> None:
        os.unlink(leaf, dir_fd=folder)

    def mkdir(self, folder: int, leaf: str, mode: int) -> None:
        os.mkdir(leaf, mode, dir_fd=folder)

    def rmdir(self, folder: int, leaf: str) -> None:
        os.rmdir(leaf, dir_fd=folder)

    def temporary(self) -> str:
        """Return a name part that no other writer uses."""
        return secrets.token_hex(8)
