"""Whether memory stays flat: one large blob through each backend and all layers of its store, up and back.

Each backend has a server in one process and a client in another, whose memory counts (`flat_client`). The servers keep
their bytes on disk, so the size may be larger than memory. What is above the bound fails the run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from bench.figures import Figure
from bench.flat_places import PLACES
from bench.options import Options
from bench.processes import START_SECONDS, PeerFailedError, clean_environment
from holdfast.testing.servers import stop

MOST: Final = 64.0  #: MiB above idle
_SLOWEST: Final = 4 << 20  #: bytes per second below which nobody waits any longer
_SAME_EITHER_WAY: Final = {"local", "encrypted", "cached"}  #: they do not ask for the length
_COLUMNS: Final = ("backend", "way", "MiB above idle", "MB/s", "digest")
_ROOT: Final = Path(__file__).resolve().parents[1]

Row = dict[str, Any]


def run(options: Options) -> list[Figure]:
    """Print a line for each backend and way; return the figure that holds them all."""
    names = options.only or tuple(PLACES)
    if unknown := [name for name in names if name not in PLACES]:
        raise PeerFailedError(f"no backend {', '.join(unknown)}; there are {', '.join(PLACES)}")
    figure = Figure(
        f"Flat memory: {options.size / (1 << 20):,.0f} MiB through each backend, the most of all ways",
        "MiB above idle",
        ours="the most",
        at_most=MOST,
        binding=True,
    )
    print(f"\n{_line(_COLUMNS)}", flush=True)
    rows: list[Row] = []
    for name in names:
        try:
            for row in _measure(name, options):
                print(_shown(name, row), flush=True)
                rows.append({"backend": name, **row})
        except PeerFailedError as error:
            figure.missing[name] = str(error)
            print(_line((name, "could not be measured", "", "", "")), flush=True)
    if rows:
        figure.add(figure.ours, max(row["mib"] for row in rows), rows=rows)
    if wrong := sorted({row["backend"] for row in rows if not row["same"]}):
        raise PeerFailedError(f"other bytes came back than went in: {', '.join(wrong)}")
    return [figure]


def _measure(name: str, options: Options) -> list[Row]:
    """Return what the client saw in one backend."""
    with options.workspace(f"flat-{name}") as home, _place(name, home) as settings:
        asked = {
            "settings": settings,
            "size": options.size,
            "encrypted": name == "encrypted",
            "ways": _ways(name, options.way),
            "reads": _reads(name),
        }
        try:
            done = subprocess.run(
                [sys.executable, "-m", "bench.flat_client"],
                input=json.dumps(asked),
                capture_output=True,
                text=True,
                cwd=_ROOT,
                env=_environment(home),
                timeout=START_SECONDS + 5 * options.size / _SLOWEST,
            )
        except subprocess.TimeoutExpired:
            raise PeerFailedError("the client did not end") from None
        if done.returncode:
            raise PeerFailedError(f"the client ended with {done.returncode}: {done.stderr[-1500:]}")
        found: list[Row] = json.loads(done.stdout)
        return found


@contextmanager
def _place(name: str, home: Path) -> Iterator[Row]:
    """Yield the settings of a store in that place, which is served until the block ends."""
    log = home / "place.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.flat_places", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            cwd=home,
            env={**_environment(home), "PYTHONPATH": str(_ROOT)},
        )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            raise PeerFailedError(f"it did not come up: {log.read_text(errors='replace')[-1500:]}")
        yield json.loads(line)
    finally:
        process.stdin.close()  # it ends what it started
        try:
            process.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            stop(process)
        process.stdout.close()


def _environment(home: Path) -> dict[str, str]:
    """Return the variables of a child, whose temporary files go where there is room for them."""
    aside = home / "tmp"
    aside.mkdir(exist_ok=True)
    return {**clean_environment(), **_minio(), "TMPDIR": str(aside)}


def _minio() -> dict[str, str]:
    """Return the variable that says where MinIO is, which is not kept from children."""
    found = os.environ.get("HOLDFAST_MINIO")
    return {"HOLDFAST_MINIO": found} if found else {}


def _ways(name: str, way: str) -> list[str]:
    up = ["up"] if name in _SAME_EITHER_WAY else ["up", "up, length unknown"]
    return [*(up if way != "down" else []), *(_reads(name) if way != "up" else [])]


def _reads(name: str) -> list[str]:
    """Return how it is read back, also when only the way up is asked for: its digest is to be known."""
    return ["down", "down, from the cache"] if name == "cached" else ["down"]


def _shown(name: str, row: Row) -> str:
    verdict = "equal" if row["same"] else "OTHER BYTES"
    above = f"{row['mib']:.1f}{'' if row['mib'] <= MOST else ' TOO MUCH'}"
    return _line((name, row["way"], above, f"{row['mb_s']:,.0f}", verdict))


def _line(cells: tuple[str, ...]) -> str:
    name, way, *rest = cells
    return f"  {name:<14}{way:<24}{rest[0]:>16}{rest[1]:>9}  {rest[2]}".rstrip()
