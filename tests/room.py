"""Where a test run writes: servers in memory, all else among the temporary files, which may be in memory too.

Other people's servers refuse to write long before a disk is full (MinIO below a hundredth of it), and nothing here asks
whether they are durable: their data lies in memory where the machine has that. What Holdfast writes itself goes to a
real disk, unless too little of it is free.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

_MEMORY = Path("/dev/shm")
_GIB = 1 << 30
_NEEDED = (
    3 * _GIB
)  #: free bytes that a whole run may have in use at a time, with what other processes take meanwhile


class NoRoomError(Exception):
    """The tests would not fit anywhere here."""


def choose() -> None:
    """Say where to write in the environment, which every process of the run is given. Raises `NoRoomError`."""
    memory = _MEMORY if _room(_MEMORY) and _memory_free() >= _NEEDED else None
    if memory is not None:
        os.environ.setdefault("HOLDFAST_TEST_SERVERS_IN", str(memory))
    place = Path(tempfile.gettempdir())
    if _room(place):
        return
    if memory is None:
        free = shutil.disk_usage(place).free / _GIB
        raise NoRoomError(
            f"the tests need {_NEEDED // _GIB} GiB free in {place} and there are {free:.1f}: "
            "make room there, or let TMPDIR name a directory that has some"
        )
    os.environ["TMPDIR"] = str(memory)
    tempfile.tempdir = None  # what was found before is looked for again


def memory() -> Path | None:
    """Return a directory in memory, where the machine offers one that we may write to."""
    return _MEMORY if os.access(_MEMORY, os.W_OK | os.X_OK) else None


def _room(place: Path) -> bool:
    return os.access(place, os.W_OK | os.X_OK) and shutil.disk_usage(place).free >= _NEEDED


def _memory_free() -> int:
    """Return how many bytes of memory are free; what lies in /dev/shm takes from them."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:")), 0)
