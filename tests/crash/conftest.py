"""Where the worlds of these tests are: in memory if the machine offers that, since nothing here waits for a disk to fail."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_MEMORY = Path("/dev/shm")


@pytest.fixture
def ground() -> Iterator[Path]:
    """An empty folder for worlds."""
    parent = _MEMORY if os.access(_MEMORY, os.W_OK | os.X_OK) else None
    with tempfile.TemporaryDirectory(
        prefix="holdfast-crash-", dir=parent, ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder)
