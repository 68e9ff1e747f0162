"""Where a test run writes: servers in memory, all else among the temporary files, which may be in memory too.

Other people's servers refuse to write long before a disk is full (MinIO below a hundredth of it), and nothing here asks
whether they are durable: their data lies in memory where the machine has that. What Holdfast writes itself goes to a
real disk, unless too little of it is free.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

_MEMORY = Path("/dev/shm")
_GIB = 1 << 30
_SERVERS, _REST = 3 * _GIB, 4 * _GIB  #: free bytes for both in a whole run, with what others take meanwhile


def choose() -> None:
    """Say where to write in the environment, which every process of the run is given; tell if it may not fit."""
    place, spare = Path(tempfile.gettempdir()), _free(_MEMORY)
    if spare >= _SERVERS:
        os.environ.setdefault("HOLDFAST_TEST_SERVERS_IN", str(_MEMORY))
    if (free := _free(place)) >= _REST:
        return
    if spare >= _SERVERS + _REST:
        os.environ["TMPDIR"] = str(_MEMORY)
        tempfile.tempdir = None  # what was found before is looked for again
        return
    print(
        f"tests: a whole run needs {_REST // _GIB} GiB free in {place} and there are {free / _GIB:.1f}: "
        "make room there, or let TMPDIR name a directory that has some",
        file=sys.stderr,
    )


def memory() -> Path | None:
    """Return a directory in memory, where the machine offers one that we may write to."""
    return _MEMORY if os.access(_MEMORY, os.W_OK | os.X_OK) else None


def _free(place: Path) -> int:
    """Return how many bytes may be written there; in memory no more than are free of that."""
    if not os.access(place, os.W_OK | os.X_OK):
        return 0
    free = shutil.disk_usage(place).free
    return min(free, _memory_free()) if place == _MEMORY else free


def _memory_free() -> int:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:")), 0)
