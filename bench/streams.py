"""How much memory the service takes while many large streams are in flight: down, up, and both ways at once.

`--streams` clients move an object of `--large` each, all at the same time, each slowed down to the same pace so that
none ends before the others have begun. The memory of the service (all its processes, resident pages) is read ten times a
second; the figure is the highest reading. Each direction has the service started anew, so that none inherits another's. Gets are of one object, so they need no disk of their own: once of one that the
kernel can send from its file, once of one made of parts, whose bytes pass through the service and are proved there. Puts announce the
whole size, which the service reserves on the disk; they send `--share` of it and are then cut off, unless `--share 1`.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench import generator, processes
from bench.bulk import Transfer
from bench.figures import Figure
from bench.options import Options
from bench.peers import holdfast
from bench.peers.base import Peer
from bench.pump import Streams

MOST_MIB = 256.0
_PACE = 20e6  #: bytes a second of each stream: fast enough to end within a minute, slow enough to be all in flight
_PARTS = 8
_SPARE = 5 << 30
_EVERY = 0.1
_MIB = 1 << 20


class Watch:
    """The highest memory of some processes, as read while it runs."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._read, name="bench-watch")
        self.highest = processes.resident(pids)

    def _read(self) -> None:
        while not self._end.wait(_EVERY):
            self.highest = max(self.highest, processes.resident(self._pids))

    @contextmanager
    def running(self) -> Iterator[None]:
        """Read inside the block."""
        self._thread.start()
        try:
            yield
        finally:
            self._end.set()
            self._thread.join()


def run(options: Options) -> list[Figure]:
    """Return one figure per direction: the highest memory of the service."""
    count, half = options.streams, options.streams // 2
    with options.workspace("streams") as home:
        with holdfast.start(home) as peer:
            generator.large(Transfer(peer.host, peer.port, peer.put_large, "put", "large", options.large))
            holdfast.put_in_parts(peer.port, "parts", options.large, _PARTS)
        figures = [
            _phase(options, home, "down", count, 0),
            _phase(options, home, f"down, of an object in {_PARTS} parts", count, 0, key="parts"),
        ]
        if _fits(options, home, count, figures[0]):
            figures.append(_phase(options, home, "up", 0, count))
            figures.append(_phase(options, home, "both ways", half, count - half))
        return figures


def _phase(options: Options, home: Path, way: str, gets: int, puts: int, key: str = "large") -> Figure:
    """Run one direction against a service that was started for it, and return its figure."""
    share = min(options.share, 1.0)
    what = f"{gets + puts} streams of {options.large >> 20:,} MiB, {way}"
    cut = f" (puts cut after {share:.0%})" if puts and share < 1 else ""
    figure = Figure(f"Streams: {what}{cut}", "MiB resident, highest reading", at_most=MOST_MIB)
    options.say(f"streams: {what}")
    with holdfast.start(home) as peer:
        idle = processes.resident(peer.pids())
        watch = Watch(peer.pids())
        with watch.running():
            seen = generator.pump(_job(options, peer, gets, puts, key, share))
    figure.add(peer.name, watch.highest / _MIB, idle_mib=idle / _MIB, **seen)
    figure.notes.append(
        f"all in flight together for {seen['together_seconds']:.0f} s of {seen['seconds']:.0f}"
    )
    if seen["failed"]:
        figure.notes.append(f"{seen['failed']} streams failed: {'; '.join(seen['reasons'])}")
    return figure


def _job(options: Options, peer: Peer, gets: int, puts: int, key: str, share: float) -> Streams:
    where = (peer.host, peer.port, peer.get, peer.put_large)
    return Streams(*where, key, options.large, gets, puts, pace=_PACE, share=share)


def _fits(options: Options, home: Path, puts: int, figure: Figure) -> bool:
    """Tell whether the disk has room for what the puts announce; say so in `figure` when it has not."""
    needed, free = puts * options.large + _SPARE, shutil.disk_usage(home).free
    if free < needed:
        figure.missing["up, both ways"] = (
            f"{puts} puts reserve {needed >> 30} GiB with room to spare, the disk has {free >> 30}; use --large or --data"
        )
    return free >= needed
