"""Where the worlds of these tests are: in memory if the machine offers that, since nothing here waits for a disk to fail."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.room import memory


@pytest.fixture
def ground() -> Iterator[Path]:
    """An empty folder for worlds."""
    with tempfile.TemporaryDirectory(
        prefix="holdfast-crash-", dir=memory(), ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder)
