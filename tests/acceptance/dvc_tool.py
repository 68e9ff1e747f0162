"""The real DVC, in a virtual environment of its own: made once per machine, from a lock file, in the user's cache."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

_LOCK = Path(__file__).with_name("dvc.lock")


def dvc() -> str:
    """Return the path of the program; processes that come together wait for the first."""
    said = _LOCK.read_bytes() + f"{sys.version_info[:2]}".encode()
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "holdfast"
    folder = home / f"dvc-{hashlib.sha256(said).hexdigest()[:16]}"
    home.mkdir(parents=True, exist_ok=True)
    with (home / f"{folder.name}.lock").open("wb") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        if not (folder / "ready").is_file():
            _install(folder)
    return str(folder / "bin" / "dvc")


def _install(folder: Path) -> None:
    """Make it where it stays, since its programs know their place; what a broken try left is removed first."""
    shutil.rmtree(folder, ignore_errors=True)
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [
            *(
                str(folder / "bin" / "pip"),
                "install",
                "-q",
                "--disable-pip-version-check",
                "--require-hashes",
            ),
            "-r",
            str(_LOCK),
        ],
    ):
        subprocess.run(command, check=True, timeout=600)
    (folder / "ready").touch()
