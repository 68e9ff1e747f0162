"""`python -m bench [NAME…]`: run benchmarks, print their table, write their figures as JSON."""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
import time
from pathlib import Path
from typing import Any

from bench import machine, table
from bench.figures import Figure
from bench.options import Options, options, parser

#: Every benchmark: a module of this package with `run(options) -> list[Figure]`.
NAMES = (
    "service",
    "library",
    "inline",
    "list_page",
    "streams",
    "slow",
    "overload",
    "replicas",
    "migrate",
    "adopt",
    "sync",
    "guarded",
    "placement",
    "encryption",
    "flat",
)
_RESULTS = Path(__file__).with_name("results")


def main() -> int:
    """Run what the command line names; 0, or 1 when a benchmark could not be run, or a bound that binds was missed."""
    known = [name for name in NAMES if importlib.util.find_spec(f"bench.{name}")]
    command = parser(known)
    given = command.parse_args()
    if unknown := [name for name in given.names if name not in known]:
        command.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(known)}")
    chosen = options(given)
    report = _measure(given.names or known, chosen)
    target = given.json or _RESULTS / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(report, indent=1, default=str) + "\n")
    print(f"\nfigures: {target}")
    missed = [one for one in report["figures"] if one["binding"] and one["bound_met"] is not True]
    return 1 if report["failed"] or missed else 0


def _measure(names: list[str], chosen: Options) -> dict[str, Any]:
    """Run the benchmarks one after another, printing each table as soon as it is there."""
    before = {"load": machine.load(), **_ceilings(chosen)}
    print(_header(chosen, before), flush=True)
    figures: list[Figure] = []
    failed: dict[str, str] = {}
    for name in names:
        try:
            made = importlib.import_module(f"bench.{name}").run(chosen)
        except Exception as error:  # one benchmark that cannot run must not take the others' figures along
            failed[name] = f"{type(error).__name__}: {error}"
            print(f"\n{name} could not be run: {failed[name]}", flush=True)
            continue
        figures += made
        print(f"\n{table.render(made)}", flush=True)
    after = {"load": machine.load(), **_ceilings(chosen)}
    print(f"\nafter:  {_state(after)}")
    return {
        "machine": machine.facts(chosen.data),
        "options": {name: getattr(chosen, name) for name in Options.__slots__},
        "before": before,
        "after": after,
        "failed": failed,
        "figures": [figure.as_json() for figure in figures],
    }


def _ceilings(chosen: Options) -> dict[str, float]:
    return {
        "sha256_mb_s": machine.sha256_rate(),
        "disk_mb_s": machine.disk_rate(chosen.data),
        "fdatasync_per_s": machine.sync_rate(chosen.data),
    }


def _header(chosen: Options, before: dict[str, float]) -> str:
    known = machine.facts(chosen.data)
    return (
        f"{known['usable_cores']} cores of {known['cpu']}, {known['memory_gib']} GiB, {known['file_system']}, "
        f"Python {known['python']}; rounds: {chosen.rounds}\n"
        f"before: {_state(before)}\n"
        "Ratios are medians of the rounds' ratios. Spread: slowest and fastest round ÷ median."
    )


def _state(seen: dict[str, float]) -> str:
    return (
        f"load {seen['load']:.2f}, SHA-256 {seen['sha256_mb_s']:,.0f} MB/s on one core, write and fsync "
        f"{seen['disk_mb_s']:,.0f} MB/s, fdatasync of 4 KiB {seen['fdatasync_per_s']:,.0f}/s"
    )


if __name__ == "__main__":
    sys.exit(main())
