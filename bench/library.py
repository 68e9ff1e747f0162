"""Holdfast as a Python library over an S3 store, beside raw obstore and boto3, against one MinIO.

Each client lives in a process of its own, started anew and never forked, and takes its turn round by round. Large objects
are put from memory and read as a stream, one at a time; small ones go 16 at a time. `holdfast` is the engine with its
SQLite catalog, which digests every byte and commits durably; `holdfast-stack` is its S3 driver and layers alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Timer
from typing import Any

from bench.clients import CLIENTS, Place
from bench.figures import Figure, Target
from bench.options import Options
from bench.peers import flask_stack
from bench.processes import PeerFailedError, PeerMissingError, clean_environment
from holdfast.testing.servers import S3Server

LARGE = 64 << 20
IN_FLIGHT = 16
_WARM_UP = 50
_ANSWER_SECONDS = 300.0
_LARGE_COUNT = 4
_SMALL_RATE = (
    800  #: small operations per second of a round that is asked for; a count, so that all do the same work
)


@dataclass(slots=True)
class Child:
    """A client in its process."""

    name: str
    process: subprocess.Popen[str]
    log: Path

    def order(self, **what: Any) -> dict[str, Any]:
        """Have the client do something and return its answer; `PeerFailedError` when it died of it."""
        return self.say(what)

    def say(self, line: dict[str, Any]) -> dict[str, Any]:
        """Send one line and return the answer to it."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        patience = Timer(_ANSWER_SECONDS, self.process.kill)
        patience.start()
        with suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(line) + "\n")
            self.process.stdin.flush()
        answer = self.process.stdout.readline()
        patience.cancel()
        if not answer:
            raise PeerFailedError(f"the client {self.name} ended: {self.log.read_text()[-1500:]}")
        result: dict[str, Any] = json.loads(answer)
        return result


def run(options: Options) -> list[Figure]:
    """Return four figures: large put, large get, small put, small get."""
    figures = _figures(options)
    with options.workspace("library") as home, ExitStack() as stack:
        try:
            server = stack.enter_context(flask_stack.store(minio_only=True))
        except PeerMissingError as missing:
            options.say(f"library: no MinIO ({missing}); against rclone instead")
            server = stack.enter_context(flask_stack.store())
        for figure in figures:
            figure.unit += f"; server: {server.kind}"
        children = [stack.enter_context(started(name, server, home)) for name in CLIENTS]
        for turn in range(options.rounds):
            first = turn % len(children)
            for child in children[first:] + children[:first]:
                _round(child, figures, options, turn)
            options.say(f"library: round {turn + 1} of {options.rounds}")
    return figures


def _figures(options: Options) -> list[Figure]:
    large, small = f"{LARGE >> 20} MiB", f"{options.small:,} bytes"
    near, small_get = Target("obstore", least=0.9), Target("obstore", least=1 / 1.5)
    return [
        Figure(f"Library: put of {large}", "MB/s, one at a time", targets=(near,)),
        Figure(f"Library: get of {large}", "MB/s, one at a time", targets=(near,)),
        Figure(f"Library: put of {small}", f"operations/s, {IN_FLIGHT} in flight"),
        Figure(f"Library: get of {small}", f"operations/s, {IN_FLIGHT} in flight", targets=(small_get,)),
    ]


def _round(child: Child, figures: list[Figure], options: Options, turn: int) -> None:
    """Measure one client once: what it puts in this round it also gets."""
    count = max(int(options.seconds * _SMALL_RATE), IN_FLIGHT)
    os.sync()
    large = {"name": f"{child.name}-large", "size": LARGE, "first": turn * 1000, "in_flight": 1}
    small = {
        "name": f"{child.name}-small",
        "size": options.small,
        "first": turn * 100_000,
        "in_flight": IN_FLIGHT,
    }
    if turn == 0:
        child.order(verb="put", count=_WARM_UP, **{**small, "name": f"{child.name}-warm"})
    orders = [
        {"verb": "put", "count": _LARGE_COUNT, **large},
        {"verb": "stream", "count": _LARGE_COUNT, **large},
        {"verb": "put", "count": count, **small},
        {"verb": "get", "count": count, **small},
    ]
    for figure, order in zip(figures, orders, strict=True):
        seen = child.order(**order)
        rate = seen.pop("per_second") * (LARGE / 1e6 if order["size"] == LARGE else 1)
        figure.add(child.name, rate, **seen)


@contextmanager
def started(name: str, server: S3Server, home: Path) -> Iterator[Child]:
    """Yield a client that is ready."""
    own, log = home / name, home / f"{name}.log"
    own.mkdir()
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.clients", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=clean_environment(),
        )
    child = Child(name, process, log)
    place = Place(
        server.endpoint, server.bucket, server.region, server.access_key, server.secret_key, str(own)
    )
    try:
        child.say(asdict(place))
        yield child
    finally:
        _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    with suppress(BrokenPipeError):
        assert process.stdin is not None
        process.stdin.close()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)
