"""Nameless files of this machine, in which files of backups grow or are opened; they vanish with the process."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from holdfast.core.errors import UnavailableError


def temporary() -> BinaryIO:
    """Return a new one; `UnavailableError` when there is no room for it."""
    with scratch():
        return tempfile.TemporaryFile(prefix="holdfast-backup-")


@contextmanager
def scratch() -> Iterator[None]:
    """Tell what is wrong with the folder that they lie in as `UnavailableError`: it may be full."""
    try:
        yield
    except OSError as error:
        try:
            folder = tempfile.gettempdir()
        except OSError:
            folder = "of the machine"
        raise UnavailableError(
            f"the temporary folder {folder} cannot be used: {error.strerror or error}; make room there, or set TMPDIR "
            "to a folder that has room, where the job runs"
        ) from error
