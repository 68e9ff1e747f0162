"""A file beside the catalog that only takes room, so that a full disk can still be emptied.

When the disk is full, the catalog could not even note what is to be deleted. The ballast is then dropped; until it can
be made again, only transactions that make room may write.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


class Ballast:
    """`size` bytes beside the catalog at `path`; with 0 there is none, and nothing is held back."""

    def __init__(self, path: str, size: int) -> None:
        self._path = Path(f"{path}-reserve")
        self._size = size

    def stands(self) -> bool:
        """Return whether it is there, after trying to make it where it is not."""
        return self._size == 0 or self._path.exists() or self._make()

    def drop(self) -> bool:
        """Give its room away; return whether there was any to give."""
        if self._size == 0:
            return False
        try:
            self._path.unlink()
        except OSError:
            return False
        return True

    def _make(self) -> bool:
        draft = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        try:
            file = os.open(draft, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                os.posix_fallocate(file, 0, self._size)
                os.fsync(file)
            finally:
                os.close(file)
            draft.replace(self._path)
        except OSError:
            with suppress(OSError):
                draft.unlink()
            return False
        return True
