"""Trials on the real server: `holdfast serve` in its own process, load over HTTP, SIGKILL, the next start, judgement."""
# ruff: noqa: S311, S606 - chance is replayable on purpose; the server is started without a shell

from __future__ import annotations

import asyncio
import os
import re
import select
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from holdfast import cli
from holdfast.core.errors import NotFoundError
from holdfast.core.types import ChecksumType, Version
from holdfast.library.http import HttpClient
from torture.ground import Ground
from torture.journal import Journal, parse
from torture.model import Model
from torture.points import POINTS
from torture.processes import Child, died_of, end_with_parent, fork
from torture.service import INLINE
from torture.trial import Outcome, Style, judge
from torture.workload import Load, Seen

_LISTENS = re.compile(rb"(http://[0-9.]+:\d+)")
_START_SECONDS = 30.0
_LIVES = 5
_MAIN = "from holdfast.cli import main; main()"


class NotUpError(Exception):
    """The server does not start; the message holds what it said."""


@dataclass
class Server:
    """A running `holdfast serve`; `output` is its stderr."""

    pid: int
    output: int
    url: str = ""
    started_in: float = 0.0
    status: int | None = None  #: how it ended (as `waitpid` says)

    def ended(self) -> bool:
        """Tell whether it has ended."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = status if pid else None
        return self.status is not None

    def kill(self) -> int:
        """End it as a power switch would, and return how it ended."""
        if not self.ended():
            os.kill(self.pid, signal.SIGKILL)
            self.status = os.waitpid(self.pid, 0)[1]
            os.close(self.output)
        assert self.status is not None
        return self.status


def start(data: Path, *, failpoint: str | None = None, warm: bool = False) -> Server:
    """Start the real server on `data` and return it once it listens; `warm` saves it the imports.

    Raises:
        NotUpError: with what it said, when it does not come up.
    """
    began = time.monotonic()
    server = _spawn(data, failpoint, warm)
    said = b""
    while time.monotonic() - began < _START_SECONDS:
        if not select.select([server.output], [], [], 0.5)[0]:
            continue
        piece = os.read(server.output, 4096)
        said += piece
        if found := _LISTENS.search(said):
            server.url, server.started_in = found[1].decode(), time.monotonic() - began
            return server
        if not piece:
            break
    server.kill()
    raise NotUpError(f"the server does not come up: {said.decode(errors='replace')[-2000:]}")


def _spawn(data: Path, failpoint: str | None, warm: bool) -> Server:
    """Fork, make the child look like a shell's, and run `holdfast serve` there."""
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        os.close(writing)
        return Server(pid, reading)
    try:
        end_with_parent(signal.SIGKILL)
        os.dup2(os.open(os.devnull, os.O_RDWR), 0)
        os.dup2(0, 1)
        os.dup2(writing, 2)
        os.closerange(3, 256)
        os.environ.update(
            HOLDFAST_GRACE="0",
            HOLDFAST_SWEEP_INTERVAL="0.1",
            HOLDFAST_PLACEMENT__INLINE=str(INLINE),
        )
        if failpoint:
            os.environ["HOLDFAST_FAILPOINT"] = failpoint
        sys.argv = ["holdfast", "serve", "--dev", "--data", str(data), "--port", "0"]
        if not warm:
            os.execv(sys.executable, [sys.executable, "-c", _MAIN, *sys.argv[1:]])
        cli.main()
    finally:
        os._exit(1)


class RestClient:
    """The load's client over HTTP."""

    verbs = frozenset({"put", "get", "delete", "copy", "multipart", "abort"})

    def __init__(self, http: HttpClient) -> None:
        self._http = http

    async def put(self, bucket: str, key: str, data: bytes) -> str:
        return (await self._http.put(bucket, key, data)).id

    async def get(self, bucket: str, key: str) -> Seen:
        async with self._http.stream(bucket, key) as download:
            data = b"".join([chunk async for chunk in download])
            return Seen(data, _full_sha256(download.version))

    async def delete(self, bucket: str, key: str) -> None:
        await self._http.delete(bucket, key)

    async def copy(self, bucket: str, source: str, key: str) -> tuple[str, str | None]:
        version = await self._http.copy((bucket, source), (bucket, key))
        return version.id, _full_sha256(version)

    async def multipart(
        self, bucket: str, key: str, parts: Sequence[tuple[int, bytes]], *, complete: bool
    ) -> str:
        upload = await self._http.create_upload(bucket, key)
        etags: dict[int, str] = {}
        for number, data in parts:
            etags[number] = (await self._http.put_part(bucket, key, upload.id, number, data)).etag
        if complete:
            return (await self._http.complete_upload(bucket, key, upload.id, sorted(etags.items()))).id
        await self._http.abort_upload(bucket, key, upload.id)
        return ""

    async def sweep(self) -> None:
        raise NotFoundError("the server sweeps by itself")


def _full_sha256(version: Version) -> str | None:
    full = version.checksum_type is ChecksumType.FULL_OBJECT and version.parts == 0 and version.digests.sha256
    return full.hex() if full else None


def run_server_trial(seed: int, ground: Ground, style: Style) -> Outcome:
    """Return what came of one data directory on which the server is killed several times."""
    chance = Random(seed)  # replayable on purpose
    outcome, model = Outcome(seed), Model()
    began = time.monotonic()
    data = ground.fresh(empty=False)
    for life in range(_LIVES):
        try:
            _one_life(data, model, chance, life, style, outcome)
        except NotUpError as error:
            outcome.violations.append(("broken", str(error)))
            break
        verdict = judge(data, model, style, final=life == _LIVES - 1)
        outcome.violations += verdict.violations
        if verdict.violations:
            break
        model.settle(verdict.found)
    outcome.answered = model.answered
    outcome.seconds = time.monotonic() - began
    return outcome


def _one_life(data: Path, model: Model, chance: Random, life: int, style: Style, outcome: Outcome) -> None:
    named = style.points == "named" or (style.points == "both" and chance.random() < 0.5)
    point = chance.choice(POINTS) if named else None
    passes, delay, actors = (
        1 + int(chance.expovariate(1 / 6)),
        chance.uniform(0.02, 0.4),
        chance.choice((1, 4, 8)),
    )
    server = start(data, failpoint=f"{point}:{passes}" if point else None, warm=life > 0)
    outcome.restart = max(outcome.restart, server.started_in)
    seed = chance.getrandbits(32)
    try:
        with fork(lambda journal: _drive(server.url, journal, seed, life, actors)) as load:
            load.listen(2.0, b'"answer"')
            hit = _await_death(server, load, 2.0 if point else delay)
            status = server.kill()
            load.kill()
    finally:
        server.kill()
    outcome.deaths += 1
    outcome.hit += [point] if hit and point else []
    model.hear(parse(bytes(load.said)))
    if not died_of(status, signal.SIGKILL):
        model.complaints.append(f"the server ended by itself (status {status})")


def _await_death(server: Server, load: Child, seconds: float) -> bool:
    """Hear the load so long; tell whether the server died by itself meanwhile."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        load.listen(0.005)
        if server.ended():
            return True
    return False


def _drive(url: str, journal: Journal, seed: int, life: int, actors: int) -> None:
    async def work() -> None:
        http = HttpClient(url)
        load = Load(
            RestClient(http), journal, Random(seed), first=life * 100_000, operations=5_000, actors=actors
        )
        try:
            await load.run()
        finally:
            await http.close()

    asyncio.run(work())
