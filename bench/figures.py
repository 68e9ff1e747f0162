"""What was measured: a figure holds the rounds of every peer and answers ratios, targets and spreads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any


@dataclass(frozen=True, slots=True)
class Target:
    """A ratio to reach: ours against `peer`, at least `least` (or at most `most`)."""

    peer: str
    least: float | None = None
    most: float | None = None

    def met(self, ratio: float) -> bool:
        """Tell whether `ratio` is good enough."""
        return (self.least is None or ratio >= self.least) and (self.most is None or ratio <= self.most)

    def __str__(self) -> str:
        return f"≥ {self.least:g}" if self.least is not None else f"≤ {self.most:g}"


@dataclass(slots=True)
class Figure:
    """One thing measured for several peers. `ours` names the one that the others are compared with.

    `unit` says what the numbers are. `rounds[peer]` has one number per round, in order. `detail[peer]` has what else
    was seen (latencies, memory, the share of a core that the generator took), one mapping per round. `missing[peer]`
    says why a peer has no numbers. `at_most` is a bound on our own number; where it
    is `binding`, missing it fails the run. `notes` are printed below the table.
    """

    title: str
    unit: str
    ours: str = "holdfast"
    targets: tuple[Target, ...] = ()
    at_most: float | None = None
    binding: bool = False
    rounds: dict[str, list[float]] = field(default_factory=dict)
    detail: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, peer: str, value: float, **detail: Any) -> None:
        """Take one round of `peer`."""
        self.rounds.setdefault(peer, []).append(value)
        self.detail.setdefault(peer, []).append(detail)

    def median(self, peer: str) -> float | None:
        """Return the median round of `peer`, or None when it has none."""
        values = self.rounds.get(peer)
        return median(values) if values else None

    def spread(self, peer: str) -> tuple[float, float] | None:
        """Return the slowest and the fastest round of `peer`, as parts of its median."""
        values, middle = self.rounds.get(peer), self.median(peer)
        return (min(values) / middle, max(values) / middle) if values and middle else None

    def ratios(self, peer: str) -> list[float]:
        """Return ours / `peer`, round by round."""
        pairs = zip(self.rounds.get(self.ours, []), self.rounds.get(peer, []), strict=False)
        return [mine / theirs for mine, theirs in pairs if theirs]

    def ratio(self, peer: str) -> float | None:
        """Return the median of the rounds' ratios, or None when one side has no rounds."""
        values = self.ratios(peer)
        return median(values) if values else None

    def seen(self, peer: str, name: str) -> float | None:
        """Return the median of a detail over the rounds, or None when it was not taken."""
        values = [row[name] for row in self.detail.get(peer, []) if row.get(name) is not None]
        return median(values) if values else None

    @property
    def bound_met(self) -> bool | None:
        """Whether our own number keeps its bound; None when it has none, or no number."""
        mine = self.median(self.ours)
        return None if self.at_most is None or mine is None else mine <= self.at_most

    def as_json(self) -> dict[str, Any]:
        """Return everything, with medians and ratios worked out."""
        peers = [peer for peer in self.rounds if peer != self.ours]
        return {
            **asdict(self),
            "medians": {peer: self.median(peer) for peer in self.rounds},
            "ratios": {peer: self.ratio(peer) for peer in peers},
            "bound_met": self.bound_met,
            "met": {
                target.peer: target.met(ratio)
                for target in self.targets
                if (ratio := self.ratio(target.peer)) is not None
            },
        }
