"""Local files: errors in our own words, and files that appear whole or not at all."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from holdfast.core.errors import (
    AlreadyExistsError,
    HoldfastError,
    InvalidRequestError,
    PermissionDeniedError,
    QuotaExceededError,
    UnavailableError,
)

_INLINE: Final = 64 << 10  #: writes up to this size are not worth a thread hop

_KINDS: Final[dict[int | None, type[HoldfastError]]] = {
    errno.EEXIST: AlreadyExistsError,
    errno.EACCES: PermissionDeniedError,
    errno.EPERM: PermissionDeniedError,
    errno.EROFS: PermissionDeniedError,
    errno.ENOSPC: QuotaExceededError,
    errno.EDQUOT: QuotaExceededError,
    errno.EFBIG: QuotaExceededError,
    errno.EIO: UnavailableError,
    errno.EMFILE: UnavailableError,
    errno.ENFILE: UnavailableError,
}


@contextmanager
def local_errors(path: Path, verb: str) -> Iterator[None]:
    """Turn an `OSError` about `path` into our kinds; a wrong path is an `InvalidRequestError`."""
    try:
        yield
    except ValueError as error:  # an embedded NUL
        raise InvalidRequestError(f"cannot {verb} {path!r}: {error}") from error
    except OSError as error:
        kind = _KINDS.get(error.errno, InvalidRequestError)
        raise kind(f"cannot {verb} {path}: {error.strerror or error}") from error


class Landing:
    """A local file that is being written: aside, under a hidden name, and put in place by `commit`.

    Use it as a context manager: leaving without `commit` removes what was written. A target that exists and is
    neither file nor directory (`/dev/null`, a named pipe) is written to directly, since it cannot be replaced.
    """

    def __init__(self, target: Path, token: str) -> None:
        self._target = target
        self._aside: Path | None = target.with_name(f".{target.name[:200]}.{token}.part")

    def __enter__(self) -> Landing:
        with local_errors(self._target, "write"):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            if self._is_special():
                self._aside = None
                flags = os.O_WRONLY | os.O_CLOEXEC
            self._fd = os.open(self._aside or self._target, flags, 0o666)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)
        if self._aside is not None:
            self._aside.unlink(missing_ok=True)

    async def write(self, chunk: bytes) -> None:
        """Append `chunk`."""
        with local_errors(self._target, "write"):
            if len(chunk) <= _INLINE:
                _write_all(self._fd, chunk)
            else:
                await asyncio.to_thread(_write_all, self._fd, chunk)

    def commit(self) -> None:
        """Put the file in place, replacing what is there. Called once, after the last write."""
        if self._aside is not None:
            with local_errors(self._target, "write"):
                self._aside.replace(self._target)
            self._aside = None

    def _is_special(self) -> bool:
        try:
            mode = self._target.stat().st_mode
        except FileNotFoundError:
            return False
        if stat.S_ISDIR(mode):
            raise InvalidRequestError(f"{self._target} is a directory; name a file")
        return not stat.S_ISREG(mode)


def _write_all(fd: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(fd, view) :]
