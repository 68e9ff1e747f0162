"""Reading one file: small and cached parts at once on the loop, all else in 1 MiB steps in a worker thread."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, Future

from holdfast.core.body import CHUNK
from holdfast.core.errors import CorruptedError, HoldfastError, InvalidRequestError

INLINE = 64 << 10  #: up to this size a part that is in memory already is read without a thread hop


class OpenFile:
    """An open blob. Its descriptor is closed when nobody uses it any more: a thread that reads cannot be stopped.

    `meaning` translates what goes wrong while reading.
    """

    def __init__(
        self, fd: int, executor: Executor, meaning: Callable[[BaseException], HoldfastError]
    ) -> None:
        self.fd = fd
        self._executor = executor
        self._meaning = meaning
        self._busy: Future[bytes] | None = None
        self._closed = False

    def close(self) -> None:
        """Close now, or as soon as the read under way is done."""
        if self._closed:
            return
        self._closed = True
        if self._busy is None:
            os.close(self.fd)
        else:  # runs at once when it is done already
            self._busy.add_done_callback(lambda _: os.close(self.fd))

    async def chunks(self, offset: int, end: int, data: bytes | None = None) -> AsyncIterator[bytes]:
        """Yield the bytes from `offset` to `end`; the next step is read while the last one is used.

        `data` is what `cached` returned for them.

        Raises:
            CorruptedError: the file ends before `end`.
            UnavailableError: the disk fails.
        """
        if data:
            self._check()
            yield data
            return
        if end - offset > CHUNK:
            os.posix_fadvise(self.fd, offset, end - offset, os.POSIX_FADV_SEQUENTIAL)
        while offset < end:
            chunk = await self._next(offset, end)
            if not chunk:
                raise self._meaning(CorruptedError(f"the file ends {end - offset} bytes early"))
            offset += len(chunk)
            if end - offset > INLINE:
                self._start(offset, end)
            yield chunk

    def cached(self, offset: int, end: int) -> bytes | None:
        """Return the bytes if all of them are in the page cache, else None."""
        buffer = bytearray(end - offset)
        try:
            count = os.preadv(self.fd, [buffer], offset, os.RWF_NOWAIT)
        except OSError:  # not in memory, or a file system that cannot tell
            return None
        return bytes(buffer) if count == len(buffer) else None

    async def _next(self, offset: int, end: int) -> bytes:
        if self._busy is None:
            self._start(offset, end)
        assert self._busy is not None
        try:
            chunk = await asyncio.wrap_future(self._busy)
        except OSError as error:
            raise self._meaning(error) from error
        self._busy = None
        return chunk

    def _start(self, offset: int, end: int) -> None:
        self._check()
        self._busy = self._executor.submit(os.pread, self.fd, min(CHUNK, end - offset), offset)

    def _check(self) -> None:
        if self._closed:
            raise self._meaning(InvalidRequestError("the reader is closed"))
