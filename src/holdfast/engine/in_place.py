"""Files that are read where they lie, below roots that the operator named: opened step by step, no link followed."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import stat
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from holdfast.core.body import CHUNK
from holdfast.core.errors import (
    CorruptedError,
    HoldfastError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
)
from holdfast.core.types import Span

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_ROOT: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A file that is open for reading."""

    fd: int
    size: int

    async def chunks(self, span: Span, sha256: str = "") -> AsyncIterator[bytes]:
        """Yield the bytes of `span`; of a whole file with a known digest the last ones only when it agrees.

        Raises:
            CorruptedError: the file ended early, or is not the one that was registered.
        """
        digest = hashlib.sha256() if sha256 and span.length == self.size else None
        offset, held = span.offset, b""
        while offset < span.end:
            chunk = await asyncio.to_thread(os.pread, self.fd, min(CHUNK, span.end - offset), offset)
            if not chunk:
                raise CorruptedError("the file became shorter while it was read")
            offset += len(chunk)
            if digest is not None:
                digest.update(chunk)
            if held:
                yield held
            held = chunk
        if digest is not None and digest.hexdigest() != sha256:
            raise CorruptedError("the file is not the one that was registered: its SHA-256 differs")
        if held:
            yield held

    async def sha256(self) -> str:
        """Return the digest of all of it, in hexadecimal digits."""
        digest = hashlib.sha256()
        async for chunk in self.chunks(Span(0, self.size)):
            digest.update(chunk)
        return digest.hexdigest()


@asynccontextmanager
async def opened(roots: Sequence[str], path: str) -> AsyncIterator[OpenFile]:
    """Open the file at `path`, which must lie below one of `roots`.

    Raises:
        PermissionDeniedError: it lies below none of them. InvalidRequestError: a link, or no file.
        NotFoundError: it is not there.
    """
    file = await asyncio.to_thread(_open, roots, path)
    try:
        yield file
    finally:
        os.close(file.fd)


def _open(roots: Sequence[str], path: str) -> OpenFile:
    root, pieces = _below(roots, path)
    try:
        above = os.open(root, _ROOT)
        try:
            for piece in pieces[:-1]:
                below = os.open(piece, _FOLDER, dir_fd=above)
                os.close(above)
                above = below
            fd = os.open(pieces[-1], _FILE, dir_fd=above)
        finally:
            os.close(above)
    except OSError as error:
        raise _translated(error, path) from error
    facts = os.fstat(fd)
    if not stat.S_ISREG(facts.st_mode):
        os.close(fd)
        raise InvalidRequestError("this is no regular file", name=path)
    return OpenFile(fd, facts.st_size)


def _below(roots: Sequence[str], path: str) -> tuple[str, list[str]]:
    """Return the root that `path` lies below, and the names from there on."""
    whole = PurePosixPath(path)
    if not path or "\0" in path or not whole.is_absolute() or ".." in whole.parts:
        raise InvalidRequestError("file_path is an absolute path without '..'", name=path[:200])
    for root in roots:
        if whole != PurePosixPath(root) and whole.is_relative_to(root):
            return root, list(whole.relative_to(root).parts)
    raise PermissionDeniedError(
        "the file lies below none of the folders that artifacts may be read from (artifacts.roots)",
        name=path[:200],
    )


def _translated(error: OSError, path: str) -> HoldfastError:
    if error.errno == errno.ENOENT:
        return NotFoundError("the file is not there", name=path)
    if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.EMLINK):
        return InvalidRequestError("a symbolic link, or no folder, is on the way to the file", name=path)
    if error.errno in (errno.EACCES, errno.EPERM):
        return PermissionDeniedError("the service may not read the file", name=path)
    return UnavailableError(f"the file cannot be opened: {error.strerror}", name=path)
