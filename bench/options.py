"""What a run was asked for."""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


@dataclass(frozen=True, slots=True)
class Options:
    """The same for every benchmark of a run. Sizes in bytes, times in seconds.

    `data` is where the peers' directories are made, and removed again. `share` is the part of an upload that
    `streams` sends before it cuts the connection; 1 sends all and needs the disk for it.
    `size`, `only` and `way` are for `flat`: of its blob, which backends, and whether up, down or both.
    """

    data: Path
    rounds: int = 5
    seconds: float = 4.0
    connections: int = 16
    small: int = 4096
    keys: int = 1000
    large: int = 1 << 30
    streams: int = 50
    share: float = 0.25
    list_keys: int = 1_000_000
    quick: bool = False
    size: int = 1 << 30
    only: tuple[str, ...] = ()
    way: str = "both"

    def say(self, text: str) -> None:
        """Tell the person who waits what is going on."""
        print(text, file=sys.stderr, flush=True)

    @contextmanager
    def workspace(self, name: str) -> Iterator[Path]:
        """Yield an empty directory under `data` that is removed at the end."""
        with tempfile.TemporaryDirectory(
            dir=self.data, prefix=f"bench-{name}-", ignore_cleanup_errors=True
        ) as made:
            yield Path(made)


def size(text: str) -> int:
    """Return the bytes that `text` means: `4096`, `64M`, `1GiB`."""
    found = re.fullmatch(r"(\d+)\s*([KMG]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size; write 4096, 64M or 1GiB")
    return int(found[1]) * _UNITS[found[2].upper()]


def parser(names: list[str]) -> argparse.ArgumentParser:
    """Return the command line of `scripts/bench`."""
    made = argparse.ArgumentParser(
        prog="scripts/bench", description="Measure Holdfast beside its peers, in one run."
    )
    made.add_argument(
        "names", nargs="*", metavar="NAME", help=f"which ones: {', '.join(names)}; all without a name"
    )
    made.add_argument(
        "--quick", action="store_true", help="small sizes and few rounds: does it run, not how fast"
    )
    made.add_argument(
        "--json", type=Path, metavar="FILE", help="where the figures go; else under bench/results/"
    )
    made.add_argument(
        "--data", type=Path, default=Path(tempfile.gettempdir()), help="directory for the peers' bytes"
    )
    made.add_argument("--rounds", type=int, help="rounds per figure")
    made.add_argument("--seconds", type=float, help="length of one round of small requests")
    made.add_argument("--connections", type=int, help="connections with small requests")
    made.add_argument("--large", type=size, metavar="SIZE", help="size of a large object")
    made.add_argument("--streams", type=int, help="large streams at once")
    made.add_argument(
        "--share", type=float, help="part of each upload that is sent among the streams, up to 1"
    )
    made.add_argument(
        "--list-keys",
        type=int,
        help="keys in the bucket that is listed, and versions that `placement` simulates",
    )
    made.add_argument("--size", type=size, help="size of the blob of `flat`, such as 5GiB")
    made.add_argument("--only", nargs="+", metavar="BACKEND", help="the backends of `flat`")
    made.add_argument("--way", choices=("up", "down", "both"), help="the ways of `flat`")
    return made


def options(given: argparse.Namespace) -> Options:
    """Return the options of a parsed command line."""
    base = {"quick": given.quick, "data": given.data.resolve()}
    if given.quick:
        base |= {
            "rounds": 2,
            "seconds": 1.0,
            "keys": 200,
            "large": 64 << 20,
            "size": 64 << 20,
            "streams": 10,
            "list_keys": 100_000,
        }
    names = ("rounds", "seconds", "connections", "large", "streams", "share", "list_keys", "size", "way")
    base |= {name: value for name in names if (value := getattr(given, name)) is not None}
    made = Options(**base, only=tuple(given.only or ()))
    if not os.access(made.data, os.W_OK):
        raise SystemExit(f"bench: cannot write under {made.data}; choose another --data")
    return made
