"""Where a trial lives: a data directory that can be made anew, and what happens to it when the process has died."""
# ruff: noqa: S108 - what is made in memory has a name of its own

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from pathlib import Path
from random import Random
from typing import Protocol

from torture.disk import Loss
from torture.powerfs import PowerDisk, mount
from torture.processes import fork
from torture.service import engine_on

_MEMORY = Path("/dev/shm")  # what is made there has a name of its own


class Ground(Protocol):
    """A place for one trial at a time."""

    def fresh(self, *, empty: bool) -> Path:
        """Return a data directory for a new trial: `empty`, or with catalog and buckets made and durable."""
        ...

    def die(self, chance: Random) -> str:
        """Do to the data what this kind of death does beyond ending the process; return what it was."""
        ...

    def close(self) -> None:
        """Leave nothing behind."""
        ...


class PlainGround:
    """A folder. Only the process dies, so nothing happens to the data, and it may as well be in memory."""

    def __init__(self, parent: Path | None = None) -> None:
        if parent is None and os.access(_MEMORY, os.W_OK | os.X_OK):
            parent = _MEMORY
        self._root = Path(tempfile.mkdtemp(prefix="holdfast-torture-", dir=parent))
        try:
            found(self._root / "template")
        except BaseException:
            self.close()
            raise

    def fresh(self, *, empty: bool) -> Path:
        data = self._root / "data"
        shutil.rmtree(data, ignore_errors=True)
        if empty:
            data.mkdir()
        else:
            shutil.copytree(self._root / "template", data)
        return data

    def die(self, chance: Random) -> str:
        return "kill"

    def close(self) -> None:
        shutil.rmtree(self._root, ignore_errors=True)


class PowerGround:
    """A folder on a disk that forgets what was not synced."""

    def __init__(self) -> None:
        self._mountpoint = Path(tempfile.mkdtemp(prefix="holdfast-power-"))
        self._disk: PowerDisk = mount(self._mountpoint)
        try:
            found(self._mountpoint / "data")
            self._disk.sync()
            self._disk.keep()
        except BaseException:
            self.close()
            raise

    def fresh(self, *, empty: bool) -> Path:
        self._disk.restore()
        data = self._mountpoint / ("empty" if empty else "data")
        data.mkdir(exist_ok=True)
        if empty:
            self._disk.sync()  # the operator made the directory long ago
        return data

    def die(self, chance: Random) -> str:
        loss = chance.choice(list(Loss))
        self._disk.lose(loss, chance.getrandbits(32))
        return loss

    def close(self) -> None:
        self._disk.unmount()
        self._mountpoint.rmdir()


def found(data: Path) -> None:
    """Make catalog and buckets in `data`, in a child, so that this process stays fit for forking."""

    async def work() -> None:
        async with engine_on(data):
            pass

    data.mkdir(exist_ok=True)
    child = fork(lambda journal: asyncio.run(work()))
    if child.wait() != 0:
        raise RuntimeError(f"no service could be founded in {data}")
