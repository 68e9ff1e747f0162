"""The bytes of another file, made those of a draft without passing through this process where that can be.

First the file system is asked to share them (XFS, Btrfs and others, inside one file system), then the kernel to copy
them, and where neither is done they are read and written. Only the last way tells what is wrong with a disk: it alone
knows which of the two files it was. All of it blocks, so it runs in a worker thread, one part at a time.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from typing import Final

from holdfast.backends.local.kernel import Kernel
from holdfast.backends.local.writing import Draft, Writer
from holdfast.core.body import CHUNK
from holdfast.core.errors import CorruptedError, UnsupportedError

PART: Final = 8 << 20  #: bytes that are copied before anybody else's cancellation is looked at


@dataclass(slots=True)
class Source:
    """An open file to be copied as it was when it had `size` bytes. `by_kernel`: the kernel has refused nothing yet."""

    fd: int
    size: int
    by_kernel: bool = True


class Copier:
    """Fills drafts of one store from files of any other."""

    def __init__(self, writer: Writer, kernel: Kernel) -> None:
        self._writer = writer
        self._kernel = kernel

    def begin(self, draft: Draft, source: Source) -> None:
        """Make the file of `draft`; it has all bytes already where they can be shared, and room for them where not."""
        self._writer.begin(draft)
        if source.size and self._shared(draft, source):
            draft.written = draft.started = source.size
            return
        os.posix_fadvise(source.fd, 0, source.size, os.POSIX_FADV_SEQUENTIAL)
        self._writer.reserve(draft, source.size)

    def part(self, draft: Draft, source: Source) -> None:
        """Copy the next bytes, `PART` at most.

        Raises:
            CorruptedError: the source has become shorter.
            UnsupportedError: it cannot be read here; whoever reads it in the usual way is told why.
        """
        end = min(draft.written + PART, source.size)
        while draft.written < end and not draft.cancelled:
            count = self._copied(draft, source, end - draft.written) if source.by_kernel else 0
            if count:
                self._writer.wrote(draft, count)
            else:
                source.by_kernel = False
                data = self._read(draft, source, min(CHUNK, end - draft.written))
                self._writer.write(draft, data)

    def _shared(self, draft: Draft, source: Source) -> bool:
        try:
            self._kernel.clone(source.fd, draft.fd)
            if os.fstat(draft.fd).st_size == source.size:  # else others appended to it, or cut it
                return True
        except OSError:
            pass  # another file system, or one that shares nothing
        os.ftruncate(draft.fd, 0)
        return False

    def _copied(self, draft: Draft, source: Source, count: int) -> int:
        try:
            return self._kernel.copy_range(source.fd, draft.written, draft.fd, count)
        except OSError:
            return 0

    def _read(self, draft: Draft, source: Source, count: int) -> bytes:
        try:
            data = self._kernel.read(source.fd, draft.written, count)
        except OSError as error:
            label = errno.errorcode.get(error.errno or 0, "?")
            raise UnsupportedError(f"the file to be copied cannot be read ({label})") from error
        if not data:
            raise CorruptedError(f"the file to be copied ends {source.size - draft.written} bytes early")
        return data
