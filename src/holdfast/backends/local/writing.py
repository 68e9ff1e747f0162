"""Writing one file: aside, then durable, then under its name. All of it blocks, so it runs in a worker thread.

The order is: bytes (and attributes) → fsync of the file → name → fsync of the folder → fsync of every folder that is
new. Bytes go into a file that has no name yet (`O_TMPFILE`), so that a crash leaves nothing behind; where the file
system cannot do that, into one with a temporary name that `tidy` recognises.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from holdfast.backends.local.folders import Folders
from holdfast.backends.local.kernel import Kernel
from holdfast.backends.local.paths import TEMPORARY, locate
from holdfast.core.errors import UnavailableError
from holdfast.core.failpoints import failpoint

ATTRIBUTE = "user.holdfast."
#: What a file system says that has no hard links, or not here.
NO_LINK = {errno.EMLINK, errno.EPERM, errno.EXDEV, errno.EOPNOTSUPP, errno.ENOSYS}
_MODE = 0o440  #: blobs never change
_RACES = 20
_STEP = 8 << 20  #: bytes after which writing back is started
_ALLOCATE = 1 << 20  #: from this size on, room is reserved first


@dataclass(slots=True)
class Draft:
    """A blob being written. `end` may be called at any time, once or often."""

    name: str
    if_absent: bool
    metadata: Mapping[str, str]
    folder: int = -1
    fd: int = -1
    temporary: str = ""  #: the name it has meanwhile, if it has one
    written: int = 0
    started: int = 0  #: bytes whose writing back was started
    cancelled: bool = False  #: set by the loop; looked at before the name is given
    published: bool = False
    replaced: bool = False
    path: str = field(init=False)
    leaf: str = field(init=False)

    def __post_init__(self) -> None:
        self.path, self.leaf = locate(self.name)

    def cancel(self) -> None:
        """Let the thread that writes give up before the name is given."""
        self.cancelled = True


class CancelledDraft(Exception):
    """The put was cancelled before its blob had a name."""


class Writer:
    """Writes drafts below one root. `unnamed` says whether the file system has O_TMPFILE."""

    def __init__(self, folders: Folders, kernel: Kernel, *, fsync: bool, unnamed: bool) -> None:
        self._folders = folders
        self._kernel = kernel
        self._fsync = fsync
        self._unnamed = unnamed

    def begin(self, draft: Draft, size: int | None = None) -> None:
        """Make the file that `draft` is written to; reserve `size` bytes when they are many."""
        for _ in range(_RACES):
            draft.folder = self._folders.open(draft.path, make=True)
            try:
                self._create(draft)
                break
            except FileNotFoundError:  # the folder was pruned between the two calls
                os.close(draft.folder)
                draft.folder = -1
        else:
            raise OSError(errno.EBUSY, "the folder keeps vanishing")
        failpoint("local.after_create")
        if size is not None:
            self.reserve(draft, size)

    def reserve(self, draft: Draft, size: int) -> None:
        """Reserve `size` bytes when they are many."""
        if size >= _ALLOCATE:
            self._kernel.allocate(draft.fd, size)

    def write(self, draft: Draft, chunk: bytes) -> None:
        """Append `chunk`."""
        self._kernel.write(draft.fd, chunk)
        self.wrote(draft, len(chunk))

    def wrote(self, draft: Draft, count: int) -> None:
        """Note that `count` more bytes are in the file, however they came there."""
        draft.written += count
        if self._fsync and draft.written - draft.started >= _STEP:
            self._kernel.write_back(draft.fd, draft.started, draft.written - draft.started)
            draft.started = draft.written

    def finish(self, draft: Draft) -> os.stat_result:
        """Make the bytes durable, then give them their name, durably; return what the file looks like.

        Raises:
            FileExistsError: `if_absent` and the name is taken.
            UnavailableError: an fsync failed. It is not tried again, for the second one would lie.
        """
        failpoint("local.after_write")
        for key, value in draft.metadata.items():
            self._kernel.set_attribute(draft.fd, ATTRIBUTE + key, value.encode())
        if self._announce(draft):
            failpoint("local.after_rename")
            self._sync_file(draft)
            failpoint("local.after_fsync")
        else:
            self._sync_file(draft)
            failpoint("local.after_fsync")
            self._refuse_cancelled(draft)
            self._publish(draft)
            failpoint("local.after_rename")
        stat = os.fstat(draft.fd)
        self._settle(draft)
        return stat

    def _announce(self, draft: Draft) -> bool:
        """Give a new file its name before it is durable, if the name is free; tell whether that was done.

        File and name then share one commit of the file system's journal, instead of waiting for two. Nobody is told
        of the name before both are durable, and what stands under it after a crash is collected as a write that was
        never acknowledged. A name that is taken must keep its old content until the new one is durable: not here.
        """
        if draft.if_absent:
            return False
        self._refuse_cancelled(draft)
        try:
            if draft.temporary:
                self._kernel.link(draft.folder, draft.temporary, draft.folder, draft.leaf)
            else:
                self._kernel.link_unnamed(draft.fd, draft.folder, draft.leaf)
        except (FileExistsError, FileNotFoundError):
            return False
        except OSError as error:
            if error.errno in NO_LINK:
                return False
            raise
        draft.published = True
        return True

    @staticmethod
    def _refuse_cancelled(draft: Draft) -> None:
        if draft.cancelled:
            raise CancelledDraft

    def whole(self, draft: Draft, data: bytes) -> os.stat_result:
        """Do `begin`, `write`, `finish` and `end` in one go."""
        try:
            self.begin(draft, len(data))
            self.write(draft, data)
            return self.finish(draft)
        finally:
            self.end(draft)

    def end(self, draft: Draft) -> None:
        """Close what is open and remove what has no right to stay."""
        with contextlib.suppress(OSError):
            if draft.temporary:
                self._kernel.unlink(draft.folder, draft.temporary)
        for fd in (draft.fd, draft.folder):
            if fd >= 0:
                os.close(fd)
        draft.temporary, draft.fd, draft.folder = "", -1, -1
        if not draft.published:  # folders that were made for it go with it
            self._folders.prune(draft.path)

    def withdraw(self, draft: Draft) -> None:
        """Take the name back from a blob that was published although its put failed or was cancelled.

        Nobody was told that it is there. A blob that replaced another one stays: the old one is gone already.
        """
        if not draft.published or draft.replaced:
            return
        with contextlib.suppress(OSError):
            folder = self._folders.open(draft.path)
            try:
                self._kernel.unlink(folder, draft.leaf)
                draft.published = False
            finally:
                os.close(folder)

    def copy(self, source: str, draft: Draft) -> None:
        """Give the file of the blob `source` a second name. OSError EMLINK or EPERM: it has to be read and written."""
        source_path, source_leaf = locate(source)
        origin = self._folders.open(source_path)
        try:
            self._link_from(origin, source_leaf, draft)
            self._settle(draft)
        finally:
            os.close(origin)
            self.end(draft)

    def remove(self, name: str) -> None:
        """Remove the blob, durably, and the folders that it leaves empty."""
        path, leaf = locate(name)
        try:
            folder = self._folders.open(path)
        except (FileNotFoundError, NotADirectoryError):
            return
        try:
            with contextlib.suppress(FileNotFoundError):
                self._kernel.unlink(folder, leaf)
            failpoint("local.after_unlink")
            if (
                self._fsync
            ):  # also when it was gone already: the one that removed it may have died before its fsync
                self._kernel.sync(folder)
        finally:
            os.close(folder)
        self._folders.prune(path)

    def _create(self, draft: Draft) -> None:
        if self._unnamed:
            draft.fd = self._kernel.open_unnamed(draft.folder, _MODE)
            return
        name = TEMPORARY + self._kernel.temporary()
        draft.fd = self._kernel.create(draft.folder, name, _MODE)
        draft.temporary = name
        with contextlib.suppress(OSError):  # tells `tidy` in any process that somebody is at it
            fcntl.flock(draft.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _sync_file(self, draft: Draft) -> None:
        if not self._fsync:
            return
        try:
            # fdatasync may leave attributes behind
            (self._kernel.sync if draft.metadata else self._kernel.sync_data)(draft.fd)
        except OSError as error:
            self.withdraw(draft)
            raise _dead(error) from error

    def _settle(self, draft: Draft) -> None:
        if not self._fsync:
            return
        try:
            self._kernel.sync(draft.folder)
            self._folders.settle(draft.path, draft.folder)
        except OSError as error:
            self.withdraw(draft)
            raise _dead(error) from error

    def _publish(self, draft: Draft) -> None:
        for _ in range(_RACES):
            try:
                self._name(draft)
                draft.published = True
                return
            except FileNotFoundError:  # the folder was pruned: an unnamed file does not hold it
                if draft.temporary:
                    raise
                os.close(draft.folder)
                draft.folder = -1
                draft.folder = self._folders.open(draft.path, make=True)
        raise OSError(errno.EBUSY, "the folder keeps vanishing")

    def _name(self, draft: Draft) -> None:
        if not draft.temporary:
            try:
                self._kernel.link_unnamed(draft.fd, draft.folder, draft.leaf)
                return
            except FileExistsError:
                if draft.if_absent:
                    raise
            temporary = TEMPORARY + self._kernel.temporary()
            self._kernel.link_unnamed(draft.fd, draft.folder, temporary)
            draft.temporary = temporary
        if draft.if_absent:
            self._kernel.link(draft.folder, draft.temporary, draft.folder, draft.leaf)
            return  # `end` removes the temporary name
        draft.replaced = _exists(draft.folder, draft.leaf)
        self._kernel.rename(draft.folder, draft.temporary, draft.folder, draft.leaf)
        draft.temporary = ""

    def _link_from(self, origin: int, leaf: str, draft: Draft) -> None:
        for _ in range(_RACES):
            draft.folder = self._folders.open(draft.path, make=True)
            try:
                self._kernel.link(origin, leaf, draft.folder, draft.leaf)
                draft.published = True
                return
            except FileExistsError:
                break
            except FileNotFoundError:
                os.stat(
                    leaf, dir_fd=origin, follow_symlinks=False
                )  # raises when it is the source that is gone
                os.close(draft.folder)
                draft.folder = -1
        else:
            raise OSError(errno.EBUSY, "the folder keeps vanishing")
        temporary = TEMPORARY + self._kernel.temporary()
        self._kernel.link(origin, leaf, draft.folder, temporary)
        draft.temporary = (
            temporary  # stays set: renaming onto the same file does nothing, so `end` has to unlink
        )
        draft.published = draft.replaced = True
        self._kernel.rename(draft.folder, temporary, draft.folder, draft.leaf)


def _exists(folder: int, leaf: str) -> bool:
    try:
        os.stat(leaf, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _dead(error: OSError) -> UnavailableError:
    label = errno.errorcode.get(error.errno or 0, "?")
    return UnavailableError(f"the disk did not confirm the write ({label}); the blob is given up")
