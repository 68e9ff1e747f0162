"""A kind of job for tests: each item leaves a line in a file of its own; and a process that works on such jobs.

python -m tests.engine.toys CATALOG_URL DIRECTORY AT_ONCE [NO_QUEUE]
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from holdfast.app import open_engine
from holdfast.config import Settings
from holdfast.core.errors import InvalidRequestError, UnavailableError
from holdfast.core.jobs import Counts, ItemFailure, Part
from holdfast.engine.engine import Engine
from holdfast.jobs.holding import Habits
from holdfast.jobs.kinds import Finish, Forecast, Kinds, Range, Step, Work
from holdfast.jobs.runner import Runner

QUICK = Habits(lease=1.0, slice=1.0, look=0.2, glance=0.1, pause=0.05, longest=0.2, tries=4, grace=3.0)


class Toy:
    """Items in a directory."""

    name = "toy"
    verb = "update_bucket"

    def __init__(self) -> None:
        self.broken: str = ""  #: how steps fail: `error`, `defect`, `cancel`

    def check(self, spec: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the spec with what is usual."""
        if not isinstance(spec.get("items", 0), int):
            raise InvalidRequestError("`items` is a number")
        usual = {"items": 100, "parts": 4, "batch": 10, "pause": 0.0, "rounds": 1, "bad": 0, "beat": 0.0}
        return {**usual, **spec}

    async def forecast(self, work: Work) -> Forecast:
        """Return how many there are."""
        return Forecast(objects=work.spec["items"])

    async def split(self, work: Work) -> Sequence[Range]:
        """Cut evenly."""
        self._fail()
        items, parts = work.spec["items"], work.spec["parts"]
        edges = [items * number // parts for number in range(parts + 1)]
        return [Range(str(one), str(other), other - one) for one, other in pairwise(edges)]

    async def step(self, work: Work, part: Part) -> Step:
        """Do some items."""
        self._fail()
        at, end = int(part.cursor or part.start), int(part.end)
        first, failures = at, []
        while at < min(end, first + work.spec["batch"]) and not work.stopping():
            await work.gauge.objects()
            if work.spec["pause"]:
                await asyncio.sleep(work.spec["pause"])
            with (Path(work.spec["dir"]) / str(at)).open("a") as file:
                file.write(f"{os.getpid()}\n")
            if at < work.spec["bad"]:
                failures.append(ItemFailure("b", str(at), code="CORRUPTED", message="it is bad"))
            at += 1
        done = at - first
        counts = Counts(done, done - len(failures), 0, len(failures), done * 10, {"touched": done})
        return Step(str(at), done=at >= end, counts=counts, failures=failures)

    async def finish(self, work: Work) -> Finish:
        """End, or begin another round."""
        if work.job.round < work.spec["rounds"]:
            return Finish({"round": work.job.round}, again=await self.split(work))
        return Finish({"examined": work.job.counts.examined})

    def _fail(self) -> None:
        if self.broken == "error":
            raise UnavailableError("the toy box does not answer")
        if self.broken == "defect":
            raise ZeroDivisionError("a wheel came off")
        if self.broken == "cancel":
            raise asyncio.CancelledError


def done_in(directory: Path) -> dict[str, int]:
    """Return how often each item was done."""
    return {path.name: len(path.read_text().splitlines()) for path in directory.iterdir()}


@asynccontextmanager
async def engine_at(url: str, directory: Path) -> AsyncIterator[Engine]:
    """Give an engine over the catalog at `url`, with a store in `directory`."""
    engine = await open_engine(Settings(data=directory, catalog=url))
    try:
        yield engine
    finally:
        await engine.close()


@asynccontextmanager
async def working(
    engine: Engine, kind: Toy, *, at_once: int = 2, habits: Habits = QUICK
) -> AsyncIterator[Runner]:
    """Give a runner at work."""
    runner = Runner(engine, Kinds([kind]), at_once=at_once, habits=habits)
    task = asyncio.ensure_future(runner.run())
    try:
        yield runner
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


# -- as a process of its own ------------------------------------------------------------------------------------------
async def _work(url: str, directory: str, at_once: int, *, queue: bool) -> None:
    async with engine_at(url, Path(directory)) as engine:
        stopped = asyncio.Event()
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), stopped.set)  # nobody is there any more
        kind = Toy()
        if not queue:
            engine.catalog._part_queue = None  # type: ignore[attr-defined]
        async with working(engine, kind, at_once=at_once):
            print("ready", flush=True)
            await stopped.wait()


@contextmanager
def worker(
    url: str, directory: Path, *, at_once: int = 2, queue: bool = True
) -> Iterator[subprocess.Popen[str]]:
    """Give a process that works on toys; killed in the end if it is still there."""
    command = [sys.executable, "-m", "tests.engine.toys", url, str(directory), str(at_once)]
    process = subprocess.Popen(
        [*command, *([] if queue else ["NO_QUEUE"])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait()
        with contextlib.suppress(OSError):
            process.stdout.close()  # type: ignore[union-attr]


async def until(what: Any, seconds: float = 30.0) -> Any:
    """Return what `what()` returns once that is true."""
    end = time.monotonic() + seconds
    while not (found := await what()):
        assert time.monotonic() < end, "it never came"
        await asyncio.sleep(0.03)
    return found


if __name__ == "__main__":
    asyncio.run(_work(sys.argv[1], sys.argv[2], int(sys.argv[3]), queue="NO_QUEUE" not in sys.argv))
