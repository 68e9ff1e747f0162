"""Figures of several server processes added up, so that a scrape of any of them shows all.

Each process keeps its figures in a file of its own in a directory that they share, and holds a lock on another one as
long as it lives. Whoever is asked first writes its own figures, then reads all: what was ever shown is in a file, so
counters never go back, also when a process is killed. The counters of the dead are added to those of `retired` and
their files removed; that step can be repeated after a death in the middle of it.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

_ADDED: Final = frozenset({"counter", "histogram", "summary"})
#: Gauges that are not the sum of those of all processes.
_CHOSEN: Final = {"process_start_time_seconds": min, "process_max_fds": min, "python_info": max}
_RETIRED: Final = "retired.json"

Labels = tuple[tuple[str, str], ...]


class Family(msgspec.Struct, frozen=True, array_like=True):
    """One figure with its samples: (name, labels, value) each."""

    name: str
    kind: str
    help: str
    samples: list[tuple[str, Labels, float]]


class _Retired(msgspec.Struct, frozen=True):
    """What the dead have counted, and whose files are in it."""

    processes: list[str] = []
    families: list[Family] = []


class Pool:
    """The figures of the processes that share `directory`; `process` is this one's name, never used before."""

    def __init__(self, directory: Path, process: str) -> None:
        self._directory = directory
        self._own = directory / f"{process}.json"
        with self._alone():  # or another process could find the file before it is locked
            self._lock = (directory / f"{process}.alive").open("wb")
            fcntl.flock(self._lock, fcntl.LOCK_EX)

    def close(self) -> None:
        """Count among the dead from now on; what was written last stays."""
        self._lock.close()

    def write(self, families: Iterable[Family]) -> None:
        """Make these the figures of this process."""
        _replace(self._own, msgspec.json.encode(list(families)))

    def exchange(self, families: Iterable[Family]) -> list[Family]:
        """Write the figures of this process and return those of all, added up."""
        with self._alone():
            self.write(families)
            retired = self._retire()
            living = [_families(path) for path in sorted(self._directory.glob("*.json")) if _own(path)]
        return added([retired.families], living)

    def _retire(self) -> _Retired:
        """Add the figures of those that died since to `retired`, and return it."""
        path = self._directory / _RETIRED
        retired = msgspec.json.decode(path.read_bytes(), type=_Retired) if path.exists() else _Retired()
        dead = [alive for alive in self._directory.glob("*.alive") if self._is_dead(alive)]
        new = [alive.with_suffix(".json") for alive in dead if alive.stem not in retired.processes]
        if new:
            counted = [_counters(_families(each)) for each in new]
            retired = _Retired([alive.stem for alive in dead], added([retired.families, *counted], []))
            _replace(path, msgspec.json.encode(retired))
        for alive in dead:
            alive.with_suffix(".json").unlink(missing_ok=True)
            alive.unlink(missing_ok=True)
        return retired

    def _is_dead(self, alive: Path) -> bool:
        if alive.stem == self._own.stem:
            return False
        with alive.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        with (self._directory / "lock").open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def families_of(metrics: Iterable[Metric]) -> list[Family]:
    """Return what collectors yield as plain values; times of creation are left out."""
    return [
        Family(
            metric.name,
            metric.type,
            metric.documentation,
            [
                (sample.name, tuple(sorted(sample.labels.items())), float(sample.value))
                for sample in metric.samples
                if not sample.name.endswith("_created")
            ],
        )
        for metric in metrics
    ]


def metrics_of(families: Iterable[Family]) -> list[Metric]:
    """Return plain values as Prometheus' library shows them."""
    made = []
    for family in families:
        metric = Metric(family.name, family.help, family.kind)
        metric.samples = [Sample(name, dict(labels), value) for name, labels, value in family.samples]
        made.append(metric)
    return made


def added(dead: Sequence[Sequence[Family]], living: Sequence[Sequence[Family]]) -> list[Family]:
    """Return the figures of all: counters added up, gauges of the living only."""
    kinds: dict[str, Family] = {}
    sums: dict[str, dict[tuple[str, Labels], float]] = {}
    for families in (*dead, *living):
        for family in families:
            kinds.setdefault(family.name, family)
            found = sums.setdefault(family.name, {})
            choose = _CHOSEN.get(family.name)
            for name, labels, value in family.samples:
                before = found.get((name, labels))
                if before is None:
                    found[name, labels] = value
                else:
                    found[name, labels] = choose(before, value) if choose else before + value
    return [
        Family(name, kind.kind, kind.help, [(*key, value) for key, value in sums[name].items()])
        for name, kind in kinds.items()
    ]


def _counters(families: Iterable[Family]) -> list[Family]:
    return [family for family in families if family.kind in _ADDED]


def _families(path: Path) -> list[Family]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Family])
    except FileNotFoundError:  # it died before it wrote any
        return []


def _own(path: Path) -> bool:
    return path.name != _RETIRED


def _replace(path: Path, content: bytes) -> None:
    aside = path.with_suffix(".new")
    aside.write_bytes(content)
    aside.replace(path)
