"""What the figures depend on besides the programs: the machine, how busy it is, and how fast its disk and hashes are."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_MIB = 1 << 20


def facts(data: Path) -> dict[str, Any]:
    """Return what a reader must know of this machine; `data` is where the peers keep their bytes."""
    return {
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)),
        "cpu": _cpu_model(),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / (1 << 30), 1),
        "kernel": platform.release(),
        "python": sys.version.split()[0],
        "file_system": file_system(data),
    }


def load() -> float:
    """Return the load average of the last minute."""
    return os.getloadavg()[0]


def sha256_rate(mib: int = 256) -> float:
    """Return MB/s of SHA-256 on one core: the ceiling of a put that digests."""
    block, hasher = os.urandom(_MIB), hashlib.sha256()
    started = time.perf_counter()
    for _ in range(mib):
        hasher.update(block)
    return mib * _MIB / 1e6 / (time.perf_counter() - started)


def disk_rate(directory: Path, mib: int = 512) -> float:
    """Return MB/s of writing `mib` MiB and one fsync: the ceiling of a durable put."""
    block = os.urandom(_MIB)
    with _scratch(directory) as fd:
        started = time.perf_counter()
        for _ in range(mib):
            os.write(fd, block)
        os.fsync(fd)
        return mib * _MIB / 1e6 / (time.perf_counter() - started)


def sync_rate(directory: Path, seconds: float = 1.0) -> float:
    """Return how many 4 KiB writes with fdatasync a second one writer gets."""
    block, done = os.urandom(4096), 0
    with _scratch(directory) as fd:
        started = time.perf_counter()
        while time.perf_counter() - started < seconds:
            os.write(fd, block)
            os.fdatasync(fd)
            done += 1
        return done / (time.perf_counter() - started)


def file_system(directory: Path) -> str:
    """Return the type of the file system that holds `directory`."""
    where, best = str(directory.resolve()), ("", "unknown")
    for line in Path("/proc/self/mounts").read_text().splitlines():
        mount, kind = line.split(" ")[1:3]
        inside = where == mount or where.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(best[0]):
            best = (mount, kind)
    return best[1]


@contextmanager
def _scratch(directory: Path) -> Iterator[int]:
    path = directory / f"probe-{os.getpid()}"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        yield fd
    finally:
        os.close(fd)
        path.unlink()


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()
