"""Many trials, split over a few processes; each has a ground of its own."""
# ruff: noqa: T201 - a worker that failed is told of

from __future__ import annotations

import gc
import json
import os
import select
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict

from torture.ground import Ground
from torture.journal import Journal
from torture.processes import Child, fork
from torture.report import Report, progress
from torture.trial import Outcome, Style, run_trial

Trial = Callable[[int, Ground], Outcome]


def run(
    name: str,
    seeds: Sequence[int],
    make_ground: Callable[[], Ground],
    trial: Trial,
    *,
    workers: int,
    enough: int = 1 << 60,
) -> Report:
    """Run a trial per seed and return what came of all; stop early once `enough` trials did damage."""
    report = Report(name, seeds[0])
    began = time.monotonic()
    gc.freeze()  # what is loaded now is shared with every child; do not touch it again
    children = [_worker(seeds[number::workers], make_ground, trial) for number in range(workers)]
    try:
        _gather(children, report, len(seeds), enough)
    finally:
        for child in children:
            _end(child)
    report.seconds = time.monotonic() - began
    return report


def styled(style: Style) -> Trial:
    """Return the trial of that style."""
    return lambda seed, ground: run_trial(seed, ground, style)


def _worker(seeds: Sequence[int], make_ground: Callable[[], Ground], trial: Trial) -> Child:
    def work(journal: Journal) -> None:
        stopping = _stopped_by(signal.SIGTERM)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # it comes from the terminal; the parent will tell us
        ground = make_ground()
        try:
            for seed in seeds:
                if stopping():
                    break
                outcome = trial(seed, ground)
                outcome.violations = [(kind, text[:500]) for kind, text in outcome.violations[:5]]
                journal.say("outcome", outcome=asdict(outcome))
        finally:
            ground.close()

    return fork(work, orphaned=signal.SIGTERM)


def _stopped_by(number: signal.Signals) -> Callable[[], bool]:
    """Return what tells whether that signal came. Raising from the handler could be lost anywhere."""
    came: list[int] = []
    signal.signal(number, lambda got, frame: came.append(got))
    return lambda: bool(came)


def _gather(children: Sequence[Child], report: Report, total: int, enough: int) -> None:
    left = {child.fd: child for child in children}
    taken = dict.fromkeys(left, 0)
    while left and report.damaged < enough:
        for fd in select.select(list(left), [], [])[0]:
            child = left[fd]
            child.listen(0.001)
            *lines, _ = bytes(child.said).split(b"\n")
            for line in lines[taken[fd] :]:
                outcome = json.loads(line)["outcome"]
                outcome["violations"] = [tuple(one) for one in outcome["violations"]]
                report.add(Outcome(**outcome))
            taken[fd] = len(lines)
            if child.ended:
                del left[fd]
        progress(f"{report.name}: {report.trials} of {total} trials, {len(report.failing)} failing ")
    progress("\n")


def _end(child: Child) -> None:
    with suppress(ProcessLookupError):
        os.kill(child.pid, signal.SIGTERM)
    status = child.wait()
    if status != 0:
        print(f"a worker ended with status {status}; its output is above")
