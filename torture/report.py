"""What a run found, as a table and as an exit status."""
# ruff: noqa: T201 - this is what prints

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from torture.points import POINTS
from torture.trial import Outcome
from torture.verify import DAMAGE, KINDS

_SHOWN = 3
_MANY = 100  #: trials after which every failpoint should have been met


@dataclass
class Report:
    """The sum of many outcomes."""

    name: str
    seed: int
    seconds: float = 0.0
    trials: int = 0
    deaths: int = 0
    answered: int = 0
    points: Counter[str] = field(default_factory=Counter)
    violations: Counter[str] = field(default_factory=Counter)
    failing: list[Outcome] = field(default_factory=list)
    damaged: int = 0  #: trials in which an object was
    slowest_restart: float = 0.0

    def add(self, outcome: Outcome) -> None:
        """Count an outcome."""
        self.trials += 1
        self.deaths += outcome.deaths
        self.answered += outcome.answered
        self.points.update(outcome.hit)
        self.violations.update(kind for kind, _ in outcome.violations)
        self.slowest_restart = max(self.slowest_restart, outcome.restart)
        self.damaged += any(kind in DAMAGE for kind, _ in outcome.violations)
        if outcome.violations:
            self.failing.append(outcome)

    @property
    def sound(self) -> bool:
        """Tell whether nothing was violated, and something was tried."""
        return self.trials > 0 and not self.violations

    def explain(self) -> None:
        """Print the first failing trials, with the seeds that replay them, and the failpoints that killed nobody."""
        missed = [name for name in POINTS if name not in self.points]
        if self.trials >= _MANY and missed:
            print(f"{self.name}: nobody died at {', '.join(missed)}")
        for outcome in self.failing[:_SHOWN]:
            print(f"{self.name}: seed {outcome.seed} fails; replay with --replay {outcome.seed}")
            for kind, text in outcome.violations[:_SHOWN]:
                print(f"    {kind}: {text}")
        if len(self.failing) > _SHOWN:
            print(
                f"{self.name}: {len(self.failing)} failing seeds: {[outcome.seed for outcome in self.failing[:20]]}"
            )


def table(reports: Sequence[Report]) -> str:
    """Return the reports as lines, one each."""
    head = ["run", "trials", "deaths", "at points", "answered", *KINDS, "restart", "seconds", "seed"]
    rows = [
        [
            report.name,
            str(report.trials),
            str(report.deaths),
            f"{sum(report.points.values())} ({len(report.points)})",
            str(report.answered),
            *(str(report.violations[kind]) for kind in KINDS),
            f"{report.slowest_restart:.2f} s",
            f"{report.seconds:.0f}",
            str(report.seed),
        ]
        for report in reports
    ]
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in [head, *rows]
    )


def progress(text: str) -> None:
    """Show how far a run is, where somebody watches."""
    if sys.stderr.isatty():
        print(f"\r{text}", end="", file=sys.stderr, flush=True)
