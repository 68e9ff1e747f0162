"""What the benchmarks know of a peer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bench import processes
from bench.wire import Call


@dataclass(frozen=True, slots=True)
class Peer:
    """A running server: where it listens, how it spells get and put, and which processes it is made of.

    `put_large` is how its users send a file that does not fit in memory. `facts` are put beside its figures.
    """

    name: str
    port: int
    get: Call
    put: Call
    put_large: Call
    roots: Sequence[int]  #: process ids; their descendants belong to the peer too
    host: str = "127.0.0.1"
    facts: dict[str, Any] = field(default_factory=dict)

    def pids(self) -> list[int]:
        """Return every process of the peer that lives now."""
        return [pid for root in self.roots for pid in processes.tree(root)]

    def cpu(self) -> float:
        """Return the processor seconds that the peer has used."""
        return processes.cpu_seconds(self.pids())

    def peak_mib(self) -> float:
        """Return the most memory that the peer's processes held, each at its own worst, in MiB."""
        return processes.peak_resident(self.pids()) / (1 << 20)
