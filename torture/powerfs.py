"""The disk of `torture.disk` as a mounted file system, so that unmodified programs run on it.

It is served by a process of its own and steered through an extended attribute of its root folder, in order with
everything else that happens there. Needs Linux, /dev/fuse, libfuse and the right to mount (usually root).
"""
# ruff: noqa: S603, S607 - fixed commands of the system

from __future__ import annotations

import ctypes.util
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from torture.calls import SWITCH, Calls
from torture.disk import Disk, Loss
from torture.processes import end_with_parent

_MOUNT_SECONDS = 10.0


class MissingFuseError(Exception):
    """FUSE cannot be used here; the message says what is missing."""


def require() -> None:
    """Return when FUSE can be used, after installing libfuse where that is possible.

    Raises:
        MissingFuseError: saying what is missing and what to do.
    """
    if not sys.platform.startswith("linux") or not Path("/dev/fuse").exists():
        raise MissingFuseError(
            "there is no /dev/fuse here; run this on Linux, in a container with --device /dev/fuse"
        )
    if not _libfuse() and os.geteuid() == 0 and shutil.which("apt-get"):
        for command in (
            ["apt-get", "update", "-qq"],
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "libfuse3-3", "fuse3"],
        ):
            subprocess.run(command, check=False, stdout=subprocess.DEVNULL, timeout=300)
    if not _libfuse():
        raise MissingFuseError(
            "libfuse is not installed; install it (Debian: apt-get install libfuse3-3 fuse3)"
        )


def _libfuse() -> str | None:
    return ctypes.util.find_library("fuse3") or ctypes.util.find_library("fuse")


class PowerDisk:
    """A mounted `Disk`. Made by `mount`; end it with `unmount`."""

    def __init__(self, path: Path, pid: int) -> None:
        self.path = path
        self._pid = pid

    def sync(self) -> None:
        """Make everything durable."""
        self._switch("sync")

    def keep(self) -> None:
        """Remember the present state for `restore`."""
        self._switch("keep")

    def restore(self) -> None:
        """Return to the remembered state. Nobody may have a file open."""
        self._switch("restore")

    def lose(self, loss: Loss, seed: int) -> None:
        """Cut the power. Nobody may have a file open."""
        self._switch(f"lose {loss} {seed}")

    def unmount(self) -> None:
        """Take the file system away and end its process."""
        subprocess.run(["umount", "-l", str(self.path)], check=False, stderr=subprocess.DEVNULL)
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)

    def _switch(self, command: str) -> None:
        os.setxattr(self.path, SWITCH, command.encode())


def mount(path: Path) -> PowerDisk:
    """Return an empty disk mounted at the empty folder `path`, served by a forked process."""
    require()
    device = path.stat().st_dev
    pid = os.fork()
    if pid == 0:
        try:
            os.setpgid(0, 0)  # an interrupt from the terminal is for the harness, which then unmounts
            os.closerange(3, 1024)  # the pipes of others must not stay open here
            end_with_parent(signal.SIGTERM)  # on which libfuse unmounts
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            _serve(path)
        finally:
            os._exit(1)
    deadline = time.monotonic() + _MOUNT_SECONDS
    while path.stat().st_dev == device:
        if os.waitpid(pid, os.WNOHANG)[0] or time.monotonic() > deadline:
            raise MissingFuseError(
                f"mounting at {path} failed; mounting usually needs root (in a container: SYS_ADMIN)"
            )
        time.sleep(0.01)
    return PowerDisk(path, pid)


def _serve(path: Path) -> None:
    import mfusepy  # type: ignore[import-untyped]

    operations = Calls(Disk())
    operations.__class__ = type("Bound", (Calls, mfusepy.Operations), {"use_ns": True})
    mfusepy.FUSE(
        operations,
        str(path),
        foreground=True,
        nothreads=True,
        attr_timeout=0,
        entry_timeout=0,
        negative_timeout=0,
        use_ino=True,
        fsname="powerdisk",
    )
